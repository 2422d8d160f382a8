//! A connection that stands: who is at the other end, what both do for each other, and how the peer behaves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::{ContentId, PeerAddress, PeerId};

use super::conduct::Conduct;
use crate::engine::download::Download;
use crate::engine::participation::Participation;
use crate::engine::rate::Rate;
use crate::engine::upload::Upload;
use crate::scope::Scope;

/// A peer may make its round trip as long as it likes, and gets no more patience than for these: the first until a piece has gone either
/// way, the second afterwards, since a satellite under load takes seconds.
const LONGEST_OF_STRANGER: Duration = Duration::from_millis(500);
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(3);
/// Addresses told of one peer, as many as a message carries.
const MOST_ADDRESSES: usize = 32;
/// A peer that is reached through a relay is dialled directly again after this time, and then after pauses of no more than that.
const DIRECT_AGAIN: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause after which it is if there is news of its addresses.
const NEWS: Duration = Duration::from_secs(1);

/// A connection that stands.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: ConnectedPeer,
    /// The contents that the other side takes part in.
    pub(crate) participations: BTreeMap<ContentId, Participation>,
    /// How fast it gives us bytes.
    pub(crate) rate: Rate,
    /// What it owes us.
    pub(crate) download: Download,
    /// What we promised it.
    pub(crate) upload: Upload,
    pub(crate) conduct: Conduct,
    /// Contents whose manifests it was asked for.
    pub(crate) manifests: BTreeSet<ContentId>,
}

/// When a peer is dialled directly that a relay connects us to.
#[derive(Debug)]
pub(crate) struct Relayed {
    tries: u32,
    /// When it was dialled last, or the relay began to carry the connection.
    last: Duration,
    pub(crate) next: Duration,
}

impl Relayed {
    /// It is dialled now. Each pause until the next time is twice as long as the last.
    pub(crate) fn dialled(&mut self, now: Duration) {
        self.tries = (self.tries + 1).min(8);
        self.last = now;
        self.next = now + (DIRECT_AGAIN * 2u32.pow(self.tries)).min(LONGEST_PAUSE);
    }

    /// The tracker has seen it at another address. However often it says so, the peer is dialled once a second at most.
    pub(crate) fn is_elsewhere(&mut self, now: Duration) {
        self.next = self.next.min(now.max(self.last + NEWS));
    }
}

/// The peer at the other end, and what it said of itself.
#[derive(Debug)]
pub(crate) struct ConnectedPeer {
    pub(crate) id: PeerId,
    /// Where it is; the port is 0 if it takes no connections there.
    pub(crate) address: SocketAddr,
    /// Whether we dialled it, and then because other peers had named it, and not the tracker.
    pub(crate) dialled: bool,
    pub(crate) hearsay: bool,
    /// If a relay carries the connection: when the peer is dialled directly.
    pub(crate) relayed: Option<Relayed>,
    /// When the connection was made, and when peers were last exchanged over it.
    pub(crate) since: Duration,
    pub(crate) exchanged: Duration,
    /// The content with which the exchange goes on, if it is not over.
    pub(crate) exchange_next: Option<ContentId>,
    /// Whether it said hello, and what it said then.
    pub(crate) greeted: bool,
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) site: String,
    /// Contents that it was told of before it said that it takes part.
    pub(crate) told: BTreeSet<ContentId>,
}

impl ConnectedPeer {
    pub(crate) fn new(id: PeerId, address: SocketAddr, dialled: bool, now: Duration) -> Self {
        ConnectedPeer {
            id,
            address,
            dialled,
            hearsay: false,
            relayed: None,
            since: now,
            exchanged: now,
            exchange_next: None,
            greeted: false,
            listeners: Vec::new(),
            site: String::new(),
            told: BTreeSet::new(),
        }
    }

    /// A relay carries the connection, or does not.
    pub(crate) fn relayed(mut self, relayed: bool) -> Self {
        self.relayed = relayed.then(|| Relayed { tries: 0, last: self.since, next: self.since + DIRECT_AGAIN });
        self
    }

    /// Where this peer can be reached by someone at `asker`: where we see it, if it takes connections there; the address that we
    /// see with the ports it named; and the addresses it named, but loopback only for loopback, and, as trackers have it, public ones
    /// only if they are its own: it must not have others dial whom it likes. A public one of the other IP family has to be among those that
    /// a tracker has `named`, too: neither of them alone has others dial somebody else. Who takes none is told to nobody.
    pub(crate) fn address_for(&self, asker: IpAddr, named: &[SocketAddr]) -> Option<PeerAddress> {
        let seen = self.address.ip();
        let is_own = |address: &SocketAddr| address.ip().to_canonical() == seen.to_canonical();
        let is_ipv4 = |ip: IpAddr| ip.to_canonical().is_ipv4();
        let is_second = |address: &SocketAddr| is_ipv4(address.ip()) != is_ipv4(seen) && named.contains(address);
        // As for trackers: whose own address is seen is behind no router that changes ports.
        let translated = !self.listeners.iter().any(is_own);
        let is_listener = self.address.port() != 0 && !self.listeners.is_empty() && translated;
        let seen_port = is_listener.then_some(self.address);
        let ports: BTreeSet<u16> = self.listeners.iter().map(SocketAddr::port).collect();
        let mut listed = BTreeSet::new();
        // In the order in which it named them, which is likeliest first.
        let addresses: Vec<SocketAddr> = seen_port
            .into_iter()
            .chain(ports.into_iter().map(|port| SocketAddr::new(seen, port)))
            .chain(self.listeners.iter().copied())
            .filter(|address| match Scope::of(address.ip()) {
                Scope::Nowhere => false,
                Scope::Loopback => asker.to_canonical().is_loopback(),
                // What is on this machine may have any of its addresses.
                Scope::Public => is_own(address) || is_second(address) || seen.to_canonical().is_loopback(),
                Scope::Link | Scope::Private => true,
            })
            .filter(|&address| listed.insert(address))
            .take(MOST_ADDRESSES)
            .collect();
        (!addresses.is_empty()).then_some(PeerAddress { id: self.id, addresses })
    }
}

impl Connection {
    /// The other side's part in a content.
    pub(crate) fn participation(&self, content: &ContentId) -> Option<&Participation> {
        self.participations.get(content)
    }

    /// Whether the other side takes part in a content.
    pub(crate) fn takes_part_in(&self, content: &ContentId) -> bool {
        self.participations.contains_key(content)
    }

    /// Whether it says that it has this piece.
    pub(crate) fn has(&self, content: &ContentId, piece: u32) -> bool {
        self.participation(content).is_some_and(|theirs| theirs.have.contains(piece))
    }

    /// The round trip, as far as it may buy patience: the other side can make it as long as it likes.
    pub(crate) fn round_trip(&self) -> Duration {
        self.rate.rtt.min(if self.was_of_use() { LONGEST_ROUND_TRIP } else { LONGEST_OF_STRANGER })
    }

    /// Whether pieces have travelled either way.
    pub(crate) fn was_of_use(&self) -> bool {
        self.travelled() > 0
    }

    /// Bytes of pieces that have travelled, both ways together.
    pub(crate) fn travelled(&self) -> u64 {
        self.download.credit.verified + self.upload.taken
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn peer(listeners: &[&str]) -> ConnectedPeer {
        let seen = "192.0.2.1:5000".parse().unwrap();
        let mut peer = ConnectedPeer::new(PeerId(Digest([1; 32])), seen, true, Duration::ZERO);
        peer.listeners = listeners.iter().map(|address| address.parse().unwrap()).collect();
        peer
    }

    fn told(peer: &ConnectedPeer, asker: &str) -> Vec<String> {
        told_beside(peer, asker, &[])
    }

    /// If a tracker has named these.
    fn told_beside(peer: &ConnectedPeer, asker: &str, named: &[&str]) -> Vec<String> {
        let named: Vec<_> = named.iter().map(|address| address.parse().unwrap()).collect();
        let addresses = peer.address_for(asker.parse().unwrap(), &named).map(|peer| peer.addresses);
        addresses.into_iter().flatten().map(|address| address.to_string()).collect()
    }

    #[test]
    fn loopback_addresses_are_told_to_loopback_alone() {
        let peer = peer(&["127.0.0.1:9000", "10.0.0.1:9000", "0.0.0.0:9001"]);
        let beyond = ["192.0.2.1:5000", "192.0.2.1:9000", "192.0.2.1:9001", "10.0.0.1:9000"];
        assert_eq!(told(&peer, "192.0.2.7"), beyond);
        assert_eq!(told(&peer, "127.0.0.1").len(), beyond.len() + 1);
    }

    /// A peer must not have all others dial a third party.
    #[test]
    fn a_public_address_of_somebody_else_is_passed_on_to_nobody() {
        let peer =
            peer(&["198.51.100.1:53", "[2001:db8::1]:53", "224.0.0.251:5353", "192.0.2.1:9000", "10.0.0.1:9000"]);
        assert_eq!(told(&peer, "192.0.2.7")[..2], ["192.0.2.1:53", "192.0.2.1:5353"], "the ports at its own address");
        assert_eq!(told(&peer, "192.0.2.7")[2..], ["192.0.2.1:9000", "10.0.0.1:9000"]);
    }

    /// Who has IPv6 alone, or IPv4 alone, is to reach it, too.
    #[test]
    fn a_second_address_is_passed_on_if_a_tracker_and_its_peer_name_it() {
        let (own, second, third) = ("192.0.2.1:9000", "[2001:db8::1]:9000", "198.51.100.1:9000");
        let both = peer(&[own, second, third]);
        assert_eq!(told_beside(&both, "2001:db8::7", &[own, second]), [own, second]);
        assert_eq!(told_beside(&both, "192.0.2.7", &[third]), [own], "it is of the same family");
        assert_eq!(told_beside(&both, "192.0.2.7", &["[2001:db8::1]:53"]), [own], "the tracker names another port");
        assert_eq!(told_beside(&peer(&[own]), "192.0.2.7", &[own, second]), [own], "it does not say so itself");
    }

    #[test]
    fn the_port_that_was_seen_is_passed_on_where_a_router_gives_it() {
        let mut behind = peer(&["10.0.0.1:9000"]);
        assert_eq!(told(&behind, "192.0.2.7"), ["192.0.2.1:5000", "192.0.2.1:9000", "10.0.0.1:9000"]);
        // It came over TCP, or through a relay.
        behind.address.set_port(0);
        assert_eq!(told(&behind, "192.0.2.7"), ["192.0.2.1:9000", "10.0.0.1:9000"]);
        assert_eq!(told(&peer(&["192.0.2.1:9000"]), "192.0.2.7"), ["192.0.2.1:9000"], "no router is in between");
    }

    #[test]
    fn a_peer_without_listeners_is_told_to_nobody() {
        assert!(told(&peer(&[]), "127.0.0.1").is_empty());
    }
}
