//! What must be true of every engine whenever it is looked at. A violation ends the run with the peer and the seed.

use super::{PeerIx, World};

impl World {
    /// Engines and the world's books agree on what is held, and nobody has more under way than it may.
    pub(super) fn check_everyone(&mut self) {
        for (number, peer) in self.peers.iter().enumerate() {
            let Some(engine) = &peer.engine else { continue };
            for (content, holding) in self.contents.iter().zip(&peer.holdings) {
                let view = engine.view(content.id);
                // Before the manifest is known the engine counts no pieces.
                let have = view.filter(|view| view.pieces > 0).map_or(0, |view| view.have);
                let held = holding.have.count();
                assert!(have == held, "peer {number} counts {have} pieces and holds {held}, seed {}", self.seed);
            }
        }
        for number in 0..self.peers.len() as PeerIx {
            let (budget, seed) = (self.config.budget, self.seed);
            let size = u64::from(self.contents[0].geometry.piece_size());
            let owed = self.bytes_under_way(number);
            assert!(owed <= budget.max(2 * size) + size, "peer {number} waits for {owed} bytes, seed {seed}");
        }
    }
}
