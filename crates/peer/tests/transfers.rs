//! Whole transfers between nodes in one process, over the in-process network and without a tracker: any bytes, any
//! size, partial seeders that complete each other, and going on after a stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peer::{Held, Node, PeerEvent, ShareOptions};
use protocol::{Algorithm, ContentId, PeerAddress};
use storage::Backend;
use storage::wrappers::{Failing, Operation};
use transport::{Identity, MemoryNetwork, Transport};

/// Bytes that repeat nowhere near.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(..)).collect()
}

struct World {
    network: MemoryNetwork,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        World { network: MemoryNetwork::new(), folder: tempfile::tempdir().unwrap() }
    }

    /// A node with folders of its own, named so.
    fn node(&self, name: &str, storage: &str) -> Node {
        self.node_on(name, storage::backend(storage).unwrap())
    }

    fn node_on(&self, name: &str, storage: Arc<dyn Backend>) -> Node {
        let identity = Identity::generate().unwrap();
        let transport = self.network.bind(&identity, vec!["127.0.0.1:0".parse().unwrap()]).unwrap();
        let folder = self.folder.path().join(name);
        Node::builder(Arc::new(transport) as Arc<dyn Transport>, storage)
            .hashes(folder.join("hashes"))
            .output(folder.join("output"))
            .seed(7)
            .start()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        // Nobody has to wait until it is quiet.
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
        path
    }

    fn output(&self, node: &str, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(node).join("output").join(name)).unwrap()
    }
}

fn options(algorithm: Algorithm, piece_size: u32, held: Held) -> ShareOptions {
    ShareOptions { algorithm, piece_size: Some(piece_size), held }
}

async fn share(node: &Node, path: &Path, held: Held) -> ContentId {
    node.share(path, options(Algorithm::Blake3, 1024, held)).await.unwrap()
}

fn address(node: &Node) -> PeerAddress {
    PeerAddress { id: node.id(), addresses: node.listeners().to_vec() }
}

/// Gets the content from these peers and waits until it has its name.
async fn get(node: &Node, content: ContentId, from: &[&Node]) {
    let mut events = node.events();
    node.get(content).await.unwrap();
    for peer in from {
        node.add_peer(content, address(peer)).await.unwrap();
    }
    let completed = async {
        loop {
            match events.recv().await.unwrap() {
                PeerEvent::Completed { content: done, .. } if done == content => return,
                PeerEvent::Failed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), completed).await.expect("it completes");
}

#[tokio::test]
async fn every_size_and_ending_arrives_as_it_was() {
    for algorithm in [Algorithm::Sha256, Algorithm::Blake3] {
        for storage in ["mmap", "file", "memory"] {
            let world = World::new();
            let (seeder, downloader) = (world.node("s", storage), world.node("d", storage));
            let mut zeros = noise(5000, 1);
            zeros.extend([0; 3000]);
            let cases = [vec![], vec![0], noise(1024, 2), noise(1025, 3), noise(100_000, 4), zeros, vec![0; 70_000]];
            for (number, bytes) in cases.iter().enumerate() {
                let name = format!("-größe {number} .bin");
                let path = world.file(&name, bytes);
                let content = seeder.share(&path, options(algorithm, 1024, Held::All)).await.unwrap();
                get(&downloader, content, &[&seeder]).await;
                assert_eq!(world.output("d", &name), *bytes, "{algorithm:?} {storage} case {number}");
            }
            let left: Vec<_> = std::fs::read_dir(world.folder.path().join("d/output")).unwrap().collect();
            assert_eq!(left.len(), cases.len(), "nothing but the files stays: {left:?}");
        }
    }
}

#[tokio::test]
async fn partial_seeders_complete_each_other_and_the_lack_of_a_piece_is_said() {
    let world = World::new();
    let path = world.file("file", &noise(20 * 1024, 5));
    let (one, two, downloader) = (world.node("1", "mmap"), world.node("2", "mmap"), world.node("d", "mmap"));
    let content = share(&one, &path, Held::Fraction(0.0, 0.5)).await;
    let mut events = downloader.events();
    downloader.get(content).await.unwrap();
    downloader.add_peer(content, address(&one)).await.unwrap();
    let lacking = async {
        loop {
            if let PeerEvent::Lacking { runs, .. } = events.recv().await.unwrap() {
                return runs;
            }
        }
    };
    let runs = tokio::time::timeout(Duration::from_secs(30), lacking).await.expect("it says what is lacking");
    assert_eq!(runs, [protocol::PieceRange { first: 10, count: 10 }]);
    share(&two, &path, Held::Without((0..10).collect())).await;
    downloader.add_peer(content, address(&two)).await.unwrap();
    let completed = async { while !matches!(events.recv().await.unwrap(), PeerEvent::Completed { .. }) {} };
    tokio::time::timeout(Duration::from_secs(30), completed).await.expect("it completes");
    assert_eq!(world.output("d", "file"), noise(20 * 1024, 5));
}

#[tokio::test]
async fn a_downloader_passes_on_what_it_has() {
    let world = World::new();
    let path = world.file("file", &noise(300_000, 6));
    let (seeder, first, second) = (world.node("s", "mmap"), world.node("1", "mmap"), world.node("2", "file"));
    let content = share(&seeder, &path, Held::All).await;
    get(&first, content, &[&seeder]).await;
    seeder.shutdown().await;
    get(&second, content, &[&first]).await;
    assert_eq!(world.output("2", "file"), noise(300_000, 6));
    assert!(first.progress(content).await.unwrap().sent >= 300_000);
}

#[tokio::test]
async fn a_stopped_download_goes_on_where_it_was() {
    let world = World::new();
    let bytes = noise(64 * 1024, 8);
    let path = world.file("file", &bytes);
    let half = world.node("half", "mmap");
    let content = share(&half, &path, Held::Fraction(0.0, 0.5)).await;
    let stopped = world.node("d", "mmap");
    stopped.get(content).await.unwrap();
    stopped.add_peer(content, address(&half)).await.unwrap();
    for _ in 0..1000 {
        if stopped.progress(content).await.is_some_and(|progress| progress.have == 32) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stopped.shutdown().await;
    let whole = world.node("whole", "mmap");
    share(&whole, &path, Held::All).await;
    let again = world.node("d", "mmap");
    let mut events = again.events();
    get(&again, content, &[&whole]).await;
    let had = loop {
        if let PeerEvent::Manifest { have, .. } = events.recv().await.unwrap() {
            break have;
        }
    };
    assert_eq!(had, 32);
    assert_eq!(again.progress(content).await.unwrap().received, 32 * 1024);
    assert_eq!(world.output("d", "file"), bytes);
}

/// A manifest that lies in the hashes folder also comes from a peer, while the output is still being opened.
#[tokio::test]
async fn a_manifest_that_is_known_twice_opens_the_output_once() {
    let world = World::new();
    let bytes = noise(64 * 1024, 9);
    let path = world.file("file", &bytes);
    let seeder = world.node("seeder", "mmap");
    let content = share(&seeder, &path, Held::All).await;
    let kept = peer::received_path(&world.folder.path().join("d/hashes"), content);
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    std::fs::copy(world.folder.path().join("seeder/hashes/file.manifest"), kept).unwrap();
    let slow = Failing::new(storage::backend("mmap").unwrap(), |operation| {
        if operation == Operation::Open {
            std::thread::sleep(Duration::from_millis(300));
        }
        None
    });
    let node = world.node_on("d", Arc::new(slow));
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
    let seeder = world.node_on("seeder", Arc::new(full));
    let content = share(&seeder, &path, Held::All).await;
    left.store(3, std::sync::atomic::Ordering::Relaxed);
    let downloader = world.node("d", "mmap");
    get(&downloader, content, &[&seeder]).await;
    assert_eq!(world.output("d", "file"), bytes);
    assert_eq!(left.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(seeder.progress(content).await.is_some(), "it is still shared");
}

#[tokio::test]
async fn a_different_file_in_the_way_is_kept() {
    let world = World::new();
    let path = world.file("file", &noise(5000, 9));
    let (seeder, downloader) = (world.node("s", "mmap"), world.node("d", "mmap"));
    let content = share(&seeder, &path, Held::All).await;
    let output = world.folder.path().join("d/output");
    std::fs::create_dir_all(&output).unwrap();
    std::fs::write(output.join("file"), "mine").unwrap();
    let mut events = downloader.events();
    downloader.get(content).await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    let failed = async {
        loop {
            if let PeerEvent::Failed { error, .. } = events.recv().await.unwrap() {
                return error.to_string();
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(30), failed).await.unwrap();
    assert!(error.contains("exists already and is different"), "{error}");
    assert_eq!(std::fs::read(output.join("file")).unwrap(), b"mine");
}
