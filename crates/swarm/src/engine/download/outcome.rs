//! What becomes of requests: bytes that arrive, pieces that are stored or wrong, and ends, good or bad.

use std::time::Duration;

use protocol::{ContentId, PieceRange, RefusalReason};

use super::origin::ORIGIN;
use super::request::Cause;
use crate::engine::Engine;
use crate::event::{ConnId, Failure, RequestId};

/// After a refusal, the other side is left alone for this long.
const REFUSED: Duration = Duration::from_millis(300);
/// After each further one in a row for twice as long, up to so many times; and of a peer that has given something.
const LONGEST_REFUSED: u32 = 7;
const LONGEST_REFUSED_BY_SOURCE: u32 = 2;
/// A piece that will be here within this time and a round trip and a half may be offered.
const SOON: Duration = Duration::from_millis(20);

impl Engine {
    pub(crate) fn progress(&mut self, request: RequestId, bytes: u64) {
        let Some(arrival) = self.downloads.arrived(request, bytes, self.now) else { return };
        if arrival.conn == ORIGIN {
            self.origin_sends(request, arrival.bytes, bytes, arrival.first);
        } else {
            self.note_peer(request, bytes);
        }
        if let Some(state) = self.conns.get_mut(&arrival.conn) {
            if arrival.first {
                // Waiting for its turn does not count against its rate.
                state.rate.resume(self.now);
            }
            self.downloads.owe(&mut state.download, 0, arrival.bytes);
            state.download.given += arrival.bytes;
            if bytes > 0 {
                (state.download.heard, state.download.unanswered) = (self.now, None);
            }
            state.rate.add(self.now, bytes);
        }
        self.expect_soon(request);
        self.take_waiting_offers();
    }

    /// Bytes of a content came from a peer.
    fn note_peer(&mut self, request: RequestId, bytes: u64) {
        let Some(request) = self.downloads.requests.get(&request) else { return };
        let far = self.conns.get(&request.conn).is_some_and(|state| state.download.credit.proven && self.is_far(state));
        let Some(content) = self.contents.get_mut(&request.content) else { return };
        if far && bytes > 0 {
            content.far_heard = self.now;
        }
        if let Some(origin) = content.origin.as_mut() {
            origin.peer_brings(bytes);
        }
    }

    /// Pieces that will be here by the time that a question for them could come are offered already.
    fn expect_soon(&mut self, request: RequestId) {
        let Some(request) = self.downloads.requests.get(&request) else { return };
        let far = self.conns.get(&request.conn).is_some_and(|state| self.is_far(state));
        let Some(content) = self.contents.get_mut(&request.content) else { return };
        let rate = match request.conn {
            ORIGIN => content.origin.as_ref().map(|origin| &origin.rate),
            conn => self.conns.get(&conn).map(|state| &state.rate),
        };
        let Some(rate) = rate.filter(|rate| rate.measured() || !far) else { return };
        // From somewhere that never gave anything, the first piece is as soon as any. Not from afar: over a thin link it takes long, and what
        // is promised before it is here keeps what is here from being given.
        let lead = self.uploads.longest_rtt.mul_f64(1.5) + SOON;
        let reach = if rate.measured() { (rate.average() * lead.as_secs_f64()) as u64 } else { 1 };
        let came = content.bytes(request.run) - request.owed;
        let (mut end, mut new, id) = (0, Vec::new(), request.content);
        for piece in request.run.pieces() {
            let begin = end;
            end += content.bytes(PieceRange { first: piece, count: 1 });
            let near = if rate.measured() { end <= came + reach } else { begin <= came };
            if !near {
                break;
            }
            if request.open.contains(piece) && !content.spread.listed(piece) {
                content.spread.list(piece);
                new.push(piece);
            }
        }
        if !new.is_empty() {
            self.offer_more();
            new.into_iter().for_each(|piece| self.offer_fresh(id, piece));
        }
    }

    pub(crate) fn stored(&mut self, id: ContentId, request: RequestId, piece: u32) {
        let Some(content) = self.contents.get_mut(&id).filter(|content| piece < content.pieces()) else { return };
        let outgoing = self.downloads.requests.get_mut(&request).filter(|outgoing| outgoing.content == id);
        if outgoing.is_none() && !content.has_given_up(request) {
            return;
        }
        // What was given up while it was being stored is here all the same.
        let from = outgoing.and_then(|outgoing| outgoing.open.remove(piece).then_some(outgoing.conn));
        if from.is_some() {
            content.unask(piece);
        }
        content.picker.close(piece);
        let bytes = content.bytes(PieceRange { first: piece, count: 1 });
        if content.have.insert(piece) {
            self.count_stored(id, piece);
        }
        match from {
            Some(ORIGIN) => self.origin_brought(id, true),
            Some(conn) => self.verified(conn, bytes),
            None => {}
        }
        self.serve_next();
        self.take_waiting_offers();
        self.offer_more();
    }

    /// A piece is here that was not before.
    fn count_stored(&mut self, id: ContentId, piece: u32) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        content.grew = self.now;
        content.spread.list(piece);
        content.unannounced.insert(piece);
        content.announce_by(self.now + self.config.have_delay, &mut self.announce_at);
        if content.asked(piece) > 0 {
            // Other peers that were asked for it need not send it.
            for (request, owes_more) in self.downloads.need_not_bring(id, piece) {
                content.unask(piece);
                if !owes_more {
                    self.actions.cancel(request);
                }
            }
        }
        self.uploads.unpark(id, piece, &content.have);
        if content.goal.contains(piece) {
            content.lacked -= 1;
        }
        if content.wanted && content.lacked == 0 {
            content.wanted = false;
            content.announce_by(self.now, &mut self.announce_at);
            self.actions.completed(id);
            self.lose_interest(id);
        }
    }

    pub(crate) fn corrupt(&mut self, request: RequestId, piece: u32) {
        let Some(outgoing) = self.downloads.requests.get_mut(&request) else { return };
        let (conn, id) = (outgoing.conn, outgoing.content);
        if outgoing.open.remove(piece) {
            self.reopen(id, piece);
        }
        if conn == ORIGIN {
            return self.origin_brought(id, false);
        }
        self.count_wrong(conn);
        // That peer is not asked for this piece again.
        self.lacks_after_all(conn, id, PieceRange { first: piece, count: 1 });
    }

    /// The other side does not have what it said it has.
    fn lacks_after_all(&mut self, conn: ConnId, id: ContentId, run: PieceRange) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let Some(theirs) = state.participations.get_mut(&id) else { return };
        content.picker.left(&theirs.have, theirs.complete);
        for piece in run.pieces() {
            content.update(theirs, piece, |theirs| {
                theirs.have.remove(piece);
            });
        }
        theirs.complete = content.picker.joined(&theirs.have);
    }

    /// One request less for a piece. Makes it open again unless it is here or someone else still owes it.
    fn reopen(&mut self, id: ContentId, piece: u32) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        if content.reopen(piece) {
            content.announce_by(self.now + self.config.have_delay, &mut self.announce_at);
        }
    }

    pub(crate) fn finished(&mut self, request: RequestId, failure: Option<Failure>) {
        if self.first_ended(request) {
            return;
        }
        let Some(outgoing) = self.downloads.requests.get(&request) else { return };
        let (conn, id, run) = (outgoing.conn, outgoing.content, outgoing.run);
        let (cause, began) = (outgoing.cause, outgoing.began);
        // What we gave up ourselves is no failure of the other side.
        let failure = failure.filter(|_| !outgoing.open.is_empty());
        self.forget_request(request);
        if conn == ORIGIN {
            return self.origin_ended(id, failure);
        }
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let download = &mut state.download;
        let hasty = download.unanswered.is_some_and(|since| self.now.saturating_sub(since) < self.config.stall);
        if matches!(failure, Some(Failure::Refused(_))) || (hasty && download.is_idle()) {
            // It said why, or had no time to answer before we got it elsewhere.
            download.unanswered = None;
        }
        match failure {
            Some(Failure::Refused(RefusalReason::NotHeld)) => {
                download.not_before = self.now + REFUSED;
                self.lacks_after_all(conn, id, run);
            }
            // It has no room for what was not offered, or is of an older version. Its offers are good all the same.
            Some(Failure::Refused(_) | Failure::Broken) if cause == Cause::Awaited && !began => {
                download.refuse_readers(self.now);
            }
            Some(Failure::Refused(_)) | Some(Failure::Broken) => {
                let source = download.credit.verified > 0;
                let most = if source { LONGEST_REFUSED_BY_SOURCE } else { LONGEST_REFUSED };
                download.not_before = self.now + REFUSED * (1 << download.refusals.min(most));
                // Who did not offer it may have had no time for it.
                download.refusals += u32::from(cause == Cause::Offered);
            }
            Some(Failure::Invalid) => {
                download.not_before = self.now + REFUSED;
                self.count_wrong(conn);
            }
            None => {}
        }
        self.take_waiting_offers();
    }

    /// Takes requests out of the books and off the wire.
    pub(crate) fn give_up(&mut self, requests: impl IntoIterator<Item = RequestId>) {
        for request in requests {
            let id = self.downloads.requests.get(&request).map(|request| request.content);
            if let Some(content) = id.and_then(|id| self.contents.get_mut(&id)) {
                content.give_up(request);
            }
            self.forget_request(request);
            self.actions.cancel(request);
        }
    }

    /// Takes a request out of the books; what it still owed is open again.
    pub(crate) fn forget_request(&mut self, request: RequestId) {
        let Some(outgoing) = self.downloads.requests.remove(&request) else { return };
        if outgoing.conn == ORIGIN {
            self.forget_read(request, outgoing.content, outgoing.owed);
        }
        if let Some(state) = self.conns.get_mut(&outgoing.conn) {
            state.download.requests.remove(&request);
            self.downloads.owe(&mut state.download, 0, outgoing.owed);
        }
        outgoing.open.iter().for_each(|piece| self.reopen(outgoing.content, piece));
    }
}
