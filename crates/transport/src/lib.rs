//! Authenticated, multiplexed connections between peers, behind two small traits.
//!
//! The seam is kept at the level that the protocol needs: dial an address expecting a [`PeerId`],
//! accept, open and accept bidirectional streams, send [`Bytes`] without copying them, receive into
//! the caller's buffer. Nothing here knows of pieces or manifests. Futures are boxed: at the
//! granularity of pieces that costs nothing that can be measured, and it keeps the seam dynamic,
//! so that a backend is chosen by name at start.
//!
//! No trait has default methods, so that a wrapper which forgets to forward one does not compile.
//!
//! # Example
//!
//! Two peers in one process; a network transport is bound with [`Kind::bind`] and used in the same way:
//!
//! ```
//! use p2p_fileshare_transport::{Connection, MemoryNetwork, PeerId, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), p2p_fileshare_transport::TransportError> {
//! let network = MemoryNetwork::new();
//! let a = network.bind(PeerId::of_public_key(b"a"), vec![([10, 0, 0, 1], 9000).into()])?;
//! let b = network.bind(PeerId::of_public_key(b"b"), vec![([10, 0, 0, 2], 9000).into()])?;
//!
//! let (dialled, accepted) = tokio::join!(a.dial(b.listeners()[0], b.peer_id()), b.accept());
//! let (mut send, _) = dialled?.open().await?;
//! send.send("hello".into()).await?;
//! send.finish()?;
//!
//! let (_, mut recv) = accepted.expect("it is open").accept().await?;
//! let mut hello = [0; 5];
//! p2p_fileshare_transport::frame::read_exact(&mut *recv, &mut hello).await?;
//! assert_eq!(&hello, b"hello");
//! # Ok(())
//! # }
//! ```

mod addresses;
mod admission;
mod auto;
mod bind_error;
pub mod conformance;
mod dual_stack;
mod expiry;
mod forward;
pub mod frame;
mod handshakes;
mod identity;
mod keep_alive;
mod lock;
pub mod memory;
mod pipe;
mod pipe_stream;
mod probe;
mod quic;
mod relay;
mod shared_port;
mod tcp;
mod thread;
mod turns;

pub use addresses::{
    Likelihood, OwnAddress, have_in_common, interface_addresses, is_in_a_network, is_inner_interface, is_near,
    network_bits, own_addresses,
};
pub use auto::Auto;
pub use expiry::{first_expiry, warn_of_expiry};
pub use forward::{ForwardConnection, ForwardTransport};
pub use handshakes::{GivenUp, Handshake, Handshakes};
pub use identity::{
    Authority, CertRequest, Certs, FileChange, Identity, IdentityError, Trust, from_now, holds_private_key,
    peer_id_of_certificate_pem, random,
};
pub use memory::{MemoryNetwork, MemoryTransport};
pub use quic::Quic;
pub use quic::congestion::{Congestion, UnknownCongestion};
pub use quic::kernel::{UdpSupport, first_hop_datagram};
pub use relay::{Leg, Legs, OverRelay, RELAY, legs};
pub use tcp::{Tcp, most_sockets};

pub use shared_port::SharedPort;
use shared_port::TrackerDoor;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
// Every transport names peers: one crate is enough to write another.
pub use protocol::PeerId;
use protocol::{DecodeError, EncodeError};
use tokio::task::JoinHandle;

/// A boxed future, as every asynchronous method of the seam returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Both halves of one bidirectional stream.
pub type Stream = (Box<dyn SendStream>, Box<dyn RecvStream>);

/// How a network transport is set up.
///
/// ```
/// use p2p_fileshare_transport::{Config, Congestion, Identity};
///
/// let config = Config::new(Identity::generate()?, vec![([127, 0, 0, 1], 0).into()]).congestion(Congestion::Cubic);
/// # Ok::<(), p2p_fileshare_transport::IdentityError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// Who we are.
    pub identity: Identity,
    /// Whom we talk to.
    pub trust: Trust,
    /// Where to listen. Port 0 takes any free one.
    pub listeners: Vec<SocketAddr>,
    /// The largest QUIC datagram to try, in bytes of UDP payload; what the route to each address has if not given.
    pub mtu: Option<u16>,
    /// QUIC streams that the other side of each connection may have open at once. Each takes memory even if it is not
    /// open.
    pub streams: u32,
    /// What decides how fast QUIC sends. TCP has the kernel's.
    pub congestion: Congestion,
    /// Connections that come in stand for long and carry little: a tracker's.
    pub standing: bool,
    /// Most sockets of incoming connections over TCP; a part of what the process may open if not given.
    pub sockets: Option<usize>,
    /// Sockets that were closed for others so far.
    pub(crate) sockets_let_go: Arc<AtomicU64>,
    /// A tracker that listens on the same ports.
    pub(crate) tracker: Option<TrackerDoor>,
    /// Where legs of relayed connections go that come to the TCP listeners, if this is a relay.
    pub legs: Option<Legs>,
}

impl Config {
    /// Listens on these addresses as this identity, in an open swarm.
    pub fn new(identity: Identity, listeners: Vec<SocketAddr>) -> Self {
        let (streams, congestion) = (quic::STREAMS, Congestion::default());
        Config {
            identity,
            trust: Trust::Anyone,
            listeners,
            mtu: None,
            streams,
            congestion,
            standing: false,
            sockets: None,
            sockets_let_go: Arc::default(),
            tracker: None,
            legs: None,
        }
    }

    /// Listens here instead.
    pub fn listeners(mut self, listeners: Vec<SocketAddr>) -> Self {
        self.listeners = listeners;
        self
    }

    /// Deals only with these peers.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Tries datagrams of at most so many bytes.
    pub fn mtu(mut self, mtu: Option<u16>) -> Self {
        self.mtu = mtu;
        self
    }

    /// Lets the other side of each connection have so many QUIC streams open at once.
    pub fn streams(mut self, streams: u32) -> Self {
        self.streams = streams;
        self
    }

    /// Takes connections as a tracker does: thousands that stand for long and carry little. Each takes as little memory as it can, and its other
    /// end keeps it alive.
    pub fn standing(mut self, standing: bool) -> Self {
        self.standing = standing;
        self
    }

    /// Holds at most so many sockets of incoming connections over TCP.
    pub fn sockets(mut self, sockets: Option<usize>) -> Self {
        self.sockets = sockets;
        self
    }

    /// Counts the sockets of incoming connections over TCP that what is bound with this, or with clones of it, has closed or refused
    /// because there was no room for more.
    pub fn sockets_let_go(&self) -> Arc<AtomicU64> {
        self.sockets_let_go.clone()
    }

    /// Hands legs of relayed connections on to a relay.
    pub fn legs(mut self, legs: Option<Legs>) -> Self {
        self.legs = legs;
        self
    }

    /// Lets this decide how fast QUIC sends.
    pub fn congestion(mut self, congestion: Congestion) -> Self {
        self.congestion = congestion;
        self
    }
}

/// The network transports, as flags name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// QUIC, and TCP where QUIC gets no answer.
    Auto,
    /// QUIC only.
    Quic,
    /// TCP only.
    Tcp,
}

impl Kind {
    /// Binds every listener, or none. With [`Trust::Anyone`], everyone who can reach a listener may connect.
    pub fn bind(self, config: Config) -> Result<Arc<dyn Transport>, TransportError> {
        Ok(match self {
            Kind::Auto => Arc::new(Auto::bind(config)?),
            Kind::Quic => Arc::new(Quic::bind(config)?),
            Kind::Tcp => Arc::new(Tcp::bind(config)?),
        })
    }

    /// Binds every listener, or none, for a peer and for a tracker. A dialler says which of the two it means
    /// ([`Transport::dial_tracker`]).
    pub fn bind_with_tracker(self, config: Config, tracker: Identity) -> Result<SharedPort, TransportError> {
        shared_port::bind(self, config, tracker)
    }
}

/// The name is no network transport's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown transport {0:?}: use auto, quic or tcp")]
pub struct UnknownTransport(String);

impl FromStr for Kind {
    type Err = UnknownTransport;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Kind::Auto),
            "quic" => Ok(Kind::Quic),
            "tcp" => Ok(Kind::Tcp),
            _ => Err(UnknownTransport(name.to_owned())),
        }
    }
}

/// Whom a dialler means. An id may be abbreviated ([`PeerId::answers_to`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The peer of this id.
    Peer(PeerId),
    /// Any peer; a tracker that shares its port is not meant. Say nothing secret over the connection until the other side has proven in
    /// another way that it is the right one.
    AnyPeer,
    /// The tracker of this id: a peer may listen on the same port.
    Tracker(PeerId),
}

impl Whom {
    /// The id that the other side has to prove, if it is known.
    pub fn expected(self) -> Option<PeerId> {
        match self {
            Whom::Peer(id) | Whom::Tracker(id) => Some(id),
            Whom::AnyPeer => None,
        }
    }
}

/// A way to reach peers: a set of listeners that also dials.
pub trait Transport: Send + Sync {
    /// The name by which it is chosen (`quic`, `memory`).
    fn name(&self) -> &'static str;
    /// The identity that this side proves to everyone.
    fn peer_id(&self) -> PeerId;
    /// The addresses that are listened on, one a listener, in order of their ports.
    fn listeners(&self) -> Vec<SocketAddr>;
    /// Connects to `addr`, and fails unless the other side proves that it is whom is meant.
    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>>;
    /// Reaches [`Whom::Peer`].
    fn dial(&self, addr: SocketAddr, expect: PeerId) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        self.reach(addr, Whom::Peer(expect))
    }
    /// Reaches [`Whom::AnyPeer`].
    fn dial_anyone(&self, addr: SocketAddr) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        self.reach(addr, Whom::AnyPeer)
    }
    /// Reaches [`Whom::Tracker`].
    fn dial_tracker(
        &self,
        addr: SocketAddr,
        expect: PeerId,
    ) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        self.reach(addr, Whom::Tracker(expect))
    }
    /// The next connection that someone opened to any listener; `None` once closed.
    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>>;
    /// What connects through relays; nothing if this transport cannot.
    fn over_relay(&self) -> Option<&dyn OverRelay>;
    /// Closes every connection and listener and waits, for a bounded time, until the others know.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// One authenticated connection.
pub trait Connection: Send + Sync {
    /// The peer at the other end; proven by the handshake.
    fn peer_id(&self) -> PeerId;
    /// The name of what carries it (`quic`, `tcp`, `memory`, or `relay`).
    fn transport(&self) -> &'static str;
    /// Where the other end is, as the handshake has proved; it stays so for as long as the connection stands.
    fn remote_addr(&self) -> SocketAddr;
    /// 32 bytes that both ends have and nobody else can: equal at both ends, another one for each connection and label. What is
    /// proven over them holds for this connection alone (RFC 5705; RFC 8446, 7.5).
    fn exporter(&self, label: &str) -> Result<[u8; 32], TransportError>;
    /// Opens a stream. The other side sees it once something was sent.
    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>>;
    /// The next stream that the other side opened.
    fn accept(&self) -> BoxFuture<'_, Result<Stream, TransportError>>;
    /// Runs a task where this connection's packets are handled, so that what comes and goes passes from one to the
    /// other without a switch of threads. The task must never block.
    fn spawn(&self, task: BoxFuture<'static, ()>) -> JoinHandle<()>;
    /// Round trip and counters so far.
    fn stats(&self) -> LinkStats;
    /// Asks the other end for a sign of life, without waiting for it: it counts among the bytes that [`stats`](Connection::stats) says
    /// were received.
    fn ping(&self);
    /// Ends the connection at once; the other side sees `code` and `reason`.
    fn close(&self, code: u32, reason: &str);
    /// Waits until the connection has ended, on either side, and says why.
    fn closed(&self) -> BoxFuture<'_, TransportError>;
}

/// The sending half of a stream. Dropping it unfinished resets the stream: the other side must
/// never take half an answer for a whole one.
pub trait SendStream: Send {
    /// Sends all of `data`, waiting for flow control; the buffer is handed on, not copied.
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>>;
    /// Says that nothing more comes.
    fn finish(&mut self) -> Result<(), TransportError>;
    /// Gives up; the other side sees `code`.
    fn reset(&mut self, code: u32);
}

/// The receiving half of a stream. Dropping it tells the other side to stop.
pub trait RecvStream: Send {
    /// Receives at least one byte into `buf`, or 0 at the end of the stream (or for an empty `buf`).
    fn recv<'a>(&'a mut self, buf: &'a mut [u8]) -> BoxFuture<'a, Result<usize, TransportError>>;
    /// Asks the other side to stop sending; it sees `code`.
    fn stop(&mut self, code: u32);
}

/// Figures of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Current estimate of the round trip.
    pub rtt: Duration,
    /// Bytes sent, with all overhead that the transport knows of.
    pub sent: u64,
    /// Bytes received, likewise.
    pub received: u64,
    /// Packets declared lost.
    pub lost: u64,
    /// The largest datagram that the path was found to carry so far, in bytes of UDP payload; none where bytes flow.
    pub datagram: Option<u16>,
    /// Whether what the other end sends comes from another address or port than in the handshake: its network has changed, or a
    /// router on the way has forgotten it, or it pretends so.
    pub moved: bool,
}

/// Why something on the network did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The other side did not answer in time.
    #[error("no answer from {0}")]
    Unreachable(SocketAddr),
    /// The other side proved to be someone else than expected.
    #[error("{addr} is not the expected peer {expected}")]
    WrongPeer {
        /// The address that was dialled.
        addr: SocketAddr,
        /// Who should have been there.
        expected: PeerId,
    },
    /// The handshake failed: the other side's certificate will not do, or it speaks another protocol.
    #[error("handshake refused: {0}")]
    Handshake(String),
    /// The other side's certificate is not taken here.
    #[error("{0}")]
    NotTrusted(Untrusted),
    /// The other side does not take our certificate.
    #[error("the other side rejects our certificate: {0}")]
    NotAdmitted(&'static str),
    /// The connection was closed by the other side with a code.
    #[error("connection closed by the other side (code {code}): {reason}")]
    ClosedByPeer {
        /// The code it gave.
        code: u32,
        /// The reason it gave.
        reason: String,
    },
    /// The relay does not carry the connection, and says why.
    #[error("no address answers, and {0}")]
    NotCarried(String),
    /// The connection was closed on this side.
    #[error("connection closed on this side")]
    Closed,
    /// The connection died: nothing was heard for too long, or the other side forgot it.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The stream was reset by the sender, or stopped by the receiver, with this code.
    #[error("stream reset (code {0})")]
    Reset(u32),
    /// A length prefix claimed more than the cap.
    #[error("frame of {0} bytes is over the limit")]
    FrameTooLong(usize),
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame")]
    Truncated,
    /// The other side did not take, or send, something in time.
    #[error("{0} timed out")]
    TimedOut(&'static str),
    /// What came in a frame is no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message cannot be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The address is in use already.
    #[error("address {0} is in use")]
    AddressInUse(SocketAddr),
    /// The port of the address is for privileged programs.
    #[error("port {} is for privileged programs", .0.port())]
    PrivilegedPort(SocketAddr),
    /// This process, or all together, have as many files and sockets open as they may.
    #[error("{0}")]
    TooManyOpen(String),
    /// The operating system refused something else.
    #[error("{0}")]
    Io(String),
}

impl TransportError {
    /// Whether somebody answers there, and no handshake comes of it: another try ends in the same way.
    pub fn is_failed_handshake(&self) -> bool {
        matches!(self, TransportError::Handshake(_) | TransportError::NotTrusted(_))
    }
}

/// Why the other side's certificate is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// A CA has signed it, and this side trusts none: it is of a closed swarm, and this side takes part in open ones.
    #[error("its swarm is closed, and this side was given no CA of it")]
    ClosedSwarm,
    /// None of the trusted CAs has signed it.
    #[error("its certificate is not of a CA that is trusted here")]
    OtherCa,
    /// It is expired, or not valid yet.
    #[error("its certificate is expired, or not valid yet")]
    OutOfDate,
}
