use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Deadlines as a value: at most one per key, the earliest first.
///
/// Setting and cancelling cost O(log n); stale heap entries are deleted lazily and never
/// outnumber the live ones by more than two to one (plus a constant).
#[derive(Debug)]
pub struct TimerQueue<K> {
    live: HashMap<K, Instant>,
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Copy + Ord + Hash> TimerQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { live: HashMap::new(), heap: BinaryHeap::new() }
    }

    /// Arms `key`, replacing the deadline it had.
    pub fn set(&mut self, key: K, deadline: Instant) {
        if self.live.insert(key, deadline) == Some(deadline) {
            return;
        }
        self.heap.push(Reverse((deadline, key)));
        self.compact();
    }

    /// Disarms `key`; without effect when it is not armed.
    pub fn cancel(&mut self, key: &K) {
        if self.live.remove(key).is_some() {
            self.compact();
        }
    }

    /// The number of armed keys.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no key is armed.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The earliest deadline.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.drop_stale();
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes one key whose deadline is not after `now`; call until `None`.
    #[must_use]
    pub fn poll_expired(&mut self, now: Instant) -> Option<K> {
        self.drop_stale();
        let Reverse((deadline, key)) = *self.heap.peek()?;
        if deadline > now {
            return None;
        }
        self.heap.pop();
        self.live.remove(&key);
        Some(key)
    }

    fn drop_stale(&mut self) {
        while let Some(Reverse((deadline, key))) = self.heap.peek() {
            if self.live.get(key) == Some(deadline) {
                return;
            }
            self.heap.pop();
        }
    }

    fn compact(&mut self) {
        const SLACK: usize = 64;
        if self.heap.len() > 3 * self.live.len() + SLACK {
            self.heap = self.live.iter().map(|(key, deadline)| Reverse((*deadline, *key))).collect();
        }
    }
}

impl<K: Copy + Ord + Hash> Default for TimerQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn rearming_replaces() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut timers = TimerQueue::new();
        timers.set(1, at(5));
        timers.set(2, at(3));
        timers.set(1, at(1));
        timers.set(3, at(2));
        timers.cancel(&3);
        assert_eq!(timers.poll_timeout(), Some(at(1)));
        assert_eq!(timers.poll_expired(at(4)), Some(1));
        assert_eq!(timers.poll_expired(at(4)), Some(2));
        assert_eq!(timers.poll_expired(at(4)), None);
        assert_eq!(timers.poll_timeout(), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(ops in proptest::collection::vec((0u8..8, 0u64..50, any::<bool>()), 0..400)) {
            let start = Instant::now();
            let mut timers = TimerQueue::new();
            let mut model = BTreeMap::new();
            for (key, offset, cancel) in ops {
                let deadline = start + Duration::from_millis(offset);
                if cancel {
                    timers.cancel(&key);
                    model.remove(&key);
                } else {
                    timers.set(key, deadline);
                    model.insert(key, deadline);
                }
                prop_assert_eq!(timers.poll_timeout(), model.values().min().copied());
                prop_assert!(timers.heap.len() <= 3 * timers.live.len() + 65);
            }
            let end = start + Duration::from_secs(1);
            let mut expired: Vec<_> = std::iter::from_fn(|| timers.poll_expired(end)).collect();
            expired.sort_unstable();
            prop_assert_eq!(expired, model.keys().copied().collect::<Vec<_>>());
        }
    }
}
