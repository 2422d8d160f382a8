//! Folders by their descriptors.

#[cfg(target_os = "linux")]
mod beneath;
mod rights;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, mkdirat, openat, renameat,
    statat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{How, Seen, is_inside};
use crate::lock::lock;
pub(crate) use rights::set_rights;

/// Opens a folder on the way to something; nothing is read from it.
#[cfg(target_os = "linux")]
const PASSAGE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
#[cfg(not(target_os = "linux"))]
const PASSAGE: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// A folder that is held open. What is reached from it is inside it, whatever is moved or linked meanwhile.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Folder {
    /// Opens a folder, following links. Those of one process that are the same folder are one, and hold one descriptor.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        static OPEN: Mutex<Option<HashMap<PathBuf, Weak<Folder>>>> = Mutex::new(None);
        let file = File::open(if path.as_os_str().is_empty() { Path::new(".") } else { path })?;
        let there = file.metadata()?;
        if !there.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let mut open = lock(&OPEN);
        let open = open.get_or_insert_default();
        if let Some(folder) = open.get(path).and_then(Weak::upgrade)
            && is_held(&folder.descriptor, &there)
        {
            return Ok(folder);
        }
        open.retain(|_, folder| folder.strong_count() > 0);
        let folder = Arc::new(Folder { path: path.to_owned(), descriptor: file.into() });
        open.insert(path.to_owned(), Arc::downgrade(&folder));
        Ok(folder)
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its path still leads to it.
    pub(crate) fn is_in_place(&self) -> bool {
        let path = if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path };
        std::fs::metadata(path).is_ok_and(|there| is_held(&self.descriptor, &there))
    }

    pub(crate) fn open_file(&self, inside: &Path, how: How) -> io::Result<File> {
        // A pipe that someone has put there would be waited for until somebody opens its other end.
        let flags = OFlags::NONBLOCK
            | match how {
                How::Read => OFlags::RDONLY,
                How::Write => OFlags::RDWR,
                How::Make { .. } => OFlags::RDWR | OFlags::CREATE,
                How::MakeNew { .. } => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            };
        let mode = match how {
            How::Make { private: true } | How::MakeNew { private: true } => 0o600,
            _ => 0o666,
        };
        Ok(self.reach(inside, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// Makes a folder, for its owner alone if that is said. One that is there is as good.
    pub(crate) fn make_folder(&self, inside: &Path, private: bool) -> io::Result<()> {
        let mut walk = self.walk();
        let (parent, name) = walk.parent(inside)?;
        match mkdirat(parent, name, Mode::from_raw_mode(if private { 0o700 } else { 0o777 })) {
            Err(Errno::EXIST) => {
                openat(parent, name, PASSAGE | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(told)?;
                if private {
                    // Not every file system has rights.
                    let _ = self.close_to_others(inside);
                }
                Ok(())
            }
            result => result.map_err(told),
        }
    }

    /// Makes the folders that a path goes through, and not what it leads to.
    pub(crate) fn make_parents(&self, inside: &Path) -> io::Result<()> {
        let Some(parents) = inside.parent().filter(|parent| is_inside(parent)) else { return Ok(()) };
        let mut at = self.reach_nothing()?;
        for name in parents.iter() {
            match mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(told(errno)),
            }
            at = openat(&at, name, PASSAGE | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(told)?;
        }
        Ok(())
    }

    /// Looks at, or renames, many things that lie beside each other.
    pub fn walk(&self) -> Walk<'_> {
        Walk { folder: self, last: None }
    }

    pub(crate) fn look(&self, inside: &Path) -> io::Result<Option<Seen>> {
        self.walk().look(inside)
    }

    pub(crate) fn remove_file(&self, inside: &Path) -> io::Result<()> {
        let mut walk = self.walk();
        let (parent, name) = walk.parent(inside)?;
        unlinkat(parent, name, AtFlags::empty()).map_err(told)
    }

    /// Removes a folder that is empty.
    pub(crate) fn remove_folder(&self, inside: &Path) -> io::Result<()> {
        let mut walk = self.walk();
        let (parent, name) = walk.parent(inside)?;
        unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(told)
    }

    /// What is in a folder: names, and whether they are folders. In this one, if nothing is said.
    pub(crate) fn entries(&self, inside: &Path) -> io::Result<Vec<(OsString, bool)>> {
        use std::os::unix::ffi::OsStrExt;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match inside.as_os_str().is_empty() {
            true => openat(&self.descriptor, ".", flags | OFlags::CLOEXEC, Mode::empty())?,
            false => self.reach(inside, flags, Mode::empty())?,
        };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let seen = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(seen.st_mode)
                }
                kind => kind,
            };
            entries.push((name.to_owned(), kind == FileType::Directory));
        }
        Ok(entries)
    }

    /// Makes the names in a folder durable; in this one, if nothing is said.
    pub(crate) fn sync(&self, inside: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = if inside.as_os_str().is_empty() {
            self.descriptor.try_clone()?
        } else {
            self.reach(inside, flags, Mode::empty())?
        };
        atomic_file::allow_unsupported(File::from(folder).sync_all())
    }

    /// Makes durable all that was written to its file system. Since Linux 5.8 errors are told, too.
    #[cfg(target_os = "linux")]
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.descriptor)?)
    }

    /// A file without a name, to reserve space in; none where there is no such thing.
    #[cfg(target_os = "linux")]
    pub(crate) fn unnamed(&self) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        openat(&self.descriptor, ".", flags, Mode::from_raw_mode(0o600)).ok().map(File::from)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn unnamed(&self) -> Option<File> {
        None
    }

    /// Opens something by a path of names from here, following no link.
    fn reach(&self, inside: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut names = inside.iter();
        let (first, rest) = (names.next(), names.as_path());
        // A single name leads nowhere else.
        if is_inside(inside) && rest.as_os_str().is_empty() {
            return openat(&self.descriptor, first.unwrap_or_default(), flags, mode).map_err(told);
        }
        #[cfg(target_os = "linux")]
        if is_inside(inside)
            && let Some(result) = beneath::open(self.descriptor.as_fd(), inside, flags, mode)
        {
            return result.map_err(told);
        }
        let mut walk = self.walk();
        let (parent, name) = walk.parent_by_steps(inside)?;
        openat(parent, name, flags, mode).map_err(told)
    }

    fn reach_nothing(&self) -> io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }
}

/// Keeps the folder that was reached last: the next thing most often lies in the same.
pub struct Walk<'a> {
    folder: &'a Folder,
    last: Option<(PathBuf, OwnedFd)>,
}

impl Walk<'_> {
    /// What lies there; nothing if there is nothing.
    pub fn look(&mut self, inside: &Path) -> io::Result<Option<Seen>> {
        let (parent, name) = match self.parent(inside) {
            Err(error) if atomic_file::is_gone(&error) => return Ok(None),
            parent => parent?,
        };
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            #[allow(
                clippy::unnecessary_cast,
                clippy::useless_conversion,
                reason = "not every system has the same widths"
            )]
            Ok(seen) => {
                let kind = FileType::from_raw_mode(seen.st_mode);
                Ok(Some(Seen {
                    is_file: kind == FileType::RegularFile,
                    is_folder: kind == FileType::Directory,
                    len: seen.st_size.try_into().unwrap_or(0),
                    modified: time(seen.st_mtime, seen.st_mtime_nsec as u64),
                    taken: u64::try_from(seen.st_blocks).unwrap_or(0).saturating_mul(512),
                    mode: u32::from(seen.st_mode),
                    identity: (seen.st_dev as u64, seen.st_ino as u64),
                    changed: (seen.st_ctime, seen.st_ctime_nsec as i64),
                    is_named: seen.st_nlink > 0,
                }))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(told(errno)),
        }
    }

    /// Sets the time of a file to now. Not every file system can, and nothing is lost then.
    pub(crate) fn touch(&mut self, inside: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(inside)?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: now };
        match utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }

    /// Gives something its name, in place of what has it only if it `replaces` that.
    pub(crate) fn rename(&mut self, from: &Path, to: &mut Walk<'_>, name: &Path, replaces: bool) -> io::Result<()> {
        let (from_folder, from_name) = self.parent(from)?;
        let (to_folder, to_name) = to.parent(name)?;
        if replaces {
            return Ok(renameat(from_folder, from_name, to_folder, to_name)?);
        }
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            match renameat_with(from_folder, from_name, to_folder, to_name, RenameFlags::NOREPLACE) {
                // Some file systems cannot do it in one step.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                // Not as what is told of a path: nothing is followed, and a folder may be on another file system.
                result => return Ok(result?),
            }
        }
        match statat(to_folder, to_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => Ok(renameat(from_folder, from_name, to_folder, to_name)?),
        }
    }

    /// The open folder that something is in, and its name there.
    fn parent<'a>(&'a mut self, inside: &'a Path) -> io::Result<(BorrowedFd<'a>, &'a OsStr)> {
        let (parent, name) = split(inside)?;
        if parent.as_os_str().is_empty() {
            return Ok((self.folder.descriptor.as_fd(), name));
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            self.last = Some((parent.to_owned(), self.folder.reach(parent, PASSAGE, Mode::empty())?));
        }
        Ok((self.last.as_ref().map_or(self.folder.descriptor.as_fd(), |(_, folder)| folder.as_fd()), name))
    }

    /// The same, one folder after another.
    fn parent_by_steps<'a>(&'a mut self, inside: &'a Path) -> io::Result<(BorrowedFd<'a>, &'a OsStr)> {
        let (parent, name) = split(inside)?;
        for step in parent.iter() {
            let before = self.last.as_ref().map_or(self.folder.descriptor.as_fd(), |(_, folder)| folder.as_fd());
            let flags = PASSAGE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = openat(before, step, flags, Mode::empty()).map_err(told)?;
            self.last = Some((PathBuf::new(), next));
        }
        Ok((self.last.as_ref().map_or(self.folder.descriptor.as_fd(), |(_, folder)| folder.as_fd()), name))
    }
}

fn split(inside: &Path) -> io::Result<(&Path, &OsStr)> {
    let parts = inside.parent().zip(inside.file_name()).filter(|_| is_inside(inside));
    parts.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A time as the standard library says it.
fn time(seconds: i64, nanoseconds: u64) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    at?.checked_add(Duration::from_nanos(nanoseconds))
}

/// Whether a folder that is held open is the one that a path leads to.
#[allow(clippy::unnecessary_cast, reason = "not every system has the same widths")]
fn is_held(descriptor: &OwnedFd, there: &Metadata) -> bool {
    // No descriptor is made for it: where no more may be open, a folder that is there is not called gone.
    let held = rustix::fs::fstat(descriptor);
    held.is_ok_and(|held| same((held.st_dev as u64, held.st_ino as u64, held.st_nlink as u64), identity(there)))
}

fn identity(there: &Metadata) -> (u64, u64, u64) {
    (there.dev(), there.ino(), there.nlink())
}

/// Device, number and links of a folder that is held, and of the one that is there. One that was removed has no links left, and its
/// number may be another's by now. Some file systems count none at all.
fn same(held: (u64, u64, u64), there: (u64, u64, u64)) -> bool {
    (held.0, held.1) == (there.0, there.1) && (held.2 > 0 || there.2 == 0)
}

/// A link on the way is said as what it is.
fn told(errno: Errno) -> io::Error {
    match errno {
        Errno::LOOP | Errno::XDEV | Errno::MLINK => {
            io::Error::other("it is a link, and links are not followed. Remove the link, or choose another folder")
        }
        errno => errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the system has one call for it that is taken; what it refuses must be refused step by step, too.
    #[test]
    fn in_one_call_or_step_by_step_no_link_is_followed() {
        let world = tempfile::tempdir().unwrap();
        for path in ["in/a/b", "out"] {
            std::fs::create_dir_all(world.path().join(path)).unwrap();
        }
        for path in ["in/a/b/f", "out/f"] {
            std::fs::write(world.path().join(path), path).unwrap();
        }
        for (target, link) in
            [("../../out", "in/a/link"), ("../out", "in/link"), ("/", "in/a/b/root"), ("f", "in/a/b/lf")]
        {
            std::os::unix::fs::symlink(target, world.path().join(link)).unwrap();
        }
        let folder = Folder::open(&world.path().join("in")).unwrap();
        let by_steps = |path: &str| {
            let mut walk = folder.walk();
            let (parent, name) = walk.parent_by_steps(Path::new(path))?;
            openat(parent, name, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()).map_err(told).map(drop)
        };
        let at_once = |path: &str| folder.open_file(Path::new(path), How::Read).map(drop);
        assert!(at_once("a/b/f").is_ok() && by_steps("a/b/f").is_ok());
        for path in
            ["a/link/f", "link/f", "a/b/root/etc", "a/b/lf", "../out/f", "a/../../out/f", "/etc/passwd", "a/./f", ""]
        {
            assert!(at_once(path).is_err() && by_steps(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_folder_that_was_replaced_is_opened_anew_and_one_that_was_not_is_the_same() {
        let world = tempfile::tempdir().unwrap();
        let path = world.path().join("folder");
        std::fs::create_dir(&path).unwrap();
        let one = Folder::open(&path).unwrap();
        assert!(Arc::ptr_eq(&one, &Folder::open(&path).unwrap()));
        std::fs::remove_dir(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let other = Folder::open(&path).unwrap();
        other.make_folder(Path::new("made"), false).unwrap();
        assert!(!Arc::ptr_eq(&one, &other) && path.join("made").is_dir());
    }

    /// Where links are counted, a folder without any was removed, and its number may be that of another one.
    #[test]
    fn a_folder_is_known_again_where_links_are_not_counted() {
        let world = tempfile::tempdir().unwrap();
        let path = world.path().join("folder");
        std::fs::create_dir(&path).unwrap();
        let held = File::open(&path).unwrap();
        let counted = held.metadata().unwrap();
        std::fs::remove_dir(&path).unwrap();
        let uncounted = held.metadata().unwrap();
        let [counted, uncounted] = [&counted, &uncounted].map(identity);
        assert!(same(counted, counted) && same(uncounted, uncounted));
        assert_eq!(same(uncounted, counted), uncounted.2 > 0);
    }
}
