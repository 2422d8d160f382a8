//! Opening one file of a content, or looking at it: from the folder that is held open for it, or by its path.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::changes::FileState;
use crate::error::{error_at, error_of_new};
use crate::folder::{How, Walk};
use crate::held::Held;
use crate::room::{is_no_room, space};
use crate::{Access, FileSpec, StorageError};

/// Files up to this size are small: a call less for each counts more than what it would do for so few bytes.
pub(crate) const SMALL: u64 = 16 << 10;

/// Looks at files where they lie, and says how each is; nothing of one that is not there, or is no file.
pub(crate) struct Look<'a> {
    held: Option<&'a Held>,
    walk: Option<Walk<'a>>,
}

impl<'a> Look<'a> {
    pub(crate) fn new(held: Option<&'a Held>) -> Self {
        Look { held, walk: held.map(|held| held.folder().walk()) }
    }

    pub(crate) fn at(&mut self, spec: &FileSpec) -> Result<Option<FileState>, StorageError> {
        let inside = self.held.and_then(|held| held.inside(&spec.path));
        let seen = match (&mut self.walk, inside) {
            // What is looked at is what is opened then: no link leads elsewhere.
            (Some(walk), Some(inside)) => walk.look(&inside).map(|seen| seen.filter(|s| s.is_file).map(|s| s.state())),
            _ => match std::fs::metadata(&spec.path) {
                Err(error) if atomic_file::is_gone(&error) => Ok(None),
                seen => seen.map(|seen| seen.is_file().then(|| FileState::of(&seen))),
            },
        };
        seen.map_err(|source| error_at(&spec.path, source))
    }
}

/// What a file has there: all of it, or an error that says whether it was cut or cannot be read.
pub(crate) fn read_at(file: &File, spec: &FileSpec, offset: u64, len: usize) -> Result<Bytes, StorageError> {
    let mut bytes = vec![0; len];
    crate::positioned::read_exact_at(file, &mut bytes, offset).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => StorageError::Changed(spec.path.clone()),
        _ => error_at(&spec.path, source),
    })?;
    Ok(bytes.into())
}

/// Opens one file for a backend that keeps files. What is to be written is made with its full size, and its space is
/// reserved, so that a full disk shows at the start.
pub(crate) fn open_file(held: Option<&Held>, spec: &FileSpec, access: Access) -> Result<File, StorageError> {
    let error = |source| error_at(&spec.path, source);
    match access {
        Access::Read => {
            let file = open(held, spec, How::Read).map_err(error)?;
            let there = file.metadata().map_err(error)?;
            if there.len() != spec.size || !there.is_file() {
                return Err(StorageError::Changed(spec.path.clone()));
            }
            Ok(file)
        }
        Access::Write => {
            let file = open(held, spec, How::Make { private: false }).map_err(|source| not_made(held, spec, source))?;
            let there = file.metadata().map_err(error)?;
            if !there.is_file() {
                return Err(StorageError::NotOurs(spec.path.clone()));
            }
            if has_other_names(&file, &there) {
                return Err(StorageError::Linked(spec.path.clone()));
            }
            #[cfg(windows)]
            if spec.size > SMALL {
                atomic_file::windows::set_sparse(&file, true);
            }
            give_size(held, &file, spec, there.len())?;
            Ok(file)
        }
    }
}

/// Gives a file that is `len` bytes long its full size, and reserves its space: again at each start, for the first may have found no
/// room.
fn give_size(held: Option<&Held>, file: &File, spec: &FileSpec, len: u64) -> Result<(), StorageError> {
    let set_len = || match len == spec.size {
        true => Ok(()),
        false => file.set_len(spec.size).map_err(|source| not_so_large(spec, source)),
    };
    if cfg!(target_vendor = "apple") {
        // It reserves as much as it is told behind what a file has, also of one that has its size: that would be twice as much.
        reserve(held, file, spec, len == 0)?;
        return set_len();
    }
    set_len()?;
    reserve(held, file, spec, true)
}

/// Why a file cannot be made so large. Windows says of one that is too large for FAT32 that the disk is full, however much is free.
fn not_so_large(spec: &FileSpec, source: io::Error) -> StorageError {
    let folder = spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let free = || space(folder).map_or(0, |(free, _)| free);
    match cfg!(windows) && is_no_room(&source) && is_beyond_fat(spec.size, free()) {
        true => StorageError::TooLarge { path: spec.path.clone(), limit: None },
        false => error_at(&spec.path, source),
    }
}

/// Whether a file of this size, for which there is no room, is larger than any on FAT32, and would fit into what is free.
fn is_beyond_fat(size: u64, free: u64) -> bool {
    size > u64::from(u32::MAX) && free > size
}

/// Reserves the space of a file, if it `lacks` any. What fits into a few blocks is not worth the call. Not every file system can
/// reserve; then a full disk shows when it is full.
fn reserve(held: Option<&Held>, file: &File, spec: &FileSpec, lacks: bool) -> Result<(), StorageError> {
    match held.and_then(Held::room) {
        // It is taken as it is written.
        Some(room) if room.has_holes() => return Ok(()),
        Some(room) => room.take(spec.size),
        None => {}
    }
    if lacks
        && spec.size > SMALL
        && let Err(source) = fs4::FileExt::allocate(file, spec.size)
        && is_no_room(&source)
    {
        return Err(error_at(&spec.path, source));
    }
    Ok(())
}

/// Whether a file is made only when something is written to it: what most of a folder of many small files costs is calls, and
/// their space is not reserved anyway; and no folder of a stranger's manifest is made before something of it has come. An
/// empty file is never written to.
pub(crate) fn is_made_late(held: Option<&Held>, spec: &FileSpec) -> bool {
    (1..=SMALL).contains(&spec.size) || held.is_some_and(|held| !held.is_all(&spec.path))
}

/// Makes such a file, to write to it: all of it, or a part. One that is ours, since this run has made it or an earlier one
/// has left it, is used as it is, and nothing else that has its name: that may be another file of the content, where names are
/// one that are not the same.
pub(crate) fn make_late(
    held: Option<&Held>,
    spec: &FileSpec,
    whole: bool,
    is_ours: &mut bool,
) -> Result<File, StorageError> {
    // A link in its place is something that is there, and not followed.
    let file = match open(held, spec, How::MakeNew { private: false }) {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => match is_ours {
            true => return open_file(held, spec, Access::Write),
            false => return Err(StorageError::SameFile(spec.path.clone())),
        },
        file => file.map_err(|source| not_made(held, spec, source))?,
    };
    *is_ours = true;
    #[cfg(windows)]
    if spec.size > SMALL {
        atomic_file::windows::set_sparse(&file, true);
    }
    match whole && spec.size <= SMALL {
        // It gets its size as it is written.
        true => reserve(held, &file, spec, false)?,
        false => give_size(held, &file, spec, 0)?,
    }
    Ok(file)
}

/// Why a file cannot be made: its folder is gone, or its name is the reason.
fn not_made(held: Option<&Held>, spec: &FileSpec, source: io::Error) -> StorageError {
    match gone(held, spec) {
        moved @ StorageError::Moved(_) => moved,
        _ => error_of_new(&spec.path, source),
    }
}

/// Opens a file again that was made or checked. One that was `released` may have another name by now, and is not made anew.
pub(crate) fn reopen_file(
    held: Option<&Held>,
    spec: &FileSpec,
    access: Access,
    released: bool,
) -> Result<File, StorageError> {
    let how = match access {
        Access::Read => return open_file(held, spec, access),
        Access::Write if released || is_made_late(held, spec) => How::Write,
        Access::Write => How::Make { private: false },
    };
    open(held, spec, how).map_err(|source| error_at(&spec.path, source))
}

/// Why a file that was made is not there any more: its folder is gone, or somebody has removed it.
pub(crate) fn gone(held: Option<&Held>, spec: &FileSpec) -> StorageError {
    match held.map(Held::folder).filter(|folder| !folder.is_in_place()) {
        Some(folder) => StorageError::Moved(folder.path().to_owned()),
        None => StorageError::Removed(spec.path.clone()),
    }
}

/// Opens what lies there now, whatever it has become.
#[cfg(windows)]
pub(crate) fn open_to_look(held: Option<&Held>, spec: &FileSpec) -> io::Result<File> {
    open(held, spec, How::Read)
}

/// Opens a file from the folder that is held for it, with the folders on its way if it is made; or by its path. A link is
/// followed only by path and to read.
fn open(held: Option<&Held>, spec: &FileSpec, how: How) -> io::Result<File> {
    let Some((held, inside)) = held.and_then(|held| Some((held, held.inside(&spec.path)?))) else {
        return open_by_path(&spec.path, how);
    };
    // A file of its own may be seen by all who see its folder; others wait in a folder that nobody else may enter.
    let private = held.is_all(&spec.path);
    let how = match how {
        How::Make { .. } => How::Make { private },
        How::MakeNew { .. } => How::MakeNew { private },
        how => how,
    };
    match held.folder().open_file(&inside, how) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !matches!(how, How::Read | How::Write) => {
            held.folder().make_parents(&inside)?;
            held.folder().open_file(&inside, how)
        }
        result => result,
    }
}

fn open_by_path(path: &Path, how: How) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    match how {
        How::Read => return atomic_file::open_patiently(|| options.open(path)),
        How::Write => options.write(true),
        How::Make { .. } => options.write(true).create(true).truncate(false),
        How::MakeNew { .. } => options.write(true).create_new(true),
    };
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
    atomic_file::open_patiently(|| options.open(path))
}

/// Whether a file has other names, too: what is written to it would be written there.
#[cfg(unix)]
pub(crate) fn has_other_names(_: &File, seen: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(seen) > 1
}

#[cfg(windows)]
pub(crate) fn has_other_names(file: &File, _: &Metadata) -> bool {
    winapi_util::file::information(file).is_ok_and(|seen| seen.number_of_links() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_file_that_is_too_large_for_it() {
        let gib = 1 << 30;
        assert!(is_beyond_fat(5 * gib, 20 * gib) && is_beyond_fat(4 * gib, 20 * gib));
        assert!(!is_beyond_fat(5 * gib, 3 * gib), "it is full");
        assert!(!is_beyond_fat(4 * gib - 1, 20 * gib), "the largest that there is");
    }

    #[test]
    fn what_cannot_be_read_was_not_changed_and_what_was_cut_was() {
        let folder = tempfile::tempdir().unwrap();
        let spec = FileSpec { path: folder.path().join("file"), size: 10 };
        // It may be written to alone: a disk that cannot read says an error in the same way.
        let unreadable = File::create(&spec.path).unwrap();
        unreadable.set_len(10).unwrap();
        let error = read_at(&unreadable, &spec, 0, 10).unwrap_err();
        assert!(matches!(error, StorageError::Io { .. } | StorageError::Denied(_)), "{error}");
        let readable = File::open(&spec.path).unwrap();
        unreadable.set_len(5).unwrap();
        assert!(matches!(read_at(&readable, &spec, 0, 10), Err(StorageError::Changed(_))));
    }
}
