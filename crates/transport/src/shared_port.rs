//! One port for a peer and its own tracker, so that one address leads to both, and a firewall needs one hole.
//!
//! Both have keys of their own. Who dials says in the TLS handshake (ALPN) whom it means, and is shown that one's certificate;
//! its connection is then taken by that one alone.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::PeerId;
use tokio::sync::{Mutex, mpsc, watch};

use crate::expiry::Expiry;
use crate::{BoxFuture, Config, Connection, Identity, Kind, OverRelay, Transport, TransportError, Whom};

/// Connections that wait to be taken by the tracker.
const BACKLOG: usize = 128;

/// Where listeners leave what is for the tracker.
#[derive(Clone)]
pub(crate) struct TrackerDoor {
    pub(crate) identity: Identity,
    pub(crate) expiry: Expiry,
    pub(crate) arrivals: mpsc::Sender<Arc<dyn Connection>>,
}

/// The two sides of one port: see [`Kind::bind_with_tracker`].
pub struct SharedPort {
    /// What the peer dials and is dialled by.
    pub peer: Arc<dyn Transport>,
    /// What the tracker is dialled by. It ends with the peer's.
    pub tracker: Arc<dyn Transport>,
}

/// Binds for both.
pub(crate) fn bind(kind: Kind, mut config: Config, tracker: Identity) -> Result<SharedPort, TransportError> {
    let (arrivals, accepted) = mpsc::channel(BACKLOG);
    let (id, expiry) = (tracker.peer_id(), Expiry::new(&tracker, &config.trust));
    config.tracker = Some(TrackerDoor { identity: tracker, expiry, arrivals });
    let peer = kind.bind(config)?;
    let (accepted, closed) = (Mutex::new(accepted), watch::Sender::new(false));
    let tracker = Arc::new(TrackerSide { id, ports: peer.clone(), accepted, closed });
    Ok(SharedPort { peer, tracker })
}

/// What the tracker sees of the ports.
struct TrackerSide {
    id: PeerId,
    ports: Arc<dyn Transport>,
    accepted: Mutex<mpsc::Receiver<Arc<dyn Connection>>>,
    closed: watch::Sender<bool>,
}

impl Transport for TrackerSide {
    fn name(&self) -> &'static str {
        self.ports.name()
    }

    fn peer_id(&self) -> PeerId {
        self.id
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        self.ports.listeners()
    }

    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        self.ports.reach(addr, whom)
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move {
            let mut closed = self.closed.subscribe();
            let next = async { self.accepted.lock().await.recv().await };
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => None,
                connection = next => connection,
            }
        })
    }

    fn over_relay(&self) -> Option<&dyn OverRelay> {
        None
    }

    /// Takes no more connections. Those that stand end with the ports, which are the peer's.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.send_replace(true);
            self.accepted.lock().await.close();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(Identity::generate().unwrap(), vec![SocketAddr::from(([127, 0, 0, 1], 0))])
    }

    #[tokio::test]
    async fn a_dialler_reaches_whom_it_means_and_is_shown_nobody_else() {
        for kind in [Kind::Quic, Kind::Tcp, Kind::Auto] {
            let tracker = Identity::generate().unwrap();
            let SharedPort { peer, tracker } = kind.bind_with_tracker(config(), tracker).unwrap();
            let dialler = kind.bind(config()).unwrap();
            let at = peer.listeners()[0];
            assert_eq!(tracker.listeners(), [at]);
            let (dialled, accepted) = tokio::join!(dialler.dial(at, peer.peer_id()), peer.accept());
            assert_eq!(dialled.unwrap().peer_id(), peer.peer_id());
            assert_eq!(accepted.unwrap().peer_id(), dialler.peer_id());
            let (dialled, accepted) = tokio::join!(dialler.dial_tracker(at, tracker.peer_id()), tracker.accept());
            assert_eq!(dialled.unwrap().peer_id(), tracker.peer_id());
            assert_eq!(accepted.unwrap().peer_id(), dialler.peer_id());
            let (dialled, accepted) = tokio::join!(dialler.dial_anyone(at), peer.accept());
            assert_eq!(dialled.unwrap().peer_id(), peer.peer_id());
            assert_eq!(accepted.unwrap().peer_id(), dialler.peer_id());
            let wrong = |expected| Some(TransportError::WrongPeer { addr: at, expected });
            assert_eq!(dialler.dial(at, tracker.peer_id()).await.err(), wrong(tracker.peer_id()), "{kind:?}");
            assert_eq!(dialler.dial_tracker(at, peer.peer_id()).await.err(), wrong(peer.peer_id()), "{kind:?}");
            // The peer is one of its own tracker's.
            let (dialled, accepted) = tokio::join!(peer.dial_tracker(at, tracker.peer_id()), tracker.accept());
            let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
            assert_eq!((dialled.peer_id(), accepted.peer_id()), (tracker.peer_id(), peer.peer_id()), "{kind:?}");
            let (mut send, _recv) = dialled.open().await.unwrap();
            send.send("hello".into()).await.unwrap();
            let (_send, mut recv) = accepted.accept().await.unwrap();
            assert_eq!(recv.recv(&mut [0; 8]).await, Ok(5));
            tracker.close().await;
            assert!(tracker.accept().await.is_none());
            peer.close().await;
        }
    }

    #[tokio::test]
    async fn a_tracker_with_a_port_of_its_own_is_reached_as_before() {
        for kind in [Kind::Quic, Kind::Tcp] {
            let (tracker, dialler) = (kind.bind(config()).unwrap(), kind.bind(config()).unwrap());
            let at = tracker.listeners()[0];
            for dialled in [dialler.dial(at, tracker.peer_id()), dialler.dial_tracker(at, tracker.peer_id())] {
                let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
                assert_eq!((dialled.unwrap().peer_id(), accepted.is_some()), (tracker.peer_id(), true));
            }
        }
    }
}
