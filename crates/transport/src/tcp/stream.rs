//! One stream on a stream connection, with the two halves that the seam wants.
//!
//! The halves share the stream connection: a sender must also hear a `STOP`, which comes from the direction that the receiving
//! half reads. So both read under one lock, and the sender never holds it once there is payload to take. What is said
//! without waiting (`finish`, `reset`, `stop`, a drop) goes into a queue that a task writes out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout};

use super::connection_core::{ConnectionHold, Core, REASON};
use super::socket::Handle;
use super::stream_connection::{Reader, StreamConnection, StreamFrame, Writer};
use crate::admission::Worth;
use crate::lock::lock;
use crate::{BoxFuture, RecvStream, SendStream, TransportError};

/// Most bytes of a frame: what must be written to its end after the other side has said stop.
const FRAME: usize = 256 << 10;
/// The other side ends what it was asked to end within this time, or the stream connection is given up.
const DRAIN: Duration = Duration::from_secs(10);

pub(super) struct OneStream {
    core: Arc<Core>,
    /// A stream that is held keeps its connection.
    _held: Arc<ConnectionHold>,
    number: u32,
    socket: Handle,
    /// Whether this side opens streams on the stream connection.
    ours: bool,
    reader: AsyncMutex<Option<Reader>>,
    writer: AsyncMutex<Option<Writer>>,
    state: Mutex<State>,
    /// The place among the streams that may be open at once.
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(Default)]
struct State {
    /// What is to be said.
    queue: VecDeque<StreamFrame>,
    /// Our direction's end was said, and is on its way.
    ended: bool,
    /// How the other side's direction ended.
    heard_end: Option<Result<(), TransportError>>,
    /// The other side wants no more.
    stopped: Option<u32>,
    /// The stream connection cannot be used again.
    torn: bool,
}

/// Both halves of a stream on this stream connection.
pub(super) fn halves(
    held: Arc<ConnectionHold>,
    connection: StreamConnection,
    ours: bool,
    first: Option<StreamFrame>,
    place: Option<OwnedSemaphorePermit>,
) -> (SendHalf, RecvHalf) {
    connection.socket.set_worth(Worth::WithStream);
    held.0.is_used();
    let stream = Arc::new(OneStream {
        core: held.0.clone(),
        _held: held,
        number: connection.next,
        socket: connection.socket,
        ours,
        reader: AsyncMutex::new(Some(connection.reader)),
        writer: AsyncMutex::new(Some(connection.writer)),
        state: Mutex::default(),
        _place: place,
    });
    if let Some(first) = first {
        stream.note(first);
    }
    (SendHalf { stream: stream.clone(), finished: false, sending: false }, RecvHalf { stream, done: None })
}

impl OneStream {
    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut lock(&self.state))
    }

    fn note(&self, said: StreamFrame) {
        self.state(|state| match said {
            StreamFrame::Data(_) => {}
            StreamFrame::Fin => state.heard_end = Some(Ok(())),
            StreamFrame::Reset(code) => state.heard_end = Some(Err(TransportError::Reset(code))),
            StreamFrame::Stop(code) => state.stopped = Some(code),
        });
    }

    /// Hears something that is no payload. Waits for ever where payload comes first: that is for the receiving half.
    async fn hear_stop(&self) -> u32 {
        loop {
            let mut reader = self.reader.lock().await;
            if let Some(code) = self.state(|state| state.stopped) {
                return code;
            }
            match &mut *reader {
                Some(reader) if reader.left() == 0 => match reader.said(self.number).await {
                    Ok(said) => self.note(said),
                    Err(_) => break,
                },
                _ => break,
            }
        }
        std::future::pending().await
    }

    /// Writes one frame; false if the stream connection is gone.
    async fn send_frame(&self, payload: &[u8]) -> Result<bool, TransportError> {
        let mut guard = self.writer.lock().await;
        let torn = self.state(|state| state.torn);
        let Some(writer) = guard.as_mut().filter(|_| !torn) else { return Err(TransportError::Reset(0)) };
        let writing = writer.data(self.number, payload);
        tokio::pin!(writing);
        let mut stopped = false;
        loop {
            tokio::select! {
                // The stop first: where the other side takes everything at once, nothing would ever wait for it.
                biased;
                // A frame is written to its end: the other side takes and forgets it.
                _ = self.hear_stop(), if !stopped => stopped = true,
                error = self.core.ended() => return Err(error),
                written = &mut writing => return Ok(written.is_ok()),
            }
        }
    }

    /// Queues what is to be said, and has it written.
    fn say(self: &Arc<Self>, said: StreamFrame) {
        self.state(|state| state.queue.push_back(said));
        let stream = self.clone();
        self.core.spawn(async move { stream.write_queue().await });
    }

    async fn write_queue(&self) {
        let mut writer = self.writer.lock().await;
        while let Some(said) = self.state(|state| state.queue.pop_front()) {
            let Some(writer) = writer.as_mut().filter(|_| !self.state(|state| state.torn)) else { return };
            let written = tokio::select! {
                written = writer.say(self.number, said) => written.is_ok(),
                _ = self.core.ended() => false,
            };
            self.state(|state| match said {
                _ if !written => state.torn = true,
                StreamFrame::Fin | StreamFrame::Reset(_) => state.ended = true,
                _ => {}
            });
        }
        drop(writer);
        self.release().await;
    }

    /// Gives the stream connection back once both directions have ended, even while a half is held.
    async fn release(&self) {
        if !self.state(|state| state.ended && state.heard_end.is_some() && !state.torn && state.queue.is_empty()) {
            return;
        }
        let (mut reader, mut writer) = (self.reader.lock().await, self.writer.lock().await);
        if let (Some(reader), Some(writer)) = (reader.take(), writer.take()) {
            let (next, socket) = (self.number.wrapping_add(1), self.socket.clone());
            socket.set_worth(Worth::WithoutStream);
            self.core
                .clone()
                .give_back(StreamConnection { reader, writer, next, socket, idle: Instant::now() }, self.ours);
        }
    }

    /// Some bytes, or how the other side's direction ended.
    async fn receive(&self, buf: &mut [u8]) -> Result<usize, TransportError> {
        let mut guard = self.reader.lock().await;
        let result = loop {
            if let Some(ended) = self.state(|state| state.heard_end.clone()) {
                break ended.map(|()| 0);
            }
            let Some(reader) = guard.as_mut() else { break Err(TransportError::Closed) };
            let heard = if reader.left() > 0 {
                match reader.payload(buf).await {
                    Ok(count) => {
                        self.core.count_received(count);
                        return Ok(count);
                    }
                    Err(error) => Err(error),
                }
            } else {
                reader.said(self.number).await
            };
            match heard {
                Ok(said) => self.note(said),
                Err(_) => {
                    drop(guard);
                    return Err(self.torn_apart().await);
                }
            }
        };
        drop(guard);
        self.release().await;
        result
    }

    /// The stream connection is gone: because the connection is, or because the other side gave this stream up.
    async fn torn_apart(&self) -> TransportError {
        let error = timeout(REASON, self.core.ended()).await.unwrap_or(TransportError::Reset(0));
        self.state(|state| {
            state.torn = true;
            state.heard_end = Some(Err(error.clone()));
        });
        error
    }

    /// Takes and forgets what comes until the other side has ended its direction.
    fn drain(self: &Arc<Self>) {
        let stream = self.clone();
        self.core.spawn(async move {
            let mut sink = vec![0; 64 << 10];
            let all = async { while let Ok(1..) = stream.receive(&mut sink).await {} };
            let done = tokio::select! {
                done = timeout(DRAIN, all) => done.is_ok(),
                _ = stream.core.ended() => false,
            };
            if !done {
                stream.tear().await;
            }
        });
    }

    async fn tear(&self) {
        self.state(|state| state.torn = true);
        if let Some(writer) = &mut *self.writer.lock().await {
            let _ = timeout(REASON, writer.shut_down()).await;
        }
    }
}

pub(super) struct SendHalf {
    stream: Arc<OneStream>,
    finished: bool,
    /// A send is under way, or was given up half way: what was sent has no clean end.
    sending: bool,
}

impl SendHalf {
    async fn send_all(&mut self, data: &[u8]) -> Result<(), TransportError> {
        let stream = &*self.stream;
        for payload in data.chunks(FRAME) {
            if let Some(code) = stream.state(|state| state.stopped) {
                return Err(TransportError::Reset(code));
            }
            if !stream.send_frame(payload).await? {
                return Err(stream.torn_apart().await);
            }
            stream.core.count_sent(payload.len());
        }
        match stream.state(|state| state.stopped) {
            Some(code) => Err(TransportError::Reset(code)),
            None => Ok(()),
        }
    }

    fn given_up(&self) -> Result<(), TransportError> {
        match self.sending {
            true => Err(TransportError::Io("an earlier send on this stream was given up".to_owned())),
            false => Ok(()),
        }
    }
}

impl SendStream for SendHalf {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.given_up()?;
            if self.finished {
                return Err(TransportError::Closed);
            }
            if let Some(error) = self.stream.core.end() {
                return Err(error);
            }
            self.sending = true;
            let sent = self.send_all(&data).await;
            self.sending = false;
            sent
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        self.given_up()?;
        if std::mem::replace(&mut self.finished, true) {
            return Err(TransportError::Closed);
        }
        self.stream.say(StreamFrame::Fin);
        Ok(())
    }

    fn reset(&mut self, code: u32) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if self.sending {
            // Half a frame was written: only the end of the stream connection can say that it is over.
            let stream = self.stream.clone();
            self.stream.core.spawn(async move { stream.tear().await });
        } else {
            self.stream.say(StreamFrame::Reset(code));
        }
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.reset(0);
    }
}

pub(super) struct RecvHalf {
    stream: Arc<OneStream>,
    /// How it ended for us: asking again must give the same answer.
    done: Option<Result<usize, TransportError>>,
}

impl RecvStream for RecvHalf {
    fn recv<'a>(&'a mut self, buf: &'a mut [u8]) -> BoxFuture<'a, Result<usize, TransportError>> {
        Box::pin(async move {
            if buf.is_empty() {
                return Ok(0);
            }
            if let Some(done) = &self.done {
                return done.clone();
            }
            let received = tokio::select! {
                biased;
                received = self.stream.receive(buf) => received,
                error = self.stream.core.ended() => Err(error),
            };
            if !matches!(received, Ok(1..)) {
                self.done = Some(received.clone());
            }
            received
        })
    }

    fn stop(&mut self, code: u32) {
        if self.done.is_none() {
            self.done = Some(Err(TransportError::Reset(code)));
            self.stream.say(StreamFrame::Stop(code));
            self.stream.drain();
        }
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        self.stop(0);
    }
}
