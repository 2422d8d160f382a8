//! Disks that fail half way: a download ends with what the disk said, keeps what is verified, and goes on when the disk is well
//! again. And disks that others write to meanwhile: nothing is called complete that is not what was verified.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use p2p_fileshare::{Node, NodeBuilder, PeerError, State};
use protocol::{ContentId, PeerAddress};
use storage::wrappers::{Failing, Operation, Rotten};
use storage::{Backend, StorageError, backend};
use tokio::io::AsyncReadExt;

use super::world::{LONG, World, address};

const PIECE: usize = 64 << 10;
const PIECES: usize = 64;

impl World {
    fn stores(&self, name: &str, storage: Arc<dyn Backend>) -> Node {
        self.stores_on(name, storage).start()
    }

    fn stores_on(&self, name: &str, storage: Arc<dyn Backend>) -> NodeBuilder {
        self.builder(name).storage(storage).keep_free(Some(0))
    }

    /// A seeder of a file, or of a folder of a few.
    async fn seeder(&self, is_folder: bool) -> (Node, ContentId, PathBuf) {
        let path = self.path("content");
        let bytes = |seed: u8| (0..PIECE * PIECES / 4).map(|at| (at / 7) as u8 ^ seed).collect::<Vec<_>>();
        if is_folder {
            for number in 0..4 {
                std::fs::create_dir_all(path.join("d")).unwrap();
                std::fs::write(path.join(format!("d/{number}")), bytes(number)).unwrap();
            }
        } else {
            std::fs::write(&path, (0..4).flat_map(bytes).collect::<Vec<_>>()).unwrap();
        }
        let seeder = self.stores("seeder", backend("mmap").unwrap());
        let content = seeder.share(&path).piece_size(PIECE as u32).await.unwrap().content();
        (seeder, content, path)
    }

    fn received(&self) -> PathBuf {
        self.path("downloader/output")
    }
}

/// Gets the content and says how many pieces were there at the start, and how it ended.
async fn get(node: &Node, content: ContentId, from: &Node) -> (u32, Result<PathBuf, Arc<PeerError>>) {
    let download = node.download(content).start().await.unwrap();
    let mut status = download.status();
    // What is seen is copied at once: it can't change while it is looked at.
    let had = async {
        let opened = status.wait_for(|status| status.pieces > 0 || matches!(status.state, State::Failed(_))).await;
        opened.unwrap().had
    };
    let (added, had) = tokio::join!(node.add_peer(content, address(from)), had);
    added.unwrap();
    let ended = tokio::time::timeout(LONG, download).await.expect("it ends");
    (had, ended.map(|completed| completed.path))
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
            let world = World::new();
            let (seeder, content, path) = world.seeder(is_folder).await;
            let broken = world.stores("downloader", failing(3, error));
            let (had, ended) = get(&broken, content, &seeder).await;
            let said = ended.unwrap_err().to_string();
            assert_eq!((had, said), (0, error().to_string()));
            broken.shutdown().await;
            let well = world.stores("downloader", backend("mmap").unwrap());
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
        let world = World::new();
        let (seeder, content, _) = world.seeder(is_folder).await;
        let full = world.stores("downloader", failing(0, || StorageError::Full("disk".into())));
        let (_, ended) = get(&full, content, &seeder).await;
        assert!(matches!(&*ended.unwrap_err(), PeerError::Storage(error) if error.is_no_room()));
        full.shutdown().await;
        assert!(!world.received().exists(), "{:?}", std::fs::read_dir(world.received()).unwrap().collect::<Vec<_>>());
        seeder.shutdown().await;
    }
}

/// What is given back holds nothing: what is left of the part file takes no more than the pieces that are in it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_was_reserved_for_pieces_that_never_came_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let (seeder, content, _) = world.seeder(false).await;
    let broken = world.stores("downloader", failing(1, || StorageError::Full("disk".into())));
    let (_, ended) = get(&broken, content, &seeder).await;
    assert!(ended.is_err());
    broken.shutdown().await;
    let part = std::fs::metadata(world.received().join(".content.part")).unwrap();
    let (size, taken) = (part.len(), part.blocks() * 512);
    assert_eq!(size, (PIECE * PIECES) as u64);
    assert!((1..=size * 3 / 4).contains(&taken), "{taken} bytes of {size} are taken");
    seeder.shutdown().await;
}

/// A disk on which somebody does something right before the write of this number.
fn tampered(write: usize, tamper: impl Fn() + Send + Sync + 'static) -> Arc<dyn Backend> {
    let writes = AtomicUsize::new(0);
    let tampers = move |operation| {
        if matches!(operation, Operation::Write { .. }) && writes.fetch_add(1, Ordering::Relaxed) == write {
            tamper();
        }
        None
    };
    Arc::new(Failing::new(backend("mmap").unwrap(), tampers))
}

/// What is built, when something of it has come.
fn built(output: &Path) -> Vec<PathBuf> {
    let part = output.join(".content.part");
    if !part.is_dir() {
        return vec![part];
    }
    let files = (0..4).map(|number| part.join(format!("d/{number}")));
    files.filter(|file| file.exists()).collect()
}

fn cut(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    file.set_len(100).unwrap();
    file.set_len(size).unwrap();
}

#[tokio::test]
async fn what_somebody_changes_while_it_is_built_is_never_called_complete() {
    let zeros = |path: &Path| {
        let size = std::fs::metadata(path).unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        std::io::Write::write_all(&mut &file, &vec![0; size as usize]).unwrap();
    };
    let other = |path: &Path| {
        std::fs::copy(path, path.with_extension("other")).unwrap();
        cut(&path.with_extension("other"));
        std::fs::rename(path.with_extension("other"), path).unwrap();
    };
    for (way, tamper) in [("cut", cut as fn(&Path)), ("overwritten", zeros), ("replaced", other)] {
        for is_folder in [false, true] {
            let world = World::new();
            let (seeder, content, path) = world.seeder(is_folder).await;
            let output = world.received();
            let storage = tampered(4, move || {
                // Writes before this one may be under way still: what they wrote is what is to be changed.
                std::thread::sleep(Duration::from_millis(100));
                built(&output).iter().for_each(|file| tamper(file));
            });
            let node = world.stores("downloader", storage);
            let (_, ended) = get(&node, content, &seeder).await;
            let error = ended.expect_err("somebody has changed it");
            assert!(matches!(&*error, PeerError::Storage(StorageError::Changed(_))), "{way}: {error}");
            assert!(!world.received().join("content").exists(), "{way}");
            node.shutdown().await;
            // What is right of it counts, and the rest comes again.
            let again = world.stores("downloader", backend("mmap").unwrap());
            let (_, ended) = get(&again, content, &seeder).await;
            assert!(same(&ended.unwrap(), &path), "{way}");
            again.shutdown().await;
            seeder.shutdown().await;
        }
    }
}

/// Its bytes are verified again, and are right.
#[tokio::test]
async fn what_somebody_only_touches_is_complete() {
    let world = World::new();
    let (seeder, content, path) = world.seeder(false).await;
    let output = world.received();
    let touch = move || {
        let file = std::fs::File::options().write(true).open(&built(&output)[0]).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    let node = world.stores("downloader", tampered(3, touch));
    let (_, ended) = get(&node, content, &seeder).await;
    assert!(same(&ended.unwrap(), &path));
    node.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_file_in_place_that_is_edited_while_the_rest_of_its_folder_comes_is_noticed() {
    let world = World::new();
    let (seeder, content, path) = world.seeder(true).await;
    let there = world.received().join("content/d/2");
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::copy(path.join("d/2"), &there).unwrap();
    let edited = there.clone();
    let edit = move || {
        let file = std::fs::OpenOptions::new().write(true).open(&edited).unwrap();
        std::io::Write::write_all(&mut &file, b"edited").unwrap();
    };
    let node = world.stores("downloader", tampered(1, edit));
    let (_, ended) = get(&node, content, &seeder).await;
    let error = ended.expect_err("one file is not what it was");
    assert!(matches!(&*error, PeerError::Storage(StorageError::Changed(path)) if *path == there), "{error}");
    node.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_disk_that_does_not_keep_what_was_written_is_found_out_when_that_is_asked_for() {
    for verify in [false, true] {
        let world = World::new();
        let (seeder, content, _) = world.seeder(false).await;
        let spoil = |offset, bytes: &mut [u8]| bytes[0] ^= u8::from(offset == 0);
        let rotten = Arc::new(Rotten::new(backend("file").unwrap(), spoil));
        let node = world.stores_on("downloader", rotten).verify_on_disk(verify).start();
        let (_, ended) = get(&node, content, &seeder).await;
        match ended {
            Ok(_) => assert!(!verify),
            Err(error) => assert!(verify && matches!(&*error, PeerError::Storage(StorageError::Changed(_)))),
        }
        node.shutdown().await;
        seeder.shutdown().await;
    }
}

/// What goes to standard output is verified by nobody else.
#[tokio::test]
async fn what_is_read_in_order_is_verified_first() {
    let world = World::new();
    let (seeder, content, _) = world.seeder(false).await;
    let spoil = |offset, bytes: &mut [u8]| bytes[0] ^= u8::from(offset == 0);
    let node = world.stores("downloader", Arc::new(Rotten::new(backend("file").unwrap(), spoil)));
    let download = node.download(content).start().await.unwrap();
    let address = PeerAddress { id: seeder.id(), addresses: seeder.listeners().to_vec() };
    node.add_peer(content, address).await.unwrap();
    let mut bytes = vec![0; PIECE * PIECES];
    let error = download.read_from(0).read(&mut bytes).await.unwrap_err();
    assert!(error.to_string().contains("content"), "{error}");
    let (behind, rest) = ((32 * PIECE + 7) as u64, PIECE * PIECES - 32 * PIECE - 7);
    assert_eq!(download.read_from(behind).read_exact(&mut bytes[..rest]).await.unwrap(), rest);
    node.shutdown().await;
    seeder.shutdown().await;
}

/// A file stands where the folder should be; a folder that may not be written to is the same.
#[tokio::test]
async fn where_no_manifest_can_be_kept_files_are_shared_and_got_all_the_same() {
    let world = World::new();
    for name in ["seeder", "downloader"] {
        std::fs::create_dir_all(world.path(name)).unwrap();
        std::fs::write(world.path(name).join("hashes"), "").unwrap();
    }
    let (seeder, content, path) = world.seeder(false).await;
    let node = world.stores("downloader", backend("mmap").unwrap());
    let (_, ended) = get(&node, content, &seeder).await;
    assert!(same(&ended.unwrap(), &path));
    node.shutdown().await;
    seeder.shutdown().await;
}
