//! Connections that end in every state: what a node held for them is free again. Bytes are counted, not time: a question
//! whose connection had ended once kept that connection, with all its buffers, for as long as the process lived.

use std::sync::Arc;
use std::time::{Duration, Instant};

use p2p_fileshare::{Node, manifest_path, received_path};
use peak_alloc::PeakAlloc;
use protocol::{Answer, ContentId, MAX_FRAME, PeerMessage, PieceRange, Request, VERSION, Wire};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use transport::frame::{frame, read_frame};
use transport::{Config, Connection, Identity, Kind, Transport};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const PIECE: usize = 64 << 10;
const PIECES: u32 = 1024;
/// A connection ends after so long, wherever it has got to.
const REACHES: Duration = Duration::from_millis(300);
/// Connections of each state in a round.
const ROUND: usize = 8;
/// Bytes that three rounds of all states may leave: tables grow in steps. A connection takes several thousand.
const LEFT: usize = 96 << 10;
/// Connections at once: no more than the downloader has room to ask.
const TOGETHER: usize = 4;
/// What was closed is forgotten within this time.
const SETTLES: Duration = Duration::from_secs(40);
/// What has not become less for so long is all that is left.
const STABLE: Duration = Duration::from_secs(2);

/// Where a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    BeforeHello,
    AfterHello,
    /// Streams are open on which nothing was asked, or half of a question.
    HalfAsked,
    /// One answer has begun, others wait for their turn or for pieces that are to come.
    Questions,
    HalfReadManifest,
    /// It offers pieces, and is asked for them.
    Offering,
    /// It has begun to send a piece.
    HalfSent,
    /// It has sent a piece, which is hashed and written while it goes.
    Sent,
}

const SEEDERS: [End; 5] = [End::BeforeHello, End::AfterHello, End::HalfAsked, End::Questions, End::HalfReadManifest];
const DOWNLOADERS: [End; 3] = [End::Sent, End::Offering, End::HalfSent];

struct World {
    _folder: tempfile::TempDir,
    bytes: Vec<u8>,
    content: ContentId,
    seeder: Node,
    downloader: Node,
    /// For the states at the seeder, and for each of those at the downloader: one that let it wait is not asked for a while.
    strangers: Vec<Vec<Arc<dyn Transport>>>,
}

fn transport(kind: Kind) -> Arc<dyn Transport> {
    kind.bind(Config::new(Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()])).unwrap()
}

async fn world(kind: Kind) -> World {
    let folder = tempfile::tempdir().unwrap();
    let node = |name: &str| {
        let folder = folder.path().join(name);
        Node::builder(transport(kind))
            .storage(storage::backend("file").unwrap())
            .hashes(folder.join("hashes"))
            .output(folder.join("output"))
            .up_rate(Some(1 << 20))
            .budget(4 * PIECE as u64)
            .seed(3)
            .start()
    };
    let mut random = fastrand::Rng::with_seed(1);
    let bytes: Vec<_> = (0..PIECE * PIECES as usize).map(|_| random.u8(..)).collect();
    let file = folder.path().join("file");
    std::fs::write(&file, &bytes).unwrap();
    let seeder = node("seeder");
    let content = seeder.share(&file).piece_size(PIECE as u32).await.unwrap().content();
    // It has the manifest, so it asks for pieces alone.
    let received = received_path(&folder.path().join("downloader/hashes"), content);
    std::fs::create_dir_all(received.parent().unwrap()).unwrap();
    std::fs::copy(manifest_path(&folder.path().join("seeder/hashes"), "file"), received).unwrap();
    let downloader = node("downloader");
    downloader.download(content).start().await.unwrap();
    let group = || (0..ROUND).map(|_| transport(kind)).collect();
    let strangers = (0..=DOWNLOADERS.len()).map(|_| group()).collect();
    World { _folder: folder, bytes, content, seeder, downloader, strangers }
}

impl World {
    /// Takes a connection to where it ends, and says whether it got there: a nuisance may have been shut out.
    async fn go(&self, stranger: &dyn Transport, end: End) -> bool {
        let node = if SEEDERS.contains(&end) { &self.seeder } else { &self.downloader };
        let Ok(connection) = stranger.dial(node.listeners()[0], node.id()).await else { return false };
        let reached = timeout(REACHES, self.get_to(&*connection, end)).await;
        connection.close(0, "over");
        matches!(reached, Ok(Some(())))
    }

    async fn get_to(&self, connection: &dyn Connection, end: End) -> Option<()> {
        let (content, all) = (self.content, PieceRange { first: 0, count: PIECES });
        if matches!(end, End::BeforeHello) {
            return Some(());
        }
        let (mut control, _heard) = connection.open().await.ok()?;
        let wants = matches!(end, End::Questions);
        let mut said = vec![PeerMessage::Hello { version: VERSION, listeners: vec![], site: String::new() }];
        match end {
            End::Questions => said.push(PeerMessage::Join { content, pieces: Some(PIECES), wants }),
            End::Offering | End::HalfSent | End::Sent => {
                said.push(PeerMessage::Join { content, pieces: Some(PIECES), wants });
                said.push(PeerMessage::Have { content, runs: vec![all], in_flight: vec![] });
                // It is asked at once for what it offers.
                said.push(PeerMessage::Offer { content, runs: vec![all] });
            }
            _ => {}
        }
        for message in said {
            control.send(frame(&message.encode().unwrap())).await.ok()?;
        }
        let mut held = Vec::new();
        match end {
            End::BeforeHello | End::AfterHello => {}
            End::HalfAsked => {
                for begun in [&[][..], &[40], &[40, 0, 0]] {
                    let (mut send, recv) = connection.open().await.ok()?;
                    send.send(begun.to_vec().into()).await.ok()?;
                    held.push((send, recv));
                }
            }
            End::Questions => {
                for first in 0..6 {
                    let request = Request::Pieces { content, run: PieceRange { first, count: 1 } };
                    held.push(ask(connection, &request).await?);
                }
                read_frame(&mut *held[0].1, Answer::MAX_BYTES).await.ok()?;
                held[0].1.recv(&mut [0; 100]).await.ok()?;
            }
            End::HalfReadManifest => {
                let (_send, mut recv) = ask(connection, &Request::Manifest { content }).await?;
                read_frame(&mut *recv, Answer::MAX_BYTES).await.ok()?;
                recv.recv(&mut [0; 100]).await.ok()?;
            }
            End::Offering | End::HalfSent | End::Sent => {
                let (mut send, mut recv) = connection.accept().await.ok()?;
                let question = read_frame(&mut *recv, MAX_FRAME).await.ok()??;
                let Ok(Request::Pieces { run, .. }) = Request::decode(&question) else { return None };
                let len = PIECE * run.count as usize;
                let begin = PIECE * run.first as usize;
                let sent = match end {
                    End::Offering => 0,
                    End::HalfSent => len / 2,
                    _ => len,
                };
                if sent > 0 {
                    send.send(frame(&Answer::Bytes(len as u64).encode().unwrap())).await.ok()?;
                    send.send(self.bytes[begin..begin + sent].to_vec().into()).await.ok()?;
                }
                if sent == len {
                    send.finish().ok()?;
                    sleep(Duration::from_millis(5)).await;
                }
            }
        }
        Some(())
    }

    /// How many connections got to where they end, of each state.
    async fn round(self: &Arc<Self>) -> Vec<usize> {
        let mut reached = Vec::new();
        for end in SEEDERS.into_iter().chain(DOWNLOADERS) {
            let mut count = 0;
            let group = DOWNLOADERS.iter().position(|other| *other == end).map_or(0, |at| at + 1);
            for some in self.strangers[group].chunks(TOGETHER) {
                let mut going = JoinSet::new();
                for stranger in some.iter().cloned() {
                    let world = self.clone();
                    going.spawn(async move { world.go(&*stranger, end).await });
                }
                count += going.join_all().await.into_iter().filter(|&reached| reached).count();
            }
            reached.push(count);
        }
        reached
    }
}

async fn ask(connection: &dyn Connection, request: &Request) -> Option<transport::Stream> {
    let (mut send, recv) = connection.open().await.ok()?;
    send.send(frame(&request.encode().unwrap())).await.ok()?;
    Some((send, recv))
}

/// What is allocated as soon as it is no more than this, or the least of it once it has not become less for some time.
async fn settled(most: usize, stable: Duration) -> usize {
    let (mut least, mut since) = (usize::MAX, Instant::now());
    while least > most && since.elapsed() < stable {
        sleep(Duration::from_millis(100)).await;
        let now = ALLOCATED.current_usage();
        if now < least {
            (least, since) = (now, Instant::now());
        }
    }
    least
}

async fn keeps_nothing(kind: Kind) {
    let world = Arc::new(world(kind).await);
    let mut reached = world.round().await;
    let before = settled(0, STABLE).await;
    for _ in 0..3 {
        let round = world.round().await;
        reached.iter_mut().zip(round).for_each(|(sum, count)| *sum += count);
    }
    println!("{kind:?}: connections that got there, by state: {reached:?}");
    assert!(reached.iter().all(|&count| count > 0), "{kind:?}: a state was never reached: {reached:?}");
    let after = settled(before + LEFT / 4, SETTLES).await;
    let (begun, left) = (3 * ROUND * (SEEDERS.len() + DOWNLOADERS.len()), after.saturating_sub(before));
    println!("{kind:?}: {begun} connections have left {left} bytes");
    assert!(left < LEFT, "{kind:?}: {begun} connections have left {left} bytes");
    world.seeder.shutdown().await;
    world.downloader.shutdown().await;
}

/// One after the other: all share an allocator.
#[tokio::test]
async fn connections_that_ended_leave_nothing_in_whatever_state() {
    for kind in [Kind::Quic, Kind::Tcp] {
        keeps_nothing(kind).await;
    }
}
