//! What a gateway says at a scrape: how much it keeps, what its nodes have moved, and how its trackers are. No label is a content: there may
//! be any number of those.
//! It is ready once a tracker has answered, and stays so: what it has, and what its origins have, it serves without trackers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use gateway::KeptFigures;
use monitor::metric::{Metric, Unit, Value};
use monitor::{Monitor, Server};
use peer::{Counters, Node, TrackerStatus, Waits};

use crate::session::gateway::Running;
use crate::session::scraped;

/// Answers scrapes of this gateway at an address from now on, and says where that is.
pub async fn serve(address: SocketAddr, running: &Running, nodes: Vec<Node>) -> std::io::Result<SocketAddr> {
    let server = Server::bind(address).await?;
    let (bound, kept) = (server.address()?, running.kept());
    // Without a swarm it has only its origins.
    let (watched, answered) = (nodes.clone(), AtomicBool::new(nodes.is_empty()));
    let ready = move || {
        let [up, _] = trackers(&watched);
        match answered.fetch_or(up > 0, Ordering::Relaxed) || up > 0 {
            true => Ok(()),
            false => Err("no tracker has answered yet".to_owned()),
        }
    };
    tokio::spawn(server.run(Monitor::new(move || collected(&kept(), &nodes), ready)));
    Ok(bound)
}

/// How many trackers of all swarms are up, and how many are lost.
fn trackers(nodes: &[Node]) -> [usize; 2] {
    let of_each = nodes.iter().map(|node| TrackerStatus::up_and_lost(&node.watch_trackers().borrow()));
    of_each.fold([0, 0], |[up, lost], [more_up, more_lost]| [up + more_up, lost + more_lost])
}

fn collected(kept: &KeptFigures, nodes: &[Node]) -> Vec<Metric> {
    let (mut counters, mut waits) = (Counters::default(), Waits::default());
    for node in nodes {
        counters.add(&node.counters());
        waits.add(&node.waits());
    }
    let mut all = metrics(kept);
    all.extend(scraped::of_counters(&counters));
    all.push(scraped::of_waits(&waits));
    all.push(scraped::trackers(trackers(nodes)));
    all.extend(scraped::certificate());
    all
}

fn metrics(kept: &KeptFigures) -> Vec<Metric> {
    let gauge = |name, help, unit, value: u64| Metric::new(name, help, unit, Value::Gauge(value as f64));
    let counter = |name, help, unit, count| Metric::new(name, help, unit, Value::Counter(count));
    let mut metrics = vec![
        gauge("p2p_gateway_kept", "Bytes kept of what was downloaded and brought", Some(Unit::Bytes), kept.bytes),
        gauge("p2p_gateway_kept_contents", "Contents and files that are kept", None, kept.kept),
        counter("p2p_gateway_removed", "Contents and files that had to go for others", None, kept.removed),
        counter("p2p_origin_read", "Bytes that came from origins", Some(Unit::Bytes), kept.from_origins),
    ];
    metrics.push(scraped::contents([("downloading", kept.downloading), ("sharing", kept.sharing)]));
    if let Some(most) = kept.most {
        metrics.push(gauge("p2p_gateway_kept_most", "Bytes that may be kept at most", Some(Unit::Bytes), most));
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_says_what_is_kept() {
        let mut kept = KeptFigures::default();
        kept.most = Some(9);
        let names: Vec<_> = metrics(&kept).iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), 6);
        kept.most = None;
        assert_eq!(metrics(&kept).len(), 5);
    }
}
