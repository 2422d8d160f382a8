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
const OUTBOX: usize = 32 * 1024;
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
