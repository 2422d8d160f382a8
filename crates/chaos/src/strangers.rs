//! Strangers who come to a private share by the thousand, over both transports and at both ports: some say nothing, some
//! guess proofs, some replay one that they have heard. Meanwhile a holder of the ticket gets it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use protocol::{MAX_FRAME, PeerId, PeerMessage, Wire};
use testbed::event::{Ready, Ticket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use transport::frame::{frame, read_frame};
use transport::{Config, Connection, Identity, Kind, Transport};

use super::floods::runtime;
use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground, MEMORY, RATE};

pub const CASES: &[Case] = &[Case {
    name: "strangers-private",
    fault: "10,000 connections to a private share, with guessed and replayed proofs",
    run: strangers,
}];

/// The part of its rate that an honest download keeps.
const KEPT: f64 = 0.7;
const CONNECTIONS: u64 = 10_000;
const A_SECOND: u64 = 400;
const SOON: Duration = Duration::from_secs(30);

fn strangers(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let mut stage = Stage::open(ground, &report.case)?;
    let mut command = Command::new(&ground.programs.peer);
    command.args(["share", "--bind=127.0.0.1", "--json", "--commands", "-d=0", "--piece-size=1MiB"]).arg(&ground.file);
    let sharer = stage.start("sharer", command)?;
    let ready: Ready = stage.event(sharer, SOON)?;
    let ticket: Ticket = stage.event(sharer, SOON)?;
    let peer = (ready.listeners.first().context("it listens")?.parse()?, ready.id.parse()?);
    let parsed: protocol::Ticket = ticket.ticket.parse()?;
    let tracker = (parsed.addresses()[0], ready.tracker.parse()?);
    let calm = get(&mut stage, "calm", &ticket.ticket)?;
    let (stop, heard, made) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let beside = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood([peer, tracker], &stop, &made, &heard));
        let mut slowest = 0.0f64;
        let mut number = 0;
        let result = loop {
            number += 1;
            match get(&mut stage, &format!("honest-{number}"), &ticket.ticket) {
                Ok(seconds) => slowest = slowest.max(seconds),
                Err(error) => break Err(error),
            }
            if made.load(Ordering::Relaxed) >= CONNECTIONS || flood.is_finished() {
                break Ok(slowest);
            }
        };
        stop.store(true, Ordering::Relaxed);
        flood.join().map_err(|_| anyhow::anyhow!("the strangers broke off"))??;
        result
    })?;
    report.at_least("connections", made.load(Ordering::Relaxed) as f64, CONNECTIONS as f64, "");
    report.at_least("rate kept", calm / beside, KEPT, "");
    report.at_most("bytes told", heard.load(Ordering::Relaxed) as f64, 0.0, "");
    report.at_most("memory", stage.memory(sharer), MEMORY, "MiB");
    stage.kill(sharer);
    stage.close()
}

/// Seconds of a download at the rate of all cases.
fn get(stage: &mut Stage<'_>, name: &str, ticket: &str) -> anyhow::Result<f64> {
    let mut command = Command::new(&stage.ground.programs.peer);
    command.args(["get", "--bind=127.0.0.1", "--json", ticket]).arg(format!("--down-rate={RATE}"));
    let getter = stage.start(name, command)?;
    let seconds = stage.verified(getter)?;
    stage.ends(getter, SOON)?;
    std::fs::remove_dir_all(stage.folder(name)?.join("output"))?;
    Ok(seconds)
}

/// Comes again and again, and counts what was said back by the peer: the tracker says one sentence.
fn flood(
    targets: [(SocketAddr, PeerId); 2],
    stop: &AtomicBool,
    made: &AtomicU64,
    heard: &AtomicU64,
) -> anyhow::Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let bind = |kind: Kind| {
            kind.bind(Config::new(Identity::generate()?, vec![([127, 0, 0, 1], 0).into()])).map_err(anyhow::Error::from)
        };
        let strangers = [bind(Kind::Quic)?, bind(Kind::Tcp)?];
        let (began, mut begun, mut talks) = (Instant::now(), 0, JoinSet::new());
        while begun < CONNECTIONS && !stop.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * A_SECOND as f64) as u64;
            while begun < due.min(CONNECTIONS) {
                let (stranger, number) = (strangers[begun as usize % 2].clone(), begun as usize / 2);
                talks.spawn(async move { talk(stranger, targets[number % 2], number).await });
                begun += 1;
            }
            while let Some(told) = talks.try_join_next() {
                heard.fetch_add(told.unwrap_or(0), Ordering::Relaxed);
                made.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while let Some(told) = talks.join_next().await {
            heard.fetch_add(told.unwrap_or(0), Ordering::Relaxed);
            made.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    })
}

/// One connection: how many bytes a stranger was told.
async fn talk(stranger: Arc<dyn Transport>, (address, id): (SocketAddr, PeerId), number: usize) -> u64 {
    // Both listen on one port: the peer, and its own tracker.
    let dialled = match number % 2 {
        0 => stranger.dial(address, id).await,
        _ => stranger.dial_tracker(address, id).await,
    };
    let Ok(connection) = dialled else { return 0 };
    // Silent ones stay until they are sent away.
    if number % 4 == 3 {
        connection.closed().await;
        return 0;
    }
    let told = timeout(SOON, say(&*connection, number)).await.ok().flatten().unwrap_or_default();
    // The tracker's sentence is the same for everyone.
    if told.windows(7).any(|window| window == b"private") { 0 } else { told.len() as u64 }
}

async fn say(connection: &dyn Connection, number: usize) -> Option<Vec<u8>> {
    // Guessed, and said again and again by everyone.
    let proofs = vec![[(number % 251) as u8; 32]; 16];
    let (mut send, mut recv) = connection.open().await.ok()?;
    send.send(frame(&PeerMessage::Prove { proofs }.encode().ok()?)).await.ok()?;
    read_frame(&mut *recv, MAX_FRAME).await.ok()?
}
