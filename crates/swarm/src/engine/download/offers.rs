//! What others offer: it is asked for as far as there is room, unless it is on its way already.

use protocol::{ContentId, MAX_PIECES, PieceRange};

use super::request::Cause;
use super::{Offer, REQUESTS};
use crate::engine::Engine;
use crate::engine::peers::connection::Connection;
use crate::engine::upload::promises::ANSWER;
use crate::engine::upload::sites::Word;
use crate::event::ConnId;

/// Bytes that are worth a request of their own while others of the same peer are under way, if memory is not short.
const WORTH_ASKING: u64 = 256 << 10;
/// Offers of one connection that may wait for room.
const OFFERS: usize = 1024;

impl Engine {
    /// The other side would give us these runs.
    pub(crate) fn offered(&mut self, conn: ConnId, id: ContentId, runs: &[PieceRange]) {
        let Some(content) = self.contents.get(&id).filter(|content| content.wanted) else {
            // It offers what we have, or do not want any more.
            return self.actions.decline(conn, id, runs);
        };
        let len = content.geometry.as_ref().map_or(MAX_PIECES, |geometry| geometry.pieces());
        if !runs.iter().all(|run| run.lies_within(len)) {
            return self.close(conn, "it offers pieces that do not exist");
        }
        let now = self.now;
        let Some(Connection { download, .. }) = self.conns.get_mut(&conn) else { return };
        download.offered = Some(now);
        if download.is_shut_off() || self.downloads.rests(download, now) || download.refuses(now) {
            return self.actions.decline(conn, id, runs);
        }
        let offers = &mut download.offers;
        if content.geometry.is_none() {
            // What was offered long before the manifest came has been taken back, and this is offered instead.
            offers.retain(|offer| offer.content != id || now.saturating_sub(offer.at) <= ANSWER);
        }
        let room = OFFERS.saturating_sub(offers.len());
        let (kept, dropped) = runs.split_at(runs.len().min(room));
        offers.extend(kept.iter().map(|&run| Offer { content: id, run, at: now }));
        self.actions.decline(conn, id, dropped);
        self.downloads.offering.insert(conn);
        self.ask_for_readers();
        self.take_offers(conn);
    }

    /// Asks for what this peer offered, as far as there is room and it is not on its way already.
    fn take_offers(&mut self, conn: ConnId) {
        let mut declined: Vec<(ContentId, PieceRange)> = Vec::new();
        while let Some(state) = self.conns.get_mut(&conn) {
            let Some(&Offer { content: id, run, at }) = state.download.offers.front() else {
                self.downloads.offering.remove(&conn);
                break;
            };
            let wanted = self.contents.get(&id).filter(|content| content.wanted);
            let Some(geometry) = wanted.map(|content| content.geometry.clone()) else {
                state.download.offers.pop_front();
                declined.push((id, run));
                continue;
            };
            let Some(geometry) = geometry else { break };
            if !run.lies_within(geometry.pieces()) {
                self.close(conn, "it offers pieces that do not exist");
                return;
            }
            if self.is_kept_for_readers(conn, id) || self.awaits_first(conn, id) {
                break;
            }
            if self.is_stale_for_readers(id, at) {
                let Some(state) = self.conns.get_mut(&conn) else { break };
                state.download.offers.pop_front();
                declined.push((id, run));
                continue;
            }
            let Some(state) = self.conns.get(&conn) else { break };
            let size = u64::from(geometry.piece_size());
            let room = self.room(state, geometry.total(), size);
            let worth = WORTH_ASKING.min(self.memory(size) / REQUESTS as u64);
            if room == 0 || !state.download.fits_request() {
                break;
            }
            let end = run.pieces().end;
            let near = if self.is_far(state) { self.words_near(id) } else { Vec::new() };
            let takes = |&piece: &u32| self.takes(conn, id, piece, &near);
            let first = run.pieces().find(takes);
            let count = first.map_or(0, |first| (first..end).take_while(takes).count() as u32);
            let Some(state) = self.conns.get_mut(&conn) else { break };
            let Some(first) = first else {
                state.download.offers.pop_front();
                declined.push((id, run));
                continue;
            };
            if first > run.first {
                declined.push((id, PieceRange { first: run.first, count: first - run.first }));
            }
            // Room for a part of the run becomes room for all of it soon: many small requests cost more than a short wait, as
            // in RFC 1122, section 4.2.3.4.
            let least = geometry
                .bytes(PieceRange { first, count: 1 })
                .max(geometry.bytes(PieceRange { first, count }).min(worth));
            if room < least && state.download.owed > 0 {
                state.download.offers[0].run = PieceRange { first, count: end - first };
                break;
            }
            let count = count.min(geometry.pieces_within(first, room));
            let rest = PieceRange { first: first + count, count: end - (first + count) };
            if rest.count > 0 {
                state.download.offers[0].run = rest;
            } else {
                state.download.offers.pop_front();
            }
            self.request(conn, id, PieceRange { first, count }, Cause::Offered);
        }
        self.actions.decline_each(conn, declined);
    }

    /// Whether to ask for a piece that this peer offers.
    fn takes(&self, conn: ConnId, id: ContentId, piece: u32, near: &[Word<'_>]) -> bool {
        let (Some(content), Some(state)) = (self.contents.get(&id), self.conns.get(&conn)) else { return false };
        // Who gave something wrong, or refused, is asked only for what it says that it has.
        let trusted = state.conduct.is_clean() && self.now >= state.download.not_before;
        content.picker.is_open(piece)
            && (trusted || state.has(&id, piece))
            && !near.iter().any(|word| word.gets(piece))
            && !self.is_left_to_others(state, id, piece)
    }

    /// There may be room again: takes what waits for it, first from those who have to prove themselves, of whom there is
    /// little room, then from those whose debt is paid soonest.
    pub(crate) fn take_waiting_offers(&mut self) {
        self.ask_for_readers();
        if self.downloads.offering.is_empty() {
            return;
        }
        let mut conns: Vec<ConnId> = self.downloads.offering.iter().copied().collect();
        self.rng.shuffle(&mut conns);
        conns.sort_by_cached_key(|conn| {
            let debt = |state: &Connection| state.rate.time_for(state.download.owed);
            self.conns.get(conn).map(|state| (state.download.credit.proven, debt(state)))
        });
        conns.into_iter().for_each(|conn| self.take_offers(conn));
    }
}
