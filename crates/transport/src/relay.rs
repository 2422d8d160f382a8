//! Connections through a relay, which couples TCP connections of two peers that cannot reach each other.
//!
//! Each peer opens a *leg* to the relay for every TLS connection that it would otherwise open to the other peer, and says a key
//! first. From then on the relay passes bytes on. The TLS between the peers is the same as without it: the relay sees what
//! they encrypt, and how much of it, and nothing else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Carried, LEG_MARK, LegKey, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::{BoxFuture, Connection, TransportError};

/// What [`Connection::transport`] says of a connection through a relay.
pub const RELAY: &str = "relay";
/// A relay that is silent for this long is given up.
const SILENCE: Duration = Duration::from_millis(2500);
/// Legs that may wait for the relay's owner to take them.
const WAITING: usize = 256;

/// What a transport does that can connect through a relay.
pub trait OverRelay: Send + Sync {
    /// Connects through the relay at this address, and fails unless the other side proves that it is `expect`.
    fn dial_through(
        &self,
        relay: SocketAddr,
        carried: Carried,
        expect: PeerId,
    ) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>>;
    /// Opens a leg for a peer that is seen at `from`. What comes of it is accepted as what comes to a listener is.
    fn accept_leg(&self, relay: SocketAddr, from: SocketAddr, key: LegKey);
}

/// A leg that has come to a transport whose owner is a relay.
#[derive(Debug)]
pub struct Leg {
    /// What it began with.
    pub key: LegKey,
    /// What comes behind that.
    pub socket: TcpStream,
    /// Where it comes from.
    pub from: SocketAddr,
    /// Where its packets are handled.
    pub thread: Handle,
}

/// Hands legs to the relay.
#[derive(Debug, Clone)]
pub struct Legs(mpsc::Sender<Leg>);

/// Where a transport puts the legs that come to it, and where its owner takes them.
pub fn legs() -> (Legs, mpsc::Receiver<Leg>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Legs(sender), receiver)
}

impl Legs {
    /// Takes the leg if it is one; gives the socket back otherwise. Nothing of it has been read then.
    pub(crate) async fn take(&self, mut socket: TcpStream, from: SocketAddr) -> io::Result<Option<TcpStream>> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 || first[0] != LEG_MARK[0] {
            return Ok(Some(socket));
        }
        let (mut mark, mut key) = ([0; LEG_MARK.len()], LegKey([0; 16]));
        socket.read_exact(&mut mark).await?;
        socket.read_exact(&mut key.0).await?;
        if mark != LEG_MARK {
            return Err(io::Error::other("it speaks another protocol"));
        }
        let leg = Leg { key, socket, from, thread: Handle::current() };
        self.0.try_send(leg).map_err(|_| io::Error::other("too many legs at once"))?;
        Ok(None)
    }
}

/// A leg of ours to a relay.
pub(crate) async fn open(relay: SocketAddr, key: LegKey) -> Result<TcpStream, TransportError> {
    let unreachable = || TransportError::Unreachable(relay);
    let connecting = async {
        let mut socket = TcpStream::connect(relay).await?;
        let _ = socket.set_nodelay(true);
        let mut head = [0; LEG_MARK.len() + 16];
        head[..LEG_MARK.len()].copy_from_slice(&LEG_MARK);
        head[LEG_MARK.len()..].copy_from_slice(&key.0);
        socket.write_all(&head).await?;
        Ok::<_, io::Error>(socket)
    };
    timeout(SILENCE, connecting).await.map_err(|_| unreachable())?.map_err(|_| unreachable())
}
