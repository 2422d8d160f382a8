//! The getter's side: a code becomes a ticket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{
    Code, CodeMessage, MailboxEvent, MailboxRefusal, MailboxRequest, Ticket, TrackerEvent, TrackerRequest, Wire,
};
use tokio::time::timeout;
use transport::frame::{MessageReceiver, MessageSender};
use transport::{Connection, Transport, TransportError};

use super::pake::{Exchange, Side};
use crate::net::dial::{self, For};
use crate::net::tracker::TrackerAddress;

/// The whole exchange is done within this time once the tracker is reached.
const EXCHANGE: Duration = Duration::from_secs(10);
/// The tracker takes each message within this time.
const SEND: Duration = Duration::from_secs(5);

/// Why there is no ticket for a code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedeemError {
    /// Nobody has a mailbox of this number there. Nothing was guessed.
    #[error("nobody offers a code of this number there")]
    NoMailbox,
    /// The words are wrong, or the code was used or is too old; or what answers is not who offers it.
    #[error("the code is wrong, or it has been used")]
    Wrong,
    /// Too many are trying, or the sharer does not answer. Nothing was guessed.
    #[error("its sharer is busy or does not answer just now")]
    Busy,
    /// What came of it is not known: the words have been proven, and no answer came. That is one guess at the code. If it was the right
    /// sharer that did not hear of it, the code is still good.
    #[error("no answer to the code came")]
    Unanswered,
    /// The tracker does not know what a mailbox is.
    #[error("the tracker knows no codes: it is of an earlier version")]
    OldTracker,
    /// The tracker cannot be reached, or went away.
    #[error("the tracker cannot be reached: {0}")]
    Tracker(#[source] TransportError),
}

impl From<TransportError> for RedeemError {
    fn from(error: TransportError) -> Self {
        RedeemError::Tracker(error)
    }
}

/// The ticket that a code stands for.
pub(crate) async fn redeem(
    transport: Arc<dyn Transport>,
    place: &TrackerAddress,
    code: &Code,
) -> Result<Ticket, RedeemError> {
    let me = transport.peer_id();
    let connection = dial::first(transport, place.id, place.addresses.clone(), For::Tracker).await?;
    let has_proven = AtomicBool::new(false);
    let talk = async {
        let (begun, element) = Exchange::begin(Side::Getter, code, connection.peer_id());
        let (send, recv) = connection.open().await?;
        let (mut send, mut recv) = (MessageSender::new(send, SEND), MessageReceiver::new(recv));
        let message = CodeMessage::Begin { element }.encode().map_err(TransportError::from)?;
        send.send(&TrackerRequest::Mailbox(MailboxRequest::Open { mailbox: code.mailbox(), message })).await?;
        let (element, sharer) = match hear(&mut recv, &*connection).await? {
            CodeMessage::Reply { element, sharer } => (element, sharer),
            other => return Err(refusal(&other)),
        };
        let key = begun.finish(&element, sharer, me).ok_or(RedeemError::Wrong)?;
        let message = CodeMessage::Proof(key.proof().bytes()).encode().map_err(TransportError::from)?;
        has_proven.store(true, Ordering::Relaxed);
        send.send(&TrackerRequest::Mailbox(MailboxRequest::Say { message })).await?;
        let ticket = match hear(&mut recv, &*connection).await? {
            CodeMessage::Ticket { sealed } => key.open(sealed),
            other => return Err(refusal(&other)),
        };
        // What cannot be opened is from someone who has not the code.
        ticket.and_then(|ticket| ticket.parse().ok()).ok_or(RedeemError::Wrong)
    };
    let redeemed = timeout(EXCHANGE, talk).await.unwrap_or(Err(RedeemError::Busy));
    connection.close(0, "done");
    // A false tracker uses the proof for one guess at the words. It must not get another by saying that it is busy, or by going away.
    let has_proven = has_proven.into_inner();
    redeemed.map_err(|error| if has_proven && error != RedeemError::Wrong { RedeemError::Unanswered } else { error })
}

fn refusal(message: &CodeMessage) -> RedeemError {
    if *message == CodeMessage::Busy { RedeemError::Busy } else { RedeemError::Wrong }
}

/// What the sharer answers.
async fn hear(
    recv: &mut MessageReceiver<TrackerEvent>,
    connection: &dyn Connection,
) -> Result<CodeMessage, RedeemError> {
    match recv.recv().await {
        Ok(Some(TrackerEvent::Mailbox(MailboxEvent::Answered { message }))) => {
            Ok(CodeMessage::decode(&message).unwrap_or(CodeMessage::Wrong))
        }
        Ok(Some(TrackerEvent::Mailbox(MailboxEvent::Refused(refusal)))) => Err(match refusal {
            MailboxRefusal::Busy => RedeemError::Busy,
            _ => RedeemError::NoMailbox,
        }),
        Err(error) if !super::sharer::is_old(&error, connection).await => Err(error.into()),
        _ => Err(RedeemError::OldTracker),
    }
}

#[cfg(test)]
mod tests {
    use protocol::PeerId;
    use transport::MemoryNetwork;

    use super::*;

    /// What one who passes for the tracker does.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Answers {
        /// It says at once that it is busy.
        BusyAtOnce,
        /// It replies as a sharer would, has its guess, and says that.
        Says(&'static [u8]),
        Refuses(MailboxRefusal),
        Silent,
        Gone,
    }

    async fn pass_for_a_tracker(transport: Arc<dyn Transport>, answers: Answers) -> Option<TransportError> {
        let connection = transport.accept().await?;
        let (send, recv) = connection.accept().await.ok()?;
        let mut recv = MessageReceiver::<TrackerRequest>::new(recv);
        let mut send = MessageSender::new(send, SEND);
        let mut say = async |message: Vec<u8>| {
            let _ = send.send(&TrackerEvent::Mailbox(MailboxEvent::Answered { message })).await;
        };
        recv.recv().await.ok()?;
        if answers == Answers::BusyAtOnce {
            say(CodeMessage::Busy.encode().ok()?).await;
            return Some(connection.closed().await);
        }
        let (_begun, element) = Exchange::begin(Side::Sharer, &Code::new(7, [3, 4]), transport.peer_id());
        say(CodeMessage::Reply { element, sharer: transport.peer_id() }.encode().ok()?).await;
        // The proof: what it has guessed is right or not.
        recv.recv().await.ok()?;
        match answers {
            Answers::Says(message) => say(message.to_vec()).await,
            Answers::Refuses(refusal) => {
                let _ = send.send(&TrackerEvent::Mailbox(MailboxEvent::Refused(refusal))).await;
            }
            Answers::Gone => connection.close(0, "done"),
            Answers::Silent | Answers::BusyAtOnce => {}
        }
        Some(connection.closed().await)
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_is_one_guess_whatever_is_answered_to_it() {
        let busy: &'static [u8] = CodeMessage::Busy.encode().unwrap().leak();
        for (answers, expected) in [
            (Answers::BusyAtOnce, RedeemError::Busy),
            (Answers::Says(busy), RedeemError::Unanswered),
            (Answers::Says(b"?"), RedeemError::Wrong),
            (Answers::Refuses(MailboxRefusal::Busy), RedeemError::Unanswered),
            (Answers::Refuses(MailboxRefusal::None), RedeemError::Unanswered),
            (Answers::Silent, RedeemError::Unanswered),
            (Answers::Gone, RedeemError::Unanswered),
        ] {
            let network = MemoryNetwork::new();
            let bind = |id: &[u8], at: &str| -> Arc<dyn Transport> {
                Arc::new(network.bind(PeerId::of_public_key(id), vec![at.parse().unwrap()]).unwrap())
            };
            let (tracker, getter) = (bind(b"tracker", "10.0.0.1:9999"), bind(b"getter", "10.0.0.2:9000"));
            let place = TrackerAddress { addresses: tracker.listeners(), id: tracker.peer_id(), name: None };
            let passes = tokio::spawn(pass_for_a_tracker(tracker, answers));
            // A transport that nobody holds closes its connections.
            let redeemed = redeem(getter.clone(), &place, &Code::new(7, [1, 2])).await;
            assert_eq!(redeemed, Err(expected), "{answers:?}");
            passes.abort();
        }
    }
}
