//! Whom to ask for which pieces, how many at a time, and when to ask someone else.

use std::time::Duration;

use protocol::{ContentId, MAX_RUNS, PeerMessage, PieceSet, Run};

use super::Engine;
use crate::event::{Action, ConnId, Failure, RequestId};

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) conn: ConnId,
    pub(super) content: ContentId,
    pub(super) run: Run,
    /// Pieces of the run that have not come.
    open: PieceSet,
    /// Bytes of the run that have not come.
    owed: u64,
    asked: Duration,
    heard: Duration,
}

/// A manifest must come within this time.
const MANIFEST: Duration = Duration::from_secs(10);
/// Pieces must lack for this long before it is said.
const LACKING: Duration = Duration::from_secs(2);
/// After a refusal, the other side is left alone for this long.
const REFUSED: Duration = Duration::from_millis(300);
/// Until its rate is known, a peer is asked for this part of its even share of what is missing.
const UNMEASURED: u64 = 4;
/// Pieces in one block of so many bytes go together even if some are more common than the rarest: on a fast link many
/// small requests cost more than what rarity gains. Slow links ask for less than a block at a time anyway.
const BLOCK: u64 = 1 << 20;
/// Requests under way on one connection.
const REQUESTS: usize = 32;

impl Engine {
    /// Asks one connected peer after another for manifests that we want.
    pub(super) fn fetch_manifests(&mut self, actions: &mut Vec<Action>) {
        for (&id, content) in &mut self.contents {
            if content.geometry.is_some() || !content.wanted {
                continue;
            }
            if content.manifest_from.is_some_and(|(_, until)| self.now < until) {
                continue;
            }
            let last = content.manifest_from.map(|(conn, _)| conn);
            let has = |(_, conn): &(&ConnId, &super::Connection)| conn.sides.get(&id).is_some_and(|side| side.manifest);
            let holders: Vec<ConnId> = self.conns.iter().filter(has).map(|(&conn, _)| conn).collect();
            let others: Vec<ConnId> = holders.iter().copied().filter(|&conn| Some(conn) != last).collect();
            let from = if others.is_empty() { holders } else { others };
            if let Some(&conn) = self.rng.choice(&from) {
                content.manifest_from = Some((conn, self.now + MANIFEST));
                actions.push(Action::FetchManifest { conn, content: id });
            }
        }
    }

    pub(super) fn manifest_failed(&mut self, id: ContentId, conn: ConnId, lied: bool, actions: &mut Vec<Action>) {
        if let Some(content) = self.contents.get_mut(&id) {
            // Remembered as the last one asked, and due at once.
            content.manifest_from = Some((conn, self.now));
        }
        if let Some(side) = self.conns.get_mut(&conn).and_then(|conn| conn.sides.get_mut(&id)) {
            side.manifest = false;
        }
        if lied {
            self.ban(conn, actions);
        }
        self.fetch_manifests(actions);
    }

    /// Asks every connected peer, in random order, for as much as it can give.
    pub(super) fn ask_everyone(&mut self, actions: &mut Vec<Action>) {
        if !self.contents.values().any(|content| content.wanted && content.geometry.is_some()) {
            return;
        }
        let mut conns: Vec<_> = self.conns.keys().copied().collect();
        self.rng.shuffle(&mut conns);
        conns.into_iter().for_each(|conn| self.ask(conn, actions));
    }

    /// Asks one peer for pieces until enough is under way on its connection.
    pub(super) fn ask(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        while let Some((id, run)) = self.choose(conn) {
            let Some(content) = self.contents.get_mut(&id) else { return };
            let Some(state) = self.conns.get_mut(&conn) else { return };
            let mut open = PieceSet::empty(run.first + run.count);
            open.insert_run(run);
            run.pieces().for_each(|piece| content.picker.close(piece));
            let owed = content.bytes(run);
            let request = self.next_request;
            self.next_request += 1;
            if state.requests.is_empty() {
                state.rate.resume(self.now);
                state.heard = self.now;
            }
            state.requests.insert(request);
            state.owed += owed;
            self.in_flight += owed;
            let (asked, heard) = (self.now, self.now);
            let outgoing = Outgoing { conn, content: id, run, open, owed, asked, heard };
            self.requests.insert(request, outgoing);
            actions.push(Action::Fetch { conn, request, content: id, run });
        }
    }

    /// The next run to ask this peer for, if there is one and room for it.
    fn choose(&mut self, conn: ConnId) -> Option<(ContentId, Run)> {
        let Engine { conns, dialling, contents, config, rng, now, in_flight, .. } = self;
        let state = conns.get(&conn)?;
        if *now < state.not_before || state.requests.len() >= REQUESTS {
            return None;
        }
        let mut busy = Vec::new();
        let (window, measured) = (state.rate.window(), state.rate.measured());
        let takers = (conns.len() + dialling.len()).max(1) as u64;
        let mut wanted: Vec<ContentId> = state.sides.keys().copied().collect();
        rng.shuffle(&mut wanted);
        for id in wanted {
            let Some(content) = contents.get(&id).filter(|content| content.wanted) else { continue };
            let Some(geometry) = &content.geometry else { continue };
            let side = &state.sides[&id];
            let size = u64::from(geometry.piece_size());
            // No one is asked for more than an even part of what is missing, or the first to answer would be asked for
            // everything; and for less still while its rate is unknown, or the first of two downloaders would have claimed
            // the whole file from slow seeders before the second came, and neither would have anything to give the other.
            // But two pieces may always be under way, so that the next is on its way before the last came.
            let missing = u64::from(geometry.pieces() - content.have.count()) * size;
            let window = window.min(missing / takers / if measured { 1 } else { UNMEASURED }).max(2 * size);
            let room = config.budget.max(2 * size).saturating_sub(*in_flight);
            if state.owed >= window || (room < size && state.owed > 0) || room == 0 {
                continue;
            }
            let most = (config.request_bytes.min(window / 2).min(room) / size).max(1) as u32;
            let block = (BLOCK / size) as u32;
            if let Some(run) = content.picker.pick(&side.have, most, block, rng) {
                return Some((id, run));
            }
            busy.push(id);
        }
        busy.into_iter().find_map(|id| Some((id, self.endgame(conn, id)?)))
    }

    /// Everything is asked for already: a piece that waits for someone much slower, or stalled, is asked for twice.
    fn endgame(&self, conn: ConnId, id: ContentId) -> Option<Run> {
        let state = self.conns.get(&conn)?;
        let content = self.contents.get(&id)?;
        let side = state.sides.get(&id)?;
        let mine = |piece: u32| {
            state
                .requests
                .iter()
                .any(|request| self.requests.get(request).is_some_and(|r| r.content == id && r.open.contains(piece)))
        };
        let owes = |request: &&Outgoing, piece| request.content == id && request.open.contains(piece);
        let once = |piece| self.requests.values().filter(|request| owes(request, piece)).count() == 1;
        let size = u64::from(content.geometry.as_ref()?.piece_size());
        let ours = state.rate.time_for(state.owed + size);
        let slowest = self
            .requests
            .values()
            .filter(|request| request.content == id && request.conn != conn)
            .filter_map(|request| {
                let stalled = self.now.saturating_sub(request.heard) >= self.config.stall;
                let theirs = self.conns.get(&request.conn)?.rate.time_for(request.owed);
                let slow = theirs > ours * 2 + Duration::from_millis(100)
                    && self.now.saturating_sub(request.asked) > Duration::from_millis(200);
                let piece =
                    request.open.iter().find(|&piece| side.have.contains(piece) && !mine(piece) && once(piece))?;
                (stalled || slow).then_some((request.asked, piece))
            })
            .min()?;
        let (_, piece) = slowest;
        Some(Run { first: piece, count: 1 })
    }

    pub(super) fn progress(&mut self, request: RequestId, bytes: u64) {
        let Some(request) = self.requests.get_mut(&request) else { return };
        request.heard = self.now;
        let bytes_left = request.owed.saturating_sub(bytes);
        let came = request.owed - bytes_left;
        request.owed = bytes_left;
        self.in_flight -= came;
        if let Some(conn) = self.conns.get_mut(&request.conn) {
            conn.owed -= came;
            conn.heard = self.now;
            conn.rate.add(self.now, bytes);
        }
    }

    pub(super) fn stored(&mut self, request: RequestId, piece: u32, actions: &mut Vec<Action>) {
        let Some(outgoing) = self.requests.get_mut(&request) else { return };
        outgoing.open.remove(piece);
        let (conn, id) = (outgoing.conn, outgoing.content);
        let Some(content) = self.contents.get_mut(&id) else { return };
        content.picker.close(piece);
        if content.have.insert(piece) {
            content.unannounced.insert(piece);
            content.announce_at.get_or_insert(self.now + self.config.have_delay);
            // Whoever else was asked for it need not send it.
            let twice = self.requests.iter_mut().filter(|(_, other)| other.content == id && other.open.contains(piece));
            for (&other, state) in twice {
                state.open.remove(piece);
                if state.open.is_empty() {
                    actions.push(Action::Cancel { request: other });
                }
            }
            if content.wanted && content.have.is_full() {
                content.wanted = false;
                actions.push(Action::Completed { content: id });
                content.announce_at = Some(self.now);
                self.tell_interest(id, actions);
            }
        }
        self.ask(conn, actions);
    }

    pub(super) fn wrong(&mut self, request: RequestId, piece: u32, actions: &mut Vec<Action>) {
        let Some(outgoing) = self.requests.get_mut(&request) else { return };
        let (conn, id) = (outgoing.conn, outgoing.content);
        outgoing.open.remove(piece);
        self.reopen(id, piece);
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.wrong += 1;
        if state.wrong >= self.config.wrong_pieces {
            return self.ban(conn, actions);
        }
        // That peer is not asked for this piece again.
        if let (Some(side), Some(content)) = (state.sides.get_mut(&id), self.contents.get_mut(&id)) {
            content.picker.left(&side.have, side.complete);
            side.have.remove(piece);
            side.complete = content.picker.joined(&side.have);
        }
        self.ask_everyone(actions);
    }

    /// Makes a piece open again unless it is here or someone else still owes it.
    fn reopen(&mut self, id: ContentId, piece: u32) {
        let owed = self.requests.values().any(|request| request.content == id && request.open.contains(piece));
        if let Some(content) = self.contents.get_mut(&id).filter(|content| !owed && !content.have.contains(piece)) {
            content.picker.open(piece);
        }
    }

    pub(super) fn finished(&mut self, request: RequestId, failure: Option<Failure>, actions: &mut Vec<Action>) {
        let Some(outgoing) = self.requests.get(&request) else { return };
        let (conn, id, run) = (outgoing.conn, outgoing.content, outgoing.run);
        // What we gave up ourselves is no failure of the other side.
        let failure = failure.filter(|_| !outgoing.open.is_empty());
        self.forget_request(request);
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.requests.remove(&request);
        match failure {
            Some(Failure::Refused(protocol::RefusalReason::NotHeld)) => {
                // It does not have what it said it has: believe the refusal.
                if let (Some(side), Some(content)) = (state.sides.get_mut(&id), self.contents.get_mut(&id)) {
                    content.picker.left(&side.have, side.complete);
                    run.pieces().for_each(|piece| {
                        side.have.remove(piece);
                    });
                    side.complete = content.picker.joined(&side.have);
                }
                state.not_before = self.now + REFUSED;
            }
            Some(Failure::Refused(_)) | Some(Failure::Broken) => state.not_before = self.now + REFUSED,
            Some(Failure::Invalid) => {
                state.wrong += 1;
                if state.wrong >= self.config.wrong_pieces {
                    return self.ban(conn, actions);
                }
                state.not_before = self.now + REFUSED;
            }
            None => {}
        }
        if failure.is_some() {
            self.ask_everyone(actions);
        } else {
            self.ask(conn, actions);
        }
    }

    /// Takes a request out of the books; what it still owed is open again.
    pub(super) fn forget_request(&mut self, request: RequestId) {
        let Some(outgoing) = self.requests.remove(&request) else { return };
        self.in_flight -= outgoing.owed;
        if let Some(conn) = self.conns.get_mut(&outgoing.conn) {
            conn.owed -= outgoing.owed;
        }
        outgoing.open.iter().for_each(|piece| self.reopen(outgoing.content, piece));
    }

    /// Tells everyone who takes part which pieces are new here.
    pub(super) fn announce_pieces(&mut self, actions: &mut Vec<Action>) {
        for (&id, content) in &mut self.contents {
            if content.announce_at.is_none_or(|at| self.now < at) {
                continue;
            }
            content.announce_at = None;
            let new = std::mem::take(&mut content.unannounced);
            let runs = new.into_iter().collect::<PieceSet>().runs();
            for (&conn, _) in self.conns.iter().filter(|(_, conn)| conn.sides.contains_key(&id)) {
                for runs in runs.chunks(MAX_RUNS) {
                    let message = PeerMessage::Have { content: id, runs: runs.to_vec() };
                    actions.push(Action::Send { conn, message });
                }
            }
        }
    }

    /// Says which pieces nobody has, once nothing else can be done, and again when that changes.
    pub(super) fn say_what_lacks(&mut self, actions: &mut Vec<Action>) {
        for (&id, content) in &mut self.contents {
            let idle = content.wanted
                && content.geometry.is_some()
                && !self.requests.values().any(|request| request.content == id);
            let runs = if idle {
                let nobody = |&piece: &u32| content.picker.availability(piece) == 0;
                content.have.missing().filter(nobody).collect::<PieceSet>().runs()
            } else {
                Vec::new()
            };
            let since = *content.lacking_since.get_or_insert(self.now);
            if runs.is_empty() {
                content.lacking_since = None;
            }
            let ripe = runs.is_empty() || self.now.saturating_sub(since) >= LACKING;
            if ripe && runs != content.lacking {
                content.lacking = runs.clone();
                actions.push(Action::Lacking { content: id, runs });
            }
        }
    }
}
