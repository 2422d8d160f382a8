//! The side of a transfer that asks: questions that it sends, what comes for them, and their end.

use protocol::{ContentId, PieceRange, RefusalReason};
use swarm::{ConnId, Event, Failure, RequestId};

use super::transfers::{Transfer, TransferId};
use super::{ORIGIN_CONN, PeerIx, SimEvent, World};

impl World {
    pub(super) fn ask(
        &mut self,
        peer: PeerIx,
        conn: ConnId,
        (request, awaited): (RequestId, bool),
        content: ContentId,
        run: PieceRange,
    ) {
        let content = self.content(content);
        let Some((state, end)) = self.connections.standing(conn) else {
            let event = Event::Finished { request, failure: Some(Failure::Broken) };
            return self.after(0, SimEvent::Tell(peer, event));
        };
        let (server, latency, waits) = (state.ends[1 - end], state.latency, state.transfers.clone());
        let mut waits = waits.into_iter();
        let waits = waits.any(|other| self.transfers.get(other).is_some_and(|it| it.asking && it.asker == peer));
        let bytes = self.bytes_of(content, run);
        let transfer = Transfer::new((conn, request), (peer, server), content, (run, bytes));
        let transfer = self.transfers.add(Transfer { awaited, ..transfer });
        let Some((state, end)) = self.connections.get(conn) else { return };
        if !waits {
            state.heard[end] = self.now;
        }
        state.transfers.push(transfer);
        self.begin_asking(peer, request, transfer, bytes);
        self.after(latency, SimEvent::Requested(transfer));
    }

    /// Asks for whatever is offered first.
    pub(super) fn ask_first(&mut self, peer: PeerIx, conn: ConnId, request: RequestId, content: ContentId, most: u64) {
        let content = self.content(content);
        let Some((state, end)) = self.connections.standing(conn) else {
            let event = Event::Finished { request, failure: Some(Failure::Broken) };
            return self.after(0, SimEvent::Tell(peer, event));
        };
        let (server, latency) = (state.ends[1 - end], state.latency);
        let run = PieceRange { first: 0, count: 0 };
        let transfer = Transfer::new((conn, request), (peer, server), content, (run, 0));
        let transfer = self.transfers.add(Transfer { first: Some(most), held: Some(Vec::new()), ..transfer });
        let Some((state, end)) = self.connections.get(conn) else { return };
        state.heard[end] = self.now;
        state.transfers.push(transfer);
        self.begin_asking(peer, request, transfer, 0);
        self.after(latency, SimEvent::Requested(transfer));
    }

    pub(super) fn chosen(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(id).filter(|transfer| transfer.asking) else { return };
        let (peer, request, run) = (transfer.asker, transfer.request, transfer.run);
        self.tell(peer, Event::FirstPieces { request, run });
    }

    /// The asker knows what to do with what comes.
    pub(super) fn take_first(&mut self, peer: PeerIx, request: RequestId) {
        let Some(&id) = self.peers[peer as usize].requests.get(&request) else { return };
        let Some(transfer) = self.transfers.get(id) else { return };
        let (content, run) = (transfer.content, transfer.run);
        let bytes = self.bytes_of(content, run);
        if let Some(transfer) = self.transfers.get(id) {
            transfer.owed = bytes;
        }
        self.peers[peer as usize].owed += bytes;
        self.check_budget(peer);
        self.after(0, SimEvent::Released(id));
    }

    /// What was held goes where it belongs.
    pub(super) fn released(&mut self, id: TransferId) {
        let held = self.transfers.get(id).and_then(|transfer| transfer.held.take());
        for (bytes, piece, last) in held.into_iter().flatten() {
            self.came(id, bytes, piece, last);
        }
    }

    pub(super) fn begin_asking(&mut self, peer: PeerIx, request: RequestId, transfer: TransferId, bytes: u64) {
        let state = &mut self.peers[peer as usize];
        state.requests.insert(request, transfer);
        state.owed += bytes;
        self.check_budget(peer);
    }

    pub(super) fn bytes_of(&self, content: usize, run: PieceRange) -> u64 {
        run.pieces().map(|piece| self.piece_bytes(content, piece)).sum()
    }

    fn check_budget(&self, peer: PeerIx) {
        let (owed, size) = (self.peers[peer as usize].owed, u64::from(self.contents[0].geometry.piece_size()));
        // Two pieces may always be under way, however small the budget.
        if owed > self.config.budget.max(2 * size) {
            self.violated(format_args!("peer {peer} waits for {owed} bytes"));
        }
    }

    pub(super) fn came(&mut self, id: TransferId, bytes: u64, piece: Option<u32>, last: bool) {
        let Some(transfer) = self.transfers.get(id).filter(|transfer| transfer.asking) else { return };
        let (peer, request, content, conn) = (transfer.asker, transfer.request, transfer.content, transfer.conn);
        let server = transfer.server;
        match self.connections.carrying(conn) {
            Some((state, end)) => state.heard[end] = self.now,
            None if conn == ORIGIN_CONN => {}
            None => return,
        }
        if let Some(transfer) = self.transfers.get(id) {
            if let Some(held) = &mut transfer.held {
                return held.push((bytes, piece, last));
            }
            transfer.owed -= bytes;
        }
        self.peers[peer as usize].owed -= bytes;
        if self.peers[peer as usize].parts.is_some() {
            return self.part_came(peer, id, piece, last);
        }
        let wrong = self.peers.get(server as usize).map_or(0.0, |server| server.wrong);
        self.tell(peer, Event::Progress { request, bytes });
        if let Some(piece) = piece {
            let len = self.piece_bytes(content, piece);
            let right = !(wrong > 0.0 && self.random.f64() < wrong);
            if right && self.peers[peer as usize].holdings[content].have.insert(piece) {
                self.useful += len;
                self.contents[content].copies[piece as usize] += 1;
            }
            let id = self.contents[content].id;
            let stored = Event::Stored { content: id, request, piece };
            self.tell(peer, if right { stored } else { Event::Corrupt { request, piece } });
            self.check_piece(peer, content, piece);
            if content == 0 {
                self.read_on(peer);
            }
        }
        if last {
            self.finish_asking(id, None);
        }
    }

    pub(super) fn refused(&mut self, id: TransferId, reason: RefusalReason) {
        let Some(conn) = self.transfers.get(id).map(|transfer| transfer.conn) else { return };
        if self.connections.carrying(conn).is_some() {
            self.finish_asking(id, Some(Failure::Refused(reason)));
        }
    }

    /// An engine gives a request up.
    pub(super) fn cancel(&mut self, peer: PeerIx, request: RequestId) {
        let Some(&id) = self.peers[peer as usize].requests.get(&request) else { return };
        let Some(transfer) = self.transfers.get(id) else { return };
        let (conn, serving) = (transfer.conn, transfer.serving);
        if serving && conn == ORIGIN_CONN {
            let wait = self.latency_of_origin(peer);
            self.after(wait, SimEvent::Cancelled(id));
        }
        if serving && let Some((state, _)) = self.connections.get(conn).filter(|(state, _)| !state.severed) {
            let wait = state.latency;
            self.after(wait, SimEvent::Cancelled(id));
        }
        self.break_asking(id);
    }

    pub(super) fn break_asking(&mut self, id: TransferId) {
        if let Some((peer, request)) = self.stop_asking(id) {
            let event = Event::Finished { request, failure: Some(Failure::Broken) };
            self.after(0, SimEvent::Tell(peer, event));
        }
    }

    fn finish_asking(&mut self, id: TransferId, failure: Option<Failure>) {
        if let Some((peer, request)) = self.stop_asking(id) {
            self.tell(peer, Event::Finished { request, failure });
        }
    }

    pub(super) fn stop_asking(&mut self, id: TransferId) -> Option<(PeerIx, RequestId)> {
        let transfer = self.transfers.get(id).filter(|transfer| transfer.asking)?;
        transfer.asking = false;
        let (peer, request, owed) = (transfer.asker, transfer.request, transfer.owed);
        let state = &mut self.peers[peer as usize];
        state.requests.remove(&request);
        state.owed -= owed;
        self.forget_if_over(id);
        Some((peer, request))
    }
}
