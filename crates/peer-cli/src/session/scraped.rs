//! What a daemon and a gateway both say at a scrape: how their trackers are, and when a certificate ends.

use std::time::UNIX_EPOCH;

use monitor::metric::{Metric, Unit, Value};

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
