//! Serving what was asked for: one answer after another, so that each piece is whole, and can be passed on, as soon as
//! can be. More at a time only where one does not fill the uplink.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::{ContentId, RefusalReason, Run};

use super::Engine;
use super::offers::{Promise, Stage};
use crate::event::{Action, ConnId, ServeId};

/// Questions that wait, serves that are under way, and how fast bytes leave.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    waiting: VecDeque<Question>,
    /// Questions for pieces that are about to come.
    parked: Vec<Question>,
    active: BTreeMap<ServeId, Serve>,
    /// Bytes that were offered or asked for and are not sent, but for those of who holds answers up.
    pub(super) promised: u64,
    /// When it was found of the last ones that they hold answers up.
    found: VecDeque<Duration>,
    meter: Meter,
}

#[derive(Debug)]
struct Question {
    conn: ConnId,
    serve: ServeId,
    content: ContentId,
    run: Run,
    bytes: u64,
    /// Whether it was offered.
    offered: bool,
    since: Duration,
}

#[derive(Debug)]
struct Serve {
    conn: ConnId,
    content: ContentId,
    run: Run,
    bytes: u64,
    began: Duration,
}

/// Most bytes that one question may ask for, however small its pieces.
const MOST_BYTES: u64 = 32 << 20;
/// Questions of one connection that may wait without having been offered.
const UNASKED: usize = 2;
/// What has waited this long is served before rarer pieces.
const LATE: Duration = Duration::from_secs(1);
/// A question waits this long for pieces that are about to come.
const PARKED: Duration = Duration::from_secs(1);
/// What leaves within this time may be under way at once: on fast links a serve is over before the next could start.
const AT_ONCE: Duration = Duration::from_millis(20);
/// A serve that takes longer than the uplink needs, by two round trips within these bounds, is held up by the other side: it
/// gives its slot back.
const HELD_UP: Duration = Duration::from_millis(50);
const SURELY_HELD_UP: Duration = Duration::from_millis(200);
/// While the uplink's rate is unknown, a serve that takes this long counts as held up, until it ends and shows the rate.
const UNKNOWN: Duration = Duration::from_secs(1);
/// For so long after someone was found to hold an answer up, one more answer is sent beside.
const FOUND: Duration = Duration::from_secs(2);
/// While the rate is unknown, twice as many answers are started each time that this has passed.
const DOUBLED: Duration = Duration::from_millis(500);

/// Bytes a second that arrive at those whom we serve, as they tell by their haves.
#[derive(Debug, Default)]
struct Meter {
    since: Option<Duration>,
    bytes: u64,
    haves: u32,
    rate: Option<f64>,
    /// The highest rate of late: a slow taker that has the slot must not become the measure of itself.
    peak: f64,
}

/// A sample lasts at least, and at most, so long, and covers so many pieces.
const SAMPLE: Duration = Duration::from_millis(200);
const LONGEST_SAMPLE: Duration = Duration::from_secs(1);
const SAMPLED: u32 = 8;

impl Meter {
    fn add(&mut self, now: Duration, bytes: u64) {
        let Some(since) = self.since else {
            // What comes from now on counts: when this was sent is not known.
            self.since = Some(now);
            return;
        };
        self.bytes += bytes;
        self.haves += 1;
        let elapsed = now.saturating_sub(since);
        if elapsed >= LONGEST_SAMPLE || (elapsed >= SAMPLE && self.haves >= SAMPLED) {
            let sample = self.bytes as f64 / elapsed.as_secs_f64();
            // Up at once and down slowly: to promise too little would leave the uplink idle.
            self.rate = Some(match self.rate {
                Some(rate) if rate > sample => rate + (sample - rate) * 0.25,
                _ => sample,
            });
            let peak = (self.peak * 0.995).max(sample);
            *self = Meter { since: Some(now), rate: self.rate, peak, ..Meter::default() };
        }
    }

    /// Nobody wants anything: time does not count. (While something is promised it does, though nothing is sent at the
    /// moment: on a fast link a serve is over before the next question comes, and that must show as a rate, or no more
    /// would ever be promised.)
    fn pause(&mut self) {
        *self = Meter { rate: self.rate, peak: self.peak, ..Meter::default() };
    }
}

impl Uploads {
    /// Bytes a second that leave while there is something to send; unknown at first.
    pub(super) fn rate(&self) -> Option<f64> {
        self.meter.rate
    }

    /// Looks whether anyone wants anything.
    pub(super) fn rest(&mut self) {
        if self.promised == 0 {
            self.meter.pause();
        }
    }

    /// Bytes arrived at someone whom we served.
    pub(super) fn delivered(&mut self, now: Duration, bytes: u64) {
        if bytes > 0 {
            self.meter.add(now, bytes);
        }
    }

    /// A promise is made: the bytes that are to be sent for it. Those for someone who does not take them keep nobody else
    /// from being promised something.
    pub(super) fn owe(&mut self, promise: Promise, bytes: u64, counted: bool) -> u64 {
        let owed = promise.owed(bytes);
        if counted {
            self.promised += owed;
        }
        owed
    }

    /// A promise is over: the bytes that are not owed any more.
    pub(super) fn settle(&mut self, promise: Promise, bytes: u64, counted: bool) -> u64 {
        let owed = promise.owed(bytes);
        if counted {
            self.promised -= owed;
        }
        owed
    }

    /// How many answers may be sent side by side, with so many bytes that move now: one more than fills the uplink.
    /// While its rate is unknown, one, and twice as many whenever that has led to nothing for a while: whoever came first may
    /// not be taking anything.
    fn side_by_side(&self, now: Duration, bytes: u64) -> usize {
        match self.meter.rate {
            Some(rate) if (bytes as f64) < rate * AT_ONCE.as_secs_f64() => usize::MAX,
            // Where some were found to hold their answers up, others may do so too.
            Some(_) => 1 + self.found.iter().filter(|&&at| now.saturating_sub(at) < FOUND).count(),
            None => {
                let oldest = self.active.values().map(|serve| serve.began).min().unwrap_or(now);
                let doublings = now.saturating_sub(oldest).as_millis() / DOUBLED.as_millis();
                1 << doublings.min(16)
            }
        }
    }

    /// How long an answer over such a round trip may take: three times what the uplink needs for it and for those that move
    /// beside it.
    fn patience(&self, rtt: Duration, moving: u64, own: u64) -> Duration {
        let Some(rate) = self.meter.rate.map(|rate| rate.max(self.meter.peak)).filter(|&rate| rate > 0.0) else {
            return UNKNOWN;
        };
        let expected = Duration::try_from_secs_f64(3.0 * (moving + own) as f64 / rate).unwrap_or(Duration::MAX);
        expected.saturating_add((rtt * 2).clamp(HELD_UP, SURELY_HELD_UP))
    }
}

impl Engine {
    pub(super) fn asked(&mut self, conn: ConnId, serve: ServeId, id: ContentId, run: Run, actions: &mut Vec<Action>) {
        let refuse = |reason| Action::Refuse { serve, reason };
        if let Some(state) = self.conns.get_mut(&conn) {
            state.answers(self.now);
        }
        self.recount(conn);
        let Some(content) = self.contents.get(&id) else { return actions.push(refuse(RefusalReason::NotHeld)) };
        let (_, target) = self.amounts(content.total(), content.piece_size());
        let Some(state) = self.conns.get_mut(&conn) else { return actions.push(refuse(RefusalReason::Busy)) };
        if !run.lies_within(content.pieces()) || content.bytes(run) > MOST_BYTES {
            return actions.push(refuse(RefusalReason::Invalid));
        }
        if !run.pieces().all(|piece| content.spread.listed(piece)) {
            return actions.push(refuse(RefusalReason::NotHeld));
        }
        let here = run.pieces().all(|piece| content.have.contains(piece));
        let was_offered = |piece| {
            let promise = state.sides.get(&id).and_then(|side| side.promised.get(&piece));
            promise.is_some_and(|promise| promise.stage == Stage::Offered)
        };
        let offered = run.pieces().all(was_offered);
        // Who chooses for itself while the uplink has enough to do takes the place of a piece that nobody has yet.
        let full = self.uploads.promised >= target;
        let unasked = self.uploads.waiting.iter().filter(|other| other.conn == conn && !other.offered).count();
        if state.waiting >= self.config.questions_per_connection || (!offered && (full || unasked >= UNASKED)) {
            return actions.push(refuse(RefusalReason::Busy));
        }
        state.waiting += 1;
        let bytes = content.bytes(run);
        run.pieces().for_each(|piece| self.promise(conn, id, piece, Stage::Asked));
        let question = Question { conn, serve, content: id, run, bytes, offered, since: self.now };
        if here {
            self.uploads.waiting.push_back(question);
        } else {
            self.uploads.parked.push(question);
        }
        self.serve_next(actions);
    }

    /// A piece has come: what waited only for it waits for its turn now.
    pub(super) fn unpark(&mut self, id: ContentId, piece: u32) {
        let Some(content) = self.contents.get(&id) else { return };
        let Uploads { parked, waiting, .. } = &mut self.uploads;
        let mut at = 0;
        while let Some(question) = parked.get(at) {
            let waits = question.content == id && question.run.pieces().contains(&piece);
            if waits && question.run.pieces().all(|piece| content.have.contains(piece)) {
                waiting.push_back(parked.remove(at));
            } else {
                at += 1;
            }
        }
    }

    /// Refuses what waits for pieces that do not come.
    pub(super) fn refuse_parked(&mut self, actions: &mut Vec<Action>) {
        let comes = |question: &Question| {
            let listed = |content: &super::Content| question.run.pieces().all(|piece| content.spread.listed(piece));
            self.now.saturating_sub(question.since) < PARKED && self.contents.get(&question.content).is_some_and(listed)
        };
        let (keep, drop): (Vec<_>, Vec<_>) = std::mem::take(&mut self.uploads.parked).into_iter().partition(comes);
        self.uploads.parked = keep;
        for question in drop {
            actions.push(Action::Refuse { serve: question.serve, reason: RefusalReason::NotHeld });
            if let Some(state) = self.conns.get_mut(&question.conn) {
                state.waiting -= 1;
            }
            question.run.pieces().for_each(|piece| self.break_promise(question.conn, question.content, piece));
        }
    }

    pub(super) fn served(&mut self, serve: ServeId, actions: &mut Vec<Action>) {
        if let Some(Serve { conn, content, run, bytes, began }) = self.uploads.active.remove(&serve) {
            run.pieces().for_each(|piece| self.sent(conn, content, piece));
            let rtt = self.conns.get(&conn).map_or(Duration::ZERO, |state| state.rate.rtt);
            if self.now.saturating_sub(began) <= self.uploads.patience(rtt, 0, bytes) {
                self.set_held_up(conn, false);
            }
        }
        self.serve_next(actions);
        self.offer_more(actions);
    }

    /// A piece was handed to the transport. The other side may have said already that it has it.
    fn sent(&mut self, conn: ConnId, id: ContentId, piece: u32) {
        let side = self.conns.get(&conn).and_then(|state| state.sides.get(&id));
        if side.is_some_and(|side| side.promised.contains_key(&piece)) {
            self.promise(conn, id, piece, Stage::Sent);
        }
    }

    /// Finds out who holds its answers up. They keep nobody else waiting, and get one answer at a time.
    fn find_held_up(&mut self) {
        let held_up = |conn: &ConnId| self.conns.get(conn).is_some_and(|state| state.held_up);
        let moving = self.uploads.active.values().filter(|serve| !held_up(&serve.conn));
        let moving: u64 = moving.map(|serve| serve.bytes).sum();
        let late = |serve: &&Serve| {
            let took = self.now.saturating_sub(serve.began);
            let rtt = self.conns.get(&serve.conn).map_or(Duration::ZERO, |state| state.rate.rtt);
            !held_up(&serve.conn) && took > self.uploads.patience(rtt, moving - serve.bytes, serve.bytes)
        };
        let late: Vec<ConnId> = self.uploads.active.values().filter(late).map(|serve| serve.conn).collect();
        for conn in late {
            self.set_held_up(conn, true);
            self.uploads.found.truncate(self.config.upload_slots - 1);
            self.uploads.found.push_front(self.now);
        }
    }

    fn set_held_up(&mut self, conn: ConnId, held_up: bool) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.held_up = held_up;
            self.recount(conn);
        }
    }

    /// Counts what someone was promised, or does not, as it answers and takes, or not.
    pub(super) fn recount(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let counted = state.ignored == 0 && !state.held_up;
        if std::mem::replace(&mut state.counted, counted) != counted {
            match counted {
                true => self.uploads.promised += state.promised,
                false => self.uploads.promised -= state.promised,
            }
        }
    }

    /// Starts what waits, as far as there is room: the rarest piece first, so that new pieces spread fast whatever was
    /// promised before, but nothing waits for long.
    pub(super) fn serve_next(&mut self, actions: &mut Vec<Action>) {
        self.find_held_up();
        loop {
            let held_up = |conn: &ConnId| self.conns.get(conn).is_some_and(|state| state.held_up);
            let moving = self.uploads.active.values().filter(|serve| !held_up(&serve.conn));
            let (count, bytes) = moving.fold((0, 0), |(count, bytes), serve| (count + 1, bytes + serve.bytes));
            let full = count >= self.config.upload_slots.min(self.uploads.side_by_side(self.now, bytes));
            // A peer that holds answers up, or has not taken one yet, gets one at a time; the former beside all others.
            let strange = |conn: &ConnId| self.conns.get(conn).is_some_and(|state| state.taken == 0);
            let busy: BTreeSet<ConnId> = self.uploads.active.values().map(|serve| serve.conn).collect();
            let may_start = |conn: &ConnId| {
                let single = held_up(conn) || strange(conn);
                (held_up(conn) || !full) && !(single && busy.contains(conn))
            };
            let rank = |question: &Question| {
                let spread = self.contents.get(&question.content).map(|content| &content.spread);
                let count = spread.map_or(0, |spread| spread.count(question.run.first));
                let late = self.now.saturating_sub(question.since) >= LATE;
                if late { 0 } else { count }
            };
            let able = self.uploads.waiting.iter().enumerate().filter(|(_, question)| may_start(&question.conn));
            let next = able.min_by_key(|(_, question)| rank(question)).map(|(at, _)| at);
            let Some(Question { conn, serve, content, run, bytes, .. }) =
                next.and_then(|next| self.uploads.waiting.remove(next))
            else {
                break;
            };
            if let Some(state) = self.conns.get_mut(&conn) {
                state.waiting -= 1;
            }
            self.uploads.active.insert(serve, Serve { conn, content, run, bytes, began: self.now });
            actions.push(Action::Serve { serve });
        }
    }

    /// A connection is gone: nobody waits for its answers any more.
    pub(super) fn forget_questions(&mut self, conn: ConnId) {
        self.uploads.waiting.retain(|question| question.conn != conn);
        self.uploads.parked.retain(|question| question.conn != conn);
        self.uploads.active.retain(|_, serve| serve.conn != conn);
    }

    /// A content is withdrawn: what waits for it is refused.
    pub(super) fn refuse_content(&mut self, id: ContentId, actions: &mut Vec<Action>) {
        self.refuse_parked(actions);
        self.uploads.waiting.retain(|question| {
            let keep = question.content != id;
            if !keep {
                actions.push(Action::Refuse { serve: question.serve, reason: RefusalReason::NotHeld });
                if let Some(state) = self.conns.get_mut(&question.conn) {
                    state.waiting -= 1;
                }
            }
            keep
        });
    }
}
