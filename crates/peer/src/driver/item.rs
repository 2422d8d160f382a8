//! One content in the driver: on disk, on the wire, in figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lan::ContentKey;
use protocol::{Manifest, PeerId};
use storage::Fallback;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::in_order::InOrder;
use super::participants::Participants;
use super::progress::Told;
use super::reading::Readers;
use crate::config::DownloadOptions;
use crate::disk::content::ContentStore;
use crate::net::rate::RateCap;
use crate::stats::WaitStats;
use crate::status::{RateMeter, Status};

pub(super) struct Item {
    pub(super) store: Option<Arc<ContentStore>>,
    /// Whether the store is there or on its way.
    pub(super) opening: bool,
    /// Which of the contents of this id it is, of all that there were.
    pub(super) instance: u64,
    /// The number of the attempt to open it.
    pub(super) attempt: u64,
    /// Told to pause: then there is no store, and the engine knows nothing of it.
    pub(super) paused: bool,
    /// Ready when the store of before a pause is closed.
    pub(super) closed: Option<oneshot::Receiver<()>>,
    pub(super) started: Instant,
    pub(super) verified: Option<Duration>,
    pub(super) sources: BTreeMap<PeerId, u64>,
    pub(super) participants: Participants,
    pub(super) wanted: bool,
    /// By what it is known on the local network, once it is.
    pub(super) lan: Option<ContentKey>,
    /// Only who has proven to have its secret learns of it.
    pub(super) private: bool,
    /// Who has proven that, at an address of the ticket: its sharer.
    pub(super) sharer: Option<PeerId>,
    pub(super) options: DownloadOptions,
    /// Where it can be read that nobody has it, once its manifest is here; and what was said of that.
    pub(super) origin: Option<Arc<dyn Fallback>>,
    pub(super) origin_told: OriginTold,
    /// Only the manifest is wanted, and the content forgotten then.
    pub(super) manifest_only: bool,
    /// It is about to be downloaded, and its manifest is kept until then.
    pub(super) expected: Option<Expected>,
    pub(super) finished: bool,
    /// Claims what is verified while a download runs.
    pub(super) checkpoints: Option<OwnTask>,
    /// Waits until what is somewhere else has changed.
    pub(super) changes: Option<OwnTask>,
    pub(super) status: watch::Sender<Status>,
    pub(super) meter: RateMeter,
    pub(super) waits: Arc<WaitStats>,
    pub(super) up: Arc<RateCap>,
    pub(super) down: Arc<RateCap>,
    /// Those who read it in order.
    pub(super) readers: Readers,
    /// The order of its pieces, where the storage is quicker with one.
    pub(super) in_order: Option<InOrder>,
    /// Since when a download has met nobody, and whether it is announced to all trackers for that.
    pub(super) alone_since: Option<Instant>,
    pub(super) everywhere: bool,
    /// What the tracker was told of how it stands, while somebody watches there.
    pub(super) told: Option<Told>,
    /// Callers that stopped it while its files got their names: they wait for that.
    pub(super) stops: Vec<oneshot::Sender<()>>,
}

impl Item {
    /// A content of which nothing is known yet.
    pub(super) fn new(instance: u64, of_node: Arc<WaitStats>, up: Arc<RateCap>, down: Arc<RateCap>) -> Self {
        Item {
            store: None,
            opening: false,
            instance,
            attempt: 0,
            paused: false,
            closed: None,
            started: Instant::now(),
            verified: None,
            sources: BTreeMap::new(),
            participants: Participants::default(),
            wanted: false,
            private: false,
            sharer: None,
            lan: None,
            options: DownloadOptions::default(),
            origin: None,
            origin_told: OriginTold::default(),
            manifest_only: false,
            expected: None,
            finished: false,
            checkpoints: None,
            changes: None,
            status: watch::Sender::default(),
            meter: RateMeter::default(),
            waits: Arc::new(WaitStats::of_download(of_node)),
            up,
            down,
            readers: Readers::new(),
            in_order: None,
            alone_since: None,
            everywhere: false,
            told: None,
            stops: Vec::new(),
        }
    }

    /// Its manifest, as far as that is here.
    pub(super) fn manifest(&self) -> Option<&Arc<Manifest>> {
        let expected = || self.expected.as_ref()?.manifest.as_ref();
        self.store.as_ref().map(|store| store.manifest()).or_else(expected)
    }

    /// Whether every piece is verified and its files are getting their names.
    pub(super) fn is_finishing(&self) -> bool {
        self.verified.is_some() && !self.finished
    }
}

/// What has come of a content that is about to be downloaded.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) manifest: Option<Arc<Manifest>>,
}

/// How the origin of a content stands, as was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum OriginTold {
    #[default]
    Nothing,
    Read,
    Failed,
}

/// A task that ends with what it is for.
pub(super) struct OwnTask(AbortHandle);

impl OwnTask {
    pub(super) fn new(task: AbortHandle) -> Self {
        OwnTask(task)
    }
}

impl Drop for OwnTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
