//! A file on its way from its origin: written, digested, and shared once it is right.
//!
//! It goes on even if those who asked for it have gone: they come back, or others do. Where the origin fails for long, what came of it stays
//! for a while, and the next who asks goes on from there.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use origins::{FileCheck, FileDigest, Object, Origin, OriginError};
use peer::{Algorithm, ContentId, Manifest, OpenContent, PeerError, Spool, StorageError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::spawn_blocking;

use super::fleet::Reading;
use super::growing::Growing;
use super::growing::Verdict;
use super::held::Held;
use super::key::key_of;
use super::{Entry, Shared};
use crate::error::Refusal;

/// Parts of an answer that wait to be written.
const WAITING: usize = 16;
/// Most files that are there in part.
const PARKED: usize = 16;
/// Bytes that are read at a time of a file that is here.
const AT_ONCE: usize = 1 << 20;

/// What came of a file whose origin has failed.
pub(super) struct Parked {
    spool: Spool,
    check: FileCheck,
    size: u64,
}

/// What a flight says while it goes on.
struct FlightStatus {
    came: watch::Sender<u64>,
    verdict: watch::Sender<Verdict>,
}

/// A file that grows at this path, and what says so.
fn growing(path: PathBuf, size: u64, so_far: u64) -> (Arc<Growing>, FlightStatus) {
    let (came, bytes) = watch::channel(so_far);
    let (say, verdict) = watch::channel(Verdict::Open);
    (Arc::new(Growing { path, size, came: bytes, verdict }), FlightStatus { came, verdict: say })
}

/// Begins to read a file from its origin.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    (origin, object, digest): (Origin, Object, FileDigest),
    reading: Option<Reading>,
    entry: &Entry,
) -> Result<Held, Refusal> {
    let turn = shared.flights.clone().acquire_owned().await.map_err(|_| Refusal::Busy)?;
    let key = key_of(digest);
    shared.kept.make_room(&shared.folder.of(&key), object.size, true).await?;
    let parked = shared.parked().remove(&digest);
    // Somebody else may have removed what came of it.
    let is_there = tokio::fs::try_exists(shared.folder.of(&key).join(&key)).await.unwrap_or(false);
    let begun = match parked.filter(|parked| is_there && parked.size == object.size) {
        Some(parked) => parked,
        None => {
            let (making, size) = (shared.clone(), object.size);
            let making = spawn_blocking(move || make(&making, digest, size));
            let made = making.await.unwrap_or(Err(PeerError::ShutDown));
            made.map_err(|error| {
                tracing::warn!(%error, "a file of an origin cannot be kept here");
                shared.kept.forget(&shared.folder.of(&key));
                Refusal::of_storing(&error)
            })?
        }
    };
    let (growing, said) = growing(shared.folder.of(&key).join(&key), object.size, begun.spool.bytes());
    let flight = Flight { shared: shared.clone(), origin, object, digest, reading, entry: entry.clone(), _turn: turn };
    tokio::spawn(flight.fly(begun, growing.clone(), said));
    Ok(Held::growing(growing))
}

fn make(shared: &Shared, digest: FileDigest, size: u64) -> Result<Parked, PeerError> {
    let key = key_of(digest);
    let folder = shared.folder.make(&key);
    let folder = folder.map_err(|source| {
        let path = shared.folder.of(&key);
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::Full(path),
            _ => StorageError::Io { path, source },
        }
    })?;
    let spool = Spool::create(&folder, &key, Algorithm::Blake3, None, shared.keep_free)?;
    spool.must_fit(size, shared.keep_free)?;
    Ok(Parked { spool, check: FileCheck::new(digest, size), size })
}

struct Flight {
    shared: Arc<Shared>,
    origin: Origin,
    object: Object,
    digest: FileDigest,
    /// What other gateways hear of it. Dropped before its end, it tells them that nothing came of it.
    reading: Option<Reading>,
    entry: Entry,
    _turn: OwnedSemaphorePermit,
}

impl Flight {
    async fn fly(mut self, begun: Parked, growing: Arc<Growing>, said: FlightStatus) {
        let so_far = begun.spool.bytes();
        let (send, parts) = mpsc::channel(WAITING);
        let writing = spawn_blocking(move || {
            let written = write(begun, parts, &said.came);
            (written, said)
        });
        let read = self.read(so_far, send).await;
        let Ok((written, said)) = writing.await else { return };
        let url = self.origin.url();
        let come = match (read, written) {
            (Ok(()), Ok(come)) => come,
            (Err(error), Ok(come)) => {
                tracing::warn!(%error, url, "reading a file from its origin failed");
                let refusal = refusal_of(&error);
                if error.is_transient() {
                    self.park(come).await;
                } else {
                    drop(come);
                    self.remove().await;
                    self.shared.refusing.add(self.origin.shown(&self.object), refusal);
                }
                self.reading = None;
                let _ = said.verdict.send(Verdict::Failed(refusal));
                return;
            }
            (_, Err(error)) => {
                tracing::warn!(%error, url, "a file of an origin is not written");
                self.remove().await;
                self.reading = None;
                let _ = said.verdict.send(Verdict::Failed(Refusal::of_storing(&error)));
                return;
            }
        };
        let Parked { spool, check, .. } = come;
        if !check.is_right() {
            tracing::warn!(url, "a file from an origin does not match its digest");
            // Before it is said: who asks again then begins anew in that place.
            drop(spool);
            self.remove().await;
            self.reading = None;
            self.shared.spoiled.is_wrong(self.digest, || {
                let _ = said.verdict.send(Verdict::Wrong);
            });
            return;
        }
        let _ = said.verdict.send(Verdict::Right);
        let manifest = spawn_blocking(move || spool.finish()).await;
        match manifest {
            Ok(Ok(spooled)) => {
                let shared = self.shared.shares(&growing, self.digest, Some(spooled.manifest), &self.entry).await;
                if let Some((reading, content)) = self.reading.zip(shared) {
                    reading.publish(content);
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "a file of an origin is not shared"),
            Err(_) => {}
        }
        self.shared.kept.rests(&self.shared.folder.of(&key_of(self.digest)));
    }

    /// Reads what is not there yet.
    async fn read(&mut self, so_far: u64, send: mpsc::Sender<Bytes>) -> Result<(), OriginError> {
        let mut reader = self.origin.reader(&self.object, so_far..self.object.size)?;
        let mut come = so_far;
        while let Some(bytes) = reader.next().await? {
            come += bytes.len() as u64;
            if let Some(reading) = &mut self.reading {
                reading.progress(come);
            }
            if send.send(bytes).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Keeps what has come, so that the next read continues there. If too many files are there in part, another is given up.
    async fn park(&self, come: Parked) {
        let folder = |digest| self.shared.folder.of(&key_of(digest));
        let other = {
            let mut parked = self.shared.parked();
            self.shared.kept.rests(&folder(self.digest));
            parked.insert(self.digest, come);
            let other = parked.keys().copied().find(|digest| *digest != self.digest);
            other.filter(|_| parked.len() > PARKED)
        };
        if let Some(other) = other {
            let closes = || self.shared.parked().remove(&other).is_some();
            self.shared.kept.give_up(&folder(other), closes).await;
        }
    }

    async fn remove(&self) {
        self.shared.clone().removes(key_of(self.digest)).await;
    }
}

/// What clients are told of a read that has failed.
fn refusal_of(error: &OriginError) -> Refusal {
    match error {
        OriginError::Denied { .. } => Refusal::Denied,
        OriginError::NotFound(_) => Refusal::NotFound,
        _ => Refusal::Origin,
    }
}

fn write(mut begun: Parked, mut parts: mpsc::Receiver<Bytes>, came: &watch::Sender<u64>) -> Result<Parked, PeerError> {
    while let Some(bytes) = parts.blocking_recv() {
        begun.spool.write(&bytes)?;
        begun.check.update(&bytes);
        came.send_replace(begun.spool.bytes());
    }
    Ok(begun)
}

/// A file that an earlier run has kept. It is digested again before it is believed: the machine may have gone down while it came.
pub(super) async fn kept(shared: &Arc<Shared>, digest: FileDigest, size: Option<u64>, entry: &Entry) -> Option<Held> {
    if shared.parked().contains_key(&digest) {
        return None;
    }
    let key = key_of(digest);
    let in_use = shared.kept.uses(&shared.folder.of(&key)).await;
    let path = shared.folder.of(&key).join(&key);
    let found = tokio::fs::symlink_metadata(&path).await.ok().filter(|found| found.is_file())?;
    if size.is_some_and(|size| size != found.len()) {
        return None;
    }
    let (growing, said) = growing(path.clone(), found.len(), found.len());
    let (shared, entry, held) = (shared.clone(), entry.clone(), Held::growing(growing.clone()));
    tokio::spawn(async move {
        let check = FileCheck::new(digest, growing.size);
        let is_right = spawn_blocking(move || is_right(&path, check)).await.unwrap_or(false);
        if is_right {
            let _ = said.verdict.send(Verdict::Right);
            shared.shares(&growing, digest, None, &entry).await;
        } else {
            shared.clone().removes(key).await;
            shared.spoiled.is_wrong(digest, || {
                let _ = said.verdict.send(Verdict::Wrong);
            });
        }
        drop(in_use);
    });
    Some(held)
}

fn is_right(path: &Path, mut check: FileCheck) -> bool {
    let Ok(mut file) = atomic_file::open_patiently(|| File::open(path)) else { return false };
    let mut bytes = vec![0; AT_ONCE];
    loop {
        match file.read(&mut bytes) {
            Ok(0) => return check.is_right(),
            Ok(read) => check.update(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

impl Shared {
    fn parked(&self) -> MutexGuard<'_, HashMap<FileDigest, Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what came in part of the file in this folder, which is about to go.
    pub(super) fn close_parked(&self, folder: &Path) {
        self.parked().retain(|digest, _| self.folder.of(&key_of(*digest)) != folder);
    }

    /// Shares a file that is right, and serves it as a content from then on.
    async fn shares(
        &self,
        growing: &Growing,
        digest: FileDigest,
        manifest: Option<Manifest>,
        entry: &Entry,
    ) -> Option<ContentId> {
        let mut shared = None;
        for node in &self.nodes {
            let mut sharing = node.share(&growing.path);
            if let Some(manifest) = manifest.clone() {
                sharing = sharing.hashed(manifest);
            }
            let content = match sharing.await {
                Ok(share) => {
                    if let Some(folder) = growing.path.parent() {
                        self.kept.is_open(folder, node, share.content(), share.status());
                    }
                    share.content()
                }
                // Its bytes are elsewhere, and stay if these go.
                Err(PeerError::Already(content)) => content,
                Err(error) => {
                    tracing::warn!(%error, "a file of an origin is not shared");
                    continue;
                }
            };
            shared = shared.or(node.open(content).await);
        }
        let open = shared.filter(|open: &OpenContent| open.manifest().geometry().total() == growing.size)?;
        let content = open.content();
        self.spoiled.is_right(digest, (content, 0));
        // It was digested as it was written, and pieces are verified when they are read.
        let (_, right) = watch::channel(Verdict::Right);
        *entry.lock().await = Some(Held::in_content(Arc::new(open), 0, growing.size, right));
        Some(content)
    }

    async fn removes(self: Arc<Self>, key: String) {
        self.kept.forget(&self.folder.of(&key));
        let _ = spawn_blocking(move || self.folder.remove(&key)).await;
    }
}
