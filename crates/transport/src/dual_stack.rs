//! Sockets for an address, before they are bound: an IPv6 one takes IPv4 too, where the system can.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A socket, and the address to bind it to: where there is no IPv6 at all, "every address" means every IPv4 address.
pub(crate) fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<(Socket, SocketAddr)> {
    let open = |address| Socket::new(Domain::for_address(address), kind, Some(protocol));
    let (socket, address) = match open(address) {
        Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            (open(every)?, every)
        }
        opened => (opened?, address),
    };
    if address.is_ipv6() {
        let _ = socket.set_only_v6(false);
    }
    Ok((socket, address))
}
