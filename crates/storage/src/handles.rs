//! The files of a content, opened as they are needed, and closed again when the process has too many open (`open_files`).

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{File, Metadata};
#[cfg(target_os = "linux")]
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use atomic_file::{FileId, allow_unsupported, is_unsupported};

use crate::changes::{Changes, Clock, FileState};
use crate::error::{error_at, in_range};
use crate::held::Held;
use crate::holes;
use crate::lock::lock;
use crate::named::left_files;
use crate::open::{Look, gone, is_made_late, make_late, open_file, reopen_file};
use crate::open_files::{Holder, OpenFiles};
use crate::{Access, FileSpec, StorageError};

/// Up to so many files are made durable one by one; of more, with all that their file system has to write.
#[cfg(target_os = "linux")]
const FEW: usize = 128;

/// What is kept open of a file.
pub(crate) trait OpenFile: Send + Sync + 'static {
    /// The file itself.
    fn file(&self) -> &File;
}

impl OpenFile for File {
    fn file(&self) -> &File {
        self
    }
}

/// Files of a content.
pub(crate) struct Handles<T: OpenFile> {
    specs: Vec<FileSpec>,
    /// Where they are reached from, if a folder is held open for that: one for all, since they are of one content.
    held: Option<Arc<Held>>,
    access: Access,
    /// Which of the files to write are there, as far as is known: small ones are made when they are written to.
    made: Vec<AtomicBool>,
    /// What others have done to each. Held while a file is made or written to.
    changes: Vec<Mutex<Changes>>,
    /// Which of the files have bytes that may not be on the disk yet.
    dirty: Vec<AtomicBool>,
    /// Whether none is kept open any more.
    released: AtomicBool,
    clock: Clock,
    /// How files that are only read were at first, and whether that has changed.
    at_first: Vec<(FileState, AtomicBool)>,
    /// Which files are which on disk: no two are one.
    identities: Mutex<HashMap<FileId, usize>>,
    open: Arc<Open<T>>,
    all: &'static OpenFiles,
}

struct Open<T>(Mutex<HashMap<usize, Arc<T>>>);

impl<T: Send + Sync> Holder for Open<T> {
    fn close(&self, file: usize) {
        let closed = lock(&self.0).remove(&file);
        drop(closed);
    }
}

impl<T: OpenFile> Handles<T> {
    /// Files to read, which must be there with their size; or files to write, which are made if they are not, small ones as
    /// late as they can be.
    pub(crate) fn new(specs: &[FileSpec], access: Access) -> Result<Self, StorageError> {
        Self::among(OpenFiles::of_process(), specs, access)
    }

    fn among(all: &'static OpenFiles, specs: &[FileSpec], access: Access) -> Result<Self, StorageError> {
        let found = specs.first().and_then(|first| Held::of(&first.path));
        let held = found.as_deref();
        let made = specs.iter().map(|spec| AtomicBool::new(!is_made_late(held, spec))).collect();
        let mut handles = Handles {
            specs: specs.to_vec(),
            held: None,
            access,
            made,
            changes: specs.iter().map(|_| Mutex::default()).collect(),
            dirty: specs.iter().map(|_| AtomicBool::new(false)).collect(),
            released: AtomicBool::new(false),
            clock: Clock::default(),
            at_first: Vec::new(),
            identities: Mutex::default(),
            open: Arc::new(Open(Mutex::new(HashMap::new()))),
            all,
        };
        match access {
            Access::Read => {
                let mut look = Look::new(held);
                for (spec, changes) in specs.iter().zip(&mut handles.changes) {
                    let state = look.at(spec)?.ok_or_else(|| match spec.path.symlink_metadata() {
                        Ok(_) => StorageError::Changed(spec.path.clone()),
                        Err(_) => StorageError::NotFound(spec.path.clone()),
                    })?;
                    if state.len != spec.size {
                        return Err(StorageError::Changed(spec.path.clone()));
                    }
                    *changes = Mutex::new(Changes::since(state));
                    handles.at_first.push((state, AtomicBool::new(false)));
                }
            }
            Access::Write => {
                for (file, is_left) in left_files(held, specs)?.into_iter().enumerate() {
                    handles.changes(file).is_ours = is_left;
                    // The run that left it need not have made it durable, and what is found in it may be claimed.
                    handles.dirty[file].store(is_left, Ordering::Relaxed);
                }
                for (file, spec) in specs.iter().enumerate().filter(|(_, spec)| !is_made_late(held, spec)) {
                    let open = all.open(|| open_file(held, spec, access))?;
                    handles.note_opened(file, &open, &mut handles.changes(file), true)?;
                }
            }
        }
        handles.held = found;
        Ok(handles)
    }

    fn changes(&self, file: usize) -> MutexGuard<'_, Changes> {
        lock(&self.changes[file])
    }

    /// A file to write to was opened: no other file of the content is the same one, and since it was last seen nobody has
    /// changed it, unless we have just `resized` it.
    fn note_opened(&self, file: usize, open: &File, changes: &mut Changes, resized: bool) -> Result<(), StorageError> {
        let spec = &self.specs[file];
        let seen = open.metadata().map_err(|source| error_at(&spec.path, source))?;
        match resized {
            true => changes.is_now(FileState::of(&seen)),
            false => changes.opened(FileState::of(&seen)),
        }
        let Some(identity) = identity(open, &seen) else { return Ok(()) };
        let mut identities = lock(&self.identities);
        match identities.insert(identity, file) {
            // The other one may be gone, and its number another's by now.
            Some(other) if other != file && identity_at(self.held.as_deref(), &self.specs[other]) == Some(identity) => {
                identities.insert(identity, other);
                Err(StorageError::SameFile(spec.path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Fails while a file has not its size; of one that is only read, once it is not what it was at first, and ever after.
    pub(crate) fn check(&self, file: usize, open: &File) -> Result<(), StorageError> {
        let spec = &self.specs[file];
        let now = open.metadata().map_err(|source| error_at(&spec.path, source))?;
        let is_right = match self.at_first.get(file) {
            None => now.len() == spec.size,
            Some((first, changed)) => {
                let is_still = !changed.load(Ordering::Relaxed) && first.is_still(&FileState::of(&now));
                changed.store(!is_still, Ordering::Relaxed);
                is_still
            }
        };
        if is_right { Ok(()) } else { Err(StorageError::Changed(spec.path.clone())) }
    }

    /// Reads of a file, and once more of it opened anew if its disk, or the network to it, has failed: what was open then stays dead when a
    /// network drive is back.
    pub(crate) fn read_again<B>(
        &self,
        file: usize,
        read: impl Fn() -> Result<B, StorageError>,
    ) -> Result<B, StorageError> {
        match read() {
            Err(error) if self.access == Access::Read && error.is_of_device() => {
                self.open.close(file);
                read()
            }
            result => result,
        }
    }

    /// Writes to a file, and notes its state then: writes of others show from that.
    pub(crate) fn write(
        &self,
        file: usize,
        offset: u64,
        data: &[u8],
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<(), StorageError> {
        let spec = &self.specs[file];
        in_range(offset, data.len(), spec.size)?;
        if self.access == Access::Read {
            return Err(StorageError::Denied(spec.path.clone()));
        }
        if let Some(room) = self.held.as_deref().and_then(Held::room)
            && room.has_holes()
            && !holes::has_hole(data, offset)
        {
            room.take(data.len() as u64);
        }
        let mut changes = self.changes(file);
        let open = self.get_to_write(file, data.len() as u64 == spec.size, &mut changes, make)?;
        if data.is_empty() {
            return Ok(());
        }
        let written = open.file().metadata().and_then(|before| {
            let before = FileState::of(&before);
            changes.opened(before);
            let result = holes::write_at(open.file(), data, offset);
            // After it, not before: a sync that runs meanwhile may miss it.
            self.dirty[file].store(true, Ordering::Release);
            result?;
            let (after, shows) = self.clock.mark(open.file(), before)?;
            changes.written(after, shows);
            Ok(())
        });
        written.inspect_err(|_| changes.lost()).map_err(|source| error_at(&spec.path, source))
    }

    /// The files that somebody else may have changed. They are opened anew when they are read next.
    pub(crate) fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        let (mut look, mut found) = (Look::new(self.held.as_deref()), Vec::new());
        for (file, spec) in self.specs.iter().enumerate() {
            // What was neither made nor found is nobody's yet.
            let mut changes = self.changes(file);
            if self.access == Access::Write && !self.made[file].load(Ordering::Relaxed) && !changes.is_ours {
                continue;
            }
            let seen = look.at(spec)?;
            // What is written from here on would go nowhere.
            if self.access == Access::Write && changes.is_known() && seen.is_none() {
                return Err(gone(self.held.as_deref(), spec));
            }
            if changes.take(seen) {
                self.open.close(file);
                // What they wrote may be right, and be claimed.
                self.dirty[file].store(true, Ordering::Release);
                found.push(file);
            }
        }
        Ok(found)
    }

    pub(crate) fn spec(&self, file: usize) -> &FileSpec {
        &self.specs[file]
    }

    /// A file, opened by `make` if it is not open.
    pub(crate) fn get(
        &self,
        file: usize,
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<Arc<T>, StorageError> {
        if let Some(open) = lock(&self.open.0).get(&file) {
            return Ok(open.clone());
        }
        let released = self.released.load(Ordering::Relaxed);
        let opened = self.open(file, |spec| reopen_file(self.held.as_deref(), spec, self.access, released), make);
        let opened = opened.map_err(|error| match error {
            // What was never made is not there, and what was has been removed.
            StorageError::NotFound(_) if self.access == Access::Write && self.made[file].load(Ordering::Relaxed) => {
                gone(self.held.as_deref(), &self.specs[file])
            }
            error => error,
        })?;
        // A writer holds this, and notes it.
        if self.access == Access::Write
            && let Ok(mut changes) = self.changes[file].try_lock()
        {
            self.note_opened(file, opened.file(), &mut changes, false)?;
        }
        Ok(opened)
    }

    /// A file to write to, all of it or a part; it is made now if it is not there.
    fn get_to_write(
        &self,
        file: usize,
        whole: bool,
        changes: &mut Changes,
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<Arc<T>, StorageError> {
        if self.made[file].load(Ordering::Relaxed) {
            return self.get(file, make);
        }
        let held = self.held.as_deref();
        if changes.is_ours
            && let Some(seen) = Look::new(held).at(&self.specs[file])?
        {
            changes.opened(seen);
        }
        let is_ours = Cell::new(changes.is_ours);
        let make_file = |spec: &FileSpec| {
            let mut ours = is_ours.get();
            let made = make_late(held, spec, whole, &mut ours);
            is_ours.set(ours);
            made
        };
        let opened = self.open(file, make_file, make);
        changes.is_ours = is_ours.get();
        let opened = opened?;
        self.note_opened(file, opened.file(), changes, true)?;
        self.made[file].store(true, Ordering::Relaxed);
        Ok(opened)
    }

    fn open(
        &self,
        file: usize,
        open: impl Fn(&FileSpec) -> Result<File, StorageError>,
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<Arc<T>, StorageError> {
        let spec = &self.specs[file];
        // Not under the lock: opening may wait for the disk. Should two do it at once, both are as good.
        let opened = Arc::new(self.all.open(|| make(open(spec)?, spec))?);
        let mut kept = lock(&self.open.0);
        if self.released.load(Ordering::Relaxed) {
            return Ok(opened);
        }
        let before = kept.insert(file, opened.clone());
        drop(kept);
        if before.is_none() {
            self.all.opened(&self.open, file);
        }
        Ok(opened)
    }

    /// Whether a write far behind the others has what lies between filled first.
    pub(crate) fn fills_gaps(&self) -> bool {
        self.specs.first().is_some_and(|spec| holes::fills_gaps(&spec.path))
    }

    /// Closes all files, and keeps none open from here on.
    pub(crate) fn release(&self) {
        let mut open = lock(&self.open.0);
        self.released.store(true, Ordering::Relaxed);
        let closed = std::mem::take(&mut *open);
        drop(open);
        self.all.forget(&self.open);
        drop(closed);
    }

    /// Makes durable what was written since this was last done, of files that `open` gives: file by file, or, of many, with all
    /// that their file system has to write.
    pub(crate) fn sync(&self, open: impl Fn(usize) -> Result<Arc<T>, StorageError>) -> Result<(), StorageError> {
        self.sync_by(|file, last| {
            let open = open(file)?;
            let source = open.file();
            let synced = if last { source.sync_data() } else { sync_before_last(source) };
            // A network drive of a Mac can do as much.
            let synced = synced.or_else(|error| match last && is_unsupported(&error) {
                true => sync_before_last(source),
                false => Err(error),
            });
            allow_unsupported(synced).map_err(|source| error_at(&self.specs[file].path, source))
        })
    }

    /// The same by `sync`, which is told of the last one.
    fn sync_by(&self, sync: impl Fn(usize, bool) -> Result<(), StorageError>) -> Result<(), StorageError> {
        if self.access == Access::Read {
            return Ok(());
        }
        let made = (0..self.specs.len()).filter(|&file| self.made[file].load(Ordering::Relaxed));
        let dirty: Vec<usize> = made.filter(|&file| self.dirty[file].swap(false, Ordering::AcqRel)).collect();
        let Some(&last) = dirty.last() else { return Ok(()) };
        #[cfg(target_os = "linux")]
        let result = match self.specs.len() > FEW {
            true => self.all.open(|| sync_file_system(self.held.as_deref(), &self.specs[0])),
            false => dirty.iter().try_for_each(|&file| sync(file, file == last)),
        };
        #[cfg(not(target_os = "linux"))]
        let result = dirty.iter().try_for_each(|&file| sync(file, file == last));
        if result.is_err() {
            dirty.iter().for_each(|&file| self.dirty[file].store(true, Ordering::Release));
        }
        result
    }
}

impl<T: OpenFile> Drop for Handles<T> {
    fn drop(&mut self) {
        self.all.forget(&self.open);
    }
}

/// Makes a file durable, if another one of the same disk is made so after it.
#[cfg(not(target_vendor = "apple"))]
fn sync_before_last(file: &File) -> std::io::Result<()> {
    file.sync_data()
}

/// The bytes go to the drive here; what the drive itself keeps back it writes with the last one (`F_FULLFSYNC`, which costs most).
#[cfg(target_vendor = "apple")]
fn sync_before_last(file: &File) -> std::io::Result<()> {
    Ok(rustix::fs::fsync(file)?)
}

/// What tells a file from all others on this machine: nothing of one without bytes (see [`Identities`](crate::folder::Identities)).
#[cfg(unix)]
fn identity(_: &File, seen: &Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    FileId::new(seen.dev(), seen.ino().into()).filter(|_| seen.len() > 0)
}

/// The same on Windows, where it has to be asked for.
#[cfg(windows)]
fn identity(file: &File, _: &Metadata) -> Option<FileId> {
    atomic_file::windows::file_id(file)
}

/// The same of what lies at a place now.
#[cfg(unix)]
fn identity_at(held: Option<&Held>, spec: &FileSpec) -> Option<FileId> {
    let (device, number) = Look::new(held).at(spec).ok()??.identity;
    FileId::new(device, number.into())
}

/// The same on Windows. Some file systems there number files only while they are open: so this one is opened, beside the one that it is
/// compared with.
#[cfg(windows)]
fn identity_at(held: Option<&Held>, spec: &FileSpec) -> Option<FileId> {
    atomic_file::windows::file_id(&crate::open::open_to_look(held, spec).ok()?)
}

/// Makes everything durable that was written to the file system of this file, which need not be there itself: the files of one
/// content lie in one. Since Linux 5.8 errors are told, too.
#[cfg(target_os = "linux")]
fn sync_file_system(held: Option<&Held>, spec: &FileSpec) -> Result<(), StorageError> {
    let folder = spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let result = match held {
        Some(held) => held.folder().sync_file_system(),
        None => File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?)),
    };
    result.map_err(|source| crate::error::error_at(folder, source))
}

#[cfg(test)]
mod tests;
