//! Which of a member's addresses others are told, and which others.
//!
//! Whatever a peer announces is dialled by strangers, so it must not be able to point a swarm at a third party: a
//! public address is passed on only if the tracker saw it itself. A private one leads its dialler into a network
//! of its own: so it too is passed on only if the tracker saw it, or to those whom the tracker sees at the very address at
//! which it sees the member: they are behind one router, or on one machine. A loopback address stays within the tracker's
//! machine, and one of a link on that link.
//!
//! A router may give a peer's datagrams another port than the one that it listens on. The one that the tracker saw comes first
//! then: who dials it at the same time as it is dialled gets through most routers. It is the peer's own, as the handshake has proved.
//!
//! A peer may be seen at two addresses, one of each IP family, once it has proven both. What others are told is then what they would be
//! told of a peer that is seen at either; and two peers are behind one router if they are seen at one address in common.
//!
//! A peer on the tracker's own machine is trusted with that machine's addresses, since the tracker sees it through loopback
//! only: with its public ones to everyone, with its private ones, and those of its links, to those who come from such addresses
//! themselves.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Scope;

/// Most addresses of one member, as many as a message carries.
const MOST: usize = 32;

/// Where someone comes from, as far as shares are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressOrigin {
    /// The address; of IPv6 the /64, as a host with one address has 2^64 of them.
    pub address: IpAddr,
    /// The network that the address is in: a /24 of IPv4, a /48 of IPv6, which is what a site is given.
    pub network: IpAddr,
}

impl AddressOrigin {
    /// The origin of a peer that is seen at this address.
    pub fn of(seen: IpAddr) -> Self {
        match seen.to_canonical() {
            IpAddr::V4(seen) => {
                let network = Ipv4Addr::from_bits(seen.to_bits() >> 8 << 8);
                AddressOrigin { address: seen.into(), network: network.into() }
            }
            IpAddr::V6(seen) => {
                let prefix = |bits: u32| Ipv6Addr::from_bits(seen.to_bits() >> (128 - bits) << (128 - bits));
                AddressOrigin { address: prefix(64).into(), network: prefix(48).into() }
            }
        }
    }
}

/// A member's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    first: Sighting,
    /// Where it has proven to be as well, over the other family.
    second: Option<Box<Sighting>>,
}

/// What is worth passing on of a member that is seen at one address, split by which members may hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sighting {
    /// Where the tracker sees the member.
    seen: IpAddr,
    /// For peers on the tracker's own machine.
    loopback: Vec<SocketAddr>,
    /// For those on the member's own link.
    link: Vec<SocketAddr>,
    /// For those behind the same address; of a member on the tracker's own machine, for all who come from private addresses.
    private: Vec<SocketAddr>,
    /// For everyone.
    open: Vec<SocketAddr>,
}

impl Addresses {
    /// What is worth passing on of what a peer that was seen at `seen` announces. `port` is the one that was seen, if the peer takes
    /// connections where it is seen, as over QUIC.
    pub fn new(seen: IpAddr, port: Option<u16>, listeners: &[SocketAddr]) -> Self {
        Addresses { first: Sighting::new(seen, port, listeners), second: None }
    }

    /// The same of a peer that was seen at a second address, too.
    pub fn also_seen(&self, seen: IpAddr, port: Option<u16>, listeners: &[SocketAddr]) -> Self {
        let second = Some(Box::new(Sighting::new(seen, port, listeners)));
        Addresses { first: self.first.clone(), second }
    }

    /// The same of a peer that is at its first address alone.
    pub fn seen_once(&self) -> Self {
        Addresses { first: self.first.clone(), second: None }
    }

    /// Whether a peer that announces this may be reached over the other family, too.
    pub fn may_be_seen_twice(&self, listeners: &[SocketAddr]) -> bool {
        let is_other = |listener: &SocketAddr| listener.ip().is_unspecified() || self.takes_second(listener.ip());
        !self.first.seen.is_loopback() && listeners.iter().any(is_other)
    }

    /// Whether this may be a second address of the peer: of the other family, and one that leads beyond this machine and link. A peer on
    /// the tracker's own machine is believed all of its addresses anyway.
    pub fn takes_second(&self, seen: IpAddr) -> bool {
        let (first, seen) = (self.first.seen, seen.to_canonical());
        let leads_far = matches!(Scope::of(seen), Scope::Public | Scope::Private);
        !first.is_loopback() && first.is_ipv4() != seen.is_ipv4() && leads_far
    }

    /// Where the member comes from.
    pub fn origin(&self) -> AddressOrigin {
        AddressOrigin::of(self.first.seen)
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        let second = if self.second.is_some() { size_of::<Sighting>() } else { 0 };
        let listed: usize = self.sightings().map(Sighting::room).sum();
        size_of::<Self>() + second + listed * size_of::<SocketAddr>()
    }

    fn sightings(&self) -> impl Iterator<Item = &Sighting> {
        std::iter::once(&self.first).chain(self.second.as_deref())
    }

    /// The lists that `viewer` may be told of, in the order in which they are told.
    fn lists_for<'a>(&'a self, viewer: &Addresses) -> [&'a [SocketAddr]; 8] {
        let from = |scope| viewer.sightings().any(|theirs| Scope::of(theirs.seen) == scope);
        let (loopback, link, private) = (from(Scope::Loopback), from(Scope::Link), from(Scope::Private));
        let is_near = self.sightings().any(|own| viewer.sightings().any(|theirs| own.seen == theirs.seen));
        let lists = |own: &'a Sighting| {
            let near = is_near || (own.seen.is_loopback() && (private || loopback));
            let may = |told: bool, list: &'a [SocketAddr]| if told { list } else { &[] };
            [may(loopback, &own.loopback), may(link, &own.link), may(true, &own.open), may(near, &own.private)]
        };
        let [a_loopback, a_link, a_open, a_private] = lists(&self.first);
        let [b_loopback, b_link, b_open, b_private] = self.second.as_deref().map_or([&[] as &[_]; 4], lists);
        [a_loopback, b_loopback, a_link, b_link, a_open, b_open, a_private, b_private]
    }

    /// What `viewer` may be told: first what is of a family in which the tracker sees it.
    pub fn for_viewer(&self, viewer: &Addresses) -> Vec<SocketAddr> {
        let mut told = self.lists_for(viewer).concat();
        if self.second.is_some() {
            // What is private stands beside either of both.
            let mut listed = HashSet::new();
            told.retain(|address| listed.insert(*address));
        }
        let is_family = |address: &SocketAddr| viewer.sightings().any(|own| own.seen.is_ipv4() == address.is_ipv4());
        told.sort_by_key(|address| !is_family(address));
        told.truncate(MOST);
        told
    }

    /// Whether `viewer` may be told anything.
    pub(super) fn any_for(&self, viewer: &Addresses) -> bool {
        self.lists_for(viewer).iter().any(|list| !list.is_empty())
    }
}

impl Sighting {
    fn new(seen: IpAddr, port: Option<u16>, listeners: &[SocketAddr]) -> Self {
        let seen = seen.to_canonical();
        let (loopback, link, private, open) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut sighting = Sighting { seen, loopback, link, private, open };
        // Whose own address is seen is behind no router that changes ports. Another port is one from which it only dials. A peer
        // whose router forwards a port names that behind its own address.
        let own = listeners.iter().position(|listener| listener.ip().to_canonical() == seen);
        let before = &listeners[..own.unwrap_or(0)];
        let inside = |listener: &SocketAddr| {
            let ip = listener.ip().to_canonical();
            ip.is_ipv4() == seen.is_ipv4() && Scope::of(ip) == Scope::Private
        };
        let translated = own.is_none() || (Scope::of(seen) == Scope::Public && before.iter().any(inside));
        if let Some(port) = port.filter(|_| translated && !listeners.is_empty()) {
            sighting.add(SocketAddr::new(seen, port));
        }
        // Those with the seen address first: they are the likeliest, and the cap must not cut them off.
        for listener in listeners {
            sighting.add(SocketAddr::new(seen, listener.port()));
        }
        for listener in listeners {
            sighting.add(SocketAddr::new(listener.ip().to_canonical(), listener.port()));
        }
        sighting
    }

    fn add(&mut self, address: SocketAddr) {
        let (ip, local) = (address.ip(), self.seen.is_loopback());
        let list = match Scope::of(ip) {
            Scope::Nowhere => return,
            // Loopback of another machine is nobody's business.
            Scope::Loopback if local => &mut self.loopback,
            Scope::Loopback => return,
            Scope::Link if ip == self.seen || local => &mut self.link,
            Scope::Link => return,
            _ if ip == self.seen => &mut self.open,
            Scope::Private => &mut self.private,
            Scope::Public if local => &mut self.open,
            Scope::Public => return,
        };
        if address.port() != 0 && list.len() < MOST && !list.contains(&address) {
            list.push(address);
        }
    }

    /// Addresses that its lists have room for.
    fn room(&self) -> usize {
        [&self.loopback, &self.link, &self.private, &self.open].map(Vec::capacity).into_iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn told(seen: &str, listeners: &[&str], viewer: &str) -> Vec<SocketAddr> {
        let member = Addresses::new(seen.parse().unwrap(), None, &parse(listeners));
        member.for_viewer(&Addresses::new(viewer.parse().unwrap(), None, &[]))
    }

    #[test]
    fn the_port_that_a_router_gives_comes_first() {
        type Row<'a> = (&'a str, Option<u16>, &'a [&'a str], &'a [&'a str]);
        let rows: [Row; 9] = [
            ("1.2.3.4", Some(40001), &["192.168.1.7:9000"], &["1.2.3.4:40001", "1.2.3.4:9000"]),
            ("1.2.3.4", Some(9000), &["192.168.1.7:9000"], &["1.2.3.4:9000"]),
            // The router forwards a port, or pretends so: the one that was seen is tried as well.
            ("1.2.3.4", Some(40001), &["192.168.1.7:9000", "1.2.3.4:9000"], &["1.2.3.4:40001", "1.2.3.4:9000"]),
            (
                "1.2.3.4",
                Some(40001),
                &["192.168.1.7:9000", "1.2.3.4:5555"],
                &["1.2.3.4:40001", "1.2.3.4:9000", "1.2.3.4:5555"],
            ),
            // Where the tracker could not see the port: over TCP.
            ("1.2.3.4", None, &["192.168.1.7:9000"], &["1.2.3.4:9000"]),
            // No router changes anything: the other port is one that is only dialled from.
            ("1.2.3.4", Some(40001), &["1.2.3.4:9000"], &["1.2.3.4:9000"]),
            ("::ffff:1.2.3.4", Some(40001), &["[::ffff:1.2.3.4]:9000"], &["1.2.3.4:9000"]),
            // A router within a network of one's own.
            ("10.1.2.3", Some(40001), &["172.17.0.2:9000"], &["10.1.2.3:40001", "10.1.2.3:9000"]),
            // It takes no connections.
            ("1.2.3.4", Some(40001), &[], &[]),
        ];
        for (seen, port, listeners, expected) in rows {
            let member = Addresses::new(seen.parse().unwrap(), port, &parse(listeners));
            let viewer = Addresses::new("5.6.7.8".parse().unwrap(), None, &[]);
            assert_eq!(member.for_viewer(&viewer), parse(expected), "{listeners:?} seen at {seen} {port:?}");
        }
    }

    /// One that is seen at both, with the ports that are seen there, and what it listens on.
    fn seen_at(first: &str, second: &str, listeners: &[&str]) -> Addresses {
        let [(one, one_port), (other, other_port)] = [first, second].map(|text| {
            let at: SocketAddr = text.parse().unwrap();
            (at.ip(), Some(at.port()))
        });
        let listeners = parse(listeners);
        Addresses::new(one, one_port, &listeners).also_seen(other, other_port, &listeners)
    }

    fn viewer(seen: &str) -> Addresses {
        Addresses::new(seen.parse().unwrap(), None, &[])
    }

    #[test]
    fn who_is_seen_over_both_families_is_told_at_both() {
        let own = ["192.168.1.7:9000", "[2001:db8::7]:9000"];
        let (four, six) = (["1.2.3.4:40001", "1.2.3.4:9000"], ["[2001:db8::7]:9000"]);
        for member in
            [seen_at("1.2.3.4:40001", "[2001:db8::7]:9000", &own), seen_at("[2001:db8::7]:9000", "1.2.3.4:40001", &own)]
        {
            assert_eq!(
                member.for_viewer(&viewer("5.6.7.8")),
                parse(&[&four[..], &six].concat()),
                "its own family first"
            );
            assert_eq!(member.for_viewer(&viewer("2001:db8::8")), parse(&[&six[..], &four].concat()));
            assert_eq!(
                member.for_viewer(&member).len(),
                4,
                "each once, and the private one to who is behind the same router"
            );
            let once = member.seen_once();
            assert_eq!(once.origin(), member.origin());
            assert!(once.for_viewer(&viewer("5.6.7.8")).len() < 3 && once.bytes() < member.bytes());
        }
        // The one that was not seen leads to a third party, whatever it says.
        let liar = seen_at("1.2.3.4:9000", "[2001:db8::7]:9000", &["8.8.8.8:53", "[2001:4860::8888]:53"]);
        let told = liar.for_viewer(&viewer("5.6.7.8"));
        let own = ["1.2.3.4", "2001:db8::7"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert!(told.len() == 4 && told.iter().all(|at| own.contains(&at.ip())), "{told:?}");
    }

    #[test]
    fn two_are_behind_one_router_that_have_an_address_in_common() {
        let member = seen_at("[2001:db8::7]:9000", "1.2.3.4:9000", &["192.168.1.7:9000", "[2001:db8::7]:9000"]);
        let other = seen_at("[2001:db8::8]:9000", "1.2.3.4:9001", &[]);
        let private = parse(&["192.168.1.7:9000"])[0];
        for (near, viewer) in [
            (true, other),
            (true, viewer("1.2.3.4")),
            (true, viewer("2001:db8::7")),
            (false, viewer("2001:db8::8")),
            (false, viewer("5.6.7.8")),
            (false, viewer("192.168.1.8")),
        ] {
            assert_eq!(member.for_viewer(&viewer).contains(&private), near, "{viewer:?}");
        }
    }

    #[test]
    fn who_announces_addresses_of_both_families_may_be_seen_twice() {
        let rows: [(&str, &[&str], bool); 10] = [
            ("1.2.3.4", &["192.168.1.7:9", "[2001:db8::7]:9"], true),
            ("2001:db8::7", &["192.168.1.7:9", "[2001:db8::7]:9"], true),
            ("::ffff:1.2.3.4", &["[fd00::7]:9"], true),
            // It does not say its addresses.
            ("1.2.3.4", &["[::]:9"], true),
            ("2001:db8::7", &["0.0.0.0:9"], true),
            ("1.2.3.4", &["192.168.1.7:9", "[::ffff:192.168.1.7]:9"], false),
            ("1.2.3.4", &["192.168.1.7:9", "[::1]:9", "[fe80::1]:9"], false),
            ("2001:db8::7", &["[2001:db8::7]:9", "127.0.0.1:9", "169.254.0.1:9"], false),
            ("1.2.3.4", &[], false),
            ("127.0.0.1", &["192.168.1.7:9", "[2001:db8::7]:9"], false),
        ];
        for (seen, listeners, may) in rows {
            let listeners = parse(listeners);
            let member = Addresses::new(seen.parse().unwrap(), None, &listeners);
            assert_eq!(member.may_be_seen_twice(&listeners), may, "{listeners:?} seen at {seen}");
        }
    }

    #[test]
    fn a_public_address_is_listed_only_if_the_tracker_saw_it() {
        let listeners = ["8.8.8.8:53", "[2001:4860::8888]:53", "0.0.0.0:9000"];
        assert_eq!(told("1.2.3.4", &listeners, "5.6.7.8"), parse(&["1.2.3.4:53", "1.2.3.4:9000"]));
    }

    /// Seen at, announced, told to whom, and what.
    #[test]
    fn a_private_address_is_told_only_where_it_means_the_same() {
        let rows: [(&str, &str, &str, &[&str]); 24] = [
            // The tracker saw it.
            ("10.1.2.3", "10.1.2.3:80", "5.6.7.8", &["10.1.2.3:80"]),
            ("10.1.2.3", "10.1.2.3:80", "192.168.1.2", &["10.1.2.3:80"]),
            ("fd00::1", "[fd00::1]:80", "fd00::2", &["[fd00::1]:80"]),
            // Someone else's network.
            ("1.2.3.4", "192.168.1.1:80", "5.6.7.8", &["1.2.3.4:80"]),
            ("1.2.3.4", "192.168.1.1:80", "192.168.1.2", &["1.2.3.4:80"]),
            ("1.2.3.4", "[fd00::1]:80", "fd00::2", &["1.2.3.4:80"]),
            ("1.2.3.4", "100.64.1.1:80", "100.64.1.2", &["1.2.3.4:80"]),
            ("10.1.2.3", "192.168.1.1:80", "10.1.2.4", &["10.1.2.3:80"]),
            ("10.1.2.3", "10.1.2.1:80", "10.1.2.4", &["10.1.2.3:80"]),
            // Behind one router, or on one machine.
            ("1.2.3.4", "192.168.1.7:80", "1.2.3.4", &["1.2.3.4:80", "192.168.1.7:80"]),
            ("172.17.0.1", "10.0.0.1:80", "172.17.0.1", &["172.17.0.1:80", "10.0.0.1:80"]),
            ("127.0.0.1", "10.0.0.1:80", "127.0.0.1", &["127.0.0.1:80", "10.0.0.1:80"]),
            // On the tracker's machine, for others of its network.
            ("127.0.0.1", "192.168.0.7:80", "192.168.0.8", &["192.168.0.7:80"]),
            ("::1", "192.168.0.7:80", "10.77.0.8", &["192.168.0.7:80"]),
            ("127.0.0.1", "192.168.0.7:80", "5.6.7.8", &[]),
            // A machine and a link of its own.
            ("1.2.3.4", "127.0.0.1:22", "127.0.0.1", &["1.2.3.4:22"]),
            ("10.0.0.2", "127.0.0.1:22", "10.0.0.2", &["10.0.0.2:22"]),
            ("10.0.0.2", "169.254.169.254:80", "10.0.0.2", &["10.0.0.2:80"]),
            ("127.0.0.1", "169.254.169.254:80", "127.0.0.1", &["127.0.0.1:80"]),
            ("169.254.0.1", "169.254.0.1:80", "169.254.0.2", &["169.254.0.1:80"]),
            ("169.254.0.1", "169.254.0.1:80", "10.0.0.2", &[]),
            // Two machines and a cable, one of them with the tracker.
            ("127.0.0.1", "169.254.0.1:80", "169.254.0.2", &["169.254.0.1:80"]),
            ("127.0.0.1", "169.254.0.1:80", "10.0.0.2", &[]),
            // Private ones in other clothes.
            ("1.2.3.4", "[::ffff:127.0.0.1]:22", "127.0.0.1", &["1.2.3.4:22"]),
        ];
        for (seen, listener, viewer, expected) in rows {
            assert_eq!(told(seen, &[listener], viewer), parse(expected), "{listener} of {seen} for {viewer}");
        }
    }

    #[test]
    fn loopback_addresses_go_only_to_those_who_came_from_loopback() {
        let listeners = ["0.0.0.0:9000", "192.168.0.7:9000"];
        assert_eq!(told("127.0.0.1", &listeners, "::1"), parse(&["127.0.0.1:9000", "192.168.0.7:9000"]));
        assert_eq!(told("127.0.0.1", &listeners, "192.168.0.8"), parse(&["192.168.0.7:9000"]));
        // A stranger's loopback would be the viewer's own machine.
        assert_eq!(told("192.168.0.9", &["127.0.0.1:22"], "127.0.0.1"), parse(&["192.168.0.9:22"]));
    }

    #[test]
    fn a_peer_on_the_trackers_machine_may_name_its_public_addresses() {
        assert_eq!(told("127.0.0.1", &["1.2.3.4:9000"], "5.6.7.8"), parse(&["1.2.3.4:9000"]));
    }

    #[test]
    fn an_ipv4_peer_of_a_dual_stack_socket_is_an_ipv4_peer() {
        assert_eq!(told("::ffff:1.2.3.4", &["[::]:9000"], "5.6.7.8"), parse(&["1.2.3.4:9000"]));
        assert_eq!(told("::ffff:127.0.0.1", &["[::]:9000"], "5.6.7.8"), []);
        let origin = AddressOrigin::of("::ffff:10.1.2.3".parse().unwrap());
        assert_eq!((origin.address.to_string(), origin.network.to_string()), ("10.1.2.3".into(), "10.1.2.0".into()));
    }

    #[test]
    fn addresses_that_cannot_be_dialled_are_not_listed() {
        let listeners = ["224.0.0.1:9000", "255.255.255.255:9000", "[fe80::1]:9000", "[ff02::1]:9000", "10.0.0.1:0"];
        assert_eq!(told("10.0.0.1", &listeners, "10.0.0.2"), parse(&["10.0.0.1:9000"]));
    }

    #[test]
    fn the_number_of_addresses_is_capped() {
        let listeners: Vec<_> = (1..=500).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        let member = Addresses::new("127.0.0.1".parse().unwrap(), None, &listeners);
        assert_eq!(member.for_viewer(&member).len(), MOST);
    }
}
