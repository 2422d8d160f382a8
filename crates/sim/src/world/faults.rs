//! Peers that crash: whoever was connected to them hears nothing, and gives the connection up when it has been idle for
//! too long.

use super::{Happening, PeerIx, SECOND, World};
use crate::queue::Time;

/// A connection on which nothing comes is dead after this long, as in the peer's transport.
const IDLE: Time = 8 * SECOND;

impl World {
    pub(super) fn crash(&mut self, peer: PeerIx) {
        let state = &mut self.peers[peer as usize];
        if state.engine.take().is_none() {
            return;
        }
        state.crashed = true;
        for (content, holding) in self.contents.iter_mut().zip(&state.holdings) {
            holding.have.iter().for_each(|piece| content.copies[piece as usize] -= 1);
            self.open -= usize::from(holding.wanted && holding.done.is_none());
        }
        for conn in self.connections.of(peer) {
            self.after(IDLE, Happening::Closed(conn ^ 1));
            self.shut(conn);
        }
        self.after(IDLE, Happening::Forgotten(peer));
    }
}
