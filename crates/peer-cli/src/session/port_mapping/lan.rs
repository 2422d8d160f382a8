//! The network in front of this machine: the router, and which address of this machine it knows.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use crate::session::place::is_translated;

/// An address that the way out leads to. Nothing is sent there (RFC 5737).
const OUTSIDE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 9);

/// A router, and this machine as it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lan {
    pub(super) router: Ipv4Addr,
    pub(super) own: Ipv4Addr,
}

impl Lan {
    /// The network that the default route leads through, if its addresses are translated: a machine with an address of its own needs
    /// no forwarded port.
    pub(super) fn find() -> Option<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(OUTSIDE).ok()?;
        let std::net::SocketAddr::V4(own) = socket.local_addr().ok()? else { return None };
        let own = *own.ip();
        is_translated(own).then_some(())?;
        Some(Lan { router: default_router().or_else(|| first_host(own))?, own })
    }
}

/// The router of the default route, as the kernel says.
#[cfg(target_os = "linux")]
fn default_router() -> Option<Ipv4Addr> {
    router_in(&std::fs::read_to_string("/proc/net/route").ok()?)
}

#[cfg(not(target_os = "linux"))]
fn default_router() -> Option<Ipv4Addr> {
    None
}

/// The gateway of the default route with the smallest metric, in the table that Linux shows.
#[cfg(any(target_os = "linux", test))]
fn router_in(table: &str) -> Option<Ipv4Addr> {
    let route = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let [_, target, gateway, flags, _, _, metric, mask, ..] = columns[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        // Up, and by a gateway.
        let is_default = target == "00000000" && mask == "00000000" && flags & 3 == 3;
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|_| is_default)?;
        Some((metric.parse::<u32>().ok()?, Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    table.lines().filter_map(route).min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// What a router most often has: the first address of the network.
fn first_host(own: Ipv4Addr) -> Option<Ipv4Addr> {
    let interface = if_addrs::get_if_addrs().ok()?.into_iter().find_map(|interface| match interface.addr {
        if_addrs::IfAddr::V4(v4) if v4.ip == own => Some(v4.netmask),
        _ => None,
    })?;
    let first = (u32::from(own) & u32::from(interface)) + 1;
    Some(Ipv4Addr::from(first)).filter(|first| *first != own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_smallest_metric_counts() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                     eth0\t00000000\tFE00000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                     eth0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(router_in(table), Some(Ipv4Addr::new(10, 0, 0, 254)));
        }
        assert_eq!(router_in("Iface\tDestination\n"), None);
    }
}
