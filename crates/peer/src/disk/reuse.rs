//! What lies on the disk already and need not be asked of others: what an earlier run has stored, and pieces of a file that is
//! to be replaced which are equal at the same place. Neither is believed before it is hashed.

use std::path::Path;
use std::sync::Mutex;

use integrity::on_all_cores;
use protocol::{PieceRange, PieceSet};
use storage::{Access, Backend, FileBackend, FileSpec, StorageError};

use crate::disk::content::ContentStore;
use crate::lock::lock;
use crate::stats::WaitStats;

/// Copies the pieces of the old version of a file that are right and not in `have` to where the file is built, claims them,
/// and adds them to `have`. An old file that cannot be read has nothing in common. Hashes on all cores; blocks.
pub(crate) fn reuse(store: &ContentStore, file: usize, old: &Path, have: &mut PieceSet) -> Result<(), StorageError> {
    let Ok(size) = std::fs::metadata(old).map(|metadata| metadata.len()) else { return Ok(()) };
    // Not mapped: what is verified must be what is copied, even if the old file is written to meanwhile.
    let Ok(source) = FileBackend.open(&[FileSpec { path: old.to_owned(), size }], Access::Read) else { return Ok(()) };
    let geometry = store.manifest().geometry();
    let within = |piece| geometry.piece(piece).is_some_and(|piece| piece.offset + piece.len as u64 <= size);
    let lacked: Vec<u32> = geometry.pieces_of(file).filter(|&piece| !have.contains(piece) && within(piece)).collect();
    let (found, waits) = (Mutex::new(have), WaitStats::default());
    on_all_cores(lacked.len(), |at| {
        let first = lacked[at];
        for block in geometry.blocks(PieceRange { first, count: 1 }, usize::MAX) {
            let Ok(bytes) = source.read(0, block.stretches[0].offset, block.len) else { continue };
            let verdicts = store.write_verified(&block, &bytes, &waits)?;
            let mut found = lock(&found);
            for (piece, _) in verdicts.into_iter().filter(|&(_, right)| right) {
                found.insert(piece);
            }
        }
        Ok(())
    })?;
    store.sync()
}

/// Takes from `have` what is not there or not right any more: since an earlier run claimed it, anyone may have written to the
/// file. Hashes on all cores; blocks.
pub(crate) fn verify_again(store: &ContentStore, have: &mut PieceSet) -> Result<(), StorageError> {
    let geometry = store.manifest().geometry();
    let claimed: Vec<u32> = (0..geometry.pieces()).filter(|&piece| have.contains(piece)).collect();
    let found = Mutex::new(have);
    on_all_cores(claimed.len(), |at| {
        let first = claimed[at];
        let mut blocks = geometry.blocks(PieceRange { first, count: 1 }, usize::MAX);
        let right = blocks.all(|block| store.load(&block).is_ok_and(|bytes| store.manifest().verify(first, &bytes)));
        if !right {
            lock(&found).remove(first);
        }
        Ok(())
    })
}
