//! Reading what is stored, for other peers and for readers.
//!
//! Nothing is given away unverified of a file that somebody else may have changed. Who receives pieces from this peer verifies them; a
//! reader does not, so that what it gets is verified here.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{Block, Stretch};
use storage::{Remote, Storage, StorageError};

use super::{ContentStore, FileTable};
use crate::disk::file_state::removed_or;
use crate::lock::{lock, read};

impl ContentStore {
    /// Whether a file can still be read as it was when it was opened.
    pub(crate) fn look_at(&self, file: usize) -> Result<(), StorageError> {
        let size = self.manifest.header().files[file].size;
        self.storage().read(file, 0, size.min(1) as usize).map(drop)
    }

    /// Where this byte of the files that are wanted is, one file after the other: the piece, those of its file from there on,
    /// and how many of the piece's bytes come before it. Nothing behind the end.
    pub(crate) fn locate(&self, offset: u64) -> Option<(Range<u32>, usize)> {
        let FileTable { files, ends } = &self.table;
        let at = ends.partition_point(|&end| end <= offset);
        let &file = files.get(at)?;
        let begin = if at == 0 { 0 } else { ends[at - 1] };
        let (geometry, offset) = (self.manifest.geometry(), offset - begin);
        let piece_size = u64::from(geometry.piece_size());
        let pieces = geometry.pieces_of(file);
        let first = pieces.start + (offset / piece_size) as u32;
        Some((first..pieces.end, (offset % piece_size) as usize))
    }

    /// The bytes of pieces that are stored, for others. Blocks while they come from the disk.
    pub(crate) fn load(&self, block: &Block) -> Result<Bytes, StorageError> {
        if self.is_doubtful(block) { self.load_verified(block) } else { self.load_as_is(block) }
    }

    /// Whether somebody else may have changed a file of it.
    fn is_doubtful(&self, block: &Block) -> bool {
        let doubtful = read(&self.doubtful);
        !doubtful.is_empty() && block.stretches.iter().any(|stretch| doubtful.contains(&stretch.file))
    }

    /// Some of the bytes of a block, for no longer than they are needed.
    pub(crate) fn load_part(&self, block: &Block, bytes: Range<usize>) -> Result<Bytes, StorageError> {
        let part = block.part(bytes.clone());
        if self.is_doubtful(block) {
            // Only whole pieces can be verified.
            return self.load_verified(block).map(|all| Bytes::copy_from_slice(&all[bytes]));
        }
        self.load_as_is(&part)
    }

    /// Whether what is read of large files is a slice of a map, if that is known.
    pub(crate) fn known_to_be_mapped(&self) -> Option<bool> {
        self.mapped.get().copied()
    }

    /// The same, found out by a byte of a large file: who reads it twice has two copies of it, or one place in a map. Blocks.
    pub(crate) fn is_mapped(&self, stretch: &Stretch) -> bool {
        *self.mapped.get_or_init(|| {
            let byte = || self.read(&Stretch { len: 1, ..*stretch });
            matches!((byte(), byte()), (Ok(one), Ok(other)) if one.as_ptr() == other.as_ptr())
        })
    }

    /// The bytes of pieces of a content that is somewhere else.
    pub(crate) async fn fetch(remote: &dyn Remote, block: &Block) -> Result<Bytes, StorageError> {
        let mut fetched = Vec::with_capacity(block.stretches.len());
        for stretch in &block.stretches {
            fetched.push(remote.fetch(stretch.file, stretch.offset, stretch.len).await?);
        }
        match &fetched[..] {
            [one] => Ok(one.clone()),
            several => Ok(several.concat().into()),
        }
    }

    /// The same, verified: for what is read once and never verified by anyone else.
    pub(crate) fn load_verified(&self, block: &Block) -> Result<Bytes, StorageError> {
        let bytes = self.load_as_is(block)?;
        self.verify_block(block, &bytes)?;
        Ok(bytes)
    }

    /// What a reader gets of a content that is somewhere else, verified. No thread waits for it: those that answers need, as for names and
    /// for the cache, would run out.
    pub(crate) async fn fetch_for_reader(
        self: Arc<Self>,
        remote: Arc<dyn Remote>,
        block: Block,
    ) -> Result<Bytes, StorageError> {
        let bytes = ContentStore::fetch(&*remote, &block).await?;
        let verifying = tokio::task::spawn_blocking(move || self.verify_block(&block, &bytes).map(|()| bytes));
        verifying.await.unwrap_or_else(|_| Err(StorageError::Unreachable("it ends".to_owned())))
    }

    fn verify_block(&self, block: &Block, bytes: &[u8]) -> Result<(), StorageError> {
        let (size, mut rest) = (self.manifest.geometry().piece_size() as usize, bytes);
        for stretch in &block.stretches {
            let (of_file, behind) = rest.split_at(stretch.len);
            rest = behind;
            let mut pieces = stretch.run.pieces().zip(of_file.chunks(size));
            if !pieces.all(|(piece, bytes)| self.manifest.verify(piece, bytes)) {
                return Err(StorageError::Changed(self.names.spec(&self.manifest, &self.path, stretch.file).path));
            }
        }
        Ok(())
    }

    /// The same for a reader. Pieces of files that stay where they are are verified once: the storage notices when such a file is
    /// changed, and reads it no more.
    pub(crate) fn load_for_reader(&self, block: &Block) -> Result<Bytes, StorageError> {
        let pieces = || block.stretches.iter().flat_map(|stretch| stretch.run.pieces());
        let is_settled = read(&self.doubtful).is_empty() && !self.is_being_built();
        if is_settled {
            let known = lock(&self.verified);
            if pieces().all(|piece| known.contains(piece)) {
                drop(known);
                return self.load_as_is(block);
            }
        }
        let bytes = self.load_verified(block)?;
        if is_settled {
            let mut known = lock(&self.verified);
            pieces().for_each(|piece| {
                known.insert(piece);
            });
        }
        Ok(bytes)
    }

    /// The bytes of pieces that are stored: of one file as the storage has them, of several put together.
    pub(crate) fn load_as_is(&self, block: &Block) -> Result<Bytes, StorageError> {
        if let [stretch] = &block.stretches[..] {
            return self.read(stretch);
        }
        let mut bytes = Vec::with_capacity(block.len);
        for stretch in &block.stretches {
            bytes.extend_from_slice(&self.read(stretch)?);
        }
        Ok(bytes.into())
    }

    /// Reads where the file is now. A download may get its name right before the read, and then its old one leads nowhere.
    fn read(&self, stretch: &Stretch) -> Result<Bytes, StorageError> {
        let before = self.storage();
        let read = |storage: &Arc<dyn Storage>| storage.read(stretch.file, stretch.offset, stretch.len);
        read(&before).or_else(|error| {
            drop(lock(&self.naming));
            let now = self.storage();
            if Arc::ptr_eq(&before, &now) { Err(error) } else { read(&now) }
        })
    }

    /// Why it cannot be given to others as it was, given what its storage says. Looks at a file, and blocks.
    pub(crate) fn why_not_given(&self, error: StorageError) -> StorageError {
        // A remote content has no path here, and the storage of a download reports its own changes.
        if self.remote.is_some() || self.is_being_built() { error } else { removed_or(error) }
    }
}
