//! The way to a tracker: whether UDP and TCP get there, how large datagrams may be, and who answers.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use peer::TrackerAddress;
use protocol::PeerId;
use tokio::task::JoinSet;
use transport::{
    Config, Connection, Kind, Transport, TransportError, Untrusted, first_hop_datagram, interface_addresses,
};

use super::finding::Finding;
use super::local_network;
use super::router::{self, Over};
use crate::error::{ExitCode, Failure};
use crate::session::audience::Audience;
use crate::session::place::{is_public, no_network};
use crate::session::query::TrackerQuery;
use crate::session::{bind, connect};

/// One address may take this long.
const PATIENCE: Duration = Duration::from_secs(6);
/// In this time a path of up to some hundred milliseconds has been searched for the largest datagram it carries.
const SEARCH: Duration = Duration::from_millis(1500);

/// Whether this machine is in a network.
pub(super) fn own() -> Finding {
    match no_network() {
        Some(_) => Finding::poor("network", "this machine has no address in any network", "Is its network on?"),
        None => Finding::good("network", own_likeliest()),
    }
}

/// The address at which others reach this machine likeliest.
fn own_likeliest() -> String {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    interface_addresses(&[everywhere])
        .first()
        .map_or_else(String::new, |address| address.ip().to_canonical().to_string())
}

/// Everything about the way to this tracker.
pub(super) async fn way_to_tracker(query: &TrackerQuery, tracker: &TrackerAddress) -> Vec<Finding> {
    let [udp, tcp] = match transports(query) {
        Ok(transports) => transports,
        Err(failure) => return vec![Finding::bad("identity", failure.code, failure.message, "")],
    };
    let reached_udp = dial(udp.clone(), &tracker.addresses, tracker.id, Whom::Tracker).await;
    let reached_tcp = dial(tcp.clone(), &tracker.addresses, tracker.id, Whom::Tracker).await;
    let over = Over { udp: reached_udp.is_ok(), tcp: reached_tcp.is_ok() };
    let probed = match reached_udp.as_ref().or(reached_tcp.as_ref()) {
        Ok(reached) => {
            // The largest datagram is searched for meanwhile.
            let asks_router = Audience::of(&query.peer) != Audience::ThisMachine;
            Some(router::in_front(&*reached.connection, over, [udp.clone(), tcp.clone()], asks_router).await)
        }
        Err(_) => None,
    };
    let udp_works = probed.as_ref().and_then(|probed| probed.udp_works);
    let mut findings = judge(&reached_udp, &reached_tcp, udp_works, &tracker.addresses);
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    findings.extend(one_family(&tracker.addresses, &interface_addresses(&[any])).filter(|_| over.udp || over.tcp));
    if let Ok(reached) = &reached_udp {
        findings.push(datagrams(reached).await);
    }
    findings.extend(probed.into_iter().flat_map(|probed| probed.findings));
    for reached in [reached_udp, reached_tcp].into_iter().flatten() {
        reached.connection.close(0, "only looking");
    }
    udp.close().await;
    tcp.close().await;
    findings
}

/// What to dial with, over UDP and over TCP, as one peer.
pub(super) fn transports(query: &TrackerQuery) -> Result<[Arc<dyn Transport>; 2], Failure> {
    let (identity, trust) = bind::who(&query.peer)?;
    let listener = SocketAddr::new(bind::address(&query.peer), 0);
    let config = Config::new(identity, vec![listener]).trust(trust).mtu(query.peer.mtu);
    let bind = |kind: Kind| kind.bind(config.clone()).map_err(|error| Failure::new(ExitCode::Other, error.to_string()));
    Ok([bind(Kind::Quic)?, bind(Kind::Tcp)?])
}

/// Whom is dialled: both may listen on one port.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom {
    Tracker,
    Peer,
}

/// A connection that stands.
pub(super) struct LiveConnection {
    pub(super) connection: Arc<dyn Connection>,
}

/// The first connection to one of these addresses, all tried at once; or why the likeliest of them does not work.
pub(super) async fn dial(
    transport: Arc<dyn Transport>,
    addresses: &[SocketAddr],
    id: PeerId,
    whom: Whom,
) -> Result<LiveConnection, TransportError> {
    let mut tries = JoinSet::new();
    for (number, &address) in addresses.iter().enumerate() {
        let transport = transport.clone();
        tries.spawn(async move {
            let dialling = match whom {
                Whom::Tracker => transport.dial_tracker(address, id),
                Whom::Peer => transport.dial(address, id),
            };
            let dialled = tokio::time::timeout(PATIENCE, dialling).await;
            (number, dialled.unwrap_or(Err(TransportError::Unreachable(address))))
        });
    }
    let mut reasons = Vec::new();
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok((_, Ok(connection))) => return Ok(LiveConnection { connection }),
            Ok((number, Err(error))) => {
                // Who answers and is not the one, or takes us not, says more than silence.
                reasons.push((matches!(error, TransportError::Unreachable(_)), number, error));
            }
            Err(_) => {}
        }
    }
    let telling = reasons.into_iter().min_by_key(|(silent, number, _)| (*silent, *number)).map(|(_, _, error)| error);
    Err(telling.unwrap_or_else(|| TransportError::Lost("its name has no address".to_owned())))
}

/// What two tries say about the way and about who answered.
fn judge(
    udp: &Result<LiveConnection, TransportError>,
    tcp: &Result<LiveConnection, TransportError>,
    udp_works: Option<bool>,
    tried: &[SocketAddr],
) -> Vec<Finding> {
    let where_is = |reached: &LiveConnection| {
        let (address, rtt) = (reached.connection.remote_addr(), reached.connection.stats().rtt);
        format!("{address} answers, round trip {:.1} ms", rtt.as_secs_f64() * 1e3)
    };
    let mut findings = Vec::new();
    findings.push(match (udp, tcp) {
        (Ok(reached), _) => Finding::good("udp", where_is(reached)),
        (Err(error), Ok(_)) => router::whose_firewall(error, udp_works),
        (Err(error), Err(_)) => {
            let advice = match error {
                TransportError::Unreachable(_) => local_network::advice_for(tried, advice(error, tried)),
                _ => advice(error, tried).to_owned(),
            };
            Finding::bad("udp", ExitCode::TrackerUnreachable, error.to_string(), advice)
        }
    });
    findings.push(match tcp {
        Ok(reached) => Finding::good("tcp", where_is(reached)),
        Err(error) if udp.is_ok() => {
            let advice = "Peers in networks that drop UDP will not get through: let TCP pass on the same port";
            Finding::poor("tcp", format!("it does not get through: {error}"), advice)
        }
        Err(error) => Finding::skipped("tcp", format!("it does not get through either: {error}")),
    });
    if let Ok(reached) = udp.as_ref().or(tcp.as_ref()) {
        // A ticket may have half of it.
        let id = reached.connection.peer_id();
        findings.push(Finding::good("identity", format!("the tracker proved to be {id}")));
    }
    findings
}

fn advice(error: &TransportError, tried: &[SocketAddr]) -> &'static str {
    match error {
        TransportError::WrongPeer { .. } => {
            "Someone else is there, or the tracker was set up anew: compare --tracker-id with what it prints"
        }
        TransportError::NotTrusted(Untrusted::OtherCa) => {
            "Give --ca with the CA that its swarm has now, or leave out --ca if its swarm is open"
        }
        TransportError::NotTrusted(Untrusted::OutOfDate) => {
            "It needs a new one, unless the clock of this machine, or of that one, is wrong"
        }
        TransportError::NotTrusted(_) => "Give --ca with the certificate of its CA (ca.pem)",
        TransportError::NotAdmitted(_) => {
            "Take part with a certificate of its CA that is still good (--certs, or --cert and --key)"
        }
        TransportError::Handshake(_) => {
            "Something else than a tracker seems to be there: check the address and the port"
        }
        _ if connect::are_of_another_network(tried) => {
            "Its addresses are of another network, and are reached only there: take a tracker that both sides reach, or have the router \
             there forward its port"
        }
        _ => "Is it running there, and is that its port? Does a firewall stand between?",
    }
}

/// That the tracker is known by one IP family alone, where this machine has a public address of the other one, too.
fn one_family(tracker: &[SocketAddr], own: &[SocketAddr]) -> Option<Finding> {
    let is_ipv4 = |address: &SocketAddr| address.ip().to_canonical().is_ipv4();
    let known = is_ipv4(tracker.first()?);
    let is_one = tracker.iter().all(|address| is_ipv4(address) == known);
    let has_both = own.iter().any(|own| is_ipv4(own) != known && is_public(own.ip()));
    let [known, other] = if known { ["IPv4", "IPv6"] } else { ["IPv6", "IPv4"] };
    (is_one && has_both).then(|| {
        let found = format!(
            "the tracker is known by {known} alone. Peers find each other over {other}, too, if it says where it is there; for one \
             of an earlier version, take a name that leads to both"
        );
        Finding::skipped("families", found)
    })
}

async fn datagrams(reached: &LiveConnection) -> Finding {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_that_is_known_by_one_family_is_said_to_be_where_that_matters() {
        let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let [four, six, local] = ["192.0.2.1:9", "[2001:db8::1]:9", "[fd00::1]:9"];
        let found = |tracker: &[&str], own: &[&str]| one_family(&parse(tracker), &parse(own)).map(|one| one.found);
        assert!(found(&[four], &[four, six]).is_some_and(|found| found.contains("known by IPv4 alone")));
        assert!(found(&[six], &[four, six]).is_some_and(|found| found.contains("known by IPv6 alone")));
        assert!(found(&[four, six], &[four, six]).is_none(), "its name leads to both");
        assert!(found(&[four], &[four, local]).is_none() && found(&[], &[six]).is_none(), "there is no other way");
    }
}
