//! Which files of a download an earlier run has left where it is built.
//!
//! All others must not be there yet: what has the name of one all the same is another file of the content, where upper and
//! lower case are one, or somebody else's. So names count as they are listed; to look for one would find its twin.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::error_at;
use crate::file::Look;
use crate::held::Held;
use crate::{FileSpec, StorageError};

/// Says of each file whether it was left.
pub(crate) fn left_files(held: Option<&Held>, specs: &[FileSpec]) -> Result<Vec<bool>, StorageError> {
    let Some(held) = held else {
        return Ok(specs.iter().map(|spec| spec.path.symlink_metadata().is_ok()).collect());
    };
    let mut by_folder: HashMap<PathBuf, Vec<usize>> = HashMap::new();
    for (file, spec) in specs.iter().enumerate() {
        let inside = held.inside(&spec.path).unwrap_or_default();
        by_folder.entry(inside.parent().unwrap_or(Path::new("")).to_owned()).or_default().push(file);
    }
    let mut left = vec![false; specs.len()];
    for (folder, files) in by_folder {
        let listed = list(held, &folder)?;
        if listed.is_empty() {
            continue;
        }
        let name = |file: usize| specs[file].path.file_name().unwrap_or_default();
        let (exact, others): (Vec<usize>, Vec<usize>) = files.into_iter().partition(|&file| listed.contains(name(file)));
        let names: HashSet<&OsStr> = exact.iter().map(|&file| name(file)).collect();
        // Some file systems list a name in another spelling than it was given: one listed name may be that of one file.
        let mut unknown = listed.iter().filter(|listed| !names.contains(listed.as_os_str())).count();
        exact.iter().for_each(|&file| left[file] = true);
        let mut look = Look::new(Some(held));
        for file in others {
            if unknown > 0 && look.at(&specs[file])?.is_some() {
                left[file] = true;
                unknown -= 1;
            }
        }
    }
    Ok(left)
}

/// The names in a folder; none if it is not there, or if all files lie beside other things that are no part of a download.
fn list(held: &Held, folder: &Path) -> Result<HashSet<OsString>, StorageError> {
    if folder.as_os_str().is_empty() {
        return Ok(HashSet::new());
    }
    match held.folder().entries(folder) {
        Ok(entries) => Ok(entries.into_iter().filter(|(_, is_folder)| !is_folder).map(|(name, _)| name).collect()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(HashSet::new())
        }
        Err(source) => Err(error_at(&held.folder().path().join(folder), source)),
    }
}
