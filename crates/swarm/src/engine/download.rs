//! What to ask for: what was offered, unless it is on its way already; on our own account only where nobody offers
//! anything or someone holds a piece up. And what becomes of requests.

use std::time::Duration;

use protocol::{ContentId, MAX_OFFERS, PeerMessage, PieceSet, Run};

use super::Engine;
use super::offers::STARVING;
use crate::event::{Action, ConnId, Failure, RequestId};

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) conn: ConnId,
    pub(super) content: ContentId,
    run: Run,
    pub(super) open: Open,
    /// Bytes of the run that have not come.
    owed: u64,
    heard: Duration,
    /// Whether the answer has begun to come.
    began: bool,
    /// Whether the other side had offered it.
    offered: bool,
}

/// Pieces of a run that have not come.
#[derive(Debug)]
pub(super) struct Open {
    first: u32,
    pieces: PieceSet,
}

impl Open {
    fn new(run: Run) -> Self {
        Open { first: run.first, pieces: PieceSet::full(run.count) }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.pieces.iter().map(|piece| self.first + piece)
    }

    fn contains(&self, piece: u32) -> bool {
        piece >= self.first && self.pieces.contains(piece - self.first)
    }

    fn remove(&mut self, piece: u32) -> bool {
        piece >= self.first && self.pieces.remove(piece - self.first)
    }

    /// As the fewest runs.
    pub(super) fn runs(&self) -> Vec<Run> {
        self.pieces.runs().into_iter().map(|run| Run { first: run.first + self.first, ..run }).collect()
    }
}

/// Pieces must lack for this long before it is said.
const LACKING: Duration = Duration::from_secs(2);
/// After a refusal, the other side is left alone for this long.
const REFUSED: Duration = Duration::from_millis(300);
/// After each further one in a row for twice as long, up to so many times.
const LONGEST_REFUSED: u32 = 7;
/// With nothing under way and nothing offered for this long, we ask on our own account. What fits in one such request could
/// be here long before.
const PATIENCE: Duration = Duration::from_secs(1);
const LITTLE_PATIENCE: Duration = Duration::from_millis(250);
/// Bytes of such a request, if pieces are small.
const OWN_ACCOUNT: u64 = 1 << 20;
/// Bytes that are worth a request of their own while others of the same peer are under way, if memory is not short.
const WORTH_ASKING: u64 = 256 << 10;
/// Requests under way on one connection.
const REQUESTS: usize = 32;
/// Offers of one connection that may wait for room.
const OFFERS: usize = 1024;
/// A piece that will be here within this time and a round trip and a half may be offered.
const SOON: Duration = Duration::from_millis(20);
/// A piece that would take longer than this is asked of someone faster too.
pub(super) const SLOW: Duration = Duration::from_secs(1);

impl Engine {
    /// The other side would give us these runs.
    pub(super) fn offered(&mut self, conn: ConnId, id: ContentId, runs: &[Run], actions: &mut Vec<Action>) {
        let Some(content) = self.contents.get(&id).filter(|content| content.wanted) else {
            // It offers what we have, or do not want any more.
            return decline(conn, id, runs, actions);
        };
        let len = content.geometry.as_ref().map_or(protocol::MAX_PIECES, |geometry| geometry.pieces());
        if !runs.iter().all(|run| run.lies_within(len)) {
            return self.close(conn, "it offers pieces that do not exist", actions);
        }
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.offered = Some(now);
        let Some(state) = self.conns.get(&conn) else { return };
        if state.not_before == Duration::MAX || self.rests(state) || self.refuses(state) {
            return decline(conn, id, runs, actions);
        }
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let room = OFFERS.saturating_sub(state.offers.len());
        let (kept, dropped) = runs.split_at(runs.len().min(room));
        state.offers.extend(kept.iter().map(|&run| (id, run)));
        if !dropped.is_empty() {
            decline(conn, id, dropped, actions);
        }
        self.offering.insert(conn);
        self.take_offers(conn, actions);
    }

    /// Whether a peer refuses again and again what it offers: it is not asked for a while.
    pub(super) fn refuses(&self, state: &super::Connection) -> bool {
        state.refusals > 1 && self.now < state.not_before
    }

    /// Asks for what this peer offered, as far as there is room and it is not on its way already.
    fn take_offers(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        let mut declined: Vec<(ContentId, Run)> = Vec::new();
        while let Some(state) = self.conns.get_mut(&conn) {
            let Some(&(id, run)) = state.offers.front() else {
                self.offering.remove(&conn);
                break;
            };
            let wanted = self.contents.get(&id).filter(|content| content.wanted);
            let Some(geometry) = wanted.map(|content| content.geometry.clone()) else {
                state.offers.pop_front();
                declined.push((id, run));
                continue;
            };
            let Some(geometry) = geometry else { break };
            if !run.lies_within(geometry.pieces()) {
                self.close(conn, "it offers pieces that do not exist", actions);
                return;
            }
            let Some(state) = self.conns.get(&conn) else { break };
            let room = self.room(state, geometry.total(), u64::from(geometry.piece_size()));
            let worth = WORTH_ASKING.min(self.memory(u64::from(geometry.piece_size())) / REQUESTS as u64);
            if room == 0 || state.requests.len() >= REQUESTS {
                break;
            }
            let first = run.pieces().find(|&piece| self.takes(conn, id, piece));
            let count = first.map_or(0, |first| {
                (first..run.first + run.count).take_while(|&piece| self.takes(conn, id, piece)).count() as u32
            });
            let Some(state) = self.conns.get_mut(&conn) else { break };
            let Some(first) = first else {
                state.offers.pop_front();
                declined.push((id, run));
                continue;
            };
            // Room for a part of the run becomes room for all of it soon: many small requests cost more than a short wait, as
            // in RFC 1122, section 4.2.3.4.
            let least = geometry.bytes(Run { first, count: 1 }).max(geometry.bytes(Run { first, count }).min(worth));
            if room < least && state.owed > 0 {
                state.offers[0] = (id, Run { first, count: run.first + run.count - first });
                if first > run.first {
                    declined.push((id, Run { first: run.first, count: first - run.first }));
                }
                break;
            }
            let count = count.min(geometry.pieces_within(first, room));
            let (asked, end) = (Run { first, count }, first + count);
            if first > run.first {
                declined.push((id, Run { first: run.first, count: first - run.first }));
            }
            match run.first + run.count - end {
                0 => drop(state.offers.pop_front()),
                rest => state.offers[0] = (id, Run { first: end, count: rest }),
            }
            self.request(conn, id, asked, true, actions);
        }
        self.decline_all(conn, declined, actions);
    }

    /// Says that runs will not be asked for, in as few messages as may be.
    pub(super) fn decline_all(
        &mut self,
        conn: ConnId,
        declined: impl IntoIterator<Item = (ContentId, Run)>,
        actions: &mut Vec<Action>,
    ) {
        for (id, run) in declined {
            match actions.last_mut() {
                Some(Action::Send { conn: to, message: PeerMessage::Decline { content, runs } })
                    if *to == conn && *content == id && runs.len() < MAX_OFFERS =>
                {
                    runs.push(run);
                }
                _ => decline(conn, id, &[run], actions),
            }
        }
    }

    /// Whether to ask for a piece that this peer offers.
    fn takes(&self, conn: ConnId, id: ContentId, piece: u32) -> bool {
        let (Some(content), Some(state)) = (self.contents.get(&id), self.conns.get(&conn)) else { return false };
        // Who gave something wrong, or refused, is asked only for what it says that it has.
        let trusted = state.wrong == 0 && self.now >= state.not_before;
        let has = || state.sides.get(&id).is_some_and(|side| side.have.contains(piece));
        // What someone near gets comes from there, unless we have waited long.
        let starves = || self.now.saturating_sub(content.grew) >= STARVING;
        let nearer = || self.is_far(state) && !starves() && self.someone_gets(&self.site, id, piece);
        content.picker.is_open(piece) && (trusted || has()) && !nearer() && !self.is_left_to_others(state, id, piece)
    }

    /// There may be room again: takes what waits for it, first from those who have to prove themselves, of whom there is
    /// little room, then from those whose debt is paid soonest.
    pub(super) fn take_waiting_offers(&mut self, actions: &mut Vec<Action>) {
        if self.offering.is_empty() {
            return;
        }
        let mut conns: Vec<ConnId> = self.offering.iter().copied().collect();
        self.rng.shuffle(&mut conns);
        conns.sort_by_cached_key(|conn| {
            self.conns.get(conn).map(|state| (state.credit.proven, state.rate.time_for(state.owed)))
        });
        conns.into_iter().for_each(|conn| self.take_offers(conn, actions));
    }

    fn request(&mut self, conn: ConnId, id: ContentId, run: Run, offered: bool, actions: &mut Vec<Action>) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        for piece in run.pieces() {
            content.picker.close(piece);
            content.asked[piece as usize] = content.asked[piece as usize].saturating_add(1);
        }
        let owed = content.bytes(run);
        content.announce_at.get_or_insert(self.now + self.config.have_delay);
        let request = self.next_request;
        self.next_request += 1;
        if state.requests.is_empty() {
            state.rate.resume(self.now);
            state.heard = self.now;
        }
        state.unanswered.get_or_insert(self.now);
        state.requests.insert(request);
        content.busy = self.now;
        let (open, heard) = (Open::new(run), self.now);
        let outgoing = Outgoing { conn, content: id, run, open, owed, heard, began: false, offered };
        self.requests.insert(request, outgoing);
        self.owe(conn, owed, 0);
        actions.push(Action::Fetch { conn, request, content: id, run });
    }

    /// Where nothing is under way and nobody offers anything, one peer is asked all the same.
    pub(super) fn ask_on_own_account(&mut self, actions: &mut Vec<Action>) {
        let wanted: Vec<ContentId> = self.contents.iter().filter(|(_, c)| c.wanted).map(|(&id, _)| id).collect();
        for id in wanted {
            // What stalls is not under way, and who may not be asked offers nothing.
            let moves = |request: &Outgoing| self.conns.get(&request.conn).is_some_and(|conn| !conn.credit.stalled);
            let under_way = self.requests.values().any(|request| request.content == id && moves(request));
            let offers = |conn: &super::Connection| conn.offers.iter().any(|(content, _)| *content == id);
            let offered = self.conns.values().any(|conn| self.may_ask(conn) && offers(conn));
            let Some(content) = self.contents.get(&id).filter(|content| content.geometry.is_some()) else { continue };
            let (total, size) = (content.total(), content.piece_size());
            let patience = if total <= OWN_ACCOUNT { LITTLE_PATIENCE } else { PATIENCE };
            if under_way || offered {
                if let Some(content) = self.contents.get_mut(&id) {
                    content.busy = self.now;
                }
            } else if self.now.saturating_sub(content.busy) >= patience {
                let able = |(_, conn): &(&ConnId, &super::Connection)| self.may_ask(conn);
                let mut conns: Vec<ConnId> = self.conns.iter().filter(able).map(|(&conn, _)| conn).collect();
                self.rng.shuffle(&mut conns);
                conns.sort_by_key(|conn| self.conns.get(conn).map(Self::is_useless));
                let mut rng = self.rng.fork();
                let pick = |conn: ConnId, rng: &mut fastrand::Rng| {
                    let state = self.conns.get(&conn)?;
                    // Around the rarest piece, wherever that is: counted in whole pieces, so that it fits everywhere.
                    let room = self.room(state, total, size);
                    let most = if room < size { 0 } else { (OWN_ACCOUNT.min(room) / size).max(1) as u32 };
                    let side = state.sides.get(&id).filter(|_| most > 0)?;
                    Some((conn, content.picker.pick(&side.have, most, rng)?))
                };
                if let Some((conn, run)) = conns.into_iter().find_map(|conn| pick(conn, &mut rng)) {
                    self.request(conn, id, run, false, actions);
                }
            }
        }
    }

    /// A piece that is held up is asked of someone else too: one whose source has stalled, or is much slower than
    /// another. But only of someone who has nothing else to give, or when no other piece is left to ask for, or what comes
    /// slowly would all come twice.
    pub(super) fn ask_again(&mut self, actions: &mut Vec<Action>) {
        let mut again = Vec::new();
        for request in self.requests.values() {
            let (Some(content), Some(state)) = (self.contents.get(&request.content), self.conns.get(&request.conn))
            else {
                continue;
            };
            let size = content.piece_size();
            let stalled = self.now.saturating_sub(request.heard) >= self.config.stall;
            let takes = if state.rate.measured() { state.rate.time_for(request.owed) } else { Duration::ZERO };
            let last = !content.picker.any_open();
            if !stalled && takes < SLOW {
                continue;
            }
            let Some(piece) = request.open.iter().find(|&piece| content.asked[piece as usize] == 1) else { continue };
            let able = |(number, conn): &(&ConnId, &super::Connection)| {
                let has = conn.sides.get(&request.content).is_some_and(|side| side.have.contains(piece));
                let faster = match conn.rate.measured() {
                    true => conn.rate.time_for(conn.owed + size) * 2 < takes,
                    // A piece or two will show it.
                    false => self.is_willing(conn),
                };
                let faster = stalled || faster;
                has && faster
                    && (last || conn.requests.is_empty())
                    && **number != request.conn
                    && self.may_ask(conn)
                    && conn.requests.len() < REQUESTS
            };
            let rank = |conn: &super::Connection| (conn.credit.verified == 0, conn.owed, conn.rate.time_for(size));
            let best = self.conns.iter().filter(able).min_by_key(|(_, conn)| rank(conn));
            if let Some((&conn, _)) = best {
                again.push((conn, request.content, piece));
            }
        }
        for (conn, id, piece) in again {
            let Some(content) = self.contents.get(&id) else { continue };
            // Asking twice is no reason to hold more than may be held.
            let (total, size) = (content.total(), content.piece_size());
            let room = self.conns.get(&conn).map_or(0, |state| self.room(state, total, size));
            if room >= size && content.asked[piece as usize] == 1 {
                self.request(conn, id, Run { first: piece, count: 1 }, false, actions);
            }
        }
    }

    pub(super) fn progress(&mut self, id: RequestId, bytes: u64, actions: &mut Vec<Action>) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.heard = self.now;
        if !std::mem::replace(&mut request.began, true)
            && let Some(conn) = self.conns.get_mut(&request.conn)
        {
            // Waiting for its turn does not count against its rate.
            conn.rate.resume(self.now);
        }
        let bytes_left = request.owed.saturating_sub(bytes);
        let came = request.owed - bytes_left;
        request.owed = bytes_left;
        let conn = request.conn;
        self.owe(conn, 0, came);
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.given += came;
            if bytes > 0 {
                (conn.heard, conn.unanswered) = (self.now, None);
            }
            conn.rate.add(self.now, bytes);
        }
        self.expect_soon(id, actions);
        self.take_waiting_offers(actions);
    }

    /// Pieces that will be here by the time that a question for them could come are offered already.
    fn expect_soon(&mut self, id: RequestId, actions: &mut Vec<Action>) {
        let Some(request) = self.requests.get(&id) else { return };
        let (Some(content), Some(conn)) = (self.contents.get_mut(&request.content), self.conns.get(&request.conn))
        else {
            return;
        };
        // From somewhere that never gave anything, the first piece is as soon as any.
        let lead = self.longest_rtt.mul_f64(1.5) + SOON;
        let reach = if conn.rate.measured() { (conn.rate.average() * lead.as_secs_f64()) as u64 } else { 1 };
        let came = content.bytes(request.run) - request.owed;
        let (mut end, mut new, id) = (0, Vec::new(), request.content);
        for piece in request.run.pieces() {
            let begin = end;
            end += content.bytes(Run { first: piece, count: 1 });
            let near = if conn.rate.measured() { end <= came + reach } else { begin <= came };
            if !near {
                break;
            }
            if request.open.contains(piece) && !content.spread.listed(piece) {
                content.spread.list(piece);
                new.push(piece);
            }
        }
        if !new.is_empty() {
            self.offer_more(actions);
            new.into_iter().for_each(|piece| self.offer_fresh(id, piece, actions));
        }
    }

    pub(super) fn stored(&mut self, id: ContentId, request: RequestId, piece: u32, actions: &mut Vec<Action>) {
        let Some(content) = self.contents.get_mut(&id).filter(|content| piece < content.pieces()) else { return };
        let outgoing = self.requests.get_mut(&request).filter(|outgoing| outgoing.content == id);
        if outgoing.is_none() && !content.given_up.contains(&request) {
            return;
        }
        // What was given up while it was being stored is here all the same.
        let from = outgoing.and_then(|outgoing| outgoing.open.remove(piece).then_some(outgoing.conn));
        if from.is_some() {
            content.asked[piece as usize] -= 1;
        }
        content.picker.close(piece);
        let bytes = content.bytes(Run { first: piece, count: 1 });
        if content.have.insert(piece) {
            content.grew = self.now;
            content.spread.list(piece);
            content.unannounced.insert(piece);
            content.announce_at.get_or_insert(self.now + self.config.have_delay);
            if content.asked[piece as usize] > 0 {
                // Whoever else was asked for it need not send it.
                for (&other, state) in self.requests.iter_mut().filter(|(_, other)| other.content == id) {
                    if state.open.remove(piece) {
                        content.asked[piece as usize] -= 1;
                        if state.open.pieces.is_empty() {
                            actions.push(Action::Cancel { request: other });
                        }
                    }
                }
            }
            self.unpark(id, piece);
            let Some(content) = self.contents.get_mut(&id) else { return };
            if content.goal.contains(piece) {
                content.lacked -= 1;
            }
            if content.wanted && content.lacked == 0 {
                content.wanted = false;
                actions.push(Action::Completed { content: id });
                content.announce_at = Some(self.now);
                self.lose_interest(id, actions);
            }
        }
        if let Some(conn) = from {
            self.verified(conn, bytes);
        }
        self.serve_next(actions);
        self.take_waiting_offers(actions);
        self.offer_more(actions);
    }

    pub(super) fn wrong(&mut self, request: RequestId, piece: u32, actions: &mut Vec<Action>) {
        let Some(outgoing) = self.requests.get_mut(&request) else { return };
        let (conn, id) = (outgoing.conn, outgoing.content);
        if outgoing.open.remove(piece) {
            self.reopen(id, piece);
        }
        self.count_wrong(conn, actions);
        // That peer is not asked for this piece again.
        self.lacks_after_all(conn, id, Run { first: piece, count: 1 });
    }

    /// The other side does not have what it said it has.
    fn lacks_after_all(&mut self, conn: ConnId, id: ContentId, run: Run) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let Some(side) = state.sides.get_mut(&id) else { return };
        content.picker.left(&side.have, side.complete);
        for piece in run.pieces() {
            content.update(side, piece, |side| {
                side.have.remove(piece);
            });
        }
        side.complete = content.picker.joined(&side.have);
    }

    /// One request less for a piece. Makes it open again unless it is here or someone else still owes it.
    fn reopen(&mut self, id: ContentId, piece: u32) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        content.asked[piece as usize] -= 1;
        if content.asked[piece as usize] == 0 && !content.have.contains(piece) && content.goal.contains(piece) {
            content.picker.open(piece);
            content.spread.unlist(piece);
            content.announce_at.get_or_insert(self.now + self.config.have_delay);
        }
    }

    pub(super) fn finished(&mut self, request: RequestId, failure: Option<Failure>, actions: &mut Vec<Action>) {
        let Some(outgoing) = self.requests.get(&request) else { return };
        let (conn, id, run, offered) = (outgoing.conn, outgoing.content, outgoing.run, outgoing.offered);
        // What we gave up ourselves is no failure of the other side.
        let failure = failure.filter(|_| !outgoing.open.pieces.is_empty());
        self.forget_request(request);
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.requests.remove(&request);
        let hasty = state.unanswered.is_some_and(|since| self.now.saturating_sub(since) < self.config.stall);
        if matches!(failure, Some(Failure::Refused(_))) || (hasty && state.requests.is_empty()) {
            // It said why, or had no time to answer before we got it elsewhere.
            state.unanswered = None;
        }
        match failure {
            Some(Failure::Refused(protocol::RefusalReason::NotHeld)) => {
                state.not_before = self.now + REFUSED;
                self.lacks_after_all(conn, id, run);
            }
            Some(Failure::Refused(_)) | Some(Failure::Broken) => {
                let most = if state.credit.verified > 0 { 2 } else { LONGEST_REFUSED };
                state.not_before = self.now + REFUSED * (1 << state.refusals.min(most));
                // Who did not offer it may have had no time for it.
                state.refusals += u32::from(offered);
            }
            Some(Failure::Invalid) => {
                state.not_before = self.now + REFUSED;
                self.count_wrong(conn, actions);
            }
            None => {}
        }
        self.take_waiting_offers(actions);
    }

    /// Takes a request out of the books; what it still owed is open again.
    pub(super) fn forget_request(&mut self, request: RequestId) {
        let Some(outgoing) = self.requests.remove(&request) else { return };
        self.owe(outgoing.conn, 0, outgoing.owed);
        outgoing.open.iter().for_each(|piece| self.reopen(outgoing.content, piece));
    }

    /// Says which pieces nobody has, once nothing else can be done, and again when that changes.
    pub(super) fn say_what_lacks(&mut self, actions: &mut Vec<Action>) {
        for (&id, content) in &mut self.contents {
            let idle = content.wanted
                && content.geometry.is_some()
                && !self.requests.values().any(|request| request.content == id);
            let runs = if idle {
                let nobody = |&piece: &u32| content.picker.availability(piece) == 0;
                content
                    .have
                    .missing()
                    .filter(|&piece| content.goal.contains(piece))
                    .filter(nobody)
                    .collect::<PieceSet>()
                    .runs()
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

/// Says that runs will not be asked for.
fn decline(conn: ConnId, content: ContentId, runs: &[Run], actions: &mut Vec<Action>) {
    for runs in runs.chunks(MAX_OFFERS) {
        actions.push(Action::Send { conn, message: PeerMessage::Decline { content, runs: runs.to_vec() } });
    }
}
