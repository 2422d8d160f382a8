//! A disk that rots: what is read is not what was written, and nothing says so. A peer that serves from it lies.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Access, Backend, FileSpec, Storage, StorageError};

type Spoil = Arc<dyn Fn(u64, &mut [u8]) + Send + Sync>;

/// Spoils whatever is read, as a function says.
pub struct Rotten {
    inner: Arc<dyn Backend>,
    spoil: Spoil,
}

impl Rotten {
    /// `spoil` is given each block that is read, with its offset in the file, to change as it likes.
    pub fn new(inner: Arc<dyn Backend>, spoil: impl Fn(u64, &mut [u8]) + Send + Sync + 'static) -> Self {
        Rotten { inner, spoil: Arc::new(spoil) }
    }
}

impl Backend for Rotten {
    fn name(&self) -> &'static str {
        "rotten"
    }

    fn persistent(&self) -> bool {
        self.inner.persistent()
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        Ok(Arc::new(Rotting { inner: self.inner.open(files, access)?, spoil: self.spoil.clone() }))
    }
}

struct Rotting {
    inner: Arc<dyn Storage>,
    spoil: Spoil,
}

impl Storage for Rotting {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let mut bytes = self.inner.read(file, offset, len)?.to_vec();
        (self.spoil)(offset, &mut bytes);
        Ok(bytes.into())
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.inner.write(file, offset, data)
    }

    fn flush(&self) -> Result<(), StorageError> {
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
