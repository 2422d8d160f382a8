//! Connections: dialled, said things on, closed. Each end has its own idea of whether it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::{ContentId, PeerId, PeerMessage};
use swarm::{ConnId, Event};

use super::transfers::TransferId;
use super::{PeerIx, SECOND, SimEvent, World, number};
use crate::plan::{HostileAnswers, Serves};
use crate::queue::Time;

/// A dial that nobody answers is given up after this long, as in the peer's `reach.rs`.
const DIAL: Time = 6 * SECOND;

/// Both ends of a connection; the dialler's is 0.
pub(super) struct Connection {
    generation: u32,
    pub(super) ends: [PeerIx; 2],
    pub(super) open: [bool; 2],
    pub(super) latency: Time,
    pub(super) transfers: Vec<TransferId>,
    /// Nothing goes over it any more, though no end may know.
    pub(super) severed: bool,
    /// When each end last got bytes that it waits for, or began to wait.
    pub(super) heard: [Time; 2],
}

/// A message that goes to several connections at once, and how long it takes.
pub(super) struct Saying {
    wait: Time,
    conns: Vec<ConnId>,
    message: PeerMessage,
}

/// All connections. An id is a generation, a slot and the end: never used twice.
#[derive(Default)]
pub(super) struct Connections {
    slots: Vec<Connection>,
    free: Vec<u32>,
    /// The ends that each peer takes for standing, as slot and end.
    of: BTreeMap<PeerIx, BTreeSet<(u32, usize)>>,
}

fn split(conn: ConnId) -> (u32, usize, usize) {
    ((conn >> 32) as u32, (conn as u32 >> 1) as usize, (conn & 1) as usize)
}

fn id(generation: u32, slot: usize, end: usize) -> ConnId {
    u64::from(generation) << 32 | (slot as u64) << 1 | end as u64
}

impl Connections {
    fn add(&mut self, ends: [PeerIx; 2], latency: Time) -> ConnId {
        let fresh = Connection {
            generation: 1,
            ends,
            open: [true, false],
            latency,
            transfers: Vec::new(),
            severed: false,
            heard: [0; 2],
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                let state = &mut self.slots[slot as usize];
                *state = Connection { generation: state.generation + 1, ..fresh };
                slot as usize
            }
            None => {
                self.slots.push(fresh);
                self.slots.len() - 1
            }
        };
        self.of.entry(ends[0]).or_default().insert((slot as u32, 0));
        id(self.slots[slot].generation, slot, 0)
    }

    /// The connection of this id and the end that the id stands for, if it still has one.
    pub(super) fn get(&mut self, conn: ConnId) -> Option<(&mut Connection, usize)> {
        let (generation, slot, end) = split(conn);
        self.slots.get_mut(slot).filter(|state| state.generation == generation).map(|state| (state, end))
    }

    /// The ends that a peer takes for standing.
    pub(super) fn of(&self, peer: PeerIx) -> Vec<ConnId> {
        let ends = self.of.get(&peer).into_iter().flatten();
        ends.map(|&(slot, end)| id(self.slots[slot as usize].generation, slot as usize, end)).collect()
    }

    /// When this end last got what it waits for, if it takes the connection for standing.
    pub(super) fn heard(&self, conn: ConnId) -> Option<Time> {
        let (generation, slot, end) = split(conn);
        let state = self.slots.get(slot).filter(|state| state.generation == generation && state.open[end])?;
        Some(state.heard[end])
    }

    /// The connection, if this end takes it for standing and something still goes over it.
    pub(super) fn carrying(&mut self, conn: ConnId) -> Option<(&mut Connection, usize)> {
        self.standing(conn).filter(|(state, _)| !state.severed)
    }

    /// The same, if this end takes it for standing.
    pub(super) fn standing(&mut self, conn: ConnId) -> Option<(&mut Connection, usize)> {
        self.get(conn).filter(|(state, end)| state.open[*end])
    }
}

impl World {
    pub(super) fn dial(&mut self, from: PeerIx, to: PeerId) {
        if self.answers(from, to) {
            self.after(2 * self.latency_between(from, number(to)), SimEvent::Dialled { from, to });
        } else {
            self.dial_failed(from, to);
        }
    }

    /// Whether someone who proves this id can be reached.
    fn answers(&self, from: PeerIx, to: PeerId) -> bool {
        let other = &self.peers[number(to) as usize];
        other.brain.is_some() && other.id == to && self.can_reach(from, number(to))
    }

    fn dial_failed(&mut self, from: PeerIx, peer: PeerId) {
        self.after(DIAL, SimEvent::Tell(from, Event::DialFailed { peer }));
    }

    pub(super) fn dialled(&mut self, from: PeerIx, to: PeerId) {
        if self.peers[from as usize].brain.is_none() {
            return;
        }
        if !self.answers(from, to) {
            return self.dial_failed(from, to);
        }
        let to = number(to);
        let latency = self.latency_between(from, to);
        let conn = self.connections.add([from, to], latency);
        self.after(latency, SimEvent::Accepted(conn ^ 1));
        self.connected(from, conn, to, true);
    }

    pub(super) fn accepted(&mut self, conn: ConnId) {
        let Some((state, _)) = self.connections.get(conn).filter(|(state, _)| !state.severed) else { return };
        state.open[1] = true;
        let [from, to] = state.ends;
        let (_, slot, end) = split(conn);
        self.connections.of.entry(to).or_default().insert((slot as u32, end));
        self.connected(to, conn, from, false);
    }

    fn connected(&mut self, peer: PeerIx, conn: ConnId, other: PeerIx, dialled: bool) {
        let (id, remote) = (self.peers[other as usize].id, self.peers[other as usize].address);
        self.tell(peer, Event::Connected { conn, peer: id, remote, dialled, relayed: false });
        self.tell(peer, Event::RoundTrip { conn, rtt: Duration::from_nanos(2 * self.latency_between(peer, other)) });
    }

    /// Adds to what is being said, or says that and begins anew.
    pub(super) fn say(
        &mut self,
        peer: PeerIx,
        saying: Option<Saying>,
        conn: ConnId,
        message: PeerMessage,
    ) -> Option<Saying> {
        let hides = self.peers[peer as usize].serves != Serves::Well && matches!(message, PeerMessage::Offer { .. });
        let Some((state, _)) = self.connections.carrying(conn).filter(|_| !hides) else { return saying };
        let wait = state.latency;
        match saying {
            Some(mut saying) if saying.wait == wait && saying.message == message => {
                saying.conns.push(conn ^ 1);
                Some(saying)
            }
            other => {
                self.check_truth(peer, &message);
                self.send_off(other);
                Some(Saying { wait, conns: vec![conn ^ 1], message })
            }
        }
    }

    pub(super) fn send_off(&mut self, saying: Option<Saying>) {
        if let Some(Saying { wait, conns, message }) = saying {
            self.after(wait, SimEvent::Say(Box::new((conns, message))));
        }
    }

    pub(super) fn all_said(&mut self, (mut conns, message): (Vec<ConnId>, PeerMessage)) {
        let Some(last) = conns.pop() else { return };
        conns.into_iter().for_each(|conn| self.said(conn, message.clone()));
        self.said(last, message);
    }

    fn said(&mut self, conn: ConnId, message: PeerMessage) {
        if let Some((state, end)) = self.connections.carrying(conn) {
            let peer = state.ends[end];
            self.tell(peer, Event::Message { conn, message });
        }
    }

    /// An engine closes its end; the other hears of it.
    pub(super) fn close(&mut self, conn: ConnId) {
        let Some((state, _)) = self.connections.standing(conn) else { return };
        // Across a cut the other end hears nothing: it gives up by itself.
        if !state.severed {
            let wait = state.latency;
            self.after(wait, SimEvent::Closed(conn ^ 1));
        }
        self.shut(conn);
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        let Some((state, end)) = self.connections.standing(conn) else { return };
        let peer = state.ends[end];
        self.shut(conn);
        self.tell(peer, Event::Disconnected { conn });
    }

    /// One end stands no more: what it asked and what it serves ends.
    pub(super) fn shut(&mut self, conn: ConnId) {
        let Some((state, end)) = self.connections.standing(conn) else { return };
        state.open[end] = false;
        let peer = state.ends[end];
        for transfer in state.transfers.clone() {
            self.end_transfer(transfer, peer);
        }
        let (_, slot, _) = split(conn);
        if let Some(ends) = self.connections.of.get_mut(&peer) {
            ends.remove(&(slot as u32, end));
        }
        let state = &mut self.connections.slots[slot];
        if state.open == [false; 2] {
            // Whatever is still under way finds another generation.
            state.generation += 1;
            state.transfers.clear();
            self.connections.free.push(slot as u32);
        }
    }

    pub(super) fn fetch_manifest(&mut self, peer: PeerIx, conn: ConnId, content: ContentId) {
        let content = self.content(content);
        match self.connections.standing(conn) {
            // The engine has a deadline of its own for this.
            Some((state, _)) if state.severed => {}
            Some((state, _)) => {
                let wait = 2 * state.latency;
                self.after(wait, SimEvent::Manifest { conn, content });
            }
            None => {
                let content = self.contents[content].id;
                self.after(0, SimEvent::Tell(peer, Event::ManifestFailed { content, conn, lied: false }));
            }
        }
    }

    pub(super) fn manifest_came(&mut self, conn: ConnId, content: usize) {
        // With the connection the engine has forgotten the question.
        let Some((state, end)) = self.connections.carrying(conn) else { return };
        let (peer, other) = (state.ends[end], state.ends[1 - end]);
        let id = self.contents[content].id;
        match self.peers[other as usize].hostile.as_ref().map(|hostile| hostile.answers) {
            None => {}
            Some(HostileAnswers::Busy) => {
                return self.tell(peer, Event::ManifestFailed { content: id, conn, lied: false });
            }
            // The engine has a deadline of its own for this.
            Some(HostileAnswers::Silent | HostileAnswers::Trickle) => return,
        }
        if !self.peers[other as usize].holdings[content].manifest {
            return self.tell(peer, Event::ManifestFailed { content: id, conn, lied: false });
        }
        self.know_manifest(peer, content);
    }
}
