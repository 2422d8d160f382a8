//! What has changed in a long list since it was last looked at, a bounded part of it at a time.

use std::collections::BTreeMap;

/// What was said of each entry of a list.
#[derive(Debug)]
pub struct Delta<K, V> {
    said: BTreeMap<K, V>,
    /// The entry that is looked at first next time: where there is too much, each has its turn.
    first: Option<K>,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed<K, V> {
    /// Entries that are new, or other than before.
    pub changed: Vec<V>,
    /// Entries that are gone.
    pub gone: Vec<K>,
    /// Whether there are more, for the next time.
    pub more: bool,
}

impl<K, V> Default for Delta<K, V> {
    fn default() -> Self {
        Delta { said: BTreeMap::new(), first: None }
    }
}

impl<K: Ord + Clone, V: PartialEq + Clone> Delta<K, V> {
    /// Compares the list as it is now with what was said, and takes at most so many entries that have changed as said.
    pub fn look(&mut self, now: BTreeMap<K, V>, most: usize) -> Changed<K, V> {
        let gone: Vec<K> = self.said.keys().filter(|key| !now.contains_key(key)).cloned().collect();
        gone.iter().for_each(|key| drop(self.said.remove(key)));
        let mut changed: Vec<(K, V)> =
            now.into_iter().filter(|(key, value)| self.said.get(key) != Some(value)).collect();
        let more = changed.len() > most;
        if let Some(first) = self.first.take().filter(|_| more) {
            let at = changed.partition_point(|(key, _)| *key < first);
            changed.rotate_left(at);
        }
        self.first = changed.get(most).map(|(key, _)| key.clone());
        changed.truncate(most);
        self.said.extend(changed.iter().cloned());
        Changed { changed: changed.into_iter().map(|(_, value)| value).collect(), gone, more }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn list(entries: &[(u8, u8)]) -> BTreeMap<u8, (u8, u8)> {
        entries.iter().map(|&entry| (entry.0, entry)).collect()
    }

    #[test]
    fn only_changes_are_said() {
        let mut delta = Delta::default();
        let first = delta.look(list(&[(1, 0), (2, 0)]), 9);
        assert_eq!((first.changed, first.gone, first.more), (vec![(1, 0), (2, 0)], vec![], false));
        let second = delta.look(list(&[(2, 0), (3, 0)]), 9);
        assert_eq!((second.changed, second.gone), (vec![(3, 0)], vec![1]));
    }

    #[test]
    fn where_there_is_too_much_each_entry_has_its_turn() {
        let mut delta = Delta::default();
        let mut seen = BTreeSet::new();
        for round in 0..3 {
            // All of them change all the time.
            let all: Vec<_> = (0..9).map(|key| (key, round)).collect();
            let looked = delta.look(list(&all), 3);
            assert!(looked.more && looked.changed.len() == 3);
            seen.extend(looked.changed.iter().map(|&(key, _)| key));
        }
        assert_eq!(seen.len(), 9);
    }
}
