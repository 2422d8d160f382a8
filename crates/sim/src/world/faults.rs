//! What goes wrong: peers that crash, and cuts that keep some from all others. Peers connected across the cut hear nothing, and
//! gives the connection up when it has been idle for too long.

use swarm::ConnId;

use super::{PeerIx, SECOND, SimEvent, World};
use crate::plan::Plan;
use crate::queue::Time;

/// A connection on which nothing comes is dead after this long, as in the peer's transport.
const IDLE: Time = 8 * SECOND;
/// After a cut or the tracker's absence, peers come back to the tracker within this time: their back-off with jitter.
const COME_BACK: Time = 10 * SECOND;

impl World {
    pub(super) fn plan_faults(&mut self, plan: &Plan) {
        let at = |seconds: f64| (seconds * SECOND as f64) as Time;
        let members = plan.members();
        for (number, cut) in plan.cut.iter().enumerate() {
            let apart = |&peer: &PeerIx| cut.groups.contains(&plan.group[members[peer as usize]].name);
            self.cuts.push((0..members.len() as PeerIx).filter(apart).collect());
            self.queue.push(at(cut.from), SimEvent::Cut(number));
            self.queue.push(at(cut.until), SimEvent::Healed(number));
        }
        if let Some(dies) = plan.tracker_dies {
            self.queue.push(at(dies), SimEvent::TrackerDies);
            let returns = plan.tracker_returns.map_or(Time::MAX, at);
            // A peer that came a round trip before has not heard from it either.
            let farthest = self.peers.iter().map(|peer| peer.latency).max().unwrap_or(0);
            self.dark.push((at(dies).saturating_sub(2 * (self.latency + farthest)), returns));
            if plan.tracker_returns.is_some() {
                self.queue.push(returns, SimEvent::TrackerReturns);
            }
        }
    }

    pub(super) fn crash(&mut self, peer: PeerIx) {
        let state = &mut self.peers[peer as usize];
        if state.brain.take().is_none() {
            return;
        }
        state.crashed = true;
        for (content, holding) in self.contents.iter_mut().zip(&state.holdings) {
            holding.have.iter().for_each(|piece| content.copies[piece as usize] -= 1);
            self.open -= usize::from(holding.wanted && holding.done.is_none());
        }
        self.end_reads(peer);
        for conn in self.connections.of(peer) {
            self.after(IDLE, SimEvent::Closed(conn ^ 1));
            self.shut(conn);
            self.sever(conn ^ 1);
        }
        self.after(IDLE, SimEvent::Forgotten(peer));
    }

    /// Nothing goes over this connection any more, and neither end knows.
    fn sever(&mut self, conn: ConnId) {
        let Some((state, _)) = self.connections.get(conn) else { return };
        state.severed = true;
        for transfer in state.transfers.clone() {
            self.stall(transfer);
        }
    }

    /// A cut begins: its groups are on their own.
    pub(super) fn cut(&mut self, number: usize) {
        let side = 1 << number;
        let apart: Vec<PeerIx> = self.cuts[number].clone();
        apart.iter().for_each(|&peer| self.peers[peer as usize].cuts |= side);
        for &peer in &apart {
            for conn in self.connections.of(peer) {
                let across = self.connections.get(conn).map(|(state, end)| state.ends[1 - end]);
                if across.is_some_and(|other| !self.can_reach(peer, other)) {
                    self.after(IDLE, SimEvent::Closed(conn));
                    self.after(IDLE, SimEvent::Closed(conn ^ 1));
                    self.sever(conn);
                }
            }
            self.after(IDLE, SimEvent::Forgotten(peer));
        }
    }

    /// A cut ends: its groups come back to the tracker, and hear from it of the others.
    pub(super) fn healed(&mut self, number: usize) {
        for peer in self.cuts[number].clone() {
            self.peers[peer as usize].cuts &= !(1 << number);
            self.come_back(peer);
        }
    }

    pub(super) fn tracker_dies(&mut self) {
        self.tracker.stop();
    }

    pub(super) fn tracker_returns(&mut self) {
        self.tracker.start(self.contents.len());
        (0..self.peers.len() as PeerIx).for_each(|peer| self.come_back(peer));
    }

    fn come_back(&mut self, peer: PeerIx) {
        let wait = self.random.u64(..COME_BACK);
        self.after(wait, SimEvent::ComeBack(peer));
    }

    /// Whether no cut lies between two peers.
    pub(super) fn can_reach(&self, one: PeerIx, other: PeerIx) -> bool {
        self.peers[one as usize].cuts == self.peers[other as usize].cuts
    }
}
