//! Length-prefixed frames on a stream: four bytes of length, little endian, then so many bytes.
//!
//! The length is checked against a cap before anything is allocated.

use bytes::Bytes;

use crate::{RecvStream, TransportError};

/// The payload with its length before it.
pub fn frame(payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(4 + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.into()
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
