//! Thousands of strangers at a private share, over both transports, at the peer and at its tracker. Some say nothing, some guess
//! proofs, some replay a valid proof from another connection, and some send every message and every request with the real id and
//! name of the content. Meanwhile a holder of the ticket downloads it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use protocol::{
    AddressToken, Announce, ContentId, LeaseRequest, MAX_FRAME, MailboxEvent, MailboxRequest, OriginKey, PROOF_LABEL,
    PeerId, PeerMessage, PeerProgress, PieceRange, ProbeRequest, Request, Role, ShareKey, TrackerEvent, TrackerRequest,
    Turn, VERSION, Wire,
};
use testbed::event::{Manifest, Ready, Sharing, Ticket};
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
    fault: "10,000 connections to a private share: guessed and replayed proofs, every message of the protocol",
    run: strangers,
}];

/// The part of its rate that an honest download keeps.
const KEPT: f64 = 0.7;
const CONNECTIONS: u64 = 10_000;
/// Most of them are let in as far as a stranger gets, or the case shows nothing.
const MET: u64 = CONNECTIONS / 2;
const A_SECOND: u64 = 400;
const SOON: Duration = Duration::from_secs(30);

fn strangers(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let mut stage = Stage::open(ground, &report.case)?;
    let mut command = Command::new(&ground.programs.peer);
    command.args(["share", "--bind=127.0.0.1", "--json", "--commands", "-d=0", "--piece-size=1MiB"]).arg(&ground.file);
    let sharer = stage.start("sharer", command)?;
    let ready: Ready = stage.event(sharer, SOON)?;
    let ticket: Ticket = stage.event(sharer, SOON)?;
    let sharing: Sharing = stage.event(sharer, SOON)?;
    let peer = (ready.listeners.first().context("it listens")?.parse()?, ready.id.parse()?);
    let parsed: protocol::Ticket = ticket.ticket.parse()?;
    let tracker = (parsed.addresses()[0], ready.tracker.parse()?);
    let key = parsed.secret().context("it is private")?.share_key();
    let name = stage.wanted().display().to_string();
    let share = Arc::new(Share {
        targets: [peer, tracker],
        content: sharing.content.parse()?,
        name,
        key,
        met: AtomicU64::new(0),
    });
    let calm = get(&mut stage, "calm", &ticket.ticket)?;
    let (stop, heard, made) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let beside = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&share, &stop, &made, &heard));
        let mut slowest = Course::default();
        let mut number = 0;
        let result = loop {
            number += 1;
            match get(&mut stage, &format!("honest-{number}"), &ticket.ticket) {
                Ok(course) if course.seconds > slowest.seconds => slowest = course,
                Ok(_) => {}
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
    report.at_least("completed handshakes", share.met.load(Ordering::Relaxed) as f64, MET as f64, "");
    report.at_least("rate kept", calm.seconds / beside.seconds, KEPT, "");
    report.shows("manifest after", &format!("{:.1} s", beside.manifest));
    report.shows("longest pause", &format!("{:.1} s", beside.pause));
    report.at_most("bytes told", heard.load(Ordering::Relaxed) as f64, 0.0, "");
    report.at_most("memory", stage.memory(sharer), MEMORY, "MiB");
    stage.kill(sharer);
    stage.close()
}

/// How a download went, in seconds: all of it, until its manifest came, and the longest time without a piece after that. One that stands
/// still is another fault than a machine that has too much to do.
#[derive(Default)]
struct Course {
    seconds: f64,
    manifest: f64,
    pause: f64,
}

/// A download at the rate of all cases.
fn get(stage: &mut Stage<'_>, name: &str, ticket: &str) -> anyhow::Result<Course> {
    let mut command = Command::new(&stage.ground.programs.peer);
    command.args(["get", "--bind=127.0.0.1", "--json", "-o=output", ticket]).arg(format!("--down-rate={RATE}"));
    let getter = stage.start(name, command)?;
    let seconds = stage.verified(getter)?;
    stage.ends(getter, SOON)?;
    std::fs::remove_dir_all(stage.folder(name)?.join("output"))?;
    let peer = &stage.peers[getter];
    let manifest = peer.when::<Manifest>().map_or(0.0, |at| at.duration_since(peer.started).as_secs_f64());
    Ok(Course { seconds, manifest, pause: peer.longest_pause.as_secs_f64() })
}

/// What is attacked. Strangers know more of it than they could.
struct Share {
    /// Connections whose handshake was completed: one that never begins says nothing about the share.
    met: AtomicU64,
    /// The peer, and the tracker. Both listen on one port.
    targets: [(SocketAddr, PeerId); 2],
    content: ContentId,
    name: String,
    key: ShareKey,
}

/// What a stranger does.
#[derive(Clone, Copy)]
enum Way {
    /// It stays until it is sent away.
    Silent,
    Guesses,
    /// It says what was right over another connection of its own to the same peer.
    Replays,
    /// It says this one of all messages first, and then all others, and asks all questions.
    Says(usize),
}

/// Comes again and again, and counts what was said back of the content.
fn flood(share: &Arc<Share>, stop: &AtomicBool, made: &AtomicU64, heard: &AtomicU64) -> anyhow::Result<()> {
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
                let number = begun as usize;
                let (stranger, share) = (strangers[number % 2].clone(), share.clone());
                let way = match number / 4 % 4 {
                    0 => Way::Silent,
                    1 => Way::Guesses,
                    2 => Way::Replays,
                    _ => Way::Says(number / 16),
                };
                talks.spawn(async move { talk(&*stranger, &share, number / 2 % 2, way).await });
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

async fn dial(stranger: &dyn Transport, share: &Share, target: usize) -> Option<Arc<dyn Connection>> {
    let (address, id) = share.targets[target];
    let dialled = if target == 0 { stranger.dial(address, id).await } else { stranger.dial_tracker(address, id).await };
    let connection = dialled.ok()?;
    share.met.fetch_add(1, Ordering::Relaxed);
    Some(connection)
}

/// One connection: how many bytes a stranger was told.
async fn talk(stranger: &dyn Transport, share: &Share, target: usize, way: Way) -> u64 {
    let Some(connection) = dial(stranger, share, target).await else { return 0 };
    let said = match way {
        Way::Silent => {
            connection.closed().await;
            return 0;
        }
        Way::Guesses => prove(target, vec![[7; 32]; 16]),
        Way::Replays => {
            let other = dial(stranger, share, target).await.and_then(|other| other.exporter(PROOF_LABEL).ok());
            let Some(exporter) = other else { return 0 };
            let me = stranger.peer_id();
            let proof = share.key.proof(Turn::First, &exporter, me, share.targets[target].1).bytes();
            prove(target, vec![proof])
        }
        Way::Says(first) => {
            let mut all = if target == 0 { to_peers(share) } else { to_trackers(share) };
            let first = first % all.len();
            all.rotate_left(first);
            all
        }
    };
    let questions = if matches!(way, Way::Says(_)) && target == 0 { questions(share) } else { Vec::new() };
    let told = timeout(SOON, say(&*connection, said, questions)).await.unwrap_or_default();
    let of_content = |told: &Vec<u8>| target == 0 || !is_the_same_for_everyone(told);
    told.iter().filter(|told| of_content(told)).map(|told| told.len() as u64).sum()
}

/// The tracker's sentence, or that there is no such mailbox.
fn is_the_same_for_everyone(told: &[u8]) -> bool {
    match TrackerEvent::decode(told) {
        Ok(TrackerEvent::Refused(sentence)) => sentence.contains("private"),
        Ok(TrackerEvent::Mailbox(MailboxEvent::Refused(_))) => true,
        _ => false,
    }
}

fn prove(target: usize, proofs: Vec<[u8; 32]>) -> Vec<Vec<u8>> {
    let proofs = match target {
        0 => PeerMessage::Prove { proofs }.encode(),
        _ => TrackerRequest::Prove { proofs }.encode(),
    };
    proofs.into_iter().collect()
}

fn to_peers(share: &Share) -> Vec<Vec<u8>> {
    let (content, runs) = (share.content, vec![PieceRange { first: 0, count: 1 }]);
    let messages = [
        PeerMessage::Hello { version: VERSION, listeners: Vec::new(), site: String::new() },
        PeerMessage::Join { content, pieces: None, wants: true },
        PeerMessage::Have { content, runs: runs.clone(), in_flight: Vec::new() },
        PeerMessage::Interest { content, interested: true },
        PeerMessage::Offer { content, runs: runs.clone() },
        PeerMessage::Decline { content, runs: runs.clone() },
        PeerMessage::Peers { content, peers: Vec::new() },
        PeerMessage::Withdraw { content },
        PeerMessage::Skip { content, runs },
        PeerMessage::Prove { proofs: Vec::new() },
        PeerMessage::Proven { proofs: vec![[7; 32]] },
        PeerMessage::Bye,
    ];
    messages.iter().filter_map(|message| message.encode().ok()).collect()
}

fn to_trackers(share: &Share) -> Vec<Vec<u8>> {
    let Share { targets, content, name, .. } = share;
    let (content, peer, key) = (*content, targets[0].1, OriginKey(content.0));
    let about = Some((name.clone(), 5));
    let progress = PeerProgress::default();
    let messages = [
        TrackerRequest::Hello { version: VERSION, listeners: Vec::new() },
        TrackerRequest::Announce(Announce { content, about, role: Role::Downloader }),
        TrackerRequest::Leave(content),
        TrackerRequest::Find(name.clone()),
        TrackerRequest::Find(content.to_string()),
        TrackerRequest::List { before: None },
        TrackerRequest::Progress { content, progress },
        TrackerRequest::Watch { content, after: None },
        TrackerRequest::Prove { proofs: Vec::new() },
        TrackerRequest::Relay { peer, content },
        TrackerRequest::TakesLegs,
        TrackerRequest::Mailbox(MailboxRequest::Open { mailbox: 1, message: vec![7; 33] }),
        TrackerRequest::Mailbox(MailboxRequest::Claim { wish: None }),
        TrackerRequest::Probe(ProbeRequest { dialled: [127, 0, 0, 1].into(), tcp: None }),
        TrackerRequest::Instance,
        TrackerRequest::Lease(LeaseRequest::Claim { key, size: 1, wrong: Vec::new() }),
        TrackerRequest::SecondAddress,
        TrackerRequest::AlsoAt { token: AddressToken([7; 16]), listeners: Vec::new() },
        TrackerRequest::Bye,
    ];
    messages.iter().filter_map(|message| message.encode().ok()).collect()
}

fn questions(share: &Share) -> Vec<Vec<u8>> {
    let (content, run) = (share.content, PieceRange { first: 0, count: 1 });
    let questions = [
        Request::Manifest { content },
        Request::Pieces { content, run },
        Request::AwaitedPieces { content, run },
        Request::FirstPieces { content, most: 1 << 20 },
        Request::UpRate { content },
        Request::Receivers { content, most: 1, number: 1 },
    ];
    questions.iter().filter_map(|question| question.encode().ok()).collect()
}

/// Says this on the first stream, and asks each question on one of its own. All frames that come back.
async fn say(connection: &dyn Connection, said: Vec<Vec<u8>>, questions: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut told = Vec::new();
    let Ok((mut send, mut recv)) = connection.open().await else { return told };
    for message in said {
        let _ = send.send(frame(&message)).await;
    }
    for question in questions {
        let Ok((mut send, mut recv)) = connection.open().await else { break };
        let _ = send.send(frame(&question)).await;
        let _ = send.finish();
        while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
            told.push(bytes);
        }
    }
    while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
        told.push(bytes);
    }
    told
}
