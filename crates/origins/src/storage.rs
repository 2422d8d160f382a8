//! A storage that only reads, and whose bytes are an origin's: each part is read from there once, however many ask for it, verified
//! by the manifest, and kept in the cache. Its pieces are given on one by one as they come, and a read that breaks off for good goes on
//! there when the part is asked for again. Where parts are asked for in order, the next one is asked of the origin so long before its turn
//! that the way there and back costs nothing.

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
use tokio::time::{Instant, sleep};

use crate::cache::{Cache, ObjectKey, PartKey};
use crate::partial::{Arriving, Partial};
use crate::parts::part_size;
use crate::{KeptManifests, Listing, Object, Origin, OriginError, Version};

/// Parts that are read from the origin at a time.
const READS: usize = 6;
/// Bytes that stay in memory of what was read last: where nothing can be kept on disk, neighbours are asked for one by one.
const RECENT: u64 = 32 << 20;
/// How often it is looked whether one object has changed, or one of many.
const LOOK: Duration = Duration::from_secs(60);
const LOOK_AT_MANY: Duration = Duration::from_secs(300);
/// A part is read ahead when the one before will be here within so many times what the origin takes to begin an answer.
const AHEAD: u32 = 2;
const LONGEST_LEAD: Duration = Duration::from_secs(1);
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
    keys: Vec<ObjectKey>,
    parts: Mutex<Parts>,
    reads: Arc<Semaphore>,
    reads_ahead: bool,
    look: Duration,
    runtime: Handle,
    /// Where the manifest may be kept.
    kept: OnceLock<KeptManifests>,
}

/// Which part of which file.
type At = (usize, u64);

#[derive(Default)]
struct Parts {
    in_flight: HashMap<At, Flight>,
    /// What came of those whose read has failed.
    partial: Partial<At>,
    /// The last that came, newest last.
    recent: VecDeque<(At, Bytes)>,
    /// How long the origin last took to begin an answer, and what was last read before anybody asked for it.
    lead: Duration,
    ahead: Option<At>,
    /// Where those have begun who ask for one part after another. When they come round to it, they have had everything.
    begun: Option<At>,
}

/// A part that is being read.
struct Flight {
    coming: watch::Receiver<Arriving>,
    since: Instant,
}

impl Parts {
    /// Notes that a part is being read. The reader sends what comes, and others wait for it.
    fn take_off(&mut self, at: At) -> (watch::Sender<Arriving>, watch::Receiver<Arriving>) {
        let (sender, coming) = watch::channel(self.partial.take(at));
        self.in_flight.insert(at, Flight { coming: coming.clone(), since: Instant::now() });
        (sender, coming)
    }

    fn is_recent(&self, at: At) -> bool {
        self.recent.iter().any(|(recent, _)| *recent == at)
    }

    /// Whether all of a part of so many bytes is here, or will be when an answer to the next request begins.
    fn is_nearly_here(&self, at: At, len: u64) -> bool {
        let Some(flight) = self.in_flight.get(&at) else { return self.is_recent(at) };
        let (came, took) = (flight.coming.borrow().len(), flight.since.elapsed().saturating_sub(self.lead));
        let left = took.mul_f64((len - came) as f64 / came.max(1) as f64);
        came > 0 && left <= self.lead * AHEAD
    }
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
        let (identity, reads) = (origin.identity(), origin.reads_at_once(READS));
        let keys = listing.objects.iter().map(|object| ObjectKey::new(&identity, object)).collect();
        Ok(OriginStorage(Arc::new(Inner {
            origin: origin.with_limits(limits).insisting(),
            part_size: part_size(manifest.header().piece_size),
            look: look.unwrap_or(if listing.folder { LOOK_AT_MANY } else { LOOK }),
            keys,
            listing,
            manifest,
            cache,
            parts: Mutex::default(),
            reads: Arc::new(Semaphore::new(reads)),
            // Under a low cap there is one read at a time, of what somebody waits for.
            reads_ahead: reads > 1,
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
        self.read_ahead(at);
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
                    Some(flight) => (None, Some(flight.coming.clone())),
                    None if looks_there && self.is_cached(at) => (None, None),
                    None => {
                        let (sender, coming) = parts.take_off(at);
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
            return match coming.wait_for(|arriving| arriving.settles(range.end)).await {
                Ok(arriving) => arriving.bytes(range.clone()).map_err(as_storage_error),
                Err(_) => Err(StorageError::Unreachable(format!("{} is not read any more", self.origin.url()))),
            };
        }
    }

    /// Parts of a file; an empty one has none.
    fn parts_of(&self, file: usize) -> u64 {
        self.listing.objects[file].size.div_ceil(self.part_size)
    }

    /// The part that comes before or after another one, where the last one of all comes before the first.
    fn neighbour(&self, (file, number): At, after: bool) -> At {
        let files = self.listing.objects.len();
        let step = |file: usize| if after { (file + 1) % files } else { (file + files - 1) % files };
        match (after, number) {
            (true, _) if number + 1 < self.parts_of(file) => return (file, number + 1),
            (false, 1..) => return (file, number - 1),
            _ => {}
        }
        let mut other = step(file);
        while self.parts_of(other) == 0 {
            other = step(other);
        }
        (other, if after { 0 } else { self.parts_of(other) - 1 })
    }

    /// A part is asked for. If the one before it was, too, the next one will be.
    fn read_ahead(self: &Arc<Self>, at: At) {
        if !self.reads_ahead {
            return;
        }
        let (before, next, range) = (self.neighbour(at, false), self.neighbour(at, true), self.range_of(at));
        if before == at {
            return;
        }
        let mut parts = self.lock();
        if !parts.in_flight.contains_key(&before) && !parts.is_recent(before) {
            parts.begun = Some(at);
        }
        let is_known = [parts.ahead, parts.begun].contains(&Some(next))
            || parts.in_flight.contains_key(&next)
            || parts.is_recent(next);
        let is_due = parts.is_recent(before) && parts.is_nearly_here(at, range.end - range.start);
        if !is_known && is_due && !self.is_cached(next) {
            parts.ahead = Some(next);
            let (sender, _) = parts.take_off(next);
            drop(parts);
            self.runtime.spawn(self.clone().fly(next, sender));
        }
    }

    fn key(&self, (file, number): At) -> Option<(&Arc<Cache>, PartKey)> {
        Some((self.cache.as_ref()?, PartKey::new(&self.keys[file], self.part_size, number)))
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
    async fn fly(self: Arc<Self>, at: At, sender: watch::Sender<Arriving>) {
        let landing = Landing { storage: &self, at };
        let ended = self.clone().read_part(at, &sender).await;
        match &ended {
            Ok(whole) => self.remember(at, whole.clone()),
            Err(_) => self.lock().partial.keep(at, sender.borrow().clone()),
        }
        // Others find it where it is now.
        drop(landing);
        sender.send_modify(|arriving| arriving.end(ended.map(|_| ())));
    }

    /// Reads what has not come yet of a part, piece by piece.
    async fn read_part(self: Arc<Self>, at: At, sender: &watch::Sender<Arriving>) -> Result<Bytes, OriginError> {
        let ends = || OriginError::unreachable(self.origin.url(), "it ends");
        let object = &self.listing.objects[at.0];
        let _turn = self.reads.acquire().await.map_err(|_| ends())?;
        let range = self.range_of(at);
        let piece_size = u64::from(self.manifest.header().piece_size);
        let mut come = sender.borrow().len();
        let mut reader = self.origin.reader(object, range.start + come..range.end)?;
        let mut asked = Some(Instant::now());
        while range.start + come < range.end {
            let len = piece_size.min(range.end - range.start - come) as usize;
            let mut piece = BytesMut::with_capacity(len);
            while piece.len() < len {
                let part = reader.next_within(len - piece.len()).await?.ok_or_else(ends)?;
                if let Some(asked) = asked.take() {
                    self.lock().lead = asked.elapsed().min(LONGEST_LEAD);
                }
                piece.extend_from_slice(&part);
            }
            let (storage, piece, offset) = (self.clone(), piece.freeze(), come);
            let verified = piece.clone();
            let verifying = tokio::task::spawn_blocking(move || storage.is_right(at, offset, &verified));
            if !verifying.await.map_err(|_| ends())? {
                if let Some(kept) = self.kept.get() {
                    kept.refuse(&self.origin, &self.listing, &self.manifest);
                }
                return Err(OriginError::Changed(self.origin.shown(object)));
            }
            come += piece.len() as u64;
            sender.send_modify(|arriving| arriving.add(piece));
        }
        let (storage, whole) = (self.clone(), sender.borrow().bytes(0..come)?);
        let kept = whole.clone();
        let keeping = tokio::task::spawn_blocking(move || {
            if let Some((cache, key)) = storage.key(at) {
                cache.keep(&key, &kept);
            }
        });
        keeping.await.map_err(|_| ends())?;
        Ok(whole)
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

    fn part_size(&self) -> u64 {
        self.0.part_size
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
