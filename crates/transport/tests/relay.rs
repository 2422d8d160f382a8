//! Connections through a relay keep the promises of the seam, and a relay that is hostile can end them and nothing else.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use p2p_fileshare_transport::conformance::{self, Pair};
use p2p_fileshare_transport::{
    Authority, BoxFuture, Config, Connection, Identity, OverRelay, Tcp, Transport, TransportError, Trust, Whom,
    from_now, legs, random,
};
use protocol::{Carried, LegKey, PeerId, RelayKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a relay does with the bytes from the dialler.
#[derive(Clone, Copy, PartialEq)]
enum Conduct {
    Honest,
    /// Flips a bit of the byte of this number.
    Flips(usize),
}

/// A transport that dials through a relay alone.
struct Relayed {
    dialer: Arc<Tcp>,
    relay: SocketAddr,
}

impl Transport for Relayed {
    fn name(&self) -> &'static str {
        "relayed"
    }
    fn peer_id(&self) -> PeerId {
        self.dialer.peer_id()
    }
    fn listeners(&self) -> Vec<SocketAddr> {
        self.dialer.listeners()
    }
    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        let Whom::Peer(expect) = whom else { return self.dialer.reach(addr, whom) };
        let mut key = RelayKey([0; 16]);
        random(&mut key.0);
        self.dialer.dial_through(self.relay, Carried { key, address: addr }, expect)
    }
    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        self.dialer.accept()
    }
    fn over_relay(&self) -> Option<&dyn OverRelay> {
        self.dialer.over_relay()
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        self.dialer.close()
    }
}

fn config(identity: Identity, trust: Trust) -> Config {
    Config::new(identity, vec!["127.0.0.1:0".parse().unwrap()]).trust(trust)
}

/// A pair of which the one reaches the other through a relay.
fn pair(identities: [Identity; 2], trust: Trust, conduct: Conduct) -> Pair {
    let [dialer, listener] = identities.map(|identity| Arc::new(Tcp::bind(config(identity, trust.clone())).unwrap()));
    let (takes, mut came) = legs();
    let relay = Tcp::bind(config(Identity::generate().unwrap(), Trust::Anyone).legs(Some(takes))).unwrap();
    let relay_at = relay.listeners()[0];
    let other = listener.clone();
    tokio::spawn(async move {
        let mut waiting = HashMap::new();
        while let Some(leg) = came.recv().await {
            match waiting.remove(&leg.key) {
                Some(first) => drop(tokio::spawn(couple(first, leg.socket, conduct))),
                None => {
                    let mut key = LegKey([0; 16]);
                    random(&mut key.0);
                    waiting.insert(key, leg.socket);
                    other.accept_leg(relay_at, leg.from, key);
                    // One that has ended opens none.
                    waiting.retain(|_, _| !other.listeners().is_empty());
                }
            }
        }
        drop(relay);
    });
    Pair::new(Arc::new(Relayed { dialer, relay: relay_at }), listener)
}

async fn couple(mut first: TcpStream, mut second: TcpStream, conduct: Conduct) {
    let Conduct::Flips(number) = conduct else {
        let _ = tokio::io::copy_bidirectional(&mut first, &mut second).await;
        return;
    };
    let ((mut reads, mut writes), (mut others, mut to)) = (first.split(), second.split());
    let forth = async {
        let (mut buffer, mut at) = (vec![0; 16 << 10], 0);
        while let Ok(count @ 1..) = reads.read(&mut buffer).await {
            if (at..at + count).contains(&number) {
                buffer[number - at] ^= 1;
            }
            at += count;
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = forth => {}
        _ = tokio::io::copy(&mut others, &mut writes) => {}
    }
}

fn anyone() -> [Identity; 2] {
    [(); 2].map(|()| Identity::generate().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relayed_connections_keep_the_promises() {
    conformance::run(&|| pair(anyone(), Trust::Anyone, Conduct::Honest)).await;
}

#[tokio::test]
async fn both_ends_say_that_a_relay_carries_them_and_where_the_other_end_is() {
    let pair = pair(anyone(), Trust::Anyone, Conduct::Honest);
    let dial = pair.dialer.dial(pair.addr, pair.listener.peer_id());
    let (dialled, accepted) = tokio::join!(dial, pair.listener.accept());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!((dialled.transport(), accepted.transport()), ("relay", "relay"));
    assert_eq!(dialled.remote_addr(), pair.addr);
    assert_eq!(accepted.remote_addr().ip(), pair.addr.ip());
    assert_eq!(dialled.exporter("proof").unwrap(), accepted.exporter("proof").unwrap());
}

#[tokio::test]
async fn a_closed_swarm_keeps_strangers_out_through_a_relay_too() {
    let ours = Authority::generate().unwrap();
    let member = || {
        ours.certify("peer", &Identity::generate().unwrap(), from_now(std::time::Duration::from_secs(3600))).unwrap()
    };
    let pair = pair([Identity::generate().unwrap(), member()], ours.trust(), Conduct::Honest);
    let error = match pair.dialer.dial(pair.addr, pair.listener.peer_id()).await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    };
    assert!(matches!(error, TransportError::NotAdmitted(_)), "{error}");
}

/// Wherever the flipped bit is, in the handshake or in what is sent: nobody takes other bytes than were sent.
#[tokio::test]
async fn a_bit_that_the_relay_flips_ends_the_stream_and_is_never_received() {
    let data = Bytes::from((0..1 << 20).map(|n: u32| (n % 251) as u8).collect::<Vec<_>>());
    for number in [10, 300, 1200, 5_000, 200_000, 900_000] {
        let pair = pair(anyone(), Trust::Anyone, Conduct::Flips(number));
        let whole = async {
            let dial = pair.dialer.dial(pair.addr, pair.listener.peer_id());
            let accept = tokio::time::timeout(std::time::Duration::from_secs(3), pair.listener.accept());
            let (dialled, accepted) = tokio::join!(dial, accept);
            let (dialled, accepted) = (dialled.ok()?, accepted.ok()??);
            let (mut send, _answers) = dialled.open().await.ok()?;
            let sending = async {
                let _ = send.send(data.clone()).await;
                let _ = send.finish();
            };
            let receiving = async {
                let (_, mut recv) = accepted.accept().await.ok()?;
                let mut came = Vec::new();
                let mut buffer = vec![0; 64 << 10];
                loop {
                    match recv.recv(&mut buffer).await {
                        Ok(0) => return Some(came),
                        Ok(count) => came.extend_from_slice(&buffer[..count]),
                        Err(_) => {
                            assert!(data.starts_with(&came), "what came before is right");
                            return None;
                        }
                    }
                }
            };
            let receiving = tokio::time::timeout(std::time::Duration::from_secs(20), receiving);
            let (_, came) = tokio::join!(sending, receiving);
            came.ok()?
        };
        assert!(whole.await.is_none(), "the flipped byte {number} went unnoticed");
    }
}

/// A tracker says where the other side of a leg comes from. It must not get more places at this side's door by that than it has itself.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracker_that_makes_up_legs_shuts_the_door_for_nobody() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    let victim = Arc::new(Tcp::bind(config(Identity::generate().unwrap(), Trust::Anyone)).unwrap());
    // In another network than the honest one, it takes what comes and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.1.1:0").await.unwrap();
    let tracker = silent.local_addr().unwrap();
    let sink = tokio::spawn(async move {
        let mut kept = std::collections::VecDeque::new();
        while let Ok((socket, _)) = silent.accept().await {
            kept.push_back(socket);
            if kept.len() > 256 {
                kept.pop_front();
            }
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let (door, stops) = (victim.clone(), stop.clone());
    let flood = tokio::task::spawn_blocking(move || {
        let mut number = 0u32;
        while !stops.load(Ordering::Relaxed) {
            for _ in 0..64 {
                number += 1;
                let from = SocketAddr::from(((0x0a00_0000 + (number << 8)).to_be_bytes(), 9000));
                let mut key = LegKey([0; 16]);
                random(&mut key.0);
                door.over_relay().unwrap().accept_leg(tracker, from, key);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        number
    });
    // The places are taken by now.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let honest = Tcp::bind(config(Identity::generate().unwrap(), Trust::Anyone)).unwrap();
    let mut lost = 0;
    for _ in 0..10 {
        let dial = honest.dial(victim.listeners()[0], victim.peer_id());
        match tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(dial, victim.accept()) }).await {
            Ok((Ok(dialled), Some(_accepted))) => dialled.close(0, "done"),
            _ => lost += 1,
        }
    }
    stop.store(true, Ordering::Relaxed);
    let number = flood.await.unwrap();
    sink.abort();
    assert_eq!(lost, 0, "beside {number} legs");
}
