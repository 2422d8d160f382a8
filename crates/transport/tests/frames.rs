//! Frames are capped before they are allocated, and a cut one is not a clean end.

use transport::frame::{frame, read_frame};
use transport::{BoxFuture, RecvStream, TransportError};

/// Gives what it holds one byte a call, the worst that a network may do.
struct Trickle(Vec<u8>);

impl RecvStream for Trickle {
    fn recv<'a>(&'a mut self, buf: &'a mut [u8]) -> BoxFuture<'a, Result<usize, TransportError>> {
        Box::pin(async move {
            if buf.is_empty() || self.0.is_empty() {
                return Ok(0);
            }
            buf[0] = self.0.remove(0);
            Ok(1)
        })
    }

    fn stop(&mut self, _code: u32) {}
}

#[tokio::test]
async fn frames_come_back_one_by_one_and_then_the_end() {
    let mut bytes = frame(b"first").to_vec();
    bytes.extend_from_slice(&frame(b""));
    let mut stream = Trickle(bytes);
    assert_eq!(read_frame(&mut stream, 5).await, Ok(Some(b"first".to_vec())));
    assert_eq!(read_frame(&mut stream, 5).await, Ok(Some(Vec::new())));
    assert_eq!(read_frame(&mut stream, 5).await, Ok(None));
}

#[tokio::test]
async fn a_length_over_the_cap_is_refused_before_its_bytes_come() {
    let mut stream = Trickle(u32::MAX.to_le_bytes().to_vec());
    assert_eq!(read_frame(&mut stream, 1 << 20).await, Err(TransportError::FrameTooLong(u32::MAX as usize)));
    let mut just_over = Trickle(frame(b"123456").to_vec());
    assert_eq!(read_frame(&mut just_over, 5).await, Err(TransportError::FrameTooLong(6)));
}

#[tokio::test]
async fn an_end_inside_a_frame_is_not_a_clean_end() {
    let whole = frame(b"payload").to_vec();
    for length in 1..whole.len() {
        let mut stream = Trickle(whole[..length].to_vec());
        assert_eq!(read_frame(&mut stream, 64).await, Err(TransportError::Truncated), "cut after {length}");
    }
}
