//! What outlives a daemon: what is shared and wanted, in which order, what is paused, and the limits. One JSON file, for its
//! owner alone, since tickets stand in it; it is written whole before a request is answered.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use atomic_file::Readers;
use serde::{Deserialize, Serialize};

use crate::control::Kind;

/// Version of the file.
const VERSION: u32 = 1;
const FILE: &str = "daemon.json";
const LOCK: &str = "daemon.lock";
/// Largest file that is written and read.
const LARGEST: u64 = 64 << 20;
/// Numbers of contents are smaller.
const NUMBERS: u64 = 1 << 53;
/// Most contents.
pub const MOST_CONTENTS: usize = 20_000;

/// Why a daemon has no state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another daemon has it.
    #[error(
        "a daemon runs with this state already, which {0} shows: control that one, or give this one another folder with --state"
    )]
    InUse(PathBuf),
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It would be larger than what is read.
    #[error("{0} would have more than {most} MiB: remove some contents", most = LARGEST >> 20)]
    TooLarge(PathBuf),
    /// It is not what a daemon has written.
    #[error("{path} cannot be read: {reason}. To begin with nothing, move it away")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Version of the file; set when it is written.
    pub v: u32,
    /// Limits in bytes a second; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<u64>,
    /// Likewise for what is received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<u64>,
    /// The number of the next content.
    pub next: u64,
    /// In the order in which they are downloaded.
    pub contents: Vec<SavedContent>,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct AnyVersion {
    v: u32,
}

/// A content that is shared or wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedContent {
    /// Its number.
    pub number: u64,
    /// Whether it is shared or downloaded.
    pub kind: Kind,
    /// The path that is shared, or the folder to download into.
    pub path: String,
    /// Of a download, its ticket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ticket: String,
    /// Of a download, its content, once it is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// Of a download, its name, once it is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Of a download that was complete, where it lies.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub complete: String,
    /// Whether different files are replaced, until it is complete: what is changed later is its user's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Patterns of files that are wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Whether it is paused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

impl SavedContent {
    /// Has it downloaded, and different files replaced.
    pub(crate) fn replace_different(&mut self) {
        self.force = true;
        self.complete.clear();
    }

    /// It lies there now.
    pub(crate) fn completed_at(&mut self, path: String) {
        self.complete = path;
        self.force = false;
    }
}

/// The folder of the state, which one daemon has at a time.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Locked for as long as this daemon lives, however it ends.
    _lock: File,
}

impl Store {
    /// Takes the state in a folder, which is made.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        make_folder(folder).map_err(io(folder))?;
        let at = folder.join(LOCK);
        let Some(lock) = crate::lock::take(&at).map_err(io(&at))? else { return Err(StateError::InUse(at)) };
        atomic_file::sweep(folder);
        Ok(Store { path: folder.join(FILE), _lock: lock })
    }

    /// What was written last; nothing at the first start.
    pub fn load(&self) -> Result<Saved, StateError> {
        let path = || self.path.clone();
        let damaged = |reason: String| StateError::Damaged { path: path(), reason };
        let mut bytes = Vec::new();
        match atomic_file::open_patiently(|| File::open(&self.path)) {
            Ok(file) => file
                .take(LARGEST + 1)
                .read_to_end(&mut bytes)
                .map_err(|source| StateError::Io { path: path(), source })?,
            Err(error) if atomic_file::is_gone(&error) => {
                return Ok(Saved { v: VERSION, next: 1, ..Saved::default() });
            }
            Err(source) => return Err(StateError::Io { path: path(), source }),
        };
        if bytes.len() as u64 > LARGEST {
            return Err(damaged("it is too large".to_owned()));
        }
        // Of another version nothing else is known.
        let AnyVersion { v } = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if v != VERSION {
            return Err(damaged(format!("it is of version {v}, which this program does not know")));
        }
        let mut saved: Saved = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if saved.contents.len() > MOST_CONTENTS {
            return Err(damaged(format!("it has more than {MOST_CONTENTS} contents")));
        }
        let mut numbers = HashSet::new();
        for content in &mut saved.contents {
            if content.number >= NUMBERS || !numbers.insert(content.number) {
                return Err(damaged(format!("number {} is too large, or there twice", content.number)));
            }
            // An earlier version has kept it beyond that.
            content.force &= content.complete.is_empty();
        }
        if saved.next >= NUMBERS {
            return Err(damaged(format!("the next number, {}, is too large", saved.next)));
        }
        Ok(saved)
    }

    /// An error about its file.
    pub(crate) fn failed(&self, source: io::Error) -> StateError {
        StateError::Io { path: self.path.clone(), source }
    }

    /// Writes it. When this returns, it outlives the process and the machine.
    pub fn save(&self, saved: &Saved) -> Result<(), StateError> {
        let mut saved = saved.clone();
        saved.v = VERSION;
        let bytes = serde_json::to_vec(&saved).map_err(|error| self.failed(error.into()))?;
        if bytes.len() as u64 > LARGEST {
            return Err(StateError::TooLarge(self.path.clone()));
        }
        atomic_file::replace(&self.path, &bytes, Readers::Owner).map_err(|source| self.failed(source))
    }
}

/// The files of the state in a folder, of which nothing is to be shared.
pub fn files(folder: &Path) -> [PathBuf; 2] {
    [FILE, LOCK].map(|name| folder.join(name))
}

/// Makes the folder of the state, for its owner alone.
#[cfg(unix)]
pub fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes the folder of the state, with the rights of the folder around it: on Windows that is the user's own.
#[cfg(not(unix))]
pub fn make_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.load().unwrap().contents, []);
        let content = SavedContent { number: 7, path: "/a\nb".to_owned(), paused: true, ..SavedContent::default() };
        let saved = Saved { v: VERSION, up: Some(3), down: None, next: 8, contents: vec![content] };
        store.save(&saved).unwrap();
        assert_eq!(store.load().unwrap(), saved);
    }

    #[test]
    fn what_is_complete_is_not_replaced_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let json =
            r#"{"v":1,"next":3,"contents":[{"number":1,"force":true,"complete":"/a"},{"number":2,"force":true}]}"#;
        std::fs::write(folder.path().join(FILE), json).unwrap();
        let saved = Store::open(folder.path()).unwrap().load().unwrap();
        assert_eq!(saved.contents.iter().map(|content| content.force).collect::<Vec<_>>(), [false, true]);
        let mut content = saved.contents[1].clone();
        content.completed_at("/b".to_owned());
        assert!(!content.force);
        content.replace_different();
        assert!(content.force && content.complete.is_empty(), "it is downloaded again");
    }

    #[test]
    fn one_daemon_has_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StateError::InUse(_))));
        drop(store);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn damaged_state_is_named_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let largest = r#"{"v":1,"next":1,"contents":[{"number":18446744073709551615}]}"#;
        let next = r#"{"v":1,"next":18446744073709551615,"contents":[]}"#;
        let twice = r#"{"v":1,"next":3,"contents":[{"number":2},{"number":2}]}"#;
        for bytes in ["", "{", "{\"v\":9,\"next\":1,\"contents\":[]}", "[]", largest, next, twice] {
            std::fs::write(&path, bytes).unwrap();
            let error = Store::open(folder.path()).unwrap().load().unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{bytes}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn state_of_another_version_is_said_to_be_whatever_else_it_has() {
        let folder = tempfile::tempdir().unwrap();
        for json in [r#"{"v":9}"#, r#"{"v":9,"contents":{"one":1}}"#] {
            std::fs::write(folder.path().join(FILE), json).unwrap();
            let error = Store::open(folder.path()).unwrap().load().unwrap_err().to_string();
            assert!(error.contains("it is of version 9"), "{error}");
        }
    }

    #[test]
    fn nothing_is_written_that_could_not_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let content = SavedContent { path: "x".repeat(33 << 20), ..SavedContent::default() };
        let saved = Saved { contents: vec![content.clone(), content], ..Saved::default() };
        assert!(matches!(store.save(&saved), Err(StateError::TooLarge(_))));
        assert_eq!(store.load().unwrap().contents, []);
    }

    #[cfg(unix)]
    #[test]
    fn tickets_in_it_are_for_its_owner_alone() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        Store::open(&own).unwrap().save(&Saved::default()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&own), mode(&own.join(FILE)), mode(&own.join(LOCK))), (0o700, 0o600, 0o600));
    }
}
