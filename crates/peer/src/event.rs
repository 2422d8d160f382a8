//! What a node tells of as it happens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::{ContentId, PeerId, Run};

use crate::disk::left_out::LeftOut;
use crate::error::PeerError;
use crate::status::DownloadStats;

/// What happens in a node, for logs and for people who watch. A watcher that falls far behind misses some: what matters of a
/// content is in its [`Status`](crate::Status), which nobody misses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PeerEvent {
    /// What is to be shared is being hashed; ten times a second at most.
    Hashing {
        /// What is hashed, as it was asked for.
        path: PathBuf,
        /// Bytes that are done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// What is to be shared is being written to: it is waited for.
    StillWritten {
        /// The file.
        path: PathBuf,
    },
    /// Something lies in a folder that is to be shared and is no part of the content: links that lead elsewhere, special files,
    /// the programs' own state. One event of each folder, however many they are.
    Skipped {
        /// What it is, and why.
        left_out: Vec<LeftOut>,
    },
    /// The manifest of a wanted content is here; `have` pieces of it were stored already.
    Manifest {
        /// The content.
        content: ContentId,
        /// Its name.
        name: String,
        /// Bytes; of the files that are wanted, if not all are.
        size: u64,
        /// Pieces of them in all.
        pieces: u32,
        /// Pieces that an earlier run had stored, or that the file to be replaced has too.
        have: u32,
    },
    /// A connection to a peer stands.
    Connected {
        /// The peer.
        peer: PeerId,
        /// Where it is.
        address: SocketAddr,
        /// What carries the connection: `quic`, `tcp` or `memory`.
        transport: &'static str,
    },
    /// Nobody who is connected has these pieces; empty once someone has.
    Lacking {
        /// The content.
        content: ContentId,
        /// The pieces.
        runs: Vec<Run>,
    },
    /// All pieces are verified and written.
    Verified {
        /// The content.
        content: ContentId,
    },
    /// The file is durable and has its final name.
    Completed {
        /// The content.
        content: ContentId,
        /// Where it is.
        path: PathBuf,
        /// What it took.
        stats: DownloadStats,
    },
    /// The download has failed and was given up.
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
    /// A peer sent too many wrong pieces and is shut out.
    Banned {
        /// The peer.
        peer: PeerId,
    },
    /// The tracker is lost; downloads go on with the peers that are known.
    TrackerLost,
    /// The tracker is back.
    TrackerBack,
    /// The tracker is lost, and where it was somebody else answers ([`PeerError::WrongTracker`]), or it refuses us
    /// ([`PeerError::Refused`]), or its certificate will not do: it does not come back by itself. Said once of each reason.
    TrackerUnfit {
        /// Who answers, or why it refuses.
        error: Arc<PeerError>,
    },
}
