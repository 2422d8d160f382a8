//! Asking: what was offered, and on our own account only where nobody offers anything or someone holds a piece up.

use std::time::Duration;

use protocol::{ContentId, PieceRange};

use super::origin::ORIGIN;
use super::request::{Cause, Open, Outgoing};
use super::{Download, SLOW};
use crate::engine::Engine;
use crate::engine::peers::connection::Connection;
use crate::event::{ConnId, RequestId};

/// With nothing under way and nothing offered for this long, we ask on our own account. What fits in one such request could
/// be here long before.
const PATIENCE: Duration = Duration::from_secs(1);
const LITTLE_PATIENCE: Duration = Duration::from_millis(250);
/// Patience lasts no longer than so many such requests take at the pace of the fastest peer, and at least this long.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
const SEVERAL: u64 = 8;
/// Bytes of such a request, if pieces are small.
const OWN_ACCOUNT: u64 = 1 << 20;
/// Pieces that are looked at for it, of all peers together.
const LOOKS: usize = 1024;

impl Engine {
    /// Asks a peer for a run.
    pub(super) fn request(&mut self, conn: ConnId, id: ContentId, run: PieceRange, cause: Cause) {
        let request = self.downloads.number();
        if self.begin_request(request, (conn, id), run, cause) {
            self.actions.fetch(conn, request, id, run, cause == Cause::Awaited);
        }
    }

    /// Writes a request of this number into the books.
    pub(super) fn begin_request(
        &mut self,
        request: RequestId,
        (conn, id): (ConnId, ContentId),
        run: PieceRange,
        cause: Cause,
    ) -> bool {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else {
            return false;
        };
        run.pieces().for_each(|piece| content.ask(piece));
        content.announce_by(self.now + self.config.have_delay, &mut self.announce_at);
        content.busy = self.now;
        if state.download.is_idle() {
            state.rate.resume(self.now);
            state.download.heard = self.now;
        }
        state.download.unanswered.get_or_insert(self.now);
        let (owed, open, heard) = (content.bytes(run), Open::new(run), self.now);
        let outgoing = Outgoing { conn, content: id, run, open, owed, heard, began: false, cause };
        self.downloads.start_as(request, &mut state.download, outgoing);
        true
    }

    /// Where nothing is under way and nobody offers anything, one peer is asked all the same.
    pub(crate) fn ask_on_own_account(&mut self) {
        let wanted: Vec<ContentId> = self.contents.iter().filter(|(_, c)| c.wanted).map(|(&id, _)| id).collect();
        let several = (SEVERAL * OWN_ACCOUNT) as f64 / self.downloads.fastest.max(1.0);
        let several = Duration::try_from_secs_f64(several).unwrap_or(PATIENCE).max(LEAST_PATIENCE);
        for id in wanted {
            let moves = self.is_moving(id);
            let Some(content) = self.contents.get_mut(&id).filter(|content| content.geometry.is_some()) else {
                continue;
            };
            let patience = if content.total() <= OWN_ACCOUNT { LITTLE_PATIENCE } else { PATIENCE }.min(several);
            if moves {
                content.busy = self.now;
            } else if self.now.saturating_sub(content.busy) >= patience {
                match self.pick_on_own_account(id) {
                    Some((conn, run)) => self.request(conn, id, run, Cause::OwnAccount),
                    None => self.doubt_strangers(id),
                }
            }
        }
    }

    /// Whether pieces of a content are under way, or offered. What stalls is not under way, and who may not be asked offers
    /// nothing.
    fn is_moving(&self, id: ContentId) -> bool {
        let moves = |conn: &ConnId| self.conns.get(conn).is_some_and(|state| !state.download.credit.stalled);
        let mut requests = self.downloads.requests.values().filter(|request| request.content == id);
        let offers = |state: &Connection| state.download.offers.iter().any(|offer| offer.content == id);
        requests.any(|request| moves(&request.conn))
            || self.conns.values().any(|state| self.may_ask(state) && offers(state))
    }

    /// Whom to ask for what, of those that offer nothing: around the rarest piece, wherever that is, unless somebody near gets
    /// it. Peers that have given something go first: the last pieces may be open because another peer let us wait for them.
    fn pick_on_own_account(&mut self, id: ContentId) -> Option<(ConnId, PieceRange)> {
        let able = |(_, state): &(&ConnId, &Connection)| self.may_ask(state);
        let mut conns: Vec<ConnId> = self.conns.iter().filter(able).map(|(&conn, _)| conn).collect();
        self.rng.shuffle(&mut conns);
        let rank = |download: &Download| (download.is_useless(), !download.credit.proven);
        conns.sort_by_key(|conn| self.conns.get(conn).map(|state| rank(&state.download)));
        let (mut rng, mut looks) = (self.rng.fork(), LOOKS);
        let content = self.contents.get(&id)?;
        let (total, size, near) = (content.total(), content.piece_size(), self.words_near(id));
        conns.into_iter().find_map(|conn| {
            let state = self.conns.get(&conn)?;
            // Counted in whole pieces, so that it fits everywhere.
            let room = self.room(state, total, size);
            let most = if room < size { 0 } else { (OWN_ACCOUNT.min(room) / size).max(1) as u32 };
            let theirs = state.participation(&id).filter(|_| most > 0)?;
            let fits = |piece| !self.is_far(state) || !near.iter().any(|word| word.gets(piece));
            Some((conn, content.picker.pick(&theirs.have, most, &mut looks, &mut rng, fits)?))
        })
    }

    /// A piece that is held up is asked of someone else too: one whose source has stalled, or is much slower than
    /// another. But only of someone who has nothing else to give, or when no other piece is left to ask for, or what comes
    /// slowly would all come twice.
    pub(crate) fn ask_again(&mut self) {
        let again: Vec<_> =
            self.downloads.requests.values().filter_map(|request| self.whom_to_ask_again(request)).collect();
        for (conn, id, piece) in again {
            let Some(content) = self.contents.get(&id) else { continue };
            // Asking twice is no reason to hold more than may be held.
            let (total, size) = (content.total(), content.piece_size());
            let room = self.conns.get(&conn).map_or(0, |state| self.room(state, total, size));
            if room >= size && content.asked(piece) == 1 {
                self.request(conn, id, PieceRange { first: piece, count: 1 }, Cause::OwnAccount);
            }
        }
    }

    /// Who brings a piece of a request that is held up sooner.
    fn whom_to_ask_again(&self, request: &Outgoing) -> Option<(ConnId, ContentId, u32)> {
        let content = self.contents.get(&request.content)?;
        let rate = match request.conn {
            ORIGIN => &content.origin.as_ref()?.rate,
            conn => &self.conns.get(&conn)?.rate,
        };
        let size = content.piece_size();
        let stalled = self.now.saturating_sub(request.heard) >= self.config.stall;
        let takes = if rate.measured() { rate.time_for(request.owed) } else { Duration::ZERO };
        if !stalled && takes < SLOW {
            return None;
        }
        let last = !content.picker.any_open();
        let piece = request.open.iter().find(|&piece| content.asked(piece) == 1)?;
        let is_faster = |state: &Connection| match state.rate.measured() {
            true => state.rate.time_for(state.download.owed + size) * 2 < takes,
            // A piece or two will show it.
            false => state.download.is_willing(self.now),
        };
        // Another peer of a far site sends over the same link.
        let far = self.conns.get(&request.conn).filter(|state| self.is_far(state)).map(|state| &state.peer.site);
        let able = |(number, state): &(&ConnId, &Connection)| {
            state.has(&request.content, piece)
                && (stalled || (is_faster(state) && (last || far != Some(&state.peer.site))))
                && (last || state.download.is_idle())
                && **number != request.conn
                && self.may_ask(state)
                && state.download.fits_request()
        };
        let rank = |state: &Connection| {
            let unproven = state.download.credit.verified == 0;
            (unproven, state.download.owed, state.rate.time_for(size))
        };
        let best = self.conns.iter().filter(able).min_by_key(|(_, state)| rank(state));
        best.map(|(&conn, _)| (conn, request.content, piece))
    }
}
