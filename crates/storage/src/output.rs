//! Where a download is built, and how it gets its name: beside the target, under a lock, and by one rename.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use protocol::{NameError, case_collision, check_local_name, decorated_name};

use crate::error::error_at;
use crate::file::open_file;
use crate::merge::Merge;
use crate::{Access, FileSpec, Storage, StorageError};

/// What stands beside a download until it is done, as ends of its name: the bytes, the journal, the lock.
const STATE: [&str; 3] = [".part", ".part.journal", ".lock"];

/// Whether something of this name, beside downloads, would be taken for the state of one.
pub fn is_state_name(name: &str) -> bool {
    name.starts_with('.') && STATE.iter().any(|end| name.ends_with(end))
}

/// A download that is being built.
pub struct Output {
    target: PathBuf,
    part: PathBuf,
    journal: PathBuf,
    lock_path: PathBuf,
    lock: File,
    files: Vec<(PathBuf, u64, bool)>,
    is_folder: bool,
    empty_folders: Vec<String>,
    replaces: bool,
    merges: bool,
}

impl Output {
    /// Prepares `folder` for a content called `name`: one file of that name, or, if `is_folder`, a folder with
    /// `files` (path inside with `/`, bytes, executable) and `empty_folders`. Every name is checked; nothing outside
    /// `folder` is touched, and no link is followed. What the journal of an earlier run claims is to be verified before it is
    /// believed: files may have changed since then, or be gone.
    pub fn prepare(
        folder: &Path,
        name: &str,
        is_folder: bool,
        files: &[(String, u64, bool)],
        empty_folders: &[String],
    ) -> Result<Self, StorageError> {
        let [part, journal, lock_path] = STATE.map(|end| folder.join(decorated_name(".", name, end)));
        let bad_name = |error: NameError| StorageError::Io {
            path: folder.join("…"),
            source: io::Error::new(io::ErrorKind::InvalidInput, error.to_string()),
        };
        let paths = files.iter().map(|(path, ..)| path).chain(empty_folders);
        std::iter::once(name)
            .chain(paths.clone().flat_map(|path| path.split('/')))
            .try_for_each(|part| check_local_name(part, cfg!(windows)).map_err(bad_name))?;
        if is_state_name(name) {
            return Err(bad_name(NameError::State(name.to_owned())));
        }
        if cfg!(any(windows, target_os = "macos")) {
            case_collision(paths.map(String::as_str)).map_err(bad_name)?;
        }
        make_output_folder(folder)?;
        // A lock stays as long as what it is for: without one, what lies there is somebody else's.
        let ours = fs::symlink_metadata(&lock_path).is_ok();
        if let Some(other) = [&part, &journal].into_iter().find(|path| !ours && fs::symlink_metadata(path).is_ok()) {
            return Err(StorageError::Exists(other.clone()));
        }
        let lock = lock(&lock_path)?;
        if is_folder {
            make_folder(&part)?;
            let parents = files.iter().filter_map(|(path, ..)| path.rsplit_once('/')).map(|(parent, _)| parent);
            BTreeSet::from_iter(parents).into_iter().try_for_each(|path| make_folders(&part, path.as_ref()))?;
            empty_folders.iter().try_for_each(|path| make_folders(&part, path.as_ref()))?;
        }
        let place = |path: &str| if is_folder { part.join(path) } else { part.clone() };
        refuse_link(&journal)?;
        Ok(Output {
            target: folder.join(name),
            is_folder,
            empty_folders: empty_folders.to_vec(),
            journal,
            files: files.iter().map(|(path, size, executable)| (place(path), *size, *executable)).collect(),
            part,
            lock_path,
            lock,
            replaces: false,
            merges: false,
        })
    }

    /// Files of the download replace those that have their names.
    pub fn replacing(self) -> Self {
        Output { replaces: true, ..self }
    }

    /// The download is a folder, of which others were, or will be, other parts: its files are put one by one into the folder
    /// that has its name.
    pub fn merging(self) -> Self {
        Output { merges: true, ..self }
    }

    /// The files to open, where they are built.
    pub fn specs(&self) -> Vec<FileSpec> {
        self.files.iter().map(|(path, size, _)| FileSpec { path: path.clone(), size: *size }).collect()
    }

    /// Where the journal of this download is kept.
    pub fn journal_path(&self) -> &Path {
        &self.journal
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Copies what a storage that is not persistent holds to where the files are built, and syncs it.
    pub fn write_out(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        use std::io::Write;
        for (index, (path, size, _)) in self.files.iter().enumerate() {
            let error = |source| error_at(path, source);
            // As the other backends open it: a link that lies there is not followed.
            let mut file = open_file(&FileSpec { path: path.clone(), size: *size }, Access::Write)?;
            let mut offset = 0;
            while offset < *size {
                let bytes = storage.read(index, offset, (*size - offset).min(1 << 20) as usize)?;
                file.write_all(&bytes).map_err(error)?;
                offset += bytes.len() as u64;
            }
            file.sync_data().map_err(error)?;
        }
        Ok(())
    }

    /// Gives the download its name. What was written must be durable already. Replaces nothing, unless it was said to be
    /// [`Output::replacing`]: then at once, so that there is the old file or the new one at any time.
    pub fn finish(self) -> Result<PathBuf, StorageError> {
        for (path, size, executable) in &self.files {
            // What was verified was written; whoever has cut the file since then takes its name from it.
            if fs::metadata(path).map_err(|source| error_at(path, source))?.len() != *size {
                return Err(StorageError::Changed(path.clone()));
            }
            // Who could read and write the old one can the new one.
            if self.replaces
                && let Ok(old) = fs::metadata(self.place_of(path))
            {
                fs::set_permissions(path, old.permissions()).map_err(|source| error_at(path, source))?;
            }
            if *executable {
                make_executable(path).map_err(|source| error_at(path, source))?;
            }
        }
        let files: Vec<&Path> = self.files.iter().map(|(path, ..)| path.as_path()).collect();
        let merge = Merge { part: &self.part, target: &self.target, files: &files, empty_folders: &self.empty_folders };
        let done = if self.is_folder && (self.merges || merge.leaves_something()?) {
            merge.run(self.replaces)?
        } else {
            rename(&self.part, &self.target, self.replaces)?;
            true
        };
        if let Some(folder) = self.target.parent() {
            sync_folder(folder)?;
        }
        // The names are durable: what helped to get there may go, unless it helps with the rest.
        if done {
            let _ = fs::remove_file(&self.journal);
            let _ = fs::remove_file(&self.lock_path);
        }
        drop(self.lock);
        Ok(self.target)
    }

    /// Where a file that is built will be.
    fn place_of(&self, built: &Path) -> PathBuf {
        match built.strip_prefix(&self.part) {
            Ok(inside) if self.is_folder => self.target.join(inside),
            _ => self.target.clone(),
        }
    }
}

/// Gives something its name, in place of what has it if it `replaces` that.
pub(crate) fn rename(from: &Path, to: &Path, replaces: bool) -> Result<(), StorageError> {
    let rename = if replaces { fs::rename } else { crate::rename::rename_new };
    rename(from, to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => StorageError::Exists(to.to_owned()),
        _ => error_at(to, source),
    })
}

/// A folder that cannot be made is not a file that is missing: who chose it is to choose another.
fn make_output_folder(folder: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(folder).map_err(|source| match error_at(folder, source) {
        StorageError::NotFound(path) => StorageError::NoFolder { path, source: io::ErrorKind::NotFound.into() },
        StorageError::Io { path, source } => StorageError::NoFolder { path, source },
        known => known,
    })
}

fn lock(path: &Path) -> Result<File, StorageError> {
    let error = |source| error_at(path, source);
    refuse_link(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    // A pipe that someone has put there would be waited for until somebody reads it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path).map_err(error)?;
    if !file.metadata().map_err(error)?.is_file() {
        return Err(StorageError::Exists(path.to_owned()));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StorageError::Locked(path.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(error(source)),
    }
}

fn refuse_link(path: &Path) -> Result<(), StorageError> {
    match fs::symlink_metadata(path) {
        Ok(seen) if seen.is_symlink() => {
            Err(error_at(path, io::Error::other("it is a link, and links are not followed")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn make_folder(path: &Path) -> Result<(), StorageError> {
    refuse_link(path)?;
    match fs::create_dir(path) {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(|source| error_at(path, source)),
    }
}

pub(crate) fn make_folders(base: &Path, path: &Path) -> Result<(), StorageError> {
    let mut folder = base.to_owned();
    path.iter().try_for_each(|name| {
        folder.push(name);
        make_folder(&folder)
    })
}

/// Lets whoever may read a file run it.
#[cfg(unix)]
pub fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = fs::metadata(path)?.permissions();
    permissions.set_mode(permissions.mode() | (permissions.mode() & 0o444) >> 2);
    fs::set_permissions(path, permissions)
}

/// Nothing: files have no such bit here.
#[cfg(not(unix))]
pub fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes the names in a folder durable.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|source| error_at(folder, source))
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> Result<(), StorageError> {
    Ok(())
}
