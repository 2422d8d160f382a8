//! A transport without a network: peers of one process, for tests and for embedding.
//!
//! It keeps every promise of the seam that a caller can observe (identities, back-pressure, resets,
//! close codes), so that what works here works over QUIC; the conformance suite holds both to it.
//! There is no encryption to prove an id with: an address is bound with any id.

mod connection;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};

use protocol::PeerId;
use tokio::sync::{mpsc, watch};

use self::connection::Side;
use crate::identity::Identity;
use crate::lock::lock;
use crate::{BoxFuture, Connection, OverRelay, Transport, TransportError, Whom};

/// Connections that wait to be accepted; a dialer waits for a place.
const ACCEPT_QUEUE: usize = 64;
/// Where port 0 and senders without a listener start counting.
const FIRST_FREE_PORT: u16 = 49_152;

/// A world of addresses. Clones are the same world.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    listeners: Arc<Mutex<HashMap<SocketAddr, Weak<Inner>>>>,
}

/// One peer of a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: MemoryNetwork,
    inner: Arc<Inner>,
}

/// What a listener's address leads to.
struct Inner {
    peer_id: PeerId,
    addrs: Vec<SocketAddr>,
    sender: mpsc::Sender<Arc<Side>>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Arc<Side>>>,
    /// Every connection that may still live, to be closed with the transport.
    sides: Mutex<Vec<Weak<Side>>>,
    closed: watch::Sender<bool>,
}

/// Whom an in-process peer claims to be: a [`PeerId`], or an [`Identity`] as QUIC takes it.
pub trait Named {
    /// The id.
    fn id(&self) -> PeerId;
}

impl Named for PeerId {
    fn id(&self) -> PeerId {
        *self
    }
}

impl Named for &Identity {
    fn id(&self) -> PeerId {
        self.peer_id()
    }
}

impl MemoryNetwork {
    /// An empty world.
    pub fn new() -> Self {
        Self::default()
    }

    /// A peer that listens on these addresses; port 0 takes any free port.
    pub fn bind(&self, who: impl Named, addrs: Vec<SocketAddr>) -> Result<MemoryTransport, TransportError> {
        let mut listeners = lock(&self.listeners);
        listeners.retain(|_, inner| inner.strong_count() > 0);
        let mut bound: Vec<SocketAddr> = Vec::with_capacity(addrs.len());
        for addr in addrs {
            let taken = |candidate: &SocketAddr| listeners.contains_key(candidate) || bound.contains(candidate);
            let addr = if addr.port() == 0 {
                (FIRST_FREE_PORT..=u16::MAX)
                    .map(|port| SocketAddr::new(addr.ip(), port))
                    .find(|candidate| !taken(candidate))
                    .ok_or(TransportError::AddressInUse(addr))?
            } else if taken(&addr) {
                return Err(TransportError::AddressInUse(addr));
            } else {
                addr
            };
            bound.push(addr);
        }
        let (sender, accepted) = mpsc::channel(ACCEPT_QUEUE);
        let inner = Arc::new(Inner {
            peer_id: who.id(),
            addrs: bound,
            sender,
            accepted: tokio::sync::Mutex::new(accepted),
            sides: Mutex::new(Vec::new()),
            closed: watch::Sender::new(false),
        });
        for addr in &inner.addrs {
            listeners.insert(*addr, Arc::downgrade(&inner));
        }
        drop(listeners);
        Ok(MemoryTransport { network: self.clone(), inner })
    }

    fn listener(&self, addr: SocketAddr) -> Option<Arc<Inner>> {
        lock(&self.listeners).get(&addr).and_then(Weak::upgrade)
    }
}

impl Inner {
    fn keep(&self, side: &Arc<Side>) {
        let mut sides = lock(&self.sides);
        sides.retain(|side| side.strong_count() > 0);
        sides.push(Arc::downgrade(side));
    }
}

impl MemoryTransport {
    async fn connect(&self, addr: SocketAddr, expect: Option<PeerId>) -> Result<Arc<dyn Connection>, TransportError> {
        let mut closed = self.inner.closed.subscribe();
        if *closed.borrow() {
            return Err(TransportError::Closed);
        }
        let other = self.network.listener(addr).ok_or(TransportError::Unreachable(addr))?;
        if let Some(expected) = expect.filter(|expected| !other.peer_id.answers_to(*expected)) {
            return Err(TransportError::WrongPeer { addr, expected });
        }
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), FIRST_FREE_PORT);
        // As over a network, one of the family that is dialled.
        let own = self.inner.addrs.iter().find(|own| own.is_ipv4() == addr.is_ipv4()).or(self.inner.addrs.first());
        let own_addr = own.copied().unwrap_or(nowhere);
        // A place first: a connection exists only once the other side is sure to see it.
        let mut other_closed = other.closed.subscribe();
        let place = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return Err(TransportError::Closed),
            _ = other_closed.wait_for(|closed| *closed) => return Err(TransportError::Unreachable(addr)),
            place = other.sender.reserve() => place.map_err(|_| TransportError::Unreachable(addr))?,
        };
        let (ours, theirs) = connection::pair((self.inner.peer_id, own_addr), (other.peer_id, addr));
        self.inner.keep(&ours);
        other.keep(&theirs);
        place.send(theirs);
        // Someone may have closed between our look and our entry in the list.
        if *self.inner.closed.borrow() || *other.closed.borrow() {
            ours.end(0, "");
            return Err(TransportError::Unreachable(addr));
        }
        Ok(Arc::new(connection::MemoryConnection(ours)))
    }

    fn shut(&self) {
        self.inner.closed.send_replace(true);
        let mut listeners = lock(&self.network.listeners);
        for addr in &self.inner.addrs {
            // After a close someone else may have taken the address: theirs stays.
            if listeners.get(addr).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), Arc::as_ptr(&self.inner))) {
                listeners.remove(addr);
            }
        }
        drop(listeners);
        let sides = std::mem::take(&mut *lock(&self.inner.sides));
        for side in sides.iter().filter_map(Weak::upgrade) {
            side.end(0, "shutting down");
        }
    }
}

impl Transport for MemoryTransport {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn peer_id(&self) -> PeerId {
        self.inner.peer_id
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        let mut addrs = self.inner.addrs.clone();
        addrs.sort_by_key(SocketAddr::port);
        addrs
    }

    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(self.connect(addr, whom.expected()))
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async {
            let mut closed = self.inner.closed.subscribe();
            let next = async { self.inner.accepted.lock().await.recv().await };
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => None,
                side = next => side.map(|side| Arc::new(connection::MemoryConnection(side)) as Arc<dyn Connection>),
            }
        })
    }

    fn over_relay(&self) -> Option<&dyn OverRelay> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.shut() })
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.shut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_bound_once_and_free_again_after_close() {
        let network = MemoryNetwork::new();
        let addr: SocketAddr = "10.0.0.1:9000".parse().unwrap();
        let first = network.bind(PeerId::of_public_key(b"1"), vec![addr]).unwrap();
        let second = network.bind(PeerId::of_public_key(b"2"), vec![addr]);
        assert_eq!(second.err(), Some(TransportError::AddressInUse(addr)));
        first.close().await;
        let third = network.bind(PeerId::of_public_key(b"3"), vec![addr]).unwrap();
        // The first one's end must not take the third one's address away.
        drop(first);
        assert!(network.listener(addr).is_some());
        assert_eq!(third.listeners(), [addr]);
    }
}
