//! Reading a content in order while it is downloaded.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use crate::command::{Command, Commands, ReaderPlace};
use crate::error::PeerError;
use crate::read_memory::ReadMemory;
use crate::report::ContentKey;
use crate::status::Status;

/// The number of the next reader in this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Reads a content in order: see [`Download::read_from`](crate::Download::read_from). It is woken when the next piece is stored,
/// and ends at the end of the content, or of the range that it was made for. If the download fails, so does the next read.
///
/// While it is read, the pieces that it waits for and those next after them are fetched before others. Drop it when nothing
/// more is to be read.
#[must_use = "nothing is read until it is polled"]
pub struct Reader {
    commands: Commands,
    key: ContentKey,
    status: watch::Receiver<Status>,
    number: u64,
    /// Gone when this is: then nothing is fetched for it any more.
    alive: Arc<()>,
    /// Where the next block begins, and where the last one ends.
    offset: u64,
    end: u64,
    /// What was read and not yet taken.
    block: Bytes,
    asked: Option<Asked>,
    /// What the blocks may take, if that is bounded.
    memory: Option<ReadMemory>,
    /// How long it waits for a block before that is fetched before others; at once unless it is said.
    patience: Option<Duration>,
    /// Until when it waits, and whether it has waited for so long.
    starved: Option<Pin<Box<Sleep>>>,
    hastens: bool,
}

/// A block that was asked for.
type Asked = Pin<Box<dyn Future<Output = Result<Bytes, PeerError>> + Send>>;

impl Reader {
    pub(crate) fn new(
        commands: Commands,
        key: ContentKey,
        status: watch::Receiver<Status>,
        Range { start, end }: Range<u64>,
    ) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (alive, block) = (Arc::new(()), Bytes::new());
        Reader {
            commands,
            key,
            status,
            number,
            alive,
            offset: start,
            end,
            block,
            asked: None,
            memory: None,
            patience: None,
            starved: None,
            hastens: false,
        }
    }

    /// Reads within a memory limit that is shared with other readers: a block is read once there is room for it, and holds its
    /// room until the last part of it is dropped. Nothing is read ahead unless most of the memory is free.
    pub fn within(mut self, memory: &ReadMemory) -> Self {
        self.memory = Some(memory.clone());
        self
    }

    /// Takes pieces as they come, and asks for one out of turn only after it has waited this long. For many readers that start at
    /// the same place at the same time: if each asked for the piece that it needs next, all peers would send the same few pieces.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The next block without a copy, as large as it comes; empty at the end. Cancel-safe: nothing is lost if the future is
    /// dropped.
    pub async fn block(&mut self) -> io::Result<Bytes> {
        poll_fn(|context| self.poll_block(context)).await
    }

    /// The same, for `poll` functions.
    pub fn poll_block(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if !self.block.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.block)));
        }
        if self.offset >= self.end {
            return Poll::Ready(Ok(Bytes::new()));
        }
        let mut asked = self.asked.take().unwrap_or_else(|| self.ask());
        let answer = loop {
            if let Poll::Ready(answer) = asked.as_mut().poll(context) {
                break answer;
            }
            if !self.has_starved(context) {
                self.asked = Some(asked);
                return Poll::Pending;
            }
            self.hastens = true;
            asked = self.ask();
        };
        (self.starved, self.hastens) = (None, false);
        let mut block = answer.map_err(|error| self.failure(error))?;
        block.truncate(usize::try_from(self.end - self.offset).unwrap_or(usize::MAX));
        self.offset += block.len() as u64;
        let may_read_ahead = self.memory.as_ref().is_none_or(|memory| memory.free() > memory.most() / 2);
        if may_read_ahead && !block.is_empty() && self.offset < self.end {
            // The next one is read while this one is used.
            let mut next = self.ask();
            self.asked = Some(match next.as_mut().poll(context) {
                Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
                Poll::Pending => next,
            });
        }
        Poll::Ready(Ok(block))
    }

    /// Whether it has waited for long enough to have a piece hastened that is not yet.
    fn has_starved(&mut self, context: &mut Context<'_>) -> bool {
        let Some(patience) = self.patience.filter(|_| !self.hastens) else { return false };
        let starved = self.starved.get_or_insert_with(|| Box::pin(sleep(patience)));
        starved.as_mut().poll(context).is_ready()
    }

    fn ask(&self) -> Asked {
        let (commands, key) = (self.commands.clone(), self.key);
        let alive = Arc::downgrade(&self.alive);
        let memory = self.memory.clone();
        let most_ahead = match self.patience {
            None => u64::MAX,
            Some(_) if self.hastens => 1,
            Some(_) => 0,
        };
        let place = ReaderPlace { reader: self.number, alive, offset: self.offset, end: self.end, most_ahead, memory };
        Box::pin(async move { commands.ask(|reply| Command::Read { key, place, reply }).await? })
    }

    /// Why nothing was answered: the content's own reason, if it has ended.
    fn failure(&self, error: PeerError) -> io::Error {
        match (error, self.status.borrow().state.end()) {
            (PeerError::ShutDown, Some(reason)) => io::Error::other(reason),
            (error, _) => io::Error::other(error),
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Poll::Ready(block) = self.poll_block(context) else { return Poll::Pending };
        let mut block = block?;
        let len = buf.remaining().min(block.len());
        buf.put_slice(&block[..len]);
        block.advance(len);
        self.block = block;
        Poll::Ready(Ok(()))
    }
}
