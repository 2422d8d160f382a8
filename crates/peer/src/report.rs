//! What reaches the node's one task: commands of the handle, and reports of the tasks that wait for something.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{ContentId, ContentMatch, Manifest, PeerAddress};
use storage::StorageError;
use swarm::{ConnId, Event, RequestId};
use tokio::sync::oneshot;
use transport::Connection;

use crate::disk::content::Opened;
use crate::net::dial_book::WaitingFor;
use crate::net::link::Question;
use crate::net::tracker::{Page, TrackerAddress};
use crate::node::{GetOptions, Progress, Standing};
use crate::{PeerError, ShareOptions};

/// What the handle asks.
pub(crate) enum Command {
    Track { tracker: TrackerAddress, reply: oneshot::Sender<Result<(), PeerError>> },
    AddPeer { content: ContentId, peer: PeerAddress, reply: oneshot::Sender<()> },
    Find { query: String, reply: oneshot::Sender<Result<Vec<ContentMatch>, PeerError>> },
    List { before: Option<u64>, reply: oneshot::Sender<Result<Page, PeerError>> },
    Manifest { content: ContentId, reply: oneshot::Sender<Arc<Manifest>> },
    Share { path: PathBuf, options: ShareOptions, reply: oneshot::Sender<Result<ContentId, PeerError>> },
    Get { content: ContentId, options: GetOptions, reply: oneshot::Sender<Result<(), PeerError>> },
    Read { content: ContentId, first: u32, reply: oneshot::Sender<Result<Option<Bytes>, PeerError>> },
    Progress { content: ContentId, reply: oneshot::Sender<Option<Progress>> },
    Standing { content: ContentId, reply: oneshot::Sender<Standing> },
    WaitingFor { content: ContentId, reply: oneshot::Sender<Option<WaitingFor>> },
    Shutdown { reply: oneshot::Sender<()> },
}

/// What tasks report.
pub(crate) enum Report {
    Event(Event),
    Connected {
        connection: Arc<dyn Connection>,
        dialled: bool,
    },
    Question {
        conn: ConnId,
        question: Question,
    },
    Manifest {
        manifest: Arc<Manifest>,
    },
    Opened {
        content: ContentId,
        result: Result<Opened, PeerError>,
    },
    Shared {
        result: Result<Opened, PeerError>,
        reply: oneshot::Sender<Result<ContentId, PeerError>>,
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
    TrackerLost,
    TrackerBack,
    /// Where the tracker was, somebody else is, or it takes us no more.
    TrackerUnfit {
        error: PeerError,
    },
    /// This machine has other addresses than before.
    Addresses {
        addresses: Vec<SocketAddr>,
    },
}
