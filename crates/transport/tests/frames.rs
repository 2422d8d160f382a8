//! Frames are capped before they are allocated, and a cut one is not a clean end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use p2p_fileshare_transport::frame::{MessageReceiver, MessageSender, encode, frame, read_frame};
use p2p_fileshare_transport::{BoxFuture, RecvStream, SendStream, TransportError};
use protocol::{DecodeError, PeerMessage, Request, Wire};

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

/// Takes everything, or nothing at all.
struct Sink {
    taken: Arc<Mutex<Vec<u8>>>,
    stuck: bool,
}

impl SendStream for Sink {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            if self.stuck {
                std::future::pending::<()>().await;
            }
            self.taken.lock().unwrap().extend_from_slice(&data);
            Ok(())
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    fn reset(&mut self, _code: u32) {}
}

/// Never gives anything.
struct Silent;

impl RecvStream for Silent {
    fn recv<'a>(&'a mut self, _buf: &'a mut [u8]) -> BoxFuture<'a, Result<usize, TransportError>> {
        Box::pin(std::future::pending())
    }

    fn stop(&mut self, _code: u32) {}
}

const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn messages_come_back_as_they_went() {
    let content = protocol::ContentId(protocol::Digest([7; 32]));
    let sent = [PeerMessage::Interest { content, interested: true }, PeerMessage::Bye];
    let taken = Arc::new(Mutex::new(Vec::new()));
    let mut sender = MessageSender::new(Box::new(Sink { taken: taken.clone(), stuck: false }), DEADLINE);
    sender.send(&sent[0]).await.unwrap();
    sender.send_encoded(encode(&sent[1]).unwrap()).await.unwrap();
    let bytes = taken.lock().unwrap().clone();
    let mut receiver = MessageReceiver::<PeerMessage>::new(Box::new(Trickle(bytes)));
    for message in sent {
        assert_eq!(receiver.recv_within(DEADLINE).await, Ok(Some(message)));
    }
    assert_eq!(receiver.recv().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn who_takes_or_sends_nothing_runs_out_of_time() {
    let stuck = Sink { taken: Arc::default(), stuck: true };
    let mut sender = MessageSender::new(Box::new(stuck), DEADLINE);
    assert_eq!(sender.send(&PeerMessage::Bye).await, Err(TransportError::TimedOut("send")));
    let mut receiver = MessageReceiver::<PeerMessage>::new(Box::new(Silent));
    assert_eq!(receiver.recv_within(DEADLINE).await, Err(TransportError::TimedOut("receive")));
}

#[tokio::test]
async fn what_is_no_message_says_why_and_a_long_one_is_refused_by_its_length() {
    let receive = |bytes: &[u8], cap: usize| {
        let mut receiver = MessageReceiver::<Request>::new(Box::new(Trickle(frame(bytes).to_vec()))).with_cap(cap);
        async move { receiver.recv().await.unwrap_err() }
    };
    assert!(matches!(receive(&[200], 64).await, TransportError::Decode(DecodeError::Invalid(_))));
    assert_eq!(receive(&[0; 65], 64).await, TransportError::FrameTooLong(65));
    assert_eq!(receive(&[0; 300], 1000).await, TransportError::FrameTooLong(300), "no cap is over the message's own");
    let mut bytes = Request::Manifest { content: protocol::ContentId(protocol::Digest([7; 32])) }.encode().unwrap();
    bytes.push(0);
    assert_eq!(receive(&bytes, 64).await, TransportError::Decode(DecodeError::Trailing(1)));
}
