//! Thousands of strangers: unfinished handshakes, datagrams of garbage, useless connections. Meanwhile an honest peer downloads,
//! and another one joins.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::PeerId;
use testbed::event::{Connected, Kind, Progress, Verified, Wanted};
use tokio::sync::Semaphore;
use tool::interrupt::check_interrupted;
use tool::usage;
use transport::{Config, Identity, Quic, Transport};

use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground, RATE};

pub const CASES: &[Case] = &[
    Case { name: "flood-handshakes", fault: "10,000 handshakes that are never finished", run: handshakes },
    Case { name: "flood-garbage", fault: "100,000 datagrams of garbage a second, for 20 s", run: garbage },
    Case { name: "flood-connections", fault: "200 connections a second, for a minute", run: connections },
];

/// The part of its rate that an honest download keeps, and the seconds in which another connects.
const KEPT: f64 = 0.7;
const CONNECTS: f64 = 2.0;
/// MiB, descriptors and threads that may be left once it is over, beyond what there was before. The allocator keeps some of
/// what was freed.
const LEFT: f64 = 16.0;
const LEFT_OPEN: f64 = 4.0;
/// MiB that a second flood may leave beyond what the first has left: it uses what the first has freed, but for holes between what lives.
const LEFT_AGAIN: f64 = 4.0;
/// After a flood, everything of it is gone in this time.
const AFTER: Duration = Duration::from_secs(12);

/// What floods an address until it is told to stop, and says how much it has sent.
pub(super) type Flood = fn(SocketAddr, PeerId, &AtomicBool) -> anyhow::Result<u64>;

fn handshakes(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, "handshakes", 10_000.0, LEFT, half_open)
}

fn garbage(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, "datagrams", 0.9 * 20.0 * 100_000.0, LEFT, send_garbage)
}

fn connections(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, "connections", 0.9 * 60.0 * 200.0, LEFT, connect_and_stay)
}

/// What a process holds: MiB of its own, descriptors and threads.
fn held(process: u32) -> [f64; 3] {
    let memory = usage::own_memory(process) / f64::from(1 << 20);
    [memory, usage::descriptors(process) as f64, usage::threads(process) as f64]
}

pub(super) fn flooded(
    ground: &Ground,
    report: &mut Report,
    what: &str,
    count: f64,
    left: f64,
    flood: Flood,
) -> anyhow::Result<()> {
    let mut stage = Stage::open(ground, &report.case)?;
    let seeder = stage.seeder("seeder", &[])?;
    let process = stage.peers[seeder].process.number();
    let mut busy = Busy::start(&mut stage)?;
    busy.go_on(&mut stage, Duration::from_secs(2))?;
    let before = held(process);
    let Flooded { sent, rate, connected } = under(flood, &mut stage, seeder, &mut busy)?;
    busy.go_on(&mut stage, AFTER)?;
    let after = held(process);
    report.at_least(what, sent as f64, count, "");
    let mib = f64::from(1 << 20);
    report.at_least("honest download's rate", rate / mib, KEPT * RATE as f64 / mib, "MiB/s");
    report.at_most("an honest peer connects after", connected, CONNECTS, "s");
    for (what, at, limit, unit) in
        [("memory left", 0, left, "MiB"), ("descriptors left", 1, LEFT_OPEN, ""), ("threads left", 2, LEFT_OPEN, "")]
    {
        report.at_most(what, (after[at] - before[at]).max(0.0), limit, unit);
    }
    // Is it lost, or does the next one use it?
    under(flood, &mut stage, seeder, &mut busy)?;
    busy.go_on(&mut stage, AFTER)?;
    report.at_most("a second flood adds", (held(process)[0] - after[0]).max(0.0), LEFT_AGAIN, "MiB");
    busy.end(&mut stage);
    stage.close()
}

/// How a flood went.
struct Flooded {
    sent: u64,
    /// Bytes a second that the honest download got meanwhile.
    rate: f64,
    /// Seconds in which another honest peer was connected to the one that is flooded.
    connected: f64,
}

fn under(flood: Flood, stage: &mut Stage<'_>, seeder: usize, busy: &mut Busy) -> anyhow::Result<Flooded> {
    let (address, id) = (stage.peers[seeder].address()?, stage.peers[seeder].id()?);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(address, id, &stop));
        let mut meanwhile = || {
            let (began, had) = (Instant::now(), busy.received(stage));
            busy.go_on(stage, Duration::from_secs(3))?;
            let newcomer = stage.downloader_at("newcomer", "1MiB", &[])?;
            let id = id.to_string();
            let connected = loop {
                busy.go_on(stage, Duration::from_millis(50))?;
                let peer = &stage.peers[newcomer];
                let met = peer.events.iter().find(|(_, event)| Connected::of(event).is_some_and(|met| met.peer == id));
                if let (Some(wanted), Some((met, _))) = (peer.when::<Wanted>(), met) {
                    break met.duration_since(wanted).as_secs_f64();
                }
                anyhow::ensure!(peer.started.elapsed() < Duration::from_secs(30), "the newcomer does not connect");
            };
            stage.kill(newcomer);
            while !flood.is_finished() {
                check_interrupted()?;
                busy.go_on(stage, Duration::from_millis(100))?;
            }
            let rate = (busy.received(stage) - had) / began.elapsed().as_secs_f64();
            anyhow::Ok((rate, connected))
        };
        let result = meanwhile();
        stop.store(true, Ordering::Relaxed);
        let sent = flood.join().map_err(|_| anyhow::anyhow!("the flood broke off"))??;
        let (rate, connected) = result?;
        Ok(Flooded { sent, rate, connected })
    })
}

/// Someone who downloads the file, and again as soon as it is there.
struct Busy {
    downloads: Vec<usize>,
}

impl Busy {
    fn start(stage: &mut Stage<'_>) -> anyhow::Result<Self> {
        Ok(Busy { downloads: vec![stage.downloader("honest-1", &[])?] })
    }

    fn go_on(&mut self, stage: &mut Stage<'_>, most: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + most;
        while Instant::now() < until {
            stage.hear(Duration::from_millis(50).min(most))?;
            let latest = self.downloads[self.downloads.len() - 1];
            if stage.peers[latest].said::<Verified>() {
                stage.kill(latest);
                std::fs::remove_dir_all(stage.folder(&stage.peers[latest].name)?.join("output"))?;
                let name = format!("honest-{}", self.downloads.len() + 1);
                self.downloads.push(stage.downloader(&name, &[])?);
            }
        }
        Ok(())
    }

    /// Bytes that have come so far.
    fn received(&self, stage: &Stage<'_>) -> f64 {
        let whole = (self.downloads.len() - 1) as f64 * stage.ground.size as f64;
        let latest = &stage.peers[self.downloads[self.downloads.len() - 1]];
        whole + latest.last::<Progress>().map_or(0.0, |progress| progress.received as f64)
    }

    fn end(&self, stage: &mut Stage<'_>) {
        stage.kill(self.downloads[self.downloads.len() - 1]);
    }
}

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

pub(super) fn stranger() -> anyhow::Result<Arc<Quic>> {
    Ok(Arc::new(Quic::bind(Config::new(Identity::generate()?, vec![([127, 0, 0, 1], 0).into()]))?))
}

/// Dials through a relay that carries nothing back: no handshake goes on after its first packets.
fn half_open(target: SocketAddr, id: PeerId, stop: &AtomicBool) -> anyhow::Result<u64> {
    const COUNT: usize = 10_000;
    const AT_ONCE: usize = 1_000;
    let front = UdpSocket::bind("127.0.0.1:0")?;
    front.set_read_timeout(Some(Duration::from_millis(100)))?;
    let address = front.local_addr()?;
    let (over, runtime, stranger) = (AtomicBool::new(false), runtime()?, stranger()?);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Ok(backs) = (0..64).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>() else {
                return;
            };
            let (mut buffer, mut turn) = (vec![0; 65_536], 0);
            while !over.load(Ordering::Relaxed) {
                if let Ok((len, _)) = front.recv_from(&mut buffer) {
                    turn += 1;
                    let _ = backs[turn % backs.len()].send_to(&buffer[..len], target);
                }
            }
        });
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut sent = 0;
        runtime.block_on(async {
            let mut dials = tokio::task::JoinSet::new();
            while sent < COUNT && !stop.load(Ordering::Relaxed) {
                let Ok(permit) = room.clone().acquire_owned().await else { break };
                let stranger = stranger.clone();
                dials.spawn(async move {
                    let _ = stranger.dial(address, id).await;
                    drop(permit);
                });
                sent += 1;
                while dials.try_join_next().is_some() {}
            }
            while dials.join_next().await.is_some() {}
        });
        over.store(true, Ordering::Relaxed);
        Ok(sent as u64)
    })
}

/// Random bytes of all sizes that a small datagram has, from several ports, at an even pace.
fn send_garbage(target: SocketAddr, _: PeerId, stop: &AtomicBool) -> anyhow::Result<u64> {
    const A_MILLISECOND: u64 = 100;
    const LASTS: Duration = Duration::from_secs(20);
    let mut random = fastrand::Rng::with_seed(1);
    let datagrams: Vec<Vec<u8>> = (0..4096)
        .map(|_| {
            let mut bytes = vec![0; random.usize(20..1200)];
            random.fill(&mut bytes);
            bytes
        })
        .collect();
    let sockets = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < LASTS && !stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_millis() as u64 * A_MILLISECOND;
        while sent < due {
            let (socket, bytes) =
                (&sockets[sent as usize % sockets.len()], &datagrams[sent as usize % datagrams.len()]);
            let _ = socket.send_to(bytes, target);
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(sent)
}

/// Whole handshakes of many strangers, who then say nothing.
fn connect_and_stay(target: SocketAddr, id: PeerId, stop: &AtomicBool) -> anyhow::Result<u64> {
    const STRANGERS: usize = 150;
    const A_SECOND: u64 = 200;
    const LASTS: Duration = Duration::from_secs(60);
    let runtime = runtime()?;
    let made = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let strangers = (0..STRANGERS).map(|_| stranger()).collect::<anyhow::Result<Vec<_>>>()?;
        let (began, mut dialled) = (Instant::now(), 0);
        let mut dials = tokio::task::JoinSet::new();
        while began.elapsed() < LASTS && !stop.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * A_SECOND as f64) as u64;
            while dialled < due {
                let (stranger, made) = (strangers[dialled as usize % STRANGERS].clone(), made.clone());
                dials.spawn(async move {
                    if let Ok(connection) = stranger.dial(target, id).await {
                        made.fetch_add(1, Ordering::Relaxed);
                        // Kept until the other side has enough of it.
                        connection.closed().await;
                    }
                });
                dialled += 1;
            }
            while dials.try_join_next().is_some() {}
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        dials.abort_all();
        anyhow::Ok(())
    })?;
    runtime.shutdown_background();
    Ok(made.load(Ordering::Relaxed))
}
