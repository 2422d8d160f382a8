//! Which addresses one lets oneself be told to dial.
//!
//! A tracker and other peers name addresses, and a first packet goes to each of them. A public address leads to the same
//! place for everyone. A private one leads into the network of the one that dials: a stranger must not choose which router,
//! printer or metadata service there gets our packets. So what counts is how the one who says so is reached:
//!
//! - loopback addresses count only from one that is itself reached over loopback: it is on this machine;
//! - those of a link (169.254.0.0/16) only from one that is on such a link;
//! - private ones from a tracker that is itself at a private address, as it and we are in one network, and it passes on only
//!   what it saw itself or what is behind the same address;
//! - private ones from a tracker on this machine, or from a peer that is at a private address, only if they are of the same
//!   private block (as 10.0.0.0/8) as the one that says so, or as an address of this machine;
//! - private ones from a tracker at a public address, only if they lie in the network of an interface of this machine, by its
//!   netmask, with a port of 1024 or more: those of a peer behind the same router. Services of routers and machines are below;
//! - never from a peer at a public address.
//!
//! The address of the one that says so always counts, and `--dial-private` lets all count.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use if_addrs::IfAddr;
use protocol::PeerAddress;
use swarm::Scope;
use tokio::time::Instant;
use transport::{have_in_common, is_inner_interface, network_bits};

use crate::lock::lock;
use crate::net::dial_book::NOT_DIALLED;

/// The addresses of this machine are looked up again after this long: machines move.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Peers listen above the ports of a system's services.
const LEAST_PORT: u16 = 1024;

/// An address of this machine, and how many of its bits all of its network have.
type Own = (IpAddr, u32);

/// The peer or tracker that names an address, by where it is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Tracker(IpAddr),
    Peer(IpAddr),
}

/// What is dialled and what is not.
pub(crate) struct DialFilter {
    /// Private addresses of whatever kind are dialled.
    private: bool,
    /// Where this node listens, as far as that is an address.
    listeners: Vec<IpAddr>,
    interfaces: Mutex<Option<(Instant, Vec<Own>)>>,
}

impl DialFilter {
    pub(crate) fn new(private: bool, listeners: &[SocketAddr]) -> Self {
        let listeners = listeners.iter().map(|listener| listener.ip().to_canonical()).collect();
        DialFilter { private, listeners, interfaces: Mutex::new(None) }
    }

    /// Leaves only addresses that may be dialled, perhaps none of a peer. Gives some of those that may not, but would with
    /// `--dial-private`: as many as are shown.
    pub(crate) fn keep(&self, source: Source, peers: &mut [PeerAddress]) -> Vec<SocketAddr> {
        let mut left_out = Vec::new();
        let scoped = |address: &SocketAddr| Scope::of(address.ip()) == Scope::Private;
        // Few messages have any, and to ask for the interfaces costs a look at the system.
        let own = match peers.iter().any(|peer| peer.addresses.iter().any(scoped)) {
            true => self.own(),
            false => Vec::new(),
        };
        for peer in peers.iter_mut() {
            peer.addresses.retain(|address| {
                let may = address.port() != 0 && self.allows(source, *address, &own);
                if !may {
                    tracing::debug!(%address, ?source, "is not dialled: --dial-private would");
                    let is_shown = left_out.len() < NOT_DIALLED && !left_out.contains(address);
                    if is_shown && address.port() != 0 && Scope::of(address.ip()) == Scope::Private {
                        left_out.push(*address);
                    }
                }
                may
            });
        }
        left_out
    }

    fn allows(&self, source: Source, address: SocketAddr, own: &[Own]) -> bool {
        let (Source::Tracker(by) | Source::Peer(by)) = source;
        let (by, ip) = (by.to_canonical(), address.ip().to_canonical());
        let like_own = || own.iter().any(|(own, _)| same_block(*own, ip));
        let beside = || address.port() >= LEAST_PORT && own.iter().any(|own| same_network(*own, ip));
        match (Scope::of(ip), Scope::of(by)) {
            (Scope::Public, _) => true,
            (Scope::Nowhere, _) => false,
            _ if self.private || ip == by => true,
            (Scope::Loopback, by) => by == Scope::Loopback,
            (Scope::Link, by) => by == Scope::Link,
            (Scope::Private, Scope::Private) => {
                matches!(source, Source::Tracker(_)) || same_block(by, ip) || like_own()
            }
            (Scope::Private, Scope::Loopback) => like_own(),
            (Scope::Private, Scope::Public) => matches!(source, Source::Tracker(_)) && beside(),
            (Scope::Private, _) => false,
        }
    }

    /// The addresses of this machine.
    fn own(&self) -> Vec<Own> {
        let mut known = lock(&self.interfaces);
        let fresh = known.as_ref().filter(|(looked, _)| looked.elapsed() < LOOK_AGAIN);
        let interfaces = match fresh {
            Some((_, interfaces)) => interfaces.clone(),
            None => {
                let found = if_addrs::get_if_addrs().unwrap_or_default();
                let interfaces: Vec<Own> = found.into_iter().map(|found| with_mask(&found.addr)).collect();
                *known = Some((Instant::now(), interfaces.clone()));
                interfaces
            }
        };
        // What a listener is bound to says nothing of a network.
        let listeners = self.listeners.iter().map(|&listener| (listener, u32::MAX));
        interfaces.into_iter().chain(listeners).collect()
    }
}

/// Addresses in the order in which they are dialled: on this machine, in a network that other machines are in too, and then as they
/// come, but this machine's own last: bridges of containers have the same addresses everywhere.
pub(crate) fn nearest_first(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.len() > 1 {
        let found = if_addrs::get_if_addrs().unwrap_or_default();
        let networks: Vec<_> = found.iter().map(|one| (with_mask(&one.addr), is_inner_interface(&one.name))).collect();
        sort_by_nearness(&mut addresses, &networks);
    }
    addresses
}

fn sort_by_nearness(addresses: &mut [SocketAddr], networks: &[(Own, bool)]) {
    addresses.sort_by_key(|address| {
        let ip = address.ip().to_canonical();
        let beside = || networks.iter().any(|(own, inner)| !inner && same_network(*own, ip));
        match ip {
            ip if ip.is_loopback() => 0,
            ip if networks.iter().any(|((own, _), _)| *own == ip) => 3,
            _ if beside() => 1,
            _ => 2,
        }
    });
}

fn with_mask(found: &IfAddr) -> Own {
    (found.ip(), network_bits(found))
}

/// Whether an address is private and in the network of this one, which is private too. A mask of a few bits tells no network.
fn same_network((own, bits): Own, other: IpAddr) -> bool {
    if !same_block(own, other) {
        return false;
    }
    let tells = if own.to_canonical().is_ipv4() { 8..=32 } else { 48..=128 };
    tells.contains(&bits) && have_in_common(bits, own, other)
}

/// Whether two private addresses are of one block that is set aside for private use.
fn same_block(one: IpAddr, other: IpAddr) -> bool {
    let block = |ip: IpAddr| match ip.to_canonical() {
        ip if Scope::of(ip) != Scope::Private => None,
        // 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 198.18.0.0/15: each has a first octet of its own.
        IpAddr::V4(ip) => Some((4, u16::from(ip.octets()[0]))),
        // fd00::/8 has a random part, which makes networks of 48 bits; but an operator with several of them routes between them.
        IpAddr::V6(ip) => Some((6, ip.segments()[0] & 0xfe00)),
    };
    block(one).is_some() && block(one) == block(other)
}

#[cfg(test)]
mod tests {
    use protocol::PeerId;

    use super::*;

    const OWN: &str = "192.168.1.5";

    fn filter(private: bool) -> DialFilter {
        let filter = DialFilter::new(private, &[]);
        let interfaces = [("127.0.0.1", 8), (OWN, 24)];
        let interfaces = interfaces.map(|(ip, bits)| (ip.parse().unwrap(), bits)).to_vec();
        *filter.interfaces.lock().unwrap() = Some((Instant::now() + Duration::from_secs(3600), interfaces));
        filter
    }

    fn allowed(filter: &DialFilter, source: Source, address: &str) -> bool {
        let address = address.parse().unwrap();
        let mut peers = vec![PeerAddress { id: PeerId::of_public_key(b"peer"), addresses: vec![address] }];
        filter.keep(source, &mut peers);
        !peers[0].addresses.is_empty()
    }

    #[test]
    fn nobody_far_away_chooses_whom_we_dial_at_home() {
        let victims = [
            "192.168.1.1:80",
            "192.168.1.5:22",
            "127.0.0.1:22",
            "169.254.169.254:80",
            "10.0.0.1:80",
            "100.100.100.200:80",
            "[fd00::1]:80",
            "[::1]:22",
            "[::ffff:127.0.0.1]:22",
            "[::ffff:192.168.1.1]:80",
            "0.0.0.0:22",
            "0.0.0.1:22",
            "[::]:22",
            "[64:ff9b::7f00:1]:22",
            "[2002:c0a8:101::1]:80",
            "[fe80::1]:22",
            "224.0.0.251:5353",
            "8.8.8.8:0",
            "255.255.255.255:9",
        ];
        for by in ["203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7"].map(|ip| ip.parse().unwrap()) {
            for source in [Source::Tracker(by), Source::Peer(by)] {
                for victim in victims {
                    assert!(!allowed(&filter(false), source, victim), "{victim} named by {source:?}");
                }
                assert!(allowed(&filter(false), source, "198.51.100.1:9000"));
            }
        }
    }

    /// Which one says so, how it is reached, what it names, and whether that is dialled.
    #[test]
    fn networks_of_ones_own_work_as_before() {
        let tracker = |ip: &str| Source::Tracker(ip.parse().unwrap());
        let peer = |ip: &str| Source::Peer(ip.parse().unwrap());
        let rows = [
            // On this machine.
            (tracker("127.0.0.1"), "127.0.0.1:9000", true),
            (tracker("::1"), "127.0.1.9:9000", true),
            (tracker("::ffff:127.0.0.1"), "[::1]:9000", true),
            (peer("127.0.0.1"), "127.0.0.1:9000", true),
            // A tracker here, and machines of our network: as `share` and its tracker have them.
            (tracker("127.0.0.1"), "192.168.1.9:9000", true),
            (tracker("127.0.0.1"), "192.168.7.9:9000", true),
            (tracker("127.0.0.1"), "10.0.0.1:80", false),
            (tracker("127.0.0.1"), "169.254.169.254:80", false),
            (peer("127.0.0.1"), "172.17.0.2:80", false),
            // A tracker in our network, with what it saw elsewhere in it.
            (tracker("192.168.1.2"), "192.168.1.9:9000", true),
            (tracker("192.168.1.2"), "10.77.0.3:9000", true),
            (tracker("10.77.0.1"), "10.77.0.2:9000", true),
            (tracker("172.17.0.1"), "172.17.0.2:9000", true),
            (tracker("fd00::1"), "[fd12::2]:9000", true),
            (tracker("100.64.0.1"), "100.101.1.1:9000", true),
            (tracker("192.168.1.2"), "127.0.0.1:22", false),
            (tracker("192.168.1.2"), "169.254.169.254:80", false),
            // A peer in our network knows of its own.
            (peer("192.168.1.2"), "192.168.1.9:9000", true),
            (peer("10.77.0.3"), "10.77.0.2:9000", true),
            (peer("10.77.0.3"), "192.168.1.9:9000", true),
            (peer("192.168.1.2"), "10.0.0.1:80", false),
            (peer("192.168.1.2"), "127.0.0.1:22", false),
            // A link.
            (tracker("169.254.3.4"), "169.254.5.6:9000", true),
            (peer("169.254.3.4"), "192.168.1.1:80", false),
            // Where they are themselves.
            (tracker("192.168.1.2"), "192.168.1.2:9000", true),
            (peer("198.18.0.7"), "198.18.0.7:9000", true),
        ];
        for (source, address, expected) in rows {
            assert_eq!(allowed(&filter(false), source, address), expected, "{address} named by {source:?}");
        }
    }

    /// Two peers behind one router, whose tracker is elsewhere.
    #[test]
    fn a_tracker_elsewhere_names_peers_of_our_own_network_and_no_services() {
        let filter = filter(false);
        let interfaces = [(OWN, 24), ("fd77::5", 64), ("172.20.3.1", 16), ("10.1.2.3", 0), ("100.64.0.9", 32)];
        let interfaces = interfaces.map(|(ip, bits)| (ip.parse().unwrap(), bits)).to_vec();
        *filter.interfaces.lock().unwrap() = Some((Instant::now() + Duration::from_secs(3600), interfaces));
        let far = "203.0.113.7".parse().unwrap();
        let rows = [
            ("192.168.1.9:9000", true),
            ("192.168.1.9:1024", true),
            ("[::ffff:192.168.1.9]:9000", true),
            ("172.20.200.9:9000", true),
            ("[fd77::9]:9000", true),
            // Ports of services.
            ("192.168.1.1:80", false),
            ("192.168.1.1:1023", false),
            ("[fd77::1]:443", false),
            // Other networks, though of the same block, or of an interface that says nothing of its network.
            ("192.168.2.9:9000", false),
            ("172.21.0.9:9000", false),
            ("[fd77:0:0:1::9]:9000", false),
            ("10.1.2.4:9000", false),
            ("100.64.0.10:9000", false),
            ("127.0.0.1:9000", false),
            ("169.254.169.254:9000", false),
            ("192.168.1.9:0", false),
        ];
        for (address, expected) in rows {
            assert_eq!(allowed(&filter, Source::Tracker(far), address), expected, "{address}");
            assert!(!allowed(&filter, Source::Peer(far), address), "{address} named by a peer");
        }
    }

    /// They are for people, who see a few, and anyone may name 2,048 in a message.
    #[test]
    fn few_of_many_addresses_that_are_not_dialled_are_kept() {
        let address = |n: u16| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 9000));
        let of = |n: u16| PeerAddress {
            id: PeerId::of_public_key(&n.to_le_bytes()),
            addresses: (0..32).map(|at| address((n * 32 + at) / 2)).collect(),
        };
        let mut peers: Vec<_> = (0..64).map(of).collect();
        let left_out = filter(false).keep(Source::Peer("203.0.113.7".parse().unwrap()), &mut peers);
        assert_eq!(left_out, (0..NOT_DIALLED as u16).map(address).collect::<Vec<_>>(), "each once");
        assert!(peers.iter().all(|peer| peer.addresses.is_empty()));
    }

    #[test]
    fn nearer_addresses_are_dialled_first() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let networks = [
            ((ip("127.0.0.1"), 8), false),
            ((ip(OWN), 24), false),
            ((ip("172.17.0.1"), 16), true),
            ((ip("fd77::5"), 64), false),
        ];
        let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mut named = parse(&[
            "172.17.0.1:1",
            "203.0.113.7:1",
            "172.17.0.9:1",
            "10.0.0.1:1",
            "192.168.1.9:1",
            "[fd77::9]:1",
            "127.0.0.1:1",
        ]);
        sort_by_nearness(&mut named, &networks);
        let expected = parse(&[
            "127.0.0.1:1",
            "192.168.1.9:1",
            "[fd77::9]:1",
            "203.0.113.7:1",
            "172.17.0.9:1",
            "10.0.0.1:1",
            "172.17.0.1:1",
        ]);
        assert_eq!(named, expected);
    }

    #[tokio::test]
    async fn dial_private_lets_all_of_them_count() {
        let far = Source::Peer("203.0.113.7".parse().unwrap());
        for address in ["192.168.1.1:80", "127.0.0.1:22", "169.254.169.254:80", "[fd00::1]:80"] {
            assert!(allowed(&filter(true), far, address), "{address}");
        }
        assert!(!allowed(&filter(true), far, "0.0.0.0:80") && !allowed(&filter(true), far, "224.0.0.1:80"));
    }
}
