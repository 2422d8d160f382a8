//! Giving pieces: what is offered to whom, what was asked for, and what is being sent.
//!
//! [`Uploads`] owns the questions that wait, the serves that are under way and the sum of what is promised; [`Upload`] is the
//! part of it that belongs to one connection. One answer is sent after another, so that each piece is whole, and can be
//! passed on, as soon as can be; more at a time only where one does not fill the uplink. `offers` decides what to give to
//! whom next, `promises` keeps the books of it, `serve` answers questions, `sites` knows who is near, `meter` how fast
//! bytes leave, `width` to how many peers is sent side by side, and `unannounced` who does not say to have what it is sent.

mod first;
mod meter;
pub(crate) mod offers;
pub(crate) mod promises;
mod serve;
pub(crate) mod sites;
mod unannounced;
mod width;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::{ContentId, PieceRange, PieceSet};

use crate::event::{ConnId, ServeId};
use meter::Meter;
use promises::Promise;
use unannounced::{Unannounced, UplinkShares};
use width::Width;

/// What has waited this long is served before rarer pieces.
const LATE: Duration = Duration::from_secs(1);
/// What leaves within this time may be under way at once: on fast links a serve is over before the next could start.
const AT_ONCE: Duration = Duration::from_millis(20);
/// A serve that takes longer than the uplink needs, by two round trips within these bounds, is held up by the other side: it
/// gives its slot back.
const HELD_UP: Duration = Duration::from_millis(50);
const SURELY_HELD_UP: Duration = Duration::from_millis(200);
/// A piece that has left is verified, and others are told of it, within this time and a round trip of at most so long.
const TOLD: Duration = Duration::from_millis(250);
const LONGEST_WAY: Duration = Duration::from_secs(3);
/// While the uplink's rate is unknown, a serve that takes this long counts as held up, until it ends and shows the rate.
const UNKNOWN: Duration = Duration::from_secs(1);
/// The penalty for a slow taker stops growing after this many findings in a row.
const MOST_FOUND: u32 = 7;
/// After a slow taker was found, one more answer is sent in parallel for this long.
const FOUND: Duration = Duration::from_secs(2);
/// While the rate is unknown, twice as many answers are started each time that this has passed.
const DOUBLED: Duration = Duration::from_millis(500);

/// What one peer was promised, and how it takes it.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Bytes that we have offered to it, or that it has asked for, and that are not sent.
    promised: u64,
    /// Whether they count among `Uploads::promised`: not while it holds answers up, swallows them or ignores offers.
    counted: bool,
    /// Bytes that it says it got from us.
    pub(crate) taken: u64,
    /// Whether it takes its answers much more slowly than they could be sent.
    held_up: bool,
    /// How often in a row it was found to do so, and how many answers it has taken in time since.
    found: u32,
    in_time: u32,
    /// Whether the last answer left in time.
    left_in_time: bool,
    /// When it was last promised something, while that does not count.
    tried: Duration,
    /// Questions of it that wait, and when there first was one that was not refused.
    waiting: usize,
    asked: Option<Duration>,
    /// Whether it ever answered an offer, and when it last asked for something or declined it.
    has_answered: bool,
    pub(crate) answered: Duration,
    /// Offers in a row that it did not answer, and from when on it gets offers again.
    ignored: u32,
    offer_after: Duration,
    unannounced: Unannounced,
}

impl Default for Upload {
    fn default() -> Self {
        Upload {
            promised: 0,
            counted: true,
            taken: 0,
            held_up: false,
            found: 0,
            in_time: 0,
            left_in_time: false,
            tried: Duration::ZERO,
            waiting: 0,
            asked: None,
            has_answered: false,
            answered: Duration::ZERO,
            ignored: 0,
            offer_after: Duration::ZERO,
            unannounced: Unannounced::default(),
        }
    }
}

impl Upload {
    /// It has answered an offer, or asked on its own account.
    fn answers(&mut self, now: Duration) {
        (self.ignored, self.answered, self.has_answered) = (0, now, true);
    }

    /// Whether it has taken nothing yet.
    fn is_stranger(&self) -> bool {
        self.taken == 0
    }

    /// When it first asked for something that it may have.
    pub(crate) fn asked(&self) -> Option<Duration> {
        self.asked
    }

    /// It holds an answer up.
    fn holds_up(&mut self) {
        (self.held_up, self.found, self.in_time) = (true, (self.found + 1).min(MOST_FOUND), 0);
    }

    /// An answer has left, in time or late.
    fn has_left(&mut self, in_time: bool) {
        self.left_in_time = in_time;
        if !in_time {
            self.in_time = 0;
        }
    }

    /// It says that it has a piece, in time or late. That an answer has left says little, since buffers take it: only both together
    /// count, and once an answer. Each time that it is found again, it has to take twice as many before others wait for it.
    fn has_taken(&mut self, in_time: bool) {
        let left_in_time = std::mem::take(&mut self.left_in_time);
        match (in_time, left_in_time) {
            (true, true) => {}
            (true, false) => return,
            (false, _) => return self.in_time = 0,
        }
        self.in_time += 1;
        if self.in_time >= 1 << self.found.saturating_sub(1) {
            self.held_up = false;
        }
        if self.in_time >= 4 << self.found {
            self.found = 0;
        }
    }
}

/// Questions that wait, serves that are under way, and how fast bytes leave.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    waiting: VecDeque<Question>,
    /// Questions for pieces that are about to come.
    parked: Vec<Question>,
    /// Questions for whatever is offered first.
    firsts: Vec<FirstQuestion>,
    active: BTreeMap<ServeId, Serve>,
    /// Bytes that were offered or asked for and are not sent, but for those of peers that hold answers up.
    promised: u64,
    /// When it was found of the last ones that they hold answers up.
    found: VecDeque<Duration>,
    meter: Meter,
    width: Width,
    shares: UplinkShares,
    /// The longest round trip to anyone who takes pieces from us.
    pub(crate) longest_rtt: Duration,
}

/// A question that waits for an offer.
#[derive(Debug, Clone, Copy)]
struct FirstQuestion {
    conn: ConnId,
    serve: ServeId,
    content: ContentId,
    /// Most bytes of the answer.
    most: u64,
    since: Duration,
}

/// A question that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    conn: ConnId,
    serve: ServeId,
    content: ContentId,
    run: PieceRange,
    bytes: u64,
    /// Whether it was offered.
    offered: bool,
    /// Whether it was not, and came though the uplink had enough to do: somebody waits for it.
    urgent: bool,
    since: Duration,
}

/// An answer that is being sent.
#[derive(Debug)]
struct Serve {
    conn: ConnId,
    content: ContentId,
    run: PieceRange,
    bytes: u64,
    urgent: bool,
    began: Duration,
}

/// What the order of serves depends on beyond the questions: the peers that ask, and how common pieces are.
trait Askers {
    /// Whether a peer holds its answers up.
    fn is_held_up(&self, conn: ConnId) -> bool;
    /// Whether a peer has taken nothing yet.
    fn is_stranger(&self, conn: ConnId) -> bool;
    /// Bytes of which a peer owes word before it is sent more, if others wait; and whether it swallows what it is sent.
    fn owed_word(&self, conn: ConnId) -> Option<u64>;
    fn swallows(&self, conn: ConnId) -> bool;
    /// The round trip to a peer.
    fn round_trip(&self, conn: ConnId) -> Duration;
    /// How many of those who take a piece have it or will have it.
    fn spread(&self, content: ContentId, piece: u32) -> u32;
}

impl Uploads {
    /// Bytes a second that leave while there is something to send; unknown at first.
    fn rate(&self) -> Option<f64> {
        self.meter.rate()
    }

    /// Looks whether anyone wants anything.
    fn rest(&mut self) {
        if self.promised == 0 {
            self.meter.pause();
        }
    }

    /// Bytes arrived at someone whom we served.
    pub(crate) fn delivered(&mut self, now: Duration, bytes: u64) {
        if bytes > 0 {
            self.meter.add(now, bytes);
            self.width.arrived(now, bytes);
        }
    }

    /// A promise is made: its bytes are to be sent. Those for someone who does not take them keep nobody else from being
    /// promised something.
    fn owe(&mut self, upload: &mut Upload, promise: Promise, bytes: u64) {
        let owed = promise.owed(bytes);
        upload.promised += owed;
        if upload.counted {
            self.promised += owed;
        }
    }

    /// A promise is over: its bytes are not owed any more.
    pub(crate) fn settle(&mut self, upload: &mut Upload, promise: Promise, bytes: u64) {
        let owed = promise.owed(bytes);
        upload.promised -= owed;
        if upload.counted {
            self.promised -= owed;
        }
    }

    /// Counts what someone was promised, or does not, as it answers and takes, or not.
    fn recount(&mut self, upload: &mut Upload) {
        let counted = upload.ignored == 0 && !upload.held_up && !upload.unannounced.swallows();
        if std::mem::replace(&mut upload.counted, counted) != counted {
            match counted {
                true => self.promised += upload.promised,
                false => self.promised -= upload.promised,
            }
        }
    }

    /// Bytes of what somebody waits for, by connection.
    fn urgent(&self) -> BTreeMap<ConnId, u64> {
        let questions = self.waiting.iter().chain(&self.parked).filter(|question| question.urgent);
        let serves = self.active.values().filter(|serve| serve.urgent);
        let mut urgent = BTreeMap::new();
        questions
            .map(|question| (question.conn, question.bytes))
            .chain(serves.map(|serve| (serve.conn, serve.bytes)))
            .for_each(|(conn, bytes)| *urgent.entry(conn).or_default() += bytes);
        urgent
    }

    /// Questions of a connection that wait without having been offered.
    fn unasked(&self, conn: ConnId) -> usize {
        self.waiting.iter().filter(|question| question.conn == conn && !question.offered).count()
    }

    /// A question waits for its turn, or for the pieces that it asks for if they are not `here` yet.
    fn wait(&mut self, question: Question, here: bool) {
        if here {
            self.waiting.push_back(question);
        } else {
            self.parked.push(question);
        }
    }

    /// A piece has come: what waited only for it waits for its turn now.
    pub(crate) fn unpark(&mut self, content: ContentId, piece: u32, have: &PieceSet) {
        let mut at = 0;
        while let Some(question) = self.parked.get(at) {
            let waits = question.content == content && question.run.pieces().contains(&piece);
            if waits && question.run.pieces().all(|piece| have.contains(piece)) {
                self.waiting.push_back(self.parked.remove(at));
            } else {
                at += 1;
            }
        }
    }

    /// Takes out the parked questions whose pieces do not come.
    fn take_vain(&mut self, comes: impl Fn(&Question) -> bool) -> Vec<Question> {
        let (keep, vain) = std::mem::take(&mut self.parked).into_iter().partition(comes);
        self.parked = keep;
        vain
    }

    /// Takes out the questions for a content that wait for their turn.
    fn take_of(&mut self, content: ContentId) -> VecDeque<Question> {
        let (keep, taken) = std::mem::take(&mut self.waiting).into_iter().partition(|other| other.content != content);
        self.waiting = keep;
        taken
    }

    /// A connection is gone: nobody waits for its answers any more.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.waiting.retain(|question| question.conn != conn);
        self.parked.retain(|question| question.conn != conn);
        self.firsts.retain(|question| question.conn != conn);
        self.active.retain(|_, serve| serve.conn != conn);
    }

    /// Starts the question whose turn it is, as far as there is room: the rarest piece first, so that new pieces spread fast
    /// whatever was promised before, but nothing waits for long.
    fn start_next(&mut self, now: Duration, slots: usize, askers: &impl Askers) -> Option<Question> {
        let moving = self.active.values().filter(|serve| !askers.is_held_up(serve.conn));
        let (count, bytes) = moving.clone().fold((0, 0), |(count, bytes), serve| (count + 1, bytes + serve.bytes));
        let peers: BTreeSet<ConnId> = moving.map(|serve| serve.conn).collect();
        let side_by_side = self.side_by_side(now, bytes);
        let full = count >= slots.min(side_by_side);
        let wider = self.rate().is_some() && peers.len() < self.width.peers();
        // A peer that holds answers up, or has not taken one yet, gets one at a time; the former beside all others.
        let busy: BTreeSet<ConnId> = self.active.values().map(|serve| serve.conn).collect();
        let spent = self.shares.is_contended() && self.shares.is_spent();
        let may_start = |conn: ConnId| {
            let held_up = askers.is_held_up(conn);
            let single = held_up || askers.is_stranger(conn);
            let has_turn = !full || held_up || (wider && !peers.contains(&conn));
            let owes_word = || askers.owed_word(conn).is_some();
            let waits = if askers.swallows(conn) { spent } else { self.shares.others_wait(now, conn) && owes_word() };
            has_turn && !(single && busy.contains(&conn)) && !waits
        };
        let rank = |question: &Question| {
            let late = now.saturating_sub(question.since) >= LATE;
            let spread = if late { 0 } else { askers.spread(question.content, question.run.first) };
            // Who owes word waits for those who owe none, or less.
            (askers.owed_word(question.conn), spread)
        };
        let able = self.waiting.iter().enumerate().filter(|(_, question)| may_start(question.conn));
        let Some(next) = able.min_by_key(|(_, question)| rank(question)).map(|(at, _)| at) else {
            // Who holds its own answer up waits for nobody else.
            let kept_waiting = self.waiting.iter().map(|question| question.conn);
            let mut kept_waiting = kept_waiting.filter(|&conn| !askers.is_held_up(conn));
            if let Some(conn) = kept_waiting.find(|&conn| askers.owed_word(conn).is_none()) {
                self.shares.contend(now, conn);
            }
            return None;
        };
        let question = self.waiting.remove(next)?;
        let Question { conn, serve, content, run, bytes, urgent, .. } = question;
        self.shares.count(bytes, askers.swallows(conn));
        self.active.insert(serve, Serve { conn, content, run, bytes, urgent, began: now });
        Some(question)
    }

    /// How many answers may be sent side by side, with so many bytes that move now: one more than fills the uplink.
    /// While its rate is unknown, one, and twice as many whenever that has led to nothing for a while: the peer that came first may
    /// not be taking anything.
    fn side_by_side(&self, now: Duration, bytes: u64) -> usize {
        match self.rate() {
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

    /// Looks whether more peers, or fewer, should be sent to side by side, if that may be tried.
    fn review_width(&mut self, now: Duration, may: bool, askers: &impl Askers) {
        let moving = || self.active.values().map(|serve| serve.conn).filter(|&conn| !askers.is_held_up(conn));
        let peers: BTreeSet<ConnId> = moving().collect();
        self.width.sends_to(now, peers.len());
        let wanting = || {
            let waiting = self.waiting.iter().map(|question| question.conn).filter(|&conn| !askers.is_held_up(conn));
            peers.iter().copied().chain(waiting).collect::<BTreeSet<_>>().len()
        };
        self.width.review(now, self.longest_rtt, may, wanting);
    }

    /// How long so many bytes take to leave, as far as is known.
    fn lasting(&self, bytes: u64) -> Duration {
        let Some(rate) = self.meter.peak() else { return Duration::ZERO };
        Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or(Duration::MAX)
    }

    /// How long an answer over such a round trip may take: three times what the uplink needs for it and for those that move
    /// beside it.
    fn patience(&self, rtt: Duration, moving: u64, own: u64) -> Duration {
        let Some(rate) = self.meter.peak() else { return UNKNOWN };
        let expected = Duration::try_from_secs_f64(3.0 * (moving + own) as f64 / rate).unwrap_or(Duration::MAX);
        expected.saturating_add((rtt * 2).clamp(HELD_UP, SURELY_HELD_UP))
    }

    /// A peer says that it has a piece of so many bytes that it did not have before, wherever it came from.
    pub(crate) fn announced(&mut self, upload: &mut Upload, now: Duration, bytes: u64) {
        upload.unannounced.announces(now, bytes);
        self.recount(upload);
    }

    /// A peer says that it has a piece of so many bytes, that long after it left.
    pub(crate) fn has_taken(&mut self, upload: &mut Upload, rtt: Duration, bytes: u64, took: Duration) {
        let way = rtt.min(LONGEST_WAY) + TOLD;
        upload.has_taken(took <= self.patience(rtt, 0, bytes).saturating_add(way));
        self.recount(upload);
    }

    /// Peers that hold answers up and were not known to: one entry for each answer.
    fn late(&self, now: Duration, askers: &impl Askers) -> Vec<ConnId> {
        let moving = self.active.values().filter(|serve| !askers.is_held_up(serve.conn));
        let moving: u64 = moving.map(|serve| serve.bytes).sum();
        let late = |serve: &&Serve| {
            let took = now.saturating_sub(serve.began);
            let rtt = askers.round_trip(serve.conn);
            !askers.is_held_up(serve.conn) && took > self.patience(rtt, moving - serve.bytes, serve.bytes)
        };
        self.active.values().filter(late).map(|serve| serve.conn).collect()
    }

    /// Someone was found to hold an answer up.
    fn note_held_up(&mut self, now: Duration, slots: usize) {
        self.found.truncate(slots - 1);
        self.found.push_front(now);
    }
}

#[cfg(test)]
mod tests;
