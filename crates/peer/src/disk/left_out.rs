//! What is left out of a shared folder, and why: nothing is left out silently.

use std::fmt;
use std::path::PathBuf;

/// Something that is no part of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it lies.
    pub path: PathBuf,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why something is no part of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LeftOutReason {
    /// It is, or holds, a private key of these programs.
    PrivateKey,
    /// These programs keep something of their own there: certificates, manifests, a log.
    OwnState,
    /// A download that is not complete.
    Unfinished,
    /// A file manager or the system makes it by itself: `.DS_Store`, `Thumbs.db`, `lost+found`.
    OfSystem,
    /// A link that leads out of what is shared.
    LinkOutside,
    /// A link that leads to nothing.
    LinkToNothing,
    /// A link that leads to a folder in which it lies.
    LinkLoop,
    /// A socket, a pipe or a device.
    NotAFile,
    /// A file that says to be empty and is not, as those that a kernel makes when they are read.
    Unsized,
    /// It was there a moment ago.
    Vanished,
}

impl LeftOutReason {
    /// Whether it is something of the programs' own, and not of the user's.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, LeftOutReason::PrivateKey | LeftOutReason::OwnState | LeftOutReason::Unfinished)
    }
}

impl fmt::Display for LeftOutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeftOutReason::PrivateKey => "it holds a private key of this program",
            LeftOutReason::OwnState => "this program keeps files of its own there",
            LeftOutReason::Unfinished => "it belongs to a download that is not complete",
            LeftOutReason::OfSystem => "a file manager or the system makes it by itself",
            LeftOutReason::LinkOutside => "it is a link that leads out of what is shared",
            LeftOutReason::LinkToNothing => "it is a link to nothing",
            LeftOutReason::LinkLoop => "it is a link to a folder that it lies in",
            LeftOutReason::NotAFile => "it is neither a file nor a folder",
            LeftOutReason::Unsized => "its size is not known before it is read",
            LeftOutReason::Vanished => "it was removed while the folder was read",
        })
    }
}
