//! What the driver knows: the engine, connections, requests, contents, and what all of them share.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lan::Lan;
use protocol::{ContentId, Manifest, PeerId, PeerMessage, PieceRange};
use storage::Backend;
use swarm::{Action, ConnId, Engine, Place, RequestId, ServeId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use transport::{Connection, Transport};

use super::item::{Item, OwnTask};
use super::receiving::Receivers;
use super::trackers::Trackers;
use crate::config::{DownloadSettings, NamedOrigins};
use crate::counters::Counting;
use crate::disk::scan::ScanOptions;
use crate::disk::watch::Watch;
use crate::disk::workers::Workers;
use crate::event::PeerEvent;
use crate::net::asked_manifests::AskedManifests;
use crate::net::block_size::BlockSize;
use crate::net::buffers::Buffers;
use crate::net::dial::PendingDial;
use crate::net::dial_book::DialBook;
use crate::net::dial_filter::DialFilter;
use crate::net::dial_limiter::DialLimiter;
use crate::net::fetch::ManifestProgress;
use crate::net::gate::Gate;
use crate::net::intake::Intake;
use crate::net::let_in::Approached;
use crate::net::manifest_memory::ManifestMemory;
use crate::net::rate::Lane;
use crate::net::rate::RateCap;
use crate::net::serve::Answering;
use crate::net::tracker::Surroundings;
use crate::report::Report;
use crate::resolver::Resolver;
use crate::stats::WaitStats;
use crate::tracker_status::TrackerStatus;

/// A live connection is never silent for longer, but for two round trips: each end asks for a sign of life every two seconds.
const SILENT: Duration = Duration::from_millis(2500);

pub(super) struct Driver {
    pub(super) setup: Setup,
    pub(super) engine: Engine,
    pub(super) began: Instant,
    pub(super) actions: Vec<Action>,
    pub(super) links: HashMap<ConnId, Link>,
    pub(super) next_conn: ConnId,
    /// Peers that are being dialled: a dial ends when what is kept here is dropped.
    pub(super) dials: HashMap<PeerId, PendingDial>,
    pub(super) requests: HashMap<RequestId, Fetching>,
    /// Requests for first pieces, which wait for where these go.
    pub(super) firsts: HashMap<RequestId, FirstFetching>,
    pub(super) manifests: HashMap<(ConnId, ContentId), (AbortHandle, Arc<ManifestProgress>)>,
    pub(super) questions: HashMap<ServeId, PendingServe>,
    pub(super) next_serve: ServeId,
    pub(super) items: HashMap<ContentId, Item>,
    /// The number of the next content.
    pub(super) next_instance: u64,
    /// The number of the next attempt to open a download.
    pub(super) next_attempt: u64,
    /// Who waits for the end of an attempt to open a download that is not wanted any more, by its number.
    pub(super) abandoned: HashMap<u64, Vec<oneshot::Sender<()>>>,
    /// Stores of what was given up, while others still write to them.
    pub(super) closing: Vec<JoinHandle<()>>,
    /// Who waits for the manifest alone of a content, which is not to be downloaded.
    pub(super) manifest_waiters: HashMap<ContentId, Vec<oneshot::Sender<Arc<Manifest>>>>,
    /// A private content of which the engine hears just now from somebody who has not proven it, as of one that nobody has.
    pub(super) unproven: Option<ContentId>,
    pub(super) trackers: Trackers,
    /// How they are, for those who watch.
    pub(super) tracker_statuses: watch::Sender<Vec<TrackerStatus>>,
    /// What the clients of trackers share, since the last were joined.
    pub(super) around: Option<Surroundings>,
    /// The sharer that is reached beside its tracker.
    pub(super) sharer: Sharer,
    /// Notices when files are changed that are shared.
    pub(super) watch: Watch,
    /// The addresses of this machine, and those that were named beside them.
    pub(super) announced: (Vec<SocketAddr>, Vec<SocketAddr>),
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) events: broadcast::Sender<PeerEvent>,
}

/// A connection.
pub(super) struct Link {
    pub(super) connection: Arc<dyn Connection>,
    pub(super) outbox: mpsc::Sender<PeerMessage>,
    /// Bytes that have come over it in all, and when there were last more.
    received: u64,
    heard: Instant,
    /// Whether a right piece came over it.
    pub(super) proven: bool,
    /// How large the blocks are that come over it, and what takes turns with other connections under a cap.
    pub(super) blocks: Arc<BlockSize>,
    pub(super) lane: Lane,
    /// Whether the other side has said that it goes, or ended it.
    pub(super) has_left: bool,
    /// Private shares that both sides have proven over it, and the other side's places among their receivers.
    pub(super) admitted: BTreeSet<ContentId>,
    pub(super) places: Vec<Place>,
    /// The numbers of the lists of receivers that the other side was told last.
    pub(super) listed: HashMap<ContentId, u64>,
    /// Private shares that were proven to the other side one after another, and that it has not answered.
    pub(super) asked: VecDeque<ContentId>,
    /// Proofs that it has said since it was let in, but for right ones.
    pub(super) proofs: u32,
    /// What the other side takes from here.
    pub(super) receivers: Receivers,
    /// Contents among whose participants it is remembered.
    pub(super) remembered: BTreeSet<ContentId>,
    /// Manifests that it has asked for.
    pub(super) manifests: AskedManifests,
}

impl Link {
    pub(super) fn new(connection: Arc<dyn Connection>, outbox: mpsc::Sender<PeerMessage>) -> Self {
        Link {
            connection,
            outbox,
            received: 0,
            heard: Instant::now(),
            proven: false,
            blocks: Arc::default(),
            lane: Lane::new(),
            has_left: false,
            admitted: BTreeSet::new(),
            places: Vec::new(),
            listed: HashMap::new(),
            asked: VecDeque::new(),
            proofs: 0,
            receivers: Receivers::new(),
            remembered: BTreeSet::new(),
            manifests: AskedManifests::default(),
        }
    }

    /// Looks at its figures: the round trip, and whether nothing at all has come for too long.
    pub(super) fn look(&mut self) -> (Duration, bool) {
        let stats = self.connection.stats();
        if self.received != stats.received {
            (self.received, self.heard) = (stats.received, Instant::now());
        }
        (stats.rtt, self.heard.elapsed() > SILENT + stats.rtt * 2)
    }
}

/// A request that is under way.
pub(super) struct Fetching {
    pub(super) conn: ConnId,
    pub(super) from: PeerId,
    pub(super) task: AbortHandle,
    /// Payload bytes that have come, and how many of them the engine knows of.
    pub(super) came: Arc<AtomicU64>,
    pub(super) told: u64,
    /// What it is for, and how many of those bytes are stored.
    pub(super) content: ContentId,
    pub(super) stored: u64,
}

/// The sharer of a private share that is reached beside its tracker. There is one at a time.
#[derive(Default)]
pub(super) struct Sharer {
    pub(super) task: Option<OwnTask>,
    /// It has answered, and it is not known yet what the secret is of.
    pub(super) met: Option<Approached>,
}

/// A request for first pieces, as long as it is not known how the content is cut.
pub(super) struct FirstFetching {
    pub(super) came: Arc<AtomicU64>,
    pub(super) intake: oneshot::Sender<Intake>,
}

/// Pieces that were asked for and are not served yet.
pub(super) struct PendingServe {
    pub(super) conn: ConnId,
    pub(super) content: ContentId,
    pub(super) run: PieceRange,
    pub(super) answering: Answering,
}

/// What all contents and connections share.
pub(super) struct Setup {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) storage: Arc<dyn Backend>,
    pub(super) downloads: DownloadSettings,
    pub(super) scan: ScanOptions,
    pub(super) manifests_by_place: bool,
    /// Where others may reach us.
    pub(super) listeners: watch::Sender<Vec<SocketAddr>>,
    /// Whether these are the addresses of this machine: nobody has said which to announce.
    pub(super) announces_own: bool,
    pub(super) site: String,
    pub(super) up: Arc<RateCap>,
    pub(super) down: Arc<RateCap>,
    pub(super) buffers: Arc<Buffers>,
    /// Memory for manifests that are under way.
    pub(super) manifest_memory: Arc<ManifestMemory>,
    pub(super) workers: Arc<Workers>,
    pub(super) waits: Arc<WaitStats>,
    pub(super) counting: Arc<Counting>,
    pub(super) dial_limiter: Arc<DialLimiter>,
    pub(super) dialled: Arc<DialFilter>,
    pub(super) book: Arc<DialBook>,
    pub(super) gate: Arc<Gate>,
    /// Strangers are not talked to before something is shared openly.
    pub(super) private: bool,
    /// Where peers on the local network are found.
    pub(super) lan: Option<Lan>,
    /// Which origins that manifests name may be read.
    pub(super) named_origins: Option<NamedOrigins>,
    /// How names of trackers are looked up.
    pub(super) resolver: Resolver,
}
