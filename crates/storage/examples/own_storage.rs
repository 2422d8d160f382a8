//! A backend written outside the crate: every file is a list of blocks, made when they are first written. Run it with
//! `cargo run -p p2p-fileshare-storage --example own_storage`; it goes through the suite that all backends pass.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use p2p_fileshare_storage::{Access, Backend, FileSpec, Storage, StorageError};

const BLOCK: u64 = 4096;

/// A file: its size, and the blocks that were written.
struct Sparse {
    size: u64,
    blocks: HashMap<u64, Vec<u8>>,
}

/// Files by path.
#[derive(Default)]
struct Blocks(Mutex<HashMap<PathBuf, Arc<Mutex<Sparse>>>>);

impl Backend for Blocks {
    fn name(&self) -> &'static str {
        "blocks"
    }

    fn persistent(&self) -> bool {
        false
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        let mut all = self.0.lock().unwrap();
        let mut open = Vec::new();
        for FileSpec { path, size } in files {
            let new = || Arc::new(Mutex::new(Sparse { size: *size, blocks: HashMap::new() }));
            let file = match access {
                Access::Write => all.entry(path.clone()).or_insert_with(new).clone(),
                Access::Read => all.get(path).ok_or_else(|| StorageError::NotFound(path.clone()))?.clone(),
            };
            if file.lock().unwrap().size != *size {
                return Err(StorageError::Changed(path.clone()));
            }
            open.push((path.clone(), file));
        }
        Ok(Arc::new(Open { files: open, access }))
    }
}

struct Open {
    files: Vec<(PathBuf, Arc<Mutex<Sparse>>)>,
    access: Access,
}

fn in_range(offset: u64, len: usize, size: u64) -> Result<(), StorageError> {
    let fits = offset.checked_add(len as u64).is_some_and(|end| end <= size);
    if fits { Ok(()) } else { Err(StorageError::OutOfRange { offset, len, size }) }
}

impl Storage for Open {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let file = self.files[file].1.lock().unwrap();
        in_range(offset, len, file.size)?;
        let byte = |at: u64| file.blocks.get(&(at / BLOCK)).map_or(0, |block| block[(at % BLOCK) as usize]);
        Ok((offset..offset + len as u64).map(byte).collect())
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let (path, file) = &self.files[file];
        if self.access == Access::Read {
            return Err(StorageError::Denied(path.clone()));
        }
        let mut file = file.lock().unwrap();
        in_range(offset, data.len(), file.size)?;
        for (at, byte) in (offset..).zip(data) {
            let block = file.blocks.entry(at / BLOCK).or_insert_with(|| vec![0; BLOCK as usize]);
            block[(at % BLOCK) as usize] = *byte;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        Ok(Vec::new())
    }

    // Nothing is kept open here.
    fn release(&self) {}
}

fn main() {
    p2p_fileshare_storage::conformance::run(&Blocks::default(), &std::env::temp_dir());
    println!("The backend passes.");
}
