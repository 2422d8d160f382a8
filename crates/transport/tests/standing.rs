//! Connections between peers and a tracker, which stand for long and carry little.

use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2p_fileshare_transport::frame::read_exact;
use p2p_fileshare_transport::{Config, Connection, Identity, Kind, Transport, TransportError};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// No wait takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> Config {
    Config::new(Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()])
}

type Both = (Arc<dyn Connection>, Arc<dyn Connection>);

/// A peer's connection to a tracker, and the tracker's.
async fn join(peer: &dyn Transport, tracker: &dyn Transport) -> Both {
    let dialled = peer.dial_tracker(tracker.listeners()[0], tracker.peer_id());
    let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
    (dialled.unwrap(), accepted.unwrap())
}

/// Both directions of a stream carry what no window holds, and end.
async fn talk((peer, tracker): &Both) {
    let large = Bytes::from((0..1 << 20).map(|at: u32| (at % 251) as u8).collect::<Vec<_>>());
    let (mut send, mut recv) = peer.open().await.unwrap();
    send.send(Bytes::from_static(b"hello")).await.unwrap();
    let (mut answer, mut heard) = tracker.accept().await.unwrap();
    let mut hello = [0; 5];
    read_exact(&mut *heard, &mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
    let (mut there, mut back) = (vec![0; large.len()], vec![0; large.len()]);
    let all = async {
        let (one, two, three, four) = tokio::join!(
            send.send(large.clone()),
            answer.send(large.clone()),
            read_exact(&mut *heard, &mut there),
            read_exact(&mut *recv, &mut back)
        );
        one.and(two).and(three).and(four).unwrap();
    };
    timeout(PATIENCE, all).await.unwrap();
    assert!(there == large && back == large);
    send.finish().unwrap();
    assert_eq!(heard.recv(&mut [0; 8]).await, Ok(0));
    drop(answer);
    assert_eq!(recv.recv(&mut [0; 8]).await, Err(TransportError::Reset(0)), "what is dropped has no clean end");
}

#[tokio::test]
async fn a_tracker_over_tcp_holds_one_socket_for_each_peer() {
    let tracker = Kind::Tcp.bind(config().standing(true).sockets(Some(2))).unwrap();
    let peers = [Kind::Tcp.bind(config()).unwrap(), Kind::Tcp.bind(config()).unwrap()];
    let both = [join(&*peers[0], &*tracker).await, join(&*peers[1], &*tracker).await];
    for connections in &both {
        talk(connections).await;
    }
    let [(peer, accepted), _] = &both;
    // There is no second stream: the other side would open further sockets for it.
    assert!(peer.open().await.is_err());
    assert!(timeout(Duration::from_millis(50), accepted.accept()).await.is_err());
    accepted.close(7, "the tracker needs the room");
    let closed = TransportError::ClosedByPeer { code: 7, reason: "the tracker needs the room".to_owned() };
    assert_eq!(timeout(PATIENCE, peer.closed()).await.unwrap(), closed);
}

#[tokio::test]
async fn what_was_said_last_arrives_before_the_end() {
    let (tracker, peer) = (Kind::Tcp.bind(config().standing(true)).unwrap(), Kind::Tcp.bind(config()).unwrap());
    let (dialled, accepted) = join(&*peer, &*tracker).await;
    let (mut send, mut recv) = dialled.open().await.unwrap();
    send.send(Bytes::from_static(b"hello")).await.unwrap();
    let (mut answer, _heard) = accepted.accept().await.unwrap();
    answer.send(Bytes::from_static(b"refused")).await.unwrap();
    accepted.close(0, "done");
    let mut refused = [0; 7];
    timeout(PATIENCE, read_exact(&mut *recv, &mut refused)).await.unwrap().unwrap();
    assert_eq!(&refused, b"refused");
}

#[tokio::test]
async fn a_tracker_that_knows_only_stream_connections_is_reached_too() {
    let (tracker, peer) = (Kind::Tcp.bind(config()).unwrap(), Kind::Tcp.bind(config()).unwrap());
    let both = join(&*peer, &*tracker).await;
    talk(&both).await;
    talk(&both).await;
}

#[tokio::test]
async fn a_ping_shows_a_sign_of_life() {
    for (kind, standing) in [(Kind::Quic, true), (Kind::Quic, false), (Kind::Tcp, true), (Kind::Tcp, false)] {
        let (tracker, peer) = (kind.bind(config().standing(standing)).unwrap(), kind.bind(config()).unwrap());
        let (dialled, _accepted) = join(&*peer, &*tracker).await;
        let before = dialled.stats().received;
        let alive = async {
            while dialled.stats().received <= before {
                dialled.ping();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(PATIENCE, alive).await.is_ok(), "{kind:?}");
    }
}

/// Who knows no other way opens stream connections.
#[tokio::test]
async fn a_peer_that_knows_only_stream_connections_is_taken_too() {
    let (tracker, peer) = (Kind::Tcp.bind(config().standing(true)).unwrap(), Kind::Tcp.bind(config()).unwrap());
    let dialled = peer.dial(tracker.listeners()[0], tracker.peer_id());
    let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
    let both = (dialled.unwrap(), accepted.unwrap());
    talk(&both).await;
    talk(&both).await;
}

/// Carries everything between a tracker and those who dial it. Once it is dropped, neither side hears anything of the other.
async fn wire(kind: Kind, to: SocketAddr) -> (SocketAddr, JoinSet<()>) {
    let mut carrying = JoinSet::new();
    if kind == Kind::Quic {
        let (near, far) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let at = near.local_addr().unwrap();
        carrying.spawn(async move {
            let (mut there, mut back, mut from) = (vec![0; 1 << 16], vec![0; 1 << 16], at);
            loop {
                tokio::select! {
                    got = near.recv_from(&mut there) => {
                        let (count, who) = got.unwrap();
                        from = who;
                        let _ = far.send_to(&there[..count], to).await;
                    }
                    got = far.recv_from(&mut back) => {
                        let _ = near.send_to(&back[..got.unwrap().0], from).await;
                    }
                }
            }
        });
        return (at, carrying);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    carrying.spawn(async move {
        let (near, far) = (listener.accept().await.unwrap().0, TcpStream::connect(to).await.unwrap());
        let (mut near, mut far) = (ManuallyDrop::new(near), ManuallyDrop::new(far));
        let _ = tokio::io::copy_bidirectional(&mut *near, &mut *far).await;
    });
    (at, carrying)
}

/// Its patience is shorter than what peers offer.
#[tokio::test]
async fn a_tracker_that_few_know_soon_drops_a_peer_that_has_vanished() {
    let each = [Kind::Quic, Kind::Tcp].map(|kind| async move {
        let bind = |standing| kind.bind(config().standing(standing)).unwrap();
        let (tracker, quiet, vanishes) = (bind(true), bind(false), bind(false));
        let (stays, stayed) = join(&*quiet, &*tracker).await;
        let (at, carrying) = wire(kind, tracker.listeners()[0]).await;
        let dialled = vanishes.dial_tracker(at, tracker.peer_id());
        let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
        let (_dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        drop(carrying);
        assert!(timeout(PATIENCE, accepted.closed()).await.is_ok(), "{kind:?}");
        // One that says nothing of itself is asked.
        assert!(timeout(Duration::from_secs(2), stayed.closed()).await.is_err(), "{kind:?}");
        assert!(timeout(Duration::from_millis(10), stays.closed()).await.is_err(), "{kind:?}");
    });
    let [quic, tcp] = each;
    tokio::join!(quic, tcp);
}
