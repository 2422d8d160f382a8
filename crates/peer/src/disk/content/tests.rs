//! A download while it gets its name, as on Windows, where nothing may be open then: what others are given of it meanwhile, and
//! what is open.

use std::fs;
use std::sync::Barrier;

use bytes::Bytes;
use protocol::{Block, PieceRange};
use storage::{Access, Backend, FileSpec};
use tokio::sync::broadcast;

use super::*;
use crate::config::DownloadSettings;
use crate::disk::open::open;
use crate::disk::scan::ScanOptions;
use crate::disk::share::{ShareOptions, share};
use crate::stats::WaitStats;

const PIECE: u32 = 64 << 10;
/// A file that stays open for long, and one that is opened for each read anyway.
const FILES: [(&str, usize); 2] = [("d/large", 300_000), ("small", 10_000)];

struct World {
    folder: tempfile::TempDir,
    source: Arc<ContentStore>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let content = folder.path().join("content");
        fs::create_dir_all(content.join("d")).unwrap();
        for (name, len) in FILES {
            fs::write(content.join(name), (0..len).map(|at| (at / 7) as u8).collect::<Vec<_>>()).unwrap();
        }
        let options = ShareOptions { piece_size: Some(PIECE), ..ShareOptions::default() };
        let (backend, hashes) = (storage::backend("file").unwrap(), folder.path().join("hashes"));
        let events = broadcast::channel(16).0;
        let source = share(&content, &options, &ScanOptions::default(), &*backend, &hashes, &events).unwrap();
        World { folder, source: source.store }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// A download that has everything but its name, and closes its files before it gets that.
    fn download(&self, backend: Arc<dyn Backend>) -> Arc<ContentStore> {
        let settings = DownloadSettings {
            hashes: self.folder.path().join("hashes"),
            folder: self.output(),
            keep_free: Some(0),
            ..DownloadSettings::default()
        };
        let store = open(self.source.manifest().clone(), &backend, &settings).unwrap().store;
        for block in self.blocks() {
            let bytes = self.source.load(&block).unwrap();
            let verdicts = store.write_verified(&block, &bytes, &WaitStats::default()).unwrap();
            assert!(verdicts.iter().all(|&(_, right)| right));
        }
        store.building.lock().unwrap().as_mut().unwrap().closes_files = true;
        store
    }

    fn blocks(&self) -> Vec<Block> {
        let geometry = self.source.manifest().geometry();
        geometry.blocks(PieceRange { first: 0, count: geometry.pieces() }, PIECE as usize).collect()
    }

    /// Everything is as it was shared.
    fn check(&self) {
        for (name, _) in FILES {
            let [shared, came] = [self.folder.path(), &self.output()].map(|at| at.join("content").join(name));
            assert!(fs::read(shared).unwrap() == fs::read(came).unwrap(), "{name}");
        }
    }
}

/// Stops a read of one file between the choice of a storage and the read itself, until the test has met it twice.
#[derive(Clone)]
struct Pause {
    file: Arc<Mutex<Option<usize>>>,
    turn: Arc<Barrier>,
}

struct Pausing(Arc<dyn Backend>, Pause);

struct PausingStorage(Arc<dyn Storage>, Pause);

impl Backend for Pausing {
    fn name(&self) -> &'static str {
        "held"
    }

    fn persistent(&self) -> bool {
        true
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        Ok(Arc::new(PausingStorage(self.0.open(files, access)?, self.1.clone())))
    }
}

impl Storage for PausingStorage {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let paused = self.1.file.lock().unwrap().take_if(|paused| *paused == file);
        if paused.is_some() {
            self.1.turn.wait();
            self.1.turn.wait();
        }
        self.0.read(file, offset, len)
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.0.write(file, offset, data)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.0.flush()
    }

    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        self.0.changed_by_others()
    }

    fn release(&self) {
        self.0.release();
    }
}

#[test]
fn what_was_hashed_to_be_shared_is_not_hashed_again_for_its_first_reader() {
    let world = World::new();
    let verified = |store: &ContentStore| lock(&store.verified).count();
    assert_eq!(verified(&world.source), world.source.manifest().geometry().pieces());
    // What came from others was read from no disk yet.
    assert_eq!(verified(&world.download(storage::backend("file").unwrap())), 0);
    for (number, (name, len)) in FILES.into_iter().enumerate() {
        let world = World::new();
        let has_it = |block: &Block| block.stretches.iter().any(|stretch| stretch.file == number);
        let block = world.blocks().into_iter().find(has_it).unwrap();
        world.source.load_for_reader(&block).unwrap();
        fs::write(world.folder.path().join("content").join(name), vec![7; len]).unwrap();
        assert!(world.source.load_for_reader(&block).is_err(), "a change of {name} is noticed all the same");
    }
}

#[test]
fn a_read_that_began_by_the_old_name_ends_by_the_new_one() {
    for number in 0..2 {
        let world = World::new();
        let pause = Pause { file: Arc::default(), turn: Arc::new(Barrier::new(2)) };
        let store = world.download(Arc::new(Pausing(storage::backend("file").unwrap(), pause.clone())));
        let has_it = |block: &Block| block.stretches.iter().any(|stretch| stretch.file == number);
        let block = world.blocks().into_iter().find(has_it).unwrap();
        *pause.file.lock().unwrap() = Some(number);
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| store.load(&block));
            pause.turn.wait();
            store.finish().unwrap();
            pause.turn.wait();
            reader.join().unwrap()
        });
        assert!(read.unwrap() == world.source.load(&block).unwrap(), "file {number}");
        assert!(!world.output().join(".content.part").exists(), "nothing is made by the old name");
        world.check();
    }
}

#[test]
fn peers_are_served_without_an_error_while_a_download_gets_its_name() {
    for kind in ["file", "mmap"] {
        let world = World::new();
        let store = world.download(storage::backend(kind).unwrap());
        let (blocks, ended) = (world.blocks(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        blocks.iter().for_each(|block| drop(store.load(block).unwrap()));
                    }
                });
            }
            store.finish().unwrap();
            ended.store(true, Ordering::Relaxed);
        });
        world.check();
    }
}

/// What stays open when the rename fails was open during it.
#[cfg(target_os = "linux")]
#[test]
fn nothing_of_a_download_is_open_when_it_gets_its_name() {
    let world = World::new();
    let store = world.download(storage::backend("file").unwrap());
    world.blocks().iter().for_each(|block| drop(store.load(block).unwrap()));
    let part = world.output().join(".content.part");
    let open = || {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        open.filter(|path| path.starts_with(&part)).collect::<Vec<_>>()
    };
    assert_eq!(open().len(), 2, "both files: {:?}", open());
    fs::create_dir(world.output().join("content")).unwrap();
    fs::write(world.output().join("content/other"), "in the way").unwrap();
    assert!(store.finish().is_err());
    assert!(open().is_empty(), "{:?}", open());
}
