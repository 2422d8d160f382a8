//! QUIC (RFC 9000) by quinn: the default transport. One endpoint a listener, each on a thread of its own, and further ones
//! that only dial where there are more cores: what they receive is spread over threads without a lock between them.

mod abandoned;
mod choices;
pub(crate) mod congestion;
mod connection;
mod endpoint;
mod held;
#[cfg(test)]
mod hostile;
mod joining;
pub(crate) mod kernel;
mod listener;
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
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

pub(crate) use probe::probe;
pub(crate) use settings::STREAMS;

use crate::addresses::is_near;
use crate::bind_error::bind_error;
use crate::expiry::Expiry;
use crate::handshakes::{self, HANDSHAKE, Handshakes};
use crate::identity::{Meant, SERVER_NAME};
use crate::thread::STANDSTILL;
use crate::{BoxFuture, Config, Connection, Identity, OverRelay, Transport, TransportError, Trust, Whom};
use abandoned::Abandoned;
use choices::{Choices, path_to_tracker, transport_to};
use connection::QuicConnection;
use endpoint::Endpoint;
use held::Held;
use listener::Listener;
use windows::Windows;

/// An address that was silent for this long is given up. quinn sends at 0 s and 1 s and would send again at 3 s, and
/// addresses come from strangers: what they can make us send must be little.
const SILENCE: Duration = Duration::from_secs(2);
/// Connections that wait to be taken by [`Transport::accept`].
const BACKLOG: usize = 128;
/// A peer nearby that has not answered for this long is dialled from a listener as well.
const FROM_LISTENER: Duration = Duration::from_millis(250);
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
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        settings::listener(&mut server);
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
            let listener = Listener {
                endpoint: endpoint.quinn.clone(),
                server,
                choices,
                arrivals,
                tracker,
                tracker_windows,
                windows,
                expiry,
                abandoned,
            };
            endpoint.thread.handle.spawn(Arc::new(listener).accept(handshakes.clone()));
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

    /// What is not in this machine's networks may be reached through a router, which knows this peer by the socket that the tracker is
    /// talked to from, and lets in only what answers it: it is always dialled from the first listener.
    fn listener_for(&self, address: SocketAddr) -> Option<&Endpoint> {
        self.listeners.iter().find(|endpoint| endpoint.reaches(address))
    }

    /// Within this machine's networks the endpoints take turns, so that connections spread over their threads.
    fn endpoint_for(&self, address: SocketAddr) -> Option<&Endpoint> {
        if !is_near(address.ip()) {
            return self.listener_for(address);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let dialers: &[Endpoint] = if turn < 2 { &[] } else { self.dialers.get_or_init(|| self.make_dialers()) };
        let able: Vec<_> = self.listeners.iter().chain(dialers).filter(|endpoint| endpoint.reaches(address)).collect();
        able.get(turn % able.len().max(1)).copied()
    }

    /// They have ports of their own: with a shared one, packets of a connection could reach another endpoint.
    fn make_dialers(&self) -> Vec<Endpoint> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let address = SocketAddr::new(self.listeners[0].bound.ip(), 0);
        let dialers = 0..dialers(cores, self.listeners.len());
        dialers.filter_map(|number| Endpoint::bind(address, format!("quic-dial-{number}"), None).ok()).collect()
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

    /// Dials from the endpoint whose turn it is. A machine nearby may have a firewall of its own, which lets in only what answers: what it
    /// sends goes to the listener, so that one that is silent is dialled from there as well. Whichever connects first wins.
    async fn connect(
        &self,
        identity: &Identity,
        address: SocketAddr,
        whom: Whom,
    ) -> Result<QuicConnection, TransportError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(TransportError::Closed);
        }
        let endpoint = self.endpoint_for(address).ok_or(TransportError::Unreachable(address))?;
        let dialling = self.connect_from(endpoint, identity, address, whom);
        let is_elsewhere = !address.ip().to_canonical().is_loopback();
        let listener = self.listener_for(address).filter(|listener| is_elsewhere && !std::ptr::eq(*listener, endpoint));
        let Some(listener) = listener else { return dialling.await };
        tokio::pin!(dialling);
        if let Ok(connected) = timeout(FROM_LISTENER, &mut dialling).await {
            return connected;
        }
        let also = self.connect_from(listener, identity, address, whom);
        tokio::pin!(also);
        tokio::select! {
            connected = &mut dialling => match connected {
                Ok(connection) => Ok(connection),
                Err(_) => also.await,
            },
            connected = &mut also => match connected {
                Ok(connection) => Ok(connection),
                Err(_) => dialling.await,
            },
        }
    }

    async fn connect_from(
        &self,
        endpoint: &Endpoint,
        identity: &Identity,
        address: SocketAddr,
        whom: Whom,
    ) -> Result<QuicConnection, TransportError> {
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
        let Endpoint { quinn, thread, .. } = endpoint;
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
                let (connection, thread) = (Held::new(connection, None), thread.handle.clone());
                QuicConnection::new(connection, address, thread, (&self.windows, standing), &self.expiry)
            }
        }
    }
}

/// One for each core without a listener, but for the core that is left to the engine and to what hashes and writes: on two cores, another
/// thread for packets takes more time than it saves.
fn dialers(cores: usize, listeners: usize) -> usize {
    cores.saturating_sub(listeners + 1).min(DIALERS)
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

    /// Its firewall lets in what answers, and it dials the listener.
    #[tokio::test]
    async fn a_silent_peer_nearby_is_dialled_from_the_listener_too() {
        let own = if_addrs::get_if_addrs().unwrap_or_default();
        let Some(own) = own.iter().map(|one| one.ip()).find(|ip| ip.is_ipv4() && !ip.is_loopback()) else { return };
        let identity = Identity::generate().unwrap();
        let quic = Quic::bind(Config::new(identity, vec![SocketAddr::new(own, 0)])).unwrap();
        // The turn of an endpoint that only dials, where there are any.
        quic.turn.store(3, Ordering::Relaxed);
        let silent = tokio::net::UdpSocket::bind(SocketAddr::new(own, 0)).await.unwrap();
        let address = silent.local_addr().unwrap();
        let (mut datagram, mut from) = ([0; 2048], Vec::new());
        let heard = async {
            while from.last() != quic.listeners().first() {
                from.push(silent.recv_from(&mut datagram).await.unwrap().1);
            }
        };
        tokio::select! {
            () = heard => {}
            _ = quic.dial(address, PeerId::of_public_key(b"silent")) => panic!("nobody answers"),
        }
        if quic.dialers.get().is_some_and(|dialers| !dialers.is_empty()) {
            assert_ne!(from.first(), quic.listeners().first(), "it is another endpoint's turn at first");
        }
    }

    #[test]
    fn few_cores_have_no_endpoints_that_only_dial() {
        assert_eq!([1, 2, 3, 4, 64].map(|cores| dialers(cores, 1)), [0, 0, 1, 2, DIALERS]);
        assert_eq!(dialers(4, 4), 0);
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
