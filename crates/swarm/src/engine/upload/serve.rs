//! Questions of peers: they are answered in turn, parked while their pieces are about to come, or refused.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{ContentId, PieceRange, RefusalReason};

use super::promises::Stage;
use super::{Askers, Question, Serve};
use crate::engine::Engine;
use crate::engine::content::Content;
use crate::engine::peers::connection::Connection;
use crate::event::{ConnId, ServeId};

/// Most bytes that one question may ask for, however small its pieces.
const MOST_BYTES: u64 = 32 << 20;
/// Questions of one connection that may wait without having been offered.
const UNASKED: usize = 2;
/// Bytes of one of these for which somebody waits, if what is promised to all is less.
const URGENT: u64 = 512 << 10;
/// Most bytes of a question that was not offered: those who read ask for so much at once.
const MOST_UNASKED: u64 = 4 << 20;
/// A question waits this long for pieces that are about to come.
const PARKED: Duration = Duration::from_secs(1);

/// The engine's books of peers and pieces.
struct Books<'a> {
    conns: &'a BTreeMap<ConnId, Connection>,
    contents: &'a BTreeMap<ContentId, Content>,
}

impl Askers for Books<'_> {
    fn is_held_up(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|state| state.upload.held_up)
    }

    fn is_stranger(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|state| state.upload.is_stranger())
    }

    fn owed_word(&self, conn: ConnId) -> Option<u64> {
        self.conns.get(&conn).and_then(|state| state.upload.owed_word())
    }

    fn swallows(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|state| state.upload.unannounced.swallows())
    }

    fn round_trip(&self, conn: ConnId) -> Duration {
        self.conns.get(&conn).map_or(Duration::ZERO, |state| state.rate.rtt)
    }

    fn spread(&self, content: ContentId, piece: u32) -> u32 {
        self.contents.get(&content).map_or(0, |content| content.spread.count(piece))
    }
}

impl Engine {
    pub(crate) fn requested(&mut self, conn: ConnId, serve: ServeId, id: ContentId, run: PieceRange, awaited: bool) {
        // To look at a long run of small pieces costs more than to ask for it.
        if !self.may_ask_us(conn) {
            return self.actions.refuse(serve, RefusalReason::Busy);
        }
        if let Some(state) = self.conns.get_mut(&conn) {
            state.upload.answers(self.now);
        }
        self.recount(conn);
        if let Err(reason) = self.admit(conn, serve, id, run, awaited) {
            self.asked_in_vain(conn, id, run);
            return self.actions.refuse(serve, reason);
        }
        self.serve_next();
    }

    /// Lets a question wait for its turn, unless it is to be refused.
    pub(super) fn admit(
        &mut self,
        conn: ConnId,
        serve: ServeId,
        id: ContentId,
        run: PieceRange,
        awaited: bool,
    ) -> Result<(), RefusalReason> {
        let content = self.contents.get(&id).ok_or(RefusalReason::NotHeld)?;
        let (_, target) = self.amounts(content.total(), content.piece_size());
        let state = self.conns.get_mut(&conn).ok_or(RefusalReason::Busy)?;
        if !run.lies_within(content.pieces()) || content.bytes(run) > MOST_BYTES {
            return Err(RefusalReason::Invalid);
        }
        if !run.pieces().all(|piece| content.spread.listed(piece)) {
            return Err(RefusalReason::NotHeld);
        }
        let here = run.pieces().all(|piece| content.have.contains(piece));
        let was_offered = |piece| {
            let promise = state.participation(&id).and_then(|theirs| theirs.promised.get(&piece));
            promise.is_some_and(|promise| promise.stage == Stage::Offered)
        };
        let offered = run.pieces().all(was_offered);
        // Who chooses for itself while the uplink has enough to do takes the place of a piece that nobody has yet. What somebody
        // waits for may do so, a little at a time: anyone may say that it waits.
        let bytes = content.bytes(run);
        let full = self.uploads.promised >= target;
        let little = bytes <= target.max(URGENT).max(content.piece_size());
        // Even when nobody else asks, one request must not occupy the uplink for a minute.
        let modest = bytes <= target.max(MOST_UNASKED).max(content.piece_size());
        // Nor is much sent ahead of its word while others wait, or may do so in a moment.
        let most = state.upload.most_unannounced(content.piece_size()).max(if awaited { URGENT } else { 0 });
        let beside_others = self.uploads.shares.is_contended() || (!awaited && content.takers > 1);
        let ahead = beside_others && state.upload.unannounced.bytes() + bytes > most;
        let busy = || !modest || ahead || (full && !(awaited && little)) || self.uploads.unasked(conn) >= UNASKED;
        if state.upload.waiting >= self.config.questions_per_connection || (!offered && busy()) {
            return Err(RefusalReason::Busy);
        }
        state.upload.waiting += 1;
        state.upload.asked.get_or_insert(self.now);
        let urgent = awaited && !offered && full;
        run.pieces().for_each(|piece| self.promise(conn, id, piece, Stage::Asked));
        self.uploads.wait(Question { conn, serve, content: id, run, bytes, offered, urgent, since: self.now }, here);
        Ok(())
    }

    /// Refuses what waits for pieces that do not come.
    pub(crate) fn refuse_parked(&mut self) {
        let comes = |question: &Question| {
            let listed = |content: &Content| question.run.pieces().all(|piece| content.spread.listed(piece));
            self.now.saturating_sub(question.since) < PARKED && self.contents.get(&question.content).is_some_and(listed)
        };
        for question in self.uploads.take_vain(comes) {
            self.refuse(&question);
            question.run.pieces().for_each(|piece| self.break_promise(question.conn, question.content, piece));
        }
    }

    /// A content is withdrawn: what waits for it is refused.
    pub(crate) fn refuse_content(&mut self, id: ContentId) {
        self.refuse_parked();
        for question in self.uploads.take_of(id) {
            self.refuse(&question);
        }
    }

    fn refuse(&mut self, question: &Question) {
        self.actions.refuse(question.serve, RefusalReason::NotHeld);
        if let Some(state) = self.conns.get_mut(&question.conn) {
            state.upload.waiting -= 1;
        }
    }

    /// An answer is over, of which so many pieces were handed to the transport. The others prove nothing, whether the other side says to have
    /// them or not: else it could stop each answer at once, and what it never took would count as what our uplink sends.
    pub(crate) fn served(&mut self, serve: ServeId, pieces: u32) {
        if let Some(Serve { conn, content, run, bytes, began, .. }) = self.uploads.active.remove(&serve) {
            let sent = PieceRange { first: run.first, count: pieces.min(run.count) };
            let is_sent = |piece| sent.pieces().contains(&piece);
            for piece in run.pieces() {
                // It may get the others from elsewhere: they are not offered again at once.
                self.move_promise(conn, content, piece, if is_sent(piece) { Stage::Sent } else { Stage::Declined });
            }
            let left =
                if sent.count > 0 { self.contents.get(&content).map_or(0, |content| content.bytes(sent)) } else { 0 };
            if let Some(state) = self.conns.get_mut(&conn) {
                state.upload.unannounced.has_left(self.now, bytes, left);
            }
            if sent.count > 0 {
                self.has_left(conn, content, sent, began);
            }
        }
        self.serve_next();
        self.offer_more();
    }

    /// These pieces of an answer were handed to the transport.
    fn has_left(&mut self, conn: ConnId, id: ContentId, sent: PieceRange, began: Duration) {
        let (Some(content), Some(state)) = (self.contents.get(&id), self.conns.get_mut(&conn)) else { return };
        let (rtt, bytes) = (state.rate.rtt, content.bytes(sent));
        let in_time = self.now.saturating_sub(began) <= self.uploads.patience(rtt, 0, bytes);
        state.upload.has_left(in_time);
        // It may have said already that it has all of it.
        let promised = state.participations.get(&id).map(|theirs| &theirs.promised);
        if promised.is_some_and(|promised| !sent.pieces().any(|piece| promised.contains_key(&piece))) {
            self.uploads.has_taken(&mut state.upload, rtt, bytes, Duration::ZERO);
        }
    }

    /// Writes down how far a promise has come. The other side may have said already that it has the piece: then it is over.
    fn move_promise(&mut self, conn: ConnId, id: ContentId, piece: u32, stage: Stage) {
        let theirs = self.conns.get(&conn).and_then(|state| state.participation(&id));
        if theirs.is_some_and(|theirs| theirs.promised.contains_key(&piece)) {
            self.promise(conn, id, piece, stage);
        }
    }

    /// Finds out who holds its answers up. They keep nobody else waiting, and get one answer at a time.
    fn find_held_up(&mut self) {
        let late = self.uploads.late(self.now, &Books { conns: &self.conns, contents: &self.contents });
        for conn in late {
            self.note_late(conn);
            self.uploads.note_held_up(self.now, self.config.upload_slots);
        }
    }

    fn note_late(&mut self, conn: ConnId) {
        // Several of its answers are late together: that is found once.
        if let Some(state) = self.conns.get_mut(&conn).filter(|state| !state.upload.held_up) {
            state.upload.holds_up();
            self.uploads.recount(&mut state.upload);
        }
    }

    /// Finds out who says nothing of what it is sent. What our own uplink takes for all that is on its way is no fault of theirs.
    pub(crate) fn review_word(&mut self) {
        let on_their_way = self.conns.values().map(|state| state.upload.unannounced.on_the_way()).sum();
        let rest = self.uploads.lasting(on_their_way);
        for state in self.conns.values_mut() {
            let rtt = state.round_trip();
            if let Some(swallowed) = state.upload.review_word(self.now, rest.saturating_add(rtt * 2)) {
                self.uploads.shares.count(swallowed, true);
                self.uploads.recount(&mut state.upload);
            }
        }
    }

    /// Counts what someone was promised, or does not, as it answers and takes, or not.
    pub(super) fn recount(&mut self, conn: ConnId) {
        if let Some(state) = self.conns.get_mut(&conn) {
            self.uploads.recount(&mut state.upload);
        }
    }

    /// Starts what waits, as far as there is room.
    pub(crate) fn serve_next(&mut self) {
        self.find_held_up();
        self.uploads.shares.review(self.now);
        let slots = self.config.upload_slots;
        loop {
            let books = Books { conns: &self.conns, contents: &self.contents };
            let Some(question) = self.uploads.start_next(self.now, slots, &books) else { break };
            if let Some(state) = self.conns.get_mut(&question.conn) {
                state.upload.waiting -= 1;
                let piece = self.contents.get(&question.content).map_or(0, Content::piece_size);
                state.upload.begins(question.bytes, piece);
            }
            self.actions.serve(question.serve);
        }
        // What somebody who downloads has is new to most: each piece should be whole soon.
        let has_all = !self.contents.values().any(|content| content.wanted && content.takers > 0);
        let takes = |state: &Connection| state.participations.values().any(|theirs| theirs.takes);
        let may_widen = has_all && !self.conns.values().any(|state| self.is_far(state) && takes(state));
        self.uploads.review_width(self.now, may_widen, &Books { conns: &self.conns, contents: &self.contents });
    }
}
