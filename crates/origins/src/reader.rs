//! Reading ranges to their end: what breaks off is resumed, what is too slow is asked for anew, and every wait has an end.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};

use crate::pace::Pace;
use crate::{ByteStream, Limits, Listing, Object, OriginError, Source};

/// What has come of all objects, in this process.
static READ: AtomicU64 = AtomicU64::new(0);

/// Bytes of objects that have come from origins since this process started, also those that were of no use.
pub fn bytes_from_origins() -> u64 {
    READ.load(Ordering::Relaxed)
}

/// What may come before a request, beside the answer to it.
const BEFORE: Duration = Duration::from_secs(5);

/// An origin: lists objects, and reads ranges of them.
#[derive(Clone)]
pub struct Origin {
    source: Arc<dyn Source>,
    limits: Limits,
    pace: Option<Pace>,
    /// Whether reads that are refused are made again like those that fail for a while, and whether that was said.
    insists: Option<Arc<AtomicBool>>,
}

impl Origin {
    /// An origin of this kind, which is waited for as the limits say.
    pub fn new(source: Arc<dyn Source>, limits: Limits) -> Self {
        Origin { source, limits, pace: None, insists: None }
    }

    /// The same origin, for reads of what it has let be read before: credentials expire, and are renewed. What refuses a read now is
    /// taken for what cannot answer at the moment.
    pub(crate) fn insisting(self) -> Self {
        Origin { insists: Some(Arc::default()), ..self }
    }

    /// The same origin, of which no more is read than the pace lets.
    pub(crate) fn paced(self, pace: Option<Pace>) -> Self {
        Origin { pace, ..self }
    }

    /// The URL as it may be shown.
    pub fn url(&self) -> &str {
        self.source.url()
    }

    /// The cap on how fast it is read, in bytes a second.
    pub(crate) fn rate(&self) -> Option<NonZeroU64> {
        self.pace.as_ref().map(Pace::rate)
    }

    /// How many of so many reads are worth making at a time: under a low cap, fewer.
    pub(crate) fn reads_at_once(&self, most: usize) -> usize {
        self.pace.as_ref().map_or(most, |pace| pace.reads(most))
    }

    /// What tells it from other origins; see [`Source::identity`].
    pub(crate) fn identity(&self) -> String {
        self.source.identity()
    }

    /// The same origin, waited for differently.
    pub fn with_limits(&self, limits: Limits) -> Self {
        Origin { limits, ..self.clone() }
    }

    /// How it is waited for.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What lies there now.
    pub async fn list(&self) -> Result<Listing, OriginError> {
        let listing = persist(&self.limits, || self.source.list()).await;
        listing.map(|mut listing| {
            listing.objects.sort_by(|one, other| one.path.cmp(&other.path));
            listing
        })
    }

    /// Reads a range of an object that was listed. All of it is held in memory: keep ranges small, or use
    /// [`reader`](Origin::reader).
    pub async fn read(&self, object: &Object, range: Range<u64>) -> Result<Bytes, OriginError> {
        let mut reader = self.reader(object, range.clone())?;
        let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
        while let Some(part) = reader.next().await? {
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.freeze())
    }

    /// Reads a range of an object that was listed, one part after another.
    pub fn reader(&self, object: &Object, range: Range<u64>) -> Result<RangeReader, OriginError> {
        if range.start > range.end || range.end > object.size {
            let url = self.shown(object);
            return Err(OriginError::OutOfRange { url, from: range.start, to: range.end, size: object.size });
        }
        let progress = Progress::new(&self.limits, true);
        let (origin, object, came) = (self.clone(), object.clone(), Bytes::new());
        Ok(RangeReader { origin, object, rest: range, came, body: None, progress })
    }

    /// What a failed read means.
    fn failure(&self, error: OriginError) -> OriginError {
        match (&self.insists, error) {
            (Some(said), OriginError::Denied { url, reason } | OriginError::Refused { url, reason }) => {
                if !said.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        url,
                        reason,
                        "the origin refuses to be read: what is cached is still served, and it is asked again"
                    );
                }
                OriginError::unreachable(&url, reason)
            }
            (_, error) => error,
        }
    }

    /// What an object is called in messages.
    pub fn shown(&self, object: &Object) -> String {
        let url = self.source.url();
        match url.strip_suffix('/') {
            Some(url) => format!("{url}/{}", object.path),
            None if url.ends_with(&object.path) => url.to_owned(),
            None => format!("{url}/{}", object.path),
        }
    }
}

/// Tries something until it works, fails for good, or patience is at its end.
pub(crate) async fn persist<T, F>(limits: &Limits, mut work: impl FnMut() -> F) -> Result<T, OriginError>
where
    F: Future<Output = Result<T, OriginError>>,
{
    let mut progress = Progress::new(limits, false);
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(error) => progress.failed(limits, error).await?,
        }
    }
}

/// How a read goes: since when nothing has come, and how often it was tried since.
struct Progress {
    tries: u32,
    last: Instant,
    window_ends: Instant,
    came: u64,
    /// Whether the origin was found before.
    is_known: bool,
}

impl Progress {
    fn new(limits: &Limits, is_known: bool) -> Self {
        let now = Instant::now();
        Progress { tries: 0, last: now, window_ends: now + limits.window, came: 0, is_known }
    }

    /// Something was begun.
    fn begun(&mut self, limits: &Limits) {
        (self.window_ends, self.came) = (Instant::now() + limits.window, 0);
    }

    fn came(&mut self, limits: &Limits, bytes: u64) {
        self.came += bytes;
        if self.came >= limits.least {
            (self.tries, self.last) = (0, Instant::now());
            self.begun(limits);
        }
    }

    /// Waits before the next try; fails if there is to be none.
    async fn failed(&mut self, limits: &Limits, error: OriginError) -> Result<(), OriginError> {
        self.tries += 1;
        // A host that fails in another way was found.
        self.is_known |= !matches!(error, OriginError::Unresolved { .. });
        let (elapsed, pause) = (self.last.elapsed(), limits.pause_after(self.tries, &error));
        let patience = limits.patience_with(&error, self.is_known);
        if !error.is_transient() || elapsed.saturating_add(pause) > patience {
            return Err(error);
        }
        limits.tell_retry(&error, elapsed, pause, patience);
        tracing::debug!(%error, ?pause, "an origin is tried again");
        sleep(pause).await;
        Ok(())
    }
}

/// Reads a range, one part after another.
pub struct RangeReader {
    origin: Origin,
    object: Object,
    rest: Range<u64>,
    /// What has come of that and was not given on yet.
    came: Bytes,
    body: Option<ByteStream>,
    progress: Progress,
}

impl RangeReader {
    /// The next bytes; nothing behind the end of the range. The bytes are exactly those of the range, or it fails.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        self.next_within(usize::MAX).await
    }

    /// The same, and no more than so many.
    pub(crate) async fn next_within(&mut self, most: usize) -> Result<Option<Bytes>, OriginError> {
        while self.rest.start < self.rest.end {
            if !self.came.is_empty() {
                return Ok(Some(self.portion(most).await));
            }
            match self.part().await {
                Ok(part) => {
                    self.progress.came(&self.origin.limits, part.len() as u64);
                    self.came = part;
                }
                Err(error) => {
                    let error = self.origin.failure(error);
                    self.progress.failed(&self.origin.limits, error).await?;
                }
            }
        }
        Ok(None)
    }

    /// Some of what has come, when it is due.
    async fn portion(&mut self, most: usize) -> Bytes {
        let most = most.min(self.came.len());
        let portion = match &self.origin.pace {
            None => self.came.split_to(most),
            Some(pace) => {
                let len = most.min(pace.portion());
                // Time spent waiting for our own rate limit does not count against the origin.
                let waited = pace.take(len).await;
                self.progress.window_ends += waited;
                self.progress.last += waited;
                self.came.split_to(len)
            }
        };
        self.rest.start += portion.len() as u64;
        if self.rest.is_empty() {
            self.body = None;
        }
        portion
    }

    async fn part(&mut self) -> Result<Bytes, OriginError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.open().await?,
        };
        let next = match timeout_at(self.progress.window_ends, body.next()).await {
            Ok(next) => next,
            Err(_) => return Err(self.too_slow()),
        };
        if let Some(Ok(part)) = &next {
            READ.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
        let left = self.rest.end - self.rest.start;
        match next {
            Some(Ok(part)) if part.len() as u64 > left => {
                let url = self.origin.shown(&self.object);
                Err(OriginError::refused(&url, "more bytes came than were asked for"))
            }
            // A window that has passed is one even if a byte came in it now and then.
            Some(Ok(_)) if Instant::now() > self.progress.window_ends => Err(self.too_slow()),
            Some(Ok(part)) => {
                self.body = Some(body);
                Ok(part)
            }
            Some(Err(error)) => Err(error),
            None => Err(self.unreachable(&format!("the answer ended {left} bytes before its end"))),
        }
    }

    async fn open(&mut self) -> Result<ByteStream, OriginError> {
        // The answer itself has a deadline; this is for what comes before it, as credentials.
        let deadline = Instant::now() + self.origin.limits.answer + BEFORE;
        let opened = timeout_at(deadline, self.origin.source.read(&self.object, self.rest.clone())).await;
        let opened = opened.map_err(|_| self.unreachable("no answer"))??;
        self.progress.begun(&self.origin.limits);
        Ok(opened)
    }

    fn too_slow(&self) -> OriginError {
        let (came, window) = (self.progress.came, humantime::format_duration(self.origin.limits.window));
        self.unreachable(&format!("it is too slow, {came} bytes in {window}"))
    }

    fn unreachable(&self, reason: &str) -> OriginError {
        OriginError::unreachable(&self.origin.shown(&self.object), reason)
    }
}
