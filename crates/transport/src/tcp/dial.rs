//! Reaching a peer over TCP: the first time for the control connection, and then for stream connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::{PeerId, RelayKey};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use super::socket::Socket;
use crate::handshakes::HANDSHAKE;
use crate::identity::{Meant, SERVER_NAME, not_admitted, not_taken, probing_tls};
use crate::{TransportError, Trust, relay};

/// An address that was silent for this long is given up.
const SILENCE: Duration = Duration::from_millis(2500);
/// What the other side says when it has taken a control connection: until then it may still refuse our certificate.
pub(super) const WELCOME: u8 = 1;

/// What a TLS connection is for, as its dialler says in its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The control connection of a new connection.
    Control = 0,
    /// A stream connection for streams of the dialler.
    Theirs = 1,
    /// A stream connection for streams of the side that was dialled.
    Yours = 2,
    /// The control connection of a new connection that has no others, and one stream.
    Sole = 3,
}

impl Purpose {
    pub(super) fn of(byte: u8) -> Option<Self> {
        [Purpose::Control, Purpose::Theirs, Purpose::Yours, Purpose::Sole]
            .into_iter()
            .find(|purpose| *purpose as u8 == byte)
    }
}

/// Names a connection to the side that was dialled; nobody else ever sees it.
pub(super) type Token = [u8; 16];

/// How a peer is reached.
pub(super) enum Route {
    Direct,
    /// Through legs to a relay; `opened` counts those opened so far.
    Relayed {
        relay: SocketAddr,
        key: RelayKey,
        opened: AtomicU32,
    },
}

/// Dials one certain peer at one address, or who answers there first.
pub(super) struct Dialler {
    pub(super) route: Route,
    pub(super) address: SocketAddr,
    pub(super) expected: Option<PeerId>,
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// Whom `tls` lets in.
    pub(super) trust: Trust,
    /// Told who answered instead, if someone else did.
    pub(super) found: Arc<OnceLock<PeerId>>,
    pub(super) token: Token,
}

impl Dialler {
    /// One more TLS connection to the peer. A control connection is known to be taken.
    pub(super) async fn dial(&self, purpose: Purpose) -> Result<TlsStream<Socket>, TransportError> {
        let unreachable = || TransportError::Unreachable(self.address);
        let socket = match &self.route {
            Route::Direct => {
                let socket = timeout(SILENCE, TcpStream::connect(self.address)).await.map_err(|_| unreachable())?;
                socket.map_err(|_| unreachable())?
            }
            Route::Relayed { relay, key, opened } => {
                relay::open(*relay, key.leg(opened.fetch_add(1, Ordering::Relaxed))).await?
            }
        };
        let _ = socket.set_nodelay(true);
        timeout(HANDSHAKE, self.shake_hands(socket, purpose)).await.map_err(|_| unreachable())?.map_err(|error| {
            let addr = self.address;
            if let (Some(_), Some(expected)) = (self.found.get(), self.expected) {
                return TransportError::WrongPeer { addr, expected };
            }
            match refusal(&error) {
                // What is left of a peer that opens no leg.
                None if matches!(self.route, Route::Relayed { .. }) && is_cut(&error) => unreachable(),
                Some(reason) => TransportError::NotAdmitted(reason),
                None => failed(&error, &self.trust),
            }
        })
    }

    async fn shake_hands(&self, socket: TcpStream, purpose: Purpose) -> std::io::Result<TlsStream<Socket>> {
        let name = ServerName::try_from(SERVER_NAME).expect("it is a name");
        let mut stream = TlsConnector::from(self.tls.clone()).connect(name, Socket::new(socket)).await?;
        if Meant::by(stream.get_ref().1.alpn_protocol()).is_none() {
            return Err(std::io::Error::other("it speaks another protocol"));
        }
        let mut greeting = vec![purpose as u8];
        greeting.extend_from_slice(&self.token);
        stream.write_all(&greeting).await?;
        stream.flush().await?;
        if matches!(purpose, Purpose::Control | Purpose::Sole) && stream.read_u8().await? != WELCOME {
            return Err(std::io::Error::other("it did not say welcome"));
        }
        Ok(stream.into())
    }
}

/// Who answers at an address. Nothing is said there, and no connection comes of it.
pub(crate) async fn probe(address: SocketAddr, trust: &Trust) -> Result<PeerId, TransportError> {
    let unreachable = || TransportError::Unreachable(address);
    let proven = Arc::new(OnceLock::new());
    let tls = probing_tls(trust, proven.clone()).map_err(|error| TransportError::Handshake(error.to_string()))?;
    let socket = timeout(SILENCE, TcpStream::connect(address)).await.map_err(|_| unreachable())?;
    let socket = socket.map_err(|_| unreachable())?;
    let name = ServerName::try_from(SERVER_NAME).expect("it is a name");
    let ended = timeout(HANDSHAKE, TlsConnector::from(Arc::new(tls)).connect(name, socket)).await;
    match (proven.get(), ended) {
        (Some(&id), _) => Ok(id),
        (None, Err(_)) => Err(unreachable()),
        (None, Ok(Err(error))) => Err(failed(&error, trust)),
        (None, Ok(Ok(_))) => Err(TransportError::Handshake("it has proven no key".to_owned())),
    }
}

/// Whether nobody has said why it ended.
fn is_cut(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// What the other side has against our certificate, if that is why it ended.
fn refusal(error: &std::io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => not_admitted(*alert),
        _ => None,
    }
}

/// Why a handshake failed that the other side has not refused.
fn failed(error: &std::io::Error, trust: &Trust) -> TransportError {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    let untrusted = match tls {
        Some(rustls::Error::InvalidCertificate(error)) => not_taken(error.clone().into(), trust),
        _ => None,
    };
    untrusted.map_or_else(|| TransportError::Handshake(error.to_string()), TransportError::NotTrusted)
}
