//! Files of a folder that are put one by one where they belong: into a folder that is there, or beside others that are still
//! to come. A crash in between leaves each file in one of both places, and the next run goes on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use protocol::PathTree;

use crate::StorageError;
use crate::error::{error_at, error_of_rename};
use crate::folder::{Folder, Identities, Walk};
use crate::system_files::{is_system_file, is_system_folder};

/// What was built in `part` and belongs into `target`, both in one folder.
pub(crate) struct FolderMerge<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) part: &'a Path,
    pub(crate) target: &'a Path,
    pub(crate) paths: PathTree<'a>,
}

impl FolderMerge<'_> {
    /// Whether something else than these files and folders lies in `part`: left by a run that wanted more, or something else.
    /// Fails if fewer files lie there than there are names: then one file has two of them.
    pub(crate) fn leaves_something(&self) -> Result<bool, StorageError> {
        let (mut waiting, mut files, mut something) = (vec![String::new()], HashSet::new(), false);
        while let Some(inside) = waiting.pop() {
            for (name, is_folder) in self.entries(&self.part.join(&inside))? {
                let Some(name) = name.to_str() else {
                    something = true;
                    continue;
                };
                let path = if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
                let is_known = if is_folder { self.paths.is_folder(&path) } else { self.paths.is_file(&path) };
                // What a system has made by itself goes along with the folder.
                if !is_known && self.is_of_system(Path::new(&path), is_folder) {
                    continue;
                }
                something |= !is_known;
                if is_folder {
                    waiting.push(path);
                } else {
                    files.insert(path);
                }
            }
        }
        let wanted = self.paths.files();
        if wanted.len() > files.len() {
            let missing = wanted.iter().find(|path| !files.contains(**path)).copied().unwrap_or_default();
            return Err(StorageError::SameFile(self.folder.path().join(self.part).join(missing)));
        }
        Ok(something)
    }

    /// Puts everything in its place, in place of what has its name if it `replaces` that, and makes the names durable. Says
    /// whether nothing is left in `part`: then that is gone.
    pub(crate) fn run(&self, replaces: bool) -> Result<bool, StorageError> {
        let error = |path: &Path, source| error_at(&self.folder.path().join(path), source);
        self.folder.make_folder(self.target, false).map_err(|source| error(self.target, source))?;
        let inner =
            self.paths.folders().chain(self.paths.all().iter().copied().filter(|path| !self.paths.is_file(path)));
        for path in inner.map(|path| self.target.join(path)) {
            self.folder.make_folder(&path, false).map_err(|source| error(&path, source))?;
        }
        let (mut from, mut to) = (self.folder.walk(), self.folder.walk());
        let mut placed = Identities::default();
        for path in self.paths.files() {
            let (built, place) = (self.part.join(path), self.target.join(path));
            if replaces {
                let look = |walk: &mut Walk, path: &Path| walk.look(path).map_err(|source| error(path, source));
                // What is replaced must be an old file, and none of these.
                if look(&mut to, &place)?.is_some_and(|seen| placed.contains(&seen)) {
                    return Err(StorageError::SameFile(self.folder.path().join(&place)));
                }
                if let Some(seen) = look(&mut from, &built)? {
                    placed.insert(&seen);
                }
            }
            let renamed = from.rename(&built, &mut to, &place, replaces);
            renamed.map_err(|source| error_of_rename(&self.folder.path().join(&place), source))?;
        }
        self.sync_folders()?;
        self.remove_empty()
    }

    /// Makes the names in each folder of the target durable that something was put into.
    fn sync_folders(&self) -> Result<(), StorageError> {
        let sync =
            |path: &Path| self.folder.sync(path).map_err(|source| error_at(&self.folder.path().join(path), source));
        sync(self.target)?;
        self.paths.folders().try_for_each(|path| sync(&self.target.join(path)))
    }

    /// Removes `part` if there is nothing in it but folders and what systems make by themselves, and otherwise the folders in it of
    /// which that is so. Says whether it is gone.
    fn remove_empty(&self) -> Result<bool, StorageError> {
        let remove = |path: &Path| {
            let inside = path.strip_prefix(self.part).unwrap_or(path);
            if inside.ancestors().skip(1).any(|above| self.is_of_system(above, true))
                || self.is_of_system(inside, false)
            {
                let _ = self.folder.remove_file(path);
            }
        };
        for folder in folders_in(self.folder, self.part, remove)?.iter().rev() {
            let _ = self.folder.remove_folder(folder);
        }
        let left =
            self.folder.look(self.part).map_err(|source| error_at(&self.folder.path().join(self.part), source))?;
        Ok(left.is_none())
    }

    /// Whether a system makes what lies there in `part` by itself.
    fn is_of_system(&self, inside: &Path, is_folder: bool) -> bool {
        match is_folder {
            true => inside.file_name().is_some_and(is_system_folder),
            false => is_system_file(&self.folder.path().join(self.part).join(inside)),
        }
    }

    fn entries(&self, path: &Path) -> Result<Vec<(std::ffi::OsString, bool)>, StorageError> {
        self.folder.entries(path).map_err(|source| error_at(&self.folder.path().join(path), source))
    }
}

/// A folder inside another one and all that are in it, each before those in it. What is no folder is given to `other`.
pub(crate) fn folders_in(
    folder: &Folder,
    inside: &Path,
    mut other: impl FnMut(&Path),
) -> Result<Vec<PathBuf>, StorageError> {
    let mut found = vec![inside.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        let entries = folder.entries(&path).map_err(|source| error_at(&folder.path().join(&path), source))?;
        for (name, is_folder) in entries {
            let entry = path.join(name);
            if is_folder { found.push(entry) } else { other(&entry) }
        }
        next += 1;
    }
    Ok(found)
}
