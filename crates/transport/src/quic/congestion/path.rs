//! What is believed of a path: how much it delivers, how long its empty round trip is, and what it loses by chance.
//!
//! Each is the best that was seen of late, since everything that hides the truth makes it look worse: a queue lengthens
//! the round trip and never shortens it, congestion adds to the loss, and a sender that had little to send, or had to
//! share, saw less delivered.

use std::time::{Duration, Instant};

use super::delivery::Sample;
use super::round::{Loss, Round};

/// What is sent ahead beyond what an empty path holds, as time at the delivery rate: it bridges late timers, and
/// acknowledgements that come in lumps. Over a LAN it is most of the window.
pub(super) const AHEAD: Duration = Duration::from_millis(4);
/// Loss above what chance takes is congestion from this share on, where no packet had to wait...
pub(super) const CONGESTED: f64 = 0.03;
/// ...and from this share on where even the luckiest did.
pub(super) const CONGESTED_QUEUE: f64 = 0.01;
/// Loss is judged when so many packets were sent.
const ENOUGH: u64 = 100;
/// No more than this is taken for chance.
const MOST_CHANCE: f64 = 0.15;

#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    rate: BestRate,
    /// The rate of the last round, if a queue stood all the time: then others may send too, and it is our part.
    part: Option<f64>,
    empty: Option<Shortest>,
    /// How much later packets come than they could, on a path that is not too full.
    jitter: Duration,
    /// The share that is lost by chance, once it is known.
    chance: Option<f64>,
    /// What was lost when little was sent, and since loss was last judged.
    quiet: Loss,
    loss: Loss,
}

impl Path {
    pub(super) fn see(&mut self, now: Instant, sample: &Sample) {
        self.empty.get_or_insert(Shortest { rtt: sample.rtt, seen: now }).see(sample.rtt, now);
        if !sample.app_limited || sample.rate > self.rate() {
            self.rate.see(sample.rate);
        }
    }

    /// The best rate of late, in bytes a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate.present.max(self.rate.last)
    }

    /// Rates that were seen before the last time are forgotten.
    pub(super) fn forget_rates(&mut self) {
        self.rate.turn();
    }

    /// The round trip of a packet that does not wait.
    pub(super) fn empty_rtt(&self) -> Duration {
        self.empty.map_or(Duration::ZERO, |empty| empty.rtt)
    }

    /// How long the empty round trip has not shown.
    pub(super) fn unseen(&self, now: Instant) -> Duration {
        self.empty.map_or(Duration::ZERO, |empty| now.saturating_duration_since(empty.seen))
    }

    pub(super) fn set_empty_rtt(&mut self, rtt: Duration, now: Instant) {
        self.empty = Some(Shortest { rtt, seen: now });
    }

    /// Bytes that must be under way for the path to be full, without a queue.
    pub(super) fn holds(&self) -> f64 {
        self.part() * self.empty_rtt().as_secs_f64() / (1.0 - self.chance())
    }

    /// Bytes that are sent ahead of what the path holds.
    pub(super) fn ahead(&self) -> f64 {
        self.part() * AHEAD.max(self.jitter.min(self.empty_rtt())).as_secs_f64()
    }

    fn part(&self) -> f64 {
        self.part.unwrap_or(self.rate())
    }

    pub(super) fn chance(&self) -> f64 {
        self.chance.unwrap_or(0.0)
    }

    /// All packets of this round waited in a queue.
    pub(super) fn waits(&self, round: &Round) -> bool {
        self.later(round, 16, AHEAD / 2)
    }

    fn later(&self, round: &Round, part: u32, least: Duration) -> bool {
        round.shortest.is_some_and(|shortest| shortest > self.empty_rtt() + (self.empty_rtt() / part).max(least))
    }

    /// Takes what this round delivered for our part, if a queue stood in it.
    pub(super) fn see_part(&mut self, round: &Round) {
        self.part = (self.later(round, 4, AHEAD) && round.rate > 0.0).then_some(round.rate);
    }

    /// A round in which no more was sent than the path holds: packets that came late did so by themselves.
    pub(super) fn see_jitter(&mut self, round: &Round) {
        if let Some(shortest) = round.shortest {
            self.jitter = round.mean_rtt().saturating_sub(shortest).max(self.jitter * 3 / 4);
        }
    }

    /// A round in which little was sent: what was lost, was lost by chance.
    pub(super) fn see_chance(&mut self, round: &Round, mtu: u64) {
        self.quiet.add(round.loss);
        if self.quiet.bytes() >= ENOUGH * mtu {
            self.chance = Some(self.quiet.share().min(MOST_CHANCE));
            self.quiet.halve();
        }
    }

    /// Judges the loss, once enough was sent to judge it: whether more is lost than chance takes, and the dice may.
    pub(super) fn congested(&mut self, round: &Round, mtu: u64) -> bool {
        self.loss.add(round.loss);
        if self.loss.bytes() < ENOUGH * mtu {
            return false;
        }
        let packets = (self.loss.bytes() / mtu) as f64;
        let share = std::mem::take(&mut self.loss).share();
        let chance = *self.chance.get_or_insert(share.min(MOST_CHANCE));
        let deviation = (chance.max(0.005) / packets).sqrt();
        let (too_much, deviations) = if self.waits(round) { (CONGESTED_QUEUE, 2.0) } else { (CONGESTED, 3.0) };
        share > chance + too_much + deviations * deviation
    }

    /// Loss that has been acted on is not judged again.
    pub(super) fn forget_loss(&mut self) {
        self.loss = Loss::default();
    }
}

/// The best rate of the present and the last period, in bytes a second.
#[derive(Debug, Clone, Copy, Default)]
struct BestRate {
    last: f64,
    present: f64,
}

impl BestRate {
    fn see(&mut self, rate: f64) {
        self.present = self.present.max(rate);
    }

    /// Begins a new period, unless nothing was seen in this one.
    fn turn(&mut self) {
        if self.present > 0.0 {
            self.last = std::mem::take(&mut self.present);
        }
    }
}

/// The shortest round trip of late, and when one as short was last seen.
#[derive(Debug, Clone, Copy)]
struct Shortest {
    rtt: Duration,
    seen: Instant,
}

impl Shortest {
    fn see(&mut self, rtt: Duration, now: Instant) {
        if rtt <= self.rtt {
            *self = Shortest { rtt, seen: now };
        } else if rtt <= self.rtt + self.rtt / 16 {
            self.seen = now;
        }
    }
}
