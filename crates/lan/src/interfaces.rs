//! The networks of this machine that the beacon is in, and which addresses are in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use if_addrs::{IfAddr, IfOperStatus, Interface};
use transport::{have_in_common, is_inner_interface, network_bits};

/// Most addresses of this machine that packets are sent from: systems limit how many groups a socket may join.
const MOST: usize = 16;

/// A network of this machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Network {
    /// By an address of this machine, and how many of its bits the whole network has.
    V4(Ipv4Addr, u32),
    /// By an address, and the interface.
    V6(Ipv6Addr, u32, u32),
}

impl Network {
    /// Whether packets from this address come from this network.
    pub(crate) fn has(&self, from: SocketAddr) -> bool {
        match (self, from) {
            (Network::V4(own, bits), SocketAddr::V4(_)) => have_in_common(*bits, (*own).into(), from.ip()),
            (Network::V6(own, bits, index), SocketAddr::V6(v6)) => match v6.ip().is_unicast_link_local() {
                true => v6.scope_id() == *index,
                false => !own.is_unicast_link_local() && have_in_common(*bits, (*own).into(), from.ip()),
            },
            _ => false,
        }
    }
}

/// The networks that the beacon is in, where a process listens at these addresses: all if there are none, or those that are
/// not one network alone, as 0.0.0.0.
pub(crate) fn networks(listening: &[IpAddr]) -> Vec<Network> {
    of(&if_addrs::get_if_addrs().unwrap_or_default(), listening)
}

fn of(interfaces: &[Interface], listening: &[IpAddr]) -> Vec<Network> {
    // Without a carrier, Unix does not know.
    let is_up = |interface: &&Interface| !interface.is_p2p && interface.oper_status == IfOperStatus::Up;
    let mut up: Vec<_> = interfaces.iter().filter(is_up).collect();
    // Where there are many, those of containers and virtual machines are left out first.
    up.sort_by_cached_key(|interface| is_inner_interface(&interface.name));
    let mut networks: Vec<_> = up.into_iter().filter_map(|interface| network(interface, listening)).collect();
    let mut seen = std::collections::BTreeSet::new();
    networks.retain(|network| seen.insert(network.clone()));
    networks.truncate(MOST);
    networks
}

fn network(interface: &Interface, listening: &[IpAddr]) -> Option<Network> {
    let listens = |own: IpAddr, all: IpAddr| {
        listening.is_empty()
            || listening.iter().any(|ip| {
                let ip = ip.to_canonical();
                // What listens at all addresses of IPv6 listens at those of IPv4, too.
                ip == own || ip == all || ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            })
    };
    match &interface.addr {
        IfAddr::V4(found) => {
            let bits = network_bits(&interface.addr);
            let is_network = (1..32).contains(&bits);
            (is_network && listens(found.ip.into(), Ipv4Addr::UNSPECIFIED.into()))
                .then_some(Network::V4(found.ip, bits))
        }
        // Packets leave from the interface's address of the link, so who listens at another alone cannot be reached there.
        IfAddr::V6(found) => {
            let bits = network_bits(&interface.addr);
            let is_network = !found.ip.is_loopback() && (1..128).contains(&bits);
            let index = interface.index.filter(|_| is_network)?;
            listens(found.ip.into(), Ipv6Addr::UNSPECIFIED.into()).then_some(Network::V6(found.ip, bits, index))
        }
    }
}

#[cfg(test)]
mod tests {
    use if_addrs::{Ifv4Addr, Ifv6Addr};

    use super::*;

    fn interface(name: &str, ip: &str, bits: u32) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => {
                let netmask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0));
                IfAddr::V4(Ifv4Addr { ip, netmask, prefixlen: bits as u8, broadcast: None })
            }
            IpAddr::V6(ip) => {
                let netmask = Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - bits).unwrap_or(0));
                IfAddr::V6(Ifv6Addr { ip, netmask, prefixlen: bits as u8, broadcast: None })
            }
        };
        Interface {
            name: name.to_owned(),
            addr,
            index: Some(2),
            oper_status: IfOperStatus::Up,
            is_p2p: false,
            #[cfg(windows)]
            adapter_name: String::new(),
        }
    }

    fn has(network: &Network, from: &str) -> bool {
        network.has(from.parse().unwrap())
    }

    #[test]
    fn only_addresses_of_the_same_network_count() {
        let lan = Network::V4([192, 168, 1, 5].into(), 24);
        assert!(has(&lan, "192.168.1.77:9"));
        for other in ["192.168.2.1:9", "8.8.8.8:9", "127.0.0.1:9", "169.254.169.254:9", "[fe80::1]:9"] {
            assert!(!has(&lan, other), "{other}");
        }
        let link = Network::V6("fe80::5".parse().unwrap(), 64, 2);
        assert!(has(&link, "[fe80::9%2]:9") && !has(&link, "[fe80::9%3]:9") && !has(&link, "[2001:db8::1]:9"));
        let global = Network::V6("2001:db8::5".parse().unwrap(), 64, 2);
        assert!(has(&global, "[2001:db8::9]:9") && !has(&global, "[2001:db8:1::9]:9") && !has(&global, "10.0.0.1:9"));
    }

    #[test]
    fn networks_without_carrier_tunnels_and_single_addresses_are_left_out() {
        let mut down = interface("eth1", "10.1.0.1", 24);
        down.oper_status = IfOperStatus::Unknown;
        let mut tunnel = interface("tun0", "10.8.0.2", 24);
        tunnel.is_p2p = true;
        let all = [
            interface("docker0", "172.17.0.1", 16),
            interface("lo", "127.0.0.1", 8),
            interface("lo", "::1", 128),
            interface("eth0", "192.168.1.5", 24),
            interface("eth0", "fe80::5", 64),
            interface("wg0", "10.9.0.1", 32),
            down,
            tunnel,
        ];
        let found = |listening: &[&str]| {
            let listening: Vec<IpAddr> = listening.iter().map(|ip| ip.parse().unwrap()).collect();
            of(&all, &listening)
        };
        let v4 = |ip: [u8; 4], bits| Network::V4(ip.into(), bits);
        let [lo, eth, docker] = [v4([127, 0, 0, 1], 8), v4([192, 168, 1, 5], 24), v4([172, 17, 0, 1], 16)];
        let link = Network::V6("fe80::5".parse().unwrap(), 64, 2);
        assert_eq!(found(&[]), [lo.clone(), eth.clone(), link.clone(), docker.clone()]);
        assert_eq!(found(&["::"]), found(&[]));
        assert_eq!(found(&["0.0.0.0"]), [lo.clone(), eth.clone(), docker]);
        assert_eq!(found(&["127.0.0.1"]), [lo]);
        assert_eq!(found(&["192.168.1.5"]), [eth]);
        assert_eq!(found(&["10.7.7.7"]), []);
        let many: Vec<_> = (0..100).map(|n| interface("br-1", &format!("172.18.{n}.1"), 24)).chain(all).collect();
        let of_many = of(&many, &[]);
        assert!(of_many.len() == MOST && of_many.contains(&link));
    }
}
