//! Files that have a digest at their origin: layers and manifests of images, and files of models. Each is brought once, however many
//! ask for it: from this machine, from the swarm, or else from the origin, and is what its digest says, or no answer with it is ever a
//! success.
//!
//! What came from an origin is shared under its digest (`sha256-…`), so that other gateways take it from the swarm. There it is
//! believed by nobody: all of it is digested again before the end of it is sent. Where a file is known by a SHA-1 alone (Git's), others can
//! make two files with one digest: such pairs show in the digest's inner state, and are refused like any other wrong file.

mod avoided;
mod begun;
mod check;
mod coming;
mod fleet;
mod flight;
pub(crate) mod folder;
pub(crate) mod growing;
pub(crate) mod held;
mod key;
mod refusing;
pub(crate) mod spoiled;
mod swarm;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use origins::{FileDigest, Object, Origin, OriginError, OriginFallback};
use peer::{Fallback, LeaseState, Manifest, NoLease, Node, OpenContent, ReadMemory};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::answers::Answers;
use crate::contents::Contents;
use crate::error::{GatewayError, Refusal};
use crate::kept::Kept;
use crate::recent::Recent;
use avoided::Avoided;
use begun::Begun;
use fleet::{Claimed, Turn};
use flight::Parked;
use folder::Folder;
use held::Held;
use key::key_of;
use refusing::Refusing;
use spoiled::{Broken, Spoiled};
use swarm::{Fit, Found, Spare};

/// Most files that are read from origins at once; more wait.
const FLIGHTS: usize = 32;
/// Most files that are looked for at once.
const LOOKS: usize = 1024;
/// Most files that are known at once. Those that nobody asks for are found again.
const MOST: usize = 32 << 10;
/// What checks of contents may have in memory together. Answers that wait for them hold none of it.
const CHECKS: u32 = 32 << 20;
/// How often as long as one answer of the swarm is waited for, all of a search may take.
const SEARCH: u32 = 4;
/// Which contents have a name is asked again after this time, and so many answers are remembered.
const NAMES: Duration = Duration::from_secs(15);
const MOST_NAMES: usize = 256;

/// A file that is wanted.
pub(crate) struct Asked {
    /// What it is.
    pub(crate) digest: FileDigest,
    /// Its size, if that is known.
    pub(crate) size: Option<u64>,
    /// Most bytes that it may have, where that is not known.
    pub(crate) most: u64,
    /// A folder that may be in the swarm and have it.
    pub(crate) published: Option<Published>,
    /// Where it comes from, if it may be there. It is asked only if nobody else has it.
    pub(crate) origin: Option<FromOrigin>,
}

/// A folder that may be in the swarm.
pub(crate) struct Published {
    /// What it is called.
    pub(crate) name: String,
    /// Most bytes that all of it may have: more is not downloaded.
    pub(crate) most: u64,
    /// Where in it the file should be.
    pub(crate) path: String,
    /// Where all of it can be read if peers bring next to nothing.
    pub(crate) origin: Origin,
}

/// Asks an origin for an object, as often as it is called.
pub(crate) type Asking =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(Origin, Object), OriginError>> + Send>> + Send + Sync>;

/// An object of an origin.
pub(crate) enum FromOrigin {
    /// It is known to be there.
    Known(Box<(Origin, Object)>),
    /// The origin is asked for it if nobody else has it.
    Asks(Asking),
}

impl FromOrigin {
    async fn ask(self) -> Result<(Origin, Object), OriginError> {
        match self {
            FromOrigin::Known(known) => Ok(*known),
            FromOrigin::Asks(asking) => asking().await,
        }
    }

    /// The size, as far as it is known.
    fn size(&self) -> Option<u64> {
        match self {
            FromOrigin::Known(known) => Some(known.1.size),
            FromOrigin::Asks(_) => None,
        }
    }

    /// For downloads of this file whose peers bring next to nothing.
    fn spare(&self) -> Option<Arc<dyn Fallback>> {
        match self {
            FromOrigin::Known(known) => Some(Arc::new(OriginFallback::spare(&known.0, Some(known.1.clone())))),
            FromOrigin::Asks(_) => None,
        }
    }
}

/// A file that is brought once: who holds this looks for it, and others wait.
type Entry = Arc<tokio::sync::Mutex<Option<Held>>>;

/// All of them.
pub(crate) struct Blobs(Arc<Shared>);

struct Shared {
    folder: Folder,
    keep_free: Option<u64>,
    kept: Arc<Kept>,
    /// How long the swarm is waited for.
    patience: Duration,
    /// Who shares what came from an origin.
    nodes: Vec<Node>,
    entries: Mutex<HashMap<FileDigest, Entry>>,
    flights: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    /// How long others are waited for that read.
    turns: fleet::Patience,
    /// Whether it was said that there is no tracker to say who reads.
    reads_alone: AtomicBool,
    parked: Mutex<HashMap<FileDigest, Parked>>,
    checks: ReadMemory,
    avoided: Avoided,
    refusing: Refusing,
    spoiled: Spoiled,
    begun: Begun,
    published: Recent<String, Option<Found>, Infallible>,
}

impl Blobs {
    /// Keeps what comes from origins in this folder, and shares it by these nodes.
    pub(crate) fn new(
        folder: &Path,
        keep_free: Option<u64>,
        patience: Duration,
        nodes: Vec<Node>,
        kept: Arc<Kept>,
    ) -> Result<Self, GatewayError> {
        let opened = Folder::open(folder);
        let folder = opened.map_err(|source| GatewayError::Folder { path: folder.to_owned(), source })?;
        let shared = Arc::new(Shared {
            folder,
            keep_free,
            kept: kept.clone(),
            patience,
            nodes,
            entries: Mutex::default(),
            flights: Arc::new(Semaphore::new(FLIGHTS)),
            looks: Arc::new(Semaphore::new(LOOKS)),
            turns: fleet::Patience::default(),
            reads_alone: AtomicBool::new(false),
            parked: Mutex::default(),
            checks: ReadMemory::new(CHECKS),
            avoided: Avoided::default(),
            refusing: Refusing::default(),
            spoiled: Spoiled::default(),
            begun: Begun::default(),
            published: Recent::new(NAMES, MOST_NAMES),
        });
        let closes = Arc::downgrade(&shared);
        kept.closes_with(move |folder| {
            if let Some(shared) = closes.upgrade() {
                shared.close_parked(folder);
            }
        });
        Ok(Blobs(shared))
    }

    /// A file, from where it is now. What is there of it may yet turn out to be wrong. The search goes on even if the client has gone:
    /// another gateway may need longer to read it than a client waits.
    pub(crate) async fn get(&self, contents: &Arc<Contents>, asked: Asked, wait: Duration) -> Result<Held, Refusal> {
        let entry = self.0.entry(asked.digest);
        let getting = async {
            let mut known = entry.clone().lock_owned().await;
            if let Some(held) = known.as_ref().filter(|held| !held.is_over()) {
                return Ok(held.clone());
            }
            let look = self.0.looks.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
            let (shared, contents) = (self.0.clone(), contents.clone());
            let looking = tokio::spawn(async move {
                let held = shared.find(&contents, asked, &entry).await?;
                *known = Some(held.clone());
                drop(look);
                Ok(held)
            });
            looking.await.unwrap_or(Err(Refusal::Failed))
        };
        timeout(wait, getting).await.unwrap_or(Err(Refusal::Late))
    }

    /// What origins answer, kept beside their files.
    pub(crate) fn answers(&self) -> Answers {
        Answers::new(self.0.folder.answers())
    }

    /// What is read here for a moment takes a part of this, and not of what answers take that wait for it.
    pub(crate) fn memory(&self) -> &ReadMemory {
        &self.0.checks
    }

    /// How often an answer with a file broke off, so that clients may have bytes of it that are not its own.
    pub(crate) fn spoiled(&self, digest: FileDigest) -> Broken {
        self.0.spoiled.of(digest)
    }

    /// What an origin said of an object a moment ago, if it refuses it.
    pub(crate) fn refused(&self, origin: &Origin, object: &Object) -> Option<Refusal> {
        self.0.refusing.of(&origin.shown(object))
    }

    /// A file that is here, or on its way. Nobody is asked for it.
    pub(crate) fn known(&self, digest: FileDigest) -> Option<Held> {
        let entry = self.0.entries().get(&digest).cloned()?;
        let known = entry.try_lock().ok()?;
        known.as_ref().filter(|held| !held.is_over()).cloned()
    }
}

impl Shared {
    fn entry(&self, digest: FileDigest) -> Entry {
        let mut entries = self.entries();
        if entries.len() >= MOST && !entries.contains_key(&digest) {
            // Others hold those that are being looked for, and those that are on their way.
            entries.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        entries.entry(digest).or_default().clone()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<FileDigest, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find(self: &Arc<Self>, contents: &Arc<Contents>, asked: Asked, entry: &Entry) -> Result<Held, Refusal> {
        let Asked { digest, size, most, published, origin } = asked;
        if let Some(growing) = flight::kept(self, digest, size, entry).await {
            return Ok(growing);
        }
        let end = Instant::now() + self.patience * SEARCH;
        if let Some(published) = published
            && let Some(held) = self.in_published(contents, published, end, digest, size).await
        {
            return Ok(held);
        }
        let fit = Fit { size, most };
        let spare = origin.as_ref().and_then(FromOrigin::spare);
        let key = key_of(digest);
        let found = swarm::find(contents, self, end, &key, &spare, |manifest| fit.fits(manifest));
        if let Some(found) = found.await.or_else(|refusal| fit.has_no_room(refusal))? {
            return self.only_file(found, digest);
        }
        let origin = self.sized(origin.ok_or(Refusal::NotFound)?, fit).await?;
        if let FromOrigin::Known(known) = &origin
            && let Some(refusal) = self.refusing.of(&known.0.shown(&known.1))
        {
            return Err(refusal);
        }
        let (size, spare) = (size.or(origin.size()), spare.or_else(|| origin.spare()));
        let fit = Fit { size, most };
        if let Some(size) = size {
            self.kept.may_fit(size)?;
        }
        let mut claimed = fleet::claim(self, contents, digest, fit, &[]).await;
        let is_held = |claimed: &mut Claimed| size.is_some() && claimed.1.state() == LeaseState::Held;
        if let Some(held) = claimed.take_if(is_held) {
            let (origin, object) = self.object(origin, digest, size).await?;
            return Ok(coming::begin(self, contents, held, (origin, object, digest), entry));
        }
        let reading = match fleet::turn(self, contents, (digest, fit, spare), claimed).await? {
            Turn::Theirs(found) => return self.only_file(found, digest),
            Turn::Ours(reading) => reading,
        };
        let (origin, object) = self.object(origin, digest, size).await?;
        flight::begin(self, (origin, object, digest), reading, entry).await
    }

    /// Asks an origin how large a file is that may have any size: this says how long another gateway may take to read it. An origin that does
    /// not answer now may do so when it is to be read.
    async fn sized(&self, origin: FromOrigin, fit: Fit) -> Result<FromOrigin, Refusal> {
        let FromOrigin::Asks(ask) = &origin else { return Ok(origin) };
        if !fit.has_any_size() {
            return Ok(origin);
        }
        match timeout(self.patience, ask()).await {
            Ok(Ok(known)) => Ok(FromOrigin::Known(Box::new(known))),
            Ok(Err(error)) if !error.is_transient() => Err(refused(&error)),
            Ok(Err(_)) | Err(_) => Ok(origin),
        }
    }

    /// What an origin has, if it is what was asked for.
    async fn object(
        &self,
        origin: FromOrigin,
        digest: FileDigest,
        size: Option<u64>,
    ) -> Result<(Origin, Object), Refusal> {
        let (origin, object) = origin.ask().await.map_err(|error| refused(&error))?;
        if object.digest != Some(digest) || size.is_some_and(|size| size != object.size) {
            tracing::warn!(url = origin.url(), "an origin has another file than it says");
            return Err(Refusal::Failed);
        }
        Ok((origin, object))
    }

    /// The only file of a content, which is digested from now on.
    fn only_file(self: &Arc<Self>, found: Found, digest: FileDigest) -> Result<Held, Refusal> {
        let range = found.open.files().next().map(|file| file.offset..file.offset + file.entry.size);
        Ok(check::begin(self, found, range.ok_or(Refusal::Failed)?, digest, true))
    }

    /// The tracker does not say who reads.
    fn says_once_that_it_reads_alone(&self, why: &NoLease) {
        if !self.reads_alone.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{why}: this gateway reads from origins itself what is not in the swarm, and so does every other one"
            );
        }
    }

    /// A file of a folder that somebody shares.
    async fn in_published(
        self: &Arc<Self>,
        contents: &Contents,
        Published { name, most, path, origin }: Published,
        end: Instant,
        digest: FileDigest,
        size: Option<u64>,
    ) -> Option<Held> {
        let looking = async {
            let fits = |manifest: &Manifest| manifest.header().folder && manifest.geometry().total() <= most;
            let spare: Spare = Some(Arc::new(OriginFallback::spare(&origin, None)));
            // Where there is no room for all of the folder, there may be for the file alone.
            Ok(swarm::find(contents, self, end, &name, &spare, fits).await.unwrap_or(None))
        };
        let found = self.published.get(name.clone(), looking).await.ok()??;
        let open = found.open.clone();
        let file = open.files().find(|file| file.entry.path == path)?;
        let range = file.offset..file.offset + file.entry.size;
        if size.is_some_and(|size| size != file.entry.size) {
            check::is_wrong(self, open.content());
            if self.begun.take(open.content()) || found.is_downloaded() {
                check::remove(self, found).await;
            }
            return None;
        }
        let is_fine = !self.avoided.has(open.content()) && !is_gone(&open);
        is_fine.then(|| check::begin(self, found, range, digest, false))
    }
}

/// Whether a content cannot be read any more.
fn is_gone(open: &OpenContent) -> bool {
    is_over(&open.status().borrow().state)
}

fn is_over(state: &peer::State) -> bool {
    matches!(state, peer::State::Failed(_) | peer::State::Withdrawn(_) | peer::State::Stopped)
}

/// What a client is told of what an origin did. The log says more.
pub(crate) fn refused(error: &OriginError) -> Refusal {
    match error {
        OriginError::NotFound(_) | OriginError::Url { .. } => Refusal::NotFound,
        // Whether it is there is nobody's business who may not read it.
        OriginError::Denied { .. } => {
            tracing::warn!(%error, "an origin refuses");
            Refusal::NotFound
        }
        error => {
            tracing::warn!(%error, "an origin is of no help");
            Refusal::Origin
        }
    }
}
