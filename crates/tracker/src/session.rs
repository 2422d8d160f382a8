//! One peer's connection to the tracker: hello, then announcements and questions, and news the other way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{MAX_FRAME, ToTracker, TrackerMessage, VERSION, Wire};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::frame::{frame, read_frame};
use transport::{Connection, RecvStream, SendStream, TransportError};

use crate::server::State;

/// A peer must say hello within this time.
const HELLO: Duration = Duration::from_secs(5);
/// A message must be taken by the peer within this time.
const TAKEN: Duration = Duration::from_secs(10);
/// Answers that may wait for one peer. They are the large messages, and cost whoever asks next to nothing.
const ANSWERS: usize = 2;
/// Messages that may wait for one peer: the samples of all contents that it announces in one go, and news.
pub(crate) const OUTBOX: usize = 32 * 1024;
/// Longest question.
const LONGEST_QUERY: usize = 1024;

/// Runs a session until it ends, and takes the peer out of everything then.
pub(crate) async fn run(session: u64, connection: Arc<dyn Connection>, state: Arc<State>) {
    let result = tokio::select! {
        reason = connection.closed() => Err(reason),
        result = talk(session, &connection, &state) => result,
    };
    state.exit(session, connection.peer_id());
    if let Err(reason) = result {
        tracing::debug!(peer = %connection.peer_id(), %reason, "session ended");
    }
    connection.close(0, "done");
}

async fn talk(session: u64, connection: &Arc<dyn Connection>, state: &State) -> Result<(), TransportError> {
    let greeting = async {
        let (send, mut recv) = connection.accept().await?;
        Ok::<_, TransportError>((send, hear(&mut *recv).await?, recv))
    };
    let silent = |_| TransportError::Lost("it said no hello".to_owned());
    let (mut send, hello, recv) = timeout(HELLO, greeting).await.map_err(silent)??;
    let listeners = match hello {
        Some(ToTracker::Hello { version: VERSION, listeners }) => listeners,
        Some(ToTracker::Hello { version, .. }) => {
            let sentence = format!("this tracker speaks version {VERSION}, you speak {version}");
            say(&mut *send, &TrackerMessage::Refused(sentence)).await?;
            // The sentence should arrive before the connection goes.
            let _ = send.finish();
            let _ = timeout(Duration::from_secs(1), connection.closed()).await;
            return Ok(());
        }
        _ => return Err(TransportError::Lost("its first message is no hello".to_owned())),
    };
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let (answers, asked) = mpsc::channel(ANSWERS);
    let _ = outbox.try_send(TrackerMessage::Welcome { seen: connection.remote_addr() });
    state.enter(session, connection, outbox);
    tokio::select! {
        result = write(send, messages, asked) => result,
        result = read(session, &**connection, recv, &listeners, state, answers) => result,
    }
}

async fn write(
    mut send: Box<dyn SendStream>,
    mut messages: mpsc::Receiver<TrackerMessage>,
    mut answers: mpsc::Receiver<TrackerMessage>,
) -> Result<(), TransportError> {
    loop {
        // Welcome comes before any answer.
        let message = tokio::select! {
            biased;
            Some(message) = messages.recv() => message,
            Some(message) = answers.recv() => message,
            else => return Ok(()),
        };
        say(&mut *send, &message).await?;
    }
}

async fn read(
    session: u64,
    connection: &dyn Connection,
    mut recv: Box<dyn RecvStream>,
    listeners: &[SocketAddr],
    state: &State,
    answers: mpsc::Sender<TrackerMessage>,
) -> Result<(), TransportError> {
    while let Some(message) = hear(&mut *recv).await? {
        match message {
            ToTracker::Announce(announce) => {
                if let Err(sentence) = state.announce(session, connection, listeners, announce) {
                    answer(&answers, TrackerMessage::Refused(sentence)).await?;
                }
            }
            ToTracker::Leave(content) => state.leave(session, connection.peer_id(), content),
            ToTracker::Find(query) => {
                // Nothing has so long a name, and whoever asks waits for an answer.
                let matches = if query.len() > LONGEST_QUERY { Vec::new() } else { state.find(&query) };
                answer(&answers, TrackerMessage::Found { query, matches }).await?;
            }
            ToTracker::List { before } => {
                let (contents, next) = state.list(before);
                answer(&answers, TrackerMessage::Listed { before, contents, next }).await?;
            }
            ToTracker::Bye => return Ok(()),
            ToTracker::Hello { .. } => return Err(TransportError::Lost("it said hello twice".to_owned())),
        }
    }
    Ok(())
}

/// Waits for room: who asks faster than it reads waits for itself.
async fn answer(answers: &mpsc::Sender<TrackerMessage>, message: TrackerMessage) -> Result<(), TransportError> {
    answers.send(message).await.map_err(|_| TransportError::Closed)
}

async fn say(send: &mut dyn SendStream, message: &TrackerMessage) -> Result<(), TransportError> {
    let bytes = message.encode().map_err(|error| TransportError::Io(error.to_string()))?;
    let silent = |_| TransportError::Lost("it does not read".to_owned());
    timeout(TAKEN, send.send(frame(&bytes))).await.map_err(silent)?
}

async fn hear(recv: &mut dyn RecvStream) -> Result<Option<ToTracker>, TransportError> {
    let Some(bytes) = read_frame(recv, MAX_FRAME).await? else { return Ok(None) };
    ToTracker::decode(&bytes).map(Some).map_err(|error| TransportError::Io(error.to_string()))
}

#[cfg(test)]
mod tests {
    use protocol::PeerId;
    use transport::{BoxFuture, MemoryNetwork, Transport};

    use super::*;
    use crate::{Server, ServerConfig};

    /// A peer that asks without end.
    struct Asking {
        frame: Vec<u8>,
        at: usize,
        asked: usize,
    }

    impl RecvStream for Asking {
        fn recv<'a>(&'a mut self, buf: &'a mut [u8]) -> BoxFuture<'a, Result<usize, TransportError>> {
            let count = buf.len().min(self.frame.len() - self.at);
            buf[..count].copy_from_slice(&self.frame[self.at..self.at + count]);
            self.at = (self.at + count) % self.frame.len();
            self.asked += usize::from(self.at == 0);
            assert!(self.asked < 100, "the tracker reads on, whatever it has to answer");
            Box::pin(std::future::ready(Ok(count)))
        }

        fn stop(&mut self, _: u32) {}
    }

    #[tokio::test]
    async fn who_asks_and_does_not_read_has_two_answers_waiting_and_no_more() {
        let network = MemoryNetwork::new();
        let bind = |name: &[u8], at: &str| {
            let transport = network.bind(PeerId::of_public_key(name), vec![at.parse().unwrap()]).unwrap();
            Arc::new(transport) as Arc<dyn Transport>
        };
        let (tracker, peer) = (bind(b"tracker", "10.0.0.1:9999"), bind(b"peer", "10.0.0.2:9000"));
        let dialled = peer.dial(tracker.listeners()[0], tracker.peer_id());
        let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
        let (_dialled, connection) = (dialled.unwrap(), accepted.unwrap());
        let server = Server::new(tracker, ServerConfig::default());
        let (answers, mut asked) = mpsc::channel(ANSWERS);
        let bytes = ToTracker::List { before: None }.encode().unwrap();
        let asking = Box::new(Asking { frame: frame(&bytes).to_vec(), at: 0, asked: 0 });
        let reading = read(1, &*connection, asking, &[], server.state(), answers);
        tokio::pin!(reading);
        // It gets as far as it can, and has to wait there.
        for taken in 0..5 {
            tokio::select! {
                biased;
                result = &mut reading => panic!("{result:?}"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(asked.len(), 2, "after {taken} were read");
            assert!(matches!(asked.recv().await, Some(TrackerMessage::Listed { .. })));
        }
    }
}
