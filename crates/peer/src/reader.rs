//! Reading a content in order while it is downloaded.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

use crate::command::{Command, Commands};
use crate::error::PeerError;
use crate::report::ContentKey;
use crate::status::Status;

/// Reads a content in order: see [`Download::read_from`](crate::Download::read_from). It is woken when the next piece is stored,
/// and ends at the end of the content. If the download fails, so does the next read.
#[must_use = "nothing is read until it is polled"]
pub struct Reader {
    commands: Commands,
    key: ContentKey,
    status: watch::Receiver<Status>,
    /// Where the next block begins.
    offset: u64,
    /// What was read and not yet taken.
    block: Bytes,
    asked: Option<Asked>,
}

/// A block that was asked for.
type Asked = Pin<Box<dyn Future<Output = Result<Bytes, PeerError>> + Send>>;

impl Reader {
    pub(crate) fn new(commands: Commands, key: ContentKey, status: watch::Receiver<Status>, offset: u64) -> Self {
        Reader { commands, key, status, offset, block: Bytes::new(), asked: None }
    }

    fn ask(&self) -> Asked {
        let (commands, key, offset) = (self.commands.clone(), self.key, self.offset);
        Box::pin(async move { commands.ask(|reply| Command::Read { key, offset, reply }).await? })
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
        if self.block.is_empty() {
            let mut asked = self.asked.take().unwrap_or_else(|| self.ask());
            let Poll::Ready(answer) = asked.as_mut().poll(context) else {
                self.asked = Some(asked);
                return Poll::Pending;
            };
            self.block = answer.map_err(|error| self.failure(error))?;
            self.offset += self.block.len() as u64;
        }
        let len = buf.remaining().min(self.block.len());
        buf.put_slice(&self.block[..len]);
        self.block.advance(len);
        Poll::Ready(Ok(()))
    }
}
