//! A failing disk: each operation asks first whether it is to fail.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Access, Backend, FileSpec, Storage, StorageError};

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Files are opened.
    Open,
    /// A range of a file is read.
    Read {
        /// The file.
        file: usize,
        /// Start of the range in bytes.
        offset: u64,
    },
    /// A range of a file is written.
    Write {
        /// The file.
        file: usize,
        /// Start of the range in bytes.
        offset: u64,
    },
    /// Everything written is made durable.
    Flush,
}

type Fails = Arc<dyn Fn(Operation) -> Option<StorageError> + Send + Sync>;

/// Fails as a function says.
pub struct Failing {
    inner: Arc<dyn Backend>,
    fails: Fails,
}

impl Failing {
    /// `fails` gives the error of an operation that is to fail.
    pub fn new(
        inner: Arc<dyn Backend>,
        fails: impl Fn(Operation) -> Option<StorageError> + Send + Sync + 'static,
    ) -> Self {
        Failing { inner, fails: Arc::new(fails) }
    }
}

fn ask(fails: &Fails, operation: Operation) -> Result<(), StorageError> {
    fails(operation).map_or(Ok(()), Err)
}

impl Backend for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn persistent(&self) -> bool {
        self.inner.persistent()
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        ask(&self.fails, Operation::Open)?;
        Ok(Arc::new(Fragile { inner: self.inner.open(files, access)?, fails: self.fails.clone() }))
    }
}

struct Fragile {
    inner: Arc<dyn Storage>,
    fails: Fails,
}

impl Storage for Fragile {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        ask(&self.fails, Operation::Read { file, offset })?;
        self.inner.read(file, offset, len)
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        ask(&self.fails, Operation::Write { file, offset })?;
        self.inner.write(file, offset, data)
    }

    fn flush(&self) -> Result<(), StorageError> {
        ask(&self.fails, Operation::Flush)?;
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
