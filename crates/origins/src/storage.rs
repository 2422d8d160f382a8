//! A storage that only reads, and whose bytes are an origin's: each part is read from there once, however many ask for it, verified
//! by the manifest, and kept in the cache.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use protocol::Manifest;
use storage::{Changing, Fetching, Remote, Storage, StorageError};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::cache::{Cache, ObjectKey, PartKey};
use crate::parts::part_size;
use crate::{KeptManifests, Listing, Object, Origin, OriginError, Version};

/// Parts that are read from the origin at a time.
const READS: usize = 6;
/// Bytes that stay in memory of what was read last: where nothing can be kept on disk, neighbours are asked for one by one.
const RECENT: u64 = 32 << 20;
/// How often it is looked whether one object has changed, or one of many.
const LOOK: Duration = Duration::from_secs(60);
const LOOK_AT_MANY: Duration = Duration::from_secs(300);
/// How long peers are let wait for an origin that does not answer: they ask again.
const PATIENCE: Duration = Duration::from_secs(20);

/// The files of a content, at their origin. Clones are of the same.
#[derive(Clone)]
pub struct OriginStorage(Arc<Inner>);

struct Inner {
    origin: Origin,
    listing: Listing,
    manifest: Arc<Manifest>,
    cache: Option<Arc<Cache>>,
    part_size: u64,
    keys: Vec<Option<ObjectKey>>,
    parts: Mutex<Parts>,
    reads: Arc<Semaphore>,
    look: Duration,
    runtime: Handle,
    /// Where the manifest may be kept.
    kept: OnceLock<KeptManifests>,
}

/// Which part of which file.
type At = (usize, u64);
type Outcome = Option<Result<Bytes, OriginError>>;

#[derive(Default)]
struct Parts {
    in_flight: HashMap<At, watch::Receiver<Outcome>>,
    /// The last that came, newest last.
    recent: VecDeque<(At, Bytes)>,
}

impl OriginStorage {
    /// The files of a manifest that was made of this listing. It is looked at this often whether something has changed, or as often
    /// as is usual. To be called on a tokio runtime.
    ///
    /// # Errors
    /// If the manifest is of other files.
    pub fn new(
        origin: Origin,
        listing: Listing,
        manifest: Arc<Manifest>,
        cache: Option<Arc<Cache>>,
        look: Option<Duration>,
    ) -> Result<Self, OriginError> {
        let files = manifest.header().files.iter().map(|file| (file.path.as_str(), file.size));
        if !files.eq(listing.objects.iter().map(|object| (object.path.as_str(), object.size))) {
            return Err(OriginError::Changed(origin.url().to_owned()));
        }
        let patience = origin.limits().patience.min(PATIENCE);
        let limits = origin.limits().clone().patience(patience);
        let identity = origin.identity();
        let keys = listing.objects.iter().map(|object| ObjectKey::new(&identity, object)).collect();
        Ok(OriginStorage(Arc::new(Inner {
            origin: origin.with_limits(limits),
            part_size: part_size(manifest.header().piece_size),
            look: look.unwrap_or(if listing.folder { LOOK_AT_MANY } else { LOOK }),
            keys,
            listing,
            manifest,
            cache,
            parts: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS)),
            runtime: Handle::current(),
            kept: OnceLock::new(),
        })))
    }

    /// Where the manifest is kept, or may be found again: it is forgotten when a piece that is read does not fit it.
    pub fn manifest_kept(self, kept: KeptManifests) -> Self {
        let _ = self.0.kept.set(kept);
        self
    }
}

impl Inner {
    async fn bring(self: Arc<Self>, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let size = self.listing.objects.get(file).map_or(0, |object| object.size);
        let end = offset.checked_add(len as u64).filter(|&end| end <= size);
        let end = end.ok_or(StorageError::OutOfRange { offset, len, size })?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        let parts = offset / self.part_size..=(end - 1) / self.part_size;
        let of_part = |number: u64| {
            let start = number * self.part_size;
            offset.max(start) - start..end.min(start + self.part_size) - start
        };
        if parts.start() == parts.end() {
            return self.clone().part((file, *parts.start()), of_part(*parts.start())).await;
        }
        let mut all = BytesMut::with_capacity(len);
        for number in parts {
            all.extend_from_slice(&self.clone().part((file, number), of_part(number)).await?);
        }
        Ok(all.freeze())
    }

    /// A range of a part: from memory, from the cache, or with all of it from the origin.
    async fn part(self: Arc<Self>, at: At, range: Range<u64>) -> Result<Bytes, StorageError> {
        // What is in the cache and cannot be read is read from the origin, and not looked for there again.
        let mut looks_there = true;
        loop {
            let slice = |bytes: &Bytes| bytes.slice(range.start as usize..range.end as usize);
            let (sender, mut coming) = {
                let mut parts = self.lock();
                if let Some((_, bytes)) = parts.recent.iter().find(|(recent, _)| *recent == at) {
                    return Ok(slice(bytes));
                }
                match parts.in_flight.get(&at) {
                    Some(coming) => (None, Some(coming.clone())),
                    None if looks_there && self.is_cached(at) => (None, None),
                    None => {
                        let (sender, coming) = watch::channel(None);
                        parts.in_flight.insert(at, coming.clone());
                        (Some(sender), Some(coming))
                    }
                }
            };
            if let Some(sender) = sender {
                // It goes on even if the first one who asked has gone away.
                self.runtime.spawn(self.clone().fly(at, sender));
            }
            let Some(coming) = &mut coming else {
                match self.clone().cached(at, range.clone()).await {
                    Some(bytes) => return Ok(bytes),
                    None => {
                        looks_there = false;
                        continue;
                    }
                }
            };
            let outcome = match coming.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_) => None,
            };
            return match outcome {
                Some(Ok(bytes)) => Ok(slice(&bytes)),
                Some(Err(error)) => Err(as_storage_error(error)),
                None => Err(StorageError::Unreachable(format!("{} is not read any more", self.origin.url()))),
            };
        }
    }

    fn key(&self, (file, number): At) -> Option<(&Arc<Cache>, PartKey)> {
        let key = self.keys[file].as_ref()?;
        Some((self.cache.as_ref()?, PartKey::new(key, self.part_size, number)))
    }

    fn is_cached(&self, at: At) -> bool {
        self.key(at).is_some_and(|(cache, key)| cache.contains(&key))
    }

    /// A range of a part from the cache, if it is there and right: whole pieces are read, and verified.
    async fn cached(self: Arc<Self>, at: At, range: Range<u64>) -> Option<Bytes> {
        let storage = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let (cache, key) = storage.key(at)?;
            let piece = u64::from(storage.manifest.header().piece_size);
            let len = storage.range_of(at);
            let pieces = range.start / piece * piece..(range.end.div_ceil(piece) * piece).min(len.end - len.start);
            let bytes = cache.read(&key, pieces.clone())?;
            if !storage.is_right(at, pieces.start, &bytes) {
                cache.remove(&key);
                return None;
            }
            let bytes = Bytes::from(bytes);
            Some(bytes.slice((range.start - pieces.start) as usize..(range.end - pieces.start) as usize))
        });
        reading.await.ok().flatten()
    }

    /// The bytes of a file that a part has.
    fn range_of(&self, (file, number): At) -> Range<u64> {
        let size = self.listing.objects[file].size;
        number * self.part_size..size.min((number + 1) * self.part_size)
    }

    /// Whether bytes of a part, from a piece's first byte on, are those of the manifest.
    fn is_right(&self, (file, number): At, offset: u64, bytes: &[u8]) -> bool {
        let piece_size = u64::from(self.manifest.header().piece_size);
        let first =
            self.manifest.geometry().pieces_of(file).start + ((number * self.part_size + offset) / piece_size) as u32;
        let mut pieces = bytes.chunks(piece_size as usize).zip(first..);
        pieces.all(|(bytes, piece)| self.manifest.verify(piece, bytes))
    }

    /// Reads a part from the origin, for all who wait for it.
    async fn fly(self: Arc<Self>, at: At, sender: watch::Sender<Outcome>) {
        let landing = Landing { storage: &self, at };
        let outcome = self.clone().read_part(at).await;
        if let Ok(bytes) = &outcome {
            self.remember(at, bytes.clone());
        }
        // Others find it where it is now.
        drop(landing);
        let _ = sender.send(Some(outcome));
    }

    async fn read_part(self: Arc<Self>, at: At) -> Result<Bytes, OriginError> {
        let object = &self.listing.objects[at.0];
        let _turn = self.reads.acquire().await.map_err(|_| OriginError::unreachable(self.origin.url(), "it ends"))?;
        let bytes = self.origin.read(object, self.range_of(at)).await?;
        let (storage, whole) = (self.clone(), bytes.clone());
        let keeping = tokio::task::spawn_blocking(move || {
            if !storage.is_right(at, 0, &whole) {
                if let Some(kept) = storage.kept.get() {
                    kept.refuse(&storage.origin, &storage.listing, &storage.manifest);
                }
                return false;
            }
            if let Some((cache, key)) = storage.key(at) {
                cache.keep(&key, &whole);
            }
            true
        });
        match keeping.await {
            Ok(true) => Ok(bytes),
            Ok(false) => Err(OriginError::Changed(self.origin.shown(object))),
            Err(_) => Err(OriginError::unreachable(self.origin.url(), "it ends")),
        }
    }

    fn remember(&self, at: At, bytes: Bytes) {
        let mut parts = self.lock();
        parts.recent.push_back((at, bytes));
        let mut total: u64 = parts.recent.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        while total > RECENT.max(self.part_size) {
            let Some((_, oldest)) = parts.recent.pop_front() else { return };
            total -= oldest.len() as u64;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what was listed is there as it was; an origin that cannot be asked has not changed.
    async fn look(&self) -> Result<(), StorageError> {
        let now = match self.origin.list().await {
            Ok(now) => now,
            Err(error @ (OriginError::NotFound(_) | OriginError::Changed(_))) => return Err(as_storage_error(error)),
            Err(error) => {
                tracing::debug!(%error, "it is not known whether it has changed");
                return Ok(());
            }
        };
        let by_path: HashMap<_, _> = now.objects.iter().map(|object| (object.path.as_str(), object)).collect();
        for object in &self.listing.objects {
            let same = |now: &&Object| now.size == object.size && now.version == object.version;
            match by_path.get(object.path.as_str()) {
                Some(now) if same(now) => {}
                Some(_) => return Err(StorageError::Changed(self.origin.shown(object).into())),
                None => return Err(StorageError::NotFound(self.origin.shown(object).into())),
            }
        }
        Ok(())
    }

    /// A commit stays what it is.
    fn never_changes(&self) -> bool {
        self.listing.objects.iter().all(|object| matches!(object.version, Version::Commit(_)))
    }
}

/// Takes a part off those that are on their way, however its task ends.
struct Landing<'a> {
    storage: &'a Inner,
    at: At,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.storage.lock().in_flight.remove(&self.at);
    }
}

impl Storage for OriginStorage {
    /// Blocks until it is here: not to be called from a task.
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        self.0.runtime.block_on(self.0.clone().bring(file, offset, len))
    }

    fn write(&self, file: usize, _offset: u64, _data: &[u8]) -> Result<(), StorageError> {
        let path = self.0.listing.objects.get(file).map(|object| self.0.origin.shown(object)).unwrap_or_default();
        Err(StorageError::Denied(path.into()))
    }

    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Every read is of one version, and fails if that is gone.
    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        Ok(Vec::new())
    }

    /// Nothing is open.
    fn release(&self) {}
}

impl Remote for OriginStorage {
    fn fetch(&self, file: usize, offset: u64, len: usize) -> Fetching {
        self.0.clone().bring(file, offset, len).boxed()
    }

    fn changed(&self) -> Changing {
        let inner = self.0.clone();
        async move {
            loop {
                if inner.never_changes() {
                    std::future::pending::<()>().await;
                }
                // Those that began together do not ask together for ever.
                sleep(inner.look.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
                if let Err(error) = inner.look().await {
                    return error;
                }
            }
        }
        .boxed()
    }
}

pub(crate) fn as_storage_error(error: OriginError) -> StorageError {
    match error {
        OriginError::NotFound(url) => StorageError::NotFound(PathBuf::from(url)),
        OriginError::Changed(url) => StorageError::Changed(PathBuf::from(url)),
        error if error.is_transient() => StorageError::Unreachable(error.to_string()),
        OriginError::Denied { url, reason } | OriginError::Refused { url, reason } => {
            StorageError::Io { path: url.into(), source: std::io::Error::other(reason) }
        }
        error => StorageError::Io { path: PathBuf::from("the origin"), source: std::io::Error::other(error) },
    }
}
