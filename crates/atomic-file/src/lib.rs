//! Atomic writes of small state files (keys, certificates, manifests): a file is complete or absent, whatever happens meanwhile.
//!
//! A file that is written in place is empty or cut once the disk is full, the power fails or the program is killed, and every
//! later start trips over it. So the bytes are written beside the file's place, synced, and renamed. A write that fails
//! leaves nothing behind; a program that is killed in the middle leaves a file that [`sweep`] removes: it is locked for as
//! long as its writer lives.
//!
//! # Example
//!
//! ```
//! use p2p_fileshare_atomic_file::{Readers, create, replace};
//!
//! let folder = tempfile::tempdir()?;
//! let key = folder.path().join("key");
//! create(&key, b"one", Readers::Owner)?;
//! assert!(create(&key, b"two", Readers::Owner).is_err()); // nothing is replaced
//! replace(&key, b"two", Readers::Owner)?;
//! assert_eq!(std::fs::read(&key)?, b"two");
//! # Ok::<(), std::io::Error>(())
//! ```

mod descriptors;
mod durable;
mod file_id;
mod gone;
mod patience;
mod real_path;
#[cfg(windows)]
pub mod windows;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, PersistError};

pub use descriptors::descriptor_limit;
pub use durable::{allow_unsupported, is_unsupported};
pub use file_id::FileId;
pub use gone::is_gone;
pub use patience::{is_in_use, open_patiently, patiently};
pub use real_path::real_path;

/// How the files beside are called: they are found again by this alone.
const PREFIX: &str = ".p2p-fileshare-";
const SUFFIX: &str = ".new";
/// Attempts to write beside: a file that is not locked yet may be swept by a program that starts now.
const TRIES: u32 = 8;

/// Which users may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner only: it holds a secret.
    Owner,
    /// Everyone whom the process lets in by default.
    Everyone,
}

/// A file that is written and synced, and has not taken its place yet. It is removed when it is dropped.
#[must_use = "it takes its place by `create` or `replace`"]
pub struct Prepared {
    beside: NamedTempFile,
    path: PathBuf,
}

/// Writes `bytes` beside `path`, in the folder that it is in, which must be there.
pub fn prepare(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<Prepared> {
    let beside = write_beside(path, bytes, readers)?;
    // A file system that cannot sync is no reason to keep nothing.
    allow_unsupported(beside.as_file().sync_all())?;
    Ok(Prepared { beside, path: path.to_owned() })
}

fn write_beside(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<NamedTempFile> {
    let mut beside = locked_beside(folder_of(path), readers)?;
    // Not by the wrapper, which would hide what the system said.
    beside.as_file_mut().write_all(bytes)?;
    Ok(beside)
}

impl Prepared {
    /// Takes the place, unless something is there: that is an error of the kind `AlreadyExists`.
    pub fn create(self) -> io::Result<()> {
        let Prepared { beside, path } = self;
        let beside = match persist(beside, |beside| take_free_name(beside, &path)) {
            Ok(()) => {
                sync_folder(&path);
                return Ok(());
            }
            Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => return Err(failed.error),
            Err(failed) => failed.file,
        };
        // FAT and its like have neither hard links nor a rename that replaces nothing.
        if fs::symlink_metadata(&path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Prepared { beside, path }.replace()
    }

    /// Takes the place of whatever is there.
    pub fn replace(self) -> io::Result<()> {
        persist(self.beside, |beside| take_name(beside, &self.path)).map_err(|failed| failed.error)?;
        sync_folder(&self.path);
        Ok(())
    }
}

/// Makes the file `path` of these bytes; an error of the kind `AlreadyExists` if something is there.
pub fn create(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    prepare(path, bytes, readers)?.create()
}

/// Makes the file `path` of these bytes, in place of what is there.
pub fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    prepare(path, bytes, readers)?.replace()
}

/// The same for a file that is checked when it is read, and that can be made again: it is not synced. For a thousand of them, each of a
/// small file that is shared, that would take seconds; after a power failure one that is not whole is as good as none.
pub fn replace_cache(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = write_beside(path, bytes, Readers::Everyone)?;
    persist(beside, |beside| take_name(beside, path)).map_err(|failed| failed.error)
}

/// Whether a file of this name was written beside another one's place: what it holds may be a secret, and it is of no use.
///
/// ```
/// assert!(p2p_fileshare_atomic_file::is_beside(".p2p-fileshare-Xa12bC.new"));
/// assert!(!p2p_fileshare_atomic_file::is_beside("tracker.key"));
/// ```
pub fn is_beside(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Gives a file its name, with patience.
fn persist(
    beside: NamedTempFile,
    rename: impl Fn(NamedTempFile) -> Result<(), PersistError>,
) -> Result<(), PersistError> {
    let mut left = Some(beside);
    let result = patiently(|| match left.take().map(&rename) {
        Some(Err(PersistError { error, file })) => {
            left = Some(file);
            Err(error)
        }
        Some(Ok(())) => Ok(()),
        None => Err(ErrorKind::NotFound.into()),
    });
    result.map_err(|error| PersistError { error, file: left.expect("what failed gives it back") })
}

/// Gives a file the name of whatever is there.
#[cfg(not(windows))]
fn take_name(beside: NamedTempFile, path: &Path) -> Result<(), PersistError> {
    beside.persist(path).map(drop)
}

/// Gives a file a name that nothing has.
#[cfg(not(windows))]
fn take_free_name(beside: NamedTempFile, path: &Path) -> Result<(), PersistError> {
    beside.persist_noclobber(path).map(drop)
}

/// The same on Windows, where `tempfile` takes no path of more than 260 characters, and sets attributes at each attempt.
#[cfg(windows)]
fn take_name(beside: NamedTempFile, path: &Path) -> Result<(), PersistError> {
    take(beside, |from| fs::rename(from, path))
}

#[cfg(windows)]
fn take_free_name(beside: NamedTempFile, path: &Path) -> Result<(), PersistError> {
    take(beside, |from| windows::rename_new(from, path))
}

#[cfg(windows)]
fn take(mut beside: NamedTempFile, rename: impl Fn(&Path) -> io::Result<()>) -> Result<(), PersistError> {
    match rename(beside.path()) {
        Ok(()) => {
            // It has another name now.
            beside.disable_cleanup(true);
            Ok(())
        }
        Err(error) => Err(PersistError { error, file: beside }),
    }
}

/// Removes what programs that were killed while they wrote have left in a folder. What cannot be removed is left to the next.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(is_beside);
        // No link is followed: it is none of ours, no matter who made it.
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // Held until it is gone: a writer that has not locked it yet must see that it is taken.
        if let Ok(file) = File::options().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A new file beside, which no sweep takes for one that was left.
fn locked_beside(folder: &Path, readers: Readers) -> io::Result<NamedTempFile> {
    for _ in 0..TRIES {
        let mut builder = tempfile::Builder::new();
        let beside = builder.prefix(PREFIX).suffix(SUFFIX).make_in(folder, |path| new_file(path, readers))?;
        match beside.as_file().try_lock() {
            Err(fs::TryLockError::WouldBlock) => {}
            // Where there are no locks nothing is swept either.
            Err(fs::TryLockError::Error(_)) => return Ok(beside),
            Ok(()) if beside.path().exists() => return Ok(beside),
            Ok(()) => {}
        }
    }
    Err(io::Error::other("files beside it are removed as often as they are made"))
}

#[cfg(unix)]
fn new_file(path: &Path, readers: Readers) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mode = if readers == Readers::Owner { 0o600 } else { 0o666 };
    File::options().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(windows)]
fn new_file(path: &Path, readers: Readers) -> io::Result<File> {
    match readers {
        Readers::Owner => windows::create_owned(path),
        // With the rights of their folder.
        Readers::Everyone => File::options().write(true).create_new(true).open(path),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The rename itself lasts. The file is there in any case, so it is no error if it does not.
fn sync_folder(path: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn create_replaces_nothing_and_replace_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, b"one", Readers::Owner).unwrap();
        assert_eq!(create(&path, b"two", Readers::Owner).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"two", Readers::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        replace_cache(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str, readers| {
            let path = folder.path().join(name);
            create(&path, b"", readers).unwrap();
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("key", Readers::Owner), 0o600);
        // As much as the process's mask allows.
        File::create(folder.path().join("plain")).unwrap();
        let plain = fs::metadata(folder.path().join("plain")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("certificate", Readers::Everyone), plain);
    }

    #[test]
    fn files_may_lie_deeper_than_260_characters() {
        let folder = tempfile::tempdir().unwrap();
        let deep = (0..6).fold(folder.path().to_owned(), |path, _| path.join("x".repeat(60)));
        fs::create_dir_all(&deep).unwrap();
        let path = deep.join("key");
        create(&path, b"one", Readers::Owner).unwrap();
        assert_eq!(create(&path, b"two", Readers::Owner).unwrap_err().kind(), ErrorKind::AlreadyExists);
        replace(&path, b"two", Readers::Everyone).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(&deep), ["key"]);
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::create_dir(&path).unwrap();
        assert!(create(&path, b"one", Readers::Owner).is_err());
        assert!(replace(&path, b"one", Readers::Owner).is_err());
        assert_eq!(names(folder.path()), ["key"]);
        assert!(create(&folder.path().join("gone").join("key"), b"one", Readers::Owner).is_err());
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at(".p2p-fileshare-abcdef.new"), "half a key").unwrap();
        fs::write(at(".p2p-fileshare-notes"), "of the user").unwrap();
        fs::write(at("key"), "a key").unwrap();
        let writing = prepare(&at("other"), b"whole", Readers::Owner).unwrap();
        sweep(folder.path());
        writing.create().unwrap();
        assert_eq!(names(folder.path()), [".p2p-fileshare-notes", "key", "other"]);
    }

    #[test]
    fn of_many_writers_one_creates_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let created = std::thread::scope(|scope| {
            let write = |number: u8| {
                let path = &path;
                scope.spawn(move || {
                    sweep(path.parent().unwrap());
                    create(path, &[number; 100], Readers::Owner).is_ok()
                })
            };
            let writers: Vec<_> = (0..8).map(write).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).filter(|&created| created).count()
        });
        assert_eq!(created, 1);
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() == 100 && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(names(folder.path()), ["key"]);
    }
}
