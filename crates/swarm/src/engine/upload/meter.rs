//! How fast bytes arrive at those whom we serve, as they tell by their haves.

use std::time::Duration;

/// Bytes a second that arrive.
#[derive(Debug, Default)]
pub(super) struct Meter {
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
    /// Bytes a second while something is promised; unknown at first.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// The rate, or the highest of late; unknown, too, while nothing moves at all.
    pub(super) fn peak(&self) -> Option<f64> {
        self.rate.map(|rate| rate.max(self.peak)).filter(|&rate| rate > 0.0)
    }

    pub(super) fn add(&mut self, now: Duration, bytes: u64) {
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
    pub(super) fn pause(&mut self) {
        *self = Meter { rate: self.rate, peak: self.peak, ..Meter::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_rises_at_once_and_falls_slowly() {
        let mut meter = Meter::default();
        let second = |n| Duration::from_secs(n);
        meter.add(second(0), 7000);
        assert_eq!(meter.rate(), None, "when that was sent is not known");
        for (at, bytes, rate) in [(1, 1000, 1000.0), (2, 5000, 5000.0), (3, 1000, 4000.0)] {
            meter.add(second(at), bytes);
            assert_eq!((meter.rate(), meter.peak()), (Some(rate), Some(f64::max(rate, meter.peak))), "{at}");
        }
        assert!(meter.peak() > meter.rate());
        meter.pause();
        meter.add(second(100), 9000);
        assert_eq!(meter.rate(), Some(4000.0), "a pause does not count");
    }
}
