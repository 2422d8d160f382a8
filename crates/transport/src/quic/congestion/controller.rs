//! A congestion controller that sends what the path was seen to deliver.
//!
//! It follows the model of BBR (draft-ietf-ccwg-bbr), whose names its phases have: the window is the delivery rate times
//! the empty round trip, with a little on top; now and then it tries more, to find out whether the path has more, and
//! then less, so that the queue which this made drains and the empty round trip shows. quinn paces by the window, so that
//! what BBR does with rates is done here with windows.
//!
//! A lost packet says little: over radio or a bad cable some per cent are lost whatever is sent. So loss counts only in
//! so far as it is above what is lost by chance, which is what is lost when little is sent.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

use super::delivery::{Delivery, Sample};
use super::path::{AHEAD, CONGESTED, CONGESTED_QUEUE, Path};
use super::round::Round;

/// Packets of the first window: paced over a round trip, so that more than RFC 6928's 10 do no harm.
const FIRST: u64 = 32;
/// Packets of the smallest window.
const SMALLEST: u64 = 4;
/// Packets that each connection sends ahead, whatever its rate: those that share a path get more alike by it.
const EACH: u64 = 8;
/// What is tried, and what is sent to drain a queue, as shares of what the path holds.
const MORE: f64 = 1.25;
const LESS: f64 = 0.9;
/// Growth by this share in a round shows that there is more.
const GREW: f64 = 1.08;
/// Rounds of growth by less than [`MORE`] that end the startup.
const FULL: u32 = 3;
/// Rounds between two tries, and how many more by turns, so that those who share a path do not try together.
const CRUISE: u32 = 6;
const TURNS: u32 = 4;
/// Samples in a row that met a queue end the startup (HyStart++, RFC 9406).
const QUEUED: u32 = 8;
/// The empty round trip is looked for after this time in which it did not show, as BBR does.
const UNSEEN: Duration = Duration::from_secs(10);
/// For so long at least, so that all who share a path do it at the same time.
const HOLD: Duration = Duration::from_millis(100);

pub(super) struct DeliveryFactory;

impl ControllerFactory for DeliveryFactory {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(ByDelivery::new(Delivery::new(now), mtu.into()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The window doubles in every round, until the rate no longer grows or a queue does.
    Startup { best: f64, full: u32, late: Option<(Instant, u32)> },
    /// Less is sent than the path holds, until what is too much has gone. If the last try found more than the rate
    /// `before`, it is tried again afterwards.
    Drain { before: f64 },
    /// The same for one round more, which shows the empty round trip and what is lost by chance.
    Down { before: f64 },
    /// What the path holds is sent, for so many rounds.
    Cruise { left: u32 },
    /// More is sent, and at least `least` bytes are under way; `rounds` have passed.
    Up { before: f64, rounds: u32, least: f64 },
    /// So little is sent that the queue of all who do this at the same time is gone.
    ProbeRtt { until: Option<Instant>, shortest: Option<Duration> },
}

impl Phase {
    const DRAIN: Phase = Phase::Drain { before: f64::MAX };
    const PROBE_RTT: Phase = Phase::ProbeRtt { until: None, shortest: None };
}

#[derive(Debug, Clone)]
struct ByDelivery {
    mtu: u64,
    delivery: Delivery,
    path: Path,
    phase: Phase,
    window: u64,
    /// What congestion has shown to be too much.
    cap: Option<f64>,
    round: Round,
    /// The last packet that was sent, and the one with whose acknowledgement the round ends.
    last_sent: u64,
    round_ends: u64,
    /// What the round shows was sent in [`Phase::Down`].
    quiet: bool,
    /// Tries so far.
    cycles: u32,
    /// The mean round trip of the last round of [`Phase::Cruise`].
    cruising_rtt: Duration,
}

impl ByDelivery {
    fn new(delivery: Delivery, mtu: u64) -> Self {
        ByDelivery {
            mtu,
            delivery,
            path: Path::default(),
            phase: Phase::Startup { best: 0.0, full: 0, late: None },
            window: FIRST * mtu,
            cap: None,
            round: Round::default(),
            last_sent: 0,
            round_ends: 0,
            quiet: false,
            cycles: 0,
            cruising_rtt: Duration::ZERO,
        }
    }

    fn smallest(&self) -> u64 {
        SMALLEST * self.mtu
    }

    fn cap(&self) -> f64 {
        self.cap.unwrap_or(f64::MAX)
    }

    /// So many times what fills the path, with what is sent ahead.
    fn full(&self, gain: f64) -> f64 {
        (self.path.holds() + self.path.ahead()) * gain + (EACH * self.mtu) as f64
    }

    fn less(&self) -> f64 {
        self.path.holds().min(self.cap()) * LESS
    }

    /// Moves the window to where it should be, in steps that leave no gap and no burst in what is under way: at most half
    /// of what arrives is not replaced, at most a quarter more than arrives is sent.
    fn move_window(&mut self, acked: u64) {
        let target = match self.phase {
            Phase::Startup { .. } => return,
            Phase::ProbeRtt { .. } => {
                self.window = self.smallest();
                return;
            }
            Phase::Drain { .. } | Phase::Down { .. } => self.less(),
            Phase::Cruise { .. } => self.full(1.0).min(self.cap()),
            // Beyond what was too much once, it is tried with care: 4 % more, then 8, then 16.
            Phase::Up { rounds, least, .. } => {
                self.full(MORE).max(least).min(self.cap() * (1.0 + 0.04 * f64::from(1 << rounds.min(8))))
            }
        };
        let (window, acked) = (self.window as f64, acked as f64);
        self.window = (target.clamp(window - acked / 2.0, window + acked / 4.0) as u64).max(self.smallest());
    }

    /// There is too much: what is delivered now is what there is room for.
    fn give_way(&mut self, round: &Round) {
        let delivered = round.rate * self.path.empty_rtt().as_secs_f64();
        // Without a queue to show for it, loss is not believed to the end.
        let least = if self.path.waits(round) { self.smallest() } else { FIRST * self.mtu };
        self.cap = Some(delivered.max(self.window as f64 / 2.0).max(least as f64));
    }

    fn begin_round(&mut self) {
        self.round = Round::default();
        self.round_ends = self.last_sent + 1;
    }

    fn end_round(&mut self, now: Instant) {
        let round = self.round;
        self.begin_round();
        let was_quiet = std::mem::replace(&mut self.quiet, matches!(self.phase, Phase::Down { .. }));
        self.path.see_part(&round);
        if was_quiet && !self.path.waits(&round) {
            self.path.see_chance(&round, self.mtu);
        }
        self.look_for_empty_rtt(now, &round);
        let congested = !was_quiet && self.path.congested(&round, self.mtu);
        tracing::trace!(phase = ?self.phase, window = self.window, congested, path = ?self.path, ?round, "round");
        if congested && !matches!(self.phase, Phase::Startup { .. }) {
            self.give_way(&round);
        }
        self.turn(now, &round, congested);
    }

    /// A path that was never empty for long is emptied, to see how long its round trip is. Where that is short, a queue
    /// does no harm, and the present round trip is taken for it.
    fn look_for_empty_rtt(&mut self, now: Instant, round: &Round) {
        let busy = !matches!(self.phase, Phase::Startup { .. } | Phase::ProbeRtt { .. }) && !round.app_limited;
        if !busy || self.path.unseen(now) <= UNSEEN {
            return;
        }
        if self.path.empty_rtt() > AHEAD {
            self.phase = Phase::PROBE_RTT;
        } else if let Some(shortest) = round.shortest {
            self.path.set_empty_rtt(shortest, now);
        }
    }

    /// Goes on to the next phase, if it is time.
    fn turn(&mut self, now: Instant, round: &Round, congested: bool) {
        match self.phase {
            Phase::Startup { .. } if round.app_limited => {}
            Phase::Startup { best, full, late } => {
                let full = if round.rate >= best * MORE { 0 } else { full + 1 };
                if full >= FULL || congested {
                    self.phase = Phase::DRAIN;
                } else {
                    self.phase = Phase::Startup { best: best.max(round.rate), full, late };
                    self.path.see_chance(round, self.mtu);
                }
            }
            Phase::Drain { .. } => {}
            Phase::Down { before } => {
                self.cruise();
                if self.path.rate() >= before * GREW {
                    self.go_up();
                }
            }
            Phase::Cruise { left } => {
                // The first round still shows what was sent before.
                if left < CRUISE - 1 {
                    self.path.see_jitter(round);
                }
                self.cruising_rtt = round.mean_rtt();
                self.phase = Phase::Cruise { left: left.saturating_sub(1) };
                if left == 0 && !round.app_limited {
                    self.go_up();
                }
            }
            Phase::Up { before, rounds, least } => {
                let reached = rounds > 0 && self.window as f64 >= 0.99 * self.full(MORE);
                self.phase = if congested {
                    Phase::DRAIN
                } else if !reached {
                    Phase::Up { before, rounds: rounds + 1, least }
                } else if self.found_more(round, before) {
                    Phase::Up { before: self.path.rate(), rounds: rounds + 1, least: self.window as f64 * MORE }
                } else {
                    Phase::Drain { before }
                };
                if reached {
                    self.cap = None;
                }
            }
            Phase::ProbeRtt { until: None, .. } => {}
            Phase::ProbeRtt { until: Some(until), shortest } => {
                let shortest = shortest.into_iter().chain(round.shortest).min();
                self.phase = Phase::ProbeRtt { until: Some(until), shortest };
                if now >= until {
                    if let Some(shortest) = shortest {
                        self.path.set_empty_rtt(shortest, now);
                    }
                    self.cruise();
                }
            }
        }
    }

    /// More was delivered than before, or what was sent more met no queue.
    fn found_more(&self, round: &Round, before: f64) -> bool {
        let empty = self.path.empty_rtt();
        let no_queue = !round.app_limited
            && round.shortest.is_some_and(|rtt| rtt < empty + empty / 4)
            && round.mean_rtt() < self.cruising_rtt + empty.mul_f64(GREW - 1.0);
        self.path.rate() >= before * GREW || no_queue
    }

    fn go_up(&mut self) {
        self.phase = Phase::Up { before: self.path.rate(), rounds: 0, least: 0.0 };
    }

    fn cruise(&mut self) {
        self.path.forget_rates();
        self.cycles = self.cycles.wrapping_add(1);
        self.phase = Phase::Cruise { left: CRUISE + self.cycles.wrapping_mul(7) % TURNS };
    }

    /// Grows with what arrives, until even the luckiest packets meet a queue for a while.
    fn start_up(&mut self, now: Instant, sample: &Sample) {
        let Phase::Startup { late, .. } = &mut self.phase else { return };
        let empty = self.path.empty_rtt();
        let is_late = sample.rtt > empty + (empty / 8).max(AHEAD);
        *late = is_late.then(|| late.map_or((now, 1), |(since, samples)| (since, samples + 1)));
        let queued = late.is_some_and(|(since, samples)| samples >= QUEUED && now - since >= empty / 8);
        if !sample.app_limited {
            self.window += sample.acked;
        }
        if queued {
            self.phase = Phase::Drain { before: 0.0 };
        }
    }
}

impl Controller for ByDelivery {
    fn on_sent(&mut self, now: Instant, _bytes: u64, last_packet_number: u64) {
        self.last_sent = last_packet_number;
        self.delivery.on_sent(now, self.path.empty_rtt());
    }

    fn on_ack(&mut self, _now: Instant, sent: Instant, bytes: u64, _app_limited: bool, _rtt: &RttEstimator) {
        self.delivery.on_ack(sent, bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        let Some(sample) = self.delivery.on_end_acks(now, in_flight, app_limited) else { return };
        self.path.see(now, &sample);
        self.round.add(&sample);
        self.start_up(now, &sample);
        match self.phase {
            Phase::Drain { before } if self.window as f64 <= self.less() + self.mtu as f64 => {
                self.phase = Phase::Down { before };
                self.begin_round();
            }
            Phase::ProbeRtt { until: None, shortest } if in_flight <= self.smallest() => {
                self.phase = Phase::ProbeRtt { until: Some(now + HOLD), shortest };
                self.begin_round();
            }
            _ => {}
        }
        if largest_acked.is_some_and(|acked| acked >= self.round_ends) {
            self.end_round(now);
        }
        self.move_window(sample.acked);
    }

    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, persistent: bool, lost: u64) {
        self.round.loss.lost += lost;
        match self.phase {
            // What is lost need not be waited for.
            Phase::Drain { .. } => {
                self.window = self.window.saturating_sub(lost).max(self.less() as u64).max(self.smallest());
            }
            // A try that overflows a buffer ends at once.
            Phase::Up { .. } => {
                let round = self.round;
                let (share, packets) =
                    if self.path.waits(&round) { (CONGESTED_QUEUE, 2) } else { (CONGESTED / 2.0, 6) };
                let most = (self.path.chance() + share) * self.window as f64 + (packets * self.mtu) as f64;
                if round.loss.lost as f64 > most {
                    self.give_way(&round);
                    self.path.forget_loss();
                    self.phase = Phase::DRAIN;
                }
            }
            _ => {}
        }
        if persistent {
            tracing::trace!("nothing came through for long: all is to be learned again");
            let (last_sent, fresh) = (self.last_sent, ByDelivery::new(self.delivery.clone(), self.mtu));
            *self = ByDelivery { last_sent, round_ends: last_sent + 1, ..fresh };
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
