//! What is to blame when a download is not complete at the end: the swarm, if every piece was within reach, or the world.

use protocol::PieceSet;

use super::{PeerIx, World};
use crate::plan::Serves;

/// What became of the downloads that are not complete.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) stuck: u32,
    pub(super) cut_off: u32,
    pub(super) crashed: u32,
}

impl World {
    pub(super) fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for (number, peer) in self.peers.iter().enumerate() {
            for (content, holding) in peer.holdings.iter().enumerate() {
                if !holding.wanted || holding.done.is_some() {
                    continue;
                }
                let count = match () {
                    () if peer.crashed => &mut verdict.crashed,
                    // One that never came is not the swarm's either.
                    () if peer.brain.is_some() && self.could_have(number as PeerIx, content) => &mut verdict.stuck,
                    () => &mut verdict.cut_off,
                };
                *count += 1;
            }
        }
        verdict
    }

    /// Whether for each piece that a peer lacks there is someone on its side of all cuts who holds it, serves and never lies.
    /// Those on one side can all come to know each other, except one that came while the tracker was dead: that one has to be
    /// known to someone, or know someone.
    fn could_have(&self, number: PeerIx, content: usize) -> bool {
        let peer = &self.peers[number as usize];
        let mut reach = peer.holdings[content].have.clone();
        for (other, state) in self.peers.iter().enumerate() {
            let honest = state.hostile.is_none() && state.wrong == 0.0;
            let serves = state.brain.is_some() && state.serves == Serves::Well && honest;
            if serves && other != number as usize && self.can_reach(number, other as PeerIx) {
                add(&mut reach, &state.holdings[content].have);
            }
        }
        if peer.reads_origin {
            return true;
        }
        let (mut dark, now) = (self.dark.iter(), self.now);
        let met_nobody = dark.any(|&(from, until)| (from..until).contains(&peer.arrived) && now < until);
        reach.is_full() && !met_nobody
    }
}

fn add(set: &mut PieceSet, more: &PieceSet) {
    for piece in more.iter() {
        set.insert(piece);
    }
}
