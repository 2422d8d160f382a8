//! Which of a member's addresses others are told, and which others.
//!
//! Whatever a peer announces is dialled by strangers, so it must not be able to point a swarm at a third party: a
//! public address is passed on only if the tracker saw it itself. Private addresses lead nowhere but into the network
//! of whoever dials them, and are what makes peers of one network find each other. A peer on the tracker's own
//! machine is trusted with the public addresses of that machine, since the tracker sees it through loopback only.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Most addresses of one member, as many as a message carries.
const MOST: usize = 32;

/// A member's addresses, split by who may hear of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Whether the member came from loopback.
    local: bool,
    /// For peers on the tracker's own machine.
    loopback: Vec<SocketAddr>,
    /// For everyone.
    open: Vec<SocketAddr>,
}

impl Addresses {
    /// What is worth passing on of what a peer that was seen at `seen` announces.
    pub(super) fn new(seen: IpAddr, listeners: &[SocketAddr]) -> Self {
        let seen = seen.to_canonical();
        let local = seen.is_loopback();
        let mut addresses = Addresses { local, loopback: Vec::new(), open: Vec::new() };
        // Those with the seen address first: they are the likeliest, and the cap must not cut them off.
        for listener in listeners {
            addresses.add(SocketAddr::new(seen, listener.port()));
        }
        for listener in listeners {
            let ip = listener.ip().to_canonical();
            let listed = match ip {
                _ if ip == seen => true,
                IpAddr::V4(v4) if v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast() => false,
                IpAddr::V6(v6) if v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() => false,
                _ => local || is_private(ip),
            };
            if listed {
                addresses.add(SocketAddr::new(ip, listener.port()));
            }
        }
        addresses
    }

    fn add(&mut self, address: SocketAddr) {
        // Loopback of another machine is nobody's business.
        let list = match address.ip().is_loopback() {
            true if !self.local => return,
            true => &mut self.loopback,
            false => &mut self.open,
        };
        if address.port() != 0 && list.len() < MOST && !list.contains(&address) {
            list.push(address);
        }
    }

    /// What `viewer` may be told.
    pub(super) fn for_viewer(&self, viewer: &Addresses) -> Vec<SocketAddr> {
        let loopback = if viewer.local { &self.loopback[..] } else { &[] };
        loopback.iter().chain(&self.open).take(MOST).copied().collect()
    }

    /// Whether `viewer` may be told anything.
    pub(super) fn any_for(&self, viewer: &Addresses) -> bool {
        !self.open.is_empty() || viewer.local && !self.loopback.is_empty()
    }
}

/// What counts as one address when members are counted: whoever has an IPv6 address has 2^64 of them.
pub(super) fn origin(seen: IpAddr) -> Option<IpAddr> {
    match seen.to_canonical() {
        seen if seen.is_loopback() => None,
        IpAddr::V6(seen) => Some(IpAddr::V6(Ipv6Addr::from_bits(seen.to_bits() >> 64 << 64))),
        seen => Some(seen),
    }
}

/// Addresses that lead nowhere outside of a network. The shared space of RFC 6598 is one: overlay networks use it.
/// IPv6 link-local ones are none here, as they mean nothing without the interface's name.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn told(seen: &str, listeners: &[&str], viewer: &str) -> Vec<SocketAddr> {
        let member = Addresses::new(seen.parse().unwrap(), &parse(listeners));
        member.for_viewer(&Addresses::new(viewer.parse().unwrap(), &[]))
    }

    #[test]
    fn a_public_address_is_listed_only_if_the_tracker_saw_it() {
        let listeners = ["8.8.8.8:53", "[2001:4860::8888]:53", "10.1.2.3:9000", "[fd00::1]:9000", "100.64.1.1:9000"];
        let expected = ["1.2.3.4:53", "1.2.3.4:9000", "10.1.2.3:9000", "[fd00::1]:9000", "100.64.1.1:9000"];
        assert_eq!(told("1.2.3.4", &listeners, "5.6.7.8"), parse(&expected));
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
        assert_eq!(origin("::ffff:127.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn addresses_that_cannot_be_dialled_are_not_listed() {
        let listeners = ["224.0.0.1:9000", "255.255.255.255:9000", "[fe80::1]:9000", "[ff02::1]:9000", "10.0.0.1:0"];
        assert_eq!(told("10.0.0.1", &listeners, "10.0.0.2"), parse(&["10.0.0.1:9000"]));
    }

    #[test]
    fn the_number_of_addresses_is_capped() {
        let listeners: Vec<_> = (1..=500).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        let member = Addresses::new("127.0.0.1".parse().unwrap(), &listeners);
        assert_eq!(member.for_viewer(&member).len(), MOST);
    }
}
