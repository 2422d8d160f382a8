//! How this machine is reached, as a tracker sees it: what a router in front of it does with ports (RFC 4787), and what it lets in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use protocol::{PeerId, ProbeEvent, ProbeReport, ProbeRequest, TrackerEvent, TrackerRequest, printable};
use swarm::Scope;
use tokio::task::JoinSet;
use tokio::time::timeout;
use transport::frame::{MessageReceiver, MessageSender};
use transport::{Connection, Transport, TransportError};

/// The tracker takes the question within this time.
const SEND: Duration = Duration::from_secs(5);
/// It has tried everything within this time.
const FOUND: Duration = Duration::from_secs(15);
/// For so long its other ports are dialled.
const DIAL: Duration = Duration::from_millis(4000);

/// How a router gives a port of this machine ports of its own (RFC 4787, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mapping {
    /// The same port for every destination. If the tracker has one address only, this is known for two of its ports.
    EndpointIndependent,
    /// Another port for each destination address.
    AddressDependent,
    /// Another port for each destination address and port.
    AddressAndPortDependent,
}

/// Whom a router or firewall lets in (RFC 4787, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filtering {
    /// Everyone.
    EndpointIndependent,
    /// Hosts to which something was sent from the port; or everyone, if the tracker has only one address to test from.
    AddressDependent,
    /// Hosts and ports to which something was sent from the port.
    AddressAndPortDependent,
}

/// The result of a test by a tracker: see [`reachability`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reachability {
    /// Where the tracker sees this machine.
    pub seen: SocketAddr,
    /// How the router maps ports. `None` if this could not be tested, or none of the tracker's other ports was reached.
    pub mapping: Option<Mapping>,
    /// Which UDP packets it lets in; `None` if UDP does not reach the tracker.
    pub filtering: Option<Filtering>,
    /// Whether it lets in TCP connections from hosts to which nothing was sent.
    pub tcp: bool,
    /// Whether the tracker had a second address to test from.
    pub two_addresses: bool,
    /// Whether the tracker is a relay.
    pub relays: bool,
    /// Whether anybody on another machine has reached the tracker over UDP.
    pub udp_works: bool,
}

impl Reachability {
    /// Of a machine that is seen there; nothing else is known of it.
    pub fn at(seen: SocketAddr) -> Self {
        let (mapping, filtering, two_addresses) = (None, None, false);
        Reachability { seen, mapping, filtering, tcp: false, two_addresses, relays: false, udp_works: false }
    }
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReachabilityError {
    /// The tracker does not know the request.
    #[error("the tracker cannot tell: it is of an earlier version")]
    OldTracker,
    /// The tracker refuses, with this reason.
    #[error("{0}")]
    Refused(String),
    /// The tracker has gone, or does not answer.
    #[error("the tracker has not told: {0}")]
    Tracker(#[from] TransportError),
}

/// Asks the tracker at the other end of this connection how the listeners here can be reached over UDP and TCP. This takes some
/// seconds. The connection, which is that of `udp` or `tcp`, must not be used for anything else; peers that connect to the two
/// meanwhile are held until this returns.
pub async fn reachability(
    connection: &dyn Connection,
    udp: Arc<dyn Transport>,
    tcp: Arc<dyn Transport>,
) -> Result<Reachability, ReachabilityError> {
    let mut held = JoinSet::new();
    for transport in [udp.clone(), tcp.clone()] {
        held.spawn(async move {
            let mut connections = Vec::new();
            while let Some(connection) = transport.accept().await {
                connections.push(connection);
            }
        });
    }
    let port = tcp.listeners().first().map(SocketAddr::port);
    timeout(FOUND, ask(connection, &udp, port)).await.unwrap_or(Err(TransportError::TimedOut("its answer").into()))
}

async fn ask(
    connection: &dyn Connection,
    udp: &Arc<dyn Transport>,
    tcp: Option<u16>,
) -> Result<Reachability, ReachabilityError> {
    let (send, recv) = connection.open().await?;
    let (mut send, mut recv) = (MessageSender::new(send, SEND), MessageReceiver::new(recv));
    let dialled = connection.remote_addr().ip().to_canonical();
    send.send(&TrackerRequest::Probe(ProbeRequest { dialled, tcp })).await?;
    let (seen, places) = match hear(&mut recv, connection).await? {
        ProbeEvent::Places { seen, places } => (seen, places),
        ProbeEvent::Found(_) => return Err(ReachabilityError::OldTracker),
    };
    let mut dialling = JoinSet::new();
    for place in places.iter().copied().filter(|place| may_dial(place.ip(), dialled)) {
        let (udp, tracker) = (udp.clone(), connection.peer_id());
        dialling.spawn(async move { dial(&*udp, place, tracker).await });
    }
    let found = loop {
        // Connections that stand are kept until it has looked at them.
        match hear(&mut recv, connection).await? {
            ProbeEvent::Found(report) => break report,
            ProbeEvent::Places { .. } => {}
        }
    };
    Ok(judge(seen, connection.transport() == "quic", &found))
}

/// A tracker chooses only addresses that lead as far as its own one.
fn may_dial(place: IpAddr, dialled: IpAddr) -> bool {
    let place = place.to_canonical();
    place == dialled || (place.is_ipv4() == dialled.is_ipv4() && Scope::of(place) == Scope::of(dialled))
}

async fn dial(transport: &dyn Transport, place: SocketAddr, tracker: PeerId) -> Option<Arc<dyn Connection>> {
    let dialled = timeout(DIAL, transport.dial_tracker(place, tracker)).await;
    dialled.ok()?.inspect_err(|error| tracing::debug!(%place, %error, "another port of the tracker")).ok()
}

async fn hear(
    recv: &mut MessageReceiver<TrackerEvent>,
    connection: &dyn Connection,
) -> Result<ProbeEvent, ReachabilityError> {
    match recv.recv().await {
        Ok(Some(TrackerEvent::Probe(event))) => Ok(event),
        Ok(Some(TrackerEvent::Refused(sentence))) => Err(ReachabilityError::Refused(printable(&sentence).to_string())),
        Err(error) if !crate::code::is_old(&error, connection).await => Err(error.into()),
        _ => Err(ReachabilityError::OldTracker),
    }
}

/// What follows from what the tracker saw.
fn judge(seen: SocketAddr, over_udp: bool, report: &ProbeReport) -> Reachability {
    let seen = SocketAddr::new(seen.ip().to_canonical(), seen.port());
    let from = |number: usize| report.seen.get(number).copied().flatten();
    let same = |other: SocketAddr| other.port() == seen.port() && other.ip().to_canonical() == seen.ip();
    let mapping = match (from(0).map(same), from(1).map(same)) {
        (Some(true), Some(false)) => Some(Mapping::AddressDependent),
        (Some(false), _) | (None, Some(false)) => Some(Mapping::AddressAndPortDependent),
        (Some(true), _) | (None, Some(true)) => Some(Mapping::EndpointIndependent),
        (None, None) => None,
    };
    let let_in = |number: usize| report.let_in.get(number).copied().unwrap_or_default();
    let filtering = over_udp.then(|| match (let_in(0), let_in(1)) {
        (_, true) => Filtering::EndpointIndependent,
        (true, false) => Filtering::AddressDependent,
        (false, false) => Filtering::AddressAndPortDependent,
    });
    Reachability {
        seen,
        mapping,
        filtering,
        tcp: report.tcp.unwrap_or_default(),
        two_addresses: report.let_in.len() > 1,
        relays: report.relays,
        udp_works: report.udp_works,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seen: &[Option<&str>], let_in: &[bool]) -> ProbeReport {
        let seen = seen.iter().map(|text| text.map(|text| text.parse().unwrap())).collect();
        ProbeReport { seen, let_in: let_in.to_vec(), tcp: None, relays: false, udp_works: true }
    }

    fn of(seen: &[Option<&str>], let_in: &[bool]) -> (Option<Mapping>, Option<Filtering>) {
        let found = judge("[::ffff:192.0.2.1]:9000".parse().unwrap(), true, &report(seen, let_in));
        (found.mapping, found.filtering)
    }

    #[test]
    fn behaviour_of_routers_is_told_apart() {
        use Filtering::{AddressAndPortDependent as Port, AddressDependent as Address, EndpointIndependent as Anyone};
        use Mapping::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        let (same, other) = (Some("192.0.2.1:9000"), Some("192.0.2.1:40001"));
        assert_eq!(of(&[same], &[false]), (Some(EndpointIndependent), Some(Port)), "as most routers at home");
        assert_eq!(of(&[same], &[true]), (Some(EndpointIndependent), Some(Address)));
        assert_eq!(of(&[same, same], &[true, true]), (Some(EndpointIndependent), Some(Anyone)));
        assert_eq!(of(&[same, other], &[true, false]), (Some(AddressDependent), Some(Address)));
        assert_eq!(of(&[other], &[false]), (Some(AddressAndPortDependent), Some(Port)));
        assert_eq!(of(&[other, other], &[false, false]), (Some(AddressAndPortDependent), Some(Port)));
        assert_eq!(of(&[None], &[false]), (None, Some(Port)));
        assert_eq!(of(&[Some("192.0.2.2:9000")], &[false]).0, Some(AddressAndPortDependent), "a pool of addresses");
        let found = judge("192.0.2.1:9000".parse().unwrap(), false, &report(&[], &[]));
        assert_eq!((found.mapping, found.filtering, found.tcp), (None, None, false), "over TCP");
    }

    #[test]
    fn a_tracker_elsewhere_chooses_no_address_in_this_network() {
        let may = |place: &str, dialled: &str| may_dial(place.parse().unwrap(), dialled.parse().unwrap());
        assert!(may("198.51.100.2", "198.51.100.1") && may("10.0.0.2", "10.0.0.1") && may("127.0.0.1", "127.0.0.1"));
        assert!(!may("10.0.0.2", "198.51.100.1") && !may("127.0.0.1", "198.51.100.1"));
        assert!(!may("2001:db8::1", "198.51.100.1"));
    }
}
