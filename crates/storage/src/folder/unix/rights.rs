//! Rights of files and folders: those that are for their owner alone while something is built, and those that it has in the end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::{Folder, told};
use crate::folder::How;

impl Folder {
    /// Leaves a folder to its owner alone, as earlier versions did not. That of another user stays as it is.
    pub(super) fn close_to_others(&self, inside: &Path) -> io::Result<()> {
        let folder = File::from(self.reach(inside, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?);
        let seen = folder.metadata()?;
        let is_ours = seen.uid() == rustix::process::geteuid().as_raw();
        if is_ours { set_rights(&folder, seen.mode(), seen.mode() & 0o700) } else { Ok(()) }
    }

    /// Gives a folder that was made for its owner alone the rights that any new one has, by the mask and by what it lies in.
    pub(crate) fn open_to_others(&self, inside: &Path) -> io::Result<()> {
        let folder = self.reach(inside, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let usual = usual_rights(folder.as_fd(), true)?;
        let folder = File::from(folder);
        let now = folder.metadata()?.mode();
        set_rights(&folder, now, usual)
    }

    /// Gives a file that was built its rights: those of the one that has its `name`, if it `replaces` that, or, of one that stands alone
    /// and was for its owner alone until now, those that any new file has; and makes it executable for all who may read it, if that is
    /// said. Who could read and write the old one can the new one.
    pub(crate) fn finish_file(&self, inside: &Path, name: &Path, replaces: bool, executable: bool) -> io::Result<()> {
        let old = if replaces { self.look(name).ok().flatten().filter(|old| old.is_file) } else { None };
        let alone = inside.parent().is_none_or(|parent| parent.as_os_str().is_empty());
        if old.is_none() && !alone && !executable {
            return Ok(());
        }
        let file = self.open_file(inside, How::Read)?;
        let now = file.metadata()?.mode();
        let rights = match old {
            Some(old) => old.mode,
            None if alone => usual_rights(self.descriptor.as_fd(), false)?,
            None => now,
        };
        let run = if executable { (rights & 0o444) >> 2 } else { 0 };
        set_rights(&file, now, rights | run)
    }
}

/// The rights that a new file or folder has there: only a look at one tells, since they depend on the mask of the process and
/// on what that folder hands down.
#[allow(clippy::useless_conversion, reason = "not every system has the same widths")]
fn usual_rights(folder: BorrowedFd<'_>, of_folder: bool) -> io::Result<u32> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let probe = format!(".p2p-rights-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let made = if of_folder {
            mkdirat(folder, &*probe, Mode::from_raw_mode(0o777))
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(folder, &*probe, flags, Mode::from_raw_mode(0o666)).map(drop)
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(errno) => return Err(told(errno)),
        }
        let seen = statat(folder, &*probe, AtFlags::SYMLINK_NOFOLLOW);
        unlinkat(folder, &*probe, if of_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() })?;
        return Ok(u32::from(seen?.st_mode));
    }
}

/// Gives a file these rights, but never setuid or setgid.
pub(crate) fn set_rights(file: &File, now: u32, rights: u32) -> io::Result<()> {
    let keeps = if file.metadata()?.is_dir() { now & 0o7000 } else { 0 };
    let rights = rights & 0o777 | keeps;
    if now & 0o7777 == rights {
        return Ok(());
    }
    match file.set_permissions(PermissionsExt::from_mode(rights)) {
        // Not every file system has rights, and the file is ours.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}
