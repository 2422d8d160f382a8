//! Which files lie in a folder by their own names, and not only by names that are the same there.
//!
//! Where upper and lower case are one, to look for a file finds its twin. So names count as they are listed. What an earlier run
//! has left of a download is known by them, and all its other files must not be there yet.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::error_at;
use crate::folder::Folder;
use crate::held::Held;
use crate::{FileSpec, StorageError};

/// Says of each file of a download whether an earlier run has left it.
pub(crate) fn left_files(held: Option<&Held>, specs: &[FileSpec]) -> Result<Vec<bool>, StorageError> {
    let Some(held) = held else {
        return Ok(specs.iter().map(|spec| spec.path.symlink_metadata().is_ok()).collect());
    };
    // A single file was created together with the download, so it belongs to it.
    if specs.iter().any(|spec| held.is_all(&spec.path)) {
        return Ok(vec![true; specs.len()]);
    }
    named(held.folder(), specs.iter().map(|spec| held.inside(&spec.path).unwrap_or_default()))
}

/// Says of each path inside `folder` whether a file lies there by that name. They are all that are known of what belongs there.
pub fn named(folder: &Folder, paths: impl Iterator<Item = PathBuf>) -> Result<Vec<bool>, StorageError> {
    let paths: Vec<PathBuf> = paths.collect();
    let mut by_folder: HashMap<&Path, Vec<usize>> = HashMap::new();
    for (file, path) in paths.iter().enumerate() {
        by_folder.entry(path.parent().unwrap_or(Path::new(""))).or_default().push(file);
    }
    let mut there = vec![false; paths.len()];
    let mut walk = folder.walk();
    for (inside, files) in by_folder {
        let listed = list(folder, inside)?;
        if listed.is_empty() {
            continue;
        }
        let name = |file: usize| paths[file].file_name().unwrap_or_default();
        let (exact, others): (Vec<usize>, Vec<usize>) =
            files.into_iter().partition(|&file| listed.contains(name(file)));
        let names: HashSet<&OsStr> = exact.iter().map(|&file| name(file)).collect();
        // Some file systems list a name in another spelling than it was given: one listed name may be that of one file.
        let mut unknown = listed.iter().filter(|listed| !names.contains(listed.as_os_str())).count();
        exact.iter().for_each(|&file| there[file] = true);
        for file in others {
            let path = &paths[file];
            let error = |source| error_at(&folder.path().join(path), source);
            if unknown > 0 && walk.look(path).map_err(error)?.is_some_and(|seen| seen.is_file) {
                there[file] = true;
                unknown -= 1;
            }
        }
    }
    Ok(there)
}

/// The names in a folder that are no folders; none if it is not there.
fn list(folder: &Folder, inside: &Path) -> Result<HashSet<OsString>, StorageError> {
    match folder.entries(inside) {
        Ok(entries) => Ok(entries.into_iter().filter(|(_, is_folder)| !is_folder).map(|(name, _)| name).collect()),
        Err(error) if atomic_file::is_gone(&error) => Ok(HashSet::new()),
        Err(source) => Err(error_at(&folder.path().join(inside), source)),
    }
}
