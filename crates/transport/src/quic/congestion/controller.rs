//! A congestion controller that sends what the path was seen to deliver.
//!
//! It follows the model of BBR (draft-ietf-ccwg-bbr): the window is the delivery rate times the empty round trip, with a
//! little on top; now and then it tries more, to find out whether the path has more, and then less, so that the queue
//! which this made drains and the empty round trip shows. quinn paces by the window, so that what BBR does with rates is
//! done here with windows.
//!
//! A lost packet says little: over radio or a bad cable some per cent are lost whatever is sent. So loss counts only in
//! so far as it is above what is lost by chance, which is what is lost when little is sent.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

use super::delivery::{Delivery, Sample};
use super::model::{Best, Shortest};

/// Packets of the first window: paced over a round trip, so that more than RFC 6928's 10 do no harm.
const FIRST: u64 = 32;
/// Packets of the smallest window.
const SMALLEST: u64 = 4;
/// What is sent ahead beyond what an empty path holds, as time at the delivery rate: it bridges late timers, and
/// acknowledgements that come in lumps. Over a LAN it is most of the window.
const AHEAD: Duration = Duration::from_millis(4);
/// Packets that each connection sends ahead, whatever its rate: those that share a path get more alike by it.
const EACH: u64 = 8;
/// What is tried, as a share of what the path holds.
const MORE: f64 = 1.25;
const LESS: f64 = 0.9;
/// Growth by this share in a round shows that there is more.
const GREW: f64 = 1.08;
/// Rounds of growth by less than [`MORE`] that end the start.
const FULL: u32 = 3;
/// Rounds between two tries, and how many more by turns.
const CRUISE: u32 = 6;
/// Loss above what chance takes is congestion from this share on...
const CONGESTED: f64 = 0.03;
/// ...seen in so many packets.
const ENOUGH: f64 = 100.0;
/// No more than this is taken for chance.
const MOST_CHANCE: f64 = 0.1;
/// The empty round trip is looked for after this time in which it did not show.
const LOOK: Duration = Duration::from_secs(10);

/// For so long at least: so that it is at the same time.
const HOLD: Duration = Duration::from_millis(100);

pub(super) struct Factory;

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(ByRate::new(now, mtu.into()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The window doubles in every round, until the rate no longer grows: the best rate so far, and rounds without growth.
    Start { best: f64, full: u32 },
    /// Less is sent than the path holds: first until what is too much has gone, then for a round more.
    /// What More found, if more than before, is looked at again after it.
    Less { drained: bool, before: f64 },
    /// What the path holds is sent, for so many rounds.
    Cruise { left: u32 },
    /// More is sent: the rate before, and rounds so far.
    More { before: f64, rounds: u32, least: f64 },
    /// So little is sent that the queue of all who look at the same time is gone.
    Look { until: Option<Instant> },
}

#[derive(Debug, Clone)]
struct ByRate {
    mtu: u64,
    delivery: Delivery,
    phase: Phase,
    window: u64,
    /// What congestion has shown to be too much.
    cap: Option<f64>,
    rate: Best<f64>,
    /// The share that is lost by chance, once it is known.
    chance: Option<f64>,
    empty: Option<Shortest>,
    jitter: Duration,
    /// The last packet that was sent, and the one with whose acknowledgement the round ends.
    last_sent: u64,
    round_ends: u64,
    round: Round,
    /// What was acknowledged and lost, in rounds of less and in others.
    quiet: Loss,
    loss: Loss,
    /// What the round tells was sent in a round of less.
    was_less: bool,
    cycles: u32,
    /// Since when, and how many, samples in a row met a queue.
    late: Option<(Instant, u32)>,
    looked: Option<Duration>,
    mean: Duration,
    /// What was delivered in the last round, if there was a queue.
    share: Option<f64>,
}

/// What was seen in a round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    rate: f64,
    shortest: Option<Duration>,
    sum: Duration,
    samples: u32,
    app_limited: bool,
    acked: u64,
    lost: u64,
}

/// Bytes that arrived, and that did not.
#[derive(Debug, Clone, Copy, Default)]
struct Loss {
    acked: u64,
    lost: u64,
}

impl Loss {
    fn add(&mut self, round: &Round) {
        self.acked += round.acked;
        self.lost += round.lost;
    }

    fn share(&self) -> f64 {
        self.lost as f64 / (self.acked + self.lost).max(1) as f64
    }

    fn packets(&self, mtu: u64) -> f64 {
        ((self.acked + self.lost) / mtu) as f64
    }
}

impl ByRate {
    fn new(now: Instant, mtu: u64) -> Self {
        ByRate {
            mtu,
            delivery: Delivery::new(now),
            phase: Phase::Start { best: 0.0, full: 0 },
            window: FIRST * mtu,
            cap: None,
            rate: Best::new(f64::max),
            chance: None,
            empty: None,
            jitter: Duration::ZERO,
            last_sent: 0,
            round_ends: 0,
            round: Round::default(),
            quiet: Loss::default(),
            loss: Loss::default(),
            was_less: false,
            cycles: 0,
            late: None,
            looked: None,
            mean: Duration::ZERO,
            share: None,
        }
    }

    fn smallest(&self) -> u64 {
        SMALLEST * self.mtu
    }

    fn empty(&self) -> Duration {
        self.empty.map_or(Duration::ZERO, |empty| empty.rtt())
    }

    /// Bytes that must be under way for the path to be full, without a queue.
    fn holds(&self) -> f64 {
        let rate = self.used_rate();
        rate * self.empty().as_secs_f64() / (1.0 - self.chance.unwrap_or(0.0))
    }

    fn used_rate(&self) -> f64 {
        self.share.unwrap_or(self.rate.get().unwrap_or(0.0))
    }

    fn ahead(&self) -> f64 {
        self.used_rate() * AHEAD.max(self.jitter.min(self.empty())).as_secs_f64()
    }

    fn all_of(&self, gain: f64) -> f64 {
        (self.holds() + self.ahead()) * gain + (EACH * self.mtu) as f64
    }

    fn less(&self) -> f64 {
        self.holds().min(self.cap.unwrap_or(f64::MAX)) * LESS
    }

    /// Moves the window to where it should be, in steps that leave no gap and no burst in what is under way: at most half
    /// of what arrives is not replaced, at most a quarter more than arrives is sent.
    fn set_window(&mut self, acked: u64) {
        let cap = self.cap.unwrap_or(f64::MAX);
        let window = self.window as f64;
        let target = match self.phase {
            Phase::Start { .. } => return,
            Phase::Less { .. } => self.less(),
            Phase::Look { .. } => {
                self.window = self.smallest();
                return;
            }
            Phase::Cruise { .. } => self.all_of(1.0).min(cap),
            Phase::More { rounds, least, .. } => {
                self.all_of(MORE).max(least).min(cap * (1.0 + 0.04 * f64::from(1 << rounds.min(8))))
            }
        };
        let acked = acked as f64;
        self.window = (target.clamp(window - acked / 2.0, window + acked / 4.0) as u64).max(self.smallest());
    }

    /// Judges the loss, if enough was sent to judge it. Where packets also waited, less of it is enough.
    fn congested(&mut self, round: &Round, queued: bool) -> bool {
        self.loss.add(round);
        let packets = self.loss.packets(self.mtu);
        if packets < ENOUGH {
            return false;
        }
        let share = std::mem::take(&mut self.loss).share();
        let chance = *self.chance.get_or_insert(share.min(MOST_CHANCE));
        let deviation = (chance.max(0.005) / packets).sqrt();
        share > chance + if queued { CONGESTED / 3.0 + 2.0 * deviation } else { CONGESTED + 3.0 * deviation }
    }

    /// There is too much: what is delivered now is what there is room for.
    fn give_way(&mut self, round: &Round, queued: bool) {
        let delivered = round.rate * self.empty().as_secs_f64();
        let least = if queued { self.smallest() } else { FIRST * self.mtu };
        self.cap = Some(delivered.max(self.window as f64 / 2.0).max(least as f64));
    }

    /// What was lost when little was sent, was lost by chance.
    fn learn_chance(&mut self, round: &Round) {
        self.quiet.add(round);
        if self.quiet.packets(self.mtu) >= ENOUGH {
            self.chance = Some(self.quiet.share().min(MOST_CHANCE));
            (self.quiet.acked, self.quiet.lost) = (self.quiet.acked / 2, self.quiet.lost / 2);
        }
    }

    fn end_round(&mut self, now: Instant) {
        let round = std::mem::take(&mut self.round);
        let was_less = std::mem::replace(&mut self.was_less, matches!(self.phase, Phase::Less { drained: true, .. }));
        let queued = self.waits(&round);
        self.share = (round.shortest.is_some_and(|rtt| rtt > self.empty() + (self.empty() / 4).max(AHEAD))
            && round.rate > 0.0)
            .then_some(round.rate);
        if was_less && !queued {
            self.learn_chance(&round);
        }
        if !matches!(self.phase, Phase::Start { .. } | Phase::Look { .. })
            && self.empty.is_some_and(|empty| empty.age(now) > LOOK)
            && !round.app_limited
        {
            if self.empty() > AHEAD {
                self.phase = Phase::Look { until: None };
            } else {
                self.empty = round.shortest.map(|rtt| Shortest::new(rtt, now)).or(self.empty);
            }
        }
        let congested = !was_less && self.congested(&round, queued);
        if std::env::var_os("TRACE").is_some() && self.rate.get().unwrap_or(0.0) > 1e5 {
            eprintln!(
                "{:?} W {} cap {:?} rate {:.1} round {:.1} empty {:?} short {:?} mean {:?} chance {:.3?} lost {:.3} was_less {was_less} cong {congested} jit {:?} al {}",
                self.phase,
                self.window / 1000,
                self.cap.map(|c| c as u64 / 1000),
                self.rate.get().unwrap_or(0.0) * 8e-6,
                round.rate * 8e-6,
                self.empty(),
                round.shortest,
                round.sum / round.samples.max(1),
                self.chance,
                round.lost as f64 / (round.lost + round.acked).max(1) as f64,
                self.jitter,
                round.app_limited
            );
        }
        if congested && !matches!(self.phase, Phase::Start { .. }) {
            self.give_way(&round, queued);
        }
        match self.phase {
            Phase::Start { best, full } if !round.app_limited => {
                let full = if round.rate >= best * MORE { 0 } else { full + 1 };
                self.phase = Phase::Start { best: best.max(round.rate), full };
                if full >= FULL || congested {
                    self.phase = Phase::Less { drained: false, before: f64::MAX };
                } else {
                    self.learn_chance(&round);
                }
            }
            Phase::Start { .. } => {}
            Phase::Less { drained: false, .. } => {}
            Phase::Less { drained: true, before } => {
                self.cruise();
                if self.rate.get().unwrap_or(0.0) >= before * GREW {
                    self.phase = Phase::More { before: self.rate.get().unwrap_or(0.0), rounds: 0, least: 0.0 };
                }
            }
            Phase::Look { until } => {
                if let Some(shortest) = round.shortest.filter(|_| until.is_some()) {
                    self.looked = Some(self.looked.map_or(shortest, |looked| looked.min(shortest)));
                }
                if until.is_some_and(|until| now >= until) {
                    self.empty = self.looked.take().map(|rtt| Shortest::new(rtt, now)).or(self.empty);
                    self.cruise();
                }
            }
            Phase::Cruise { left } => {
                if let Some(shortest) = round.shortest.filter(|_| left < CRUISE - 1) {
                    let mean = round.sum / round.samples.max(1);
                    self.jitter = (mean.saturating_sub(shortest)).max(self.jitter * 3 / 4);
                }
                self.phase = Phase::Cruise { left: left.saturating_sub(1) };
                self.mean = round.sum / round.samples.max(1);
                if left == 0 && !round.app_limited {
                    self.phase = Phase::More { before: self.rate.get().unwrap_or(0.0), rounds: 0, least: 0.0 };
                }
            }
            Phase::More { before, rounds, least } => {
                let rate = self.rate.get().unwrap_or(0.0);
                let reached = self.window as f64 >= 0.99 * self.all_of(MORE);
                self.phase = if congested {
                    Phase::Less { drained: false, before: f64::MAX }
                } else if rounds == 0 || !reached {
                    Phase::More { before, rounds: rounds + 1, least }
                } else if rate >= before * GREW
                    || round.shortest.is_some_and(|rtt| rtt < self.empty() + self.empty() / 4)
                        && round.sum / round.samples.max(1) < self.mean + self.empty().mul_f64(GREW - 1.0)
                {
                    Phase::More { before: rate, rounds: rounds + 1, least: self.window as f64 * MORE }
                } else {
                    Phase::Less { drained: false, before }
                };
                if rounds > 0 && reached {
                    self.cap = None;
                }
            }
        }
    }

    fn cruise(&mut self) {
        self.rate.turn();
        self.cycles = self.cycles.wrapping_add(1);
        self.phase = Phase::Cruise { left: CRUISE + self.cycles * 7 % 4 };
    }

    fn learn(&mut self, now: Instant, sample: &Sample) {
        self.empty.get_or_insert(Shortest::new(sample.rtt, now)).see(sample.rtt, now);
        self.round.shortest = Some(self.round.shortest.map_or(sample.rtt, |rtt| rtt.min(sample.rtt)));
        self.round.sum += sample.rtt;
        self.round.samples += 1;
        let late = sample.rtt > self.empty() + (self.empty() / 8).max(AHEAD);
        self.late = late.then(|| self.late.map_or((now, 1), |(since, samples)| (since, samples + 1)));
        self.round.app_limited |= sample.app_limited;
        self.round.rate = self.round.rate.max(sample.rate);
        if !sample.app_limited || self.rate.get().is_none_or(|rate| sample.rate > rate) {
            self.rate.see(sample.rate);
        }
        self.round.acked += sample.acked;
    }

    /// Packets of this round waited in a queue.
    fn waits(&self, round: &Round) -> bool {
        round.shortest.is_some_and(|shortest| shortest > self.empty() + (self.empty() / 16).max(AHEAD / 2))
    }

    /// A queue has grown (HyStart++, RFC 9406): even the luckiest packet of the round met it.
    fn queued(&self, now: Instant) -> bool {
        self.late.is_some_and(|(since, samples)| samples >= 8 && now - since >= self.empty() / 8)
    }
}

impl Controller for ByRate {
    fn on_sent(&mut self, now: Instant, _bytes: u64, last_packet_number: u64) {
        self.last_sent = last_packet_number;
        self.delivery.on_sent(now, self.empty());
    }

    fn on_ack(&mut self, _now: Instant, sent: Instant, bytes: u64, _app_limited: bool, _rtt: &RttEstimator) {
        self.delivery.on_ack(sent, bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        let Some(sample) = self.delivery.on_end_acks(now, in_flight, app_limited) else { return };
        self.learn(now, &sample);
        if let Phase::Start { .. } = self.phase {
            if !sample.app_limited {
                self.window += sample.acked;
            }
            if self.queued(now) {
                self.phase = Phase::Less { drained: false, before: 0.0 };
            }
        }
        match &mut self.phase {
            Phase::Less { drained, .. } if !*drained => {
                if self.window as f64 <= self.less() + self.mtu as f64 {
                    if let Phase::Less { drained, .. } = &mut self.phase {
                        *drained = true;
                    }
                    self.round = Round::default();
                    self.round_ends = self.last_sent + 1;
                }
            }
            Phase::Look { until } if until.is_none() => {
                if in_flight <= SMALLEST * self.mtu {
                    *until = Some(now + HOLD);
                    self.round = Round::default();
                    self.round_ends = self.last_sent + 1;
                }
            }
            _ => {}
        }
        if largest_acked.is_some_and(|acked| acked >= self.round_ends) {
            self.round_ends = self.last_sent + 1;
            self.end_round(now);
        }
        self.set_window(sample.acked);
    }

    fn on_congestion_event(&mut self, now: Instant, _sent: Instant, persistent: bool, lost: u64) {
        self.round.lost += lost;
        if matches!(self.phase, Phase::Less { drained: false, .. }) {
            self.window = self.window.saturating_sub(lost).max(self.less() as u64).max(self.smallest());
        }
        if let Phase::More { .. } = self.phase {
            let round = self.round;
            let queued = self.waits(&round);
            let (share, packets) = if queued { (CONGESTED / 3.0, 2) } else { (CONGESTED / 2.0, 6) };
            let most = (self.chance.unwrap_or(0.0) + share) * self.window as f64 + (packets * self.mtu) as f64;
            if self.round.lost as f64 > most {
                self.give_way(&round, queued);
                self.loss = Loss::default();
                self.phase = Phase::Less { drained: false, before: f64::MAX };
            }
        }
        if persistent {
            let (last_sent, mtu) = (self.last_sent, self.mtu);
            *self = ByRate {
                delivery: self.delivery.clone(),
                last_sent,
                round_ends: last_sent + 1,
                ..ByRate::new(now, mtu)
            };
        }
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.mtu = mtu.into();
        self.window = self.window.max(self.smallest());
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        FIRST * self.mtu
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
