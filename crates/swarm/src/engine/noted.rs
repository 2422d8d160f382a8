//! What is noted of peers and addresses for as long as there is room: who is shut out, let us wait, or was forgiven.
//!
//! Ids are free to make, so a book of them that nothing bounds is memory that strangers fill.

use std::collections::{BTreeMap, VecDeque};

/// Entries in one book, some 100 bytes each. To fill it a stranger needs so many connections and wrong pieces, and gains by it
/// what a new id would give it for nothing: that the oldest is taken for someone unknown.
pub(super) const NOTED: usize = 4096;

/// Something about each of those noted last.
#[derive(Debug)]
pub(super) struct Noted<K, T> {
    notes: BTreeMap<K, T>,
    /// The same keys, as they were noted first.
    order: VecDeque<K>,
}

impl<K, T> Default for Noted<K, T> {
    fn default() -> Self {
        Noted { notes: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Copy, T> Noted<K, T> {
    pub(super) fn get(&self, key: &K) -> Option<&T> {
        self.notes.get(key)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.notes.contains_key(key)
    }

    /// The note on someone. If there is none it is made, and the oldest one goes if there is no room.
    pub(super) fn note(&mut self, key: K) -> &mut T
    where
        T: Default,
    {
        if !self.contains(&key) {
            if self.order.len() >= NOTED
                && let Some(oldest) = self.order.pop_front()
            {
                self.notes.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.notes.entry(key).or_default()
    }
}
