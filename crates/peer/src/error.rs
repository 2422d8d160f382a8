//! What can go wrong for someone who uses a node: each variant is one exit code of the programs.

use std::path::PathBuf;

use protocol::ContentId;
use storage::StorageError;
use transport::TransportError;

use crate::disk::left_out::LeftOut;
use crate::disk::names::policy::NameDoubt;
use crate::glob::Unmatched;

/// Most names that are said of many.
const NAMED: usize = 10;

/// Why a node did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The tracker does not answer, or proved to be another one.
    #[error("the tracker at {address} cannot be reached: {reason}")]
    Tracker {
        /// What was dialled.
        address: String,
        /// Why it failed.
        reason: TransportError,
    },
    /// Somebody else is where the tracker should be.
    #[error("somebody else answers at {address}: it is not the tracker {expected}, but has another key")]
    WrongTracker {
        /// Where.
        address: std::net::SocketAddr,
        /// Who should have been there.
        expected: protocol::PeerId,
    },
    /// The tracker refused.
    #[error("the tracker refused: {0}")]
    Refused(String),
    /// Nobody shares this.
    #[error("nobody shares {0:?}")]
    NotFound(String),
    /// Nothing can be asked for like this.
    #[error(transparent)]
    Query(#[from] protocol::QueryError),
    /// What a tracker named is called otherwise by those who share it.
    #[error("content {content} is called {found:?}, not {asked:?} as the tracker said: nothing of it is kept")]
    OtherName {
        /// What came.
        content: ContentId,
        /// The name that was asked for.
        asked: String,
        /// The name in its manifest.
        found: String,
    },
    /// The manifest is of a version that came later than this program.
    #[error(
        "the manifest of content {content} is of version {version}, which this program is too old for: get a newer one"
    )]
    TooOld {
        /// The content.
        content: ContentId,
        /// The version.
        version: u8,
    },
    /// The connection to the tracker is down at the moment.
    #[error("there is no tracker at the moment")]
    NoTracker,
    /// The disk did not do what was asked.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The manifest cannot be made or read.
    #[error("{path}: {reason}")]
    Manifest {
        /// The manifest's file, or the file that it speaks of.
        path: PathBuf,
        /// What is wrong with it.
        reason: protocol::ManifestError,
    },
    /// Something that cannot be shared.
    #[error("{path} cannot be shared: {reason}")]
    Unfit {
        /// What it is.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file that is to be shared does not come to rest.
    #[error("{0} is still being written to: shared files must not change")]
    StillWritten(PathBuf),
    /// All that lies in a folder is left out.
    #[error("nothing in {path} can be shared: {}", left_out_words(.left_out))]
    NothingLeft {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        left_out: Vec<LeftOut>,
    },
    /// Something is in the way of a download, and is not what may be replaced.
    #[error("{0} is in the way: only a file is replaced, and only by a file")]
    Irreplaceable(PathBuf),
    /// None of a content's files are wanted.
    #[error("no file of {0:?} has one of the wanted names")]
    NothingChosen(String),
    /// Patterns that match no file of a content.
    #[error("{}", unmatched_words(.content, .patterns))]
    Unmatched {
        /// What the content is called.
        content: String,
        /// The patterns.
        patterns: Vec<Unmatched>,
    },
    /// Names that should not be where the download goes, with the content's name in front, and why.
    #[error("{content:?} is not downloaded because of names in it: {}", listed(.names))]
    Names {
        /// What the content is called.
        content: String,
        /// The files and empty folders.
        names: Vec<(String, NameDoubt)>,
        /// Whether nothing else of it is wanted: without them there is nothing to download.
        all: bool,
    },
    /// A name that cannot be stored here.
    #[error(transparent)]
    Name(#[from] protocol::NameError),
    /// This node takes part in the content already.
    #[error("content {0} is here already")]
    Already(ContentId),
    /// The download was cancelled.
    #[error("the download was cancelled; what is verified is kept")]
    Cancelled,
    /// The files of a content were changed or removed on disk, for this reason.
    #[error("it is not shared any more: {0}")]
    Withdrawn(String),
    /// The node was shut down.
    #[error("the peer is shut down")]
    ShutDown,
}

fn unmatched_words(content: &str, patterns: &[Unmatched]) -> String {
    let quoted: Vec<_> = patterns.iter().take(NAMED).map(|one| format!("{:?}", one.pattern)).collect();
    let more = patterns.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let unclosed = patterns.iter().find_map(|one| Some((&one.pattern, one.unclosed?)));
    let unclosed = unclosed.map_or_else(String::new, |(pattern, at)| {
        format!("; the bracket at character {at} of {pattern:?} is not closed")
    });
    // As the place of a download is written.
    let within = |one: &'_ Unmatched| one.pattern.strip_prefix(content)?.strip_prefix(['/', '\\']).map(str::to_owned);
    let within = patterns.iter().find_map(within);
    let within = within.map_or_else(String::new, |path| format!("; paths begin inside it, as {path:?}"));
    format!("no file of {content:?} is matched by {}{more}{unclosed}{within}", quoted.join(", "))
}

fn listed(names: &[(String, NameDoubt)]) -> String {
    let named = names.iter().take(NAMED).map(|(name, doubt)| format!("{name:?} ({doubt})"));
    let named: Vec<_> = named.collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &more
}

/// The first of what is left out, with the reason, and how many there are.
fn left_out_words(left_out: &[LeftOut]) -> String {
    let named = left_out.iter().take(NAMED).map(|LeftOut { path, reason }| format!("{} ({reason})", path.display()));
    let named: Vec<_> = named.collect();
    let more = left_out.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_begins_with_the_name_of_the_folder_is_told_where_paths_begin() {
        let words =
            |pattern: &str| unmatched_words("fold", &[Unmatched { pattern: pattern.to_owned(), unclosed: None }]);
        let said = "no file of \"fold\" is matched by \"fold/f0.bin\"; paths begin inside it, as \"f0.bin\"";
        assert_eq!(words("fold/f0.bin"), said);
        assert!(words("folder/x").ends_with("by \"folder/x\""), "{}", words("folder/x"));
    }
}
