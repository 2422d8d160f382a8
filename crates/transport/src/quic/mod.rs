//! QUIC (RFC 9000) by quinn: the default transport. One endpoint a listener, each on a thread of its own.

mod connection;
#[cfg(test)]
mod hostile;
mod path;
mod runtime;
mod settings;
mod socket;
mod windows;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::PeerId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, Incoming, Runtime, TransportConfig};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::timeout;

use crate::identity::SERVER_NAME;
use crate::thread::NetworkThread;
use crate::{BoxFuture, Config, Connection, Identity, Transport, TransportError};
use connection::QuicConnection;
use runtime::OnThread;
use socket::Batching;
use windows::Windows;

/// A handshake must be over within this time, on either side.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// An address that was silent for this long is given up. quinn sends at 0 s and 1 s and would send again at 3 s, and
/// addresses come from strangers: what they can make us send must be little.
const SILENCE: Duration = Duration::from_millis(2500);
/// Handshakes under way at once; who comes then is refused.
const HANDSHAKES: usize = 256;
/// With more handshakes under way than this, strangers must first show that their address is theirs (RFC 9000, 8.1).
const VALIDATE_ABOVE: usize = 64;
/// Connections that wait to be taken by [`Transport::accept`].
const BACKLOG: usize = 128;
/// A closed endpoint stays for twice its longest round trip, but at least and at most for these.
const LINGER: Duration = Duration::from_millis(5);
const GOODBYE: Duration = Duration::from_secs(1);

/// QUIC endpoints that listen and dial.
pub struct Quic {
    identity: Identity,
    endpoints: Vec<(Endpoint, NetworkThread, SocketAddr)>,
    turn: AtomicUsize,
    mtu: Option<u16>,
    windows: Arc<Windows>,
    accepted: Mutex<mpsc::Receiver<QuicConnection>>,
}

impl Quic {
    /// Binds every listener, or none.
    pub fn bind(config: Config) -> Result<Self, TransportError> {
        let tls = config.identity.server_tls().map_err(|error| TransportError::Io(error.to_string()))?;
        let tls = QuicServerConfig::try_from(tls).map_err(|error| TransportError::Io(error.to_string()))?;
        let server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let mtu = config.mtu;
        let (arrivals, accepted) = mpsc::channel(BACKLOG);
        let windows = Arc::new(Windows::default());
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let mut endpoints = Vec::new();
        for (number, &address) in config.listeners.iter().enumerate() {
            let error = |error: io::Error| match error.kind() {
                io::ErrorKind::AddrInUse => TransportError::AddressInUse(address),
                _ => TransportError::Io(format!("{address}: {error}")),
            };
            let socket = bind(address).map_err(error)?;
            let thread = NetworkThread::start(format!("quic-{number}")).map_err(error)?;
            let endpoint = endpoint(&thread, socket, server.clone()).map_err(error)?;
            let bound = endpoint.local_addr().map_err(error)?;
            let listener =
                Listener { server: server.clone(), mtu, arrivals: arrivals.clone(), windows: windows.clone() };
            thread.handle.spawn(accept(endpoint.clone(), handshakes.clone(), Arc::new(listener)));
            endpoints.push((endpoint, thread, bound));
        }
        let first =
            endpoints.first().ok_or_else(|| TransportError::Io("at least one listener is needed".to_owned()))?;
        let (_, thread, _): &(Endpoint, NetworkThread, SocketAddr) = first;
        thread.handle.spawn(windows.clone().tend());
        Ok(Quic {
            identity: config.identity,
            endpoints,
            turn: AtomicUsize::new(0),
            mtu,
            windows,
            accepted: Mutex::new(accepted),
        })
    }

    /// The endpoints take turns, so that connections spread over their threads.
    fn endpoint_for(&self, address: SocketAddr) -> Option<(&Endpoint, &NetworkThread)> {
        let reaches = |bound: &SocketAddr| bound.is_ipv6() || address.is_ipv4();
        let able: Vec<_> = self.endpoints.iter().filter(|(_, _, bound)| reaches(bound)).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        able.get(turn % able.len().max(1)).map(|(endpoint, thread, _)| (endpoint, thread))
    }

    async fn connect(&self, address: SocketAddr, expected: PeerId) -> Result<QuicConnection, TransportError> {
        let found = Arc::new(OnceLock::new());
        let refused = |error: String| TransportError::Handshake(error);
        let tls = self.identity.client_tls(expected, found.clone()).map_err(|error| refused(error.to_string()))?;
        let tls = QuicClientConfig::try_from(tls).map_err(|error| refused(error.to_string()))?;
        let mut client = quinn::ClientConfig::new(Arc::new(tls));
        client.transport_config(transport_to(address, self.mtu, &self.windows));
        let (endpoint, thread) = self.endpoint_for(address).ok_or(TransportError::Unreachable(address))?;
        let mut connecting = endpoint.connect_with(client, address, SERVER_NAME).map_err(|error| match error {
            quinn::ConnectError::EndpointStopping => TransportError::Closed,
            other => TransportError::Io(other.to_string()),
        })?;
        // Errors show again below; only silence ends it here.
        if timeout(SILENCE, connecting.handshake_data()).await.is_err() {
            return Err(TransportError::Unreachable(address));
        }
        match timeout(HANDSHAKE, connecting).await {
            Err(_) | Ok(Err(quinn::ConnectionError::TimedOut)) => Err(TransportError::Unreachable(address)),
            // It is there, but takes nobody: it is closing, or has too much to do.
            Ok(Err(quinn::ConnectionError::ConnectionClosed(close)))
                if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
            {
                Err(TransportError::Unreachable(address))
            }
            Ok(Err(_)) if found.get().is_some() => Err(TransportError::WrongPeer { addr: address, expected }),
            Ok(Err(error)) => Err(refused(error.to_string())),
            Ok(Ok(connection)) => QuicConnection::new(connection, thread.handle.clone(), &self.windows),
        }
    }
}

/// A socket with large buffers. An IPv6 one takes IPv4 too, where the system can; where there is no IPv6 at all, "every
/// address" means every IPv4 address.
fn bind(mut address: SocketAddr) -> io::Result<UdpSocket> {
    let open = |address| Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP));
    let socket = match open(address) {
        Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
            open(address)?
        }
        opened => opened?,
    };
    if address.is_ipv6() {
        let _ = socket.set_only_v6(false);
    }
    // The kernel grants what its limits allow; asking for too much is no error.
    let _ = socket.set_recv_buffer_size(settings::SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(settings::SOCKET_BUFFER);
    let reported = socket.recv_buffer_size()?.min(socket.send_buffer_size()?);
    // Linux counts its own bookkeeping and reports twice what it grants.
    let granted = if cfg!(target_os = "linux") { reported / 2 } else { reported };
    if granted < settings::SOCKET_BUFFER {
        tracing::info!(
            granted,
            wanted = settings::SOCKET_BUFFER,
            "the kernel grants small socket buffers; fast links lose packets: raise net.core.rmem_max and net.core.wmem_max"
        );
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// An endpoint whose work is done on this thread.
fn endpoint(thread: &NetworkThread, socket: UdpSocket, server: quinn::ServerConfig) -> io::Result<Endpoint> {
    let runtime: Arc<dyn Runtime> = Arc::new(OnThread(thread.handle.clone()));
    let socket = Batching::new(runtime.wrap_udp_socket(socket)?, settings::LARGEST_DATAGRAM.into());
    Endpoint::new_with_abstract_socket(settings::endpoint(), Some(server), Arc::new(socket), runtime)
}

/// The settings of a connection to or from this address.
fn transport_to(address: SocketAddr, mtu: Option<u16>, windows: &Windows) -> Arc<TransportConfig> {
    let carried = path::largest_datagram(address);
    settings::transport(mtu.map_or(carried, |mtu| mtu.min(carried)), windows.first())
}

/// What is needed to take a connection.
struct Listener {
    server: quinn::ServerConfig,
    mtu: Option<u16>,
    arrivals: mpsc::Sender<QuicConnection>,
    windows: Arc<Windows>,
}

/// Takes handshakes, each in a task with a deadline, and hands the connections on.
async fn accept(endpoint: Endpoint, handshakes: Arc<Semaphore>, listener: Arc<Listener>) {
    while let Some(incoming) = endpoint.accept().await {
        let under_way = HANDSHAKES - handshakes.available_permits();
        if under_way > VALIDATE_ABOVE && !incoming.remote_address_validated() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
            continue;
        }
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let listener = listener.clone();
        tokio::spawn(async move {
            // Kept until the connection is taken: who waits in this queue is bounded too.
            let _permit = permit;
            match listener.shake_hands(incoming).await {
                Ok(connection) => drop(timeout(HANDSHAKE, listener.arrivals.send(connection)).await),
                Err(error) => tracing::debug!(%error, "handshake"),
            }
        });
    }
}

impl Listener {
    async fn shake_hands(&self, incoming: Incoming) -> Result<QuicConnection, TransportError> {
        let from = incoming.remote_address();
        let mut server = self.server.clone();
        server.transport_config(transport_to(from, self.mtu, &self.windows));
        let refused = |error: quinn::ConnectionError| TransportError::Handshake(error.to_string());
        let connecting = incoming.accept_with(Arc::new(server)).map_err(refused)?;
        match timeout(HANDSHAKE, connecting).await {
            Err(_) => Err(TransportError::Unreachable(from)),
            Ok(Err(error)) => Err(refused(error)),
            Ok(Ok(connection)) => QuicConnection::new(connection, Handle::current(), &self.windows),
        }
    }
}

impl Transport for Quic {
    fn name(&self) -> &'static str {
        "quic"
    }

    fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        self.endpoints.iter().map(|(_, _, bound)| *bound).collect()
    }

    fn dial(&self, addr: SocketAddr, expect: PeerId) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move { Ok(Arc::new(self.connect(addr, expect).await?) as Arc<dyn Connection>) })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move {
            let connection = self.accepted.lock().await.recv().await?;
            Some(Arc::new(connection) as Arc<dyn Connection>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // What is on its way to us when the others hear of it is answered once more.
            let wait = (self.windows.longest_rtt() * 2).clamp(LINGER, GOODBYE);
            let leaving: Vec<_> = self
                .endpoints
                .iter()
                .map(|(endpoint, thread, _)| thread.handle.spawn(leave(endpoint.clone(), wait)))
                .collect();
            for left in leaving {
                let _ = left.await;
            }
            for (_, thread, _) in &self.endpoints {
                thread.stop().await;
            }
        })
    }
}

/// Closes all connections of an endpoint and sees to it that this is sent.
async fn leave(endpoint: Endpoint, wait: Duration) {
    endpoint.close(0u32.into(), b"goodbye");
    // Every connection has a task on this thread; each has run, and sent, before this one runs for the second time.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    let _ = timeout(wait, endpoint.wait_idle()).await;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn quic() -> Quic {
        let identity = Identity::generate().unwrap();
        Quic::bind(Config::new(identity, vec![SocketAddr::from(([127, 0, 0, 1], 0))])).unwrap()
    }

    #[tokio::test]
    async fn both_sides_learn_who_the_other_is_and_bytes_flow() {
        let (a, b) = (quic(), quic());
        let (dialled, accepted) = tokio::join!(a.dial(b.listeners()[0], b.peer_id()), b.accept());
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!((dialled.peer_id(), accepted.peer_id()), (b.peer_id(), a.peer_id()));
        let (mut send, _recv) = dialled.open().await.unwrap();
        let data = Bytes::from(vec![7; 3 << 20]);
        let receive = async {
            let (_, mut recv) = accepted.accept().await.unwrap();
            let mut got = vec![0; 3 << 20];
            crate::frame::read_exact(&mut *recv, &mut got).await.unwrap();
            assert_eq!(recv.recv(&mut [0; 8]).await, Ok(0));
            got
        };
        let (_, got) = tokio::join!(
            async {
                send.send(data.clone()).await.unwrap();
                send.finish().unwrap();
            },
            receive
        );
        assert_eq!(got, data);
        a.close().await;
        b.close().await;
    }

    #[tokio::test]
    async fn someone_else_at_the_address_is_refused() {
        let (a, b) = (quic(), quic());
        let (addr, expected) = (b.listeners()[0], a.peer_id());
        let error = a.dial(addr, expected).await.err();
        assert_eq!(error, Some(TransportError::WrongPeer { addr, expected }));
    }

    #[tokio::test]
    async fn a_dropped_stream_is_reset_not_finished() {
        let (a, b) = (quic(), quic());
        let (dialled, accepted) = tokio::join!(a.dial(b.listeners()[0], b.peer_id()), b.accept());
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        let (mut send, _recv) = dialled.open().await.unwrap();
        send.send(Bytes::from_static(b"half")).await.unwrap();
        let (_send, mut recv) = accepted.accept().await.unwrap();
        drop(send);
        let mut buf = [0; 8];
        let error = loop {
            match recv.recv(&mut buf).await {
                Ok(0) => panic!("a dropped stream looked finished"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error, TransportError::Reset(0));
    }

    #[tokio::test]
    async fn an_address_in_use_is_said_so() {
        let a = quic();
        let taken = a.listeners()[0];
        let config = Config::new(Identity::generate().unwrap(), vec![taken]);
        assert_eq!(Quic::bind(config).err(), Some(TransportError::AddressInUse(taken)));
    }
}
