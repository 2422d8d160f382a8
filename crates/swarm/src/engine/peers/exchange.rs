//! Telling connected peers of each other, so that a swarm outlives its tracker.

use std::time::Duration;

use protocol::{ContentId, Digest, PeerMessage};

use super::connection::Connection;
use crate::engine::{Engine, TICK};
use crate::event::ConnId;

/// How often peers are exchanged.
const EXCHANGE: Duration = Duration::from_secs(5);
/// Peers told in one exchange.
const EXCHANGED: usize = 20;
/// Looks at a peer's part in a content, in one tick; the next one goes on.
const LOOKS: usize = 20_000;
/// Messages, and peers named in them, that one peer is told in one tick: half of what it lets a stranger say. Another goes on.
const TOLD: usize = 200;

impl Engine {
    /// Tells each connected peer of those that joined since it was last told.
    pub(crate) fn exchange_peers(&mut self) {
        let is_due = |state: &Connection| self.now.saturating_sub(state.peer.exchanged) + TICK >= EXCHANGE;
        let mut due: Vec<_> = self.conns.iter().filter(|(_, state)| is_due(state)).map(|(&conn, _)| conn).collect();
        if self.peers.exchanges_late {
            due.sort_by_key(|conn| self.conns.get(conn).map(|state| state.peer.exchanged));
        }
        let mut looks = LOOKS.max(self.conns.len());
        self.peers.exchanges_late = false;
        for conn in due {
            self.exchange_with(conn, &mut looks);
            if self.peers.exchanges_late {
                return;
            }
        }
    }

    fn exchange_with(&mut self, conn: ConnId, looks: &mut usize) {
        let Some(mut state) = self.conns.remove(&conn) else { return };
        let asker = state.peer.address.ip();
        let from = state.peer.exchange_next.take().unwrap_or(ContentId(Digest([0; 32])));
        let (mut told, mut goes_on) = (0, false);
        for (&id, theirs) in state.participations.range_mut(from..) {
            // Nobody has come since it was told of all.
            if self.contents.get(&id).is_some_and(|content| content.newest <= theirs.told) {
                continue;
            }
            if told >= TOLD {
                (state.peer.exchange_next, goes_on) = (Some(id), true);
                break;
            }
            let Some(left) = looks.checked_sub(self.conns.len()) else {
                (state.peer.exchange_next, self.peers.exchanges_late) = (Some(id), true);
                break;
            };
            *looks = left;
            let joined = |other: &'_ Connection| other.participation(&id).map(|theirs| theirs.joined);
            let fresh = self.conns.values().filter_map(|other| Some((joined(other)?, other)));
            let mut fresh: Vec<_> = fresh.filter(|&(joined, _)| joined > theirs.told).collect();
            fresh.sort_unstable_by_key(|&(joined, _)| joined);
            let all = fresh.len() <= EXCHANGED;
            fresh.truncate(EXCHANGED);
            let last = fresh.last().map_or(theirs.told, |&(joined, _)| joined);
            theirs.told = if all { self.turns } else { last };
            let known = self.contents.get(&id).map(|content| &content.known);
            let named = |other: &Connection| known.map_or(&[][..], |known| known.named(&other.peer.id));
            let peers: Vec<_> =
                fresh.into_iter().filter_map(|(_, other)| other.peer.address_for(asker, named(other))).collect();
            if !peers.is_empty() {
                told += 1 + peers.len();
                self.actions.send(conn, PeerMessage::Peers { content: id, peers });
            }
        }
        if state.peer.exchange_next.is_none() {
            state.peer.exchanged = self.now;
        } else if goes_on {
            // However soon the next tick is.
            state.peer.exchanged = (self.now + TICK * 2).saturating_sub(EXCHANGE);
        }
        self.conns.insert(conn, state);
    }
}
