//! Length-prefixed frames on a stream: four bytes of length, little endian, then so many bytes; and messages in frames.
//!
//! The length is checked against a cap before anything is allocated. For messages of one kind there are
//! [`MessageSender`] and [`MessageReceiver`]; for one message before raw bytes [`send_message`] and
//! [`receive_message`] on the stream itself.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use protocol::Wire;
use tokio::time::timeout;

use crate::{RecvStream, SendStream, TransportError};

/// The payload with its length before it.
pub fn frame(payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(4 + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// The message in its frame.
pub fn encode(message: &impl Wire) -> Result<Bytes, TransportError> {
    Ok(frame(&message.encode()?))
}

/// Sends one message, which must be taken within `deadline`.
pub async fn send_message(
    stream: &mut dyn SendStream,
    message: &impl Wire,
    deadline: Duration,
) -> Result<(), TransportError> {
    send_within(stream, encode(message)?, deadline).await
}

/// Receives one message, of at most [`Wire::MAX_BYTES`]; it is an error if the stream ends before.
pub async fn receive_message<M: Wire>(stream: &mut dyn RecvStream) -> Result<M, TransportError> {
    let bytes = read_frame(stream, M::MAX_BYTES).await?.ok_or(TransportError::Truncated)?;
    Ok(M::decode(&bytes)?)
}

async fn send_within(stream: &mut dyn SendStream, data: Bytes, deadline: Duration) -> Result<(), TransportError> {
    timeout(deadline, stream.send(data)).await.map_err(|_| TransportError::TimedOut("send"))?
}

/// Sends messages of one kind on a stream.
pub struct MessageSender<M> {
    stream: Box<dyn SendStream>,
    deadline: Duration,
    messages: PhantomData<fn(M)>,
}

impl<M: Wire> MessageSender<M> {
    /// Sends on this stream. The other side must take each message within `deadline`.
    pub fn new(stream: Box<dyn SendStream>, deadline: Duration) -> Self {
        MessageSender { stream, deadline, messages: PhantomData }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &M) -> Result<(), TransportError> {
        self.send_encoded(encode(message)?).await
    }

    /// Sends a message that [`encode`] has put into its frame.
    pub async fn send_encoded(&mut self, message: Bytes) -> Result<(), TransportError> {
        send_within(&mut *self.stream, message, self.deadline).await
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) -> Result<(), TransportError> {
        self.stream.finish()
    }
}

/// Receives messages of one kind from a stream.
pub struct MessageReceiver<M> {
    stream: Box<dyn RecvStream>,
    cap: usize,
    messages: PhantomData<fn() -> M>,
}

impl<M: Wire> MessageReceiver<M> {
    /// Receives from this stream. A message may have [`Wire::MAX_BYTES`].
    pub fn new(stream: Box<dyn RecvStream>) -> Self {
        MessageReceiver { stream, cap: M::MAX_BYTES, messages: PhantomData }
    }

    /// Refuses messages of more than so many bytes.
    #[must_use]
    pub fn with_cap(self, cap: usize) -> Self {
        MessageReceiver { cap: cap.min(M::MAX_BYTES), ..self }
    }

    /// The next message; nothing if the stream has ended. It waits for as long as the stream is open. To drop this future
    /// before it is done may lose a part of a message: it is to be awaited to its end, or the stream is done with.
    pub async fn recv(&mut self) -> Result<Option<M>, TransportError> {
        let Some(bytes) = read_frame(&mut *self.stream, self.cap).await? else { return Ok(None) };
        Ok(Some(M::decode(&bytes)?))
    }

    /// The next message, which must come within `deadline`; nothing if the stream has ended.
    pub async fn recv_within(&mut self, deadline: Duration) -> Result<Option<M>, TransportError> {
        timeout(deadline, self.recv()).await.map_err(|_| TransportError::TimedOut("receive"))?
    }
}

/// The next frame's payload, of at most `max` bytes; nothing if the stream ends before it.
pub async fn read_frame(stream: &mut dyn RecvStream, max: usize) -> Result<Option<Vec<u8>>, TransportError> {
    let mut prefix = [0; 4];
    let first = stream.recv(&mut prefix).await?;
    if first == 0 {
        return Ok(None);
    }
    read_exact(stream, &mut prefix[first..]).await?;
    let len = u32::from_le_bytes(prefix) as usize;
    if len > max {
        return Err(TransportError::FrameTooLong(len));
    }
    let mut payload = vec![0; len];
    read_exact(stream, &mut payload).await?;
    Ok(Some(payload))
}

/// Fills `buf`; it is an error if the stream ends before.
pub async fn read_exact(stream: &mut dyn RecvStream, mut buf: &mut [u8]) -> Result<(), TransportError> {
    while !buf.is_empty() {
        match stream.recv(buf).await? {
            0 => return Err(TransportError::Truncated),
            count => buf = &mut buf[count..],
        }
    }
    Ok(())
}
