//! The open files of a content: all of them while they are few; of many only those that were opened last, since a process
//! may have only so many descriptors.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::{Arc, Mutex};

use crate::error::error_at;
use crate::file::{open_file, reopen_file};
use crate::{Access, FileSpec, StorageError};

/// Most files of one content that are open at a time.
const MOST: usize = 128;

/// Files of a content, opened as they are needed.
pub(crate) struct Handles<T> {
    specs: Vec<FileSpec>,
    access: Access,
    open: Mutex<Open<T>>,
}

struct Open<T> {
    files: HashMap<usize, Arc<T>>,
    /// In the order in which they were opened.
    order: VecDeque<usize>,
}

impl<T> Handles<T> {
    /// Checks that the files are there, or makes them; opens them if they are few.
    pub(crate) fn open(
        specs: &[FileSpec],
        access: Access,
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<Self, StorageError> {
        let mut open = Open { files: HashMap::new(), order: VecDeque::new() };
        for (file, spec) in specs.iter().enumerate() {
            if few(specs) {
                open.files.insert(file, Arc::new(make(open_file(spec, access)?, spec)?));
                open.order.push_back(file);
            } else if access == Access::Write {
                open_file(spec, access)?;
            } else {
                let there = std::fs::metadata(&spec.path).map_err(|source| error_at(&spec.path, source))?;
                if there.len() != spec.size {
                    return Err(StorageError::Changed(spec.path.clone()));
                }
            }
        }
        Ok(Handles { specs: specs.to_vec(), access, open: Mutex::new(open) })
    }

    pub(crate) fn spec(&self, file: usize) -> &FileSpec {
        &self.specs[file]
    }

    /// A file, opened by `make` if it is not open. The one that has been open for longest is closed for it, once nobody
    /// uses it any more.
    pub(crate) fn get(
        &self,
        file: usize,
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<Arc<T>, StorageError> {
        if let Some(open) = self.open.lock().expect("no panic holds it").files.get(&file) {
            return Ok(open.clone());
        }
        let spec = &self.specs[file];
        // Not under the lock: opening may wait for the disk. Should two do it at once, both are as good.
        let opened = Arc::new(make(reopen_file(spec, self.access)?, spec)?);
        let mut open = self.open.lock().expect("no panic holds it");
        if open.files.insert(file, opened.clone()).is_none() {
            open.order.push_back(file);
        }
        let oldest = if open.order.len() > MOST { open.order.pop_front() } else { None };
        let closed = oldest.and_then(|oldest| open.files.remove(&oldest));
        drop(open);
        drop(closed);
        Ok(opened)
    }

    /// Makes durable what was written: file by file, by `sync`, or, of many, with all that their file system has to write.
    pub(crate) fn sync(&self, sync: impl Fn(usize, &FileSpec) -> Result<(), StorageError>) -> Result<(), StorageError> {
        if self.access == Access::Read {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        if !few(&self.specs) {
            return sync_file_system(&self.specs[0]);
        }
        self.specs.iter().enumerate().try_for_each(|(file, spec)| sync(file, spec))
    }
}

/// Whether all of them may be open at a time.
fn few(specs: &[FileSpec]) -> bool {
    specs.len() <= MOST
}

/// Makes everything durable that was written to the file system of this file: the files of one content lie in one. Since
/// Linux 5.8 errors are told, too.
#[cfg(target_os = "linux")]
fn sync_file_system(spec: &FileSpec) -> Result<(), StorageError> {
    let file = File::open(&spec.path).map_err(|source| error_at(&spec.path, source))?;
    rustix::fs::syncfs(&file).map_err(|errno| error_at(&spec.path, errno.into()))
}
