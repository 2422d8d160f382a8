//! Connections that end in every state: what a node held for them is free again. Bytes are counted, not time: a question
//! whose connection had ended once kept that connection, with all its buffers, for as long as the process lived.

use std::sync::Arc;
use std::time::Duration;

use p2p_fileshare::Node;
use peak_alloc::PeakAlloc;
use protocol::{Answer, ContentId, MAX_FRAME, PeerMessage, PieceRange, Request, VERSION, Wire};
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
/// What was closed is forgotten within this time.
const SETTLES: Duration = Duration::from_secs(40);

/// Where a connection ends.
#[derive(Debug, Clone, Copy)]
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
const DOWNLOADERS: [End; 3] = [End::Offering, End::HalfSent, End::Sent];

struct World {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    content: ContentId,
    seeder: Node,
    downloader: Node,
    strangers: Vec<Arc<dyn Transport>>,
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
    std::fs::create_dir_all(folder.path().join("downloader")).unwrap();
    std::fs::create_dir(folder.path().join("downloader/hashes")).unwrap();
    for kept in std::fs::read_dir(folder.path().join("seeder/hashes")).unwrap() {
        let kept = kept.unwrap();
        std::fs::copy(kept.path(), folder.path().join("downloader/hashes").join(kept.file_name())).unwrap();
    }
    let downloader = node("downloader");
    downloader.download(content).start().await.unwrap();
    let strangers = (0..8).map(|_| transport(kind)).collect();
    World { folder, bytes, content, seeder, downloader, strangers }
}

impl World {
    /// Takes a connection to where it ends. Whether it got there is of no account: who was a nuisance is shut out.
    async fn go(&self, stranger: &dyn Transport, end: End) {
        let node = if SEEDERS.iter().any(|other| *other as u8 == end as u8) { &self.seeder } else { &self.downloader };
        let Ok(connection) = stranger.dial(node.listeners()[0], node.id()).await else { return };
        let _ = timeout(REACHES, self.get_to(&*connection, end)).await;
        connection.close(0, "over");
    }

    async fn get_to(&self, connection: &dyn Connection, end: End) -> Option<()> {
        let (content, all) = (self.content, PieceRange { first: 0, count: PIECES });
        if matches!(end, End::BeforeHello) {
            return None;
        }
        let (mut control, _heard) = connection.open().await.ok()?;
        let wants = matches!(end, End::Questions);
        let mut said = vec![PeerMessage::Hello { version: VERSION, listeners: vec![], site: String::new() }];
        match end {
            End::Questions => said.push(PeerMessage::Join { content, pieces: Some(PIECES), wants }),
            End::Offering | End::HalfSent | End::Sent => {
                said.push(PeerMessage::Join { content, pieces: Some(PIECES), wants });
                said.push(PeerMessage::Have { content, runs: vec![all], in_flight: vec![] });
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

    async fn round(&self) {
        for end in SEEDERS.into_iter().chain(DOWNLOADERS) {
            for number in 0..ROUND {
                self.go(&*self.strangers[number % self.strangers.len()], end).await;
            }
        }
    }
}

async fn ask(connection: &dyn Connection, request: &Request) -> Option<transport::Stream> {
    let (mut send, recv) = connection.open().await.ok()?;
    send.send(frame(&request.encode().unwrap())).await.ok()?;
    Some((send, recv))
}

/// The least that is allocated within some time, or as soon as it is no more than this.
async fn settled(most: usize, within: Duration) -> usize {
    let mut least = usize::MAX;
    let waiting = async {
        while least > most {
            sleep(Duration::from_millis(500)).await;
            least = least.min(ALLOCATED.current_usage());
        }
    };
    let _ = timeout(within, waiting).await;
    least
}

async fn keeps_nothing(kind: Kind) {
    let world = world(kind).await;
    world.round().await;
    let before = settled(0, SETTLES / 4).await;
    for _ in 0..3 {
        world.round().await;
    }
    let after = settled(before + LEFT / 4, SETTLES).await;
    let (begun, left) = (3 * ROUND * (SEEDERS.len() + DOWNLOADERS.len()), after.saturating_sub(before));
    println!("{kind:?}: {begun} connections have left {left} bytes");
    assert!(left < LEFT, "{kind:?}: {begun} connections have left {left} bytes");
    world.seeder.shutdown().await;
    world.downloader.shutdown().await;
    drop(world.folder);
}

/// One after the other: all share an allocator.
#[tokio::test]
async fn connections_that_ended_leave_nothing_in_whatever_state() {
    for kind in [Kind::Quic, Kind::Tcp] {
        keeps_nothing(kind).await;
    }
}
