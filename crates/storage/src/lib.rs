//! Where the bytes of a content live, behind one small trait, and what makes them survive.
//!
//! A [`Storage`] is the files of one content, each a flat byte space. It is synchronous: whether it
//! is called inline or from a thread of its own is the caller's choice. It never sees sessions,
//! manifests or networks. Writes only ever go to pieces that are not yet verified as stored, and what
//! is written has been verified in memory; only stored pieces are read for others.
//!
//! No trait has default methods, so that a wrapper which forgets to forward one does not compile.
//!
//! # Example
//!
//! ```
//! use p2p_fileshare_storage::{Access, Backend, FileSpec, MemoryBackend, Storage};
//!
//! let file = FileSpec { path: "model.bin".into(), size: 1 << 20 };
//! let storage = MemoryBackend::default().open(&[file], Access::Write)?;
//! storage.write(0, 4096, b"a piece")?;
//! storage.flush()?;
//! assert_eq!(&storage.read(0, 4096, 7)?[..], b"a piece");
//! # Ok::<(), p2p_fileshare_storage::StorageError>(())
//! ```

mod changes;
mod checkpoint;
pub mod conformance;
mod error;
mod fallback;
#[cfg(unix)]
mod fault;
mod file;
mod file_size;
mod folder;
mod folder_merge;
mod handles;
mod held;
mod holes;
mod journal;
mod left_over;
mod lock;
mod memory;
mod mmap;
mod named;
mod open;
mod open_files;
mod output;
mod overlay;
pub mod positioned;
mod remote;
mod room;
#[cfg(any(windows, test))]
mod sparse_end;
mod state_names;
mod system_files;
pub mod wrappers;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

pub use checkpoint::Checkpoint;
pub use error::{StorageError, error_at, is_withheld};
pub use fallback::{Fallback, FallbackRead, FindingManifest, NextBytes};
#[cfg(unix)]
pub use fault::handle_signals;
pub use file::FileBackend;
pub use folder::{Folder, Seen, Walk};
pub use held::{Held, make_executable};
pub use holes::has_hole;
pub use journal::Journal;
pub use left_over::Claimed;
pub use memory::MemoryBackend;
pub use mmap::MmapBackend;
pub use named::named;
pub use output::Output;
pub use overlay::{OverlayStorage, Place};
pub use remote::{Changing, Fetching, Remote};
pub use room::Room;
pub use state_names::is_state_name;
pub use system_files::{is_system_file, is_system_folder};

/// One file of a content, as a backend is asked to open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// Where it lives.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

/// What a content's files are opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The files exist with their full size and are only read.
    Read,
    /// The files are made if they are missing, set to their size (space reserved where the file
    /// system can), and read and written. A small one need not be there before it is written to.
    Write,
}

/// Nothing: there are no such signals here.
#[cfg(not(unix))]
pub fn handle_signals() {}

/// A kind of storage, chosen once at start by name.
pub trait Backend: Send + Sync {
    /// The name by which it is chosen (`mmap`, `file`, `memory`).
    fn name(&self) -> &'static str;
    /// Whether what was flushed is still there after the process has ended.
    fn persistent(&self) -> bool;
    /// Opens the files of one content.
    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError>;
}

/// The files of one content, each a flat byte space.
pub trait Storage: Send + Sync {
    /// `len` bytes of file `file` from `offset`. For mapped files this is a slice of the map, and it
    /// has been checked and populated: touching it does not wait for the disk.
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError>;
    /// Writes `data` to file `file` at `offset`.
    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError>;
    /// Returns once everything written before this call is durable.
    fn flush(&self) -> Result<(), StorageError>;
    /// The files that somebody else may have changed since they were opened: what is known of their bytes has to be verified
    /// again, and is read from what lies there now. Says each change once. Writes that run meanwhile may count as such.
    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError>;
    /// Closes every file, and keeps none open from here on: each is opened for one call at a time. For when files are about to
    /// be renamed or replaced, which Windows does not do while they, or others in their folder, are open or mapped.
    fn release(&self);
    /// Whether a write far behind all that was written before takes long, since what lies between is filled first, as on FAT. Then
    /// pieces are fetched in ascending order, as far as peers have them.
    fn fills_gaps(&self) -> bool {
        false
    }
}

/// The backend of this name.
pub fn backend(name: &str) -> Option<Arc<dyn Backend>> {
    match name {
        "mmap" => Some(Arc::new(MmapBackend)),
        "file" => Some(Arc::new(FileBackend)),
        "memory" => Some(Arc::new(MemoryBackend::default())),
        _ => None,
    }
}
