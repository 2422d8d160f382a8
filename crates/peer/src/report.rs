//! What tasks that wait for something tell the driver.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lan::Holder;
use protocol::{ContentId, Manifest, PeerAddress, PeerId, PieceRange, Secret, TrackerInstance};
use storage::StorageError;
use swarm::{ConnId, Event, NamedReceivers, RequestId};
use tokio::sync::{oneshot, watch};
use transport::{Connection, SendStream};

use crate::disk::content::Opened;
use crate::error::PeerError;
use crate::net::let_in::{Approached, LetIn};
use crate::status::Status;
use crate::tracker_status::TrackerNumber;

/// A question of another peer, with the stream that its answer goes to.
pub(crate) enum Question {
    /// For a manifest.
    Manifest { content: ContentId, stream: Box<dyn SendStream> },
    /// For pieces.
    Pieces { content: ContentId, run: PieceRange, awaited: bool, stream: Box<dyn SendStream> },
    /// For pieces that are offered first, at most so many bytes of them.
    FirstPieces { content: ContentId, most: u64, stream: Box<dyn SendStream> },
    /// For the cap on what is sent.
    UpRate { content: ContentId, stream: Box<dyn SendStream> },
    /// No question: the other side says with whom it shares a content.
    Receivers { content: ContentId, list: NamedReceivers },
}

/// What a handle is of: a content may be given up and begun again, and a handle from before has nothing to do with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentKey {
    pub(crate) content: ContentId,
    pub(crate) instance: u64,
}

/// A content that is shared or downloaded from now on, and how it stands.
pub(crate) struct Begun {
    pub(crate) key: ContentKey,
    pub(crate) status: watch::Receiver<Status>,
}

/// How a tracker is.
pub(crate) enum TrackerNews {
    /// It has said welcome.
    Welcome {
        id: PeerId,
        instance: TrackerInstance,
        at: SocketAddr,
        /// Where its name led when it was looked up last, if it is asked for by a name.
        leads_to: Option<Vec<SocketAddr>>,
    },
    Lost,
    /// The address leads to a tracker that another client has.
    Taken,
    /// Where it was, somebody else is, or it takes us no more.
    Unfit(PeerError),
}

/// What tasks report.
pub(crate) enum Report {
    Event(Event),
    Connected {
        connection: Arc<dyn Connection>,
        dialled: bool,
    },
    /// What is said first on a connection was said.
    LetIn(Box<LetIn>),
    /// A peer has answered that may be the sharer of a private share.
    Approached(Box<Approached>),
    /// It is not known by now what the share is of.
    ApproachOver,
    /// A peer that was dialled for private shares proved none.
    NotLetIn {
        peer: PeerId,
        reason: String,
    },
    /// The other side has ended a connection by itself.
    Left {
        conn: ConnId,
    },
    /// The other side says why what it shares is over.
    ShareOver {
        conn: ConnId,
        reason: String,
    },
    Question {
        conn: ConnId,
        question: Question,
    },
    Manifest {
        manifest: Arc<Manifest>,
    },
    /// It is of a later version than this program knows.
    ManifestTooNew {
        content: ContentId,
        version: u8,
    },
    /// It was time for the manifest to come, in the attempt of this number to open a download.
    ManifestLacks {
        content: ContentId,
        attempt: u64,
    },
    /// What was read from an origin did not come, or not as it should.
    OriginFailed {
        content: ContentId,
        reason: String,
    },
    /// The attempt of this number to open a download has ended.
    Opened {
        content: ContentId,
        attempt: u64,
        result: Result<Opened, PeerError>,
    },
    Shared {
        result: Result<Opened, PeerError>,
        /// Most bytes a second that are sent of it.
        up: Option<u64>,
        /// If it is private.
        secret: Option<Secret>,
        reply: oneshot::Sender<Result<Begun, PeerError>>,
    },
    /// Pieces were verified: those that are right are stored.
    Stored {
        request: RequestId,
        content: ContentId,
        verdicts: Vec<(u32, bool)>,
    },
    DiskFailed {
        content: ContentId,
        error: StorageError,
    },
    SourceFailed {
        content: ContentId,
        error: StorageError,
    },
    Completed {
        content: ContentId,
        result: Result<PathBuf, PeerError>,
    },
    /// Somebody watches this content: the tracker is to be told how we stand with it, for a while.
    Watched {
        number: TrackerNumber,
        content: ContentId,
    },
    /// How a tracker is.
    Tracker {
        number: TrackerNumber,
        news: TrackerNews,
    },
    /// A tracker has named peers of a content, and others that are gone.
    Introduced {
        number: TrackerNumber,
        content: ContentId,
        joined: Vec<PeerAddress>,
        gone: Vec<PeerId>,
    },
    /// Where the name of the tracker of this number in the list leads to by now.
    Resolved {
        place: usize,
        found: Vec<SocketAddr>,
    },
    /// Somebody on the local network takes part in a content that is wanted.
    Met(Holder),
    /// This machine has other addresses than before.
    Addresses {
        addresses: Vec<SocketAddr>,
    },
}
