//! Events of a node, broadcast as they happen.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, PeerId, PieceRange};

use crate::disk::left_out::LeftOut;
use crate::disk::left_over::LeftOver;
use crate::error::PeerError;
use crate::status::DownloadStats;

/// Something that happened in a node, for logs and for people. A receiver that falls far behind misses events. What matters
/// about a content is in its [`Status`](crate::Status), whose last value is never missed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PeerEvent {
    /// A file or folder that is to be shared is being hashed. Sent at most ten times a second.
    Hashing {
        /// The path, as it was given.
        path: PathBuf,
        /// Bytes that are done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A file that is to be shared is being written to. The node waits until that is over.
    StillWritten {
        /// The file.
        path: PathBuf,
        /// For how long at most.
        most: Duration,
    },
    /// A folder that is to be shared holds things that are not part of the content: links that lead out of it, special files,
    /// state of these programs. One event per folder.
    Skipped {
        /// What it is, and why.
        left_out: Vec<LeftOut>,
    },
    /// The manifest of a download has arrived.
    Manifest {
        /// The content.
        content: ContentId,
        /// Its name.
        name: String,
        /// Bytes of the files that are wanted.
        size: u64,
        /// Their pieces.
        pieces: u32,
        /// Pieces that are here already: stored by an earlier run, or equal in the file to be replaced.
        have: u32,
        /// Files that are wanted.
        files: u32,
        /// Files of the content, whether they are wanted or not.
        all_files: u32,
        /// Bytes of the content.
        all_size: u64,
    },
    /// An earlier download had left something where this one is built that was of another content, or was changed since then.
    LeftOver {
        /// The content.
        content: ContentId,
        /// What lay there, and how much of it was kept.
        left_over: LeftOver,
    },
    /// A connection to a peer was made, by either side.
    Connected {
        /// The peer.
        peer: PeerId,
        /// Where it is.
        address: SocketAddr,
        /// What carries the connection: `quic`, `tcp`, `relay` or `memory`.
        transport: &'static str,
        /// Whether this side dialled.
        dialled: bool,
    },
    /// A peer that took a content from this node has all that it wants, or has left before.
    Sent {
        /// The content.
        content: ContentId,
        /// The peer.
        peer: PeerId,
        /// Where it is.
        address: SocketAddr,
        /// Bytes of pieces that this node sent to it. It may have others from elsewhere.
        bytes: u64,
        /// Time since it said that it wants the content.
        elapsed: Duration,
        /// Whether it has all that it wants.
        complete: bool,
        /// Whether it is the last receiver of a private share that is for a certain number.
        last: bool,
    },
    /// The sharer of a private content says that the share is over, and why. Others may still share it.
    ShareOver {
        /// The content.
        content: ContentId,
        /// The sentence.
        reason: String,
    },
    /// No connected peer has these pieces. Empty once one has.
    Lacking {
        /// The content.
        content: ContentId,
        /// The pieces.
        runs: Vec<PieceRange>,
    },
    /// The origin of a content brings pieces that no peer has, or brings none at the moment. Sent when that changes.
    Origin {
        /// The content.
        content: ContentId,
        /// The origin, without anything secret.
        origin: String,
        /// Why it brings none. It is tried again.
        failure: Option<String>,
    },
    /// All pieces are verified and written.
    Verified {
        /// The content.
        content: ContentId,
    },
    /// A download is complete: durable, and under its final name.
    Completed {
        /// The content.
        content: ContentId,
        /// Where it is.
        path: PathBuf,
        /// What it took.
        stats: DownloadStats,
    },
    /// A download has failed. What is verified is kept.
    Failed {
        /// The content.
        content: ContentId,
        /// Why.
        error: Arc<PeerError>,
    },
    /// A shared content was changed or removed on disk and is not shared any more.
    Withdrawn {
        /// The content.
        content: ContentId,
        /// Why.
        reason: String,
    },
    /// A peer sent too many wrong pieces and was banned.
    Banned {
        /// The peer.
        peer: PeerId,
    },
    /// The connection to the tracker is lost. Downloads continue with known peers.
    TrackerLost,
    /// The tracker is back.
    TrackerBack,
    /// The tracker is lost and does not come back by itself: another key answers at its address
    /// ([`PeerError::WrongTracker`]), it refuses this node ([`PeerError::Refused`]), or its certificate is not accepted. Sent
    /// once per reason.
    TrackerUnfit {
        /// Who answers, or why it refuses.
        error: Arc<PeerError>,
    },
}
