//! TCP with TLS 1.3: for networks that drop UDP, and for links where the kernel's TCP costs less than QUIC does.
//!
//! A connection is one TLS connection for its affairs (the *control connection*) and as many others (*stream connections*) as it has streams at
//! once; streams take turns on stream connections. So nothing waits behind anything else, each stream has TCP's own flow control, and
//! no byte is copied to be multiplexed. Only the side that dialled opens TCP connections; the other asks for them.

mod accept_error;
mod connection;
mod connection_core;
mod control;
mod dial;
mod door;
#[cfg(test)]
mod hostile;
mod pending_frames;
mod room;
mod shared;
mod socket;
mod sole;
mod stream;
mod stream_connection;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use protocol::{Carried, LegKey, PeerId};
use socket2::{Protocol, Type};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::timeout;

use crate::admission::Admission;
use crate::bind_error::bind_error;
use crate::dual_stack;
use crate::expiry::Expiry;
use crate::handshakes::Handshakes;
use crate::identity::Meant;
use crate::keep_alive;
use crate::thread::NetworkThread;
use crate::{BoxFuture, Config, Connection, Identity, OverRelay, Transport, TransportError, Trust, Whom};
use connection::TcpConnection;
use connection_core::{ConnectionKind, End};
pub(crate) use dial::probe;
use dial::{Dialler, Purpose, Route};
use door::{Arrival, Door, certificate_of, peer_of};
pub use room::most_sockets;
use shared::{Shared, rand_token};

/// Connections that wait to be taken by [`Transport::accept`].
const BACKLOG: usize = 128;
/// The others are told goodbye within this time.
const GOODBYE: Duration = Duration::from_secs(1);
/// Connections that the system holds for us meanwhile, as far as it does; Linux usually grants as many.
const QUEUE: i32 = 4096;

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
        let sockets = Admission::of_sockets(sockets, config.sockets_let_go.clone());
        let shared = Arc::new(Shared::new(sockets, Expiry::new(&config.identity, &config.trust)));
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
            let peer = (peer, ConnectionKind { keep_alive, is_sole });
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
            let cores = self.shared.cores();
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
