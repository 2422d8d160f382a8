//! One connection: its control stream both ways, and the questions that the other side asks on streams of their own.
//!
//! The dialler opens the control stream as the first of all streams; every later stream is one question.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Answer, ContentId, PeerMessage, ReceiverList, RefusalReason, Request, SHARE_OVER};
use swarm::{ConnId, Event, NamedReceivers};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::frame::{MessageReceiver, MessageSender, receive_message, send_message};
use transport::{Connection, SendStream, Stream, TransportError};

use crate::net::let_in::Control;
use crate::report::{Question, Report};

/// Messages that may wait for a slow connection before it is given up.
pub(crate) const OUTBOX: usize = 4096;
/// A question must be said within this time.
const QUESTION: Duration = Duration::from_secs(5);
/// A side that was let in says hello within this time.
const CONTROL: Duration = Duration::from_secs(5);
/// What its cap is a peer says within this time, or never.
const UP_RATE: Duration = Duration::from_secs(1);
/// Streams on which nothing was asked in time, after which a connection is given up. A few may be bad luck.
const SILENT: u32 = 8;
/// Messages sent to one peer must be taken within this time.
const SEND: Duration = Duration::from_secs(20);

/// Runs a connection that was let in until it ends, and then says so.
pub(crate) async fn run(
    number: ConnId,
    connection: Arc<dyn Connection>,
    Control { send, recv, first }: Control,
    outbox: mpsc::Receiver<PeerMessage>,
    reports: mpsc::Sender<Report>,
) {
    let talk = async {
        tokio::select! {
            result = write(send, outbox) => result,
            result = read(number, recv, first, &reports) => result,
            result = accept(number, &*connection, &reports) => result,
        }
    };
    let result = tokio::select! {
        reason = connection.closed() => Err(reason),
        result = talk => result,
    };
    if matches!(result, Ok(()) | Err(TransportError::ClosedByPeer { .. })) {
        let _ = reports.send(Report::Left { conn: number }).await;
    }
    match result {
        Ok(()) => connection.close(0, "done"),
        Err(TransportError::ClosedByPeer { code: SHARE_OVER, reason }) => {
            let _ = reports.send(Report::ShareOver { conn: number, reason }).await;
        }
        Err(reason) => {
            tracing::debug!(peer = %connection.peer_id(), %reason, "connection ended");
            // A peer that broke the protocol is told how.
            connection.close(1, &reason.to_string());
        }
    }
    let _ = reports.send(Report::Event(Event::Disconnected { conn: number })).await;
}

fn silent() -> TransportError {
    TransportError::Lost("the other side says nothing".to_owned())
}

async fn write(send: Box<dyn SendStream>, mut outbox: mpsc::Receiver<PeerMessage>) -> Result<(), TransportError> {
    let mut send = MessageSender::new(send, SEND);
    while let Some(message) = outbox.recv().await {
        send.send(&message).await?;
    }
    send.finish()
}

async fn read(
    number: ConnId,
    mut recv: MessageReceiver<PeerMessage>,
    first: Option<PeerMessage>,
    reports: &mpsc::Sender<Report>,
) -> Result<(), TransportError> {
    // The engine closes a connection that begins with anything but a hello; here it must begin.
    let mut next = match first {
        Some(first) => Some(first),
        None => recv.recv_within(CONTROL).await?,
    };
    while let Some(message) = next {
        let event = Event::Message { conn: number, message };
        if reports.send(Report::Event(event)).await.is_err() {
            break;
        }
        next = recv.recv().await?;
    }
    Ok(())
}

async fn accept(
    number: ConnId,
    connection: &dyn Connection,
    reports: &mpsc::Sender<Report>,
) -> Result<(), TransportError> {
    // The set ends its tasks with the connection; the transport bounds how many streams there are at once.
    let mut questions = tokio::task::JoinSet::new();
    let mut mute = 0;
    while mute < SILENT {
        tokio::select! {
            stream = connection.accept() => {
                let reports = reports.clone();
                let stream = stream?;
                questions.spawn(async move {
                    let heard = timeout(QUESTION, listen(stream)).await;
                    let mute = heard.is_err();
                    if let Ok(Some(question)) = heard {
                        let _ = reports.send(Report::Question { conn: number, question }).await;
                    }
                    mute
                });
            }
            Some(ended) = questions.join_next(), if !questions.is_empty() => mute += u32::from(ended.unwrap_or(false)),
        }
    }
    Err(silent())
}

/// Reads one question; a malformed one is refused by dropping its stream.
async fn listen((stream, mut recv): Stream) -> Option<Question> {
    match receive_message(&mut *recv).await.ok()? {
        Request::Manifest { content } => Some(Question::Manifest { content, stream }),
        Request::Pieces { content, run } => Some(Question::Pieces { content, run, awaited: false, stream }),
        Request::AwaitedPieces { content, run } => Some(Question::Pieces { content, run, awaited: true, stream }),
        Request::FirstPieces { content, most } => Some(Question::FirstPieces { content, most: most.into(), stream }),
        Request::UpRate { content } => Some(Question::UpRate { content, stream }),
        Request::Receivers { content, most, number } => {
            let ReceiverList { receivers } = receive_message(&mut *recv).await.ok()?;
            Some(Question::Receivers { content, list: NamedReceivers { most, number, receivers } })
        }
    }
}

/// Answers a question with a refusal.
pub(crate) async fn refuse(stream: Box<dyn SendStream>, reason: RefusalReason) {
    answer(stream, Answer::Refused(reason)).await;
}

/// Answers a question in a word.
pub(crate) async fn answer(mut stream: Box<dyn SendStream>, answer: Answer) {
    if send_message(&mut *stream, &answer, SEND).await.is_ok() {
        let _ = stream.finish();
    }
}

/// Says with whom a content is shared. A peer that does not know of that takes no notice.
pub(crate) async fn name_receivers(connection: Arc<dyn Connection>, content: ContentId, list: NamedReceivers) {
    let NamedReceivers { most, number, receivers } = list;
    let Ok(Ok((mut send, _))) = timeout(SEND, connection.open()).await else { return };
    if send_message(&mut *send, &Request::Receivers { content, most, number }, SEND).await.is_ok()
        && send_message(&mut *send, &ReceiverList { receivers }, SEND).await.is_ok()
    {
        let _ = send.finish();
    }
}

/// Asks how many bytes a second the other side sends of a content at most. None if it has no cap, or does not say.
pub(crate) async fn ask_up_rate(connection: Arc<dyn Connection>, content: ContentId) -> Option<u64> {
    let asked = async {
        let (mut send, mut recv) = connection.open().await.ok()?;
        send_message(&mut *send, &Request::UpRate { content }, UP_RATE).await.ok()?;
        send.finish().ok()?;
        match receive_message(&mut *recv).await.ok()? {
            Answer::UpRate(rate) => rate,
            Answer::Bytes(_) | Answer::Refused(_) | Answer::Pieces { .. } => None,
        }
    };
    timeout(UP_RATE, asked).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use protocol::PeerId;
    use transport::frame::frame;
    use transport::{MemoryNetwork, Transport};

    use super::*;

    /// Two peers that are connected, and the ends of their connection.
    async fn connected() -> ([impl Transport; 2], Arc<dyn Connection>, Arc<dyn Connection>) {
        let network = MemoryNetwork::new();
        let peer =
            |name: &[u8], addr: &str| network.bind(PeerId::of_public_key(name), vec![addr.parse().unwrap()]).unwrap();
        let (one, other) = (peer(b"a", "10.0.0.1:9000"), peer(b"b", "10.0.0.2:9000"));
        let (dialled, accepted) = tokio::join!(one.dial(other.listeners()[0], other.peer_id()), other.accept());
        ([one, other], dialled.unwrap(), accepted.unwrap())
    }

    #[tokio::test]
    async fn a_peer_is_asked_for_its_cap_and_one_that_does_not_know_the_question_has_none() {
        let content = ContentId(protocol::Digest([7; 32]));
        for (knows, cap) in [(true, Some(5 << 20)), (true, None), (false, None)] {
            let (_peers, asks, answers) = connected().await;
            let answering = tokio::spawn(async move {
                let stream = answers.accept().await.unwrap();
                if let Some(Question::UpRate { content: of, stream }) = listen(stream).await.filter(|_| knows) {
                    assert_eq!(of, content);
                    answer(stream, Answer::UpRate(cap)).await;
                }
                answers
            });
            assert_eq!(ask_up_rate(asks.clone(), content).await, cap);
            // The connection is as good as before.
            let answers = answering.await.unwrap();
            let (mut send, _recv) = asks.open().await.unwrap();
            send.send(frame(&[1])).await.unwrap();
            assert!(answers.accept().await.is_ok());
        }
    }

    #[tokio::test]
    async fn an_undecodable_message_is_named_as_the_reason() {
        let network = MemoryNetwork::new();
        let peer =
            |name: &[u8], addr: &str| network.bind(PeerId::of_public_key(name), vec![addr.parse().unwrap()]).unwrap();
        let (hostile, honest) = (peer(b"a", "10.0.0.1:9000"), peer(b"b", "10.0.0.2:9000"));
        let (dialled, accepted) = tokio::join!(hostile.dial(honest.listeners()[0], honest.peer_id()), honest.accept());
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        let (_messages, outbox) = mpsc::channel(1);
        let (reports, _heard) = mpsc::channel(8);
        let (mut send, _recv) = dialled.open().await.unwrap();
        send.send(frame(&[200])).await.unwrap();
        let (answer, recv) = accepted.accept().await.unwrap();
        let control = Control { send: answer, recv: MessageReceiver::new(recv), first: None };
        let ends = tokio::spawn(run(1, accepted, control, outbox, reports));
        let reason = dialled.closed().await;
        assert!(matches!(reason, TransportError::ClosedByPeer { code: 1, .. }), "{reason}");
        ends.await.unwrap();
    }
}
