//! Telling connected peers of each other, so that a swarm outlives its tracker.

use std::time::Duration;

use protocol::PeerMessage;

use super::connection::Connection;
use crate::engine::{Engine, TICK};

/// How often peers are exchanged.
const EXCHANGE: Duration = Duration::from_secs(5);
/// Peers told in one exchange.
const EXCHANGED: usize = 20;

impl Engine {
    /// Tells each connected peer of those that joined since it was last told.
    pub(crate) fn exchange_peers(&mut self) {
        let is_due = |state: &Connection| self.now.saturating_sub(state.peer.exchanged) + TICK >= EXCHANGE;
        let due: Vec<_> = self.conns.iter().filter(|(_, state)| is_due(state)).map(|(&conn, _)| conn).collect();
        for conn in due {
            let Some(mut state) = self.conns.remove(&conn) else { continue };
            state.peer.exchanged = self.now;
            for (&id, theirs) in &mut state.participations {
                let joined = |other: &'_ Connection| other.participation(&id).map(|theirs| theirs.joined);
                let fresh = self.conns.values().filter_map(|other| Some((joined(other)?, other)));
                let mut fresh: Vec<_> = fresh.filter(|&(joined, _)| joined > theirs.told).collect();
                fresh.sort_unstable_by_key(|&(joined, _)| joined);
                fresh.truncate(EXCHANGED);
                theirs.told = fresh.last().map_or(theirs.told, |&(joined, _)| joined);
                let asker = state.peer.address.ip();
                let peers: Vec<_> = fresh.into_iter().filter_map(|(_, other)| other.peer.address_for(asker)).collect();
                if !peers.is_empty() {
                    self.actions.send(conn, PeerMessage::Peers { content: id, peers });
                }
            }
            self.conns.insert(conn, state);
        }
    }
}
