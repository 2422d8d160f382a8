//! A peer that asks for the same manifest on all its streams, again and again: others get what they came for all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::{Answer, ContentId, MAX_FRAME, PeerMessage, Request, VERSION, Wire};
use tokio::time::{Instant, timeout};
use transport::frame::{frame, read_frame};
use transport::{Connection, Transport};

use super::world::{World, address, noise};

/// Long before it is over something is wrong.
const LONG: Duration = Duration::from_secs(300);
/// Bytes of the file and a second: the manifest has a thirty-second of the file's.
const FILE: usize = 4 << 20;
const RATE: u64 = 1 << 20;
const PIECE: u32 = 1024;
const STREAMS: usize = 64;

/// Asks on one stream after another for as long as there is an answer, and counts the manifests that came whole.
async fn ask(connection: Arc<dyn Connection>, content: ContentId, whole: Arc<AtomicUsize>) {
    loop {
        let Ok((mut send, mut recv)) = connection.open().await else { return };
        let question = Request::Manifest { content }.encode().unwrap();
        if send.send(frame(&question)).await.is_err() || send.finish().is_err() {
            return;
        }
        let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await else { continue };
        let Ok(Answer::Bytes(len)) = Answer::decode(&bytes) else {
            // Refused: it comes again in a moment.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (mut came, mut part) = (0, vec![0; 64 << 10]);
        while let Ok(count @ 1..) = recv.recv(&mut part).await {
            came += count as u64;
        }
        whole.fetch_add(usize::from(came == len), Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_asked_for_on_all_streams_takes_the_uplink_from_nobody() {
    let world = World::new();
    let file = world.file("file", &noise(FILE, 3));
    let (seeder, getter) = (world.builder("seeder").up_rate(Some(RATE)).start(), world.node("getter"));
    let content = seeder.share(&file).piece_size(PIECE).await.unwrap().content();
    let whole = Arc::<AtomicUsize>::default();
    let hostile = world.bind("hostile");
    let connection = hostile.dial(seeder.listeners()[0], seeder.id()).await.unwrap();
    let (mut control, _heard) = connection.open().await.unwrap();
    let hello = PeerMessage::Hello { version: VERSION, listeners: Vec::new(), site: String::new() };
    control.send(frame(&hello.encode().unwrap())).await.unwrap();
    for _ in 0..STREAMS {
        tokio::spawn(ask(connection.clone(), content, whole.clone()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let download = getter.download(content).start().await.unwrap();
    getter.add_peer(content, address(&seeder)).await.unwrap();
    timeout(LONG, download).await.expect("it ends").expect("it completes");
    let seconds = began.elapsed().as_secs_f64();
    // The file takes 4 s, and all that is given to the stranger beside it no more than 1.2.
    assert!(seconds < 8.0, "{seconds} s of virtual time, {whole:?} manifests");
    // One, and what 1 MiB more has room for.
    assert!((1..=9).contains(&whole.load(Ordering::Relaxed)), "{whole:?}");
}
