//! What must be true whatever happens. A part is checked with each thing that happens, where it happens: nobody serves what it
//! does not hold, says that it has what it does not have, has more under way than its budget, takes a wrong piece for a right
//! one, says that it is complete before every piece was verified, or shuts out who never lied. Here is what is looked at now and
//! then, over everyone. A violation ends the run with the plan, the seed and the command that repeats it.

use protocol::{PeerId, PeerMessage, PieceRange};

use super::{ORIGIN_CONN, PeerIx, SECOND, World, number};
use crate::queue::Time;

/// An engine looks at its deadlines more often than this.
const SLACK: Time = SECOND;

impl World {
    /// Ends the run.
    #[cold]
    pub(super) fn violated(&self, what: std::fmt::Arguments<'_>) -> ! {
        let at = self.now as f64 / SECOND as f64;
        panic!("{what}, plan {}, seed {}, second {at:.3}: {}", self.plan, self.seed, self.command)
    }

    pub(super) fn check_everyone(&self) {
        for number in 0..self.peers.len() as PeerIx {
            self.check_books(number);
            self.check_deadlines(number);
        }
        if let Some(link) = self.network.overfull() {
            self.violated(format_args!("link {link} carries more than it can"));
        }
    }

    /// The engine and the world's books agree on what is held.
    fn check_books(&self, number: PeerIx) {
        let peer = &self.peers[number as usize];
        let Some(engine) = peer.engine() else { return };
        for (content, holding) in self.contents.iter().zip(&peer.holdings) {
            // Before the manifest is known the engine counts no pieces.
            let known = engine.have(content.id).filter(|have| !have.is_empty());
            if !known.map_or(holding.have.is_empty(), |have| *have == holding.have) {
                let (have, held) = (known.map_or(0, |have| have.count()), holding.have.count());
                self.violated(format_args!("peer {number} counts {have} pieces and holds {held}"));
            }
        }
    }

    /// Every request has come to something or will, by a deadline that the engine will look at.
    fn check_deadlines(&self, number: PeerIx) {
        let peer = &self.peers[number as usize];
        if peer.engine().is_none() {
            return;
        }
        if peer.tick_at < self.now {
            self.violated(format_args!("peer {number} is never called again"));
        }
        let patience = self.config.give_up.as_nanos() as Time + SLACK;
        for (request, &transfer) in &peer.requests {
            let Some((conn, content, run)) = self.transfers.asked_for(transfer) else {
                self.violated(format_args!("request {request} of peer {number} waits for nothing"));
            };
            if conn == ORIGIN_CONN {
                continue;
            }
            let heard = self.connections.heard(conn);
            if heard.is_none_or(|heard| heard + patience < self.now) {
                let PieceRange { first, count } = run;
                self.violated(format_args!(
                    "peer {number} has waited too long for pieces {first}+{count} of content {content}, request {request}"
                ));
            }
        }
    }

    /// After a piece came, the engine takes it for held exactly if it was right, now or before.
    pub(super) fn check_piece(&self, peer: PeerIx, content: usize, piece: u32) {
        let state = &self.peers[peer as usize];
        let taken = state.engine().and_then(|engine| engine.have(self.contents[content].id));
        if taken.is_some_and(|have| have.contains(piece) != state.holdings[content].have.contains(piece)) {
            self.violated(format_args!("peer {peer} takes piece {piece} for what it is not"));
        }
    }

    /// A peer that never sent anything wrong is never shut out.
    pub(super) fn check_ban(&self, peer: PeerIx, banned: PeerId) {
        let banned = number(banned);
        let other = &self.peers[banned as usize];
        if other.wrong == 0.0 && other.hostile.is_none() {
            self.violated(format_args!("peer {peer} shuts out peer {banned}, which never lied"));
        }
    }

    /// Nobody says that it has what it does not have.
    pub(super) fn check_truth(&self, peer: PeerIx, message: &PeerMessage) {
        let PeerMessage::Have { content, runs, .. } = message else { return };
        let have = &self.peers[peer as usize].holdings[self.content(*content)].have;
        if !runs.iter().all(|run| run.pieces().all(|piece| have.contains(piece))) {
            self.violated(format_args!("peer {peer} says that it has pieces that it does not have: {runs:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plan;

    #[test]
    fn a_violation_names_the_plan_the_seed_and_the_command() {
        let text = "about = \"\"\npeers = 2\npieces = 4\ncopy_seconds = 1\n[[group]]\nname = \"seeder\"\ncount = 1\n\
                    holds = \"all\"\n[[group]]\nname = \"others\"";
        let plan = Plan::parse("a-plan", text).unwrap();
        let panic = std::panic::catch_unwind(|| {
            let mut world = World::new(&plan, 17, &swarm::Config::default());
            world.arrive(1);
            world.check_everyone();
            // As if it had kept a piece that was never verified.
            world.peers[1].holdings[0].have.insert(3);
            world.check_everyone();
        });
        let panic = panic.unwrap_err();
        let said = panic.downcast_ref::<String>().unwrap();
        for word in ["peer 1 counts 0 pieces and holds 1", "plan a-plan", "simulate a-plan --peers 2", "--seed 17"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}
