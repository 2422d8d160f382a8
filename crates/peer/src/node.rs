//! The handle that others hold: start a node, share, get, watch, shut down.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{ContentId, ContentMatch, Manifest, PeerId, PieceRange, Query};
use storage::Backend;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use transport::Transport;

use crate::disk::content::{Choice, Downloads, SpeltOut, Wanted};
use crate::disk::names::{NamePolicy, NameReport};
use crate::driver;
use crate::net::dial;
use crate::net::dial_book::{DialBook, DialledPeer, WaitingFor};
use crate::net::tracker::{Page, TrackerAddress};
use crate::report::Command;
use crate::stats::{WaitStats, Waits};
use crate::{Held, LeftOut, PeerError, ScanOptions, ShareOptions};

/// How a node is set up. Transport and storage are the doors for plug-ins.
pub struct NodeBuilder {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) storage: Arc<dyn Backend>,
    pub(crate) downloads: Downloads,
    pub(crate) scan: ScanOptions,
    pub(crate) up: Option<u64>,
    pub(crate) down: Option<u64>,
    pub(crate) announce: Vec<SocketAddr>,
    pub(crate) dial_private: bool,
    pub(crate) engine: swarm::Config,
    pub(crate) site: String,
    pub(crate) seed: u64,
}

impl NodeBuilder {
    /// The folder where manifests are kept; `hashes` unless set.
    pub fn hashes(mut self, folder: impl Into<PathBuf>) -> Self {
        self.downloads.hashes = folder.into();
        self
    }

    /// The folder where downloads go; `output` unless set.
    pub fn output(mut self, folder: impl Into<PathBuf>) -> Self {
        self.downloads.folder = folder.into();
        self
    }

    /// Whether files of a download may replace different ones that have their names, once it is complete. Until then the old
    /// one stays, and pieces that are equal at the same place are taken from it. Not unless set: then such a download fails.
    pub fn replace(mut self, replace: bool) -> Self {
        self.downloads.replace = replace;
        self
    }

    /// Bytes that downloads leave free on the disk: one that would not is refused before anything is written, and one that runs
    /// while others fill the disk is given up, with what is verified kept. A hundredth of the file system, and at most 1 GiB,
    /// unless set.
    pub fn keep_free(mut self, bytes: Option<u64>) -> Self {
        self.downloads.keep_free = bytes;
        self
    }

    /// Whether downloads are read back from the disk, and verified, before they are called complete: against a disk that does
    /// not keep what was written. Not unless set: then only what somebody else may have changed is.
    pub fn verify_on_disk(mut self, verify: bool) -> Self {
        self.downloads.verify_on_disk = verify;
        self
    }

    /// Files and folders, beside that for manifests, that are read by programs which embed this: no download may lie there by
    /// its names ([`crate::NameDoubt::Reserved`]).
    pub fn reserve(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.downloads.reserved.extend(paths);
        self
    }

    /// What becomes of downloads with names that should not be where they go; refused unless set.
    pub fn names(mut self, policy: NamePolicy) -> Self {
        self.downloads.names = policy;
        self
    }

    /// What counts as part of the contents that are shared. The hashes folder is always one of the node's own.
    pub fn scan(mut self, options: ScanOptions) -> Self {
        self.scan = options;
        self
    }

    /// Caps in bytes a second; none unless set.
    pub fn rates(mut self, up: Option<u64>, down: Option<u64>) -> Self {
        (self.up, self.down) = (up, down);
        self
    }

    /// The place that this peer is in, at most [`protocol::MAX_SITE`] bytes: what someone near has is not fetched from
    /// afar. None unless set.
    pub fn site(mut self, name: impl Into<String>) -> Self {
        self.site = name.into();
        self
    }

    /// Whether peers that give come before those that only take; not unless set.
    pub fn fair(mut self, fair: bool) -> Self {
        self.engine.fair = fair;
        self
    }

    /// Addresses to announce instead of those of the listeners, at most 32: where a router or a relay stands before
    /// them. Of an unspecified address only the port counts, at the address that the tracker sees. None unless set.
    pub fn announce(mut self, mut addresses: Vec<SocketAddr>) -> Self {
        addresses.truncate(dial::MOST_ANNOUNCED);
        self.announce = addresses;
        self
    }

    /// Whether private addresses, those of links and loopback are dialled whoever names them. Not unless set: then only where
    /// they lead to the network or machine of the one that names them. [`Node::add_peer`] is not held to this.
    pub fn dial_private(mut self, dial: bool) -> Self {
        self.dial_private = dial;
        self
    }

    /// Bytes of pieces in flight over all connections; 32 MiB unless set.
    pub fn budget(mut self, bytes: u64) -> Self {
        self.engine.budget = bytes;
        self
    }

    /// The seed of the engine's random choices; random unless set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts the node on the current tokio runtime.
    pub fn start(self) -> Node {
        let (events, _) = broadcast::channel(1024);
        let (commands, inbox) = mpsc::channel(256);
        let (id, listeners) = (self.transport.peer_id(), self.transport.listeners());
        let (waits, book) = (Arc::<WaitStats>::default(), Arc::<DialBook>::default());
        let (announced, addresses) = watch::channel(dial::announced_addresses(&*self.transport, &self.announce));
        tokio::spawn(driver::run(self, inbox, events.clone(), (waits.clone(), book.clone()), announced));
        Node { commands, events, waits, book, id, listeners, addresses }
    }
}

/// A running peer. Clones are handles to the same one.
#[derive(Clone)]
pub struct Node {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<PeerEvent>,
    waits: Arc<WaitStats>,
    book: Arc<DialBook>,
    id: PeerId,
    listeners: Vec<SocketAddr>,
    addresses: watch::Receiver<Vec<SocketAddr>>,
}

/// What happens in a node, for people and programs that watch.
#[derive(Debug, Clone)]
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
        /// For how long at most.
        most: Duration,
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
        runs: Vec<PieceRange>,
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
        summary: Summary,
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

/// What matters of the events of a content, for who may have missed some.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Pieces that nobody who is connected has.
    pub lacking: Vec<PieceRange>,
    /// Whether it was completed, has failed or was withdrawn: these events, in their order.
    pub turns: Vec<PeerEvent>,
}

/// How a content stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The content's name; empty while unknown.
    pub name: String,
    /// Bytes in all, or of the files that are wanted; 0 while unknown.
    pub size: u64,
    /// Pieces stored of those.
    pub have: u32,
    /// Pieces in all; 0 while unknown.
    pub pieces: u32,
    /// Connected peers that take part.
    pub peers: u32,
    /// Payload bytes received so far.
    pub received: u64,
    /// Payload bytes sent so far.
    pub sent: u64,
    /// Whether it is complete and has its final name (or was shared from the start).
    pub finished: bool,
    /// What lies in a folder that is shared here and is no part of the content. Those who get it do not know of it.
    pub left_out: u32,
}

/// What a download took, and what was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// From the wish to the last verified piece.
    pub verified: Duration,
    /// From the wish to the durable file.
    pub durable: Duration,
    /// Payload bytes by the peer that they came from.
    pub sources: Vec<(PeerId, u64)>,
    /// Paths, in the content, of files that may be executed: whoever shares them says so. Empty where files have no such bit.
    pub executable: Arc<[String]>,
    /// What was done about doubtful names.
    pub names: NameReport,
}

/// What a download is held to, and how much of it is wanted.
#[derive(Clone, Default)]
pub struct GetOptions {
    pub(crate) name: Option<String>,
    files: Option<Arc<Wanted>>,
    spelt_out: Option<Arc<SpeltOut>>,
}

impl GetOptions {
    /// Any name, all files.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name that the content's manifest must have. To be set where a name led to the id: which contents have a name is
    /// what a tracker says, and one that has another is given up ([`PeerError::OtherName`]) before anything is written.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Of a folder, only the files whose paths inside, with `/`, are `wanted`.
    pub fn files(mut self, wanted: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.files = Some(Arc::new(wanted));
        self
    }

    /// Where only some files are wanted, the user may have spelt out hidden ones: `spelt_out` says so for the path of a file
    /// and the part of it up to a hidden name. Then that name is not doubtful ([`crate::NamePolicy`]).
    pub fn spelt_out(mut self, spelt_out: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        self.spelt_out = Some(Arc::new(spelt_out));
        self
    }

    /// The files, if not all are wanted.
    pub(crate) fn choice(&self) -> Option<Choice> {
        let spelt_out = self.spelt_out.clone().unwrap_or_else(|| Arc::new(|_: &str, _: &str| false));
        Some(Choice { wanted: self.files.clone()?, spelt_out })
    }
}

impl Node {
    /// A node over any transport and any storage.
    pub fn builder(transport: Arc<dyn Transport>, storage: Arc<dyn Backend>) -> NodeBuilder {
        NodeBuilder {
            transport,
            storage,
            downloads: Downloads {
                hashes: "hashes".into(),
                folder: "output".into(),
                replace: false,
                names: NamePolicy::Default,
                keep_free: None,
                verify_on_disk: false,
                reserved: Vec::new(),
            },
            scan: ScanOptions::default(),
            up: None,
            down: None,
            announce: Vec::new(),
            dial_private: false,
            engine: swarm::Config::default(),
            site: String::new(),
            seed: fastrand::u64(..),
        }
    }

    /// The id that this node proves to everyone.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The addresses that it listens on.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where others are told to reach this node, likeliest first: what it was told to announce, or the addresses of this
    /// machine. They change with its interfaces, and are announced anew then.
    pub fn addresses(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.addresses.clone()
    }

    /// Events from now on. A watcher that falls far behind misses some: [`Node::standing`] tells what matters of them.
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }

    /// Connects to a tracker and announces everything to it, now and whenever it comes back. Fails if it cannot be
    /// reached the first time.
    pub async fn join(&self, tracker: TrackerAddress) -> Result<(), PeerError> {
        self.ask(|reply| Command::Track { tracker, reply }).await?
    }

    /// Knows a peer without a tracker.
    pub async fn add_peer(&self, content: ContentId, peer: protocol::PeerAddress) -> Result<(), PeerError> {
        self.ask(|reply| Command::AddPeer { content, peer, reply }).await
    }

    /// Contents with this name or id, or an id that begins so ([`Query`]), as the tracker says and in its order. What it says is
    /// held against the question: whatever has another id or name is dropped, so that of an id at most that content comes.
    /// That the content of a name has it is still for [`GetOptions::name`] to see.
    pub async fn find(&self, query: &str) -> Result<Vec<ContentMatch>, PeerError> {
        let query: Query = query.parse()?;
        let asked = query.to_string();
        let mut found = self.ask(|reply| Command::Find { query: asked, reply }).await??;
        let mut seen = BTreeSet::new();
        found.retain(|found| query.fits(found.content, &found.name) && seen.insert(found.content));
        Ok(found)
    }

    /// A page of what the tracker knows, newest first: the first one, or the one that goes on behind another.
    pub async fn list(&self, before: Option<u64>) -> Result<Page, PeerError> {
        self.ask(|reply| Command::List { before, reply }).await?
    }

    /// The manifest of a content, from the hashes folder or from a peer that has it. Nothing is downloaded and nothing is
    /// kept. Waits until there is one; the node takes part in the content meanwhile, as it would for a download, and
    /// answers [`PeerError::ShutDown`] if it ends.
    pub async fn manifest(&self, content: ContentId) -> Result<Arc<Manifest>, PeerError> {
        self.ask(|reply| Command::Manifest { content, reply }).await
    }

    /// Shares a file, or a folder with all that is in it: makes its manifest and serves the pieces that `options` say are
    /// held. [`PeerEvent::Hashing`] tells how far that is, [`PeerEvent::Skipped`] what is left out of a folder. What has not
    /// changed since it was shared last, by its times and inodes, is not hashed again.
    pub async fn share(&self, path: &Path, options: ShareOptions) -> Result<ContentId, PeerError> {
        let path = path.to_owned();
        self.ask(|reply| Command::Share { path, options, reply }).await?
    }

    /// Downloads a content into the output folder; watch [`Node::events`] for how it ends. Goes on from what an
    /// earlier run had verified, and goes on sharing when it is done.
    pub async fn get(&self, content: ContentId) -> Result<(), PeerError> {
        self.get_with(content, GetOptions::new()).await
    }

    /// The same for some files of a folder: those whose paths inside, with `/`, are `wanted`. What others bring later goes
    /// into the same folder. Ends with [`PeerError::NothingChosen`] where there are none.
    pub async fn get_files(
        &self,
        content: ContentId,
        wanted: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<(), PeerError> {
        self.get_with(content, GetOptions::new().files(wanted)).await
    }

    /// The same, held to what the options say.
    pub async fn get_with(&self, content: ContentId, options: GetOptions) -> Result<(), PeerError> {
        self.ask(|reply| Command::Get { content, options, reply }).await?
    }

    /// How a content stands; nothing if this node takes no part in it.
    pub async fn progress(&self, content: ContentId) -> Option<Progress> {
        self.ask(|reply| Command::Progress { content, reply }).await.ok().flatten()
    }

    /// What matters of the events of a content since it was shared, or wanted, last; nothing if it is unknown.
    pub async fn standing(&self, content: ContentId) -> Standing {
        self.ask(|reply| Command::Standing { content, reply }).await.unwrap_or_default()
    }

    /// What a download waits for at the moment; nothing if it is complete, or this node takes no part in it. While bytes flow it
    /// is [`WaitingFor::Pieces`].
    pub async fn waiting_for(&self, content: ContentId) -> Option<WaitingFor> {
        self.ask(|reply| Command::WaitingFor { content, reply }).await.ok().flatten()
    }

    /// Peers that were dialled so far, the last few hundred of them, and where.
    pub fn dialled(&self) -> Vec<DialledPeer> {
        self.book.dialled()
    }

    /// The bytes of verified pieces from `first` on, in order and without a gap: at most a mebibyte, or one piece where that is
    /// larger. Nothing while that piece is not here.
    pub async fn read(&self, content: ContentId, first: u32) -> Result<Option<Bytes>, PeerError> {
        self.ask(|reply| Command::Read { content, first, reply }).await?
    }

    /// What the requests of all downloads have waited for so far.
    pub fn waits(&self) -> Waits {
        self.waits.so_far()
    }

    /// Says goodbye to peers and tracker, syncs what is verified, and ends.
    pub async fn shutdown(&self) {
        let _ = self.ask(|reply| Command::Shutdown { reply }).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, PeerError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| PeerError::ShutDown)?;
        answer.await.map_err(|_| PeerError::ShutDown)
    }
}

impl Held {
    /// The pieces out of `pieces` that are held.
    pub fn pieces(&self, pieces: u32) -> protocol::PieceSet {
        let mut set = protocol::PieceSet::full(pieces);
        match self {
            Held::All => {}
            Held::Without(lacked) => lacked.iter().for_each(|&piece| {
                set.remove(piece);
            }),
            Held::Fraction(from, to) => {
                let (first, end) = ((f64::from(pieces) * from).floor() as u32, (f64::from(pieces) * to).ceil() as u32);
                (0..pieces).filter(|piece| !(first..end).contains(piece)).for_each(|piece| {
                    set.remove(piece);
                });
            }
        }
        set
    }
}
