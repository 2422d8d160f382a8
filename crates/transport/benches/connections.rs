//! Handshakes, first bytes and idle connections, over loopback with both sides in one process.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use p2p_fileshare_transport::{Config, Connection, Identity, Kind, Transport};
use tokio::runtime::Runtime;

const KINDS: [&str; 2] = ["quic", "tcp"];
const IDLE: usize = 500;

/// Names the kind whose idle connections are weighed, in a process of their own: memory that was freed is not given back.
const WEIGH: &str = "WEIGH_IDLE_CONNECTIONS";

fn main() {
    if let Ok(kind) = std::env::var(WEIGH) {
        println!("an idle {kind} connection, both sides: {} KiB", idle_connection(&kind) >> 10);
        return;
    }
    divan::main();
    for kind in KINDS {
        let own = std::env::current_exe().expect("it has a path");
        std::process::Command::new(own).env(WEIGH, kind).status().expect("it starts again");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn bind(kind: &str) -> Arc<dyn Transport> {
    let listeners = vec!["127.0.0.1:0".parse().expect("an address")];
    let config = Config::new(Identity::generate().expect("a key"), listeners);
    kind.parse::<Kind>().expect("a kind").bind(config).expect("a free port")
}

type Connected = (Arc<dyn Connection>, Arc<dyn Connection>);

async fn connect(dialer: &dyn Transport, listener: &dyn Transport) -> Connected {
    let (dialled, accepted) = tokio::join!(dialer.dial(listener.listeners()[0], listener.peer_id()), listener.accept());
    (dialled.expect("it is dialled"), accepted.expect("it is accepted"))
}

/// Asks and is answered with so many bytes.
async fn first_bytes((dialled, accepted): &Connected, bytes: &Bytes) {
    let ask = async {
        let (mut send, mut recv) = dialled.open().await.expect("a stream");
        send.send(Bytes::from_static(b"?")).await.expect("sent");
        send.finish().expect("finished");
        let mut answer = vec![0; bytes.len()];
        p2p_fileshare_transport::frame::read_exact(&mut *recv, &mut answer).await.expect("received");
    };
    let answer = async {
        let (mut send, _recv) = accepted.accept().await.expect("accepted");
        send.send(bytes.clone()).await.expect("sent");
        send.finish().expect("finished");
    };
    tokio::join!(ask, answer);
}

#[divan::bench(args = KINDS, sample_count = 200)]
fn handshake_and_16_kib(bencher: Bencher, kind: &str) {
    let (runtime, bytes) = (runtime(), Bytes::from(vec![7; 16 << 10]));
    let (dialer, listener) = (bind(kind), bind(kind));
    bencher.bench_local(|| {
        runtime.block_on(async { first_bytes(&connect(&*dialer, &*listener).await, &bytes).await });
    });
}

/// Dials under way at once, and how many each of them makes.
const SIDE_BY_SIDE: usize = 10;
const IN_TURN: usize = 10;

/// What one endpoint takes when many come at once. Counted in handshakes a second, both sides in this process.
#[divan::bench(args = KINDS, sample_count = 10)]
fn handshakes_side_by_side(bencher: Bencher, kind: &str) {
    let runtime = runtime();
    let (dialer, listener) = (bind(kind), bind(kind));
    bencher.counter(ItemsCount::new(SIDE_BY_SIDE * IN_TURN)).bench_local(|| {
        runtime.block_on(async {
            let mut dials = tokio::task::JoinSet::new();
            for _ in 0..SIDE_BY_SIDE {
                let (dialer, address, id) = (dialer.clone(), listener.listeners()[0], listener.peer_id());
                dials.spawn(async move {
                    for _ in 0..IN_TURN {
                        dialer.dial(address, id).await.expect("it is dialled");
                    }
                });
            }
            let accept = async {
                for _ in 0..SIDE_BY_SIDE * IN_TURN {
                    listener.accept().await.expect("it is accepted");
                }
            };
            tokio::join!(accept, dials.join_all());
        });
    });
}

#[divan::bench(args = KINDS, sample_count = 500)]
fn first_16_kib_of_a_standing_connection(bencher: Bencher, kind: &str) {
    let (runtime, bytes) = (runtime(), Bytes::from(vec![7; 16 << 10]));
    let (dialer, listener) = (bind(kind), bind(kind));
    let connected = runtime.block_on(connect(&*dialer, &*listener));
    bencher.bench_local(|| runtime.block_on(first_bytes(&connected, &bytes)));
}

/// Bytes of memory that a connection takes which does nothing, on both sides together.
fn idle_connection(kind: &str) -> u64 {
    runtime().block_on(async {
        let (dialer, listener) = (bind(kind), bind(kind));
        let first = connect(&*dialer, &*listener).await;
        let before = anonymous();
        let mut connections = vec![first];
        for _ in 0..IDLE {
            connections.push(connect(&*dialer, &*listener).await);
        }
        anonymous().saturating_sub(before) / IDLE as u64
    })
}

/// Bytes of memory of our own, as Linux tells it; elsewhere nothing is known.
fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}
