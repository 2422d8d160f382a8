//! The body of a response: bytes that are known, and ranges of a content that are read while they come, without a copy.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use peer::{OpenContent, ReadMemory, Reader};
use tokio::time::{Sleep, sleep};

use crate::blobs::growing::{Growing, GrowingReader};
use crate::kept::{InUse, Kept};

/// A part of a body.
pub(crate) enum Part {
    /// Bytes that are known.
    Bytes(Bytes),
    /// Bytes of the content.
    Range(Range<u64>),
    /// Nothing more is sent until this future succeeds. It ends on its own once the source of the bytes is known.
    Until(Awaited),
}

/// Something that an answer waits for.
pub(crate) type Awaited = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// What the ranges of a body are read from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A content of a swarm.
    Content(Arc<OpenContent>),
    /// A file of an origin, which may still be on its way.
    File(Arc<Growing>),
    /// What is known to be in one of these later.
    Later(Arc<dyn Later>),
    /// A range that is here, and all that is asked for.
    Known {
        /// Where it begins.
        from: u64,
        bytes: Bytes,
    },
}

/// Bytes of which it is not known yet where they come from.
pub(crate) trait Later: Send + Sync {
    /// Reads one range.
    fn read(self: Arc<Self>, range: Range<u64>, memory: &ReadMemory) -> Box<dyn LaterBlocks>;

    /// Whether it is known where they come from. Nothing says how long that takes, and so a client waits no longer than for a block.
    fn has_begun(&self) -> bool;

    /// Whether they must be looked for again.
    fn is_over(&self) -> bool;
}

/// The blocks of a range of such bytes.
pub(crate) trait LaterBlocks: Send {
    /// The next one; empty at the end.
    fn poll_block(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>>;
}

impl Source {
    /// What it is read from stays as long as this is held.
    pub(crate) fn in_use(&self, kept: &Arc<Kept>) -> Option<InUse> {
        match self {
            Source::Content(open) => kept.reads_content(open.content()),
            Source::File(growing) => kept.reads(growing.path.parent()?.to_owned()),
            Source::Later(_) | Source::Known { .. } => None,
        }
    }

    /// Reads one range.
    pub(crate) fn read(&self, range: Range<u64>, memory: &ReadMemory) -> Blocks {
        match self {
            Source::Content(open) => Blocks::Content(open.read(range).within(memory)),
            Source::File(growing) => Blocks::File(growing.read(range, memory)),
            Source::Later(later) => Blocks::Later(later.clone().read(range, memory)),
            Source::Known { from, bytes } => {
                Blocks::Known(bytes.slice((range.start - from) as usize..(range.end - from) as usize))
            }
        }
    }
}

/// The blocks of a range.
pub(crate) enum Blocks {
    Content(Reader),
    File(GrowingReader),
    Later(Box<dyn LaterBlocks>),
    Known(Bytes),
}

impl Blocks {
    /// The next one; empty at the end.
    pub(crate) fn poll_block(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match self {
            Blocks::Content(reader) => reader.poll_block(context),
            Blocks::File(reader) => reader.poll_block(context),
            Blocks::Later(reader) => reader.poll_block(context),
            Blocks::Known(bytes) => Poll::Ready(Ok(std::mem::take(bytes))),
        }
    }
}

/// Where the parts of a body come from, one after another.
pub(crate) type Parts = Box<dyn Iterator<Item = Part> + Send>;

/// A body whose parts are read one after another. What does not come in time ends it with an error, and so the connection.
pub(crate) struct ContentBody {
    source: Source,
    parts: Parts,
    reader: Option<Blocks>,
    awaited: Option<Awaited>,
    /// Bytes that the reader has yet to give.
    left: u64,
    /// What was read before the headers were sent.
    ready: VecDeque<Bytes>,
    /// Bytes of all parts that are yet to come.
    size: u64,
    /// What its blocks take a part of.
    memory: ReadMemory,
    /// How long one block is waited for, and until when the one is that is waited for now.
    wait: Duration,
    patience: Option<Pin<Box<Sleep>>>,
    /// What is read, which stays as long as it is.
    in_use: Option<InUse>,
}

impl ContentBody {
    pub(crate) fn new(source: Source, parts: Parts, size: u64, wait: Duration, memory: &ReadMemory) -> Self {
        ContentBody {
            source,
            parts,
            reader: None,
            awaited: None,
            left: 0,
            ready: VecDeque::new(),
            size,
            wait,
            memory: memory.clone(),
            patience: None,
            in_use: None,
        }
    }

    /// What is read is in use as long as this body is there.
    pub(crate) fn uses(&mut self, in_use: Option<InUse>) {
        self.in_use = in_use;
    }

    /// Waits until its first bytes are here: an answer begins only then, or says why not.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        let first = poll_fn(|context| self.poll_next(context)).await;
        self.ready.extend(first.transpose()?);
        Ok(())
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(awaited) = &mut self.awaited {
                let Poll::Ready(ended) = awaited.as_mut().poll(context) else {
                    return match &self.source {
                        Source::Later(later) if !later.has_begun() => self.poll_patience(context),
                        _ => Poll::Pending,
                    };
                };
                (self.awaited, self.patience) = (None, None);
                if let Err(error) = ended {
                    return Poll::Ready(Some(Err(error)));
                }
            }
            if let Some(reader) = self.reader.as_mut().filter(|_| self.left > 0) {
                let Poll::Ready(block) = reader.poll_block(context) else {
                    return match reader {
                        Blocks::Content(_) | Blocks::Later(_) => self.poll_patience(context),
                        // What is read from an origin has deadlines of its own.
                        Blocks::File(_) | Blocks::Known(_) => Poll::Pending,
                    };
                };
                self.patience = None;
                let block = match block {
                    Ok(block) if block.is_empty() => {
                        return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                    }
                    Ok(block) => block,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                };
                self.left = self.left.saturating_sub(block.len() as u64);
                return Poll::Ready(Some(Ok(block)));
            }
            self.reader = None;
            match self.parts.next() {
                None => return Poll::Ready(None),
                Some(Part::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Part::Bytes(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Some(Part::Range(range)) => {
                    self.left = range.end - range.start;
                    self.reader = Some(self.source.read(range, &self.memory));
                }
                Some(Part::Until(awaited)) => self.awaited = Some(awaited),
            }
        }
    }

    /// Nothing is here yet: that lasts for a while at most.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let wait = self.wait;
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(wait)));
        let kind = if self.memory.is_short() { io::ErrorKind::ResourceBusy } else { io::ErrorKind::TimedOut };
        patience.as_mut().poll(context).map(|()| Some(Err(kind.into())))
    }
}

impl Body for ContentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match self.ready.pop_front() {
            Some(bytes) => Some(Ok(bytes)),
            None => {
                let Poll::Ready(next) = self.poll_next(context) else { return Poll::Pending };
                next
            }
        };
        if let Some(Ok(bytes)) = &next {
            self.size = self.size.saturating_sub(bytes.len() as u64);
        }
        if let Some(Err(error)) = &next {
            match &self.source {
                Source::Content(open) => tracing::info!(%error, content = %open.content(), "an answer breaks off"),
                Source::File(growing) => tracing::info!(%error, file = growing.name(), "an answer breaks off"),
                Source::Later(_) => tracing::info!(%error, "an answer with what another gateway reads breaks off"),
                Source::Known { .. } => {}
            }
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size)
    }
}
