//! The receivers of a private share: which of them have a place, and what was sent to each.
//!
//! Where a share is for so many receivers, an id that has a proof has a place, until it leaves without having everything. It has
//! that when it says so, and else when as many bytes were sent to it as the content has, and it asks for no more, or goes without ever
//! having said that it wants anything. The node says so, what was sent, and what time it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::PeerId;

use super::lock;

/// A receiver that has got nothing for this long makes room for another one.
pub(super) const IDLE: Duration = Duration::from_secs(120);
/// Most receivers of a share that are remembered which have left with a part of it.
pub(super) const REMEMBERED: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Receivers {
    /// Bytes of the content; 0 while that is unknown.
    pub(super) size: u64,
    /// Bytes that were sent to all of them together.
    pub(super) sent: u64,
    /// What time it is.
    pub(super) now: Duration,
    /// How often a place was given.
    turns: u64,
    /// How often a place was given or taken.
    pub(super) changes: u64,
    pub(super) by_id: BTreeMap<PeerId, Receiver>,
}

#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Connections that it has, to the node and to the tracker, since it was given its place in this turn.
    connections: u32,
    turn: u64,
    /// It has all that it wants.
    pub(super) done: bool,
    /// Bytes that were sent to it, and when it last got something.
    pub(super) sent: u64,
    pub(super) active: Duration,
}

impl Receiver {
    fn has_place(&self) -> bool {
        self.connections > 0 || self.done
    }
}

impl Receivers {
    /// Whether as much was sent to one as it takes to have everything.
    pub(super) fn had_all(&self, receiver: &Receiver) -> bool {
        self.size > 0 && receiver.sent >= self.size
    }

    pub(super) fn is_idle(&self, receiver: &Receiver) -> bool {
        self.now.saturating_sub(receiver.active) >= IDLE
    }

    pub(super) fn places(&self) -> usize {
        self.by_id.values().filter(|receiver| receiver.has_place()).count()
    }

    /// Those who have a place.
    pub(super) fn with_place(&self) -> Vec<PeerId> {
        self.by_id.iter().filter(|(_, receiver)| receiver.has_place()).map(|(&peer, _)| peer).collect()
    }

    pub(super) fn has_place(&self, peer: &PeerId) -> bool {
        self.by_id.get(peer).is_some_and(Receiver::has_place)
    }

    /// One that is there and gets nothing makes room. What it has got is remembered.
    pub(super) fn make_room(&mut self) -> bool {
        let may_go = |receiver: &Receiver| !receiver.done && !self.had_all(receiver) && self.is_idle(receiver);
        let idle = self.by_id.iter().filter(|(_, receiver)| receiver.has_place() && may_go(receiver));
        let Some(longest) = idle.min_by_key(|(_, receiver)| receiver.active).map(|(&peer, _)| peer) else {
            return false;
        };
        if let Some(receiver) = self.by_id.get_mut(&longest) {
            (receiver.connections, receiver.turn) = (0, 0);
        }
        self.changes += 1;
        self.forget_some(longest);
        true
    }

    /// A connection of one more has a place.
    pub(super) fn enter(&mut self, peer: PeerId) -> u64 {
        let receiver = self.by_id.entry(peer).or_default();
        if receiver.connections == 0 {
            self.turns += 1;
            self.changes += 1;
            (receiver.turn, receiver.active) = (self.turns, self.now);
        }
        receiver.connections += 1;
        receiver.turn
    }

    /// A connection has ended that had its place in this turn.
    fn leave(&mut self, peer: PeerId, turn: u64) {
        let Some(receiver) = self.by_id.get_mut(&peer).filter(|receiver| receiver.turn == turn) else { return };
        receiver.connections = receiver.connections.saturating_sub(1);
        if receiver.connections == 0 {
            self.changes += 1;
            self.forget_some(peer);
        }
    }

    /// One has no place any more, unless it has everything: it is forgotten if nothing was sent to it, and where too many are
    /// remembered, the one to which least was sent.
    fn forget_some(&mut self, peer: PeerId) {
        let got_nothing = self.by_id.get(&peer).is_some_and(|receiver| !receiver.has_place() && receiver.sent == 0);
        if got_nothing {
            self.by_id.remove(&peer);
        }
        let gone = self.by_id.iter().filter(|(_, receiver)| !receiver.has_place());
        if gone.clone().count() > REMEMBERED {
            let least = gone.min_by_key(|(_, receiver)| receiver.sent).map(|(&peer, _)| peer);
            least.and_then(|least| self.by_id.remove(&least));
        }
    }
}

/// A receiver's place, which it has for as long as this is kept, and after that if it has everything; another one may get it if
/// it gets nothing for long. It is one of the share that was there then: if that is removed and added again, others are counted.
#[derive(Debug)]
pub struct Place {
    pub(super) receivers: Arc<Mutex<Receivers>>,
    pub(super) peer: PeerId,
    pub(super) turn: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.receivers).leave(self.peer, self.turn);
    }
}
