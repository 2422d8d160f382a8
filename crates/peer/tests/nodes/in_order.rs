//! A storage that fills what lies before a write that is far behind, as FAT does: pieces come in ascending order, so little is filled.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use storage::{Access, Backend, FileSpec, Storage, StorageError, backend};

use super::world::{LONG, World, address};

const PIECE: u64 = 64 << 10;
const PIECES: u64 = 256;
const BUDGET: u64 = 8 * PIECE;

/// The pieces that were written to, and how many of them lay far behind the first that was not.
#[derive(Default)]
struct Written {
    pieces: BTreeSet<u64>,
    far: usize,
}

impl Written {
    fn note(&mut self, piece: u64) {
        let first = (0..).find(|piece| !self.pieces.contains(piece)).unwrap_or(0);
        self.far += usize::from(self.pieces.insert(piece) && piece > first + 4 * BUDGET / PIECE);
    }
}

struct FatBackend(Arc<Mutex<Written>>);

struct FatStorage(Arc<dyn Storage>, Arc<Mutex<Written>>);

impl Backend for FatBackend {
    fn name(&self) -> &'static str {
        "fat"
    }
    fn persistent(&self) -> bool {
        true
    }
    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        Ok(Arc::new(FatStorage(backend("file").unwrap().open(files, access)?, self.0.clone())))
    }
}

impl Storage for FatStorage {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        self.0.read(file, offset, len)
    }
    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let end = (offset + data.len() as u64).div_ceil(PIECE);
        (offset / PIECE..end).for_each(|piece| self.1.lock().unwrap().note(piece));
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
    fn fills_gaps(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn little_is_filled_where_gaps_are() {
    let world = World::new();
    let bytes: Vec<u8> = (0..PIECES * PIECE).map(|at| (at / 7 % 251) as u8 | 1).collect();
    let path = world.file("content", &bytes);
    let seeder = world.node("seeder");
    let content = seeder.share(&path).piece_size(PIECE as u32).await.unwrap().content();
    let written = Arc::default();
    let storage = FatBackend(Arc::clone(&written));
    let downloader = world.builder("downloader").budget(BUDGET).storage(Arc::new(storage)).start();
    let download = downloader.download(content).start().await.unwrap();
    downloader.add_peer(content, address(&seeder)).await.unwrap();
    let completed = tokio::time::timeout(LONG, download).await.expect("it ends").unwrap();
    assert_eq!(std::fs::read(completed.path).unwrap(), bytes);
    // In any other order most of them are: what the seeder offered first may have come with the manifest.
    let written = written.lock().unwrap();
    assert_eq!(written.pieces.len() as u64, PIECES);
    assert!(written.far <= 16, "{} pieces lay far behind what was written", written.far);
}
