//! Transfers: a question on its way, in the other side's queue, and as a flow of bytes. Either side may end it alone.

use protocol::{ContentId, PeerId, PieceRange, RefusalReason};
use swarm::{ConnId, Event, Failure, RequestId, ServeId};

use super::{ORIGIN_CONN, ORIGIN_PEER, PeerIx, SimEvent, World, number};
use crate::network::{FlowId, LinkId};
use crate::plan::Serves;
use crate::queue::Time;

/// Also what the serving engine knows the question by.
pub(super) type TransferId = ServeId;

/// Bytes of a flow are told at least this often, if there are any.
const PROGRESS: Time = 250_000_000;

pub(super) struct Transfer {
    generation: u32,
    conn: ConnId,
    asker: PeerIx,
    server: PeerIx,
    request: RequestId,
    content: usize,
    run: PieceRange,
    /// Whether somebody waits for them.
    awaited: bool,
    /// Most bytes of an answer that the serving side chooses, and what has come of it before the asker knew what to do with that.
    first: Option<u64>,
    held: Option<Vec<Came>>,
    /// Whether each side still has to do with it.
    asking: bool,
    serving: bool,
    flow: Option<FlowId>,
    /// The piece that is being sent, and the bytes of the run up to its end.
    piece: u32,
    piece_end: u64,
    /// Bytes that were told.
    told: u64,
    told_at: Time,
    /// Bytes that have not come.
    owed: u64,
}

/// Bytes that have come: how many, the piece that they end, and whether they are the last.
type Came = (u64, Option<u32>, bool);

impl Transfer {
    /// A question over a connection, from one peer to another.
    pub(super) fn new(
        (conn, request): (ConnId, RequestId),
        (asker, server): (PeerIx, PeerIx),
        content: usize,
        (run, owed): (PieceRange, u64),
    ) -> Self {
        Transfer {
            generation: 0,
            conn,
            asker,
            server,
            request,
            content,
            run,
            awaited: false,
            first: None,
            held: None,
            asking: true,
            serving: true,
            flow: None,
            piece: run.first,
            piece_end: 0,
            told: 0,
            told_at: 0,
            owed,
        }
    }
}

/// All transfers. An id is a generation and a slot.
#[derive(Default)]
pub(super) struct Transfers {
    slots: Vec<Transfer>,
    free: Vec<u32>,
    /// Which transfer a flow belongs to.
    of_flow: Vec<TransferId>,
    /// For each link: the version of its flows' rates.
    versions: Vec<u32>,
}

fn id(generation: u32, slot: usize) -> TransferId {
    u64::from(generation) << 32 | slot as u64
}

impl Transfers {
    pub(super) fn add_links(&mut self, count: usize) {
        self.versions.resize(self.versions.len() + count, 0);
    }

    pub(super) fn add(&mut self, transfer: Transfer) -> TransferId {
        match self.free.pop() {
            Some(slot) => {
                let generation = self.slots[slot as usize].generation;
                self.slots[slot as usize] = Transfer { generation, ..transfer };
                id(generation, slot as usize)
            }
            None => {
                self.slots.push(transfer);
                id(0, self.slots.len() - 1)
            }
        }
    }

    /// The connection over which pieces are asked for, and which, if anyone still waits for them.
    pub(super) fn asked_for(&self, id: TransferId) -> Option<(ConnId, usize, PieceRange)> {
        let transfer = self.slots.get(id as u32 as usize)?;
        let waits = transfer.asking && transfer.generation == (id >> 32) as u32;
        waits.then_some((transfer.conn, transfer.content, transfer.run))
    }

    /// Who waits for which pieces of which content that nobody sends yet.
    pub(super) fn waiting(&mut self, id: TransferId) -> Option<(PeerIx, PieceRange, usize)> {
        let transfer = self.get(id).filter(|transfer| transfer.serving && transfer.flow.is_none())?;
        Some((transfer.asker, transfer.run, transfer.content))
    }

    /// It flows from now on; its first piece has so many bytes.
    pub(super) fn flows(&mut self, id: TransferId, flow: FlowId, first: u64, now: Time) {
        if self.of_flow.len() <= flow as usize {
            self.of_flow.resize(flow as usize + 1, 0);
        }
        self.of_flow[flow as usize] = id;
        if let Some(transfer) = self.get(id) {
            (transfer.flow, transfer.piece_end, transfer.told_at) = (Some(flow), first, now);
        }
    }

    fn get(&mut self, id: TransferId) -> Option<&mut Transfer> {
        self.slots.get_mut(id as u32 as usize).filter(|transfer| transfer.generation == (id >> 32) as u32)
    }
}

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

    pub(super) fn serve(&mut self, peer: PeerIx, serve: ServeId) {
        let now = self.now;
        let Some(transfer) = self.transfers.get(serve).filter(|transfer| transfer.serving) else {
            // The peer that asked has gone meanwhile.
            return self.after(0, SimEvent::Tell(peer, Event::Served { serve, pieces: 0 }));
        };
        let (run, content, asker, conn) = (transfer.run, transfer.content, transfer.asker, transfer.conn);
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

    fn piece_bytes(&self, content: usize, piece: u32) -> u64 {
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

    /// After a piece came, the engine takes it for held exactly if it was right, now or before.
    fn check_piece(&self, peer: PeerIx, content: usize, piece: u32) {
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

    fn apart(&self, one: PeerIx, other: PeerIx) -> bool {
        self.peers[one as usize].site != self.peers[other as usize].site
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

    /// The connection stands no more for `peer`.
    pub(super) fn end_transfer(&mut self, id: TransferId, peer: PeerIx) {
        let Some(transfer) = self.transfers.get(id) else { return };
        if transfer.asker == peer {
            self.break_asking(id);
        } else if transfer.serving {
            let flowing = transfer.flow.is_some();
            self.stop_serving(id);
            if flowing {
                self.after(0, SimEvent::Tell(peer, Event::Served { serve: id, pieces: 0 }));
            }
        }
    }

    fn break_asking(&mut self, id: TransferId) {
        if let Some((peer, request)) = self.stop_asking(id) {
            let event = Event::Finished { request, failure: Some(Failure::Broken) };
            self.after(0, SimEvent::Tell(peer, event));
        }
    }

    pub(super) fn refused(&mut self, id: TransferId, reason: RefusalReason) {
        let Some(conn) = self.transfers.get(id).map(|transfer| transfer.conn) else { return };
        if self.connections.carrying(conn).is_some() {
            self.finish_asking(id, Some(Failure::Refused(reason)));
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

    /// What still flows when the run ends counts as sent.
    pub(super) fn stop_all(&mut self) {
        for slot in 0..self.transfers.slots.len() {
            self.stall(id(self.transfers.slots[slot].generation, slot));
        }
    }

    fn forget_if_over(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(id).filter(|transfer| !transfer.asking && !transfer.serving) else {
            return;
        };
        transfer.generation += 1;
        let conn = transfer.conn;
        if let Some((state, _)) = self.connections.get(conn) {
            state.transfers.retain(|&other| other != id);
        }
        self.transfers.free.push(id as u32);
    }
}
