//! What one round trip's worth of acknowledgements shows.

use std::time::Duration;

use super::delivery::Sample;

/// Sums of a round: from when a packet is sent until it is acknowledged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Round {
    /// The best rate of a sample, in bytes a second.
    pub(super) rate: f64,
    /// The shortest round trip; nothing if nothing was acknowledged.
    pub(super) shortest: Option<Duration>,
    sum: Duration,
    samples: u32,
    /// For some time there was nothing to send.
    pub(super) app_limited: bool,
    pub(super) loss: Loss,
}

impl Round {
    pub(super) fn add(&mut self, sample: &Sample) {
        self.rate = self.rate.max(sample.rate);
        self.shortest = Some(self.shortest.map_or(sample.rtt, |rtt| rtt.min(sample.rtt)));
        self.sum += sample.rtt;
        self.samples += 1;
        self.app_limited |= sample.app_limited;
        self.loss.acked += sample.acked;
    }

    pub(super) fn mean_rtt(&self) -> Duration {
        self.sum / self.samples.max(1)
    }
}

/// Bytes that arrived, and bytes that did not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loss {
    pub(super) acked: u64,
    pub(super) lost: u64,
}

impl Loss {
    pub(super) fn add(&mut self, other: Loss) {
        self.acked += other.acked;
        self.lost += other.lost;
    }

    /// The older half counts half as much.
    pub(super) fn halve(&mut self) {
        self.acked /= 2;
        self.lost /= 2;
    }

    pub(super) fn share(&self) -> f64 {
        self.lost as f64 / (self.acked + self.lost).max(1) as f64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.acked + self.lost
    }
}
