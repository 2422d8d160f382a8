//! What lies at a path that is to be shared: one file, or a folder with all that is in it.
//!
//! Names are taken in order, so that equal folders have equal manifests. Links and special files (sockets, devices) are no
//! content: they are left out, and it is said which. A name that others could not store ends it.

use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use protocol::{MAX_FILES, check_name};
use storage::{FileSpec, error_at};

use crate::PeerError;

/// What was found.
pub(crate) struct Survey {
    /// The name of the file or folder.
    pub(crate) name: String,
    pub(crate) folder: bool,
    /// In the order of the manifest.
    pub(crate) files: Vec<Found>,
    /// Folders in which nothing is.
    pub(crate) empty_folders: Vec<String>,
    /// What is neither file nor folder.
    pub(crate) skipped: Vec<PathBuf>,
}

/// A file.
pub(crate) struct Found {
    /// Its path in the content, with `/`.
    pub(crate) path: String,
    pub(crate) at: PathBuf,
    pub(crate) metadata: Metadata,
}

impl Found {
    pub(crate) fn executable(&self) -> bool {
        executable(&self.metadata)
    }
}

impl Survey {
    /// Looks at a path. A link that is named itself is followed: whoever names it means what it leads to.
    pub(crate) fn of(path: &Path) -> Result<Self, PeerError> {
        let metadata = fs::metadata(path).map_err(|source| error_at(path, source))?;
        // `.` and `..` have a name all the same.
        let named = match path.file_name() {
            Some(_) => path.to_owned(),
            None => path.canonicalize().map_err(|source| error_at(path, source))?,
        };
        let name = safe_name(&named, named.file_name().unwrap_or_default())?;
        let folder = metadata.is_dir();
        let mut survey = Survey { name, folder, files: Vec::new(), empty_folders: Vec::new(), skipped: Vec::new() };
        if folder {
            survey.walk(path, "")?;
        } else if metadata.is_file() {
            let path_inside = survey.name.clone();
            survey.files.push(Found { path: path_inside, at: path.to_owned(), metadata });
        } else {
            return Err(unfit(path, "it is neither a file nor a folder"));
        }
        Ok(survey)
    }

    fn walk(&mut self, folder: &Path, inside: &str) -> Result<(), PeerError> {
        let read = || -> io::Result<Vec<(PathBuf, FileType)>> {
            let entries =
                fs::read_dir(folder)?.map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))));
            entries.collect()
        };
        let mut entries = read().map_err(|source| error_at(folder, source))?;
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        let before = self.files.len() + self.empty_folders.len();
        for (at, kind) in entries {
            if !kind.is_file() && !kind.is_dir() {
                self.skipped.push(at);
                continue;
            }
            let name = safe_name(&at, at.file_name().unwrap_or_default())?;
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            if kind.is_dir() {
                self.walk(&at, &path)?;
            } else {
                let metadata = fs::symlink_metadata(&at).map_err(|source| error_at(&at, source))?;
                self.files.push(Found { path, at, metadata });
            }
            if self.files.len() > MAX_FILES || self.empty_folders.len() > MAX_FILES {
                return Err(unfit(
                    folder,
                    &format!("a content may have at most {MAX_FILES} files: share its parts, or an archive"),
                ));
            }
        }
        if self.files.len() + self.empty_folders.len() == before && !inside.is_empty() {
            self.empty_folders.push(inside.to_owned());
        }
        Ok(())
    }

    /// Bytes of the files.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        self.files.iter().map(|file| file.metadata.len()).collect()
    }

    /// The files, to be opened where they lie.
    pub(crate) fn specs(&self) -> Vec<FileSpec> {
        self.files.iter().map(|file| FileSpec { path: file.at.clone(), size: file.metadata.len() }).collect()
    }
}

fn safe_name(path: &Path, name: &std::ffi::OsStr) -> Result<String, PeerError> {
    let name = name.to_str().ok_or_else(|| unfit(path, "its name is not Unicode, so others could not store it"))?;
    check_name(name).map_err(|error| unfit(path, &error.to_string()))?;
    Ok(name.to_owned())
}

fn unfit(path: &Path, reason: &str) -> PeerError {
    PeerError::Unfit { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(unix)]
fn executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn executable(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_found_in_order_and_links_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for path in ["b", "a/deep/er", "a/empty", "c/empty"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in ["z", "a/deep/er/file", "a/first", "b/x"] {
            fs::write(root.join(path), path).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("z", root.join("link")).unwrap();
        let survey = Survey::of(&root).unwrap();
        let paths: Vec<_> = survey.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/deep/er/file", "a/first", "b/x", "z"]);
        assert_eq!(survey.empty_folders, ["a/empty", "c/empty"]);
        assert!(survey.folder && survey.name == "root");
        #[cfg(unix)]
        assert_eq!(survey.skipped, [root.join("link")]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_not_unicode_is_named() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"bad \xff")), "").unwrap();
        let error = Survey::of(folder.path()).err().unwrap().to_string();
        assert!(error.contains("bad ") && error.contains("not Unicode"), "{error}");
    }
}
