//! A map with room for so many keys: where it is full, the key that came first makes room for a new one.
//!
//! It holds what is remembered of peers and addresses: who is shut out, let us wait, or was forgiven. Ids are free to make, so
//! a map of them without a bound is memory that strangers fill.

use std::collections::{BTreeMap, VecDeque};

/// Keys in one map, some 100 bytes each. To fill it a stranger needs so many connections and wrong pieces, and gains by it
/// what a new id would give it for nothing: that the oldest is taken for someone unknown.
pub(crate) const MOST_KEYS: usize = 4096;

/// Values of the keys that came last.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    values: BTreeMap<K, V>,
    /// The same keys, in the order in which they came.
    order: VecDeque<K>,
}

impl<K, V> Default for BoundedMap<K, V> {
    fn default() -> Self {
        BoundedMap { values: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Copy, V> BoundedMap<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.values.contains_key(key)
    }

    /// The value of a key. If there is none it is made, and the oldest key goes if there is no room.
    pub(crate) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        if !self.contains(&key) {
            if self.order.len() >= MOST_KEYS
                && let Some(oldest) = self.order.pop_front()
            {
                self.values.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.values.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_makes_room_for_a_new_one() {
        let mut map: BoundedMap<usize, u32> = BoundedMap::default();
        (0..MOST_KEYS).for_each(|key| *map.get_or_default(key) += 1);
        *map.get_or_default(0) += 1;
        assert_eq!(map.get(&0), Some(&2), "a key that is there takes no room");
        map.get_or_default(MOST_KEYS);
        assert!(!map.contains(&0) && map.contains(&1) && map.contains(&MOST_KEYS));
    }
}
