//! TCP with TLS 1.3: for networks that drop UDP, and for links where the kernel's TCP costs less than QUIC does.
//!
//! A connection is one TLS connection for its affairs (the *control connection*) and as many others (*stream connections*) as it has streams at
//! once; streams take turns on stream connections. So nothing waits behind anything else, each stream has TCP's own flow control, and
//! no byte is copied to be multiplexed. Only the side that dialled opens TCP connections; the other asks for them.

mod connection;
mod connection_core;
mod control;
mod dial;
#[cfg(test)]
mod hostile;
mod room;
mod socket;
mod sole;
mod stream;
mod stream_connection;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use protocol::{Carried, LegKey, PeerId};
use rustls::pki_types::CertificateDer;
use socket2::{Protocol, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use crate::admission::Admission;
use crate::bind_error::bind_error;
use crate::dual_stack;
use crate::expiry::{self, Expiry};
use crate::handshakes::{Handshake, Handshakes};
use crate::identity::{Meant, offers_our_protocol, peer_id_of};
use crate::keep_alive;
use crate::shared_port::TrackerDoor;
use crate::thread::NetworkThread;
use crate::turns::in_turns;
use crate::{BoxFuture, Config, Connection, Identity, Legs, OverRelay, Transport, TransportError, Trust, Whom, relay};
use connection::TcpConnection;
use connection_core::{Core, End, Kind, Share};
pub(crate) use dial::probe;
use dial::{Dialler, Purpose, Route, Token, WELCOME};
pub use room::most_sockets;
use socket::Socket;

/// Connections that wait to be taken by [`Transport::accept`].
const BACKLOG: usize = 128;
/// The others are told goodbye within this time.
const GOODBYE: Duration = Duration::from_secs(1);
/// After an error of the system (no descriptor is left, say) the next connection is taken only then.
const PAUSE: Duration = Duration::from_millis(50);
/// An accept error is logged at most this often: accept may keep failing for hours.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Connections that the system holds for us meanwhile, as far as it does; Linux usually grants as many.
const QUEUE: i32 = 4096;

/// A fatal alert of TLS before anything is encrypted (RFC 8446, 5.1 and 6; RFC 7301, 3.2).
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];

/// TCP listeners, each with a thread of its own, that also dial.
pub struct Tcp {
    identity: Identity,
    trust: Trust,
    listeners: Vec<(SocketAddr, NetworkThread)>,
    turn: AtomicUsize,
    shared: Arc<Shared>,
    handshakes: Handshakes,
    /// Where legs of ours are received; it is there while the listeners are.
    door: Weak<Door>,
    accepted: AsyncMutex<mpsc::Receiver<TcpConnection>>,
}

/// What listeners and diallers know of connections.
struct Shared {
    by_token: Mutex<ByToken>,
    /// Sockets of connections that stand, as far as others wanted them.
    sockets: Arc<Admission>,
    connections: AtomicU64,
    expiry: Expiry,
    /// Control connections that run.
    running: watch::Sender<usize>,
    closed: watch::Sender<bool>,
}

/// Connections by what names them; those that are gone, too, for a while.
#[derive(Default)]
struct ByToken {
    cores: HashMap<Token, Weak<Core>>,
    /// So many are there when those that are gone are taken out next: to look at all of them for each that comes would take longer the
    /// more there are.
    sweep: usize,
}

impl ByToken {
    /// False if there is one of this token.
    fn add(&mut self, token: Token, core: &Arc<Core>) -> bool {
        if self.cores.len() >= self.sweep {
            self.cores.retain(|_, core| core.strong_count() > 0);
            self.sweep = 2 * self.cores.len() + 16;
        }
        let is_free = self.cores.get(&token).is_none_or(|core| core.strong_count() == 0);
        if is_free {
            self.cores.insert(token, Arc::downgrade(core));
        }
        is_free
    }
}

impl Shared {
    /// Knows a connection, so that its stream connections find it, and it is closed with everything.
    fn add(&self, token: Token, core: &Arc<Core>) -> bool {
        self.by_token.lock().expect("no panic holds it").add(token, core)
    }

    /// Closes a connection when a certificate of it ends.
    fn watch(&self, core: &Arc<Core>, thread: &Handle, until: Option<SystemTime>) {
        let watched = Arc::downgrade(core);
        self.expiry.watch(thread, until, move |over| {
            let standing = watched.upgrade().filter(|core| core.end().is_none());
            if let Some(core) = standing.as_ref().filter(|_| over) {
                core.finish(End::Local { code: 1, reason: expiry::REASON.to_owned() });
            }
            over || standing.is_none()
        });
    }

    fn share(&self, remote: SocketAddr, relayed: bool) -> Share {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        Share { sockets: self.sockets.clone(), number, remote, relayed }
    }

    fn find(&self, token: &Token) -> Option<Arc<Core>> {
        self.by_token.lock().expect("no panic holds it").cores.get(token)?.upgrade()
    }
}

impl Tcp {
    /// Binds every listener, or none.
    pub fn bind(config: Config) -> Result<Self, TransportError> {
        let room = room::room(config.sockets);
        Self::bind_within(config, room)
    }

    /// With room for so many handshakes and sockets.
    fn bind_within(config: Config, (handshakes, sockets): (usize, usize)) -> Result<Self, TransportError> {
        let tracker = config.tracker.as_ref().map(|tracker| &tracker.identity);
        let tls = config
            .identity
            .server_tls(&config.trust, tracker)
            .map_err(|error| TransportError::Io(error.to_string()))?;
        let tls = Arc::new(tls);
        let (arrivals, accepted) = mpsc::channel(BACKLOG);
        let shared = Arc::new(Shared {
            by_token: Mutex::default(),
            sockets: Admission::of_sockets(sockets, config.sockets_let_go.clone()),
            connections: AtomicU64::new(0),
            expiry: Expiry::new(&config.identity, &config.trust),
            running: watch::Sender::new(0),
            closed: watch::Sender::new(false),
        });
        let handshakes = Handshakes::new(handshakes);
        let Config { tracker, standing, legs, .. } = config;
        let door = Arc::new(Door { tls, arrivals, tracker, standing, shared: shared.clone(), legs });
        let mut listeners = Vec::new();
        for (number, &address) in config.listeners.iter().enumerate() {
            let error = |error: io::Error| bind_error(address, &error);
            let thread = NetworkThread::start(format!("tcp-{number}")).map_err(error)?;
            let (listener, bound) = {
                let _context = thread.handle.enter();
                let listener = TcpListener::from_std(bind(address).map_err(error)?).map_err(error)?;
                let bound = listener.local_addr().map_err(error)?;
                (listener, bound)
            };
            thread.handle.spawn(door.clone().open(listener, handshakes.clone()));
            listeners.push((bound, thread));
        }
        if listeners.is_empty() {
            return Err(TransportError::Io("at least one listener is needed".to_owned()));
        }
        let accepted = AsyncMutex::new(accepted);
        let (identity, trust) = (config.identity, config.trust);
        Ok(Tcp {
            identity,
            trust,
            listeners,
            turn: AtomicUsize::new(0),
            shared,
            handshakes,
            door: Arc::downgrade(&door),
            accepted,
        })
    }

    /// Dials a tracker as someone else than this transport is: so one process can be thousands of peers, as a measurement needs.
    pub async fn dial_tracker_as(
        &self,
        identity: &Identity,
        addr: SocketAddr,
        expect: PeerId,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        Ok(Arc::new(self.connect(identity, addr, Whom::Tracker(expect), Route::Direct).await?))
    }

    async fn connect(
        &self,
        identity: &Identity,
        address: SocketAddr,
        whom: Whom,
        route: Route,
    ) -> Result<TcpConnection, TransportError> {
        if *self.shared.closed.borrow() {
            return Err(TransportError::Closed);
        }
        let found = Arc::new(OnceLock::new());
        let tls = identity.client_tls(&self.trust, whom, found.clone());
        let tls = Arc::new(tls.map_err(|error| TransportError::Handshake(error.to_string()))?);
        let token = rand_token();
        let relayed = matches!(route, Route::Relayed { .. });
        let trust = self.trust.clone();
        let dialler = Dialler { route, address, expected: whom.expected(), tls, trust, found, token };
        let thread = self.next_thread();
        let (shared, running) = (self.shared.clone(), self.shared.running.clone());
        let task = thread.clone().spawn(async move {
            let meant = Meant::from(whom);
            let sole = match meant {
                // Who cuts it off knows only the other way.
                Meant::Tracker => match dialler.dial(Purpose::Sole).await {
                    Err(TransportError::Handshake(_)) => None,
                    dialled => Some(dialled?),
                },
                Meant::Peer => None,
            };
            let is_sole = sole.is_some();
            let control = match sole {
                Some(control) => control,
                None => dialler.dial(Purpose::Control).await?,
            };
            let nobody = || TransportError::Handshake("no certificate".to_owned());
            let peer = peer_of(&control).ok_or_else(nobody)?;
            let (share, until) = (shared.share(address, relayed), shared.expiry.with(certificate_of(&control)));
            let keep_alive = if meant == Meant::Tracker { keep_alive::TO_TRACKER } else { keep_alive::PEERS };
            let peer = (peer, Kind { keep_alive, is_sole });
            let (connection, core) = TcpConnection::start(control, peer, share, Some(dialler), thread.clone(), running);
            shared.watch(&core, &thread, until);
            shared.add(token, &core);
            Ok(connection)
        });
        task.await.unwrap_or(Err(TransportError::Closed))
    }

    /// The listeners' threads take turns.
    fn next_thread(&self) -> Handle {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.listeners[turn % self.listeners.len()].1.handle.clone()
    }
}

impl OverRelay for Tcp {
    fn dial_through(
        &self,
        relay: SocketAddr,
        carried: Carried,
        expect: PeerId,
    ) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        let route = Route::Relayed { relay, key: carried.key, opened: AtomicU32::new(0) };
        Box::pin(async move {
            let connection = self.connect(&self.identity, carried.address, Whom::Peer(expect), route).await?;
            Ok(Arc::new(connection) as Arc<dyn Connection>)
        })
    }

    fn accept_leg(&self, relay: SocketAddr, from: SocketAddr, key: LegKey) {
        // They count as the relay's: it says itself where they come from, and could have all places with addresses that it makes up.
        let (Some(door), Some(handshake)) = (self.door.upgrade(), self.handshakes.begin(relay.ip())) else { return };
        self.next_thread().spawn(door.shake_hands(Arrival::Leg { relay, key }, from, handshake));
    }
}

/// Nobody can guess it: 128 bits of the TLS provider's randomness.
fn rand_token() -> Token {
    let mut token = [0; 16];
    crate::identity::random(&mut token);
    token
}

/// The same listeners with ports that are free for TCP now, where any will do.
pub(crate) fn choose_ports(listeners: &[SocketAddr]) -> Vec<SocketAddr> {
    // All are held until each has its own.
    let mut held = Vec::new();
    let mut chosen = listeners.to_vec();
    for address in chosen.iter_mut().filter(|address| address.port() == 0) {
        if let Ok(listener) = bind(*address)
            && let Ok(bound) = listener.local_addr()
        {
            address.set_port(bound.port());
            held.push(listener);
        }
    }
    chosen
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let (socket, address) = dual_stack::open(address, Type::STREAM, Protocol::TCP)?;
    // Elsewhere this would let two programs share a port; on Unix it lets one start again at once.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(QUEUE)?;
    Ok(socket.into())
}

/// Takes TCP connections and finds out what they are for.
struct Door {
    tls: Arc<rustls::ServerConfig>,
    arrivals: mpsc::Sender<TcpConnection>,
    tracker: Option<TrackerDoor>,
    /// Whether connections that come in are a tracker's.
    standing: bool,
    shared: Arc<Shared>,
    /// Takes legs of others, if this is a relay.
    legs: Option<Legs>,
}

/// What a handshake comes over.
enum Arrival {
    Socket(TcpStream),
    /// A leg that is still to be opened to a relay.
    Leg {
        relay: SocketAddr,
        key: LegKey,
    },
}

impl Door {
    async fn open(self: Arc<Self>, listener: TcpListener, handshakes: Handshakes) {
        let mut said: Option<Instant> = None;
        loop {
            let (socket, from) = match listener.accept().await {
                Ok(arrived) => arrived,
                Err(error) => {
                    if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
                        tracing::warn!(%error, "no connection over TCP can be taken");
                        said = Some(Instant::now());
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Only the one that came too fast is turned away: those behind it in the queue may be of other addresses.
            let Some(handshake) = handshakes.begin(from.ip()) else {
                tracing::debug!(%from, "too many handshakes from there");
                continue;
            };
            tokio::spawn(self.clone().shake_hands(Arrival::Socket(socket), from, handshake));
        }
    }

    /// The place is held until a connection is taken: who waits in that queue is bounded too.
    async fn shake_hands(self: Arc<Self>, arrival: Arrival, from: SocketAddr, mut handshake: Handshake) {
        match handshake.run(in_turns(self.receive(arrival, from))).await {
            Ok(Ok(Some((connection, meant)))) => {
                handshake.is_done();
                match self.tracker_meant(meant) {
                    Some(tracker) => {
                        let _ = handshake.run(tracker.arrivals.send(Arc::new(connection))).await;
                    }
                    None => drop(handshake.run(self.arrivals.send(connection)).await),
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::debug!(%error, %from, "handshake"),
            Err(given_up) => tracing::debug!(%given_up, %from, "handshake"),
        }
    }

    fn tracker_meant(&self, meant: Meant) -> Option<&TrackerDoor> {
        self.tracker.as_ref().filter(|_| meant == Meant::Tracker)
    }

    /// A new connection and whom it is for, or nothing if it was a stream connection of one that stands, or a leg of others.
    async fn receive(&self, arrival: Arrival, from: SocketAddr) -> io::Result<Option<(TcpConnection, Meant)>> {
        let relayed = matches!(arrival, Arrival::Leg { .. });
        let socket = match arrival {
            Arrival::Leg { relay, key } => relay::open(relay, key).await.map_err(io::Error::other)?,
            Arrival::Socket(socket) => {
                let _ = socket.set_nodelay(true);
                match &self.legs {
                    Some(legs) => match legs.take(socket, from).await? {
                        Some(socket) => socket,
                        None => return Ok(None),
                    },
                    None => socket,
                }
            }
        };
        let (mut stream, meant) = self.prove(Socket::new(socket)).await?;
        let peer = peer_of(&stream).ok_or_else(|| io::Error::other("no certificate"))?;
        let (mut purpose, mut token) = ([0], Token::default());
        stream.read_exact(&mut purpose).await?;
        stream.read_exact(&mut token).await?;
        let standing = self.standing || self.tracker_meant(meant).is_some();
        let purpose = Purpose::of(purpose[0]).filter(|purpose| standing || *purpose != Purpose::Sole);
        match purpose.ok_or_else(|| io::Error::other("unknown purpose"))? {
            purpose @ (Purpose::Control | Purpose::Sole) => {
                stream.write_u8(WELCOME).await?;
                stream.flush().await?;
                let (share, running) = (self.shared.share(from, relayed), self.shared.running.clone());
                let expiry = self.tracker_meant(meant).map_or(&self.shared.expiry, |tracker| &tracker.expiry);
                let until = expiry.with(certificate_of(&stream));
                let keep_alive = match standing {
                    true => keep_alive::of_tracker(self.shared.sockets.taken()),
                    false => keep_alive::PEERS,
                };
                let peer = (peer, Kind { keep_alive, is_sole: purpose == Purpose::Sole });
                let (connection, core) = TcpConnection::start(stream, peer, share, None, Handle::current(), running);
                self.shared.watch(&core, &Handle::current(), until);
                match self.shared.add(token, &core) {
                    true => Ok(Some((connection, meant))),
                    false => Err(io::Error::other("the connection is known already")),
                }
            }
            purpose => {
                let core = self.shared.find(&token).filter(|core| core.peer == peer && core.sole.is_none());
                core.ok_or_else(|| io::Error::other("it belongs to no connection"))?
                    .stream_connection_came(stream, purpose);
                Ok(None)
            }
        }
    }

    /// The TLS handshake. A peer that does not offer our protocol hears so, and nothing else.
    async fn prove(&self, socket: Socket) -> io::Result<(TlsStream<Socket>, Meant)> {
        let begun = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await?;
        if !offers_our_protocol(&begun.client_hello()) {
            let mut socket = begun.io;
            socket.write_all(&NO_APPLICATION_PROTOCOL).await?;
            return Err(io::Error::other("it speaks another protocol"));
        }
        let stream = begun.into_stream(self.tls.clone()).await?;
        match Meant::by(stream.get_ref().1.alpn_protocol()) {
            Some(meant) => Ok((stream.into(), meant)),
            None => Err(io::Error::other("it speaks another protocol")),
        }
    }
}

fn peer_of(stream: &TlsStream<Socket>) -> Option<PeerId> {
    peer_id_of(certificate_of(stream)?).ok()
}

fn certificate_of(stream: &TlsStream<Socket>) -> Option<&CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates()?.first()
}

impl Transport for Tcp {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(bound, _)| *bound).collect()
    }

    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move {
            Ok(Arc::new(self.connect(&self.identity, addr, whom, Route::Direct).await?) as Arc<dyn Connection>)
        })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move {
            let connection = self.accepted.lock().await.recv().await?;
            Some(Arc::new(connection) as Arc<dyn Connection>)
        })
    }

    fn over_relay(&self) -> Option<&dyn OverRelay> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.closed.send_replace(true);
            let cores: Vec<_> = {
                let by_token = self.shared.by_token.lock().expect("no panic holds it");
                by_token.cores.values().filter_map(Weak::upgrade).collect()
            };
            for core in &cores {
                core.finish(End::Local { code: 0, reason: "goodbye".to_owned() });
            }
            let mut running = self.shared.running.subscribe();
            let _ = timeout(GOODBYE, running.wait_for(|running| *running == 0)).await;
            for (_, thread) in &self.listeners {
                thread.stop().await;
            }
        })
    }
}
