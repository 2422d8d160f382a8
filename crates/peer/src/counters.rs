//! What a node has done since it started, in figures for those who watch many of them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of [`Times`], in seconds; one more bucket has all longer times.
pub const TIME_BOUNDS: [f64; 9] = [0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0, 7200.0];

/// A histogram of times.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Times {
    /// The number of times in each bucket: at most each of [`TIME_BOUNDS`] and above the one before; the last has those above all
    /// bounds.
    pub counts: [u64; TIME_BOUNDS.len() + 1],
    /// Sum of all times, in seconds.
    pub sum: f64,
}

/// Counters of a node since it was started.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// Bytes of verified pieces that came directly from peers, through a relay, and from an origin.
    pub received: [u64; 3],
    /// Payload bytes sent to peers directly, and through a relay.
    pub sent: [u64; 2],
    /// Valid pieces.
    pub verified: u64,
    /// Corrupt pieces.
    pub wrong: u64,
    /// Valid pieces that were here already.
    pub twice: u64,
    /// Peers that were banned.
    pub banned: u64,
    /// Open connections: over QUIC, over TCP, through a relay, and others.
    pub connections: [u64; 4],
    /// From the start of a download to its first verified piece.
    pub first_piece: Times,
    /// From the start of a download to the durable file.
    pub completion: Times,
}

impl Times {
    fn add(&mut self, other: &Times) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }
}

impl Counters {
    /// Adds the counters of another node.
    pub fn add(&mut self, other: &Counters) {
        let Counters { received, sent, verified, wrong, twice, banned, connections, first_piece, completion } = other;
        let add = |all: &mut [u64], more: &[u64]| all.iter_mut().zip(more).for_each(|(one, more)| *one += more);
        add(&mut self.received, received);
        add(&mut self.sent, sent);
        add(&mut self.connections, connections);
        self.verified += verified;
        self.wrong += wrong;
        self.twice += twice;
        self.banned += banned;
        self.first_piece.add(first_piece);
        self.completion.add(completion);
    }
}

/// The same while it grows.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) received: [AtomicU64; 3],
    pub(crate) sent: [AtomicU64; 2],
    pub(crate) verified: AtomicU64,
    pub(crate) wrong: AtomicU64,
    pub(crate) twice: AtomicU64,
    pub(crate) banned: AtomicU64,
    connections: [AtomicI64; 4],
    pub(crate) first_piece: CountingTimes,
    pub(crate) completion: CountingTimes,
}

#[derive(Default)]
pub(crate) struct CountingTimes {
    counts: [AtomicU64; TIME_BOUNDS.len() + 1],
    milliseconds: AtomicU64,
}

impl CountingTimes {
    pub(crate) fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let at = TIME_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(TIME_BOUNDS.len());
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.milliseconds.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    fn so_far(&self) -> Times {
        Times {
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            sum: self.milliseconds.load(Ordering::Relaxed) as f64 / 1000.0,
        }
    }
}

impl Counting {
    /// A connection over this transport has begun (1) or ended (-1).
    pub(crate) fn connection(&self, transport: &str, change: i64) {
        let at = ["quic", "tcp", transport::RELAY].iter().position(|name| *name == transport).unwrap_or(3);
        self.connections[at].fetch_add(change, Ordering::Relaxed);
    }

    pub(crate) fn so_far(&self) -> Counters {
        let one = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            received: self.received.each_ref().map(one),
            sent: self.sent.each_ref().map(one),
            verified: one(&self.verified),
            wrong: one(&self.wrong),
            twice: one(&self.twice),
            banned: one(&self.banned),
            connections: std::array::from_fn(|at| self.connections[at].load(Ordering::Relaxed).max(0) as u64),
            first_piece: self.first_piece.so_far(),
            completion: self.completion.so_far(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_first_bound_that_holds_them() {
        let times = CountingTimes::default();
        for seconds in [0.05, 0.1, 3.0, 9000.0] {
            times.add(Duration::from_secs_f64(seconds));
        }
        let so_far = times.so_far();
        assert_eq!(so_far.counts, [2, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert!((so_far.sum - 9003.15).abs() < 0.01);
    }

    #[test]
    fn connections_are_those_that_stand() {
        let counting = Counting::default();
        counting.connection("quic", 1);
        counting.connection("quic", 1);
        counting.connection("quic", -1);
        counting.connection("memory", 1);
        assert_eq!(counting.so_far().connections, [1, 0, 0, 1]);
    }
}
