//! What is believed of a path: how much it delivers, how long its empty round trip is, and what it loses by chance.
//!
//! Each is the best that was seen of late, since everything that hides the truth makes it look worse: a queue lengthens
//! the round trip and never shortens it, congestion adds to the loss, and a sender that had little to send, or had to
//! share, saw less delivered.

use std::time::{Duration, Instant};

/// The best of the present and the last period.
#[derive(Debug, Clone, Copy)]
pub(super) struct Best<T> {
    last: Option<T>,
    present: Option<T>,
    better: fn(T, T) -> T,
}

impl<T: Copy> Best<T> {
    pub(super) fn new(better: fn(T, T) -> T) -> Self {
        Best { last: None, present: None, better }
    }

    pub(super) fn see(&mut self, value: T) {
        self.present = Some(self.present.map_or(value, |present| (self.better)(present, value)));
    }

    pub(super) fn get(&self) -> Option<T> {
        match (self.last, self.present) {
            (Some(last), Some(present)) => Some((self.better)(last, present)),
            (last, present) => last.or(present),
        }
    }

    /// Begins a new period, unless nothing was seen in this one.
    pub(super) fn turn(&mut self) {
        if self.present.is_some() {
            self.last = self.present.take();
        }
    }
}

/// The shortest round trip of late.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shortest {
    rtt: Duration,
    seen: Instant,
}

impl Shortest {
    pub(super) fn new(rtt: Duration, now: Instant) -> Self {
        Shortest { rtt, seen: now }
    }

    pub(super) fn rtt(&self) -> Duration {
        self.rtt
    }

    pub(super) fn see(&mut self, rtt: Duration, now: Instant) {
        if rtt <= self.rtt {
            *self = Shortest { rtt, seen: now };
        } else if rtt <= self.rtt + self.rtt / 16 {
            self.seen = now;
        }
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.seen)
    }
}
