//! Which peers are too slow: a peer that stalls keeps neither memory nor pieces. What it owes is asked of others within about two
//! seconds, and it rests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::ContentId;

use super::Offer;
use super::SLOW;
use super::request::Outgoing;
use crate::engine::Engine;
use crate::engine::STARVING;
use crate::engine::content::Content;
use crate::engine::peers::connection::Connection;
use crate::event::{ConnId, RequestId};

/// Fewer bytes a second than this are too few wherever someone else has the piece.
const LEAST: f64 = 4096.0;
/// Seconds within which a stranger must bring a piece while others wait for its place.
const PIECE_WITHIN: f64 = 4.0;
/// The same for one at another site: others of this site share the link with us.
const FAR_PIECE_WITHIN: f64 = 16.0;
/// A peer that never gave anything is given this long, and four round trips.
const UNPROVEN: Duration = Duration::from_millis(1500);
/// With nothing else left to ask for, or others waiting for its place, it is given this long to begin.
const LATE: Duration = Duration::from_millis(250);
/// A peer that sent something within this time moves.
const MOVES: Duration = Duration::from_secs(1);

impl Engine {
    /// Judges the pace of all who owe us something: what the stalled ones owe is asked of others that have it.
    pub(crate) fn review_pace(&mut self) {
        self.conns.values_mut().for_each(|state| state.download.credit.tick(state.download.given));
        self.downloads.fastest = self.conns.values().map(|state| state.download.credit.best).fold(0.0, f64::max);
        // Somebody new waits while those who have given nothing take all that is for such: they must bring a piece soon.
        let waits = |state: &Connection| {
            let download = &state.download;
            let new = download.is_idle() && download.credit.strikes == 0;
            new && !download.offers.is_empty() && self.may_ask(state)
        };
        let crowded = self.conns.values().any(waits);
        let sizes: BTreeMap<ContentId, u64> =
            self.contents.iter().map(|(&id, content)| (id, content.piece_size())).collect();
        let moves = |state: &Connection| self.is_moving_now(state) && !state.download.is_idle();
        let hungry = |content: &Content| {
            content.wanted && content.geometry.is_some() && self.now.saturating_sub(content.grew) >= STARVING
        };
        self.downloads.starves = self.contents.values().any(hungry) && !self.conns.values().any(moves);
        // As it is before anything is moved: what one of them owed is open again, and the next one is as late.
        let ending: BTreeSet<ContentId> =
            self.contents.iter().filter(|(_, content)| !content.picker.any_open()).map(|(&id, _)| id).collect();
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            if self.judge_pace(conn, crowded, &sizes) {
                self.move_requests(conn);
            }
            self.move_last_requests(conn, &ending);
            if let Some(state) = self.conns.get_mut(&conn) {
                let credit = &state.download.credit;
                let proven = credit.verified > 0 && !credit.stalled && !self.downloads.is_slow(state);
                self.downloads.prove(&mut state.download, proven);
            }
        }
    }

    /// Whether a peer has stalled, as far as it is time to judge it.
    fn judge_pace(&mut self, conn: ConnId, crowded: bool, sizes: &BTreeMap<ContentId, u64>) -> bool {
        let far = self.conns.get(&conn).is_some_and(|state| self.is_far(state));
        let Some(state) = self.conns.get_mut(&conn) else { return false };
        let round_trip = state.round_trip();
        let download = &mut state.download;
        if download.is_idle() {
            download.credit.pace(self.now, download.given);
            download.credit.stalled = false;
            return false;
        }
        let (stall, unproven) = (self.config.stall, download.credit.verified == 0);
        let silent = self.now.saturating_sub(download.heard) >= LATE;
        let patience = match unproven {
            true if crowded && silent && !far => LATE.min(stall),
            true => UNPROVEN.min(stall),
            false => stall,
        };
        if self.now.saturating_sub(download.credit.since) < patience + round_trip * 4 {
            return false;
        }
        let owed = download.requests.iter().filter_map(|request| self.downloads.requests.get(request));
        let size = owed.filter_map(|request| sizes.get(&request.content)).max().copied().unwrap_or(0);
        let within = if far { FAR_PIECE_WITHIN } else { PIECE_WITHIN };
        let soon = if crowded && unproven { size as f64 / within } else { 0.0 };
        download.credit.stalled = download.credit.pace(self.now, download.given) < soon.max(LEAST);
        download.credit.stalled
    }

    /// Whether bytes came from a peer of late.
    fn is_moving_now(&self, state: &Connection) -> bool {
        self.now.saturating_sub(state.download.heard) < MOVES
    }

    /// With nothing else left to ask for, a peer that has not proven itself and is late with what it owes, or would take long for
    /// it, keeps everyone waiting: others bring it sooner.
    fn move_last_requests(&mut self, conn: ConnId, ending: &BTreeSet<ContentId>) {
        let Some(state) = self.conns.get(&conn).filter(|state| !state.download.credit.proven) else { return };
        let download = &state.download;
        let silent = self.now.saturating_sub(download.heard) >= LATE + state.round_trip() * 4;
        let late = download.credit.verified == 0 && silent;
        let slow = state.rate.measured() && state.rate.time_for(download.owed) >= SLOW;
        let last = download.requests.iter().all(|request| ending.contains(&self.downloads.requests[request].content));
        if last && (late || slow) {
            self.move_requests(conn);
        }
    }

    /// Gives up what a peer owes and others have, or a spare origin.
    fn move_requests(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get(&conn) else { return };
        let elsewhere = |outgoing: &Outgoing| {
            let elsewhere = |piece| self.someone_else_brings(conn, outgoing.content, piece);
            outgoing.open.iter().any(elsewhere) || self.origin_brings(&outgoing.content)
        };
        let owed = state.download.requests.iter().copied();
        let moved: Vec<RequestId> = owed.filter(|request| elsewhere(&self.downloads.requests[request])).collect();
        if moved.is_empty() {
            return;
        }
        for outgoing in moved.iter().filter_map(|request| self.downloads.requests.get(request)) {
            if let Some(content) = self.contents.get_mut(&outgoing.content) {
                content.moved.extend(outgoing.open.iter());
            }
        }
        self.give_up(moved);
        self.strike(conn);
    }

    /// Whether someone other than this peer has a piece, and moves or was not asked for anything yet.
    fn someone_else_brings(&self, conn: ConnId, id: ContentId, piece: u32) -> bool {
        self.conns.iter().any(|(&other, state)| {
            let download = &state.download;
            let moves = download.credit.verified > 0 && self.is_moving_now(state);
            other != conn
                && (download.is_willing(self.now) || moves)
                && !download.credit.stalled
                && !self.downloads.rests(download, self.now)
                && !download.refuses(self.now)
                && state.has(&id, piece)
        })
    }

    /// Whether a piece was waited for in vain once, and is not to be asked of a peer that may let us wait again: someone else
    /// brings it soon.
    pub(super) fn is_left_to_others(&self, state: &Connection, id: ContentId, piece: u32) -> bool {
        let soon = |state: &Connection| !state.rate.measured() || state.rate.time_for(state.download.owed) < SLOW;
        let able = |other: &Connection| {
            other.download.credit.proven && soon(other) && self.may_ask(other) && other.has(&id, piece)
        };
        let moved = !state.download.credit.proven && self.contents.get(&id).is_some_and(|c| c.moved.contains(&piece));
        moved && self.conns.values().any(able)
    }

    /// A peer let us wait, or broke off what it had offered: it rests, and what it offers is declined meanwhile.
    pub(crate) fn strike(&mut self, conn: ConnId) {
        let offers = self.count_strike(conn);
        self.actions.decline_each(conn, offers.into_iter().map(|offer| (offer.content, offer.run)));
    }

    /// The same without a word to the peer: what it had offered, and is not asked for any more.
    pub(crate) fn count_strike(&mut self, conn: ConnId) -> VecDeque<Offer> {
        let Some(state) = self.conns.get_mut(&conn) else { return VecDeque::new() };
        let download = &mut state.download;
        download.credit.strike(self.now);
        download.credit.stalled = false;
        let delivered = download.credit.verified > 0 || self.peers.has_delivered(&state.peer.id);
        if !delivered {
            self.peers.offended(state.peer.address.ip());
        }
        self.downloads.offering.remove(&conn);
        std::mem::take(&mut download.offers)
    }
}
