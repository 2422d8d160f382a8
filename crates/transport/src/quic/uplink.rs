//! How much waits for the uplink, over all connections of a transport together.
//!
//! A stream that takes bytes at once only to let them wait hides from the engine, which decides what to send next,
//! that the uplink is
//! busy: ten connections with windows of their own would take in a second's worth of pieces in no order at all, and drown
//! a short queue at the uplink. So payload is taken only while little of what was taken before is on its way: what the
//! uplink sends in two round trips and a moment. How fast it is, is told by what arrives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::held::Held;
use crate::lock::lock;

/// Smaller chunks are messages, which never wait.
pub(super) const PAYLOAD: usize = 4 << 10;
/// Bytes on their way while it is not known how fast the uplink is.
const FIRST: u64 = 256 << 10;
/// Bytes that may always be on their way, for each connection that has more to send: the engine sends to several side by side where
/// it is their links that limit, and what waits for one of those does not wait for the uplink.
const LEAST: u64 = 64 << 10;
/// What may be on its way beyond two round trips, so that the uplink never waits for us.
const WAIT: Duration = Duration::from_millis(20);
/// How long arrivals are counted for a sample of the rate.
const SAMPLE: Duration = Duration::from_millis(50);
/// What has been on its way for so long and four round trips is held up by the other side, and holds up nobody else.
const HELD_UP: Duration = Duration::from_secs(1);
/// What a connection has taken all of has left after so many times what the uplink needs for everything that is on its way, though that is
/// known only once its stream ends: streams that are all half sent would otherwise wait for each other.
const LEAVES: f64 = 2.0;

/// A connection's way through the uplink.
pub(super) struct ConnectionPacer {
    connection: Arc<Held>,
    pub(super) uplink: Arc<Uplink>,
    number: usize,
    /// Microseconds of the shortest round trip that was seen lately.
    shortest: AtomicU64,
}

impl ConnectionPacer {
    pub(super) fn new(connection: Arc<Held>, uplink: Arc<Uplink>) -> Self {
        // No two that live have the same.
        let number = connection.stable_id();
        ConnectionPacer { connection, uplink, number, shortest: AtomicU64::new(u64::MAX) }
    }

    /// The round trip without queues: with them, what may wait would make room for more to wait.
    pub(super) fn rtt(&self) -> Duration {
        let now = self.connection.rtt().as_micros() as u64;
        let before = self.shortest.load(Ordering::Relaxed);
        // It is forgotten little by little, since a route may become longer.
        let shortest = now.min(before.saturating_add(before / 256));
        self.shortest.store(shortest, Ordering::Relaxed);
        Duration::from_micros(shortest)
    }
}

/// The uplink of a transport.
#[derive(Default)]
pub(super) struct Uplink {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    streams: BTreeMap<u64, Taken>,
    next: u64,
    /// The connections that have more payload to send, and on how many streams.
    sending: BTreeMap<usize, usize>,
    /// Bytes a second that arrive; 0 while unknown.
    rate: f64,
    /// Since when arrivals are counted, and how many bytes arrived.
    sample: Option<Instant>,
    arrived: u64,
}

/// What was taken of a stream and may still be on its way.
struct Taken {
    connection: usize,
    bytes: u64,
    since: Instant,
    rtt: Duration,
    /// Whether all of it is in the connection's window.
    all: bool,
}

impl State {
    fn limit(&self, rtt: Duration) -> u64 {
        let least = LEAST * self.sending.len().max(1) as u64;
        let first = if self.rate == 0.0 { FIRST } else { 0 };
        ((self.rate * (2 * rtt + WAIT).as_secs_f64()) as u64).max(first).max(least)
    }

    /// Nothing if there is room; or else when there will be at the latest.
    fn wait(&self, connection: usize, now: Instant) -> Option<Duration> {
        let leaves = self.leaves();
        let left = |taken: &Taken| {
            let most = if taken.all { leaves } else { HELD_UP };
            (most + 4 * taken.rtt).saturating_sub(now - taken.since)
        };
        // What a connection has under way itself is bounded by its window, and holds up nobody: a sender that waits for
        // more than its congestion control would never learn how much a long path takes.
        let others = self.streams.values().filter(|taken| taken.connection != connection);
        let moving = others.filter(|taken| !left(taken).is_zero());
        let (bytes, rtt) =
            moving.clone().fold((0, Duration::ZERO), |(bytes, rtt), t| (bytes + t.bytes, rtt.max(t.rtt)));
        let limit = self.limit(rtt);
        // Others that take their bytes slowly have more than their part on its way, and again and again: what waits for them does not wait
        // for the uplink, and their slowness looks as if it were the uplink's.
        let own = self.streams.values().filter(|taken| taken.connection == connection).map(|taken| taken.bytes);
        let has_part = own.sum::<u64>() >= limit / self.sending.len().max(1) as u64;
        (has_part && bytes >= limit).then(|| moving.map(left).min().unwrap_or_default())
    }

    /// How long what is on its way takes to leave, at the most.
    fn leaves(&self) -> Duration {
        let bytes: u64 = self.streams.values().map(|taken| taken.bytes).sum();
        let takes = Duration::try_from_secs_f64(LEAVES * bytes as f64 / self.rate.max(1.0)).unwrap_or(HELD_UP);
        (takes + WAIT).min(HELD_UP)
    }

    fn measure(&mut self, now: Instant, bytes: u64) {
        let since = *self.sample.get_or_insert(now);
        self.arrived += bytes;
        let elapsed = now - since;
        if elapsed >= SAMPLE || (self.rate == 0.0 && !elapsed.is_zero()) {
            let sample = self.arrived as f64 / elapsed.as_secs_f64();
            self.rate = if self.rate == 0.0 { sample } else { (self.rate + sample) / 2.0 };
            (self.sample, self.arrived) = (Some(now), 0);
        }
    }
}

impl Uplink {
    /// A stream has payload to send, until `ends` is called for it.
    pub(super) fn begins(&self, pacer: &ConnectionPacer) {
        *lock(&self.state).sending.entry(pacer.number).or_default() += 1;
    }

    /// A stream that began has no more of it.
    pub(super) fn ends(&self, pacer: &ConnectionPacer) {
        let mut state = lock(&self.state);
        if let Some(streams) = state.sending.get_mut(&pacer.number) {
            *streams -= 1;
            if *streams == 0 {
                state.sending.remove(&pacer.number);
            }
        }
    }

    /// Waits until more may be taken for this connection.
    pub(super) async fn room(&self, pacer: &ConnectionPacer) {
        loop {
            let freed = self.freed.notified();
            let Some(wait) = lock(&self.state).wait(pacer.number, Instant::now()) else {
                return;
            };
            let _ = timeout(wait, freed).await;
        }
    }

    /// Bytes of a stream are taken in; its number is made at the first time.
    pub(super) fn take(&self, pacer: &ConnectionPacer, stream: Option<u64>, bytes: u64) -> u64 {
        let (connection, rtt) = (pacer.number, pacer.rtt());
        let (mut state, now) = (lock(&self.state), Instant::now());
        let stream = stream.unwrap_or_else(|| {
            state.next += 1;
            state.next
        });
        if state.streams.is_empty() {
            // Until now there was nothing to send: that time tells nothing.
            (state.sample, state.arrived) = (Some(now), 0);
        }
        let taken = state.streams.entry(stream).or_insert(Taken { connection, bytes: 0, since: now, rtt, all: false });
        taken.bytes += bytes;
        (taken.since, taken.all) = (now, false);
        stream
    }

    /// The connection has taken all of it into its window: what that cannot hold has arrived.
    pub(super) fn taken(&self, stream: u64) {
        let (mut state, now) = (lock(&self.state), Instant::now());
        let Some(rtt) = state.streams.get(&stream).map(|taken| taken.rtt) else { return };
        let most = state.limit(rtt);
        let Some(taken) = state.streams.get_mut(&stream) else { return };
        (taken.since, taken.all) = (now, true);
        let over = taken.bytes.saturating_sub(most);
        taken.bytes -= over;
        if over > 0 {
            state.measure(now, over);
            drop(state);
            self.freed.notify_waiters();
        }
    }

    /// All of a stream has arrived, or it was given up.
    pub(super) fn over(&self, stream: u64, arrived: bool) {
        let (mut state, now) = (lock(&self.state), Instant::now());
        if let Some(taken) = state.streams.remove(&stream) {
            if arrived {
                state.measure(now, taken.bytes);
            }
            drop(state);
            self.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_that_has_more_to_send_makes_room_for_a_little() {
        let mut state = State { rate: 1e6, ..State::default() };
        assert_eq!(state.limit(Duration::ZERO), LEAST);
        state.sending.extend((0..10).map(|connection| (connection, 1)));
        assert_eq!(state.limit(Duration::ZERO), 10 * LEAST);
        state.rate = 1e9;
        assert_eq!(state.limit(Duration::ZERO), 20_000_000, "a fast uplink has room for more anyway");
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_has_its_part_whatever_slow_ones_have_taken() {
        let (now, rtt) = (Instant::now(), Duration::ZERO);
        let mut state = State { rate: 1e4, ..State::default() };
        state.sending.extend((0..10).map(|connection| (connection, 1)));
        state.streams.extend((1..10).map(|slow| {
            let taken = Taken { connection: slow as usize, bytes: 256 << 10, since: now, rtt, all: false };
            (slow, taken)
        }));
        assert_eq!(state.wait(0, now), None);
        state.streams.insert(10, Taken { connection: 0, bytes: LEAST, since: now, rtt, all: false });
        assert_eq!(state.wait(0, now), Some(HELD_UP), "it has its part on its way");
        assert_eq!(state.wait(1, now), Some(HELD_UP));
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_are_half_sent_wait_no_longer_for_each_other_than_that_takes_to_leave() {
        let (now, rtt) = (Instant::now(), Duration::ZERO);
        let mut state = State { rate: 1e8, ..State::default() };
        state.sending.extend((0..5).map(|connection| (connection, 1)));
        let half = |connection| Taken { connection, bytes: 1_000_000, since: now, rtt, all: true };
        state.streams.extend((0..5).map(|stream| (stream, half(stream as usize))));
        assert_eq!(state.wait(0, now), Some(Duration::from_millis(120)), "5 MB at 100 MB/s, twice, and a moment");
        assert_eq!(state.wait(0, now + Duration::from_millis(120)), None);
        // One that a connection does not take is held up by its other side.
        state.streams.values_mut().for_each(|taken| taken.all = false);
        assert_eq!(state.wait(0, now), Some(HELD_UP));
    }
}
