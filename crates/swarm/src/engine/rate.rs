//! How fast a connection gives us bytes.

use std::time::Duration;

/// A decaying average of bytes a second, and the round trip.
#[derive(Debug)]
pub(crate) struct Rate {
    pub(crate) rtt: Duration,
    average: f64,
    since: Duration,
    bytes: u64,
}

/// Bytes are counted for this long before they enter the average.
const SAMPLE: Duration = Duration::from_millis(20);

impl Rate {
    pub(crate) fn new(now: Duration) -> Self {
        Rate { rtt: Duration::from_millis(1), average: 0.0, since: now, bytes: 0 }
    }

    /// Bytes arrived.
    pub(crate) fn add(&mut self, now: Duration, bytes: u64) {
        self.bytes += bytes;
        let elapsed = now.saturating_sub(self.since);
        if elapsed >= SAMPLE {
            let sample = self.bytes as f64 / elapsed.as_secs_f64();
            // A second's worth of samples decides; the first sample counts alone.
            let weight = if self.average == 0.0 { 1.0 } else { (elapsed.as_secs_f64() * 2.0).clamp(0.1, 1.0) };
            self.average += (sample - self.average) * weight;
            self.since = now;
            self.bytes = 0;
        }
    }

    /// Nothing was under way until now: the time since does not count against the rate.
    pub(crate) fn resume(&mut self, now: Duration) {
        self.since = now;
        self.bytes = 0;
    }

    pub(crate) fn bytes_a_second(&self, now: Duration) -> u64 {
        if now.saturating_sub(self.since) > Duration::from_secs(3) { 0 } else { self.average as u64 }
    }

    /// Bytes a second while something came; 0 if not enough came to tell.
    pub(crate) fn average(&self) -> f64 {
        self.average
    }

    /// Bytes that come in a time; nothing if not enough came to tell.
    pub(crate) fn bytes_in(&self, time: Duration) -> Option<u64> {
        self.measured().then_some((self.average * time.as_secs_f64()) as u64)
    }

    /// Enough came to tell a rate.
    pub(crate) fn measured(&self) -> bool {
        self.average > 0.0
    }

    /// Time until `bytes` more would have arrived.
    pub(crate) fn time_for(&self, bytes: u64) -> Duration {
        if self.average < 1.0 {
            Duration::from_secs(3600)
        } else {
            self.rtt + Duration::from_secs_f64(bytes as f64 / self.average)
        }
    }
}
