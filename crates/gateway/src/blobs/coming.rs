//! A file that another gateway reads from its origin at the moment. Nobody has any of it before all of it is read, and that may take longer than
//! clients wait for a byte: so that they stay, a few bytes at a time come from the origin itself. When the file is in the swarm, the
//! rest is read from there; that it begins with what was sent is compared before the end of an answer.

use std::future::{pending, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use origins::{FileDigest, Object, Origin, OriginError, OriginFallback};
use peer::ReadMemory;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use super::fleet::{self, Claimed, Turn};
use super::growing::{Verdict, outcome};
use super::held::Held;
use super::swarm::{Fit, Spare};
use super::{Entry, Shared, flight};
use crate::body::{Blocks, Later, LaterBlocks};
use crate::contents::Contents;
use crate::error::Refusal;
use crate::kept::{InUse, Kept};

/// Clients of Hugging Face wait ten seconds for a byte.
const EVERY: Duration = Duration::from_secs(6);
/// So many bytes are sent then.
const A_TIME: usize = 1 << 10;
/// The origin is asked for so many at once, for all clients of this gateway together: hubs count requests. Of a fleet of fifty that is less than
/// 4 MiB in five minutes, and fewer than one request a second.
const A_REQUEST: u64 = 16 << 10;
/// Most bytes of a file that come so. After that its clients wait for as long as they do.
const MOST: usize = 1 << 20;

/// A file that another gateway reads.
struct Coming {
    origin: Origin,
    object: Object,
    /// What came of it beforehand.
    first: Mutex<First>,
    /// Where it is once it is in the swarm, or on its way to this gateway.
    real: watch::Receiver<Option<Held>>,
    /// What becomes of it.
    verdict: watch::Receiver<Verdict>,
    kept: Arc<Kept>,
}

/// How a file begins, as its origin says.
#[derive(Default)]
struct First {
    bytes: Vec<u8>,
    /// So many of these are sent to clients.
    shown: usize,
}

impl First {
    /// What clients may have of a range.
    fn of(&self, range: &Range<u64>) -> Option<Bytes> {
        let end = (range.end.min(self.shown as u64)) as usize;
        let bytes = self.bytes.get(usize::try_from(range.start).ok()?..end)?;
        (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes))
    }
}

/// Waits for a file in the background. The lease is one that another gateway holds.
pub(super) fn begin(
    shared: &Arc<Shared>,
    contents: &Arc<Contents>,
    claimed: Claimed,
    (origin, object, digest): (Origin, Object, FileDigest),
    entry: &Entry,
) -> Held {
    let (say, verdict) = watch::channel(Verdict::Open);
    let (tell, real) = watch::channel(None);
    let kept = shared.kept.clone();
    let coming = Arc::new(Coming {
        origin: origin.clone(),
        object: object.clone(),
        first: Mutex::default(),
        real,
        verdict: verdict.clone(),
        kept,
    });
    let held = Held::later(coming.clone(), object.size, verdict);
    let (shared, contents, entry) = (shared.clone(), contents.clone(), entry.clone());
    tokio::spawn(async move {
        let fit = Fit { size: Some(object.size), most: object.size };
        let spare: Spare = Some(Arc::new(OriginFallback::spare(&origin, Some(object.clone()))));
        let real = match fleet::turn(&shared, &contents, (digest, fit, spare), Some(claimed)).await {
            Ok(Turn::Theirs(found)) => shared.only_file(found, digest),
            Ok(Turn::Ours(reading)) => flight::begin(&shared, (origin, object, digest), reading, &entry).await,
            Err(refusal) => Err(refusal),
        };
        let verdict = match real {
            Ok(real) => {
                tell.send_replace(Some(real.clone()));
                coming.compared(&real, &shared.checks).await
            }
            Err(refusal) => Verdict::Failed(refusal),
        };
        let say = || {
            let _ = say.send(verdict);
        };
        match verdict {
            Verdict::Wrong => shared.spoiled.is_wrong(digest, say),
            _ => say(),
        }
    });
    held
}

impl Later for Coming {
    fn read(self: Arc<Self>, range: Range<u64>, memory: &ReadMemory) -> Box<dyn LaterBlocks> {
        Box::new(ComingReader { coming: self, range, memory: memory.clone(), asked: None, real: None, in_use: None })
    }

    fn has_begun(&self) -> bool {
        self.real.borrow().is_some()
    }

    fn is_over(&self) -> bool {
        self.real.borrow().as_ref().is_some_and(Held::is_over)
    }
}

impl Coming {
    /// What becomes of it: it must be right, and begin with what clients have been sent.
    async fn compared(&self, real: &Held, memory: &ReadMemory) -> Verdict {
        if real.is_right().await.is_err() {
            return real.verdict();
        }
        // Nothing is added any more: those who read have heard where it is.
        let first = self.first.lock().await;
        let mut left = &first.bytes[..first.shown];
        let mut blocks = real.source.read(real.offset..real.offset + left.len() as u64, memory);
        while !left.is_empty() {
            match poll_fn(|context| blocks.poll_block(context)).await {
                Ok(block) if !block.is_empty() && left.starts_with(&block) => left = &left[block.len()..],
                Ok(_) => {
                    tracing::warn!(
                        url = self.origin.url(),
                        "an origin has sent other bytes than those of the whole file"
                    );
                    return Verdict::Wrong;
                }
                Err(_) => return Verdict::Failed(Refusal::Failed),
            }
        }
        Verdict::Right
    }

    /// What comes next at this place: a few bytes, or where the file is.
    async fn next(&self, range: Range<u64>) -> io::Result<Next> {
        let mut real = self.real.clone();
        let known = async move { real.wait_for(|real| real.is_some()).await.ok().and_then(|real| real.clone()) };
        tokio::select! {
            biased;
            known = known => match known {
                Some(held) => Ok(Next::Real(held)),
                None => Err(outcome(*self.verdict.borrow()).err().unwrap_or_else(|| io::Error::other(Refusal::Late))),
            },
            bytes = self.beforehand(range) => Ok(Next::Bytes(bytes)),
        }
    }

    /// A few bytes at this place, after a while; never, if others than the next ones are wanted.
    async fn beforehand(&self, range: Range<u64>) -> Bytes {
        if let Some(known) = self.first.lock().await.of(&range) {
            return known;
        }
        loop {
            sleep(EVERY).await;
            let mut first = self.first.lock().await;
            if let Some(known) = first.of(&range) {
                return known;
            }
            if range.start != first.shown as u64 || first.shown >= MOST {
                // Others go on.
                drop(first);
                return pending().await;
            }
            if first.shown == first.bytes.len() {
                let end = (range.start + A_REQUEST).min(self.object.size);
                match self.read_from_origin(range.start..end).await {
                    Ok(bytes) => first.bytes.extend_from_slice(&bytes),
                    // Who reads it has the same trouble, or none.
                    Err(error) => tracing::debug!(%error, "nothing comes beforehand"),
                }
            }
            first.shown = (first.shown + A_TIME).min(first.bytes.len());
            if let Some(known) = first.of(&range) {
                return known;
            }
        }
    }

    async fn read_from_origin(&self, range: Range<u64>) -> Result<Vec<u8>, OriginError> {
        let mut reader = self.origin.reader(&self.object, range)?;
        let mut bytes = Vec::new();
        while let Some(part) = reader.next().await? {
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

/// What a reader hears.
enum Next {
    Bytes(Bytes),
    Real(Held),
}

/// Reads a range of such a file.
struct ComingReader {
    coming: Arc<Coming>,
    range: Range<u64>,
    memory: ReadMemory,
    asked: Option<Pin<Box<dyn Future<Output = io::Result<Next>> + Send>>>,
    real: Option<Blocks>,
    in_use: Option<InUse>,
}

impl LaterBlocks for ComingReader {
    fn poll_block(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            if let Some(real) = &mut self.real {
                return real.poll_block(context);
            }
            if self.range.is_empty() {
                return Poll::Ready(Ok(Bytes::new()));
            }
            let (coming, range) = (&self.coming, &self.range);
            let asked = self.asked.get_or_insert_with(|| {
                let (coming, range) = (coming.clone(), range.clone());
                Box::pin(async move { coming.next(range).await })
            });
            let Poll::Ready(next) = asked.as_mut().poll(context) else { return Poll::Pending };
            self.asked = None;
            match next? {
                Next::Bytes(bytes) => {
                    self.range.start += bytes.len() as u64;
                    return Poll::Ready(Ok(bytes));
                }
                Next::Real(held) => {
                    held.goes_out()?;
                    let range = held.offset + self.range.start..held.offset + self.range.end;
                    self.in_use = held.source.in_use(&self.coming.kept);
                    self.real = Some(held.source.read(range, &self.memory));
                }
            }
        }
    }
}
