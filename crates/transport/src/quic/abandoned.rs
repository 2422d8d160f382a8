//! Handshakes that were given up lately. Their clients send their first packet again, with the same connection id, and a new
//! handshake for it would cost as much as the first and could never be finished.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;

use quinn::ConnectionId;

use crate::lock::lock;

/// How many are remembered, some 100 bytes each: those of a second or two, of a flood that keeps a thread busy.
const REMEMBERED: usize = 4096;

/// The connection ids that their clients chose first.
#[derive(Default)]
pub(super) struct Abandoned(Mutex<(HashSet<ConnectionId>, VecDeque<ConnectionId>)>);

impl Abandoned {
    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        lock(&self.0).0.contains(&id)
    }

    pub(super) fn add(&self, id: ConnectionId) {
        let (ids, order) = &mut *lock(&self.0);
        if ids.insert(id) {
            order.push_back(id);
        }
        if order.len() > REMEMBERED
            && let Some(oldest) = order.pop_front()
        {
            ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_is_remembered_and_the_oldest_forgotten() {
        let abandoned = Abandoned::default();
        let id = |number: usize| ConnectionId::new(&number.to_be_bytes());
        (0..=REMEMBERED).for_each(|number| abandoned.add(id(number)));
        abandoned.add(id(REMEMBERED));
        assert!(!abandoned.contains(id(0)) && abandoned.contains(id(1)) && abandoned.contains(id(REMEMBERED)));
        let (ids, order) = &*abandoned.0.lock().unwrap();
        assert_eq!((ids.len(), order.len()), (REMEMBERED, REMEMBERED));
    }
}
