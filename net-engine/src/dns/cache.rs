use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use net_policy::dns::{Pin, QuestionKey};

/// What an entry takes besides its message, about: keys in two maps and the places in them.
const ENTRY_BYTES: usize = 512;

/// Answers that were filtered and are told again while they live.
///
/// Bounded in bytes; the oldest yields. An answer holds under the policy it was filtered by: of another
/// generation it is none.
pub(crate) struct AnswerCache {
    max_bytes: usize,
    bytes: usize,
    entries: HashMap<QuestionKey, Entry>,
    by_age: BTreeMap<u64, QuestionKey>,
    next_age: u64,
}

/// An answer of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// In wire format, as it was kept.
    pub(crate) message: Box<[u8]>,
    pub(crate) pins: Box<[Pin]>,
    /// The policies it holds under.
    pub(crate) generation: u64,
    pub(crate) lifetime: Duration,
}

struct Entry {
    kept: Kept,
    at: Instant,
    age: u64,
    /// How often it was told again.
    told: usize,
}

/// An answer of the cache as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told<'c> {
    pub(crate) kept: &'c Kept,
    /// How long ago it was kept.
    pub(crate) old: Duration,
    /// How often it was told before.
    pub(crate) times: usize,
}

impl AnswerCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, entries: HashMap::new(), by_age: BTreeMap::new(), next_age: 0 }
    }

    /// The answer to a question.
    pub(crate) fn tell(&mut self, key: &QuestionKey, generation: u64, now: Instant) -> Option<Told<'_>> {
        let entry = self.entries.get(key)?;
        let old = now.saturating_duration_since(entry.at);
        if old >= entry.kept.lifetime || entry.kept.generation != generation {
            self.remove(key);
            return None;
        }
        let entry = self.entries.get_mut(key)?;
        let times = entry.told;
        entry.told = times.wrapping_add(1);
        Some(Told { kept: &entry.kept, old, times })
    }

    /// Keeps an answer, if it may be told again at all.
    pub(crate) fn insert(&mut self, key: QuestionKey, kept: Kept, now: Instant) {
        let size = size_of(&kept);
        if kept.lifetime.is_zero() || size > self.max_bytes {
            return;
        }
        self.remove(&key);
        while self.bytes + size > self.max_bytes {
            let Some(oldest) = self.by_age.values().next().cloned() else { return };
            self.remove(&oldest);
        }
        let age = self.next_age;
        self.next_age += 1;
        self.bytes += size;
        self.by_age.insert(age, key.clone());
        self.entries.insert(key, Entry { kept, at: now, age, told: 0 });
    }

    fn remove(&mut self, key: &QuestionKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_age.remove(&entry.age);
            self.bytes -= size_of(&entry.kept);
        }
    }
}

fn size_of(kept: &Kept) -> usize {
    ENTRY_BYTES + kept.message.len() + size_of_val(&*kept.pins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_net::proto::op::{Message, Query};
    use hickory_net::proto::rr::{Name, RecordType};
    use net_policy::dns::Question;

    fn key(name: &str) -> QuestionKey {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        Question::parse(&message.to_vec().unwrap()).unwrap().key()
    }

    fn kept(bytes: usize, generation: u64, lifetime: u64) -> Kept {
        let message = vec![0; bytes].into_boxed_slice();
        Kept { message, pins: Box::default(), generation, lifetime: Duration::from_secs(lifetime) }
    }

    #[test]
    fn an_answer_lives_for_its_time_and_under_its_policy() {
        let (mut cache, now) = (AnswerCache::new(1 << 20), crate::guest::now());
        cache.insert(key("a.example."), kept(10, 1, 60), now);
        let later = now + Duration::from_secs(59);
        let told = |cache: &mut AnswerCache| {
            cache.tell(&key("A.example."), 1, later).map(|told| (told.old.as_secs(), told.times))
        };
        assert_eq!(told(&mut cache), Some((59, 0)));
        assert_eq!(told(&mut cache), Some((59, 1)));
        assert_eq!(cache.tell(&key("b.example."), 1, later), None);
        assert_eq!(cache.tell(&key("a.example."), 1, now + Duration::from_secs(60)), None);
        cache.insert(key("a.example."), kept(10, 1, 60), now);
        assert_eq!(cache.tell(&key("a.example."), 2, now), None);
        cache.insert(key("a.example."), kept(10, 1, 0), now);
        assert_eq!(cache.tell(&key("a.example."), 1, now), None);
        assert_eq!((cache.bytes, cache.by_age.len()), (0, 0));
    }

    #[test]
    fn the_oldest_yields_and_the_bound_holds() {
        let (mut cache, now) = (AnswerCache::new(4 * (ENTRY_BYTES + 100)), crate::guest::now());
        for index in 0..100 {
            cache.insert(key(&format!("n{index}.example.")), kept(100, 1, 60), now);
            assert!(cache.bytes <= cache.max_bytes && cache.entries.len() == cache.by_age.len());
        }
        let alive = |cache: &mut AnswerCache, index: usize| {
            cache.tell(&key(&format!("n{index}.example.")), 1, now).is_some()
        };
        assert_eq!((90..100).map(|index| alive(&mut cache, index)).filter(|alive| *alive).count(), 4);
        assert!(alive(&mut cache, 99) && !alive(&mut cache, 95));
        // One that alone is too large changes nothing.
        cache.insert(key("n99.example."), kept(1 << 20, 1, 60), now);
        assert!(alive(&mut cache, 99));
        // Again is not one more.
        for _ in 0..10 {
            cache.insert(key("n99.example."), kept(100, 1, 60), now);
        }
        assert!(alive(&mut cache, 97));
    }
}
