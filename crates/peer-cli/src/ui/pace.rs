//! How fast something goes, as people want to know it: not before there is something to say, and not when nothing comes any more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over how long a rate is measured, and over how long the time that is left is.
const RATE_WINDOW: Duration = Duration::from_secs(3);
const LEFT_WINDOW: Duration = Duration::from_secs(10);
/// A rate that was measured for less than this says nothing, and the time that is left even less.
const RATE_AFTER: Duration = Duration::from_millis(700);
const LEFT_AFTER: Duration = Duration::from_secs(2);
/// What has not grown for so long stands still.
const STALLED: Duration = Duration::from_secs(3);

/// How fast something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It has just begun.
    Starting,
    /// At so many bytes a second, with so much time left, as far as that can be told.
    Flowing { rate: u64, left: Option<Duration> },
    /// Nothing comes any more.
    Stalled,
}

/// Measures how fast bytes come.
#[derive(Debug, Default)]
pub struct Meter {
    samples: VecDeque<(Instant, u64)>,
    /// When there were last more.
    grew: Option<Instant>,
}

impl Meter {
    /// Now that so many bytes are here of `size`.
    pub fn pace(&mut self, now: Instant, done: u64, size: u64) -> Pace {
        let last = self.samples.back().copied();
        if last.is_some_and(|(_, before)| done > before) {
            // What was waited for before the first byte, or during a stall, is no time in which anything came.
            if self.grew.is_none_or(|grew| now - grew >= STALLED) {
                self.samples = last.into_iter().collect();
            }
            self.grew = Some(now);
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && now - self.samples[1].0 >= LEFT_WINDOW {
            self.samples.pop_front();
        }
        match self.grew {
            None if now - self.samples[0].0 >= STALLED => Pace::Stalled,
            None => Pace::Starting,
            Some(grew) if now - grew >= STALLED => Pace::Stalled,
            Some(_) => self.flowing(now, size.saturating_sub(done)),
        }
    }

    fn flowing(&self, now: Instant, missing: u64) -> Pace {
        let (span, rate) = self.over(now, RATE_WINDOW);
        if span < RATE_AFTER || rate < 1.0 {
            return Pace::Starting;
        }
        let (span, steady) = self.over(now, LEFT_WINDOW);
        let is_known = missing > 0 && span >= LEFT_AFTER && steady >= 1.0;
        let left = is_known.then(|| Duration::try_from_secs_f64(missing as f64 / steady));
        Pace::Flowing { rate: rate as u64, left: left.and_then(Result::ok) }
    }

    /// The time since the oldest sample within a window, and bytes a second since then.
    fn over(&self, now: Instant, window: Duration) -> (Duration, f64) {
        let newest = self.samples.back().map_or(0, |&(_, done)| done);
        let oldest = self.samples.iter().find(|(then, _)| now - *then <= window);
        let &(then, done) = oldest.unwrap_or(&(now, newest));
        let span = now - then;
        (span, newest.saturating_sub(done) as f64 / span.as_secs_f64().max(1e-3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 100_000;

    /// Paces at quarters of a second, with what is here then.
    fn paces(done: impl Fn(u32) -> u64, quarters: u32) -> Vec<Pace> {
        let (mut meter, began) = (Meter::default(), Instant::now());
        (0..quarters).map(|n| meter.pace(began + Duration::from_millis(250) * n, done(n), SIZE)).collect()
    }

    #[test]
    fn neither_no_rate_nor_hours_are_said_at_the_start() {
        // Ten quiet seconds, then 1000 bytes a second.
        let paces = paces(|n| u64::from(n.saturating_sub(40)) * 250, 60);
        assert!(paces[..12].iter().all(|pace| *pace == Pace::Starting));
        assert!(paces[13..40].iter().all(|pace| *pace == Pace::Stalled), "it waits");
        for pace in &paces[41..] {
            let Pace::Flowing { rate, left } = pace else { continue };
            assert!((990..=1010).contains(rate), "{pace:?}");
            assert!(left.is_none_or(|left| (94..=101).contains(&left.as_secs())), "{pace:?}");
        }
        assert!(matches!(paces[59], Pace::Flowing { left: Some(_), .. }));
    }

    #[test]
    fn a_stall_is_said_and_leaves_no_trace_in_the_rate_after_it() {
        // Five seconds of 1000 bytes, a minute of nothing, and the same again.
        let done = |n: u32| u64::from(n.min(20) + n.saturating_sub(260)) * 250;
        let paces = paces(done, 300);
        assert!(matches!(paces[19], Pace::Flowing { .. }));
        assert!(paces[33..260].iter().all(|pace| *pace == Pace::Stalled));
        let after = paces[261..].iter().filter_map(|pace| match pace {
            Pace::Flowing { rate, .. } => Some(*rate),
            _ => None,
        });
        assert!(after.min().is_some_and(|slowest| slowest > 950));
    }
}
