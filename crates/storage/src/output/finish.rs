//! How a download that is complete gets its name.

use std::path::{Path, PathBuf};

use protocol::PathTree;

use super::Output;
use crate::StorageError;
use crate::changes::Clock;
use crate::error::{error_at, error_of_new, error_of_rename};
use crate::folder::{Folder, How, Identities, Seen};
use crate::folder_merge::FolderMerge;
use crate::open::{gone, make_late};

impl Output {
    /// Gives the download its name. What was written must be durable already, and what reads or wrote it
    /// [released](crate::Storage::release), for Windows renames no folder of which a file is open. Replaces nothing, unless it was said to be
    /// [`Output::replacing`]: then at once, so that there is the old file or the new one at any time.
    pub fn finish(self) -> Result<PathBuf, StorageError> {
        let held = self.held.clone();
        let folder = held.folder();
        self.make_empty()?;
        self.finish_files()?;
        let files = self.files.iter().map(|file| file.path.as_str());
        let paths = PathTree::new(files, self.empty_folders.iter().map(String::as_str));
        let merge = FolderMerge { folder, part: &self.part, target: &self.name, paths };
        let leaves_something = self.is_folder && merge.leaves_something()?;
        let done = if self.is_folder && (self.merges || leaves_something) {
            merge.run(self.replaces)?
        } else {
            self.rename()?;
            true
        };
        folder.sync(Path::new("")).map_err(|source| error_at(folder.path(), source))?;
        // The names are durable: what helped to get there may go, unless it helps with the rest.
        if done {
            self.journal_file.close();
            let _ = folder.remove_file(&self.journal);
            let _ = folder.remove_file(&self.lock_name);
        }
        self.check_place()?;
        drop(self.lock);
        Ok(folder.path().join(&self.name))
    }

    /// Looks at all files once more, and gives them the rights and times that they will have. No folder is held open
    /// afterwards: Windows would not rename it.
    fn finish_files(&self) -> Result<(), StorageError> {
        let folder = self.folder();
        let error = |path: &Path, source| error_at(&folder.path().join(path), source);
        let mut walk = folder.walk();
        let mut identities = Identities::default();
        for file in &self.files {
            let inside = self.inside(file);
            // What was verified was written; a program that has cut the file since then, or put something else in its place, takes
            // its name from it.
            let seen = walk.look(&inside).map_err(|source| error(&inside, source))?;
            let seen = seen.ok_or_else(|| gone(Some(&self.held), &file.spec))?;
            if !seen.is_file || seen.len != file.spec.size {
                return Err(StorageError::Changed(file.spec.path.clone()));
            }
            if !identities.insert(&seen) {
                return Err(StorageError::SameFile(file.spec.path.clone()));
            }
            if Clock::may_be_back(seen.modified) {
                let touched = walk.touch(&inside);
                touched.map_err(|source| error(&inside, source))?;
            }
            let name = if self.is_folder { &self.name.join(&file.path) } else { &self.name };
            let result = folder.finish_file(&inside, name, self.replaces, file.executable);
            result.map_err(|source| error(&inside, source))?;
        }
        Ok(())
    }

    /// Makes the files that have no bytes, and the folders that have no files: nothing of them ever comes.
    fn make_empty(&self) -> Result<(), StorageError> {
        for file in self.files.iter().filter(|file| file.spec.size == 0) {
            // A run before this one may have made it.
            make_late(Some(&self.held), &file.spec, true, &mut true)?;
        }
        for path in &self.empty_folders {
            let inside = self.part.join(path);
            let made = self.folder().make_parents(&inside).and_then(|()| self.folder().make_folder(&inside, false));
            made.map_err(|source| error_of_new(&self.path_of(&inside), source))?;
        }
        Ok(())
    }

    /// Gives what was built its name, and makes sure that it was that which got it.
    fn rename(&self) -> Result<(), StorageError> {
        let (folder, target) = (self.folder(), self.target());
        let look = |path: &Path| folder.look(path).map_err(|source| error_at(&self.path_of(path), source));
        if self.is_folder {
            folder.open_to_others(&self.part).map_err(|source| error_at(&self.path_of(&self.part), source))?;
        }
        let built = look(&self.part)?;
        let renamed = folder.walk().rename(&self.part, &mut folder.walk(), &self.name, self.replaces);
        renamed.map_err(|source| error_of_rename(&target, source))?;
        let is_built = match (built, look(&self.name)?) {
            (Some(built), Some(now)) if built.identity == now.identity => true,
            (Some(built), Some(now)) => {
                let alike = |seen: &Seen| (seen.is_file, seen.is_folder, seen.len, seen.modified, seen.mode);
                alike(&built) == alike(&now) && !keeps_identity(folder, self.is_folder)
            }
            _ => false,
        };
        if is_built { Ok(()) } else { Err(StorageError::Changed(target)) }
    }
}

/// Whether something keeps its number when it is renamed there: some file systems make numbers of paths. Tries it.
fn keeps_identity(folder: &Folder, of_folder: bool) -> bool {
    let [from, to] = ["a", "b"].map(|end| PathBuf::from(format!(".p2p-rename-{}-{end}", std::process::id())));
    let make = || match of_folder {
        true => folder.make_folder(&from, true),
        false => folder.open_file(&from, How::MakeNew { private: true }).map(drop),
    };
    let identity = |path: &Path| folder.look(path).ok().flatten().map(|seen| seen.identity);
    let tried = make().and_then(|()| {
        let before = identity(&from);
        folder.walk().rename(&from, &mut folder.walk(), &to, false)?;
        Ok(before == identity(&to))
    });
    for path in [&from, &to] {
        let _ = if of_folder { folder.remove_folder(path) } else { folder.remove_file(path) };
    }
    tried.unwrap_or(true)
}
