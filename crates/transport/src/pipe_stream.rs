//! The two halves of a stream whose bytes pass through pipes: what they promise is the same whatever carries the pipes.

use std::sync::Arc;

use bytes::Bytes;

use crate::pipe::{Found, Pipe};
use crate::{BoxFuture, RecvStream, SendStream, TransportError};

/// What carries a stream's pipes.
pub(crate) trait Carrier: Send + Sync + 'static {
    /// Why the connection has ended, if it has.
    fn end(&self) -> Option<TransportError>;
    /// Waits until it has ended.
    fn ended(&self) -> BoxFuture<'_, TransportError>;
    /// So many bytes are on their way; also none, where only an end is.
    fn said(&self, bytes: usize);
    /// The receiver wants no more.
    fn stopped(&self, code: u32);
}

/// How far a sender has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    /// A send is under way, or was given up half way.
    Torn,
    Finished,
    Reset(u32),
}

/// The half that sends.
pub(crate) struct PipeSend<C: Carrier> {
    carrier: Arc<C>,
    pipe: Arc<Pipe>,
    state: Sending,
}

impl<C: Carrier> PipeSend<C> {
    pub(crate) fn new(carrier: Arc<C>, pipe: Arc<Pipe>) -> Self {
        PipeSend { carrier, pipe, state: Sending::Open }
    }

    fn usable(&self) -> Result<(), TransportError> {
        match self.state {
            Sending::Open => self.carrier.end().map_or(Ok(()), Err),
            Sending::Torn => Err(TransportError::Io("an earlier send on this stream was given up".to_owned())),
            Sending::Finished => Err(TransportError::Io("this stream was finished before".to_owned())),
            Sending::Reset(code) => Err(TransportError::Reset(code)),
        }
    }

    async fn push_all(&mut self, mut data: Bytes) -> Result<(), TransportError> {
        while !data.is_empty() {
            if let Some(reason) = self.carrier.end() {
                return Err(reason);
            }
            let pushed = self.pipe.push(&mut data)?;
            if pushed > 0 {
                self.carrier.said(pushed);
            } else {
                tokio::select! {
                    reason = self.carrier.ended() => return Err(reason),
                    () = self.pipe.writable.notified() => {}
                }
            }
        }
        Ok(())
    }
}

impl<C: Carrier> SendStream for PipeSend<C> {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.usable()?;
            self.state = Sending::Torn;
            let sent = self.push_all(data).await;
            self.state = match &sent {
                Err(TransportError::Reset(code)) => Sending::Reset(*code),
                _ => Sending::Open,
            };
            sent
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        self.usable()?;
        self.pipe.finish();
        self.carrier.said(0);
        self.state = Sending::Finished;
        Ok(())
    }

    fn reset(&mut self, code: u32) {
        if matches!(self.state, Sending::Open | Sending::Torn) {
            self.pipe.reset(code);
            self.carrier.said(0);
            self.state = Sending::Reset(code);
        }
    }
}

impl<C: Carrier> Drop for PipeSend<C> {
    fn drop(&mut self) {
        self.reset(0);
    }
}

/// The half that receives.
pub(crate) struct PipeRecv<C: Carrier> {
    carrier: Arc<C>,
    pipe: Arc<Pipe>,
    /// How it ended, so that asking again gives the same answer.
    ended: Option<Result<usize, TransportError>>,
}

impl<C: Carrier> PipeRecv<C> {
    pub(crate) fn new(carrier: Arc<C>, pipe: Arc<Pipe>) -> Self {
        PipeRecv { carrier, pipe, ended: None }
    }
}

impl<C: Carrier> RecvStream for PipeRecv<C> {
    fn recv<'a>(&'a mut self, buf: &'a mut [u8]) -> BoxFuture<'a, Result<usize, TransportError>> {
        Box::pin(async move {
            if buf.is_empty() {
                return Ok(0);
            }
            if let Some(ended) = &self.ended {
                return ended.clone();
            }
            let outcome = loop {
                // What came before the connection's end is still there to be read.
                match self.pipe.pull(buf) {
                    Found::Bytes(count) => return Ok(count),
                    Found::End => break Ok(0),
                    Found::Reset(code) => break Err(TransportError::Reset(code)),
                    Found::Nothing => {}
                }
                if let Some(reason) = self.carrier.end() {
                    break Err(reason);
                }
                tokio::select! {
                    _ = self.carrier.ended() => {}
                    () = self.pipe.readable.notified() => {}
                }
            };
            self.ended.insert(outcome).clone()
        })
    }

    fn stop(&mut self, code: u32) {
        if self.ended.is_none() {
            self.pipe.stop(code);
            self.carrier.stopped(code);
            self.ended = Some(Err(TransportError::Reset(code)));
        }
    }
}

impl<C: Carrier> Drop for PipeRecv<C> {
    fn drop(&mut self) {
        self.stop(0);
    }
}
