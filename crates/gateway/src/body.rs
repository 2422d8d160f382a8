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

/// A part of a body.
pub(crate) enum Part {
    /// Bytes that are known.
    Bytes(Bytes),
    /// Bytes of the content.
    Range(Range<u64>),
}

/// Where the parts of a body come from, one after another.
pub(crate) type Parts = Box<dyn Iterator<Item = Part> + Send>;

/// A body whose parts are read one after another. What does not come in time ends it with an error, and so the connection.
pub(crate) struct ContentBody {
    open: Arc<OpenContent>,
    parts: Parts,
    reader: Option<Reader>,
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
}

impl ContentBody {
    pub(crate) fn new(open: Arc<OpenContent>, parts: Parts, size: u64, wait: Duration, memory: &ReadMemory) -> Self {
        let memory = memory.clone();
        ContentBody { open, parts, reader: None, left: 0, ready: VecDeque::new(), size, wait, memory, patience: None }
    }

    /// Waits until its first bytes are here: an answer begins only then, or says why not.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        let first = poll_fn(|context| self.poll_next(context)).await;
        self.ready.extend(first.transpose()?);
        Ok(())
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(reader) = self.reader.as_mut().filter(|_| self.left > 0) {
                let Poll::Ready(block) = reader.poll_block(context) else { return self.poll_patience(context) };
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
                    self.reader = Some(self.open.read(range).within(&self.memory));
                }
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
            tracing::info!(%error, content = %self.open.content(), "an answer breaks off");
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size)
    }
}
