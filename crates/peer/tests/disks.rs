//! Disks that fail half way: a download ends with what the disk said, keeps what is verified, and goes on when the disk is well
//! again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peer::{Held, Node, PeerError, PeerEvent, ShareOptions};
use protocol::{Algorithm, ContentId, PeerAddress};
use storage::wrappers::{Failing, Operation};
use storage::{Backend, StorageError, backend};
use transport::{Identity, MemoryNetwork, Transport};

const PIECE: usize = 64 << 10;
const PIECES: usize = 64;

struct World {
    network: MemoryNetwork,
    folder: tempfile::TempDir,
}

impl World {
    fn node(&self, name: &str, storage: Arc<dyn Backend>) -> Node {
        let identity = Identity::generate().unwrap();
        let transport = self.network.bind(&identity, vec!["127.0.0.1:0".parse().unwrap()]).unwrap();
        let folder = self.folder.path().join(name);
        Node::builder(Arc::new(transport) as Arc<dyn Transport>, storage)
            .hashes(folder.join("hashes"))
            .output(folder.join("output"))
            .keep_free(Some(0))
            .seed(7)
            .start()
    }

    /// A seeder of a file, or of a folder of a few.
    async fn seeder(&self, is_folder: bool) -> (Node, ContentId, PathBuf) {
        let path = self.folder.path().join("content");
        let bytes = |seed: u8| (0..PIECE * PIECES / 4).map(|at| (at / 7) as u8 ^ seed).collect::<Vec<_>>();
        if is_folder {
            for number in 0..4 {
                std::fs::create_dir_all(path.join("d")).unwrap();
                std::fs::write(path.join(format!("d/{number}")), bytes(number)).unwrap();
            }
        } else {
            std::fs::write(&path, (0..4).flat_map(bytes).collect::<Vec<_>>()).unwrap();
        }
        let seeder = self.node("seeder", backend("mmap").unwrap());
        let options = ShareOptions { algorithm: Algorithm::Blake3, piece_size: Some(PIECE as u32), held: Held::All };
        let content = seeder.share(&path, options).await.unwrap();
        (seeder, content, path)
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("downloader/output")
    }
}

/// Gets the content and says how many pieces were there at the start, and how it ended.
async fn get(node: &Node, content: ContentId, from: &Node) -> (u32, Result<PathBuf, Arc<PeerError>>) {
    let mut events = node.events();
    node.get(content).await.unwrap();
    let address = PeerAddress { id: from.id(), addresses: from.listeners().to_vec() };
    node.meet(content, address).await.unwrap();
    let mut had = 0;
    let ended = async {
        loop {
            match events.recv().await.unwrap() {
                PeerEvent::Manifest { have, .. } => had = have,
                PeerEvent::Completed { path, .. } => return Ok(path),
                PeerEvent::Failed { error, .. } => return Err(error),
                _ => {}
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends");
    (had, ended)
}

/// A disk on which all writes but so many fail.
fn failing(good: usize, error: impl Fn() -> StorageError + Send + Sync + 'static) -> Arc<dyn Backend> {
    let writes = AtomicUsize::new(0);
    let fails = move |operation| match operation {
        Operation::Write { .. } if writes.fetch_add(1, Ordering::Relaxed) >= good => Some(error()),
        _ => None,
    };
    Arc::new(Failing::new(backend("mmap").unwrap(), fails))
}

fn same(one: &Path, other: &Path) -> bool {
    if !one.is_dir() {
        return std::fs::read(one).unwrap() == std::fs::read(other).unwrap();
    }
    (0..4).all(|number| same(&one.join(format!("d/{number}")), &other.join(format!("d/{number}"))))
}

fn errors() -> Vec<fn() -> StorageError> {
    vec![
        || StorageError::Io { path: "disk".into(), source: io::Error::from_raw_os_error(5) },
        || StorageError::Denied("disk".into()),
        || StorageError::Full("disk".into()),
        || StorageError::TooLarge { path: "disk".into(), limit: Some(1) },
    ]
}

#[tokio::test]
async fn what_is_verified_before_the_disk_fails_is_kept_and_the_rest_comes_later() {
    for is_folder in [false, true] {
        for error in errors() {
            let world = World { network: MemoryNetwork::new(), folder: tempfile::tempdir().unwrap() };
            let (seeder, content, path) = world.seeder(is_folder).await;
            let broken = world.node("downloader", failing(3, error));
            let (had, ended) = get(&broken, content, &seeder).await;
            let said = ended.unwrap_err().to_string();
            assert_eq!((had, said), (0, error().to_string()));
            broken.shutdown().await;
            let well = world.node("downloader", backend("mmap").unwrap());
            let (had, ended) = get(&well, content, &seeder).await;
            assert!((1..PIECES as u32).contains(&had), "{had} pieces were kept, {}", error());
            assert!(same(&ended.unwrap(), &path));
            well.shutdown().await;
            seeder.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_download_that_got_no_room_at_all_leaves_nothing() {
    for is_folder in [false, true] {
        let world = World { network: MemoryNetwork::new(), folder: tempfile::tempdir().unwrap() };
        let (seeder, content, _) = world.seeder(is_folder).await;
        let full = world.node("downloader", failing(0, || StorageError::Full("disk".into())));
        let (_, ended) = get(&full, content, &seeder).await;
        assert!(matches!(&*ended.unwrap_err(), PeerError::Storage(error) if error.is_no_room()));
        full.shutdown().await;
        assert!(!world.output().exists(), "{:?}", std::fs::read_dir(world.output()).unwrap().collect::<Vec<_>>());
        seeder.shutdown().await;
    }
}

/// What is given back holds nothing: what is left of the part file takes no more than the pieces that are in it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_was_reserved_for_pieces_that_never_came_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let world = World { network: MemoryNetwork::new(), folder: tempfile::tempdir().unwrap() };
    let (seeder, content, _) = world.seeder(false).await;
    let broken = world.node("downloader", failing(1, || StorageError::Full("disk".into())));
    let (_, ended) = get(&broken, content, &seeder).await;
    assert!(ended.is_err());
    broken.shutdown().await;
    let part = std::fs::metadata(world.output().join(".content.part")).unwrap();
    let (size, taken) = (part.len(), part.blocks() * 512);
    assert_eq!(size, (PIECE * PIECES) as u64);
    assert!((1..=size * 3 / 4).contains(&taken), "{taken} bytes of {size} are taken");
    seeder.shutdown().await;
}
