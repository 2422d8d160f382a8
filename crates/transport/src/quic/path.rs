//! How large a datagram the first hop to an address carries: what discovery is tried up to.
//!
//! quinn finds out what a path carries by trying; it must only be told where to stop. 1,452 would leave jumbo frames
//! (and loopback) unused, and trying 32,000 over every Ethernet path would lose three probes at each of six sizes.

use std::net::SocketAddr;

/// The largest datagram to try, in bytes: two of them fill a batch. Larger ones cost the receiver twice as much again
/// (the kernel must find 64 KiB in one piece for each, and few fit the socket's buffer).
const LARGEST_TRIED: u32 = 32_000;
/// Ethernet's 1,500 bytes less the headers of IPv6 and UDP.
const ETHERNET: u16 = 1452;
/// Headers of IPv4 and of IPv6, each with UDP's.
const HEADERS: (u32, u32) = (20 + 8, 40 + 8);

/// Largest UDP payload that the route to `address` may carry, in bytes; Ethernet's where that cannot be asked.
pub(super) fn largest_datagram(address: SocketAddr) -> u16 {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let Some(mtu) = route_mtu(address) else { return ETHERNET };
    let payload = mtu.saturating_sub(if address.is_ipv4() { HEADERS.0 } else { HEADERS.1 });
    payload.clamp(1200, LARGEST_TRIED) as u16
}

/// The kernel knows the route of a connected socket; nothing is sent.
#[cfg(target_os = "linux")]
fn route_mtu(address: SocketAddr) -> Option<u32> {
    use rustix::net::sockopt::{ip_mtu, ipv6_mtu};
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(address).ok()?;
    if address.is_ipv4() { ip_mtu(&socket) } else { ipv6_mtu(&socket) }.ok()
}

/// Elsewhere only loopback is known to be larger than Ethernet: 16,384 bytes on macOS.
#[cfg(not(target_os = "linux"))]
fn route_mtu(address: SocketAddr) -> Option<u32> {
    address.ip().is_loopback().then_some(16_384)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_more_than_ethernet() {
        assert!(largest_datagram(SocketAddr::from(([127, 0, 0, 1], 9))) > ETHERNET);
        assert_eq!(
            largest_datagram("[::ffff:127.0.0.1]:9".parse().unwrap()),
            largest_datagram("127.0.0.1:9".parse().unwrap())
        );
    }
}
