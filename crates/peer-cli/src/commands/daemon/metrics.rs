//! What a daemon says of itself at a scrape. No label is a peer or a content: there may be any number of those.

use std::net::SocketAddr;
use std::sync::Arc;

use daemon::Service;
use daemon::control::Doing;
use monitor::metric::{Metric, Unit, Value};
use monitor::{Monitor, Server};
use peer::{Counters, TIME_BOUNDS, Times, Waits};

use crate::session::scraped;

/// Answers scrapes of this daemon at an address from now on, and says where that is.
pub async fn serve(address: SocketAddr, service: Arc<Service>) -> std::io::Result<SocketAddr> {
    let server = Server::bind(address).await?;
    let bound = server.address()?;
    let watched = service.clone();
    let ready = move || match watched.has_joined() {
        true => Ok(()),
        false => Err("the tracker has not answered yet".to_owned()),
    };
    tokio::spawn(server.run(Monitor::new(move || collected(&service), ready)));
    Ok(bound)
}

fn collected(service: &Service) -> Vec<Metric> {
    let (counters, waits) = service.counters();
    let mut metrics = of_counters(&counters);
    metrics.push(of_waits(&waits));
    metrics.push(contents(service));
    let unsaved = f64::from(u8::from(service.unwritten().is_some()));
    let help = "Whether the state cannot be written, so that a restart would forget what has changed";
    metrics.push(Metric::new("p2p_state_unsaved", help, None, Value::Gauge(unsaved)));
    metrics.push(scraped::trackers(service.trackers()));
    metrics.extend(scraped::certificate());
    metrics
}

fn of_counters(counters: &Counters) -> Vec<Metric> {
    let counter = |name, help, count: u64| Metric::new(name, help, None, Value::Counter(count));
    let of_source = |name, help, bytes: [u64; 2]| {
        let values = ["peer", "relay"].into_iter().zip(bytes.map(Value::Counter));
        Metric::by("source", (name, help, Some(Unit::Bytes)), values)
    };
    let time = |name, help, times: &Times| {
        let bounds = TIME_BOUNDS.into_iter().chain([f64::MAX]);
        let buckets = bounds.zip(times.counts).collect();
        Metric::new(name, help, Some(Unit::Seconds), Value::Histogram { sum: times.sum, buckets })
    };
    let transports = ["quic", "tcp", "relay", "other"].into_iter();
    let connections = transports.zip(counters.connections.map(|count| Value::Gauge(count as f64)));
    vec![
        of_source("p2p_received", "Bytes of verified pieces that were received", counters.received),
        of_source("p2p_sent", "Bytes of pieces that were sent", counters.sent),
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
fn of_waits(waits: &Waits) -> Metric {
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

fn contents(service: &Service) -> Metric {
    let states = [
        ("waiting", Doing::Waiting),
        ("hashing", Doing::Hashing),
        ("checking", Doing::Checking),
        ("queued", Doing::Queued),
        ("downloading", Doing::Downloading),
        ("finishing", Doing::Finishing),
        ("sharing", Doing::Sharing),
        ("paused", Doing::Paused),
        ("failed", Doing::Failed),
    ];
    let all = service.contents();
    let count = |state: Doing| all.iter().filter(|content| content.state == state).count();
    let values = states.map(|(name, state)| (name, Value::Gauge(count(state) as f64)));
    Metric::by("state", ("p2p_contents", "Contents that are shared or downloaded", None), values)
}
