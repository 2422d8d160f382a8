//! What the handles ask of the driver.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use protocol::{ContentId, ContentMatch, Manifest, PeerAddress, PeerId, Secret};
use storage::Fallback;
use tokio::sync::{mpsc, oneshot};

use crate::config::DownloadOptions;
use crate::disk::content::FileTable;
use crate::disk::share::ShareOptions;
use crate::error::PeerError;
use crate::net::dial_book::WaitingFor;
use crate::net::tracker::{Joined, Page, TrackerAddress, WatchedPage};
use crate::overview::Overview;
use crate::read_memory::ReadMemory;
use crate::report::{Begun, ContentKey};
use crate::status::Status;
use crate::tracker_status::{TrackerNumber, TrackerStatus};

/// Which cap is changed, and to what.
pub(crate) enum Rates {
    Up(Option<u64>),
    Down(Option<u64>),
}

/// Where a reader is, and how far it will read.
pub(crate) struct ReaderPlace {
    /// Which reader it is, of all that there were in this process.
    pub(crate) reader: u64,
    /// Gone when the reader is.
    pub(crate) alive: Weak<()>,
    pub(crate) offset: u64,
    pub(crate) end: u64,
    /// Most bytes ahead of it that come before others: none where it can wait.
    pub(crate) most_ahead: u64,
    /// What its blocks may take, if that is bounded.
    pub(crate) memory: Option<ReadMemory>,
}

/// What a handle to an open content needs.
pub(crate) struct OpenedContent {
    pub(crate) begun: Begun,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) files: FileTable,
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, PeerError>>;

pub(crate) enum Command {
    Track {
        trackers: Vec<TrackerAddress>,
        /// Of the private share whose ticket names the tracker, which is the only one then.
        secret: Option<Secret>,
        reply: Reply<Joined>,
    },
    AddPeer {
        content: ContentId,
        peer: PeerAddress,
        reply: oneshot::Sender<()>,
    },
    /// How the trackers are.
    Trackers {
        reply: oneshot::Sender<Vec<TrackerStatus>>,
    },
    /// Where the trackers are that live, best first for this content.
    Places {
        content: ContentId,
        reply: oneshot::Sender<Vec<(PeerId, SocketAddr)>>,
    },
    Find {
        tracker: TrackerNumber,
        query: String,
        reply: Reply<Vec<ContentMatch>>,
    },
    List {
        tracker: TrackerNumber,
        before: Option<u64>,
        reply: Reply<Page>,
    },
    Watch {
        content: ContentId,
        after: Option<u64>,
        reply: Reply<WatchedPage>,
    },
    Manifest {
        content: ContentId,
        secret: Option<Secret>,
        origin: Option<Arc<dyn Fallback>>,
        reply: oneshot::Sender<Arc<Manifest>>,
    },
    /// The sharer of a private share is at one of these addresses, beside its tracker.
    Approach {
        addresses: Vec<SocketAddr>,
        secret: Secret,
        reply: oneshot::Sender<()>,
    },
    /// This content is about to be downloaded.
    Expect {
        content: ContentId,
        secret: Option<Secret>,
        reply: oneshot::Sender<()>,
    },
    /// It is not, after all.
    Unexpect {
        content: ContentId,
        reply: oneshot::Sender<()>,
    },
    Share {
        path: PathBuf,
        options: ShareOptions,
        reply: Reply<Begun>,
    },
    Download {
        content: ContentId,
        options: DownloadOptions,
        reply: Reply<Begun>,
    },
    Pause {
        key: ContentKey,
        reply: oneshot::Sender<()>,
    },
    Resume {
        key: ContentKey,
        reply: oneshot::Sender<()>,
    },
    /// Takes no part in a content any more.
    Stop {
        key: ContentKey,
        reply: oneshot::Sender<()>,
    },
    /// The next bytes of a content for a reader, once they are verified; nothing behind its end.
    Read {
        key: ContentKey,
        place: ReaderPlace,
        reply: Reply<Bytes>,
    },
    /// A handle to a content whose files are open.
    Open {
        content: ContentId,
        reply: oneshot::Sender<Option<OpenedContent>>,
    },
    /// The contents that this node takes part in.
    Contents {
        reply: oneshot::Sender<Vec<ContentId>>,
    },
    Status {
        content: ContentId,
        reply: oneshot::Sender<Option<Status>>,
    },
    WaitingFor {
        content: ContentId,
        reply: oneshot::Sender<Option<WaitingFor>>,
    },
    /// Which pieces are here, in at most so many parts, and where its peers are.
    Overview {
        content: ContentId,
        parts: usize,
        reply: oneshot::Sender<Option<Overview>>,
    },
    /// Others reach this node at these addresses, too.
    AnnounceAlso {
        addresses: Vec<SocketAddr>,
        reply: oneshot::Sender<()>,
    },
    EndShare {
        content: ContentId,
        reason: String,
        reply: oneshot::Sender<()>,
    },
    /// The caps of those who send of a content, as far as they have one and say so.
    UpRates {
        content: ContentId,
        reply: oneshot::Sender<BTreeMap<PeerId, u64>>,
    },
    /// Other caps from now on, on all that is sent or received.
    SetRates {
        rates: Rates,
        reply: oneshot::Sender<()>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// The way to a driver, for all handles of its node.
#[derive(Clone)]
pub(crate) struct Commands(mpsc::Sender<Command>);

impl Commands {
    pub(crate) fn new(commands: mpsc::Sender<Command>) -> Self {
        Commands(commands)
    }

    /// Whether nobody answers any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until nobody answers any more.
    pub(crate) async fn ended(&self) {
        self.0.closed().await;
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, PeerError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| PeerError::ShutDown)?;
        answer.await.map_err(|_| PeerError::ShutDown)
    }
}
