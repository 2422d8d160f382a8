//! QUIC (RFC 9000) by quinn: the default transport. One endpoint a listener, each on a thread of its own, and further ones
//! that only dial where there are more cores: what they receive is spread over threads without a lock between them.

mod abandoned;
pub(crate) mod congestion;
mod connection;
mod endpoint;

#[cfg(test)]
mod hostile;
mod joining;
pub(crate) mod kernel;
mod path;
mod probe;
mod runtime;
mod settings;
mod socket;
mod uplink;
mod windows;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::PeerId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Incoming, TransportConfig};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

pub(crate) use probe::probe;
pub(crate) use settings::STREAMS;

use crate::addresses::is_near;
use crate::bind_error::bind_error;
use crate::expiry::Expiry;
use crate::handshakes::{self, HANDSHAKE, Handshake, Handshakes};
use crate::identity::{Meant, SERVER_NAME};
use crate::keep_alive::{self, KeepAlive};
use crate::shared_port::TrackerDoor;
use crate::thread::STANDSTILL;
use crate::{BoxFuture, Config, Connection, Identity, OverRelay, Transport, TransportError, Trust, Whom};
use abandoned::Abandoned;
use congestion::Congestion;
use connection::QuicConnection;
use endpoint::Endpoint;
use windows::Windows;

/// An address that was silent for this long is given up. quinn sends at 0 s and 1 s and would send again at 3 s, and
/// addresses come from strangers: what they can make us send must be little.
const SILENCE: Duration = Duration::from_secs(2);
/// What a failed handshake leaves is gone after so long: quinn keeps a closed connection for three timeouts (RFC 9000, 10.2).
const FORGOTTEN: Duration = Duration::from_secs(3);
/// With more handshakes under way than this, strangers must first show that their address is theirs (RFC 9000, 8.1). A
/// handshake from within this machine takes 200 KB, for datagrams as large as loopback carries.
const VALIDATE_ABOVE: usize = 16;
/// Connections that wait to be taken by [`Transport::accept`].
const BACKLOG: usize = 128;
/// Most endpoints that only dial.
const DIALERS: usize = 8;
/// A closed endpoint stays for twice its longest round trip, but at least and at most for these; a tracker's for a time that covers most.
const LINGER: Duration = Duration::from_millis(5);
const STANDING_LINGER: Duration = Duration::from_millis(250);
const GOODBYE: Duration = Duration::from_secs(1);

/// QUIC endpoints that listen and dial.
pub struct Quic {
    identity: Identity,
    trust: Trust,
    listeners: Vec<Endpoint>,
    /// Endpoints that only dial, made when a third connection is dialled: after a tracker and one peer.
    dialers: OnceLock<Vec<Endpoint>>,
    turn: AtomicUsize,
    closed: AtomicBool,
    choices: Choices,
    windows: Arc<Windows>,
    expiry: Expiry,
    #[cfg(test)]
    handshakes: Handshakes,
    accepted: Mutex<mpsc::Receiver<QuicConnection>>,
}

impl Quic {
    /// Binds every listener, or none.
    pub fn bind(config: Config) -> Result<Self, TransportError> {
        let tracker = config.tracker.as_ref().map(|tracker| &tracker.identity);
        let tls = config
            .identity
            .server_tls(&config.trust, tracker)
            .map_err(|error| TransportError::Io(error.to_string()))?;
        let tls = QuicServerConfig::try_from(tls).map_err(|error| TransportError::Io(error.to_string()))?;
        let server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let Config { mtu, streams, congestion, standing, .. } = config;
        let choices = Choices { mtu, streams, congestion, standing };
        let (arrivals, accepted) = mpsc::channel(BACKLOG);
        let windows = Arc::new(Windows::default());
        let handshakes = Handshakes::new(handshakes::MOST);
        let expiry = Expiry::new(&config.identity, &config.trust);
        let mut listeners = Vec::new();
        for (number, &address) in config.listeners.iter().enumerate() {
            let error = |error: io::Error| bind_error(address, &error);
            let endpoint = Endpoint::bind(address, format!("quic-{number}"), Some(server.clone())).map_err(error)?;
            let (server, arrivals, windows) = (server.clone(), arrivals.clone(), windows.clone());
            let (expiry, abandoned) = (expiry.clone(), Abandoned::default());
            let tracker = config.tracker.clone();
            let tracker_windows = Arc::default();
            let listener = Listener { server, choices, arrivals, tracker, tracker_windows, windows, expiry, abandoned };
            let accepting = accept(endpoint.quinn.clone(), handshakes.clone(), Arc::new(listener));
            endpoint.thread.handle.spawn(accepting);
            listeners.push(endpoint);
        }
        let first: &Endpoint =
            listeners.first().ok_or_else(|| TransportError::Io("at least one listener is needed".to_owned()))?;
        if !choices.standing {
            first.thread.handle.spawn(windows.clone().tend());
        }
        Ok(Quic {
            identity: config.identity,
            trust: config.trust,
            listeners,
            dialers: OnceLock::new(),
            turn: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            choices,
            windows,
            expiry,
            #[cfg(test)]
            handshakes,
            accepted: Mutex::new(accepted),
        })
    }

    /// Within this machine's networks the endpoints take turns, so that connections spread over their threads. What is further away
    /// may be reached through a router, which knows this peer by the socket that the tracker is talked to from, and lets in
    /// only what answers it: there it is always the first listener's.
    fn endpoint_for(&self, address: SocketAddr) -> Option<&Endpoint> {
        if !is_near(address.ip()) {
            return self.listeners.iter().find(|endpoint| endpoint.reaches(address));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let dialers: &[Endpoint] = if turn < 2 { &[] } else { self.dialers.get_or_init(|| self.make_dialers()) };
        let able: Vec<_> = self.listeners.iter().chain(dialers).filter(|endpoint| endpoint.reaches(address)).collect();
        able.get(turn % able.len().max(1)).copied()
    }

    /// As many as there are cores without a listener. They have ports of their own: with a shared one, packets of a
    /// connection could reach another endpoint.
    fn make_dialers(&self) -> Vec<Endpoint> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let dialers = cores.saturating_sub(self.listeners.len()).min(DIALERS);
        let address = SocketAddr::new(self.listeners[0].bound.ip(), 0);
        (0..dialers).filter_map(|number| Endpoint::bind(address, format!("quic-dial-{number}"), None).ok()).collect()
    }

    /// Dials a tracker as someone else than this transport is: so one process can be thousands of peers, as a measurement needs.
    pub async fn dial_tracker_as(
        &self,
        identity: &Identity,
        addr: SocketAddr,
        expect: PeerId,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        Ok(Arc::new(self.connect(identity, addr, Whom::Tracker(expect)).await?))
    }

    async fn connect(
        &self,
        identity: &Identity,
        address: SocketAddr,
        whom: Whom,
    ) -> Result<QuicConnection, TransportError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(TransportError::Closed);
        }
        let found = Arc::new(OnceLock::new());
        let refused = |error: String| TransportError::Handshake(error);
        let tls = identity.client_tls(&self.trust, whom, found.clone());
        let tls = tls.map_err(|error| refused(error.to_string()))?;
        let tls = QuicClientConfig::try_from(tls).map_err(|error| refused(error.to_string()))?;
        let mut client = quinn::ClientConfig::new(Arc::new(tls));
        let meant = Meant::from(whom);
        let transport = match meant {
            Meant::Peer => transport_to(address, self.choices, &self.windows),
            Meant::Tracker => Arc::new(path_to_tracker(address, self.choices)),
        };
        client.transport_config(transport);
        let Endpoint { quinn, thread, .. } = self.endpoint_for(address).ok_or(TransportError::Unreachable(address))?;
        let mut connecting = quinn.connect_with(client, address, SERVER_NAME).map_err(|error| match error {
            quinn::ConnectError::EndpointStopping => TransportError::Closed,
            other => TransportError::Io(other.to_string()),
        })?;
        // Errors show again below; only silence ends it here.
        if timeout(SILENCE, connecting.handshake_data()).await.is_err() {
            return Err(TransportError::Unreachable(address));
        }
        let connected = timeout(HANDSHAKE, connecting).await;
        if let (Ok(Err(_)), Some(_), Some(expected)) = (&connected, found.get(), whom.expected()) {
            return Err(TransportError::WrongPeer { addr: address, expected });
        }
        match connected {
            Err(_) | Ok(Err(quinn::ConnectionError::TimedOut)) => Err(TransportError::Unreachable(address)),
            // It is there, but takes nobody: it is closing, or has too much to do.
            Ok(Err(quinn::ConnectionError::ConnectionClosed(close)))
                if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
            {
                Err(TransportError::Unreachable(address))
            }
            Ok(Err(error)) => Err(match (connection::not_taken_for(&error, &self.trust), error.into()) {
                (Some(untrusted), _) => TransportError::NotTrusted(untrusted),
                (None, TransportError::Lost(reason)) => refused(reason),
                (None, other) => other,
            }),
            Ok(Ok(connection)) => {
                let standing = meant == Meant::Tracker;
                QuicConnection::new(connection, address, thread.handle.clone(), (&self.windows, standing), &self.expiry)
            }
        }
    }
}

/// What was chosen for all connections.
#[derive(Clone, Copy)]
struct Choices {
    mtu: Option<u16>,
    streams: u32,
    congestion: Congestion,
    /// Whether connections that come in are a tracker's.
    standing: bool,
}

/// The settings of a connection between a peer and a tracker.
fn standing_path(choices: Choices, kept: KeepAlive) -> TransportConfig {
    let mut transport = settings::standing();
    settings::kept_alive(&mut transport, kept.every, kept.patience);
    transport.congestion_controller_factory(choices.congestion.factory());
    transport.max_concurrent_bidi_streams(choices.streams.into()).send_window(windows::LEAST);
    transport
}

/// As peers know it: a tracker has thousands of connections, and a peer one, by which it learns what the path carries.
fn path_to_tracker(address: SocketAddr, choices: Choices) -> TransportConfig {
    let mut transport = standing_path(choices, keep_alive::TO_TRACKER);
    let carried = path::largest_datagram(address);
    settings::searched(&mut transport, choices.mtu.map_or(carried, |mtu| mtu.min(carried)));
    transport
}

/// The settings of a connection to or from this address.
fn transport_to(address: SocketAddr, choices: Choices, windows: &Windows) -> Arc<TransportConfig> {
    let mut transport = path_to(address, choices, windows);
    // A user who limits the size may know that something on the path carries less.
    if choices.mtu.is_none() && address.ip().to_canonical().is_loopback() {
        settings::known_path(&mut transport, path::largest_datagram(address));
    }
    Arc::new(transport)
}

/// The same, of which nothing is known before: a handshake then takes a tenth of the memory, where datagrams may be large.
fn path_to(address: SocketAddr, choices: Choices, windows: &Windows) -> TransportConfig {
    let Choices { mtu, streams, congestion, .. } = choices;
    let carried = path::largest_datagram(address);
    let mut transport = settings::transport(mtu.map_or(carried, |mtu| mtu.min(carried)), windows.first());
    settings::kept_alive(&mut transport, keep_alive::PEERS.every, keep_alive::PEERS.patience);
    transport.congestion_controller_factory(congestion.factory());
    // What is to be sent waits where it can still be chosen, until it is known how fast it leaves.
    transport.max_concurrent_bidi_streams(streams.into()).send_window(windows::LEAST);
    transport
}

/// What is needed to take a connection.
struct Listener {
    server: quinn::ServerConfig,
    choices: Choices,
    arrivals: mpsc::Sender<QuicConnection>,
    tracker: Option<TrackerDoor>,
    /// What is said to a tracker is little, and takes nothing from pieces.
    tracker_windows: Arc<Windows>,
    windows: Arc<Windows>,
    expiry: Expiry,
    abandoned: Abandoned,
}

/// Takes handshakes, each in a task with a deadline, and hands the connections on.
async fn accept(endpoint: quinn::Endpoint, handshakes: Handshakes, listener: Arc<Listener>) {
    while let Some(incoming) = endpoint.accept().await {
        let many = handshakes.under_way() > VALIDATE_ABOVE;
        if many && !incoming.remote_address_validated() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
            continue;
        }
        if listener.abandoned.contains(incoming.orig_dst_cid()) {
            incoming.ignore();
            continue;
        }
        // An honest peer asks again in a second.
        let Some(handshake) = handshakes.begin(incoming.remote_address().ip()) else {
            incoming.ignore();
            continue;
        };
        let standing = endpoint.open_connections();
        tokio::spawn(listener.clone().shake_hands(incoming, handshake, (many, standing)));
    }
}

impl Listener {
    /// The place is held until the connection is taken: who waits in that queue is bounded too.
    async fn shake_hands(
        self: Arc<Self>,
        incoming: Incoming,
        mut handshake: Handshake,
        (many, standing): (bool, usize),
    ) {
        let (from, id) = (incoming.remote_address(), incoming.orig_dst_cid());
        let mut server = self.server.clone();
        server.transport_config(match many {
            _ if self.choices.standing => Arc::new(standing_path(self.choices, keep_alive::of_tracker(standing))),
            true => Arc::new(path_to(from, self.choices, &self.windows)),
            false => transport_to(from, self.choices, &self.windows),
        });
        let (connecting, driver) = runtime::driver_of(|| incoming.accept_with(Arc::new(server)));
        let connecting = match connecting {
            Ok(connecting) => connecting,
            Err(error) => return tracing::debug!(%error, %from, "handshake"),
        };
        match handshake.run(connecting).await {
            Ok(Ok(connection)) => {
                handshake.is_done();
                let tracker =
                    self.tracker.as_ref().filter(|_| connection::meant_by(&connection) == Some(Meant::Tracker));
                let (windows, expiry) = match tracker {
                    Some(tracker) => (&self.tracker_windows, &tracker.expiry),
                    None => (&self.windows, &self.expiry),
                };
                let standing = self.choices.standing || tracker.is_some();
                let connection = QuicConnection::new(connection, from, Handle::current(), (windows, standing), expiry);
                match (connection, tracker) {
                    (Ok(connection), Some(tracker)) => {
                        let _ = handshake.run(tracker.arrivals.send(Arc::new(connection))).await;
                    }
                    (Ok(connection), None) => drop(handshake.run(self.arrivals.send(connection)).await),
                    (Err(_), _) => {}
                }
                return;
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, %from, "handshake");
                // Until then it says why again, and takes as much memory as one that is under way.
                handshake.failed(FORGOTTEN).await;
            }
            Err(given_up) => {
                tracing::debug!(%given_up, %from, "handshake");
                self.abandoned.add(id);
            }
        }
        // quinn would keep what is left of it for another three seconds: a client that begins thousands of handshakes must not
        // make us hold thousands.
        if let Some(driver) = driver {
            driver.abort();
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
        self.listeners.iter().map(|listener| listener.bound).collect()
    }

    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move { Ok(Arc::new(self.connect(&self.identity, addr, whom).await?) as Arc<dyn Connection>) })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move {
            let connection = self.accepted.lock().await.recv().await?;
            Some(Arc::new(connection) as Arc<dyn Connection>)
        })
    }

    fn over_relay(&self) -> Option<&dyn OverRelay> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Relaxed);
            // What is on its way to us when the others hear of it is answered once more.
            let least = if self.choices.standing { STANDING_LINGER } else { LINGER };
            let wait = (self.windows.longest_rtt() * 2).clamp(least, GOODBYE);
            let endpoints: Vec<_> = self.listeners.iter().chain(self.dialers.get().into_iter().flatten()).collect();
            // All wait at the same time.
            let leaving: Vec<_> = endpoints.iter().map(|endpoint| endpoint.say_goodbye(wait)).collect();
            for (endpoint, left) in endpoints.into_iter().zip(leaving) {
                let _ = timeout(wait + STANDSTILL, left).await;
                endpoint.thread.stop().await;
            }
        })
    }
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

    /// The sender of a packet can be forged: only the handshake has shown that the other end is there.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_migrated_connection_is_where_its_handshake_was_and_says_that_it_moved() {
        let (a, b) = (quic(), quic());
        let (dialled, accepted) = tokio::join!(a.dial(b.listeners()[0], b.peer_id()), b.accept());
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        let before = accepted.remote_addr();
        assert!(!accepted.stats().moved);
        let elsewhere = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        let endpoint = &a.listeners[0];
        let rebound = {
            let _context = endpoint.thread.handle.enter();
            endpoint.quinn.rebind(elsewhere)
        };
        rebound.unwrap();
        let (mut send, _recv) = dialled.open().await.unwrap();
        send.send(Bytes::from_static(b"from elsewhere")).await.unwrap();
        let (_send, mut recv) = accepted.accept().await.unwrap();
        assert_eq!(recv.recv(&mut [0; 64]).await, Ok(14));
        assert!(accepted.stats().moved && !dialled.stats().moved);
        assert_eq!(accepted.remote_addr(), before);
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
