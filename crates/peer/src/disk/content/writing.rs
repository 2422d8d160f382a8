//! Writing what was verified, and claiming it in the journal once it is durable.
//!
//! Where the disk is full, what is reserved and holds no verified piece is given back, so that a journal can still be written that says
//! what is there.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Block, Manifest, PieceSet, Stretch};
use storage::{Checkpoint, StorageError, has_hole};
use tokio::time::timeout;

use super::ContentStore;
use super::finish::Building;
use crate::lock::{lock, read, write};
use crate::stats::{WaitKind, WaitStats};

/// What is verified is claimed at most this long after.
const COMMIT_AFTER: Duration = Duration::from_secs(1);

/// While they are built, contents with more files than this are not checked again and again for changes by others.
const WATCHED: usize = 1024;

impl ContentStore {
    /// Verifies pieces in memory and writes those that are right, as few writes as there are files and gaps. Says of each
    /// whether it was. Where there is no room for them, what is reserved and holds nothing is given back. Blocks.
    pub(crate) fn write_verified(
        &self,
        block: &Block,
        bytes: &[u8],
        waits: &WaitStats,
    ) -> Result<Vec<(u32, bool)>, StorageError> {
        self.store_stretches(block, bytes, waits).inspect_err(|error| self.keep_verified(error))
    }

    fn store_stretches(
        &self,
        block: &Block,
        bytes: &[u8],
        waits: &WaitStats,
    ) -> Result<Vec<(u32, bool)>, StorageError> {
        let given_back = read(&self.given_back);
        if let Some(error) = given_back.as_ref().and_then(StorageError::no_room) {
            return Err(error);
        }
        let (mut verdicts, mut rest) = (Vec::new(), bytes);
        for &stretch in &block.stretches {
            let (bytes, behind) = rest.split_at(stretch.len);
            verdicts.extend(self.store_stretch(stretch, bytes, waits)?);
            rest = behind;
        }
        Ok(verdicts)
    }

    /// The disk has failed: claims what is verified, for the next run. If room is what is missing, what was reserved and holds
    /// no verified piece is given back before.
    fn keep_verified(&self, error: &StorageError) {
        // Writers are waited for: what they have verified counts, too.
        let mut given_back = write(&self.given_back);
        let Some(no_room) = error.no_room() else {
            // If that fails, too, nothing is claimed that is not there.
            let _ = self.sync();
            return;
        };
        // Nobody writes after that.
        if given_back.is_some() {
            return;
        }
        *given_back = Some(no_room);
        if let Some(Building { output, built, .. }) = &*lock(&self.building) {
            let none = || PieceSet::empty(self.manifest.geometry().pieces());
            let stored = self.checkpoint.as_ref().map_or_else(none, Checkpoint::stored_pieces);
            if let Err(error) = output.cut_back(|number| stored_ranges(&self.manifest, built[number], &stored)) {
                tracing::warn!(%error, "reserved space could not be released");
            }
        }
        // The journal has room now, if anything is to have it.
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "the last verified pieces could not be recorded in the journal");
        }
    }

    fn store_stretch(
        &self,
        stretch: Stretch,
        bytes: &[u8],
        waits: &WaitStats,
    ) -> Result<Vec<(u32, bool)>, StorageError> {
        let size = self.manifest.geometry().piece_size() as usize;
        let pieces = stretch.run.pieces().zip(bytes.chunks(size));
        let began = Instant::now();
        let verdicts: Vec<_> = pieces.map(|(piece, bytes)| (piece, self.manifest.verify(piece, bytes))).collect();
        waits.add(WaitKind::Verifying, began);
        let began = Instant::now();
        let mut at = 0;
        for group in verdicts.chunk_by(|(_, one), (_, other)| one == other) {
            let len = (group.len() * size).min(bytes.len() - at);
            if group[0].1 {
                self.write(stretch, at, &bytes[at..at + len], group)?;
            }
            at += len;
        }
        waits.add(WaitKind::Writing, began);
        Ok(verdicts)
    }

    fn write(&self, stretch: Stretch, at: usize, bytes: &[u8], group: &[(u32, bool)]) -> Result<(), StorageError> {
        self.storage().write(stretch.file, stretch.offset + at as u64, bytes)?;
        if let Some(checkpoint) = &self.checkpoint {
            self.waiting.notify_one();
            if checkpoint.stored(group.iter().map(|&(piece, _)| piece), bytes.len() as u64) {
                self.full.notify_one();
            }
        }
        Ok(())
    }

    /// Claims what is stored, again and again, until the disk fails. To be run beside a download and then dropped.
    pub(crate) async fn run_checkpoints(self: Arc<Self>) -> StorageError {
        loop {
            self.waiting.notified().await;
            let _ = timeout(COMMIT_AFTER, self.full.notified()).await;
            let store = self.clone();
            let claim =
                move || store.sync().and_then(|()| store.check_disk()).inspect_err(|error| store.keep_verified(error));
            if let Ok(Err(error)) = tokio::task::spawn_blocking(claim).await {
                return error;
            }
        }
    }

    /// Makes holes again of zeros that are stored: what this run has reserved fills them. Blocks.
    pub(crate) fn dig(&self, block: &Block, bytes: &[u8]) -> Result<(), StorageError> {
        let mut rest = bytes;
        for stretch in &block.stretches {
            let (of_file, behind) = rest.split_at(stretch.len);
            rest = behind;
            if has_hole(of_file, stretch.offset) {
                self.storage().write(stretch.file, stretch.offset, of_file)?;
            }
        }
        Ok(())
    }

    /// Claims pieces that were found and verified. Blocks.
    pub(crate) fn claim(&self, pieces: &PieceSet) -> Result<(), StorageError> {
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.stored(pieces.iter(), 0);
        }
        self.sync()
    }

    /// Makes what was verified durable and claims it in the journal. Blocks.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.checkpoint.as_ref().map_or(Ok(()), Checkpoint::commit)
    }

    /// Looks whether as much is free on the disk as is to be kept, while it is built, and whether somebody else writes to it.
    fn check_disk(&self) -> Result<(), StorageError> {
        let building = lock(&self.building);
        let Some(Building { output, storage, built, .. }) = &*building else { return Ok(()) };
        output.check_room()?;
        // Of many files a look at each is too much to be done again and again.
        if built.len() <= WATCHED {
            let changed = storage.changed_by_others()?;
            write(&self.doubtful).extend(changed.into_iter().map(|file| built[file]));
        }
        Ok(())
    }
}

/// The bytes of each file that hold pieces which are stored: ranges in ascending order, for what is given back to the disk.
pub(crate) fn stored_ranges(manifest: &Manifest, file: usize, stored: &PieceSet) -> Vec<Range<u64>> {
    let geometry = manifest.geometry();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for piece in geometry.pieces_of(file).filter(|&piece| stored.contains(piece)) {
        let Some(at) = geometry.piece(piece) else { continue };
        let end = at.offset + at.len as u64;
        match ranges.last_mut() {
            Some(last) if last.end == at.offset => last.end = end,
            _ => ranges.push(at.offset..end),
        }
    }
    ranges
}
