//! What the kernel gives to a socket of ours: `peer-cli doctor` asks, to say why QUIC is slow here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::{endpoint, path, settings};

/// What UDP has on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpSupport {
    /// Bytes of buffer that were asked for, both ways.
    pub wanted_buffer: usize,
    /// Bytes that the kernel granted for what comes.
    pub receive_buffer: usize,
    /// Bytes that it granted for what goes.
    pub send_buffer: usize,
    /// Datagrams that one call sends; 1 without segmentation offload.
    pub sent_at_once: usize,
    /// Datagrams that one call receives as one; 1 without receive offload.
    pub received_at_once: usize,
}

impl UdpSupport {
    /// Binds a free port at this address, as a listener would be, and asks.
    pub fn ask(address: IpAddr) -> io::Result<Self> {
        let socket = endpoint::bind(SocketAddr::new(address, 0))?;
        let sizes = socket2::SockRef::from(&socket);
        // Linux counts its own bookkeeping and reports twice what it grants.
        let granted = |reported: usize| if cfg!(target_os = "linux") { reported / 2 } else { reported };
        let (receive, send) = (granted(sizes.recv_buffer_size()?), granted(sizes.send_buffer_size()?));
        let state = quinn::udp::UdpSocketState::new((&socket).into())?;
        Ok(UdpSupport {
            wanted_buffer: settings::SOCKET_BUFFER,
            receive_buffer: receive,
            send_buffer: send,
            sent_at_once: state.max_gso_segments(),
            received_at_once: state.gro_segments(),
        })
    }
}

/// The largest datagram, in bytes of UDP payload, that the first hop to `address` carries, as far as it is known here.
pub fn first_hop_datagram(address: SocketAddr) -> u16 {
    path::largest_datagram(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_it_grants() {
        let support = UdpSupport::ask("127.0.0.1".parse().unwrap()).unwrap();
        assert!(support.receive_buffer > 0 && support.send_buffer > 0);
        assert!(support.sent_at_once >= 1 && support.received_at_once >= 1);
    }
}
