//! Files of a folder that are put one by one where they belong: into a folder that is there, or beside others that are still
//! to come. A crash in between leaves each file in one of both places, and the next run goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::StorageError;
use crate::error::error_at;
use crate::output::{make_folder, make_folders, rename, sync_folder};

/// What was built in `part` and belongs into `target`.
pub(crate) struct Merge<'a> {
    pub(crate) part: &'a Path,
    pub(crate) target: &'a Path,
    /// In `part`.
    pub(crate) files: &'a [&'a Path],
    /// Inside, with `/`.
    pub(crate) empty_folders: &'a [String],
}

impl Merge<'_> {
    /// Whether something else than these files and folders lies in `part`: left by a run that wanted more, or something else.
    pub(crate) fn leaves_something(&self) -> Result<bool, StorageError> {
        let files: BTreeSet<&Path> = self.files.iter().copied().collect();
        let empty = self.empty_folders.iter().map(|path| self.part.join(path));
        let parents = self.files.iter().filter_map(|path| path.parent()).map(Path::to_owned);
        let folders: BTreeSet<PathBuf> = parents.chain(empty).collect();
        let folders: BTreeSet<&Path> = folders.iter().flat_map(|path| path.ancestors()).collect();
        let mut waiting = vec![self.part.to_owned()];
        while let Some(folder) = waiting.pop() {
            let error = |source| error_at(&folder, source);
            for entry in fs::read_dir(&folder).map_err(error)? {
                let entry = entry.map_err(error)?;
                let (path, is_folder) = (entry.path(), entry.file_type().map_err(error)?.is_dir());
                let known = if is_folder { folders.contains(path.as_path()) } else { files.contains(path.as_path()) };
                if !known {
                    return Ok(true);
                }
                if is_folder {
                    waiting.push(path);
                }
            }
        }
        Ok(false)
    }

    /// Puts everything in its place, in place of what has its name if it `replaces` that, and makes the names durable. Says
    /// whether nothing is left in `part`: then that is gone.
    pub(crate) fn run(&self, replaces: bool) -> Result<bool, StorageError> {
        make_folder(self.target)?;
        let mut touched = BTreeSet::from([self.target.to_owned()]);
        let inside = |path: &Path| path.strip_prefix(self.part).map(Path::to_owned).unwrap_or_default();
        let parents = self.files.iter().filter_map(|path| path.parent()).map(inside);
        let folders: BTreeSet<PathBuf> = parents.chain(self.empty_folders.iter().map(PathBuf::from)).collect();
        for folder in folders.iter().filter(|folder| !folder.as_os_str().is_empty()) {
            make_folders(self.target, folder)?;
            touched.extend(folder.ancestors().map(|folder| self.target.join(folder)));
        }
        self.files.iter().try_for_each(|path| rename(path, &self.target.join(inside(path)), replaces))?;
        touched.iter().try_for_each(|folder| sync_folder(folder))?;
        remove_empty(self.part);
        Ok(!self.part.exists())
    }
}

/// Removes a folder in which there are nothing but folders, and of any other those inside it.
fn remove_empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
