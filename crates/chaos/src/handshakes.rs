//! Clients whose handshakes stall: over QUIC after they have proven their address; over TCP before, during and after their first
//! message. As soon as one is dropped, it reconnects. Some share the address of the honest peers, others do not.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::PeerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use transport::Transport;

use super::floods::{flooded, runtime, stranger};
use super::report::Report;
use super::{Case, Ground};

pub const CASES: &[Case] = &[
    Case { name: "stalled-handshakes-300", fault: "300 clients whose handshakes stall, for 20 s", run: few },
    Case { name: "stalled-handshakes-1000", fault: "1,000 of them", run: some },
    Case { name: "stalled-handshakes-3000", fault: "3,000 of them", run: many },
];

fn few(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, "handshakes", 300.0, LEFT, stall::<300>)
}

fn some(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, "handshakes", 1_000.0, LEFT, stall::<1_000>)
}

fn many(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, "handshakes", 3_000.0, LEFT, stall::<3_000>)
}

/// MiB that may be left: the allocator keeps what as many handshakes took as may be under way.
const LEFT: f64 = 32.0;
const LASTS: Duration = Duration::from_secs(20);
/// A peer that was given up comes again after so long.
const AGAIN: Duration = Duration::from_millis(50);

/// Half of so many clients stall over QUIC, the others over TCP.
fn stall<const COUNT: usize>(target: SocketAddr, id: PeerId, stop: &AtomicBool) -> anyhow::Result<u64> {
    let front = UdpSocket::bind("127.0.0.1:0")?;
    let through = front.local_addr()?;
    let (over, began, runtime) = (AtomicBool::new(false), Instant::now(), runtime()?);
    let made = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| carry_retries_only(&front, target, &over));
        runtime.block_on(async {
            let strangers = (0..8).map(|_| stranger()).collect::<anyhow::Result<Vec<_>>>()?;
            let mut clients = JoinSet::new();
            for number in 0..COUNT {
                let (made, stranger) = (made.clone(), strangers[number % strangers.len()].clone());
                clients.spawn(async move {
                    loop {
                        made.fetch_add(1, Ordering::Relaxed);
                        match number % 2 {
                            0 => drop(stranger.dial(through, id).await),
                            _ => drop(half_open(target, number / 2).await),
                        }
                        sleep(AGAIN).await;
                    }
                });
            }
            while began.elapsed() < LASTS && !stop.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(50)).await;
            }
            clients.shutdown().await;
            anyhow::Ok(())
        })?;
        over.store(true, Ordering::Relaxed);
        relay.join().map_err(|_| anyhow::anyhow!("the relay broke off"))??;
        runtime.shutdown_background();
        Ok(made.load(Ordering::Relaxed))
    })
}

/// The beginning of a ClientHello, which says that it is of 512 bytes.
const HELLO: [u8; 9] = [22, 3, 1, 2, 0, 1, 0, 1, 252];

/// Connects, from this machine's usual address or another of it, says nothing, a part, or one byte after another, and stays
/// until the other side ends it.
async fn half_open(target: SocketAddr, number: usize) -> std::io::Result<()> {
    let mut stream = match number % 4 {
        0 => {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::new(127, 0, 1, (number % 250) as u8 + 1), 0).into())?;
            timeout(Duration::from_secs(3), socket.connect(target)).await??
        }
        _ => timeout(Duration::from_secs(3), TcpStream::connect(target)).await??,
    };
    match number % 3 {
        0 => {}
        1 => stream.write_all(&HELLO).await?,
        _ => {
            for byte in HELLO.into_iter().chain([0; 100]) {
                stream.write_all(&[byte]).await?;
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let _ = timeout(Duration::from_secs(30), stream.read(&mut [0])).await;
    Ok(())
}

/// Carries what clients send to the target, and back only what asks them to show that their address is theirs.
fn carry_retries_only(front: &UdpSocket, target: SocketAddr, over: &AtomicBool) -> anyhow::Result<()> {
    /// Sockets of the clients: their listeners, and those that only dial.
    const CLIENTS: usize = 64;
    let mut backs: Vec<(SocketAddr, UdpSocket)> = Vec::new();
    let mut buffer = vec![0; 65_536];
    front.set_read_timeout(Some(Duration::from_millis(1)))?;
    while !over.load(Ordering::Relaxed) {
        for _ in 0..64 {
            let Ok((len, from)) = front.recv_from(&mut buffer) else { break };
            let at = match backs.iter().position(|(client, _)| *client == from) {
                Some(at) => at,
                None if backs.len() >= CLIENTS => continue,
                None => {
                    let back = UdpSocket::bind("127.0.0.1:0")?;
                    back.set_nonblocking(true)?;
                    backs.push((from, back));
                    backs.len() - 1
                }
            };
            let _ = backs[at].1.send_to(&buffer[..len], target);
        }
        for (client, back) in &backs {
            while let Ok((len, _)) = back.recv_from(&mut buffer) {
                // The first byte of a retry (RFC 9000, 17.2.5).
                if buffer[0] & 0xf0 == 0xf0 {
                    let _ = front.send_to(&buffer[..len], client);
                }
            }
        }
    }
    Ok(())
}
