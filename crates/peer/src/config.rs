//! Settings of a node and of its downloads.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lan::Lan;
use protocol::{OriginUrl, PeerId, Secret};
use storage::{Backend, Fallback, MmapBackend};
use swarm::Shares;
use transport::Transport;

use crate::disk::names::policy::NamePolicy;
use crate::disk::scan::ScanOptions;
use crate::glob::{Glob, Unmatched};
use crate::net::rate::RateCap;
use crate::resolver::{Resolver, of_system};

/// Most addresses of one peer.
pub(crate) const MOST_ANNOUNCED: usize = 32;

/// Where downloads go, and what is kept to there.
#[derive(Clone)]
pub(crate) struct DownloadSettings {
    /// For manifests.
    pub(crate) hashes: PathBuf,
    pub(crate) folder: PathBuf,
    /// Whether they may replace files.
    pub(crate) replace: bool,
    pub(crate) names: NamePolicy,
    /// Bytes that they leave free.
    pub(crate) keep_free: Option<u64>,
    /// Whether everything is read back from the disk before it is called complete.
    pub(crate) verify_on_disk: bool,
    /// Files and folders of these programs that no download may be, or lie in, by its names.
    pub(crate) reserved: Vec<PathBuf>,
    /// The files that are wanted, if not all are.
    pub(crate) only: Option<Choice>,
    /// The secret of a private share, for which it is noted what its ticket is for.
    pub(crate) secret: Option<Secret>,
}

impl Default for DownloadSettings {
    fn default() -> Self {
        DownloadSettings {
            hashes: "hashes".into(),
            folder: "output".into(),
            replace: false,
            names: NamePolicy::Default,
            keep_free: None,
            verify_on_disk: false,
            reserved: Vec::new(),
            only: None,
            secret: None,
        }
    }
}

/// Which files of a content are wanted, by their paths inside.
#[derive(Clone)]
pub(crate) enum Choice {
    /// Those that one of these patterns matches, each of which must match something.
    Globs(Arc<[Glob]>),
    /// Those for whose path this is true.
    Paths(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Choice {
    /// Which of these paths are wanted; or the patterns that match none of them.
    pub(crate) fn among<'a>(&self, paths: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<bool>, Vec<Unmatched>> {
        match self {
            Choice::Globs(globs) => Glob::choose(globs, paths),
            Choice::Paths(wanted) => Ok(paths.map(|path| wanted(path)).collect()),
        }
    }

    /// Whether, for the path of a file, the user has spelt out the hidden name at the end of another, which is a part of it.
    pub(crate) fn spells_out(&self, path: &str, hidden: &str) -> bool {
        match self {
            Choice::Globs(globs) => globs.iter().any(|glob| glob.spells_out(path, hidden)),
            Choice::Paths(_) => false,
        }
    }
}

/// What one download is held to, where that is not what all of the node are.
#[derive(Clone, Default)]
pub(crate) struct DownloadOptions {
    /// The name that the content's manifest must have.
    pub(crate) name: Option<String>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) replace: Option<bool>,
    pub(crate) names: Option<NamePolicy>,
    pub(crate) only: Option<Choice>,
    /// Caps in bytes a second.
    pub(crate) up: Option<u64>,
    pub(crate) down: Option<u64>,
    /// The secret of a private share.
    pub(crate) secret: Option<Secret>,
    /// Where it can be read that no peer has it.
    pub(crate) origin: Option<Arc<dyn Fallback>>,
}

impl DownloadOptions {
    /// What holds for the download.
    pub(crate) fn settings(&self, of_node: &DownloadSettings) -> DownloadSettings {
        let mut settings = of_node.clone();
        if let Some(folder) = &self.folder {
            settings.folder = folder.clone();
        }
        settings.replace = self.replace.unwrap_or(settings.replace);
        settings.names = self.names.unwrap_or(settings.names);
        settings.only = self.only.clone().or(settings.only);
        settings.secret = self.secret;
        settings
    }
}

/// Opens an origin that a manifest names, if that may be read.
pub(crate) type NamedOrigins = Arc<dyn Fn(&OriginUrl) -> Option<Arc<dyn Fallback>> + Send + Sync>;

/// Sets up a node. What is set about downloads is the default for each of them ([`DownloadBuilder`](crate::DownloadBuilder)).
#[must_use = "a node runs once it is started"]
pub struct NodeBuilder {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) storage: Arc<dyn Backend>,
    pub(crate) downloads: DownloadSettings,
    pub(crate) scan: ScanOptions,
    pub(crate) manifests_by_place: bool,
    pub(crate) up: Arc<RateCap>,
    pub(crate) down: Arc<RateCap>,
    pub(crate) announce: Vec<SocketAddr>,
    pub(crate) dial_private: bool,
    pub(crate) engine: swarm::Config,
    pub(crate) site: String,
    pub(crate) shares: Arc<Shares>,
    pub(crate) private: bool,
    pub(crate) lan: Option<Lan>,
    pub(crate) named_origins: Option<NamedOrigins>,
    pub(crate) resolver: Resolver,
    pub(crate) seed: u64,
}

impl NodeBuilder {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        NodeBuilder {
            transport,
            storage: Arc::new(MmapBackend),
            downloads: DownloadSettings::default(),
            scan: ScanOptions::default(),
            manifests_by_place: false,
            up: Arc::new(RateCap::new(None)),
            down: Arc::new(RateCap::new(None)),
            announce: Vec::new(),
            dial_private: false,
            engine: swarm::Config::default(),
            site: String::new(),
            shares: Arc::default(),
            private: false,
            lan: None,
            named_origins: None,
            resolver: of_system(),
            seed: fastrand::u64(..),
        }
    }

    /// The id that the node will have.
    pub fn id(&self) -> PeerId {
        self.transport.peer_id()
    }

    /// The addresses that the transport listens on.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        self.transport.listeners()
    }

    /// Where pieces are kept. Default: mapped files.
    pub fn storage(mut self, storage: Arc<dyn Backend>) -> Self {
        self.storage = storage;
        self
    }

    /// The folder for manifests. Default: `hashes`.
    pub fn hashes(mut self, folder: impl Into<PathBuf>) -> Self {
        self.downloads.hashes = folder.into();
        self
    }

    /// Whether the manifests of shared files are kept apart by the folder of the file ([`manifests_of`](crate::manifests_of)), so
    /// that two files of the same name each have one. For a hashes folder that serves many folders. Default: no.
    pub fn manifests_by_place(mut self, by_place: bool) -> Self {
        self.manifests_by_place = by_place;
        self
    }

    /// The folder for downloads. Default: `output`.
    pub fn output(mut self, folder: impl Into<PathBuf>) -> Self {
        self.downloads.folder = folder.into();
        self
    }

    /// Whether downloads may replace different files of the same names. They do so once complete; until then the old files stay,
    /// and pieces that are equal at the same offset are taken from them. Default: no, such a download fails.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.downloads.replace = overwrite;
        self
    }

    /// Bytes that downloads leave free on the disk. A download that would need them is refused before anything is written; one
    /// that is running while others fill the disk fails, and its verified pieces are kept. Default: 1 % of the file system, at
    /// most 1 GiB.
    pub fn keep_free(mut self, bytes: Option<u64>) -> Self {
        self.downloads.keep_free = bytes;
        self
    }

    /// Whether downloads are read back from the disk and verified before they are complete, in case the disk does not keep what
    /// was written. Default: no, only files that another program may have changed are verified again.
    pub fn verify_on_disk(mut self, verify: bool) -> Self {
        self.downloads.verify_on_disk = verify;
        self
    }

    /// Files and folders that the embedding program reads: no download may be written there by its names
    /// ([`crate::NameDoubt::Reserved`]). The folder for manifests is always one of them.
    pub fn reserve(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.downloads.reserved.extend(paths);
        self
    }

    /// What to do about names that should not be in the output folder. Default: refuse the download.
    pub fn names(mut self, policy: NamePolicy) -> Self {
        self.downloads.names = policy;
        self
    }

    /// What belongs to a shared folder. The folder for manifests never does.
    pub fn scan(mut self, options: ScanOptions) -> Self {
        self.scan = options;
        self
    }

    /// Limits the bytes sent per second. Default: no limit.
    pub fn up_rate(mut self, bytes: Option<u64>) -> Self {
        self.up = Arc::new(RateCap::new(bytes));
        self
    }

    /// Limits the bytes received per second. Default: no limit.
    pub fn down_rate(mut self, bytes: Option<u64>) -> Self {
        self.down = Arc::new(RateCap::new(bytes));
        self
    }

    /// The site of this peer, at most [`protocol::MAX_SITE`] bytes: pieces that a peer of the same site has are not fetched from
    /// other sites. Default: none.
    pub fn site(mut self, name: impl Into<String>) -> Self {
        self.site = name.into();
        self
    }

    /// Whether peers that upload are served first (tit for tat). Default: no.
    pub fn fair(mut self, fair: bool) -> Self {
        self.engine.fair = fair;
        self
    }

    /// Addresses to announce instead of those of the listeners, at most 32, for example of a router that forwards a port. If an
    /// address is unspecified, only its port is used, with the address that the tracker sees. Default: none.
    pub fn announce(mut self, mut addresses: Vec<SocketAddr>) -> Self {
        addresses.truncate(MOST_ANNOUNCED);
        self.announce = addresses;
        self
    }

    /// Whether private, link-local and loopback addresses are dialled no matter who announces them. Default: no, only if they
    /// belong to the network or machine of the announcer. Does not apply to [`Node::add_peer`](crate::Node::add_peer).
    pub fn dial_private(mut self, dial: bool) -> Self {
        self.dial_private = dial;
        self
    }

    /// Bytes of pieces in flight over all connections. Default: 32 MiB. Three fourths are asked for at a time: the rest is for what
    /// transports hold.
    pub fn budget(mut self, bytes: u64) -> Self {
        self.engine.budget = bytes;
        self
    }

    /// Whether the node talks only to holders of a ticket until something is shared or downloaded openly. Default: no.
    pub fn private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }

    /// The private shares of this process, if a tracker in the same process needs to know them. Default: the node's own.
    pub fn shares(mut self, shares: Arc<Shares>) -> Self {
        self.shares = shares;
        self
    }

    /// Discovery of peers on the local network, without a tracker. Each node needs its own. Default: none.
    pub fn lan(mut self, lan: Option<Lan>) -> Self {
        self.lan = lan;
        self
    }

    /// Which origins named by manifests are read for pieces that no peer has: `open` returns an origin that may be read, or
    /// `None`. A manifest comes from a stranger, who chooses what it names. Default: none.
    pub fn named_origins(
        mut self,
        open: impl Fn(&OriginUrl) -> Option<Arc<dyn Fallback>> + Send + Sync + 'static,
    ) -> Self {
        self.named_origins = Some(Arc::new(open));
        self
    }

    /// How names of trackers are resolved. Default: by the system.
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    /// The seed of the engine's random choices. Default: random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}
