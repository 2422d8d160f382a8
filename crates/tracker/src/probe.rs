//! Telling peers how they are reached: from ports, and if there is one from an address, that they have never talked to.
//!
//! Sockets are opened for that, so it is done for a few at a time. Nothing is sent anywhere but to where the peer's own connection
//! comes from, as its handshake has proved, and only the peer itself is taken for an answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::{PeerId, ProbeEvent, ProbeReport, ProbeRequest, TrackerEvent};
use swarm::{AddressOrigin, Scope};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use transport::frame::MessageSender;
use transport::{Config, Connection, Kind, Likelihood, Transport, TransportError, own_addresses};

/// Peers that are looked at at once.
const MOST: usize = 4;
/// For so long a peer is tried that has to be let through by its router, or not.
const UNASKED: Duration = Duration::from_millis(2500);
/// For so long it is waited for.
const AWAITED: Duration = Duration::from_millis(3500);
/// Until then the peer alone sends; later this side does too, in case a firewall of its own lets in only answers.
const ALONE: Duration = Duration::from_millis(1200);

/// From one origin one look begins in so long: one at a time, with a pause before the next.
const EACH: Duration = Duration::from_secs(7);
/// Origins that are remembered for that.
const ORIGINS: usize = 1024;
/// Smaller ports are those of other services: nobody but root listens there.
const FIRST_PORT: u16 = 1024;

/// What a refused peer is told.
pub(crate) const BUSY: &str = "others are being looked at just now: try again in a few seconds";
/// What a peer is told that asks a tracker that looks at nobody.
pub(crate) const NONE: &str = "this tracker does not try ports";

/// Looks at peers.
pub(crate) struct Prober {
    config: Config,
    room: Semaphore,
    /// When each origin has its next turn.
    turns: Mutex<HashMap<IpAddr, Instant>>,
}

/// What the rest of the tracker knows of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) relays: bool,
    pub(crate) udp_works: bool,
}

impl Prober {
    /// With sockets as this says, but on other ports.
    pub(crate) fn new(config: Config) -> Self {
        Prober { config, room: Semaphore::new(MOST), turns: Mutex::default() }
    }

    /// When a peer that is seen at this address has its turn; nothing if too many wait. Takes the turn.
    fn turn(&self, seen: IpAddr, now: Instant) -> Option<Instant> {
        // What a process of this machine may learn it can find out without.
        if seen.is_loopback() {
            return Some(now);
        }
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, next| *next > now);
        let origin = AddressOrigin::of(seen).address;
        let turn = turns.get(&origin).copied().unwrap_or(now);
        if turn > now + EACH || turns.len() >= ORIGINS {
            return None;
        }
        turns.insert(origin, turn + EACH);
        Some(turn)
    }

    /// Looks at the peer at the other end, and tells it.
    pub(crate) async fn serve(
        &self,
        connection: &dyn Connection,
        send: &mut MessageSender<TrackerEvent>,
        request: ProbeRequest,
        known: Known,
    ) -> Result<(), TransportError> {
        let (peer, seen) = (connection.peer_id(), canonical(connection.remote_addr()));
        let Some(turn) = self.turn(seen.ip(), Instant::now()) else {
            return send.send(&TrackerEvent::Refused(BUSY.to_owned())).await;
        };
        sleep_until(turn).await;
        let Ok(_room) = self.room.try_acquire() else {
            return send.send(&TrackerEvent::Refused(BUSY.to_owned())).await;
        };
        let over_udp = connection.transport() == "quic";
        let own = if over_udp { self.own(request.dialled.to_canonical(), seen.ip()) } else { Vec::new() };
        // The peer must not know these ports: a packet from it would open its router for them.
        let unused = own.iter().filter_map(|&ip| self.bind(Kind::Quic, ip).ok()).collect::<Vec<_>>();
        let udp =
            in_order(unused.clone().into_iter().map(|transport| async move { reaches(&*transport, seen, peer).await }));
        let tcp = async {
            let port = request.tcp.filter(|&port| port >= FIRST_PORT)?;
            let transport = self.bind(Kind::Tcp, self.base()).ok()?;
            let reached = reaches(&*transport, SocketAddr::new(seen.ip(), port), peer).await;
            transport.close().await;
            Some(reached)
        };
        // A port that is closed is told as late as one whose packets are dropped: this is no scanner of ports.
        let all_the_time = async {
            if !seen.ip().is_loopback() {
                sleep(UNASKED).await;
            }
        };
        let (let_in, tcp, ()) = tokio::join!(udp, tcp, all_the_time);
        let mut places = Vec::new();
        for (number, &ip) in own.iter().enumerate() {
            let Ok(transport) = self.bind(Kind::Quic, ip) else { break };
            let port = transport.listeners().first().map_or(0, SocketAddr::port);
            let told = if number == 0 { request.dialled.to_canonical() } else { ip };
            places.push((SocketAddr::new(told, port), transport));
        }
        let told = places.iter().map(|(place, _)| *place).collect();
        send.send(&TrackerEvent::Probe(ProbeEvent::Places { seen, places: told })).await?;
        let arrivals = places.iter().map(|(_, transport)| arrival(transport.clone(), seen, peer));
        let seen_there = in_order(arrivals).await;
        let Known { relays, udp_works } = known;
        let report = ProbeReport { seen: seen_there, let_in, tcp, relays, udp_works };
        let sent = send.send(&TrackerEvent::Probe(ProbeEvent::Found(report))).await;
        for transport in places.into_iter().map(|(_, transport)| transport).chain(unused) {
            transport.close().await;
        }
        sent
    }

    /// What the tracker itself is bound to.
    fn base(&self) -> IpAddr {
        self.config.listeners.first().map_or(IpAddr::from([0; 16]), SocketAddr::ip)
    }

    fn bind(&self, kind: Kind, ip: IpAddr) -> Result<Arc<dyn Transport>, TransportError> {
        kind.bind(self.config.clone().listeners(vec![SocketAddr::new(ip, 0)]))
    }

    /// Where this machine looks at a peer from: what it is bound to, and an address beside the one that was dialled, if it has one
    /// that the peer reaches as well.
    fn own(&self, dialled: IpAddr, seen: IpAddr) -> Vec<IpAddr> {
        let base = self.base();
        let mut own = vec![base];
        if base.is_unspecified() {
            let listener = SocketAddr::new(base, 1);
            let known = own_addresses(&[listener]);
            let reached = known.iter().filter(|own| own.likelihood <= Likelihood::Network);
            let ips: Vec<_> = reached.map(|own| own.address.ip().to_canonical()).collect();
            own.extend(other_address(&ips, dialled, seen));
        }
        own
    }
}

/// An address beside the dialled one. Where that is none of this machine's own, a router in front of it has it alone.
fn other_address(own: &[IpAddr], dialled: IpAddr, seen: IpAddr) -> Option<IpAddr> {
    let alike = |ip: &&IpAddr| ip.is_ipv4() == seen.is_ipv4() && Scope::of(**ip) == Scope::of(seen);
    own.contains(&dialled).then(|| own.iter().filter(alike).find(|ip| **ip != dialled).copied()).flatten()
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What these looks find, all at once, in their order.
async fn in_order<T: Send + 'static>(looks: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let looks: JoinSet<_> = looks.enumerate().map(|(number, look)| async move { (number, look.await) }).collect();
    let mut found = looks.join_all().await;
    found.sort_unstable_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, found)| found).collect()
}

/// Whether the peer is reached at this address, unasked.
async fn reaches(transport: &dyn Transport, address: SocketAddr, peer: PeerId) -> bool {
    match timeout(UNASKED, transport.dial(address, peer)).await {
        Ok(Ok(connection)) => {
            connection.close(0, "only looking");
            true
        }
        _ => false,
    }
}

/// Where the peer comes from, if it does.
async fn arrival(transport: Arc<dyn Transport>, seen: SocketAddr, peer: PeerId) -> Option<SocketAddr> {
    let comes = async {
        while let Some(connection) = transport.accept().await {
            if connection.peer_id() == peer {
                return Some(canonical(connection.remote_addr()));
            }
            connection.close(0, "somebody else is meant");
        }
        None
    };
    let open = async {
        sleep(ALONE).await;
        // Whichever of both arrives says the same.
        match transport.dial(seen, peer).await {
            Ok(connection) => Some(canonical(connection.remote_addr())),
            Err(_) => std::future::pending().await,
        }
    };
    let first = async {
        tokio::select! {
            found = comes => found,
            found = open => found,
        }
    };
    timeout(AWAITED, first).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_looked_at_once_at_a_time() {
        let prober = Prober::new(Config::new(transport::Identity::generate().unwrap(), Vec::new()));
        let parse = |ip: &str| ip.parse::<IpAddr>().unwrap();
        let (now, one, other) = (Instant::now(), parse("192.0.2.1"), parse("192.0.2.2"));
        assert_eq!(prober.turn(one, now), Some(now));
        assert_eq!(prober.turn(one, now), Some(now + EACH), "the second waits");
        assert_eq!(prober.turn(one, now), None, "the third is refused");
        assert_eq!(prober.turn(other, now), Some(now));
        assert_eq!(prober.turn(one, now + 2 * EACH), Some(now + 2 * EACH));
        // A host has a whole /64.
        assert_eq!(prober.turn(parse("2001:db8::1"), now), Some(now));
        assert_eq!(prober.turn(parse("2001:db8::2"), now), Some(now + EACH));
    }

    #[test]
    fn another_address_is_one_that_the_peer_reaches_as_well() {
        let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let other = |own: &[&str], dialled: &str, seen: &str| {
            other_address(&parse(own), dialled.parse().unwrap(), seen.parse().unwrap()).map(|ip| ip.to_string())
        };
        let own = ["198.51.100.1", "10.0.0.1", "2001:db8::1", "198.51.100.2", "10.0.0.2"];
        assert_eq!(other(&own, "198.51.100.1", "8.8.8.8").as_deref(), Some("198.51.100.2"));
        assert_eq!(other(&own, "10.0.0.2", "10.0.0.9").as_deref(), Some("10.0.0.1"));
        assert_eq!(other(&own, "2001:db8::1", "2001:db8::9"), None);
        assert_eq!(other(&own, "192.0.2.1", "8.8.8.8"), None, "a router has it, and forwards the tracker's port alone");
    }
}
