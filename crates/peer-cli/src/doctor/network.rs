//! The way to a tracker: whether UDP and TCP get there, how large datagrams may be, and who answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peer::TrackerAddress;
use transport::{Config, Connection, Kind, Transport, TransportError, first_hop_datagram};

use super::Finding;
use crate::connect;
use crate::exit_code::ExitCode;
use crate::visit::{Visit, complain};

/// All addresses of a tracker together may take this long.
const PATIENCE: Duration = Duration::from_secs(6);
/// In this time a path of up to some hundred milliseconds has been searched for the largest datagram it carries.
const SEARCH: Duration = Duration::from_millis(1500);

/// Everything about the way to the tracker that is named; one word if none is.
pub(super) async fn way_to_tracker(visit: &Visit) -> Vec<Finding> {
    let Some(host) = &visit.tracker_ip else {
        return vec![Finding::skipped("tracker", "none was named: give -i TRACKER_IP to try the way to it")];
    };
    let tracker = match connect::tracker(host, visit.tracker_port, &visit.peer, visit.patience(), &complain).await {
        Ok(tracker) => tracker,
        Err(failure) => return vec![Finding::bad("tracker", failure.code, failure.message, "")],
    };
    let (identity, trust) = match connect::who(&visit.peer) {
        Ok(who) => who,
        Err(failure) => return vec![Finding::bad("identity", failure.code, failure.message, "")],
    };
    let bind = |kind: Kind| {
        let listener = SocketAddr::new(connect::address(&visit.peer), 0);
        let config =
            Config { trust: trust.clone(), mtu: visit.peer.mtu, ..Config::new(identity.clone(), vec![listener]) };
        kind.bind(config)
    };
    let udp = dial(bind(Kind::Quic), &tracker).await;
    let tcp = dial(bind(Kind::Tcp), &tracker).await;
    let mut findings = judge(&udp, &tcp, &tracker);
    if let Ok(reached) = &udp {
        findings.push(datagrams(reached).await);
    }
    for reached in [udp, tcp].into_iter().flatten() {
        reached.connection.close(0, "only looking");
        reached.transport.close().await;
    }
    findings
}

/// A connection, and what must stay alive for it.
struct Reached {
    connection: Arc<dyn Connection>,
    transport: Arc<dyn Transport>,
}

async fn dial(
    transport: Result<Arc<dyn Transport>, TransportError>,
    tracker: &TrackerAddress,
) -> Result<Reached, TransportError> {
    let transport = transport?;
    let mut last = TransportError::Lost("its name has no address".to_owned());
    for &address in &tracker.addresses {
        match tokio::time::timeout(PATIENCE, transport.dial(address, tracker.id)).await {
            Ok(Ok(connection)) => return Ok(Reached { connection, transport }),
            Ok(Err(error)) => last = error,
            Err(_) => last = TransportError::Unreachable(address),
        }
    }
    transport.close().await;
    Err(last)
}

/// What two tries say about the way and about who answered.
fn judge(
    udp: &Result<Reached, TransportError>,
    tcp: &Result<Reached, TransportError>,
    tracker: &TrackerAddress,
) -> Vec<Finding> {
    let where_is = |reached: &Reached| {
        let (address, rtt) = (reached.connection.remote_addr(), reached.connection.stats().rtt);
        format!("{address} answers, round trip {:.1} ms", rtt.as_secs_f64() * 1e3)
    };
    let mut findings = Vec::new();
    findings.push(match (udp, tcp) {
        (Ok(reached), _) => Finding::good("udp", where_is(reached)),
        (Err(error), Ok(_)) => Finding::poor(
            "udp",
            format!("QUIC does not get through, TCP does: {error}"),
            "Let UDP pass in the firewall, on the tracker's port and on those of peers; until then TCP is used",
        ),
        (Err(error), Err(_)) => Finding::bad("udp", ExitCode::TrackerUnreachable, error.to_string(), advice(error)),
    });
    findings.push(match tcp {
        Ok(reached) => Finding::good("tcp", where_is(reached)),
        Err(error) if udp.is_ok() => {
            let advice = "Peers in networks that drop UDP will not get through: let TCP pass on the same port";
            Finding::poor("tcp", format!("it does not get through: {error}"), advice)
        }
        Err(error) => Finding::skipped("tcp", format!("it does not get through either: {error}")),
    });
    if udp.is_ok() || tcp.is_ok() {
        findings.push(Finding::good("identity", format!("the tracker proved to be {}", tracker.id)));
    }
    findings
}

fn advice(error: &TransportError) -> &'static str {
    match error {
        TransportError::WrongPeer { .. } => {
            "Someone else is there, or the tracker was set up anew: compare --tracker-id with what it prints"
        }
        TransportError::NotAdmitted(_) | TransportError::Handshake(_) => {
            "Is the swarm closed? Give --ca, and a certificate of it that is still good"
        }
        _ => "Is it running? Is -d its port? Does a firewall stand between?",
    }
}

async fn datagrams(reached: &Reached) -> Finding {
    tokio::time::sleep(SEARCH).await;
    let first_hop = first_hop_datagram(reached.connection.remote_addr());
    match reached.connection.stats().datagram {
        // The search stops a little below what it could be.
        Some(found) if u32::from(found) * 100 >= u32::from(first_hop) * 90 => {
            Finding::good("datagrams", format!("{found} bytes pass; the first hop has {first_hop}"))
        }
        Some(found) => Finding::poor(
            "datagrams",
            format!("{found} bytes pass; the first hop has {first_hop}"),
            format!(
                "A tunnel or router on the way takes less, or a packet was lost: if it stays so, --mtu {found} saves the search"
            ),
        ),
        None => Finding::skipped("datagrams", "the transport does not say"),
    }
}
