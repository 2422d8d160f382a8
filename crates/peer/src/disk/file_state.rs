//! What a file looked like at a moment, and what a later look says about its bytes.
//!
//! A write shows in the length or in the modification time. One that puts the old time back shows in the change time alone,
//! and so do `chmod`, `chown` and another hard link, which leave the bytes as they are: these are told apart by what else
//! they change.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use atomic_file::is_gone;
use storage::StorageError;

/// File systems with a coarse clock (FAT, HFS+, ext3) tell changes apart only if they are so far from each other.
const COARSE_CLOCK: Duration = Duration::from_secs(2);

/// What was seen of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileState {
    len: u64,
    modified: Option<SystemTime>,
    inode: Inode,
}

/// What a second look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The bytes are the same.
    None,
    /// They may be others: only hashing tells.
    Doubtful,
    /// The file was written to, cut, or grew.
    Certain,
}

/// What only some systems say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Inode {
    /// Device and number.
    identity: (u64, u64),
    /// When anything of it was changed last, in nanoseconds since 1970. A program that sets the modification time cannot set this one.
    changed: i128,
    /// Rights, owner, group and number of names: what explains a new change time.
    attributes: (u32, u32, u32, u64),
}

impl Inode {
    #[cfg(unix)]
    fn of(_: &Path, metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Inode {
            identity: (metadata.dev(), metadata.ino()),
            changed: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
            attributes: (metadata.mode(), metadata.uid(), metadata.gid(), metadata.nlink()),
        }
    }

    /// On Windows the change time has to be asked for; what cannot be asked about may change at any time. The attributes explain no change:
    /// a program that writes sets one of them, too.
    #[cfg(windows)]
    fn of(at: &Path, _: &Metadata) -> Self {
        Inode { changed: atomic_file::windows::change_time(at).unwrap_or(i128::MAX), ..Inode::default() }
    }
}

/// Tells a file that was removed from one that was changed: a storage that has it open sees only that it is not what it was. Looks at
/// the file's path, and blocks.
pub(crate) fn removed_or(error: StorageError) -> StorageError {
    match error {
        StorageError::Changed(path) if path.symlink_metadata().is_err_and(|error| is_gone(&error)) => {
            StorageError::NotFound(path)
        }
        error => error,
    }
}

impl FileState {
    /// What was seen there.
    pub(crate) fn of(at: &Path, metadata: &Metadata) -> Self {
        FileState { len: metadata.len(), modified: metadata.modified().ok(), inode: Inode::of(at, metadata) }
    }

    /// When anything of it was changed last, in nanoseconds since 1970; long before where the file system does not keep that.
    pub(crate) fn changed(&self) -> i128 {
        self.inode.changed
    }

    /// What `now` says of the bytes that were there when this was seen.
    pub(crate) fn change(&self, now: &FileState) -> Change {
        if self.len != now.len {
            return Change::Certain;
        }
        // Another file of the same length may have the same bytes.
        if self.inode.identity != now.inode.identity {
            return Change::Doubtful;
        }
        if self.modified != now.modified {
            return Change::Certain;
        }
        let explained = self.inode.attributes != now.inode.attributes;
        if self.inode.changed == now.inode.changed || explained { Change::None } else { Change::Doubtful }
    }

    /// How long to wait until a further change is sure to be seen, and nobody is likely to be in the middle of one: until the
    /// last one is `quiet` ago.
    pub(crate) fn unquiet_for(&self, quiet: Duration) -> Duration {
        let Some(modified) = self.modified else { return Duration::ZERO };
        // A time in the future says nothing.
        let Ok(age) = SystemTime::now().duration_since(modified) else { return Duration::ZERO };
        let whole_seconds =
            modified.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() == 0);
        let quiet = if whole_seconds { quiet.max(COARSE_CLOCK) } else { quiet };
        quiet.saturating_sub(age)
    }
}

/// A file that is shared, and what it was when its bytes were known to be right.
pub(crate) struct WatchedFile {
    /// Its number in the content.
    pub(crate) number: usize,
    pub(crate) at: PathBuf,
    /// Nothing once nothing lies there and its bytes can be read all the same: the folder around it was moved.
    pub(crate) state: Option<FileState>,
}

impl WatchedFile {
    pub(crate) fn new(number: usize, at: &Path, state: FileState) -> Self {
        WatchedFile { number, at: at.to_owned(), state: Some(state) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use super::*;

    fn state(path: &Path) -> FileState {
        FileState::of(path, &fs::metadata(path).unwrap())
    }

    /// Far enough from the last change for any clock.
    fn tick() {
        std::thread::sleep(Duration::from_millis(20));
    }

    #[test]
    fn a_write_is_certain_whatever_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "bytes").unwrap();
        let before = state(&path);
        assert_eq!(before.change(&state(&path)), Change::None);
        tick();
        fs::write(&path, "other").unwrap();
        assert_eq!(before.change(&state(&path)), Change::Certain);
        File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
        assert_eq!(before.change(&state(&path)), Change::Certain);
    }

    /// As programs do that keep the time of an encrypted container.
    #[test]
    fn a_write_with_the_old_time_set_again_is_doubtful() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "bytes").unwrap();
        let before = state(&path);
        tick();
        fs::write(&path, "other").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(before.modified.unwrap()).unwrap();
        assert_eq!(before.change(&state(&path)), Change::Doubtful);
    }

    #[cfg(unix)]
    #[test]
    fn other_rights_or_names_are_no_change_and_another_file_is_doubtful() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "bytes").unwrap();
        let before = state(&path);
        tick();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(before.change(&state(&path)), Change::None);
        let before = state(&path);
        tick();
        fs::hard_link(&path, folder.path().join("link")).unwrap();
        assert_eq!(before.change(&state(&path)), Change::None);
        let before = state(&path);
        fs::copy(&path, folder.path().join("new")).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(before.change(&state(&path)), Change::Doubtful, "another file of the same length");
    }

    #[test]
    fn a_file_is_quiet_once_its_last_change_is_long_enough_ago() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "bytes").unwrap();
        assert!(state(&path).unquiet_for(Duration::from_secs(60)) > Duration::from_secs(30));
        let set = |time| File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        set(SystemTime::now() - Duration::from_secs(3600));
        assert_eq!(state(&path).unquiet_for(Duration::from_secs(60)), Duration::ZERO);
        set(SystemTime::now() + Duration::from_secs(3600));
        assert_eq!(state(&path).unquiet_for(Duration::from_secs(60)), Duration::ZERO, "from the future");
    }
}
