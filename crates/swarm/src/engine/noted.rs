//! What is noted of peers for as long as there is room: who is shut out, and how often one was forgiven.
//!
//! Ids are free to make, so a book of them that nothing bounds is memory that strangers fill.

use std::collections::{BTreeMap, VecDeque};

use protocol::PeerId;

/// Peers in one book, some 100 bytes each. To fill it a stranger needs so many connections and wrong pieces, and gains by it
/// what a new id would give it for nothing: that the oldest is taken for someone unknown.
pub(super) const NOTED: usize = 4096;

/// Something about each of the peers noted last.
#[derive(Debug)]
pub(super) struct Noted<T> {
    notes: BTreeMap<PeerId, T>,
    /// The same peers, as they were noted first.
    order: VecDeque<PeerId>,
}

impl<T> Default for Noted<T> {
    fn default() -> Self {
        Noted { notes: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<T> Noted<T> {
    pub(super) fn get(&self, peer: &PeerId) -> Option<&T> {
        self.notes.get(peer)
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.notes.contains_key(peer)
    }

    /// The note on a peer. If there is none it is made, and the oldest one goes if there is no room.
    pub(super) fn note(&mut self, peer: PeerId) -> &mut T
    where
        T: Default,
    {
        if !self.contains(&peer) {
            if self.order.len() >= NOTED
                && let Some(oldest) = self.order.pop_front()
            {
                self.notes.remove(&oldest);
            }
            self.order.push_back(peer);
        }
        self.notes.entry(peer).or_default()
    }
}
