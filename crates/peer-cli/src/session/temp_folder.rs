//! Where a download waits that goes to standard output, and what comes from standard input while it is shared: a folder that goes
//! away with the program.
//!
//! A program that is killed cannot take its folder away, and a file without a name would not do: a download is a file, a
//! journal and a lock, which are opened by their names. So each folder is locked for as long as its program runs, and
//! the program that makes the next one first removes those of the same user that nobody holds.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use settings::Folders;
use tempfile::TempDir;

use crate::flags::own_folders::usable;

const PREFIX: &str = "p2p-fileshare-";
/// In each folder, locked while its program runs.
const LOCK: &str = "in-use";
/// Attempts to make a folder: one that is not locked yet may be swept by someone else who starts now.
const TRIES: u32 = 8;

/// The variable that says where temporary folders are made. Windows asks `TMP` before `TEMP`, and sets both.
pub fn parent_variable() -> &'static str {
    if cfg!(windows) { "TMP" } else { "TMPDIR" }
}

/// Where what may be large waits: where `TMPDIR` says, or else in the user's folder for caches if it can be used, since `/tmp` is often
/// memory. Windows keeps both in one place.
pub fn spool_parent() -> PathBuf {
    let temporary = std::env::temp_dir();
    let is_named = std::env::var_os(parent_variable()).is_some_and(|folder| !folder.is_empty());
    if cfg!(windows) || (is_named && !(cfg!(target_os = "macos") && is_swept(&temporary))) {
        return temporary;
    }
    usable(Folders::of_this_process().cache).unwrap_or(temporary)
}

/// Whether it is the temporary folder that macOS gives each user, `TMPDIR` included, and from which it removes what nobody has read for
/// three days.
fn is_swept(temporary: &Path) -> bool {
    ["/var/folders", "/private/var/folders"].iter().any(|swept| temporary.starts_with(swept))
}

/// Removes what programs that were killed have left, if anything is there.
pub fn sweep_left() {
    for parent in [std::env::temp_dir(), spool_parent()] {
        sweep(&parent, None);
    }
}

/// Removes the folder in the user's cache that spools are made in, if nothing is in it any more.
pub fn forget_parent() {
    let parent = spool_parent();
    if parent != std::env::temp_dir() {
        let _ = fs::remove_dir(parent);
    }
}

/// A folder that is removed when it is dropped, or by the next one that is made.
pub struct TempFolder {
    /// Given up before the folder: not every system removes a file that is open.
    lock: Option<File>,
    folder: TempDir,
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        self.lock = None;
        // A virus scanner may look at what was just written. The folder's own end makes no second attempt.
        let _ = atomic_file::patiently(|| fs::remove_dir_all(self.folder.path()));
    }
}

impl TempFolder {
    /// Removes what programs that were killed have left under `parent`, and makes a new folder there.
    pub fn under(parent: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
            // It is the parent that somebody has to change, and not a name that was made up.
            let folder = folder.map_err(|error| {
                let reason = io::Error::from(error.kind());
                io::Error::new(error.kind(), format!("nothing can be made in {}: {reason}", parent.display()))
            })?;
            let lock = File::create_new(folder.path().join(LOCK))?;
            // Where there are no locks nothing is swept either.
            let is_taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
            // Held or gone: someone who starts now took it for one that was left.
            if is_taken || !folder.path().join(LOCK).exists() {
                continue;
            }
            sweep(parent, Some(folder.path()));
            return Ok(TempFolder { folder, lock: Some(lock) });
        }
        Err(io::Error::other("it is removed as often as it is made"))
    }

    /// A new one for what comes from standard input, or goes to standard output.
    pub fn for_spool() -> io::Result<Self> {
        let parent = spool_parent();
        fs::create_dir_all(&parent)?;
        Self::under(&parent)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders beside `mine` that nobody holds. What cannot be removed is left to the next.
fn sweep(parent: &Path, mine: Option<&Path>) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if Some(&*path) == mine || !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Held until it is gone: the program that made it and has not locked it yet must see that it is taken.
        if let Some(lock) = take_left(&path) {
            let _ = fs::remove_dir_all(&path);
            drop(lock);
            // Where a file that is open keeps its name until it is closed, the folder was not empty before.
            let _ = fs::remove_dir(&path);
        }
    }
}

/// The lock of a folder of the same user, if it is there and free. A folder without one is about to get it.
fn take_left(path: &Path) -> Option<File> {
    let plain = |path: &Path| fs::symlink_metadata(path).ok();
    let (folder, lock) = (plain(path)?, plain(&path.join(LOCK))?);
    if !folder.is_dir() || !lock.is_file() || !is_ours(&folder) {
        return None;
    }
    let lock = File::options().write(true).open(path.join(LOCK)).ok()?;
    lock.try_lock().is_ok().then_some(lock)
}

#[cfg(unix)]
fn is_ours(seen: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    seen.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_ours(_: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(parent: &Path, name: &str) -> std::path::PathBuf {
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(LOCK), "").unwrap();
        fs::write(folder.join("half"), "a file").unwrap();
        folder
    }

    #[test]
    fn what_nobody_holds_is_swept_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let held = TempFolder::under(parent.path()).unwrap();
        let stale = left(parent.path(), "p2p-fileshare-stale");
        let foreign = left(parent.path(), "of-another-program");
        let fresh = parent.path().join("p2p-fileshare-without-a-lock-yet");
        fs::create_dir(&fresh).unwrap();

        let next = TempFolder::under(parent.path()).unwrap();
        assert!(!stale.exists());
        assert!(held.path().exists() && next.path().exists() && foreign.exists() && fresh.exists());

        let paths = [held.path().to_owned(), next.path().to_owned()];
        drop((held, next));
        assert!(paths.iter().all(|path| !path.exists()));
    }

    #[test]
    fn a_folder_that_macos_sweeps_is_told_from_one_that_the_user_has_named() {
        assert!(is_swept(Path::new("/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/")));
        assert!(!is_swept(Path::new("/Volumes/large")) && !is_swept(Path::new("/tmp")));
    }

    #[test]
    fn what_nobody_holds_is_swept_without_a_new_folder() {
        let parent = tempfile::tempdir().unwrap();
        let held = TempFolder::under(parent.path()).unwrap();
        let stale = left(parent.path(), "p2p-fileshare-stale");
        sweep(parent.path(), None);
        assert!(!stale.exists() && held.path().exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed() {
        let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = left(elsewhere.path(), "target");
        std::os::unix::fs::symlink(&target, parent.path().join("p2p-fileshare-link")).unwrap();
        let _next = TempFolder::under(parent.path()).unwrap();
        assert!(target.join("half").exists());
    }
}
