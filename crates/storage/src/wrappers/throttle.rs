//! A slow disk: every byte takes its time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Access, Backend, FileSpec, Storage, StorageError};

/// Reads and writes wait as long as a disk of this rate would need.
pub struct Throttled {
    inner: Arc<dyn Backend>,
    rate: u64,
}

impl Throttled {
    /// `rate` in bytes a second, at least 1.
    pub fn new(inner: Arc<dyn Backend>, rate: u64) -> Self {
        Throttled { inner, rate: rate.max(1) }
    }
}

impl Backend for Throttled {
    fn name(&self) -> &'static str {
        "throttled"
    }

    fn persistent(&self) -> bool {
        self.inner.persistent()
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        Ok(Arc::new(Slow { inner: self.inner.open(files, access)?, rate: self.rate }))
    }
}

struct Slow {
    inner: Arc<dyn Storage>,
    rate: u64,
}

impl Slow {
    fn wait(&self, bytes: usize) {
        std::thread::sleep(Duration::from_secs_f64(bytes as f64 / self.rate as f64));
    }
}

impl Storage for Slow {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        self.wait(len);
        self.inner.read(file, offset, len)
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.wait(data.len());
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
