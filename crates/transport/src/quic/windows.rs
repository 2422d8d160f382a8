//! How much may be under way on each connection: what its path holds (rate × round trip), within what memory allows.
//!
//! quinn would grant each connection a fixed window, and memory would grow with connections. Here all connections of a
//! transport share one budget, in each direction: those on which bytes flow get even parts, the others a little to start
//! with. On a LAN a part is no larger than keeps bursts within a socket's buffer; on a long path it grows to twice what
//! the path holds. What is to be sent waits in a connection's window for no longer than a moment: the engine, which decides what to
//! send next must see what has left, not what a buffer has swallowed.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use quinn::VarInt;
use tokio::time::{Instant, interval};

use super::held::Held;
use super::uplink::Uplink;
use crate::lock::lock;

/// Bytes under way on all connections together where paths are short.
const LAN: u64 = 8 << 20;
/// Bytes under way on all connections together, at most. What is received and not yet read takes memory.
const MOST: u64 = 16 << 20;
/// Bytes under way on a connection that does nothing yet.
pub(super) const LEAST: u64 = 256 << 10;
/// Bytes that may always wait to be sent on a connection.
const LEAST_SENT: u64 = 64 << 10;
/// How long bytes may wait in a connection's window beyond what its path takes to acknowledge them.
const WAIT: Duration = Duration::from_millis(20);
/// The shortest round trip is forgotten by this part at each look, since a route may become longer.
const FORGET: f64 = 1.01;
const LONGEST_RTT: Duration = Duration::from_secs(1);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// A connection on which fewer bytes a second flow is idle, unless its path is so long that even they fill what an idle one gets.
const IDLE: f64 = 200_000.0;
/// No path is taken to be longer.
const LONGEST_PATH: Duration = Duration::from_secs(3);

/// The connections of a transport.
#[derive(Default)]
pub(super) struct Windows {
    connections: Mutex<Vec<Weak<Held>>>,
    uplink: Arc<Uplink>,
}

/// What was seen of a connection at the last look.
struct Seen {
    connection: Weak<Held>,
    /// Round trip without queues, as far as one was seen lately.
    rtt: Duration,
    /// Round trip as it is now.
    queued: Duration,
    /// Bytes that congestion control lets be under way.
    congestion: u64,
    received: Flow,
    sent: Flow,
}

/// One direction.
#[derive(Default)]
struct Flow {
    bytes: u64,
    rate: f64,
    window: u64,
}

impl Flow {
    fn look(&mut self, bytes: u64, elapsed: Duration) {
        let now =
            bytes.saturating_sub(std::mem::replace(&mut self.bytes, bytes)) as f64 / elapsed.as_secs_f64().max(1e-3);
        // What a path holds does not shrink because nothing was sent for a moment.
        self.rate = now.max(self.rate * 0.9);
    }

    /// The window, if it should change by more than a little.
    fn change(&mut self, window: u64) -> Option<u64> {
        let same = window.abs_diff(self.window) * 8 <= self.window;
        (!same).then(|| std::mem::replace(&mut self.window, window)).map(|_| window)
    }
}

/// Twice the bytes that a path holds at this rate (bytes a second).
fn path(rate: f64, rtt: Duration) -> u64 {
    (2.0 * rate * rtt.min(LONGEST_PATH).as_secs_f64()) as u64
}

/// Whether a connection at this rate gets a part of the budget. On a path of more than a second, what an idle one gets could never
/// carry so much that it would count as more than idle.
fn is_active(rate: f64, rtt: Duration) -> bool {
    rate >= IDLE || path(rate, rtt) > LEAST
}

/// Bytes that may be under way at this rate (bytes a second) when so many connections are active.
fn window(rate: f64, rtt: Duration, active: usize) -> u64 {
    let active = active.max(1) as u64;
    let least = if rate < IDLE { LEAST } else { LAN / active };
    path(rate, rtt).max(least).min(MOST / active).max(LEAST)
}

/// Bytes that may wait to be sent or acknowledged on a connection, where all together send at this rate (bytes a second):
/// any of them may have the uplink for itself at times. So may twice the congestion window: while that doubles in every
/// round trip, the rate so far says little.
fn send_window(uplink: f64, rtt: Duration, active: usize, congestion: u64) -> u64 {
    let window = window(uplink, rtt, active);
    if uplink < IDLE {
        return window;
    }
    let soon = (uplink * (2 * rtt + WAIT).as_secs_f64()) as u64;
    window.min(soon.max(2 * congestion).max(LEAST_SENT))
}

impl Windows {
    /// What waits for the uplink.
    pub(super) fn uplink(&self) -> &Arc<Uplink> {
        &self.uplink
    }

    /// Looks after a connection for as long as it is held.
    pub(super) fn add(&self, connection: &Arc<Held>) {
        let mut connections = lock(&self.connections);
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(connection));
    }

    /// What a new connection starts with, in bytes, until it is known what its path holds: its part of the budget as if
    /// all others were active. The first gets all, so that a small file does not wait for a look.
    pub(super) fn first(&self) -> u32 {
        let others = lock(&self.connections).iter().filter(|other| other.strong_count() > 0).count();
        (LAN / (others as u64 + 1)).max(LEAST) as u32
    }

    /// The longest round trip of all connections.
    pub(super) fn longest_rtt(&self) -> Duration {
        let connections = lock(&self.connections);
        connections.iter().filter_map(Weak::upgrade).map(|connection| connection.rtt()).max().unwrap_or_default()
    }

    /// Looks again and again; to be run beside the connections.
    pub(super) async fn tend(self: Arc<Self>) {
        let (mut seen, mut uplink, mut last) = (Vec::<Seen>::new(), Flow::default(), Instant::now());
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            let elapsed = std::mem::replace(&mut last, Instant::now()).elapsed();
            self.look(&mut seen, &mut uplink, elapsed);
        }
    }

    fn look(&self, seen: &mut Vec<Seen>, uplink: &mut Flow, elapsed: Duration) {
        let connections = lock(&self.connections).clone();
        seen.retain(|seen| seen.connection.strong_count() > 0);
        for connection in connections {
            if !seen.iter().any(|seen| seen.connection.ptr_eq(&connection)) {
                let flow = || Flow::default();
                let (rtt, queued) = (LONGEST_RTT, Duration::ZERO);
                seen.push(Seen { connection, rtt, queued, congestion: 0, received: flow(), sent: flow() });
            }
        }
        let mut sent = uplink.bytes;
        for seen in &mut *seen {
            if let Some(connection) = seen.connection.upgrade() {
                let stats = connection.stats();
                seen.received.look(stats.udp_rx.bytes, elapsed);
                sent += stats.udp_tx.bytes.saturating_sub(seen.sent.bytes);
                seen.sent.look(stats.udp_tx.bytes, elapsed);
                seen.congestion = stats.path.cwnd;
                seen.queued = connection.rtt();
                seen.rtt = seen.queued.min(seen.rtt.mul_f64(FORGET));
            }
        }
        uplink.look(sent, elapsed);
        let receiving = seen.iter().filter(|seen| is_active(seen.received.rate, seen.queued)).count();
        let sending = seen.iter().filter(|seen| is_active(seen.sent.rate, seen.rtt)).count();
        for seen in seen {
            let Some(connection) = seen.connection.upgrade() else { continue };
            let window = window(seen.received.rate, seen.queued, receiving);
            if let Some(window) = seen.received.change(window) {
                connection.set_receive_window(VarInt::from_u32(window as u32));
            }
            let window = send_window(uplink.rate, seen.rtt, sending, seen.congestion);
            if let Some(window) = seen.sent.change(window) {
                connection.set_send_window(window);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN_RTT: Duration = Duration::from_micros(300);

    #[test]
    fn a_long_path_gets_twice_what_it_holds_up_to_the_budget() {
        // 100 Mbit/s with 400 ms holds 5 MB.
        assert_eq!(window(12.5e6, Duration::from_millis(400), 1), 10_000_000);
        assert_eq!(window(125e6, Duration::from_millis(400), 1), MOST);
        assert_eq!(window(125e6, Duration::from_millis(400), 4), MOST / 4);
    }

    #[test]
    fn a_slow_flow_on_a_very_long_path_is_not_held_where_it_is() {
        // What an idle connection gets carries 175 KB/s there, and would for ever.
        let (mut rate, rtt) = (LEAST as f64 / 1.5, Duration::from_millis(1500));
        assert!(rate < IDLE && is_active(rate, rtt));
        for _ in 0..10 {
            rate = window(rate, rtt, 1).min(send_window(rate, rtt, 1, 40_000)) as f64 / rtt.as_secs_f64();
        }
        assert!(rate > 10.0 * IDLE, "{rate} bytes a second");
        assert!(!is_active(1000.0, Duration::from_secs(60)));
        assert_eq!(window(1000.0, Duration::from_secs(60), 1), LEAST);
        assert_eq!(window(IDLE - 1.0, Duration::from_secs(60), 1), path(IDLE - 1.0, LONGEST_PATH));
    }

    #[test]
    fn a_short_path_gets_what_a_socket_can_take() {
        assert_eq!(window(1e9, LAN_RTT, 1), LAN);
        assert_eq!(window(1e9, LAN_RTT, 4), LAN / 4);
    }

    #[test]
    fn what_is_to_be_sent_does_not_wait_long() {
        // 50 Mbit/s: two pieces of 64 KiB, not eight megabytes.
        assert_eq!(send_window(6.25e6, LAN_RTT, 4, 40_000), (6.25e6 * 0.0206) as u64);
        // A long path is full all the same, and a fast one not held back.
        assert!(send_window(12.5e6, Duration::from_millis(100), 1, 1_300_000) >= 2 * 1_250_000);
        assert_eq!(send_window(1e9, LAN_RTT, 1, 4 << 20), LAN);
        assert_eq!(send_window(0.0, LAN_RTT, 1, 40_000), LEAST);
    }

    #[test]
    fn a_window_that_doubles_is_not_held_back_by_the_rate_so_far() {
        assert_eq!(send_window(400_000.0, Duration::from_millis(100), 1, 100_000), 200_000);
    }

    #[test]
    fn memory_does_not_grow_with_connections() {
        for connections in [1, 2, 10, 50] {
            for (rate, rtt) in [(1e9, 100), (IDLE - 1.0, 60_000)] {
                let all = window(rate, Duration::from_millis(rtt), connections) * connections as u64;
                assert!(all <= MOST.max(LEAST * connections as u64), "{connections} connections may hold {all} bytes");
            }
        }
        assert_eq!(window(0.0, Duration::from_millis(100), 1), LEAST);
    }
}
