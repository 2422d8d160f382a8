//! Connections: dialled, said things on, closed. Each end has its own idea of whether it stands.

use std::time::Duration;

use protocol::{ContentId, PeerId, PeerMessage, PieceSet};
use swarm::{ConnId, Event};

use super::peers::{address, number};
use super::transfers::TransferId;
use super::{Happening, PeerIx, SECOND, World};
use crate::plan::Serves;
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
}

/// All connections. An id is a generation, a slot and the end: never used twice.
#[derive(Default)]
pub(super) struct Connections {
    slots: Vec<Connection>,
    free: Vec<u32>,
}

fn split(conn: ConnId) -> (u32, usize, usize) {
    ((conn >> 32) as u32, (conn as u32 >> 1) as usize, (conn & 1) as usize)
}

fn id(generation: u32, slot: usize, end: usize) -> ConnId {
    u64::from(generation) << 32 | (slot as u64) << 1 | end as u64
}

impl Connections {
    fn add(&mut self, ends: [PeerIx; 2], latency: Time) -> ConnId {
        let slot = match self.free.pop() {
            Some(slot) => slot as usize,
            None => {
                self.slots.push(Connection { generation: 0, ends, open: [false; 2], latency, transfers: Vec::new() });
                self.slots.len() - 1
            }
        };
        let state = &mut self.slots[slot];
        state.generation += 1;
        (state.ends, state.open, state.latency) = (ends, [true, false], latency);
        id(state.generation, slot, 0)
    }

    /// The connection of this id and the end that the id stands for, if it still has one.
    pub(super) fn get(&mut self, conn: ConnId) -> Option<(&mut Connection, usize)> {
        let (generation, slot, end) = split(conn);
        self.slots.get_mut(slot).filter(|state| state.generation == generation).map(|state| (state, end))
    }

    /// The ends that a peer takes for standing.
    pub(super) fn of(&self, peer: PeerIx) -> Vec<ConnId> {
        let ends = self.slots.iter().enumerate().flat_map(|(slot, state)| [0, 1].map(|end| (slot, state, end)));
        let its = ends.filter(|(_, state, end)| state.ends[*end] == peer && state.open[*end]);
        its.map(|(slot, state, end)| id(state.generation, slot, end)).collect()
    }

    /// The same, if this end takes it for standing.
    pub(super) fn standing(&mut self, conn: ConnId) -> Option<(&mut Connection, usize)> {
        self.get(conn).filter(|(state, end)| state.open[*end])
    }
}

impl World {
    pub(super) fn dial(&mut self, from: PeerIx, to: PeerId) {
        let to = number(to);
        if self.peers[to as usize].engine.is_some() {
            self.after(2 * self.latency, Happening::Dialled { from, to });
        } else {
            self.dial_failed(from, to);
        }
    }

    fn dial_failed(&mut self, from: PeerIx, to: PeerIx) {
        let peer = self.peers[to as usize].id;
        self.after(DIAL, Happening::Tell(from, Event::DialFailed { peer }));
    }

    pub(super) fn dialled(&mut self, from: PeerIx, to: PeerIx) {
        if self.peers[from as usize].engine.is_none() {
            return;
        }
        if self.peers[to as usize].engine.is_none() {
            return self.dial_failed(from, to);
        }
        if self.peers[from as usize].crashed {
            return;
        }
        let conn = self.connections.add([from, to], self.latency);
        self.after(self.latency, Happening::Accepted(conn ^ 1));
        self.connected(from, conn, to, true);
    }

    pub(super) fn accepted(&mut self, conn: ConnId) {
        let Some((state, _)) = self.connections.get(conn) else { return };
        state.open[1] = true;
        let [from, to] = state.ends;
        self.connected(to, conn, from, false);
    }

    fn connected(&mut self, peer: PeerIx, conn: ConnId, other: PeerIx, dialled: bool) {
        let (id, remote) = (self.peers[other as usize].id, address(other));
        self.tell(peer, Event::Connected { conn, peer: id, remote, dialled });
        self.tell(peer, Event::RoundTrip { conn, rtt: Duration::from_nanos(2 * self.latency) });
    }

    pub(super) fn say(&mut self, conn: ConnId, message: PeerMessage) {
        if let Some((state, end)) = self.connections.standing(conn) {
            let serves = self.peers[state.ends[end] as usize].serves;
            if serves != Serves::Well && matches!(message, PeerMessage::Offer { .. }) {
                return;
            }
            let wait = state.latency;
            self.after(wait, Happening::Say(conn ^ 1, message));
        }
    }

    pub(super) fn said(&mut self, conn: ConnId, message: PeerMessage) {
        if let Some((state, end)) = self.connections.standing(conn) {
            let peer = state.ends[end];
            self.tell(peer, Event::Message { conn, message });
        }
    }

    /// An engine closes its end; the other hears of it.
    pub(super) fn close(&mut self, conn: ConnId) {
        let Some((state, _)) = self.connections.standing(conn) else { return };
        let wait = state.latency;
        self.after(wait, Happening::Closed(conn ^ 1));
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
            Some((state, _)) => {
                let wait = 2 * state.latency;
                self.after(wait, Happening::Manifest { conn, content });
            }
            None => {
                let content = self.contents[content].id;
                self.after(0, Happening::Tell(peer, Event::ManifestFailed { content, conn, lied: false }));
            }
        }
    }

    pub(super) fn manifest_came(&mut self, conn: ConnId, content: usize) {
        // With the connection the engine has forgotten the question.
        let Some((state, end)) = self.connections.standing(conn) else { return };
        let (peer, other) = (state.ends[end], state.ends[1 - end]);
        let (id, geometry) = (self.contents[content].id, self.contents[content].geometry.clone());
        if !self.peers[other as usize].holdings[content].manifest {
            return self.tell(peer, Event::ManifestFailed { content: id, conn, lied: false });
        }
        let holding = &mut self.peers[peer as usize].holdings[content];
        if !std::mem::replace(&mut holding.manifest, true) {
            let have = PieceSet::empty(geometry.pieces());
            self.tell(peer, Event::Content { content: id, geometry, have, wanted: true });
            self.announce(peer, content);
        }
    }
}
