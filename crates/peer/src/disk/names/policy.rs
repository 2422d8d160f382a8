//! What may be wrong with a name, what becomes of it then, and what was done.

use std::fmt;

/// What becomes of files with doubtful names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamePolicy {
    /// A download with such names is refused, before anything is written. Names with control characters or invisible marks
    /// are written as they are.
    #[default]
    Default,
    /// The same, and names with control characters or invisible marks are refused as well.
    Refuse,
    /// Files with such names are left out.
    Skip,
    /// They are written under others, from which their own can be read back ([`protocol::mapped_name`]).
    Rename,
}

/// Why a name is doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameDoubt {
    /// Hidden, at the top of a home folder or of the working folder.
    Hidden,
    /// There it would be read by programs of this project, as settings, certificates or manifests; or by others, as in `AppData`.
    Reserved,
    /// This platform does not take it.
    Platform,
    /// The file system there does not take it: for its characters, what it ends with, what it means there, or its length.
    FileSystem,
    /// Another download keeps its state under it.
    State,
    /// It is one with another name of the content here, where upper and lower case or ways to write an accent are the same.
    Twin,
    /// It has control characters or invisible marks.
    Unprintable,
}

impl fmt::Display for NameDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameDoubt::Hidden => "hidden, at the top of a home or working folder",
            NameDoubt::Reserved => "there it would be read by these programs, or by others",
            NameDoubt::Platform => "no file name on this platform",
            NameDoubt::FileSystem => "a name that the file system there does not take",
            NameDoubt::State => "how the state of a download is called",
            NameDoubt::Twin => "the same as another name here",
            NameDoubt::Unprintable => "with control characters or invisible marks",
        })
    }
}

/// What was done about the names of a download. Paths begin with the content's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameReport {
    /// Files and empty folders that were left out.
    pub skipped: Vec<String>,
    /// Files and folders that were written under other names, with the path as it is here.
    pub renamed: Vec<(String, String)>,
    /// Files and folders that were written as they are called, with control characters or invisible marks.
    pub unprintable: Vec<String>,
}

impl NameReport {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.skipped.is_empty() && self.renamed.is_empty() && self.unprintable.is_empty()
    }
}
