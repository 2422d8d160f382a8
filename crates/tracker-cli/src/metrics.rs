//! What the tracker says of itself at a scrape.

use std::net::SocketAddr;
use std::sync::Arc;

use monitor::metric::{Metric, Unit, Value};
use monitor::{Monitor, Server as Listener};
use tracker::Server;

/// Answers scrapes of this tracker at an address from now on, and says where that is.
pub async fn serve(address: SocketAddr, server: Arc<Server>) -> std::io::Result<SocketAddr> {
    let listener = Listener::bind(address).await?;
    let bound = listener.address()?;
    tokio::spawn(listener.run(Monitor::new(move || collected(&server), || Ok(()))));
    Ok(bound)
}

fn collected(server: &Server) -> Vec<Metric> {
    let ((peers, contents), (announces, refusals)) = (server.counts(), server.activity());
    let gauge = |name, help, value: usize| Metric::new(name, help, None, Value::Gauge(value as f64));
    let mut metrics = vec![
        gauge("p2p_tracker_peers", "Peers that have said hello", peers),
        gauge("p2p_tracker_contents", "Contents that someone shares or wants", contents),
        Metric::new("p2p_tracker_announces", "Announcements", None, Value::Counter(announces)),
        Metric::new("p2p_tracker_refusals", "Connections refused for want of room", None, Value::Counter(refusals)),
        Metric::new(
            "p2p_tracker_memory",
            "What connections and contents take, as the tracker counts",
            Some(Unit::Bytes),
            Value::Gauge(server.bytes() as f64),
        ),
    ];
    let relayed =
        server.relayed().map(|count| gauge("p2p_tracker_relayed_connections", "Connections that it carries", count));
    metrics.extend(relayed);
    metrics
}
