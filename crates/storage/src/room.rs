//! The space that a download needs: looked for before anything is written, reserved, and watched while it runs.
//!
//! A download that does not fit must show at its start, and must not leave the disk full for everyone else. What was reserved
//! in files the system counts itself. Files of a folder are made as they come; for these the space is reserved in a file
//! without a name, which shrinks as they take its place and is gone with the process, and where there is no such thing it is
//! counted here, so that the downloads of one process know of each other.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use protocol::decorated_name;

use crate::StorageError;
use crate::error::error_at;
use crate::file_size::file_size_limit;
use crate::folder::Folder;
use crate::lock::lock;
use crate::state_names::PART;

/// What stays free unless something else is said: a hundredth of the file system, and no more than this.
const MOST_KEPT: u64 = 1 << 30;
/// Files take whole blocks of this size on most file systems.
const BLOCK: u64 = 4096;
/// The file without a name shrinks by so much at once.
const CHUNK: u64 = 16 << 20;

/// What downloads of this process will still take of a disk and have not reserved there.
static LEDGER: Mutex<Vec<Weak<Entry>>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Entry {
    device: u64,
    bytes: AtomicU64,
}

/// Space for one download.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    keeps: u64,
    /// Whether its files are larger than what they need, for their holes: then nothing is reserved in the files themselves.
    has_holes: bool,
    entry: Arc<Entry>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes of files that are still to be made.
    left: u64,
    /// What of that is reserved in a file without a name.
    held: u64,
    unnamed: Option<File>,
}

impl Room {
    /// Looks whether a content fits into `folder`, beside what others are about to take, and leaves as much as it is to keep
    /// free: `keep_free` bytes, or what is usual. Counts what an earlier run has reserved for it. Nothing is written, and
    /// nothing has to be there.
    pub fn look(
        folder: &Path,
        name: &str,
        is_folder: bool,
        files: &[(String, u64, bool)],
        keep_free: Option<u64>,
    ) -> Result<Self, StorageError> {
        Self::look_for(folder, name, is_folder, files, None, keep_free)
    }

    /// The same for files of which so many bytes each are zeros that will be holes. Only what they hold is reserved.
    pub fn look_beside_holes(
        folder: &Path,
        name: &str,
        is_folder: bool,
        files: &[(String, u64, bool)],
        holes: &[u64],
        keep_free: Option<u64>,
    ) -> Result<Self, StorageError> {
        Self::look_for(folder, name, is_folder, files, Some(holes), keep_free)
    }

    fn look_for(
        folder: &Path,
        name: &str,
        is_folder: bool,
        files: &[(String, u64, bool)],
        holes: Option<&[u64]>,
        keep_free: Option<u64>,
    ) -> Result<Self, StorageError> {
        handle_size_signal();
        let target = folder.join(name);
        if let Some(limit) = file_size_limit()
            && files.iter().any(|&(_, size, _)| size > limit)
        {
            return Err(StorageError::TooLarge { path: target, limit: Some(limit) });
        }
        let there = nearest(folder);
        let error = |source| error_at(there, source);
        let (free, total) = space(there).map_err(error)?;
        let keeps = keep_free.unwrap_or(usually_kept(total));
        let part = decorated_name(".", name, PART);
        let taken = taken(folder, Path::new(&part), is_folder, files);
        let rounded = |size: u64| size.div_ceil(BLOCK).saturating_mul(BLOCK);
        let hole = |file: usize| holes.and_then(|holes| holes.get(file)).copied().unwrap_or(0);
        let needs = files
            .iter()
            .zip(taken)
            .enumerate()
            .map(|(file, (&(_, size, _), taken))| rounded(size).saturating_sub(hole(file)).saturating_sub(taken));
        let needs = needs.fold(0u64, u64::saturating_add);
        let device = device(there).map_err(error)?;
        let mut ledger = lock(&LEDGER);
        ledger.retain(|entry| entry.strong_count() > 0);
        let others = ledger.iter().filter_map(Weak::upgrade).filter(|entry| entry.device == device);
        let others = others.map(|entry| entry.bytes.load(Ordering::Relaxed)).fold(0u64, u64::saturating_add);
        let free = free.saturating_sub(others);
        // A file system that does not say how large it is does not say what is free either.
        if total > 0 && needs.saturating_add(keeps) > free {
            return Err(StorageError::NoRoom { path: target, needs, free, keeps });
        }
        let entry = Arc::new(Entry { device, bytes: AtomicU64::new(needs) });
        ledger.push(Arc::downgrade(&entry));
        let state = Mutex::new(State { left: needs, held: 0, unnamed: None });
        Ok(Room { path: folder.to_owned(), keeps, has_holes: holes.is_some(), entry, state })
    }

    /// Whether nothing is reserved in the files themselves, since they are larger than what they will hold.
    pub(crate) fn has_holes(&self) -> bool {
        self.has_holes
    }

    /// Reserves what files will take that are made as they come. Where that cannot be done it is only counted.
    pub(crate) fn reserve(&self, folder: &Folder) {
        let mut state = lock(&self.state);
        let held = state.left / CHUNK * CHUNK;
        let unnamed = (held > 0).then(|| folder.unnamed()).flatten();
        if let Some(unnamed) = unnamed.filter(|unnamed| fs4::FileExt::allocate(unnamed, held).is_ok()) {
            (state.held, state.unnamed) = (held, Some(unnamed));
            self.entry.bytes.store(state.left - held, Ordering::Relaxed);
        }
    }

    /// So many bytes are about to be reserved, or written, in a file of the download itself.
    pub(crate) fn take(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.left = state.left.saturating_sub(bytes);
        let held = state.left / CHUNK * CHUNK;
        if held < state.held {
            // Should that fail, more than is needed stays reserved until the end.
            let shrunk = state.unnamed.as_ref().is_none_or(|unnamed| unnamed.set_len(held).is_ok());
            if shrunk {
                state.held = held;
            }
        }
        self.entry.bytes.store(state.left.saturating_sub(state.held), Ordering::Relaxed);
    }

    /// Gives back what is reserved without a name.
    pub(crate) fn release(&self) {
        let mut state = lock(&self.state);
        *state = State { left: 0, held: 0, unnamed: None };
        self.entry.bytes.store(0, Ordering::Relaxed);
    }

    /// Whether as much is free as is to be kept, no matter what takes it.
    pub fn check(&self) -> Result<(), StorageError> {
        match space(nearest(&self.path)) {
            Ok((free, total)) if total > 0 && free < self.keeps => {
                Err(StorageError::Margin { path: self.path.clone(), free, keeps: self.keeps })
            }
            // What cannot be asked now may be asked the next time; a write will tell.
            _ => Ok(()),
        }
    }
}

/// Whether an error says that there is no room: on the disk, in a quota, or for so large a file.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The folder itself, or the nearest one above it that is there.
fn nearest(folder: &Path) -> &Path {
    let mut above = folder.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    above.find(|path| path.is_dir()).unwrap_or(Path::new("."))
}

/// Bytes that are free for us, and bytes in all, where a folder is.
pub(crate) fn space(folder: &Path) -> io::Result<(u64, u64)> {
    let stats = fs4::statvfs(of_any_length(folder)?)?;
    Ok((stats.available_space(), stats.total_space()))
}

/// What stays free on a file system of so many bytes.
fn usually_kept(total: u64) -> u64 {
    (total / 100).min(MOST_KEPT)
}

/// Whether so many bytes more can be written there, and as much stays free as is usual.
#[cfg(windows)]
pub(crate) fn has_room(folder: &Path, bytes: u64) -> bool {
    space(nearest(folder)).is_ok_and(|(free, total)| bytes.saturating_add(usually_kept(total)) <= free)
}

/// More than this many characters of a path are too many for calls of Windows that are given one as it is.
const LONG_PATH: usize = 240;

/// A folder as calls of Windows take it that know no long paths, unless they are spelt as the system does (`\\?\C:\…`).
fn of_any_length(folder: &Path) -> io::Result<std::borrow::Cow<'_, Path>> {
    let is_long = || std::path::absolute(folder).is_ok_and(|path| path.as_os_str().len() > LONG_PATH);
    Ok(if cfg!(windows) && is_long() { atomic_file::real_path(folder)?.into() } else { folder.into() })
}

/// What the files of a download take on the disk already.
fn taken(folder: &Path, part: &Path, is_folder: bool, files: &[(String, u64, bool)]) -> Vec<u64> {
    let none = vec![0; files.len()];
    let Ok(folder) = Folder::open(folder) else { return none };
    if !matches!(folder.look(part), Ok(Some(_))) {
        return none;
    }
    let mut walk = folder.walk();
    let mut look = |path: &Path| walk.look(path).ok().flatten().map_or(0, |seen| seen.taken);
    files.iter().map(|(path, ..)| if is_folder { look(&part.join(path)) } else { look(part) }).collect()
}

#[cfg(unix)]
fn device(folder: &Path) -> io::Result<u64> {
    Ok(std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(folder)?))
}

/// The drive, or whatever else paths begin with.
#[cfg(not(unix))]
fn device(folder: &Path) -> io::Result<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    atomic_file::real_path(folder)?.components().next().hash(&mut hasher);
    Ok(hasher.finish())
}

/// From now on, exceeding the file size limit is a write error instead of the signal SIGXFSZ.
fn handle_size_signal() {
    #[cfg(target_os = "linux")]
    crate::fault::ignore_size_signal();
}
