//! Everything in memory: for tests, and for peers that should touch the disk only when they are done.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::error::in_range;
use crate::lock::lock;
use crate::{Access, Backend, FileSpec, Storage, StorageError};

type File = Arc<Mutex<Vec<u8>>>;

/// Files by path in a world that clones share.
#[derive(Clone, Default)]
pub struct MemoryBackend {
    files: Arc<Mutex<HashMap<PathBuf, File>>>,
}

impl MemoryBackend {
    /// Puts a file there.
    pub fn put(&self, path: impl Into<PathBuf>, bytes: Vec<u8>) {
        lock(&self.files).insert(path.into(), Arc::new(Mutex::new(bytes)));
    }
}

impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn persistent(&self) -> bool {
        false
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        let mut world = lock(&self.files);
        let mut open = |spec: &FileSpec| {
            let file = match access {
                Access::Read => world.get(&spec.path).ok_or_else(|| StorageError::NotFound(spec.path.clone()))?.clone(),
                Access::Write => world.entry(spec.path.clone()).or_default().clone(),
            };
            let mut bytes = lock(&file);
            match access {
                Access::Read if bytes.len() as u64 != spec.size => {
                    return Err(StorageError::Changed(spec.path.clone()));
                }
                Access::Read => {}
                Access::Write => {
                    // A size that comes from a stranger's manifest must not end the process.
                    let more = usize::try_from(spec.size).unwrap_or(usize::MAX).saturating_sub(bytes.len());
                    bytes.try_reserve_exact(more).map_err(|_| StorageError::Full(spec.path.clone()))?;
                    bytes.resize(spec.size as usize, 0);
                }
            }
            drop(bytes);
            Ok((file, spec.path.clone()))
        };
        let files = files.iter().map(&mut open).collect::<Result<_, StorageError>>()?;
        Ok(Arc::new(Memory { files, access }))
    }
}

struct Memory {
    files: Vec<(File, PathBuf)>,
    access: Access,
}

impl Storage for Memory {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let bytes = lock(&self.files[file].0);
        in_range(offset, len, bytes.len() as u64)?;
        Ok(Bytes::copy_from_slice(&bytes[offset as usize..offset as usize + len]))
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let (file, path) = &self.files[file];
        if self.access == Access::Read {
            return Err(StorageError::Denied(path.clone()));
        }
        let mut bytes = lock(file);
        in_range(offset, data.len(), bytes.len() as u64)?;
        bytes[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        Ok(Vec::new())
    }

    /// Nothing is open.
    fn release(&self) {}
}
