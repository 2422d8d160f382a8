//! What a daemon and a gateway both say at a scrape: what their nodes have done, how their trackers are, and when a certificate ends.

use std::time::UNIX_EPOCH;

use monitor::metric::{Metric, Unit, Value};
use peer::{Counters, TIME_BOUNDS, Times, Waits};

/// What nodes have moved, and how long their downloads took.
pub fn of_counters(counters: &Counters) -> Vec<Metric> {
    let counter = |name, help, count: u64| Metric::new(name, help, None, Value::Counter(count));
    let of_source = |name, help, bytes: &[u64]| {
        let values = ["peer", "relay", "origin"].into_iter().zip(bytes.iter().copied().map(Value::Counter));
        Metric::by("source", (name, help, Some(Unit::Bytes)), values)
    };
    let time = |name, help, times: &Times| {
        let bounds = TIME_BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets = bounds.zip(times.counts).collect();
        Metric::new(name, help, Some(Unit::Seconds), Value::Histogram { sum: times.sum, buckets })
    };
    let transports = ["quic", "tcp", "relay", "other"].into_iter();
    let connections = transports.zip(counters.connections.map(|count| Value::Gauge(count as f64)));
    vec![
        of_source("p2p_received", "Bytes of verified pieces that were received", &counters.received),
        of_source("p2p_sent", "Bytes of pieces that were sent", &counters.sent),
        counter("p2p_pieces_verified", "Pieces that were right", counters.verified),
        counter("p2p_pieces_wrong", "Pieces that were wrong", counters.wrong),
        counter("p2p_pieces_twice", "Pieces that were right and here already", counters.twice),
        counter("p2p_banned_peers", "Peers that were banned for wrong pieces", counters.banned),
        Metric::by("transport", ("p2p_connections", "Connections to peers", None), connections),
        time("p2p_first_piece", "From the start of a download to its first piece", &counters.first_piece),
        time("p2p_completion", "From the start of a download to the durable file", &counters.completion),
    ]
}

/// What downloads have waited for: the one that grows fastest is what limits them.
pub fn of_waits(waits: &Waits) -> Metric {
    let values = [
        ("network", waits.network),
        ("rate_cap", waits.rate_cap),
        ("buffers", waits.buffers),
        ("workers", waits.workers),
        ("verifying", waits.verifying),
        ("writing", waits.writing),
    ];
    let values = values.map(|(what, time)| (what, Value::Seconds(time.as_secs_f64())));
    Metric::by("limiter", ("p2p_waited", "What requests of downloads have waited for", Some(Unit::Seconds)), values)
}

/// How many contents are in each state.
pub fn contents(states: impl IntoIterator<Item = (&'static str, u64)>) -> Metric {
    let values = states.into_iter().map(|(state, count)| (state, Value::Gauge(count as f64)));
    Metric::by("state", ("p2p_contents", "Contents that are shared or downloaded", None), values)
}

/// How many trackers are up, and how many are lost.
pub fn trackers([up, lost]: [usize; 2]) -> Metric {
    let values = [("up", up), ("lost", lost)].map(|(state, count)| (state, Value::Gauge(count as f64)));
    Metric::by("state", ("p2p_trackers", "Trackers of its swarms", None), values)
}

/// When the first certificate ends; nothing in an open swarm.
pub fn certificate() -> Option<Metric> {
    let until = transport::first_expiry()?.duration_since(UNIX_EPOCH).ok()?;
    let help = "When its certificate ends, or that of its CA";
    Some(Metric::new(
        "p2p_certificate_expiry_timestamp",
        help,
        Some(Unit::Seconds),
        Value::Gauge(until.as_secs() as f64),
    ))
}
