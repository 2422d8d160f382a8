//! What is verified once more before a download is called complete: each file that somebody else may have changed since its
//! pieces were verified, and all of them if that is asked for.
//!
//! Pieces are verified in memory and written; that nobody else writes to the files can be hoped, not enforced. The storage
//! notices who does (`Storage::changed_by_others`), at the cost of a look at each file, and only what is doubtful is read
//! again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use integrity::on_all_cores;
use protocol::{Manifest, PieceRange};
use storage::{Access, Backend, FileSpec, Storage, StorageError};

/// Somebody who changes files again and again while they are verified is not waited for.
const TRIES: usize = 3;

/// Files that were verified in a storage which notices changes.
pub(crate) struct Verified {
    pub(crate) storage: Arc<dyn Storage>,
    /// Indexed by the storage's file numbers: the file's number in the content and its place, or `None` for a file that
    /// is not checked.
    pub(crate) files: Vec<Option<(usize, FileSpec)>>,
}

impl Verified {
    /// The files that may have been changed since they were verified, or since this was asked last.
    fn doubtful(&self) -> Result<Vec<(usize, FileSpec)>, StorageError> {
        let changed = self.storage.changed_by_others()?;
        Ok(changed.into_iter().filter_map(|file| self.files.get(file)?.clone()).collect())
    }
}

/// Verifies again what is doubtful among these files, and those that are known to be, by their numbers in the content. Reads
/// with `backend`. Fails with the first file that is not what was verified. Hashes on all cores; blocks.
pub(crate) fn verify_doubtful(
    manifest: &Manifest,
    verified: &[Verified],
    backend: &dyn Backend,
    known: Vec<(usize, FileSpec)>,
) -> Result<(), StorageError> {
    let mut doubtful = doubts(verified)?;
    let numbers: HashSet<usize> = known.iter().map(|&(file, _)| file).collect();
    doubtful.retain(|(file, _)| !numbers.contains(file));
    doubtful.extend(known);
    for _ in 0..TRIES {
        if doubtful.is_empty() {
            return Ok(());
        }
        tracing::debug!(files = doubtful.len(), "verified again before the download is called complete");
        verify_files(manifest, doubtful, backend)?;
        doubtful = doubts(verified)?;
    }
    match doubtful.pop() {
        None => Ok(()),
        Some((_, spec)) => Err(StorageError::Changed(spec.path)),
    }
}

fn doubts(verified: &[Verified]) -> Result<Vec<(usize, FileSpec)>, StorageError> {
    let mut found = Vec::new();
    for verified in verified {
        found.extend(verified.doubtful()?);
    }
    Ok(found)
}

/// Reads these files, each with its number in the content, and verifies every piece of them.
fn verify_files(
    manifest: &Manifest,
    mut files: Vec<(usize, FileSpec)>,
    backend: &dyn Backend,
) -> Result<(), StorageError> {
    files.sort_by_key(|&(file, _)| file);
    let (numbers, specs): (Vec<usize>, Vec<FileSpec>) = files.into_iter().unzip();
    let changed = |path: &Path| StorageError::Changed(path.to_owned());
    let storage = backend.open(&specs, Access::Read).map_err(|error| match error {
        // It was there, and is not where it was.
        StorageError::NotFound(path) => changed(&path),
        error => error,
    })?;
    let geometry = manifest.geometry();
    let pieces: Vec<u32> = numbers.iter().flat_map(|&file| geometry.pieces_of(file)).collect();
    on_all_cores(pieces.len(), |at| {
        let first = pieces[at];
        for block in geometry.blocks(PieceRange { first, count: 1 }, usize::MAX) {
            let stretch = block.stretches[0];
            let at = numbers.partition_point(|&file| file < stretch.file);
            let bytes = storage.read(at, stretch.offset, stretch.len)?;
            if !manifest.verify(first, &bytes) {
                return Err(changed(&specs[at].path));
            }
        }
        Ok(())
    })
}
