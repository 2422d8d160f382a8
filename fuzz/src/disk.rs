//! What a crash, a bad disk or someone else may have left in the resume journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use protocol::{ContentId, Digest, PieceRange, PieceSet};
use storage::{Checkpoint, Journal, Storage, StorageError};

use crate::input::Input;

const CONTENT: ContentId = ContentId(Digest([3; 32]));
const PIECES: u32 = 200;

fn journal_file() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A journal with changed, missing or other bytes never claims a piece that it was not told of, and goes on working.
pub fn journal(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let folder = journal_file();
    let path = folder.path().join("journal");
    let mut told = PieceSet::empty(PIECES);
    let mut kept = Vec::new();
    if input.flag() {
        let (mut journal, _) = Journal::open(&path, CONTENT, PIECES).expect("it is made");
        for _ in 0..input.below(8) {
            let first = input.below(PIECES as usize) as u32;
            let run = PieceRange { first, count: 1 + input.below((PIECES - first) as usize) as u32 };
            told.insert_run(run);
            journal.commit(&[run]).expect("it is written");
        }
        drop(journal);
        kept = std::fs::read(&path).expect("it is there");
        if input.flag() {
            kept.truncate(input.number() as usize % (kept.len() + 1));
        }
        for _ in 0..input.below(4) {
            let at = input.number() as usize % kept.len().max(1);
            let change = input.byte();
            kept.get_mut(at).into_iter().for_each(|byte| *byte ^= change);
        }
    }
    kept.extend_from_slice(input.rest());
    std::fs::write(&path, &kept).expect("it is written");
    let (mut journal, have) = Journal::open(&path, CONTENT, PIECES).expect("any bytes are read");
    assert!(have.iter().all(|piece| told.contains(piece)), "{have:?} was never claimed, only {told:?}");
    journal.commit(&[PieceRange { first: 7, count: 3 }]).expect("it goes on");
    drop(journal);
    let (_, again) = Journal::open(&path, CONTENT, PIECES).expect("it is read again");
    assert!(again.contains(7) && again.contains(9) && have.iter().all(|piece| again.contains(piece)));
}

/// A disk whose syncs fail when it is told so.
#[derive(Default)]
struct Disk {
    fails: AtomicBool,
}

impl Storage for Disk {
    fn read(&self, _: usize, _: u64, _: usize) -> Result<Bytes, StorageError> {
        Ok(Bytes::new())
    }

    fn write(&self, _: usize, _: u64, _: &[u8]) -> Result<(), StorageError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        if self.fails.load(Ordering::Relaxed) { Err(StorageError::Full("disk".into())) } else { Ok(()) }
    }

    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        Ok(Vec::new())
    }

    fn release(&self) {}
}

/// A piece is claimed only if a sync after it has worked, whatever is stored and committed in whatever order.
pub fn checkpoint(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let folder = journal_file();
    let path = folder.path().join("journal");
    let disk = Arc::new(Disk::default());
    let open = || Journal::open(&path, CONTENT, PIECES).expect("it is read");
    let mut checkpoint = Checkpoint::new(disk.clone(), open().0);
    let (mut waiting, mut durable) = (Vec::new(), PieceSet::empty(PIECES));
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        match input.below(8) {
            0 => disk.fails.store(input.flag(), Ordering::Relaxed),
            1..=2 => {
                let worked = checkpoint.commit().is_ok();
                assert_eq!(worked, waiting.is_empty() || !disk.fails.load(Ordering::Relaxed));
                let batch = std::mem::take(&mut waiting);
                batch
                    .into_iter()
                    .filter(|_| worked)
                    .for_each(|piece| assert!(durable.contains(piece) || durable.insert(piece)));
            }
            // A crash: what waited is gone.
            3 => {
                drop(checkpoint);
                waiting.clear();
                let (journal, have) = open();
                assert_eq!(have, durable);
                checkpoint = Checkpoint::new(disk.clone(), journal);
            }
            _ => {
                let piece = input.below(PIECES as usize) as u32;
                checkpoint.stored([piece], 1 << 20);
                waiting.push(piece);
            }
        }
    }
    drop(checkpoint);
    assert_eq!(open().1, durable);
}
