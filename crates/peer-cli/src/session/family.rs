//! Peers of which only addresses of one IP family are known, and a machine that has the other alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The family of these addresses, if all are of one and this machine has no way to any of them.
pub fn lacking(addresses: &[SocketAddr]) -> Option<&'static str> {
    lacking_if(addresses, has_route)
}

fn lacking_if(addresses: &[SocketAddr], has_route: impl Fn(SocketAddr) -> bool) -> Option<&'static str> {
    let first = is_ipv4(addresses.first()?);
    let is_one = addresses.iter().all(|address| is_ipv4(address) == first);
    let is_lacking = is_one && !addresses.iter().any(|address| has_route(*address));
    is_lacking.then_some(if first { "IPv4" } else { "IPv6" })
}

/// The family of these addresses, if all are of one, and what was reached is of the other: a route may lead nowhere, as behind a router
/// that announces IPv6 and has none.
pub fn unproven(addresses: &[SocketAddr], reached: &[SocketAddr]) -> Option<&'static str> {
    if reached.is_empty() {
        None
    } else {
        lacking_if(addresses, |address| reached.iter().any(|at| is_ipv4(at) == is_ipv4(&address)))
    }
}

fn is_ipv4(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_ipv4()
}

/// A UDP socket that is connected sends nothing: only the routes are looked up.
fn has_route(address: SocketAddr) -> bool {
    let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect(address).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_lacking_where_nothing_leads_to_any_address_of_it() {
        let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let (four, six, both) = (
            parse(&["192.0.2.1:9"]),
            parse(&["[2001:db8::1]:9", "[2001:db8::2]:9"]),
            parse(&["192.0.2.1:9", "[2001:db8::1]:9"]),
        );
        assert_eq!(lacking_if(&six, |_| false), Some("IPv6"));
        assert_eq!(lacking_if(&four, |_| false), Some("IPv4"));
        assert_eq!(lacking_if(&six, |at| at == six[1]), None);
        assert_eq!((lacking_if(&both, |_| false), lacking_if(&[], |_| false)), (None, None));
        assert_eq!(lacking(&parse(&["127.0.0.1:9"])), None);
        assert_eq!((unproven(&six, &four), unproven(&four, &six)), (Some("IPv6"), Some("IPv4")));
        assert_eq!(
            [unproven(&six, &six), unproven(&six, &both), unproven(&both, &four), unproven(&six, &[])],
            [None; 4]
        );
    }
}
