//! A disk whose power can fail: what was not flushed is lost, or worse, half of it is there.
//!
//! Killing a process proves nothing about a journal, since the page cache outlives it. Here writes stay in memory
//! until they are flushed; a crash lets a random choice of their blocks reach the storage below, in no order, as a
//! disk may have written any of them by then.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::error::in_range;
use crate::lock::lock;
use crate::{Access, Backend, FileSpec, Storage, StorageError};

/// Bytes that reach a disk together or not at all.
const BLOCK: u64 = 4096;

/// Keeps writes back until they are flushed.
pub struct Forgetful {
    inner: Arc<dyn Backend>,
    open: Mutex<Vec<Arc<Cached>>>,
}

impl Forgetful {
    /// Around `inner`, which plays the platter.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Forgetful { inner, open: Mutex::new(Vec::new()) }
    }

    /// The power fails: each unflushed block survives if `survives` says so. What was opened before is dead; what is
    /// on the platter is seen through the backend below.
    pub fn crash(&self, mut survives: impl FnMut() -> bool) -> Result<(), StorageError> {
        for cached in lock(&self.open).drain(..) {
            for write in cached.take().into_iter().flatten() {
                for block in write.blocks() {
                    if survives() {
                        cached.inner.write(block.file, block.offset, &block.data)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Backend for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }

    fn persistent(&self) -> bool {
        self.inner.persistent()
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        let inner = self.inner.open(files, access)?;
        let sizes = files.iter().map(|spec| spec.size).collect();
        let cached = Arc::new(Cached { inner, access, sizes, unflushed: Mutex::new(Some(Vec::new())) });
        lock(&self.open).push(cached.clone());
        Ok(cached)
    }
}

struct Write {
    file: usize,
    offset: u64,
    data: Vec<u8>,
}

impl Write {
    /// The write, cut where blocks begin.
    fn blocks(&self) -> impl Iterator<Item = Write> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let offset = self.offset + at as u64;
            let len = ((BLOCK - offset % BLOCK) as usize).min(self.data.len() - at);
            let data = self.data[at..at + len].to_vec();
            at += len;
            (len > 0).then_some(Write { file: self.file, offset, data })
        })
    }
}

struct Cached {
    inner: Arc<dyn Storage>,
    access: Access,
    sizes: Vec<u64>,
    /// In the order of writing; nothing once the power has failed.
    unflushed: Mutex<Option<Vec<Write>>>,
}

impl Cached {
    fn take(&self) -> Option<Vec<Write>> {
        lock(&self.unflushed).take()
    }
}

fn dead() -> StorageError {
    StorageError::Io { path: "the power has failed".into(), source: std::io::ErrorKind::BrokenPipe.into() }
}

impl Storage for Cached {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let unflushed = lock(&self.unflushed);
        let unflushed = unflushed.as_ref().ok_or_else(dead)?;
        in_range(offset, len, self.sizes[file])?;
        let below = self.inner.read(file, offset, len);
        let end = offset + len as u64;
        let mut over = unflushed
            .iter()
            .filter(|write| write.file == file && write.offset < end && write.offset + write.data.len() as u64 > offset)
            .peekable();
        if over.peek().is_none() {
            return below;
        }
        let mut bytes = match below {
            // A small file need not be there before something of it has reached the platter.
            Err(StorageError::NotFound(_)) => vec![0; len],
            below => below?.to_vec(),
        };
        for write in over {
            let start = write.offset.max(offset);
            let stop = (write.offset + write.data.len() as u64).min(end);
            let data = &write.data[(start - write.offset) as usize..(stop - write.offset) as usize];
            bytes[(start - offset) as usize..(stop - offset) as usize].copy_from_slice(data);
        }
        Ok(bytes.into())
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let mut unflushed = lock(&self.unflushed);
        let unflushed = unflushed.as_mut().ok_or_else(dead)?;
        if self.access == Access::Read {
            // Only it knows how it refuses.
            return self.inner.write(file, offset, data);
        }
        in_range(offset, data.len(), self.sizes[file])?;
        unflushed.push(Write { file, offset, data: data.to_vec() });
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        let mut unflushed = lock(&self.unflushed);
        for write in unflushed.as_mut().ok_or_else(dead)?.drain(..) {
            self.inner.write(write.file, write.offset, &write.data)?;
        }
        self.inner.flush()
    }

    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        self.inner.changed_by_others()
    }

    fn release(&self) {
        self.inner.release();
    }

    fn fills_gaps(&self) -> bool {
        self.inner.fills_gaps()
    }
}
