//! The beacon's packets over IPv4 and IPv6 multicast, on every network of this machine.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, sleep_until};

use crate::interfaces::{Network, networks};
use crate::link::{Link, Received};
use crate::packet::LONGEST;

/// The beacon's port.
pub const PORT: u16 = 9779;
/// The group of IPv4: of the organization's scope, which routers do not forward by themselves; and packets may go no further
/// than one hop.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 97, 79);
/// The group of IPv6: of the link.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x7032, 0x706c);

/// Time between two looks at the networks of this machine.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// Packets that are read in a second. What comes beyond is dropped by the system.
const READ: u32 = 4096;
/// After an error of a socket.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no multicast.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LanError {
    /// The system gives no socket for it.
    #[error("no multicast: {0}")]
    Socket(#[from] io::Error),
}

/// Multicast on every network of this machine.
#[derive(Debug)]
pub struct Multicast {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    listening: Vec<IpAddr>,
    networks: Vec<Network>,
    look: Instant,
    /// What was read since then.
    second: Instant,
    read: u32,
}

impl Multicast {
    /// Joins, on the current tokio runtime, the networks in which a process that listens at these addresses can be reached;
    /// all if there are none.
    pub fn join(listening: &[IpAddr]) -> Result<Self, LanError> {
        let (v4, v6) = (bind_v4(), bind_v6());
        for error in [&v4, &v6].into_iter().filter_map(|bound| bound.as_ref().err()) {
            tracing::debug!(%error, "one kind of multicast is not there");
        }
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_)) => return Err(error.into()),
            (v4, v6) => (v4.ok(), v6.ok()),
        };
        let now = Instant::now();
        let listening = listening.to_vec();
        let look = now + LOOK_AGAIN;
        let mut multicast = Multicast { v4, v6, listening, networks: Vec::new(), look, second: now, read: 0 };
        multicast.look();
        Ok(multicast)
    }

    /// Looks which networks there are. Says whether there are new ones.
    fn look(&mut self) -> bool {
        let found = networks(&self.listening);
        let new: Vec<_> = found.iter().filter(|network| !self.networks.contains(network)).cloned().collect();
        let interfaces = |networks: &[Network]| -> BTreeSet<u32> { networks.iter().filter_map(index).collect() };
        let known = interfaces(&self.networks);
        // What is joined already is an error that means nothing.
        for network in &new {
            let joined = match (network, &self.v4, &self.v6) {
                (Network::V4(own, _), Some(socket), _) => {
                    SockRef::from(socket).join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Address(*own))
                }
                (Network::V6(_, _, index), _, Some(socket)) if !known.contains(index) => {
                    SockRef::from(socket).join_multicast_v6(&GROUP_V6, *index)
                }
                _ => Ok(()),
            };
            if let Err(error) = joined {
                tracing::debug!(?network, %error, "a network is not joined");
            }
        }
        self.networks = found;
        !new.is_empty()
    }

    async fn packet(&mut self) -> Received {
        let (mut one, mut other) = ([0; LONGEST + 1], [0; LONGEST + 1]);
        loop {
            if self.second.elapsed() >= Duration::from_secs(1) {
                (self.second, self.read) = (Instant::now(), 0);
            }
            if self.read >= READ {
                sleep_until(self.second + Duration::from_secs(1)).await;
                continue;
            }
            let (v4, v6) = (heard(self.v4.as_ref(), &mut one), heard(self.v6.as_ref(), &mut other));
            // Which is heard first if both have something is random.
            let heard = tokio::select! {
                heard = v4 => heard.map(|(length, from)| (&one[..length], from)),
                heard = v6 => heard.map(|(length, from)| (&other[..length], from)),
            };
            self.read += 1;
            match heard {
                Ok((bytes, from)) => {
                    let from = canonical(from);
                    if bytes.len() <= LONGEST && self.networks.iter().any(|network| network.has(from)) {
                        return Received::Packet(bytes.to_vec(), from);
                    }
                }
                Err(error) if is_of_one_packet(&error, cfg!(windows)) => {}
                Err(error) => {
                    tracing::debug!(%error, "the beacon's socket");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Whether an error is about one packet alone. Windows gives it for one that is too long (WSAEMSGSIZE), and for one of ours that nobody has
/// heard (WSAECONNRESET); the next one need not wait.
fn is_of_one_packet(error: &io::Error, windows: bool) -> bool {
    windows && matches!(error.raw_os_error(), Some(10040 | 10054))
}

impl Link for Multicast {
    fn send(&mut self, packet: &[u8]) {
        let mut interfaces = BTreeSet::new();
        for network in &self.networks {
            let sent = match (network, &self.v4, &self.v6) {
                (Network::V4(own, _), Some(socket), _) => SockRef::from(socket)
                    .set_multicast_if_v4(own)
                    .and_then(|()| SockRef::from(socket).send_to(packet, &SocketAddrV4::new(GROUP_V4, PORT).into())),
                // One packet an interface, which leaves from its address of the link.
                (Network::V6(_, _, index), _, Some(socket)) if interfaces.insert(*index) => {
                    let to = SocketAddrV6::new(GROUP_V6, PORT, 0, *index);
                    SockRef::from(socket)
                        .set_multicast_if_v6(*index)
                        .and_then(|()| SockRef::from(socket).send_to(packet, &to.into()))
                }
                _ => Ok(0),
            };
            if let Err(error) = sent {
                tracing::debug!(?network, %error, "a packet of the beacon is lost");
            }
        }
    }

    async fn receive(&mut self) -> Received {
        loop {
            let look = self.look;
            tokio::select! {
                received = self.packet() => return received,
                () = sleep_until(look) => {
                    self.look = Instant::now() + LOOK_AGAIN;
                    if self.look() {
                        return Received::Moved;
                    }
                }
            }
        }
    }
}

fn index(network: &Network) -> Option<u32> {
    match network {
        Network::V6(_, _, index) => Some(*index),
        Network::V4(..) => None,
    }
}

/// The next packet of a socket; never one if there is none.
async fn heard(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

fn canonical(from: SocketAddr) -> SocketAddr {
    match from.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), from.port()),
        IpAddr::V6(_) => from,
    }
}

/// Several programs of one machine have the port together.
fn shared(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // Linux and Windows need no more, and there this would give packets to one of them alone.
    #[cfg(all(unix, not(target_os = "linux"), not(target_os = "android")))]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_v4() -> io::Result<UdpSocket> {
    // Bound to the group, it gets nothing that is sent to this machine alone. Elsewhere that is not possible: Windows does not bind so, and
    // macOS takes the address for that of the sender, and sends nothing.
    let linux = cfg!(any(target_os = "linux", target_os = "android"));
    bind_v4_to(if linux { GROUP_V4 } else { Ipv4Addr::UNSPECIFIED })
}

fn bind_v4_to(ip: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = shared(Domain::IPV4)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_multicast_loop_v4(true)?;
    socket.bind(&SocketAddrV4::new(ip, PORT).into())?;
    UdpSocket::from_std(socket.into())
}

fn bind_v6() -> io::Result<UdpSocket> {
    let socket = shared(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.set_multicast_hops_v6(1)?;
    socket.set_multicast_loop_v6(true)?;
    socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_too_long_is_told_from_a_socket_that_fails() {
        let of_one = |code, windows| is_of_one_packet(&io::Error::from_raw_os_error(code), windows);
        assert!(of_one(10040, true) && of_one(10054, true));
        // WSAENETDOWN, and what the numbers mean elsewhere.
        assert!(!of_one(10050, true) && !of_one(10040, false));
    }

    /// As on every system but Linux.
    #[tokio::test]
    async fn a_socket_that_is_not_bound_to_the_group_sends_to_it_and_hears_it() {
        let (here, packet) = (Ipv4Addr::LOCALHOST, b"a test of the socket, and no beacon");
        let socket = bind_v4_to(Ipv4Addr::UNSPECIFIED).unwrap();
        SockRef::from(&socket).join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Address(here)).unwrap();
        let (networks, now) = (vec![Network::V4(here, 8)], Instant::now());
        let look = now + LOOK_AGAIN;
        let mut multicast =
            Multicast { v4: Some(socket), v6: None, listening: Vec::new(), networks, look, second: now, read: 0 };
        multicast.send(packet);
        // Others on this machine may say something, too.
        loop {
            if let Received::Packet(heard, from) = multicast.packet().await
                && heard == packet
            {
                assert_eq!(from, (here, PORT).into());
                break;
            }
        }
    }
}
