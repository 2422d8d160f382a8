//! What lies at a path that is to be shared: one file, or a folder with all that is in it.
//!
//! Names are taken in order, so that equal folders have equal manifests. What is no content is left out, and it is said what
//! and why: special files, what the programs keep for themselves (`own_state`), what systems make by themselves
//! (`storage::is_system_file`), and links that lead out of the folder. A link that stays inside is what it leads to, as if it were
//! copied there. A name that others could not store ends it.

mod readable;
mod walk;

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use atomic_file::{is_gone, real_path};
use protocol::check_name;
use storage::{FileSpec, error_at};

use crate::PeerError;
use crate::disk::file_state::{Change, FileState};
use crate::disk::left_out::{LeftOut, LeftOutReason};
use crate::disk::made_when_read::is_unsized;
use crate::disk::own_state::{Candidate, OwnState};
use readable::must_be_readable;
use walk::Rules;

/// What counts as part of a content.
///
/// ```
/// let options = p2p_fileshare::ScanOptions::new().follow_links(true).own(["certs", "hashes"]);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct ScanOptions {
    /// Whether links are followed that lead out of what is shared. Those that stay inside always are.
    pub follow_links: bool,
    /// Files and folders that this process keeps its own state in: what of it lies in a folder that is shared is left out. Files of
    /// others in such a folder are not.
    pub own: Vec<PathBuf>,
    /// Folders of this process in which nothing else lies: with a folder around them, nothing of them is shared.
    pub own_folders: Vec<PathBuf>,
}

impl ScanOptions {
    /// Default options: links out of the folder are not followed, and only files that are recognised as the programs'
    /// own are left out.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether links are followed that lead out of what is shared.
    pub fn follow_links(mut self, follow: bool) -> Self {
        self.follow_links = follow;
        self
    }

    /// Files and folders that this process keeps its own state in, beside those that were named before.
    pub fn own(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.own.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Folders of this process in which nothing else lies, beside those that were named before.
    pub fn own_folders(mut self, folders: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.own_folders.extend(folders.into_iter().map(Into::into));
        self
    }
}

/// What was found.
pub(crate) struct Scan {
    /// The name of the file or folder.
    pub(crate) name: String,
    pub(crate) folder: bool,
    /// In the order of the manifest.
    pub(crate) files: Vec<ScannedFile>,
    /// Folders in which nothing is.
    pub(crate) empty_folders: Vec<String>,
    /// What is no part of it.
    pub(crate) left_out: Vec<LeftOut>,
    /// Whether files were written to since they were found: they may be something else now.
    pub(crate) stale: bool,
}

/// A file.
pub(crate) struct ScannedFile {
    /// Its path in the content, with `/`.
    pub(crate) path: String,
    pub(crate) at: PathBuf,
    pub(crate) metadata: Metadata,
    state: FileState,
}

impl ScannedFile {
    fn new(path: String, at: PathBuf, metadata: Metadata) -> Self {
        let state = FileState::of(&at, &metadata);
        ScannedFile { path, at, metadata, state }
    }

    pub(crate) fn executable(&self) -> bool {
        executable(&self.metadata)
    }

    pub(crate) fn state(&self) -> &FileState {
        &self.state
    }

    /// What lies there now; nothing if no file does any more.
    pub(crate) fn look_again(&self) -> Result<Option<ScannedFile>, PeerError> {
        match fs::metadata(&self.at) {
            Ok(now) if now.is_file() => Ok(Some(Self::new(self.path.clone(), self.at.clone(), now))),
            Ok(_) => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error_at(&self.at, error).into()),
        }
    }
}

impl Scan {
    /// Looks at a path. A link that is named itself is followed: what it leads to is meant.
    pub(crate) fn of(path: &Path, options: &ScanOptions) -> Result<Self, PeerError> {
        let scan = Self::of_anything(path)?;
        let real_root = real_path(path).map_err(|source| error_at(path, source))?;
        let own = OwnState::of(&options.own, &options.own_folders);
        let metadata = fs::metadata(path).map_err(|source| error_at(path, source))?;
        // A link to a key is a key, whatever it is called.
        for at in [path, &real_root] {
            let reason = own.why(&Candidate { at, real: &real_root, metadata: &metadata });
            if let Some(reason) = reason.map_err(|source| error_at(at, source))? {
                return Err(unfit(path, &reason.to_string()));
            }
        }
        if !scan.folder {
            must_be_readable(path)?;
            return Ok(scan);
        }
        let scan = scan.walk_all(path, real_root, Some(Rules { own, options }))?;
        // A folder that a file manager has been in is as empty as before.
        if scan.files.is_empty() && scan.left_out.iter().any(|left_out| left_out.reason != LeftOutReason::OfSystem) {
            return Err(PeerError::NothingLeft { path: path.to_owned(), left_out: scan.left_out });
        }
        Ok(scan)
    }

    /// All that lies there, whatever it is; links are left out, and what systems make by themselves is passed over.
    pub(crate) fn of_all(path: &Path) -> Result<Self, PeerError> {
        let scan = Self::of_anything(path)?;
        let real_root = real_path(path).map_err(|source| error_at(path, source))?;
        if scan.folder { scan.walk_all(path, real_root, None) } else { Ok(scan) }
    }

    /// A file, whatever it is; of a folder, nothing but its name.
    fn of_anything(path: &Path) -> Result<Self, PeerError> {
        let metadata = fs::metadata(path).map_err(|source| error_at(path, source))?;
        // `.` and `..` have a name all the same.
        let named = match path.file_name() {
            Some(_) => path.to_owned(),
            None => real_path(path).map_err(|source| error_at(path, source))?,
        };
        let name = named.file_name().ok_or_else(|| unfit(path, "it has no name: choose something in it"))?;
        let name = safe_name(&named, name)?;
        let folder = metadata.is_dir();
        let (files, empty_folders, left_out) = Default::default();
        let mut scan = Scan { name, folder, files, empty_folders, left_out, stale: false };
        if is_unsized(path, &metadata) {
            return Err(unfit(path, &LeftOutReason::Unsized.to_string()));
        }
        if metadata.is_file() {
            scan.files.push(ScannedFile::new(scan.name.clone(), path.to_owned(), metadata));
        } else if !folder {
            return Err(unfit(path, &LeftOutReason::NotAFile.to_string()));
        }
        Ok(scan)
    }

    /// Bytes of the files.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        self.files.iter().map(|file| file.metadata.len()).collect()
    }

    /// The files, to be opened where they lie.
    pub(crate) fn specs(&self) -> Vec<FileSpec> {
        self.files.iter().map(|file| FileSpec { path: file.at.clone(), size: file.metadata.len() }).collect()
    }

    /// A file that `now` has not, or that is left out by now, if there is one.
    pub(crate) fn file_not_in(&self, now: &Scan) -> Option<&ScannedFile> {
        let there: HashSet<_> = now.files.iter().map(|file| &file.path).collect();
        self.files.iter().find(|file| !there.contains(&file.path))
    }

    /// A file that is not what it was when it was found, if there is one.
    pub(crate) fn changed_file(&self) -> Result<Option<&ScannedFile>, PeerError> {
        for file in &self.files {
            let now = file.look_again()?;
            if now.is_none_or(|now| file.state().change(now.state()) != Change::None) {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}

fn safe_name(path: &Path, name: &std::ffi::OsStr) -> Result<String, PeerError> {
    let name =
        name.to_str().ok_or_else(|| unfit(path, "its name is not Unicode, so others could not store it. Rename it"))?;
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

    fn scan(path: &Path) -> Scan {
        Scan::of(path, &ScanOptions::default()).unwrap()
    }

    fn paths(scan: &Scan) -> Vec<&str> {
        scan.files.iter().map(|file| file.path.as_str()).collect()
    }

    /// What was left out, by its name.
    #[cfg(unix)]
    fn left_out(scan: &Scan) -> Vec<(&str, LeftOutReason)> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut all: Vec<_> =
            scan.left_out.iter().map(|left_out| (&*name(&left_out.path).leak(), left_out.reason)).collect();
        all.sort_unstable();
        all
    }

    /// Makes files with their paths as bytes, and the folders to them.
    fn write_all(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_a_kernel_makes_when_it_is_read_is_not_shared_as_an_empty_one() {
        for path in ["/proc/version", "/proc/self/mem", "/proc/self", "/proc"] {
            let error = Scan::of(Path::new(path), &ScanOptions::default()).err().unwrap().to_string();
            assert!(error.contains("size is not known"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path(), &["root/file"]);
        fs::write(folder.path().join("root/empty"), "").unwrap();
        std::os::unix::fs::symlink("/proc/version", folder.path().join("root/link")).unwrap();
        let options = ScanOptions { follow_links: true, ..ScanOptions::default() };
        let found = Scan::of(&folder.path().join("root"), &options).unwrap();
        assert_eq!((paths(&found), left_out(&found)), (vec!["empty", "file"], vec![("link", LeftOutReason::Unsized)]));
    }

    /// What a look at a folder with a file manager changes is no part of it, and what was shared stays what it is.
    #[test]
    fn what_systems_make_by_themselves_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        write_all(&root, &["a", "sub/b"]);
        fs::create_dir(root.join("empty")).unwrap();
        let before = scan(&root);
        write_all(&root, &[".DS_Store", "sub/Thumbs.db", "sub/@eaDir/b/SYNO", "empty/desktop.ini", "lost+found/#12"]);
        let found = scan(&root);
        assert_eq!((paths(&found), &found.empty_folders), (paths(&before), &before.empty_folders));
        let names = ["@eaDir", ".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"];
        let is_left_out = |name: &str| {
            found
                .left_out
                .iter()
                .any(|left_out| left_out.path.ends_with(name) && left_out.reason == LeftOutReason::OfSystem)
        };
        assert!(names.into_iter().all(is_left_out) && found.left_out.len() == names.len(), "{:?}", found.left_out);
        // What is named itself is meant, and a folder in which nothing else lies is an empty one.
        assert_eq!(paths(&scan(&root.join(".DS_Store"))), [".DS_Store"]);
        assert!(scan(&root.join("empty")).files.is_empty());
    }

    #[test]
    fn everything_is_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for path in ["a/empty", "c/empty"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        write_all(&root, &["z", "a/deep/er/file", "a/first", "b/x"]);
        let scan = scan(&root);
        assert_eq!(paths(&scan), ["a/deep/er/file", "a/first", "b/x", "z"]);
        assert_eq!(scan.empty_folders, ["a/empty", "c/empty"]);
        assert!(scan.folder && scan.name == "root" && scan.left_out.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_that_stay_inside_are_followed_and_others_only_if_that_is_said() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        write_all(folder.path(), &["root/lib/so.1", "root/b/file", "secret", "outside/x"]);
        for (target, link) in [
            ("so.1", "lib/so"),
            ("lib", "lib64"),
            ("../secret", "out"),
            ("../outside", "tree"),
            ("nowhere", "dangling"),
            ("ring", "ring"),
            ("..", "b/up"),
            (".", "self"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let found = scan(&root);
        assert_eq!(paths(&found), ["b/file", "lib/so", "lib/so.1", "lib64/so", "lib64/so.1"]);
        assert_eq!(found.files[1].at, root.join("lib/so.1"), "no link is on the way to what is read");
        let lost = [
            ("dangling", LeftOutReason::LinkToNothing),
            ("out", LeftOutReason::LinkOutside),
            ("ring", LeftOutReason::LinkToNothing),
            ("self", LeftOutReason::LinkLoop),
            ("tree", LeftOutReason::LinkOutside),
            ("up", LeftOutReason::LinkLoop),
        ];
        assert_eq!(left_out(&found), lost);
        let all = Scan::of(&root, &ScanOptions { follow_links: true, ..ScanOptions::default() }).unwrap();
        assert!(paths(&all).contains(&"out") && paths(&all).contains(&"tree/x"));
    }

    #[cfg(unix)]
    #[test]
    fn a_snapshot_of_a_model_cache_is_whole_and_one_of_links_to_elsewhere_is_refused() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path(), &["models--o--m/blobs/1111", "models--o--m/blobs/2222", "elsewhere/3333"]);
        let snapshot = folder.path().join("models--o--m/snapshots/abc");
        fs::create_dir_all(snapshot.join("sub")).unwrap();
        symlink("../../blobs/1111", snapshot.join("model.safetensors")).unwrap();
        symlink("../../../blobs/2222", snapshot.join("sub/t.json")).unwrap();
        assert_eq!(paths(&scan(&snapshot)), ["model.safetensors", "sub/t.json"]);
        let whole = scan(&folder.path().join("models--o--m"));
        assert_eq!(whole.files.len(), 4, "the blobs, and what they are called");
        symlink("../../../elsewhere/3333", snapshot.join("other")).unwrap();
        assert_eq!(left_out(&scan(&snapshot)), [("other", LeftOutReason::LinkOutside)]);
        let links = folder.path().join("links");
        fs::create_dir(&links).unwrap();
        symlink("../elsewhere/3333", links.join("model")).unwrap();
        let error = Scan::of(&links, &ScanOptions::default()).err().unwrap();
        assert!(matches!(error, PeerError::NothingLeft { .. }), "{error}");
        assert!(error.to_string().contains("model (it is a link that leads out"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_may_not_be_read_is_named_before_anything_is_hashed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        write_all(&root, &["a/file", "b/file"]);
        let denied = root.join("b/file");
        fs::set_permissions(&denied, fs::Permissions::from_mode(0o000)).unwrap();
        let found = Scan::of(&root, &ScanOptions::default());
        if crate::disk::made_when_read::open_at_once(&denied).is_ok() {
            // Root reads everything.
            assert_eq!(paths(&found.unwrap()), ["a/file", "b/file"]);
            return;
        }
        let error = found.err().unwrap();
        assert!(
            matches!(&error, PeerError::Storage(storage::StorageError::Denied(path)) if *path == denied),
            "{error}"
        );
        assert_eq!(paths(&Scan::of_all(&root).unwrap()), ["a/file", "b/file"], "what is only compared is not shared");
        fs::write(root.join("empty"), "").unwrap();
        fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o000)).unwrap();
        assert!(Scan::of(&root.join("empty"), &ScanOptions::default()).is_err(), "what it holds is not known");
    }

    #[cfg(unix)]
    #[test]
    fn links_between_folders_end_somewhere() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path(), &["a/file", "b/file", "c/file"]);
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c")] {
            symlink(format!("../{to}"), folder.path().join(from).join(to)).unwrap();
        }
        let found = scan(folder.path());
        assert!(paths(&found).contains(&"a/b/c/file"));
        assert!(left_out(&found).iter().all(|(_, reason)| *reason == LeftOutReason::LinkLoop));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_not_unicode_is_named() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"bad \xff")), "").unwrap();
        let error = Scan::of(folder.path(), &ScanOptions::default()).err().unwrap().to_string();
        assert!(error.contains("bad ") && error.contains("not Unicode"), "{error}");
    }
}
