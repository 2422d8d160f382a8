//! Folders by their paths, each part looked at right before it is used.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atomic_file::{is_gone, open_patiently, patiently};

use super::{How, Seen, is_inside};

#[cfg(windows)]
use atomic_file::windows::rename_new;
#[cfg(windows)]
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_ATTRIBUTE_SPARSE_FILE, FILE_FLAG_OPEN_REPARSE_POINT,
};

#[cfg(not(windows))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// A folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A folder that is there.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let there = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match fs::metadata(there)?.is_dir() {
            true => Ok(Arc::new(Folder { path: path.to_owned() })),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is such a folder still.
    pub(crate) fn is_in_place(&self) -> bool {
        self.path.as_os_str().is_empty() || self.path.is_dir()
    }

    pub(crate) fn open_file(&self, inside: &Path, how: How) -> io::Result<File> {
        let path = self.reach(inside)?;
        let mut options = OpenOptions::new();
        options.read(true).write(how != How::Read);
        match how {
            How::Read | How::Write => {}
            How::Make { .. } => drop(options.create(true).truncate(false)),
            How::MakeNew { .. } => drop(options.create_new(true)),
        }
        let file = match how {
            How::Read => open_patiently(|| options.open(&path))?,
            _ => open_itself(&path, &mut options)?,
        };
        if file.metadata()?.is_symlink() {
            return Err(is_a_link());
        }
        Ok(file)
    }

    /// Makes a folder. One that is there is as good.
    pub(crate) fn make_folder(&self, inside: &Path, _private: bool) -> io::Result<()> {
        match fs::create_dir(self.reach(inside)?) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    /// Makes the folders that a path goes through, and not what it leads to.
    pub(crate) fn make_parents(&self, inside: &Path) -> io::Result<()> {
        let mut path = PathBuf::new();
        for name in inside.parent().into_iter().flat_map(Path::iter) {
            path.push(name);
            self.make_folder(&path, false)?;
        }
        Ok(())
    }

    /// Looks at, or renames, many things.
    pub fn walk(&self) -> Walk<'_> {
        Walk { folder: self }
    }

    pub(crate) fn look(&self, inside: &Path) -> io::Result<Option<Seen>> {
        self.walk().look(inside)
    }

    pub(crate) fn remove_file(&self, inside: &Path) -> io::Result<()> {
        let path = self.reach(inside)?;
        patiently(|| fs::remove_file(&path))
    }

    /// Removes a folder that is empty.
    pub(crate) fn remove_folder(&self, inside: &Path) -> io::Result<()> {
        let path = self.reach(inside)?;
        patiently(|| fs::remove_dir(&path))
    }

    /// What is in a folder: names, and whether they are folders. In this one, if nothing is said.
    pub(crate) fn entries(&self, inside: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let here = if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path };
        let entries = fs::read_dir(if inside.as_os_str().is_empty() { here.to_owned() } else { self.reach(inside)? })?;
        entries.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?.is_dir())))).collect()
    }

    /// Nothing: names are as durable as the system makes them.
    pub(crate) fn sync(&self, _inside: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn unnamed(&self) -> Option<File> {
        None
    }

    /// Nothing: it was made with the rights that any new one has.
    pub(crate) fn open_to_others(&self, _inside: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Has a file that was built be sparse no longer, if it need not or must not be. There are no rights to give: what replaces a file that
    /// may only be read becomes one when it has its name. If that fails it is still written to.
    pub(crate) fn finish_file(&self, inside: &Path, name: &Path, _replaces: bool, _executable: bool) -> io::Result<()> {
        #[cfg(windows)]
        if is_sparse(&fs::symlink_metadata(self.reach(inside)?)?)
            && let Ok(file) = self.open_file(inside, How::Write)
        {
            crate::sparse_end::end_sparse(&file, &self.path.join(name));
        }
        Ok(())
    }

    /// The path of something inside, of which no part is a link now.
    fn reach(&self, inside: &Path) -> io::Result<PathBuf> {
        if !is_inside(inside) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut path = self.path.clone();
        for name in inside.iter() {
            path.push(name);
            if fs::symlink_metadata(&path).is_ok_and(|seen| seen.is_symlink()) {
                return Err(is_a_link());
            }
        }
        Ok(path)
    }
}

/// Opens a file, and a link that came there a moment ago as itself. What a file system keeps elsewhere and hands out as a plain
/// file (deduplicated ones, those of OneDrive) is opened as that: its own bytes are not the file's.
#[cfg(windows)]
fn open_itself(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
    options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    let file = open_patiently(|| options.open(path))?;
    let seen = file.metadata()?;
    if seen.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT == 0 || seen.is_symlink() {
        return Ok(file);
    }
    drop(file);
    options.custom_flags(0).create_new(false).open(path)
}

#[cfg(not(windows))]
fn open_itself(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.open(path)
}

/// Whether the file system calls it sparse, whatever its bytes are.
#[cfg(windows)]
fn is_sparse(seen: &fs::Metadata) -> bool {
    std::os::windows::fs::MetadataExt::file_attributes(seen) & FILE_ATTRIBUTE_SPARSE_FILE != 0
}

/// Junctions are links, too: whatever stands for another place.
fn is_a_link() -> io::Error {
    io::Error::other("it is a link, and links are not followed")
}

/// Looks at, and renames, many things.
pub struct Walk<'a> {
    folder: &'a Folder,
}

impl Walk<'_> {
    /// What lies there; nothing if there is nothing.
    pub fn look(&mut self, inside: &Path) -> io::Result<Option<Seen>> {
        if !is_inside(inside) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match fs::symlink_metadata(self.folder.path.join(inside)) {
            Ok(seen) => Ok(Some(Seen {
                is_file: seen.is_file(),
                is_folder: seen.is_dir(),
                len: seen.len(),
                modified: seen.modified().ok(),
                taken: seen.len(),
                mode: 0,
                identity: (0, 0),
                changed: (0, 0),
                is_named: true,
            })),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the time of a file to now.
    pub(crate) fn touch(&mut self, inside: &Path) -> io::Result<()> {
        let _ = self.folder.open_file(inside, How::Write)?.set_modified(std::time::SystemTime::now());
        Ok(())
    }

    /// Gives something its name, in place of what has it only if it `replaces` that.
    pub(crate) fn rename(&mut self, from: &Path, to: &mut Walk<'_>, name: &Path, replaces: bool) -> io::Result<()> {
        let from = self.folder.reach(from)?;
        let to = match replaces {
            true => to.folder.path.join(name),
            false => to.folder.reach(name).map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?,
        };
        if !replaces {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            return patiently(|| rename_new(&from, &to));
        }
        // A file that may only be read is replaced as any other is, as on Unix.
        let rename = || patiently(|| fs::rename(&from, &to));
        let is_read_only = to.symlink_metadata().is_ok_and(|old| old.is_file() && old.permissions().readonly());
        if is_read_only { replace_read_only(&to, rename) } else { rename() }
    }
}

/// Replaces a file that may only be read. Whatever comes of it, what has the name then may only be read.
fn replace_read_only(to: &Path, rename: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let set = |read_only| {
        let mut rights = fs::symlink_metadata(to)?.permissions();
        rights.set_readonly(read_only);
        fs::set_permissions(to, rights)
    };
    set(false)?;
    let renamed = rename();
    // It has its name, with this right or without.
    let _ = set(true);
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_only_be_read_is_replaced_or_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = [".part", "file"].map(|name| folder.path().join(name));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        let read_only = |path: &Path| fs::metadata(path).unwrap().permissions().readonly();
        let mut rights = fs::metadata(&to).unwrap().permissions();
        rights.set_readonly(true);
        fs::set_permissions(&to, rights).unwrap();

        let in_use = || Err(io::Error::from_raw_os_error(32));
        assert!(replace_read_only(&to, in_use).is_err());
        assert_eq!((fs::read(&to).unwrap(), read_only(&to), read_only(&from)), (b"old".to_vec(), true, false));
        replace_read_only(&to, || fs::rename(&from, &to)).unwrap();
        assert_eq!((fs::read(&to).unwrap(), read_only(&to)), (b"new".to_vec(), true));
    }
}
