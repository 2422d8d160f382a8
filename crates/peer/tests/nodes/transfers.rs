//! Whole transfers between nodes in one process, over the in-process network and without a tracker: any bytes, any
//! size, partial seeders that complete each other, and going on after a stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use p2p_fileshare::{Download, Held, Node, PeerError, State, Status};
use protocol::{Algorithm, ContentId};
use storage::Backend;
use storage::wrappers::{Failing, Operation};
use tokio::io::AsyncReadExt;

use super::world::{LONG, World, address, noise};

impl World {
    /// A node that keeps contents in this way.
    fn keeps(&self, name: &str, storage: &str) -> Node {
        self.keeps_on(name, storage::backend(storage).unwrap())
    }

    fn keeps_on(&self, name: &str, storage: Arc<dyn Backend>) -> Node {
        self.builder(name).storage(storage).start()
    }
}

async fn share(node: &Node, path: &Path, held: Held) -> ContentId {
    node.share(path).piece_size(1024).held(held).await.unwrap().content()
}

/// How a download stands once it stands like that.
async fn reaches(download: &Download, like_that: impl FnMut(&Status) -> bool) -> Status {
    let mut status = download.status();
    let reached = tokio::time::timeout(LONG, status.wait_for(like_that)).await.expect("it gets there");
    reached.expect("somebody says so").clone()
}

/// Gets the content from these peers and waits until it has its name.
async fn get(node: &Node, content: ContentId, from: &[&Node]) {
    let download = node.download(content).start().await.unwrap();
    for peer in from {
        node.add_peer(content, address(peer)).await.unwrap();
    }
    tokio::time::timeout(LONG, download).await.expect("it ends").expect("it completes");
}

#[tokio::test]
async fn every_size_and_ending_arrives_as_it_was() {
    for algorithm in [Algorithm::Sha256, Algorithm::Blake3] {
        for storage in ["mmap", "file", "memory"] {
            let world = World::new();
            let (seeder, downloader) = (world.keeps("s", storage), world.keeps("d", storage));
            let mut zeros = noise(5000, 1);
            zeros.extend([0; 3000]);
            let cases = [vec![], vec![0], noise(1024, 2), noise(1025, 3), noise(100_000, 4), zeros, vec![0; 70_000]];
            for (number, bytes) in cases.iter().enumerate() {
                let name = format!("-größe {number} .bin");
                let path = world.file(&name, bytes);
                let content = seeder.share(&path).algorithm(algorithm).piece_size(1024).await.unwrap().content();
                get(&downloader, content, &[&seeder]).await;
                assert_eq!(world.output("d", &name), *bytes, "{algorithm:?} {storage} case {number}");
            }
            let left: Vec<_> = std::fs::read_dir(world.path("d/output")).unwrap().collect();
            assert_eq!(left.len(), cases.len(), "nothing but the files stays: {left:?}");
        }
    }
}

#[tokio::test]
async fn partial_seeders_complete_each_other_and_the_lack_of_a_piece_is_said() {
    let world = World::new();
    let path = world.file("file", &noise(20 * 1024, 5));
    let (one, two, downloader) = (world.node("1"), world.node("2"), world.node("d"));
    let content = share(&one, &path, Held::Fraction(0.0, 0.5)).await;
    let download = downloader.download(content).start().await.unwrap();
    downloader.add_peer(content, address(&one)).await.unwrap();
    let status = reaches(&download, |status| !status.lacking.is_empty()).await;
    assert_eq!(status.lacking, [protocol::PieceRange { first: 10, count: 10 }]);
    share(&two, &path, Held::Without((0..10).collect())).await;
    downloader.add_peer(content, address(&two)).await.unwrap();
    let completed = tokio::time::timeout(LONG, download).await.expect("it ends").expect("it completes");
    assert_eq!(completed.stats.sources.into_values().collect::<Vec<_>>(), [10 * 1024; 2]);
    assert_eq!(world.output("d", "file"), noise(20 * 1024, 5));
}

#[tokio::test]
async fn a_downloader_passes_on_what_it_has() {
    let world = World::new();
    let path = world.file("file", &noise(300_000, 6));
    let (seeder, first, second) = (world.node("s"), world.node("1"), world.keeps("2", "file"));
    let content = share(&seeder, &path, Held::All).await;
    get(&first, content, &[&seeder]).await;
    seeder.shutdown().await;
    get(&second, content, &[&first]).await;
    assert_eq!(world.output("2", "file"), noise(300_000, 6));
    assert!(first.status(content).await.unwrap().sent >= 300_000);
}

#[tokio::test]
async fn a_stopped_download_goes_on_where_it_was() {
    let world = World::new();
    let bytes = noise(64 * 1024, 8);
    let path = world.file("file", &bytes);
    let half = world.node("half");
    let content = share(&half, &path, Held::Fraction(0.0, 0.5)).await;
    let stopped = world.node("d");
    let download = stopped.download(content).start().await.unwrap();
    stopped.add_peer(content, address(&half)).await.unwrap();
    reaches(&download, |status| status.have == 32).await;
    stopped.shutdown().await;
    let whole = world.node("whole");
    share(&whole, &path, Held::All).await;
    let again = world.node("d");
    get(&again, content, &[&whole]).await;
    let status = again.status(content).await.unwrap();
    assert_eq!((status.had, status.received), (32, 32 * 1024));
    assert_eq!(world.output("d", "file"), bytes);
}

/// A manifest that lies in the hashes folder also comes from a peer, while the output is still being opened.
#[tokio::test]
async fn a_manifest_that_is_known_twice_opens_the_output_once() {
    let world = World::new();
    let bytes = noise(64 * 1024, 9);
    let path = world.file("file", &bytes);
    let seeder = world.node("seeder");
    let content = share(&seeder, &path, Held::All).await;
    let kept = p2p_fileshare::received_path(&world.path("d/hashes"), content);
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    std::fs::copy(world.path("seeder/hashes/file.manifest"), kept).unwrap();
    let slow = Failing::new(storage::backend("mmap").unwrap(), |operation| {
        if operation == Operation::Open {
            std::thread::sleep(Duration::from_millis(300));
        }
        None
    });
    let node = world.keeps_on("d", Arc::new(slow));
    get(&node, content, &[&seeder]).await;
    assert_eq!(world.output("d", "file"), bytes);
}

/// Too many open files were once taken for a file that had changed: nobody got it from then on.
#[tokio::test]
async fn a_seeder_without_a_descriptor_is_busy_and_shares_on() {
    let world = World::new();
    let bytes = noise(100_000, 10);
    let path = world.file("file", &bytes);
    let left = std::sync::atomic::AtomicU32::new(0);
    let left: &'static std::sync::atomic::AtomicU32 = Box::leak(Box::new(left));
    let full = Failing::new(storage::backend("file").unwrap(), |operation| {
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        let reads = matches!(operation, Operation::Read { .. });
        (reads && left.fetch_update(relaxed, relaxed, |left| left.checked_sub(1)).is_ok())
            .then(|| storage::StorageError::TooManyOpen("file".into()))
    });
    let seeder = world.keeps_on("seeder", Arc::new(full));
    let content = share(&seeder, &path, Held::All).await;
    left.store(3, std::sync::atomic::Ordering::Relaxed);
    let downloader = world.node("d");
    get(&downloader, content, &[&seeder]).await;
    assert_eq!(world.output("d", "file"), bytes);
    assert_eq!(left.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(seeder.status(content).await.is_some(), "it is still shared");
}

#[tokio::test]
async fn a_different_file_in_the_way_is_kept() {
    let world = World::new();
    let path = world.file("file", &noise(5000, 9));
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let content = share(&seeder, &path, Held::All).await;
    let output = world.path("d/output");
    std::fs::create_dir_all(&output).unwrap();
    std::fs::write(output.join("file"), "mine").unwrap();
    let download = downloader.download(content).start().await.unwrap();
    let status = download.status();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    let error = tokio::time::timeout(LONG, download).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("exists already and is different"), "{error}");
    assert_eq!(status.borrow().name, "file");
    assert_eq!(std::fs::read(output.join("file")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_status_that_nobody_looked_at_still_says_how_it_ended() {
    let world = World::new();
    let path = world.file("file", &noise(5000, 11));
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let content = share(&seeder, &path, Held::All).await;
    let download = downloader.download(content).start().await.unwrap();
    let watched = download.status();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    download.completed().await.unwrap();
    // The events of other contents drown those of this one.
    for number in 0..1500u32 {
        let path = world.file("other", &number.to_le_bytes());
        share(&downloader, &path, Held::All).await;
    }
    downloader.shutdown().await;
    let last = watched.borrow().clone();
    assert!(last.is_complete() && last.completed.is_some(), "{last:?}");
    assert_eq!(download.await.unwrap().path, world.path("d/output/file"));
}

#[tokio::test]
async fn a_reader_is_woken_by_the_next_piece_in_order() {
    let world = World::new();
    let bytes = noise(20 * 1024 + 7, 12);
    let path = world.file("file", &bytes);
    let (one, two, downloader) = (world.node("1"), world.node("2"), world.node("d"));
    let content = share(&one, &path, Held::Without(vec![10])).await;
    let download = downloader.download(content).start().await.unwrap();
    downloader.add_peer(content, address(&one)).await.unwrap();
    let mut reader = download.read_from(5);
    let mut read = vec![0; 10 * 1024 - 5];
    reader.read_exact(&mut read).await.unwrap();
    assert_eq!(read, bytes[5..10 * 1024]);
    reaches(&download, |status| !status.lacking.is_empty()).await;
    let mut next = [0; 1];
    let waits = tokio::time::timeout(Duration::from_millis(50), reader.read_exact(&mut next)).await;
    assert!(waits.is_err(), "a piece is missing");
    share(&two, &path, Held::All).await;
    downloader.add_peer(content, address(&two)).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(LONG, reader.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, bytes[10 * 1024..]);
}

#[tokio::test]
async fn a_reader_of_some_files_reads_them_one_after_the_other() {
    let world = World::new();
    let root = world.path("root");
    std::fs::create_dir_all(&root).unwrap();
    let files = ["a", "b", "c"].map(|name| (name, noise(3000, u64::from(name.as_bytes()[0]))));
    files.iter().for_each(|(name, bytes)| std::fs::write(root.join(name), bytes).unwrap());
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let content = share(&seeder, &root, Held::All).await;
    let globs = ["a", "c"].map(|glob| glob.parse().unwrap());
    let download = downloader.download(content).only(globs).start().await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    let mut read = Vec::new();
    download.read_from(100).read_to_end(&mut read).await.unwrap();
    assert_eq!(read, [&files[0].1[100..], &files[2].1].concat());
}

#[tokio::test]
async fn reading_fails_with_the_download() {
    let world = World::new();
    let path = world.file("file", &noise(20 * 1024, 13));
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let content = share(&seeder, &path, Held::Fraction(0.0, 0.5)).await;
    let download = downloader.download(content).start().await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    let mut reader = download.read_from(10 * 1024);
    let mut byte = [0; 1];
    let (read, cancelled) = tokio::join!(reader.read(&mut byte), download.cancel());
    cancelled.unwrap();
    assert!(read.unwrap_err().to_string().contains("cancelled"));
}

#[tokio::test]
async fn a_cancelled_download_keeps_what_is_verified() {
    let world = World::new();
    let bytes = noise(64 * 1024, 14);
    let path = world.file("file", &bytes);
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let content = share(&seeder, &path, Held::Fraction(0.0, 0.5)).await;
    let download = downloader.download(content).start().await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    let mut status = download.status();
    reaches(&download, |status| status.have == 32).await;
    download.cancel().await.unwrap();
    assert!(matches!(status.borrow_and_update().state, State::Stopped));
    assert!(downloader.status(content).await.is_none());
    let again = downloader.download(content).start().await.unwrap();
    let had = reaches(&again, |status| status.pieces > 0).await.had;
    assert_eq!(had, 32, "it begins at once where the other was");
    let error = downloader.download(content).start().await.err().unwrap();
    assert!(matches!(error, PeerError::Already(_)), "{error}");
}

#[tokio::test]
async fn a_paused_download_goes_on_when_it_is_resumed() {
    let world = World::new();
    let bytes = noise(64 * 1024, 15);
    let path = world.file("file", &bytes);
    let (half, whole, downloader) = (world.node("half"), world.node("whole"), world.node("d"));
    let content = share(&half, &path, Held::Fraction(0.0, 0.5)).await;
    let download = downloader.download(content).start().await.unwrap();
    downloader.add_peer(content, address(&half)).await.unwrap();
    reaches(&download, |status| status.have == 32).await;
    download.pause().await.unwrap();
    let paused = download.status().borrow().clone();
    assert!(matches!(paused.state, State::Paused) && paused.have == 32, "{paused:?}");
    share(&whole, &path, Held::All).await;
    downloader.add_peer(content, address(&whole)).await.unwrap();
    let other = world.keeps_on("d", storage::backend("mmap").unwrap());
    let opened = other.download(content).start().await.unwrap();
    assert_eq!(reaches(&opened, |status| status.pieces > 0).await.had, 32);
    opened.cancel().await.unwrap();
    download.pause().await.unwrap();
    download.resume().await.unwrap();
    download.resume().await.unwrap();
    downloader.add_peer(content, address(&whole)).await.unwrap();
    let completed = tokio::time::timeout(LONG, download).await.unwrap().unwrap();
    assert_eq!(std::fs::read(completed.path).unwrap(), bytes);
    assert_eq!(completed.stats.sources.into_values().sum::<u64>(), 64 * 1024, "no piece came twice");
}

/// Each step may come at any moment of opening: nothing is left locked, and nobody waits for ever.
#[tokio::test]
async fn pausing_and_cancelling_while_it_is_opened_let_go_of_the_files() {
    let world = World::new();
    let bytes = noise(64 * 1024, 16);
    let path = world.file("file", &bytes);
    let seeder = world.node("s");
    let content = share(&seeder, &path, Held::All).await;
    let slow = Failing::new(storage::backend("mmap").unwrap(), |operation| {
        if operation == Operation::Open {
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    });
    let downloader = world.keeps_on("d", Arc::new(slow));
    for _ in 0..5 {
        let download = downloader.download(content).start().await.unwrap();
        downloader.add_peer(content, address(&seeder)).await.unwrap();
        reaches(&download, |status| !matches!(status.state, State::Starting)).await;
        download.pause().await.unwrap();
        download.resume().await.unwrap();
        tokio::time::timeout(LONG, download.cancel()).await.unwrap().unwrap();
    }
    get(&downloader, content, &[&seeder]).await;
    assert_eq!(world.output("d", "file"), bytes);
}

#[tokio::test]
async fn a_download_has_its_own_folder_and_may_overwrite() {
    let world = World::new();
    let path = world.file("file", &noise(5000, 17));
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let content = share(&seeder, &path, Held::All).await;
    let elsewhere = world.path("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("file"), "old").unwrap();
    let start = async |overwrite| {
        let download = downloader.download(content).output(&elsewhere).overwrite(overwrite).start().await.unwrap();
        downloader.add_peer(content, address(&seeder)).await.unwrap();
        tokio::time::timeout(LONG, download).await.unwrap()
    };
    assert!(start(false).await.is_err());
    assert_eq!(start(true).await.unwrap().path, elsewhere.join("file"));
    assert_eq!(std::fs::read(elsewhere.join("file")).unwrap(), noise(5000, 17));
}

#[tokio::test]
async fn a_share_that_is_stopped_is_not_served_any_more() {
    let world = World::new();
    let path = world.file("file", &noise(5000, 18));
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let shared = seeder.share(&path).piece_size(1024).await.unwrap();
    let (content, status) = (shared.content(), shared.status());
    assert!(status.borrow().is_complete());
    shared.stop().await.unwrap();
    assert!(matches!(status.borrow().state, State::Stopped));
    assert!(seeder.status(content).await.is_none());
    let download = downloader.download(content).start().await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), download.completed()).await.is_err());
}

#[tokio::test]
async fn a_handle_of_a_failed_download_has_nothing_to_do_with_the_next_one() {
    let world = World::new();
    let path = world.file("file", &noise(5000, 19));
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let content = share(&seeder, &path, Held::All).await;
    let failed = downloader.download(content).expect_name("another").start().await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    assert!(matches!(&*failed.completed().await.unwrap_err(), PeerError::OtherName { .. }));
    let download = downloader.download(content).start().await.unwrap();
    failed.pause().await.unwrap();
    assert!(failed.read_from(0).read(&mut [0]).await.is_err());
    failed.cancel().await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    tokio::time::timeout(LONG, download).await.unwrap().unwrap();
}

/// What a sharer tells people: who gets it, how far they are, and who has all of it, though that one has left since.
#[tokio::test]
async fn a_sharer_knows_who_has_got_all_of_it() {
    let world = World::new();
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let path = world.file("file", &noise(100_000, 1));
    let shared = seeder.share(&path).piece_size(1024).await.unwrap();
    let mut status = shared.status();
    assert!(status.borrow().participants.is_empty());
    get(&downloader, shared.content(), &[&seeder]).await;
    downloader.shutdown().await;
    let has_left = |status: &Status| status.participants.first().is_some_and(|one| one.has_all && !one.is_connected);
    let status = tokio::time::timeout(LONG, status.wait_for(has_left)).await.expect("it is seen").unwrap().clone();
    let [taker] = &status.participants[..] else { panic!("{:?}", status.participants) };
    assert_eq!((taker.peer, taker.wanted, taker.received), (downloader.id(), true, 0));
    assert_eq!((taker.have, taker.size, taker.sent), (100_000, 100_000, 100_000));
}

#[tokio::test]
async fn a_sender_says_what_its_cap_is_when_it_is_asked() {
    let world = World::new();
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let path = world.file("file", &noise(400_000, 1));
    let content = share(&seeder, &path, Held::All).await;
    seeder.set_up_rate(Some(200_000)).await;
    let download = downloader.download(content).start().await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    reaches(&download, |status| status.have > 0).await;
    assert_eq!(downloader.up_rates(content).await.into_iter().collect::<Vec<_>>(), [(seeder.id(), 200_000)]);
    seeder.set_up_rate(None).await;
    assert!(downloader.up_rates(content).await.is_empty());
    tokio::time::timeout(LONG, download).await.expect("it ends").expect("it completes");
}
