//! Where connections come in: a TLS handshake proves who it is, and the first bytes say whether it is a new connection or one more
//! stream connection of one that stands.
//!
//! So many handshakes at most are under way, each has a deadline, and nobody waits behind another's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{LegKey, PeerId};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use super::accept_error::is_of_one;
use super::connection::TcpConnection;
use super::connection_core::ConnectionKind;
use super::dial::{Purpose, Token, WELCOME};
use super::shared::Shared;
use super::socket::Socket;
use crate::handshakes::{Handshake, Handshakes};
use crate::identity::{Meant, offers_our_protocol, peer_id_of};
use crate::shared_port::TrackerDoor;
use crate::turns::in_turns;
use crate::{Legs, keep_alive, relay};

/// After an error of the system (no descriptor is left, say) the next connection is taken only then.
const PAUSE: Duration = Duration::from_millis(50);
/// An accept error is logged at most this often: accept may keep failing for hours.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A fatal alert of TLS before anything is encrypted (RFC 8446, 5.1 and 6; RFC 7301, 3.2).
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];

/// Takes TCP connections and finds out what they are for.
pub(super) struct Door {
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) arrivals: mpsc::Sender<TcpConnection>,
    pub(super) tracker: Option<TrackerDoor>,
    /// Whether connections that come in are a tracker's.
    pub(super) standing: bool,
    pub(super) shared: Arc<Shared>,
    /// Takes legs of others, if this is a relay.
    pub(super) legs: Option<Legs>,
}

/// What a handshake comes over.
pub(super) enum Arrival {
    Socket(TcpStream),
    /// A leg that is still to be opened to a relay.
    Leg {
        relay: SocketAddr,
        key: LegKey,
    },
}

impl Door {
    pub(super) async fn open(self: Arc<Self>, listener: TcpListener, handshakes: Handshakes) {
        let mut said: Option<Instant> = None;
        loop {
            let (socket, from) = match listener.accept().await {
                Ok(arrived) => arrived,
                Err(error) if is_of_one(&error) => {
                    tokio::task::yield_now().await;
                    continue;
                }
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
    pub(super) async fn shake_hands(self: Arc<Self>, arrival: Arrival, from: SocketAddr, mut handshake: Handshake) {
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
                let peer = (peer, ConnectionKind { keep_alive, is_sole: purpose == Purpose::Sole });
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

pub(super) fn peer_of(stream: &TlsStream<Socket>) -> Option<PeerId> {
    peer_id_of(certificate_of(stream)?).ok()
}

pub(super) fn certificate_of(stream: &TlsStream<Socket>) -> Option<&CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates()?.first()
}
