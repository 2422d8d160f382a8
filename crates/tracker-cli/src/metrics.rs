//! What the tracker says of itself at a scrape.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use monitor::metric::{Metric, Unit, Value};
use monitor::{Monitor, Server as Listener};
use tracker::Server;

/// Answers scrapes of this tracker at an address from now on, and says where that is. `sockets` counts those that were closed for
/// others.
pub async fn serve(address: SocketAddr, server: Arc<Server>, sockets: Arc<AtomicU64>) -> std::io::Result<SocketAddr> {
    let listener = Listener::bind(address).await?;
    let bound = listener.address()?;
    tokio::spawn(listener.run(Monitor::new(move || collected(&server, &sockets), || Ok(()))));
    Ok(bound)
}

/// When the first certificate ends; nothing in an open swarm.
fn certificate() -> Option<Metric> {
    let until = transport::first_expiry()?.duration_since(UNIX_EPOCH).ok()?;
    let help = "When its certificate ends, or that of its CA";
    let value = Value::Gauge(until.as_secs() as f64);
    Some(Metric::new("p2p_certificate_expiry_timestamp", help, Some(Unit::Seconds), value))
}

fn collected(server: &Server, sockets: &AtomicU64) -> Vec<Metric> {
    let ((peers, contents), (announces, refusals)) = (server.counts(), server.activity());
    let gauge = |name, help, value: usize| Metric::new(name, help, None, Value::Gauge(value as f64));
    let bytes = |name, help, value: u64| Metric::new(name, help, Some(Unit::Bytes), Value::Gauge(value as f64));
    let let_go = [("memory", server.let_go()), ("sockets", sockets.load(Ordering::Relaxed))];
    let let_go = let_go.map(|(reason, count)| (reason, Value::Counter(count)));
    let mut metrics = vec![
        gauge("p2p_tracker_peers", "Peers that have said hello", peers),
        gauge("p2p_tracker_contents", "Contents that someone shares or wants", contents),
        Metric::new("p2p_tracker_announces", "Announcements", None, Value::Counter(announces)),
        Metric::new("p2p_tracker_refusals", "Connections refused for want of room", None, Value::Counter(refusals)),
        Metric::by("reason", ("p2p_tracker_let_go", "Connections that were let go for others", None), let_go),
        bytes("p2p_tracker_memory", "What connections and contents take, as the tracker counts", server.bytes()),
        bytes("p2p_tracker_memory_most", "What they may take", server.most_bytes()),
    ];
    let relayed =
        server.relayed().map(|count| gauge("p2p_tracker_relayed_connections", "Connections that it carries", count));
    metrics.extend(relayed);
    metrics.extend(certificate());
    metrics
}
