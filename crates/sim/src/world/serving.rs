//! The side of a transfer that serves: questions that reach it, and the flows of bytes with which it answers.
//!
//! A flow tells what has come at the end of each piece, and now and then between. One event is planned for each uplink, the first of its
//! flows to tell something, and it is planned anew whenever their rates change.

use protocol::{PieceRange, RefusalReason};
use swarm::{ConnId, Event, ServeId};

use super::transfers::TransferId;
use super::{ORIGIN_CONN, ORIGIN_PEER, PeerIx, SimEvent, World};
use crate::network::{FlowId, LinkId};
use crate::plan::Serves;
use crate::queue::Time;

/// Bytes of a flow are told at least this often, if there are any.
const PROGRESS: Time = 250_000_000;

impl World {
    pub(super) fn asked(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(id).filter(|transfer| transfer.serving) else { return };
        let (conn, server, run, content) = (transfer.conn ^ 1, transfer.server, transfer.run, transfer.content);
        let (awaited, first) = (transfer.awaited, transfer.first);
        match self.connections.standing(conn) {
            Some((state, _)) if state.severed => return,
            Some(_) => {}
            None => return self.stop_serving(id),
        }
        match self.peers[server as usize].serves {
            Serves::Well => {}
            Serves::Refuses => return self.refuse(id, RefusalReason::Busy),
            Serves::Silent => return self.stop_serving(id),
        }
        let content = self.contents[content].id;
        let question = match first {
            Some(most) => Event::RequestedFirst { conn, serve: id, content, most },
            None => Event::Requested { conn, serve: id, content, run, awaited },
        };
        self.tell(server, question);
    }

    pub(super) fn refuse(&mut self, serve: ServeId, reason: RefusalReason) {
        let Some(transfer) = self.transfers.get(serve) else { return };
        let conn = transfer.conn;
        if let Some((state, _)) = self.connections.get(conn) {
            let wait = state.latency;
            self.after(wait, SimEvent::Refused(serve, reason));
        }
        self.stop_serving(serve);
    }

    /// The serving side says which pieces answer that.
    pub(super) fn choose(&mut self, id: TransferId, run: PieceRange) {
        let Some(transfer) = self.transfers.get(id).filter(|transfer| transfer.serving) else { return };
        (transfer.run, transfer.piece) = (run, run.first);
        let conn = transfer.conn;
        if let Some((state, _)) = self.connections.carrying(conn ^ 1) {
            let wait = state.latency;
            self.after(wait, SimEvent::Chosen(id));
        }
    }

    pub(super) fn serve(&mut self, peer: PeerIx, serve: ServeId) {
        let now = self.now;
        let Some(transfer) = self.transfers.get(serve).filter(|transfer| transfer.serving) else {
            // The peer that asked has gone meanwhile.
            return self.after(0, SimEvent::Tell(peer, Event::Served { serve, pieces: 0 }));
        };
        let (run, content, asker, conn) = (transfer.run, transfer.content, transfer.asker, transfer.conn);
        if content == 0 && self.is_read_first(peer, serve, run) {
            return;
        }
        let first = self.piece_bytes(content, run.first);
        let holding = &self.peers[peer as usize].holdings[content];
        if !run.pieces().all(|piece| holding.have.contains(piece)) {
            self.violated(format_args!("peer {peer} serves what it does not hold: {run:?} of content {content}"));
        }
        if self.connections.carrying(conn ^ 1).is_none() {
            // What is sent goes nowhere, until the connection is given up.
            return;
        }
        let links = [self.peers[peer as usize].up, self.peers[asker as usize].down];
        let goodput = self.goodput * self.peers[peer as usize].goodput * self.peers[asker as usize].goodput;
        let between = self.between_sites.filter(|_| self.apart(peer, asker));
        let flow = self.network.start(now, links.into_iter().chain(between), goodput);
        self.transfers.flows(serve, flow, first, now);
        self.rates_changed(links[0]);
        let wait = self.connections.get(conn).map_or(0, |(state, _)| state.latency);
        self.after(wait, SimEvent::Came { transfer: serve, bytes: 0, piece: None, last: false });
    }

    pub(super) fn piece_bytes(&self, content: usize, piece: u32) -> u64 {
        self.contents[content].geometry.piece(piece).map_or(0, |piece| piece.len as u64)
    }

    /// Plans anew when the flows of uplinks with new rates have something to tell.
    pub(super) fn rates_changed(&mut self, link: LinkId) {
        let mut changed = std::mem::take(self.network.changed());
        if !changed.contains(&link) {
            changed.push(link);
        }
        for link in changed.drain(..) {
            self.plan_uplink(link);
        }
        *self.network.changed() = changed;
    }

    fn plan_uplink(&mut self, link: LinkId) {
        let version = &mut self.transfers.versions[link as usize];
        *version = version.wrapping_add(1);
        let version = *version;
        let next = |&flow: &FlowId| {
            let id = self.transfers.of_flow[flow as usize];
            let transfer = &self.transfers.slots[id as u32 as usize];
            let end = self.network.reaches(flow, transfer.piece_end as f64)?;
            Some(end.min(transfer.told_at + PROGRESS))
        };
        if let Some(next) = self.network.flows(link).iter().filter_map(next).min() {
            self.queue.push(next.max(self.now), SimEvent::Uplink(link, version));
        }
    }

    pub(super) fn uplink(&mut self, link: LinkId, version: u32) {
        if self.transfers.versions[link as usize] != version {
            return;
        }
        let mut over = Vec::new();
        for at in 0..self.network.flows(link).len() {
            let flow = self.network.flows(link)[at];
            let id = self.transfers.of_flow[flow as usize];
            if self.tell_flow(flow, id) {
                over.push(id);
            }
        }
        for id in over {
            let Some(transfer) = self.transfers.get(id) else { continue };
            let (server, pieces) = (transfer.server, transfer.run.count);
            self.stop_serving(id);
            if server != ORIGIN_PEER {
                self.tell(server, Event::Served { serve: id, pieces });
            }
        }
        self.plan_uplink(link);
    }

    /// Sends what a flow has to tell on its way; whether it has come to its end.
    fn tell_flow(&mut self, flow: FlowId, id: TransferId) -> bool {
        let (sent, now) = (self.network.sent(flow, self.now), self.now);
        loop {
            let Some(transfer) = self.transfers.get(id) else { return false };
            let (whole, due) = (sent + 0.5 >= transfer.piece_end as f64, now >= transfer.told_at + PROGRESS);
            if !whole && !due {
                return false;
            }
            let until = if whole { transfer.piece_end } else { sent as u64 };
            let bytes = until - transfer.told;
            if bytes == 0 && !whole {
                // Less than a byte has come: there is nothing to tell.
                transfer.told_at = now;
                return false;
            }
            let piece = whole.then_some(transfer.piece);
            let last = whole && transfer.piece + 1 == transfer.run.first + transfer.run.count;
            (transfer.told, transfer.told_at) = (until, now);
            let (content, next, conn) = (transfer.content, transfer.piece + 1, transfer.conn);
            if whole && !last {
                let more = self.piece_bytes(content, next);
                if let Some(transfer) = self.transfers.get(id) {
                    (transfer.piece, transfer.piece_end) = (next, transfer.piece_end + more);
                }
            }
            let wait = self.latency_over(conn, id);
            self.after(wait, SimEvent::Came { transfer: id, bytes, piece, last });
            if last || !whole {
                return last;
            }
        }
    }

    /// Until what is sent now is there.
    fn latency_over(&mut self, conn: ConnId, id: TransferId) -> Time {
        match self.connections.get(conn) {
            Some((state, _)) => state.latency,
            None if conn == ORIGIN_CONN => {
                let asker = self.transfers.get(id).map_or(0, |transfer| transfer.asker);
                self.latency_of_origin(asker)
            }
            None => 0,
        }
    }

    pub(super) fn cancelled(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(id).filter(|transfer| transfer.serving) else { return };
        let (server, flowing, conn) = (transfer.server, transfer.flow.is_some(), transfer.conn);
        let pieces = transfer.piece - transfer.run.first;
        if self.connections.get(conn).is_some_and(|(state, _)| state.severed) {
            return;
        }
        self.stop_serving(id);
        if conn == ORIGIN_CONN {
            return;
        }
        // What still waits in the engine's queue comes to its end when its turn comes.
        if flowing {
            self.tell(server, Event::Served { serve: id, pieces });
        }
    }

    /// The serving side has nothing to do with it any more.
    pub(super) fn stop_serving(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(id).filter(|transfer| transfer.serving) else { return };
        transfer.serving = false;
        self.stall(id);
        self.forget_if_over(id);
    }

    /// Its bytes flow no more.
    pub(super) fn stall(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(id) else { return };
        let (server, asker) = (transfer.server, transfer.asker);
        let Some(flow) = transfer.flow.take() else { return };
        let goodput = self.network.goodput(flow);
        let came = self.network.stop(self.now, flow);
        let lost = came / goodput - came;
        self.sent += came + lost;
        self.lost += lost;
        if let Some(origin) = self.origin.as_mut().filter(|_| server == ORIGIN_PEER) {
            origin.sent += came + lost;
            let up = origin.up;
            return self.rates_changed(up);
        }
        if self.apart(server, asker) {
            self.crossed += came;
        }
        if self.peers[server as usize].seeder {
            self.seeded += came;
            let copies = self.seeded / self.total();
            if self.peers[server as usize].copies_then_crash.is_some_and(|limit| copies >= limit) {
                self.after(0, SimEvent::Crash(server));
            }
        }
        self.rates_changed(self.peers[server as usize].up);
    }

    fn apart(&self, one: PeerIx, other: PeerIx) -> bool {
        self.peers[one as usize].site != self.peers[other as usize].site
    }
}
