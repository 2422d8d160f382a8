//! The addresses at which others may reach this machine, likeliest first.
//!
//! A machine with a dozen container networks has a dozen addresses that lead nowhere from outside. They are not left out,
//! since a peer in such a container reaches this machine by them; but the address of the default route comes first, then
//! those of other networks, then those of bridges and tunnels between containers, and loopback last.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use if_addrs::{IfAddr, Interface};

/// How likely another machine reaches an address: the first variant is the likeliest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likelihood {
    /// This machine sends from it to the rest of the world.
    DefaultRoute,
    /// It is in a network that other machines may be in.
    Network,
    /// It is in a network of containers or virtual machines on this machine, of a link without an address server, or the
    /// interface is down.
    Inner,
    /// It never leaves this machine.
    Loopback,
}

/// An address of this machine with the port of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: SocketAddr,
    /// How likely another machine reaches it.
    pub likelihood: Likelihood,
}

/// How the names begin that programs for containers and virtual machines give the interfaces of their networks, in capitals or not.
const INNER: [&str; 34] = [
    "docker",
    "br-",
    "veth",
    "virbr",
    "vnet",
    "lxcbr",
    "lxdbr",
    "incusbr",
    "mpqemubr",
    "podman",
    "cni",
    "cali",
    "cilium",
    "lxc",
    "vxlan.calico",
    "tunl",
    "nerdctl",
    "antrea",
    "genev_sys",
    "ovs-system",
    "ovn",
    "azv",
    "nodelocaldns",
    "flannel",
    "kube",
    "weave",
    "vmnet",
    "vboxnet",
    "waydroid",
    "bridge1",
    "vEthernet (Default",
    "vEthernet (WSL",
    "VirtualBox Host-Only",
    "VMware Network Adapter VMnet",
];

/// Where what listens at these addresses may be reached, likeliest first: where it listens at every address, that of each
/// interface of this machine, but for those that mean nothing without the interface's name.
pub fn interface_addresses(listeners: &[SocketAddr]) -> Vec<SocketAddr> {
    own_addresses(listeners).into_iter().map(|own| own.address).collect()
}

/// The same, with how likely each is reached. Every interface comes once before one comes again with another listener's port.
pub fn own_addresses(listeners: &[SocketAddr]) -> Vec<OwnAddress> {
    let everywhere = listeners.iter().any(|listener| listener.ip().is_unspecified());
    let interfaces = match everywhere {
        true => found(if_addrs::get_if_addrs().unwrap_or_default(), &routed()),
        false => Vec::new(),
    };
    of_listeners(listeners, &interfaces)
}

/// The addresses of the interfaces; where a system does not list them, those that it sends from.
fn found(interfaces: Vec<Interface>, routed: &[IpAddr]) -> Vec<(IpAddr, Likelihood)> {
    if interfaces.is_empty() {
        return routed.iter().map(|&ip| (ip, Likelihood::DefaultRoute)).collect();
    }
    ordered(interfaces, routed)
}

fn of_listeners(listeners: &[SocketAddr], interfaces: &[(IpAddr, Likelihood)]) -> Vec<OwnAddress> {
    let mut addresses = Vec::new();
    for listener in listeners {
        if listener.ip().is_unspecified() {
            let able = interfaces.iter().filter(|(ip, _)| listener.is_ipv6() || ip.is_ipv4());
            addresses.extend(
                able.map(|&(ip, likelihood)| OwnAddress { address: SocketAddr::new(ip, listener.port()), likelihood }),
            );
        } else {
            let loopback = listener.ip().to_canonical().is_loopback();
            let likelihood = if loopback { Likelihood::Loopback } else { Likelihood::Network };
            addresses.push(OwnAddress { address: *listener, likelihood });
        }
    }
    addresses
}

/// Addresses of interfaces that can be told to others, likeliest first, and IPv4 first of those that are equally likely: where
/// both lead here, it works in more networks.
fn ordered(interfaces: Vec<Interface>, routed: &[IpAddr]) -> Vec<(IpAddr, Likelihood)> {
    let told =
        interfaces.iter().filter(|interface| !matches!(interface.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()));
    let mut addresses: Vec<_> = told.map(|interface| (interface.ip(), likelihood(interface, routed))).collect();
    addresses.sort_by_key(|&(ip, likelihood)| (likelihood, ip.is_ipv6()));
    addresses
}

fn likelihood(interface: &Interface, routed: &[IpAddr]) -> Likelihood {
    let ip = interface.ip();
    let link = matches!(ip, IpAddr::V4(ip) if ip.is_link_local());
    // Of one that is off, or without its cable, Unix says no more than that it does not run.
    let down = !interface.is_oper_up();
    if ip.is_loopback() {
        Likelihood::Loopback
    } else if routed.contains(&ip) && !down {
        Likelihood::DefaultRoute
    } else if link || down || is_inner_interface(&interface.name) {
        Likelihood::Inner
    } else {
        Likelihood::Network
    }
}

/// Whether an interface of this name joins what runs on this machine alone: containers and virtual machines.
pub fn is_inner_interface(name: &str) -> bool {
    let begins = |start: &str| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    INNER.into_iter().any(begins) || is_bridge_of_nothing(name)
}

/// A bridge without a network card in it joins what runs on this machine, whatever it is called.
#[cfg(target_os = "linux")]
fn is_bridge_of_nothing(name: &str) -> bool {
    let class = std::path::Path::new("/sys/class/net");
    if !class.join(name).join("bridge").is_dir() {
        return false;
    }
    let ports = std::fs::read_dir(class.join(name).join("brif")).into_iter().flatten().flatten();
    !ports.into_iter().any(|port| class.join(port.file_name()).join("device").exists())
}

#[cfg(not(target_os = "linux"))]
fn is_bridge_of_nothing(_: &str) -> bool {
    false
}

/// Whether two addresses have their first `bits` bits in common, as those of one network have.
pub fn have_in_common(bits: u32, one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

/// Of how many bits the network of an interface is.
pub fn network_bits(address: &IfAddr) -> u32 {
    match address {
        IfAddr::V4(own) => own.netmask.to_bits().leading_ones(),
        IfAddr::V6(own) => own.netmask.to_bits().leading_ones(),
    }
}

/// Whether an address is on this machine, or in a network that it is plugged into: no router is on the way there.
pub fn is_near(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback()
        || if_addrs::get_if_addrs().unwrap_or_default().iter().any(|interface| {
            let bits = network_bits(&interface.addr);
            bits != 0 && have_in_common(bits, interface.ip(), ip)
        })
}

/// Whether an interface that runs has an address beyond this machine and beyond one link; nothing if the system lists no interfaces.
pub fn is_in_a_network() -> Option<bool> {
    let interfaces = if_addrs::get_if_addrs().ok().filter(|all| !all.is_empty())?;
    let leads_out = |one: &Interface| {
        let is_of_link = matches!(one.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        one.is_oper_up() && !one.is_loopback() && !is_of_link
    };
    Some(interfaces.iter().any(leads_out))
}

/// The addresses from which this machine sends to the rest of the world. A UDP socket that is connected sends nothing: only
/// the routes are looked up.
fn routed() -> Vec<IpAddr> {
    const ROUTES: [(&str, &str); 2] = [("0.0.0.0:0", "1.1.1.1:443"), ("[::]:0", "[2606:4700:4700::1111]:443")];
    let from = |(from, to): (&str, &str)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ROUTES.into_iter().filter_map(from).collect()
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};

    use super::*;

    fn interface(name: &str, ip: &str, up: bool) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => {
                IfAddr::V4(Ifv4Addr { ip, netmask: [255, 255, 255, 0].into(), prefixlen: 24, broadcast: None })
            }
            IpAddr::V6(ip) => IfAddr::V6(Ifv6Addr { ip, netmask: [0xffff; 8].into(), prefixlen: 128, broadcast: None }),
        };
        let oper_status = if up { IfOperStatus::Up } else { IfOperStatus::Unknown };
        Interface {
            name: name.to_owned(),
            addr,
            index: None,
            oper_status,
            is_p2p: false,
            #[cfg(windows)]
            adapter_name: String::new(),
        }
    }

    #[test]
    fn where_interfaces_are_not_listed_the_address_that_is_sent_from_is_found() {
        let routed: Vec<IpAddr> = vec!["192.168.1.5".parse().unwrap()];
        assert_eq!(found(Vec::new(), &routed), [(routed[0], Likelihood::DefaultRoute)]);
        let listed = found(vec![interface("lo", "127.0.0.1", true)], &routed);
        assert_eq!(listed, [("127.0.0.1".parse().unwrap(), Likelihood::Loopback)]);
    }

    fn order(interfaces: &[(&str, &str, bool)], routed: &[&str]) -> Vec<String> {
        let interfaces = interfaces.iter().map(|&(name, ip, up)| interface(name, ip, up)).collect();
        let routed: Vec<IpAddr> = routed.iter().map(|ip| ip.parse().unwrap()).collect();
        ordered(interfaces, &routed).into_iter().map(|(ip, _)| ip.to_string()).collect()
    }

    #[test]
    fn default_route_comes_before_container_bridges() {
        let mut interfaces = vec![("lo".to_owned(), "127.0.0.1".to_owned())];
        interfaces.extend((16..28).map(|n| (format!("br-{n:012x}"), format!("172.{n}.0.1"))));
        interfaces.push(("docker0".to_owned(), "172.15.0.1".to_owned()));
        interfaces.push(("wg0".to_owned(), "10.66.0.2".to_owned()));
        interfaces.push(("eth0".to_owned(), "10.9.9.1".to_owned()));
        let interfaces: Vec<_> = interfaces.iter().map(|(name, ip)| (name.as_str(), ip.as_str(), true)).collect();
        let found = order(&interfaces, &["10.9.9.1"]);
        assert_eq!(found[..2], ["10.9.9.1", "10.66.0.2"]);
        assert_eq!(found.last().unwrap(), "127.0.0.1");
        assert_eq!(found.len(), interfaces.len(), "nothing is left out");
    }

    #[test]
    fn adapters_of_virtual_machines_come_last_also_as_windows_calls_them() {
        let interfaces = [
            ("VirtualBox Host-Only Network #2", "192.168.56.1", true),
            ("VMware Network Adapter VMnet8", "192.168.80.1", true),
            ("Ethernet", "192.168.8.8", true),
            ("WLAN", "192.168.9.9", true),
        ];
        assert_eq!(order(&interfaces, &[])[..2], ["192.168.8.8", "192.168.9.9"]);
        assert!(is_inner_interface("VMWARE network adapter vmnet1") && !is_inner_interface("VMware"));
        assert!(!is_inner_interface("Docking station ä") && !is_inner_interface("wä"));
    }

    #[test]
    fn a_routed_ipv6_address_comes_before_bridges_of_ipv4() {
        let interfaces = [
            ("docker0", "172.17.0.1", true),
            ("eth0", "fe80::1", true),
            ("eth0", "2001:db8::7", true),
            ("eth1", "192.168.7.7", false),
            ("eth2", "169.254.3.4", true),
            ("eth3", "192.168.8.8", true),
            ("lo", "::1", true),
        ];
        let found = order(&interfaces, &["2001:db8::7"]);
        assert_eq!(found, ["2001:db8::7", "192.168.8.8", "172.17.0.1", "192.168.7.7", "169.254.3.4", "::1"]);
    }

    /// A server whose virtual machines share its network: the bridge is its own way out.
    #[test]
    fn a_bridge_with_the_default_route_comes_first() {
        assert_eq!(order(&[("eth1", "10.0.0.1", true), ("virbr0", "10.1.0.1", true)], &["10.1.0.1"])[0], "10.1.0.1");
    }

    #[test]
    fn addresses_of_one_network_have_its_bits_in_common() {
        for (bits, one, other, expected) in [
            (24, "192.168.1.5", "192.168.1.200", true),
            (24, "192.168.1.5", "192.168.2.5", false),
            (23, "192.168.2.5", "192.168.3.5", true),
            (24, "::ffff:192.168.1.5", "192.168.1.200", true),
            (32, "10.0.0.1", "10.0.0.2", false),
            (0, "10.0.0.1", "8.8.8.8", true),
            (64, "2001:db8::5", "2001:db8::9", true),
            (64, "2001:db8::5", "2001:db8:0:1::5", false),
            (0, "10.0.0.1", "fe80::1", false),
        ] {
            let [from, to] = [one, other].map(|ip| ip.parse().unwrap());
            assert_eq!(have_in_common(bits, from, to), expected, "{one} and {other} in {bits}");
        }
    }

    #[test]
    fn every_interface_comes_before_a_second_port() {
        let interfaces =
            [("10.0.0.1".parse().unwrap(), Likelihood::Network), ("::1".parse().unwrap(), Likelihood::Loopback)];
        let listeners = ["[::]:1", "0.0.0.0:2", "10.9.9.9:3"].map(|text| text.parse().unwrap());
        let found: Vec<_> =
            of_listeners(&listeners, &interfaces).into_iter().map(|own| own.address.to_string()).collect();
        assert_eq!(found, ["10.0.0.1:1", "[::1]:1", "10.0.0.1:2", "10.9.9.9:3"]);
    }
}
