//! A connection over TCP takes no more of a tracker's memory than the tracker counts for it.
//!
//! The peers are in a process of their own, so that only the tracker's side is weighed.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use p2p_fileshare_tracker::{Identity, Server, ServerConfig, TransportKind, Trust, transport_config};
use peak_alloc::PeakAlloc;
use protocol::{Announce, ContentId, Digest, Role, TrackerEvent, TrackerRequest, VERSION};
use transport::frame::{encode, receive_message};
use transport::{Config, Tcp, Transport};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const PEERS: usize = 200;
/// Tells the process of the peers where the tracker is, and who.
const TRACKER: &str = "P2P_MEMORY_TEST_TRACKER";
/// Between two looks, of which there are so many.
const PAUSE: Duration = Duration::from_millis(50);
const LOOKS: usize = 1200;

/// Looks until something is so, or for a minute.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn start_peers(tracker: &dyn Transport) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "peers", "--nocapture"])
        .env(TRACKER, format!("{} {}", tracker.listeners()[0], tracker.peer_id()))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The process of the peers, if it is started for that: each has a key, a connection and a content of its own.
#[tokio::test]
async fn peers() {
    let Ok(tracker) = std::env::var(TRACKER) else { return };
    let (address, id) = tracker.split_once(' ').unwrap();
    let (address, id) = (address.parse().unwrap(), id.parse().unwrap());
    let sockets = Tcp::bind(Config::new(Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()])).unwrap();
    let mut held = Vec::new();
    for number in 0..PEERS {
        let connection = sockets.dial_tracker_as(&Identity::generate().unwrap(), address, id).await.unwrap();
        let (mut send, mut recv) = connection.open().await.unwrap();
        let hello = TrackerRequest::Hello { version: VERSION, listeners: sockets.listeners() };
        send.send(encode(&hello).unwrap()).await.unwrap();
        assert!(matches!(receive_message(&mut *recv).await, Ok(TrackerEvent::Welcome { .. })));
        let content = ContentId(Digest::of(&number.to_le_bytes()));
        let announce = Announce { content, about: None, role: Role::Seeder };
        send.send(encode(&TrackerRequest::Announce(announce)).unwrap()).await.unwrap();
        held.push((connection, send, recv));
    }
    // They stay for as long as the process that has started this one has it read.
    let _ = std::io::stdin().read(&mut [0]);
}

#[tokio::test]
async fn a_tcp_connection_takes_no_more_than_is_counted() {
    let config = transport_config(Identity::generate().unwrap(), Trust::Anyone, ([127, 0, 0, 1], 0).into());
    let transport = TransportKind::Tcp.bind(config).unwrap();
    let server = Arc::new(Server::new(transport.clone(), ServerConfig::default().seed(1)));
    let running = server.clone();
    tokio::spawn(async move { running.run().await });
    let (counted, allocated) = (server.bytes(), ALLOCATED.current_usage());

    let mut peers = start_peers(&*transport);
    until(|| server.counts() == (PEERS, PEERS)).await;
    assert_eq!(server.counts(), (PEERS, PEERS));
    let each = || {
        let allocated = (ALLOCATED.current_usage() - allocated) as u64;
        ((server.bytes() - counted) / PEERS as u64, allocated / PEERS as u64)
    };
    // What their handshakes took is freed soon.
    until(|| each().0 >= each().1).await;
    let (counted, allocated) = each();
    println!("a connection over TCP: {counted} bytes counted, {allocated} allocated");
    assert!(counted >= allocated, "{counted} bytes counted, {allocated} allocated");

    drop(peers.stdin.take());
    assert!(peers.wait().unwrap().success());
}
