//! Pieces that are asked for together with the manifest, from a peer that answers other than it should: nothing of it is kept, and an
//! honest peer brings everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::{
    Answer, ContentId, MAX_FRAME, PeerAddress, PeerMessage, PieceRange, RefusalReason, Request, VERSION, Wire,
};
use tokio::time::{sleep, timeout};
use transport::frame::{frame, read_frame};
use transport::{Connection, SendStream, Transport, TransportError};

use super::world::{LONG, World, address, noise};

const PIECE: u32 = 64 << 10;

/// What the hostile peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It sends other bytes than it says they are.
    Wrong,
    /// It says that there are endless many, and sends as many as are taken.
    Endless,
    /// What it sends belongs to a manifest that never comes.
    NoManifest,
    /// It does not know the question.
    Older,
}

/// A peer that has everything, as it says.
struct Hostile {
    way: Way,
    content: ContentId,
    manifest: Bytes,
    pieces: u32,
    /// Bytes of first pieces that were taken.
    taken: Arc<AtomicU64>,
}

impl Hostile {
    async fn run(self: Arc<Self>, transport: Arc<dyn Transport>) {
        while let Some(connection) = transport.accept().await {
            tokio::spawn(self.clone().talk(connection));
        }
    }

    async fn talk(self: Arc<Self>, connection: Arc<dyn Connection>) -> Result<(), TransportError> {
        let (mut send, _control) = connection.accept().await?;
        let (content, run) = (self.content, PieceRange { first: 0, count: self.pieces });
        for message in [
            PeerMessage::Hello { version: VERSION, listeners: Vec::new(), site: String::new() },
            PeerMessage::Join { content, pieces: Some(self.pieces), wants: false },
            PeerMessage::Have { content, runs: vec![run], in_flight: Vec::new() },
        ] {
            send.send(frame(&message.encode().unwrap())).await?;
        }
        loop {
            let (send, mut recv) = connection.accept().await?;
            let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await else { continue };
            let request = Request::decode(&bytes).unwrap();
            tokio::spawn(self.clone().answer(request, send));
        }
    }

    async fn answer(self: Arc<Self>, request: Request, mut send: Box<dyn SendStream>) -> Result<(), TransportError> {
        let say = |answer: Answer| frame(&answer.encode().unwrap());
        match (request, self.way) {
            (Request::Manifest { .. }, Way::NoManifest) => sleep(LONG).await,
            (Request::Manifest { .. }, _) => {
                send.send(say(Answer::Bytes(self.manifest.len() as u64))).await?;
                send.send(self.manifest.clone()).await?;
                send.finish()?;
            }
            (Request::FirstPieces { .. }, Way::Older) => {}
            (Request::FirstPieces { .. }, way) => {
                let run = PieceRange { first: 0, count: 1 };
                let bytes = if way == Way::Endless { u64::MAX } else { PIECE.into() };
                send.send(say(Answer::Pieces { run, bytes })).await?;
                let (mut left, part) = (bytes, Bytes::from(vec![7; 16 << 10]));
                while left > 0 {
                    send.send(part.clone()).await?;
                    self.taken.fetch_add(part.len() as u64, Ordering::Relaxed);
                    left -= part.len() as u64;
                }
                send.finish()?;
            }
            _ => {
                send.send(say(Answer::Refused(RefusalReason::Busy))).await?;
                send.finish()?;
            }
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_early_and_is_not_right_is_neither_kept_nor_without_end() {
    for way in [Way::Wrong, Way::Endless, Way::NoManifest, Way::Older] {
        let (world, bytes) = (World::new(), noise(2 << 20, 5));
        let file = world.file("file", &bytes);
        let (seeder, getter) = (world.node("seeder"), world.node("getter"));
        let share = seeder.share(&file).piece_size(PIECE).await.unwrap();
        let content = share.content();
        let manifest = seeder.manifest(content).await.unwrap();
        let taken = Arc::<AtomicU64>::default();
        let (hostile, pieces) = (Arc::new(world.bind("hostile")), manifest.geometry().pieces());
        let peer = Hostile { way, content, manifest: manifest.bytes().clone(), pieces, taken: taken.clone() };
        tokio::spawn(Arc::new(peer).run(hostile.clone()));
        let download = getter.download(content).start().await.unwrap();
        let hostile = PeerAddress { id: hostile.peer_id(), addresses: hostile.listeners() };
        getter.add_peer(content, hostile).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let have = getter.status(content).await.unwrap().have;
        assert_eq!(have, 0, "{way:?}: nothing right has come");
        // What was asked for is held, and what a stream and a network hold beside.
        let most = 4 << 20;
        assert!(taken.load(Ordering::Relaxed) <= most, "{way:?}: {taken:?} bytes were taken");
        getter.add_peer(content, address(&seeder)).await.unwrap();
        timeout(LONG, download).await.expect("it ends").expect("it completes");
        assert_eq!(world.output("getter", "file"), bytes, "{way:?}");
    }
}
