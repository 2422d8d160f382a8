//! What a daemon says of itself at a scrape. No label is a peer or a content: there may be any number of those.

use std::net::SocketAddr;
use std::sync::Arc;

use daemon::Service;
use daemon::control::Doing;
use monitor::metric::{Metric, Value};
use monitor::{Monitor, Server};

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
    let mut metrics = scraped::of_counters(&counters);
    metrics.push(scraped::of_waits(&waits));
    metrics.push(contents(service));
    let unsaved = f64::from(u8::from(service.unwritten().is_some()));
    let help = "Whether the state cannot be written, so that a restart would forget what has changed";
    metrics.push(Metric::new("p2p_state_unsaved", help, None, Value::Gauge(unsaved)));
    metrics.push(scraped::trackers(service.trackers()));
    metrics.extend(scraped::certificate());
    metrics
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
    let count = |state: Doing| all.iter().filter(|content| content.state == state).count() as u64;
    scraped::contents(states.map(|(name, state)| (name, count(state))))
}
