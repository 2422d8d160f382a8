//! How much is asked of whom: little of a peer that has given nothing yet, more with every piece that it gives, as in slow
//! start (RFC 5681), and nothing for a while of one that let us wait although others have what it owes.
//!
//! A peer that stalls keeps neither memory nor pieces: what it owes is asked of others within about two seconds. What peers did is
//! remembered by their id, and of strangers by their address, so that a new connection or a new id gains nothing. A peer
//! that has delivered is judged by that alone, whatever its address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use protocol::{ContentId, PeerId};

use super::Engine;
use super::connections::{Connection, network};
use super::download::SLOW;
use super::offers::STARVING;
use crate::event::{Action, ConnId, RequestId};

/// Most bytes asked of a peer before its first piece came.
const FIRST: u64 = 1 << 20;
/// The part of the budget that such peers may have together, and slow ones with them, of which a little is always left for
/// them; the part beyond which none of them has even one piece; and the part of a content that is asked of them.
const PROBES: u64 = 4;
const LEFT_FOR_PROBES: u64 = 8;
const LEFT_BY_PROBES: u64 = 4;
const PROBED: u64 = 2;
/// Bytes of memory for each piece of a content: its digest, and our books of it. A million of them take as much as the
/// budget does, and take it from there, but for so many bytes and not all.
const LISTED: u64 = 56;
const UNLISTED: u64 = 8 << 20;
const LEFT: u64 = 8;
/// A peer owes no more than it brings in this time: the rest of the budget is for others.
const HORIZON: Duration = Duration::from_secs(4);
const SLOW_HORIZON: Duration = Duration::from_secs(2);
/// Whoever is this many times slower than the fastest counts among those who have to prove themselves.
const BESIDE: f64 = 16.0;
/// What is left of a pace after a tick without anything.
const FORGETS: f64 = 0.9;
/// Fewer bytes a second than this are too few wherever someone else has the piece.
const LEAST: f64 = 4096.0;
/// Seconds within which a stranger must bring a piece while others wait for its place.
const PIECE_WITHIN: f64 = 4.0;
/// A peer that never gave anything is given this long, and four round trips.
const UNPROVEN: Duration = Duration::from_millis(1500);
/// With nothing else left to ask for, or others waiting for its place, it is given this long to begin.
const LATE: Duration = Duration::from_millis(250);
/// Whoever sent something within this time moves.
const MOVES: Duration = Duration::from_secs(1);
/// After the first strike a peer rests for this long, after each further one twice as long. Who has delivered before rests
/// for less.
const REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(600);
const SHORT_REST: Duration = Duration::from_secs(8);
/// So many bytes, verified, make up for all strikes.
const ATONED: u64 = 8 << 20;
/// So many requests that were given up are remembered.
const GIVEN_UP: usize = 256;
/// Strikes from one address after which its strangers are asked for one piece at first.
pub(super) const SUSPECT: u32 = 3;

/// What a peer has earned on its connection.
#[derive(Debug, Default)]
pub(super) struct Credit {
    /// Bytes of verified pieces that came from it.
    pub(super) verified: u64,
    /// The same, but shrunk by strikes: how much more than at first may be asked of it.
    earned: u64,
    strikes: u32,
    since_strike: u64,
    /// It is asked for nothing before.
    pub(super) rests_until: Duration,
    /// Nothing, or next to nothing, came in the last interval though it owes us something.
    pub(super) stalled: bool,
    /// Whether it counts against the whole budget, and not only against the part for those that have to prove themselves.
    pub(super) proven: bool,
    /// When the interval began that its pace is judged by, and what had come from it.
    since: Duration,
    came: u64,
    /// Bytes a second at its best, lately, and what had come at the last tick: requests may be too short for a rate.
    best: f64,
    ticked: u64,
}

impl Credit {
    fn strike(&mut self, now: Duration) {
        self.strikes += 1;
        (self.earned, self.since_strike) = (self.earned / 4, 0);
        let most = if self.verified > 0 { SHORT_REST } else { LONGEST_REST };
        self.rests_until = now + rest(self.strikes).min(most);
    }

    fn verify(&mut self, bytes: u64) {
        self.verified += bytes;
        self.earned += 2 * bytes;
        self.since_strike += bytes;
        if self.since_strike >= ATONED {
            self.strikes = 0;
        }
    }

    /// A tick has passed.
    fn tick(&mut self, came: u64) {
        let bytes = came - std::mem::replace(&mut self.ticked, came);
        self.best = (bytes as f64 / super::TICK.as_secs_f64()).max(self.best * FORGETS);
    }

    /// Bytes a second in an interval that is over; begins the next one.
    fn pace(&mut self, now: Duration, came: u64) -> f64 {
        let bytes = came - std::mem::replace(&mut self.came, came);
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.since, now));
        bytes as f64 / elapsed.as_secs_f64().max(0.001)
    }
}

/// What strangers are counted by: an IPv4 address, or the /64 in which each can have as many IPv6 addresses as it likes.
pub(super) fn address_group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        address => network(address),
    }
}

fn rest(strikes: u32) -> Duration {
    (REST * 2u32.pow(strikes.clamp(1, 16) - 1)).min(LONGEST_REST)
}

/// What is remembered of a peer that is not connected.
#[derive(Debug, Default)]
pub(super) struct Record {
    strikes: u32,
    rests_until: Duration,
    delivered: bool,
    /// It flooded: no connection with it before.
    shunned_until: Duration,
    floods: u32,
}

impl Engine {
    /// Credit for a connection that has just been made: none, but with what is remembered against it.
    pub(super) fn first_credit(&self, peer: &PeerId, address: IpAddr) -> Credit {
        let (strikes, rests_until) = match self.records.get(peer) {
            Some(record) => (record.strikes, record.rests_until),
            None => (u32::from(self.is_suspect(peer, address)), self.now),
        };
        Credit { strikes, rests_until, since: self.now, ..Credit::default() }
    }

    /// Whether a stranger comes from an address whose strangers misbehaved.
    pub(super) fn is_suspect(&self, peer: &PeerId, address: IpAddr) -> bool {
        let delivered = self.records.get(peer).is_some_and(|record| record.delivered);
        !delivered && self.offences.get(&address_group(address)).is_some_and(|&count| count >= SUSPECT)
    }

    /// Whether a peer is not to come back yet.
    pub(super) fn is_shunned(&self, peer: &PeerId) -> bool {
        self.records.get(peer).is_some_and(|record| self.now < record.shunned_until)
    }

    /// A peer flooded: it is to stay away for a while, and strangers of its address are looked at closely.
    pub(super) fn shun(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get(&conn) else { return };
        let (peer, address) = (state.peer, state.remote.ip());
        let record = self.records.note(peer);
        record.floods += 1;
        record.shunned_until = self.now + rest(record.floods);
        self.offended(address, SUSPECT);
    }

    /// Strangers of an address misbehaved.
    fn offended(&mut self, address: IpAddr, times: u32) {
        *self.offences.note(address_group(address)) += times;
    }

    /// A connection has ended: what is to be remembered of it.
    pub(super) fn remember(&mut self, state: &Connection) {
        let credit = &state.credit;
        if credit.verified == 0 && credit.strikes == 0 {
            return;
        }
        let record = self.records.note(state.peer);
        record.delivered |= credit.verified > 0;
        // Whoever delivers enough has no strikes any more.
        record.strikes = if credit.verified > 0 { credit.strikes } else { record.strikes.max(credit.strikes) };
        record.rests_until = credit.rests_until;
    }

    /// Bytes of memory for pieces that are under way, of contents in pieces of `size`: two of them always fit.
    pub(super) fn memory(&self, size: u64) -> u64 {
        let pieces: u64 = self.contents.values().map(|content| u64::from(content.pieces())).sum();
        let listed = (pieces * LISTED).saturating_sub(UNLISTED);
        let budget = self.config.budget.saturating_sub(listed).max(self.config.budget / LEFT);
        budget.max(2 * size)
    }

    /// Bytes that may be asked of a peer now, of a content of `total` bytes in pieces of `size`.
    pub(super) fn room(&self, state: &Connection, total: u64, size: u64) -> u64 {
        let (memory, credit) = (self.memory(size), &state.credit);
        if credit.stalled || self.rests(state) || self.refuses(state) {
            return 0;
        }
        if credit.proven {
            let left = if memory / LEFT_FOR_PROBES < size { 0 } else { memory / LEFT_FOR_PROBES };
            let free = memory.saturating_sub(self.in_flight + self.probing.max(left));
            if free < size && self.in_flight + self.probing > 0 {
                return 0;
            }
            let lasting = state.rate.bytes_in(HORIZON).unwrap_or(u64::MAX);
            let most = (FIRST + credit.earned).min(lasting).max(FIRST).max(2 * size);
            return free.min(most.saturating_sub(state.owed));
        }
        let most = match (credit.verified, credit.strikes) {
            (0, 0) => FIRST,
            (0, _) => size,
            _ => state.rate.bytes_in(SLOW_HORIZON).unwrap_or(size),
        };
        let free = (memory / PROBES).min(total / PROBED).saturating_sub(self.probing);
        let free = free.min(memory.saturating_sub(self.in_flight + self.probing));
        let room = most.saturating_sub(state.owed).min(free);
        let probing = self.probing + size;
        let piece_fits = probing <= memory - memory / LEFT_BY_PROBES && self.in_flight + probing <= memory;
        match room {
            _ if state.owed == 0 && piece_fits => room.max(size),
            // Less than a piece is no room, or a whole one would be asked for.
            _ if room < size => 0,
            _ => room,
        }
    }

    /// A peer is owed more, or less, than before.
    pub(super) fn owe(&mut self, conn: ConnId, more: u64, less: u64) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.owed = state.owed + more - less;
        let sum = if state.credit.proven { &mut self.in_flight } else { &mut self.probing };
        *sum = *sum + more - less;
    }

    /// Counts a peer among those that have proven themselves, or not.
    fn prove(&mut self, conn: ConnId, proven: bool) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if std::mem::replace(&mut state.credit.proven, proven) == proven {
            return;
        }
        let (from, to) = match proven {
            true => (&mut self.probing, &mut self.in_flight),
            false => (&mut self.in_flight, &mut self.probing),
        };
        *from -= state.owed;
        *to += state.owed;
    }

    /// A verified piece of so many bytes came from a peer.
    pub(super) fn verified(&mut self, conn: ConnId, bytes: u64) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let first = state.credit.verified == 0;
        state.credit.verify(bytes);
        state.messages.earn();
        state.refusals = 0;
        if first && self.conns.get(&conn).is_some_and(|state| !state.rate.measured() || !self.is_slow(state)) {
            self.prove(conn, true);
        }
    }

    /// Whether a peer is so much slower than the fastest that it has to prove itself.
    fn is_slow(&self, state: &Connection) -> bool {
        state.rate.average().max(state.credit.best) * BESIDE < self.fastest
    }

    /// Judges the pace of all who owe us something: what the stalled ones owe goes to whoever else has it.
    pub(super) fn review_pace(&mut self, actions: &mut Vec<Action>) {
        self.conns.values_mut().for_each(|conn| conn.credit.tick(conn.given));
        self.fastest = self.conns.values().map(|conn| conn.credit.best).fold(0.0, f64::max);
        // Somebody new waits while those who have given nothing take all that is for such: they must bring a piece soon.
        let waits = |state: &Connection| {
            state.requests.is_empty() && state.credit.strikes == 0 && !state.offers.is_empty() && self.may_ask(state)
        };
        let crowded = self.conns.values().any(waits);
        let sizes: BTreeMap<ContentId, u64> =
            self.contents.iter().map(|(&id, content)| (id, content.piece_size())).collect();
        let moves = |state: &Connection| self.now.saturating_sub(state.heard) < MOVES && !state.requests.is_empty();
        let hungry = |content: &super::Content| {
            content.wanted && content.geometry.is_some() && self.now.saturating_sub(content.grew) >= STARVING
        };
        self.starves = self.contents.values().any(hungry) && !self.conns.values().any(moves);
        // As it is before anything is moved: what one of them owed is open again, and the next one is as late.
        let ending: BTreeSet<ContentId> =
            self.contents.iter().filter(|(_, content)| !content.picker.any_open()).map(|(&id, _)| id).collect();
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            let (stall, now) = (self.config.stall, self.now);
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            if state.requests.is_empty() {
                state.credit.pace(now, state.given);
                state.credit.stalled = false;
            } else {
                let silent = now.saturating_sub(state.heard) >= LATE;
                let patience = match state.credit.verified {
                    0 if crowded && silent => LATE.min(stall),
                    0 => UNPROVEN.min(stall),
                    _ => stall,
                };
                if now.saturating_sub(state.credit.since) >= patience + state.round_trip() * 4 {
                    let owed = state.requests.iter().filter_map(|request| self.requests.get(request));
                    let size = owed.filter_map(|request| sizes.get(&request.content)).max().copied().unwrap_or(0);
                    let soon = if crowded && state.credit.verified == 0 { size as f64 / PIECE_WITHIN } else { 0.0 };
                    state.credit.stalled = state.credit.pace(now, state.given) < soon.max(LEAST);
                    if state.credit.stalled {
                        self.move_requests(conn, actions);
                    }
                }
            }
            self.move_last_requests(conn, &ending, actions);
            if let Some(state) = self.conns.get(&conn) {
                let proven = state.credit.verified > 0 && !state.credit.stalled && !self.is_slow(state);
                self.prove(conn, proven);
            }
        }
    }

    /// With nothing else left to ask for, whoever has not proven itself and is late with what it owes, or would take long for
    /// it, keeps everyone waiting: others bring it sooner.
    fn move_last_requests(&mut self, conn: ConnId, ending: &BTreeSet<ContentId>, actions: &mut Vec<Action>) {
        let Some(state) = self.conns.get(&conn).filter(|state| !state.credit.proven) else { return };
        let silent = self.now.saturating_sub(state.heard) >= LATE + state.round_trip() * 4;
        let late = state.credit.verified == 0 && silent;
        let slow = state.rate.measured() && state.rate.time_for(state.owed) >= SLOW;
        let last = state.requests.iter().all(|request| ending.contains(&self.requests[request].content));
        if last && (late || slow) {
            self.move_requests(conn, actions);
        }
    }

    /// Gives up what a peer owes and others have.
    fn move_requests(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        let Some(state) = self.conns.get(&conn) else { return };
        let elsewhere = |request: &&RequestId| {
            let request = &self.requests[request];
            request.open.iter().any(|piece| self.someone_else_brings(conn, request.content, piece))
        };
        let moved: Vec<RequestId> = state.requests.iter().filter(elsewhere).copied().collect();
        if moved.is_empty() {
            return;
        }
        for request in moved.iter().filter_map(|request| self.requests.get(request)) {
            if let Some(content) = self.contents.get_mut(&request.content) {
                content.moved.extend(request.open.iter());
            }
        }
        self.give_up(conn, &moved, actions);
        self.strike(conn, actions);
    }

    /// Whether a piece was waited for in vain once, and is not to be asked of a peer that may let us wait again: someone else
    /// brings it soon.
    pub(super) fn is_left_to_others(&self, state: &Connection, id: ContentId, piece: u32) -> bool {
        let has = |state: &Connection| state.sides.get(&id).is_some_and(|side| side.have.contains(piece));
        let soon = |state: &Connection| !state.rate.measured() || state.rate.time_for(state.owed) < SLOW;
        let able = |other: &Connection| other.credit.proven && soon(other) && self.may_ask(other) && has(other);
        let moved = !state.credit.proven && self.contents.get(&id).is_some_and(|c| c.moved.contains(&piece));
        moved && self.conns.values().any(able)
    }

    /// Whether a peer that never let us wait offers us something, and owes us nothing.
    pub(super) fn is_willing(&self, state: &Connection) -> bool {
        let offers = state.offered.is_some_and(|at| self.now.saturating_sub(at) < STARVING);
        offers && state.requests.is_empty() && state.credit.strikes == 0
    }

    /// Takes requests out of the books and off the wire.
    pub(super) fn give_up(&mut self, conn: ConnId, requests: &[RequestId], actions: &mut Vec<Action>) {
        for &request in requests {
            if let Some(state) = self.conns.get_mut(&conn) {
                state.requests.remove(&request);
            }
            let id = self.requests.get(&request).map(|request| request.content);
            if let Some(content) = id.and_then(|id| self.contents.get_mut(&id)) {
                content.given_up.truncate(GIVEN_UP - 1);
                content.given_up.push_front(request);
            }
            self.forget_request(request);
            actions.push(Action::Cancel { request });
        }
    }

    /// Whether someone other than this peer has a piece, and moves or was not asked for anything yet.
    fn someone_else_brings(&self, conn: ConnId, id: ContentId, piece: u32) -> bool {
        self.conns.iter().any(|(&other, state)| {
            let moves = state.credit.verified > 0 && self.now.saturating_sub(state.heard) < MOVES;
            other != conn
                && (self.is_willing(state) || moves)
                && !state.credit.stalled
                && !self.rests(state)
                && !self.refuses(state)
                && state.sides.get(&id).is_some_and(|side| side.have.contains(piece))
        })
    }

    /// Whether a peer may be asked for anything now.
    pub(super) fn may_ask(&self, state: &Connection) -> bool {
        !state.credit.stalled && !self.rests(state) && self.now >= state.not_before
    }

    /// Whether a peer is to be left alone for a while.
    pub(super) fn rests(&self, state: &Connection) -> bool {
        self.now < state.credit.rests_until && !self.starves
    }

    /// Whether a peer has let us wait and never gave us anything: it takes nobody's place.
    pub(super) fn is_useless(state: &Connection) -> bool {
        state.credit.strikes > 0 && state.credit.verified == 0
    }

    /// A peer let us wait, or broke off what it had offered: it rests, and what it offers is declined meanwhile.
    pub(super) fn strike(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.credit.strike(now);
        state.credit.stalled = false;
        let offers = std::mem::take(&mut state.offers);
        let delivered = state.credit.verified > 0 || self.records.get(&state.peer).is_some_and(|r| r.delivered);
        let address = state.remote.ip();
        if !delivered {
            self.offended(address, 1);
        }
        self.offering.remove(&conn);
        self.decline_all(conn, offers, actions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_and_deliveries_atone() {
        let mut credit = Credit::default();
        let mut rests = Vec::new();
        for _ in 0..12 {
            credit.strike(Duration::ZERO);
            rests.push(credit.rests_until.as_secs());
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        credit.verify(ATONED);
        credit.strike(Duration::ZERO);
        assert_eq!((credit.strikes, credit.rests_until), (1, REST));
        assert_eq!(credit.earned, ATONED / 2, "a strike costs three quarters of what was earned");
        (0..9).for_each(|_| credit.strike(Duration::ZERO));
        assert_eq!(credit.rests_until, SHORT_REST, "whoever has delivered is soon asked again");
    }
}
