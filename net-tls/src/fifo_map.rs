use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map of at most `capacity` keys: the one that came first yields.
#[derive(Debug)]
pub(crate) struct FifoMap<K, V> {
    capacity: usize,
    values: HashMap<K, V>,
    /// The keys, each once, as they came.
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> FifoMap<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), values: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.values.insert(key.clone(), value).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }

    /// Looks at every key there is, and is for what happens seldom.
    pub(crate) fn remove(&mut self, key: &K) {
        if self.values.remove(key).is_some() {
            self.order.retain(|kept| kept != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_yields_and_every_key_has_one_place() {
        let mut map = FifoMap::new(8);
        for key in 0..1_000 {
            map.insert(key, key);
            map.insert(key, key + 1);
            if key % 3 == 0 {
                map.remove(&key);
            }
            assert!(map.values.len() <= 8 && map.order.len() == map.values.len());
        }
        // 999 was removed; nothing came before the ones that are kept.
        let kept: Vec<i32> = (0..1_000).filter(|key| map.get(key) == Some(&(key + 1))).collect();
        assert_eq!(kept, [988, 989, 991, 992, 994, 995, 997, 998][8 - kept.len()..]);
        assert!(kept.len() >= 7);
    }
}
