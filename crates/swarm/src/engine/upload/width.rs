//! To how many peers is sent side by side.
//!
//! Where the uplink is what limits, one at a time is best: each piece is whole, and can be passed on, as soon as can be. Where the
//! links of those who take are slower than it, one at a time leaves most of the uplink idle, and how fast bytes arrive looks as
//! if that were all that it can. Only a comparison tells the two apart: [`Width`] counts what arrives and how many are sent to
//! meanwhile, and now and then lets more of them, or fewer, have their turn for a moment. If twice as many get twice as much, it
//! is their links that limit; if all together get as much as before, it is the uplink.
//!
//! A comparison costs next to nothing where the uplink limits: the same bytes leave it, and the pieces of that moment are whole a
//! little later. So as not to hold up even those, it is made seldom, and only by those who have everything: what others send is
//! new to most, and should be passed on at once. Nor is it made while somebody at another site takes from us: the thin link in
//! between limits all beyond it together, and one copy over it is passed on there soonest if it goes to one after another.

use std::time::Duration;

/// A comparison looks at so many pieces for each peer that is sent to, and at no fewer than `PIECES`.
const PIECES_EACH: u32 = 4;
const PIECES: u32 = 8;
/// Each half of it lasts at least, and at most, so long.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// What was sent before a change arrives for so long afterwards, beyond two round trips.
const SETTLES: Duration = Duration::from_millis(100);
/// So many times as many are tried at first, and once that was of use.
const FIRST_STEP: usize = 2;
const STEP: usize = 4;
/// The pause after a comparison that changed nothing, and at least so many times what it took. It doubles each time.
const PAUSE: Duration = Duration::from_secs(4);
const PAUSES: u32 = 12;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Turns count as used if they were for this part of the time.
const USED: f64 = 0.75;
/// Half of the difference must be worth looking at: so much more were sent to.
const WIDER: f64 = 1.1;
/// More are of use if they gain this part of what they could.
const GAIN: f64 = 0.5;

/// To how many peers is sent side by side, and what is known about it.
#[derive(Debug)]
pub(super) struct Width {
    /// As many as were of use so far.
    settled: usize,
    /// More, or fewer, that have their turn for a moment; and what came before.
    trial: Option<(usize, Throughput)>,
    sample: Sample,
    /// No comparison before, and how long the pause was.
    next: Duration,
    pause: Duration,
    /// So many times as many are tried next.
    step: usize,
    /// Whether the last comparison was with more.
    widened: bool,
}

/// What arrived, and to how many was sent meanwhile, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Throughput {
    /// Bytes a second.
    rate: f64,
    /// Peers.
    width: f64,
}

/// What is counted for a [`Throughput`].
#[derive(Debug, Default)]
struct Sample {
    /// Nothing counts before.
    from: Duration,
    /// The first and the last arrival since then, and what came between them.
    first: Option<Duration>,
    last: Duration,
    bytes: u64,
    pieces: u32,
    /// Peers that are sent to since `counted`, and how many that were before, in peers times seconds.
    peers: usize,
    counted: Duration,
    peer_seconds: f64,
}

impl Default for Width {
    fn default() -> Self {
        Width {
            settled: 1,
            trial: None,
            sample: Sample::default(),
            next: Duration::ZERO,
            pause: Duration::ZERO,
            step: FIRST_STEP,
            widened: false,
        }
    }
}

impl Sample {
    fn new(from: Duration, peers: usize) -> Self {
        Sample { from, peers, counted: from, ..Sample::default() }
    }

    fn arrived(&mut self, now: Duration, bytes: u64) {
        if now < self.from {
            return;
        }
        self.count(now);
        if self.first.is_some() {
            self.bytes += bytes;
            self.pieces += 1;
        } else {
            // When this was sent is not known.
            self.first = Some(now);
            self.peer_seconds = 0.0;
        }
        self.last = now;
    }

    fn count(&mut self, now: Duration) {
        self.peer_seconds += self.peers as f64 * now.saturating_sub(self.counted).as_secs_f64();
        self.counted = self.counted.max(now);
    }

    /// What came, once that is enough to tell, of so many peers.
    fn throughput(&self, now: Duration, peers: usize) -> Option<Throughput> {
        let first = self.first?;
        let (came, counted) = (self.last.saturating_sub(first), self.counted.saturating_sub(first));
        let enough = self.pieces >= PIECES.max(PIECES_EACH * peers as u32) && came >= SHORTEST;
        if !enough && !self.is_over(now) || self.bytes == 0 || came.is_zero() {
            return None;
        }
        let (rate, width) = (self.bytes as f64 / came.as_secs_f64(), self.peer_seconds / counted.as_secs_f64());
        Some(Throughput { rate, width })
    }

    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.from) >= LONGEST
    }
}

impl Width {
    /// So many peers may be sent to side by side.
    pub(super) fn peers(&self) -> usize {
        self.trial.map_or(self.settled, |(peers, _)| peers)
    }

    /// A piece of so many bytes arrived.
    pub(super) fn arrived(&mut self, now: Duration, bytes: u64) {
        self.sample.arrived(now, bytes);
    }

    /// So many peers are sent to from now on.
    pub(super) fn sends_to(&mut self, now: Duration, peers: usize) {
        self.sample.count(now);
        self.sample.peers = peers;
    }

    /// Compares, once enough has come, if it `may`; otherwise one at a time is sent to. `wanting` says how many are sent to or wait
    /// for it, `rtt` how long a round trip takes.
    pub(super) fn review(&mut self, now: Duration, rtt: Duration, may: bool, wanting: impl FnOnce() -> usize) {
        if !may {
            // The pause is not restarted, so that peers that cause this often cannot cause more comparisons.
            (self.settled, self.trial, self.step) = (1, None, FIRST_STEP);
            self.sample = Sample::new(now + rtt * 2 + SETTLES, self.sample.peers);
            return;
        }
        match (self.sample.throughput(now, self.peers()), self.trial) {
            (Some(came), Some((_, before))) => {
                self.trial = None;
                self.judge(now, before, came);
            }
            (Some(came), None) if now >= self.next => self.try_another(came, wanting()),
            (Some(_), None) => {}
            (None, _) if self.sample.is_over(now) => self.trial = None,
            (None, _) => return,
        }
        self.sample = Sample::new(now + rtt * 2 + SETTLES, self.sample.peers);
    }

    fn try_another(&mut self, came: Throughput, wanting: usize) {
        if came.width < USED * self.settled as f64 {
            return;
        }
        let used = self.settled.max(came.width.round() as usize);
        let may_narrow = self.settled > 1;
        if wanting > used && !(may_narrow && self.widened) {
            self.trial = Some(((used * self.step).min(wanting), came));
            self.widened = true;
        } else if may_narrow {
            self.trial = Some((self.settled.div_ceil(2), came));
            self.widened = false;
        }
    }

    /// What came before a trial, and during it.
    fn judge(&mut self, now: Duration, before: Throughput, came: Throughput) {
        let (narrow, wide) = if before.width < came.width { (before, came) } else { (came, before) };
        // How many of those that are sent to alone, or nearly so, make up what all get together.
        let useful = (narrow.width * wide.rate / narrow.rate).clamp(1.0, wide.width.max(1.0));
        let gain = (useful - narrow.width) / (wide.width - narrow.width);
        let settled = useful.round() as usize;
        let conclusive = wide.width >= narrow.width * WIDER && (gain >= GAIN) == (settled > self.settled);
        if conclusive && settled != self.settled {
            self.step = if settled > self.settled { STEP } else { FIRST_STEP };
            self.widened = settled < self.settled;
            self.settled = settled;
            (self.next, self.pause) = (now, Duration::ZERO);
        } else {
            self.step = FIRST_STEP;
            let took = now.saturating_sub(self.sample.from);
            self.pause = (self.pause * 2).max(PAUSE).max(took * PAUSES).min(LONGEST_PAUSE);
            self.next = now + self.pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: f64 = 32_768.0;

    /// Peers with links of `link` bytes a second take from an uplink of `uplink` for so many seconds.
    fn run(width: &mut Width, began: u64, seconds: u64, peers: usize, uplink: f64, link: f64) {
        let mut came = 0.0;
        for step in 0..seconds * 100 {
            let now = Duration::from_secs(began) + Duration::from_millis(10) * step as u32;
            let sent_to = peers.min(width.peers());
            width.sends_to(now, sent_to);
            came += uplink.min(link * sent_to as f64) / 100.0;
            while came >= PIECE {
                came -= PIECE;
                width.arrived(now, PIECE as u64);
            }
            width.review(now, Duration::from_millis(30), true, || peers);
        }
    }

    #[test]
    fn where_links_limit_all_are_sent_to() {
        for (peers, most) in [(3, 3), (10, 10), (50, 25)] {
            let mut width = Width::default();
            run(&mut width, 0, 30, peers, 25e6, 1e6);
            assert!(width.settled.abs_diff(most) * 10 <= most, "{} of {peers}", width.settled);
        }
    }

    #[test]
    fn where_the_uplink_limits_one_at_a_time_is_sent_to() {
        let mut width = Width::default();
        run(&mut width, 0, 60, 10, 1e6, 10e6);
        assert_eq!(width.settled, 1);
    }

    #[test]
    fn an_uplink_that_becomes_slower_is_given_to_fewer() {
        let mut width = Width::default();
        run(&mut width, 0, 30, 20, 25e6, 1e6);
        assert!(width.settled >= 18, "{}", width.settled);
        run(&mut width, 30, 300, 20, 4e6, 1e6);
        assert!((3..=6).contains(&width.settled), "{}", width.settled);
    }

    #[test]
    fn who_may_compare_no_more_sends_to_one_at_a_time() {
        let mut width = Width::default();
        run(&mut width, 0, 30, 10, 25e6, 1e6);
        assert!(width.peers() > 1);
        width.review(Duration::from_secs(30), Duration::ZERO, false, || 10);
        assert_eq!(width.peers(), 1);
    }

    #[test]
    fn who_does_not_have_all_compares_nothing() {
        let mut width = Width::default();
        for step in 0..1000 {
            let now = Duration::from_millis(10) * step;
            width.sends_to(now, 1);
            width.arrived(now, 10_000);
            width.review(now, Duration::ZERO, false, || 10);
            assert_eq!(width.peers(), 1);
        }
    }
}
