//! One peer's connection to the tracker: hello, then announcements and questions, and news the other way.

use std::sync::Arc;
use std::time::Duration;

use protocol::{
    Announce, LeaseRequest, MailboxRequest, NOT_YET, PeerId, ProbeRequest, TrackerEvent, TrackerRequest, VERSION,
};
use swarm::AddressOrigin;
use tokio::time::{Instant, sleep, timeout};
use transport::frame::{MessageReceiver, MessageSender, encode};
use transport::{Connection, TransportError};

use crate::cost;
use crate::last_words::last_words;
use crate::outbox::Outbox;
use crate::pace::Paced;
use crate::private::{self, Permitted};
use crate::probe;
use crate::questions::Questions;
use crate::second_address::{self, Shown};
use crate::state::State;

/// A peer must say hello within this time.
const HELLO: Duration = Duration::from_secs(5);
/// A message must be taken by the peer within this time.
const TAKEN: Duration = Duration::from_secs(10);
/// How long, and how often, a private share is looked for that is still to be added: for less time than anyone waits for a
/// welcome.
const NOT_HERE_YET: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Most bytes of what a peer says. Its addresses, or a name, take less, and it may never send the rest.
const LONGEST: usize = 4096;
/// Longest question.
const LONGEST_QUERY: usize = 1024;
/// After so many messages it is others' turn, however many more have come.
const A_TURN: usize = 16;

/// Runs a session until it ends, and takes the peer out of everything then.
pub(crate) async fn run(session: u64, connection: Arc<dyn Connection>, state: Arc<State>) {
    let result = tokio::select! {
        reason = connection.closed() => Err(reason),
        result = talk(session, &connection, &state) => result,
    };
    if let Some(main) = state.second_address_lost(session, connection.peer_id()) {
        Box::pin(second_address::pass_on(&state, (main, connection.peer_id()), false)).await;
    }
    state.exit(session, connection.peer_id());
    if let Err(reason) = result {
        tracing::debug!(peer = %connection.peer_id(), %reason, "session ended");
    }
    connection.close(0, "done");
}

async fn talk(session: u64, connection: &Arc<dyn Connection>, state: &State) -> Result<(), TransportError> {
    let silent = |_| TransportError::Lost("it said no hello".to_owned());
    let Greeting { mut send, hello, recv, known } =
        // What few need, or only at the start, takes no room in the task of each.
        match timeout(HELLO, Box::pin(greet(connection, state))).await.map_err(silent)?? {
            Greeted::Hello(greeting) => greeting,
            Greeted::Mailbox(mut send, recv, first) => {
                state.is_for_mailboxes(session, matches!(first, MailboxRequest::Claim { .. }));
                Box::pin(state.mailboxes.serve(session, &**connection, &mut send, recv, first)).await?;
                return last_words(&mut send, connection).await;
            }
            Greeted::Probe(mut send, _recv, request) => {
                match state.prober() {
                    Some((prober, known)) => {
                        Box::pin(prober.serve(&**connection, &mut send, request, known)).await?;
                    }
                    None => send.send(&TrackerEvent::Refused(probe::NONE.to_owned())).await?,
                }
                return last_words(&mut send, connection).await;
            }
            Greeted::AlsoAt(send, recv, shown) => {
                return Box::pin(second_address::serve(session, connection, (send, recv), shown, state)).await;
            }
            Greeted::Leases(mut send, recv, first) => {
                let from = (session, connection.remote_addr().ip());
                return Box::pin(state.serve_leases(from, &mut send, recv, first)).await;
            }
            Greeted::Refused(mut send, _recv, sentence) => {
                send.send(&TrackerEvent::Refused(sentence)).await?;
                return last_words(&mut send, connection).await;
            }
        };
    let listeners = match hello {
        Some(TrackerRequest::Hello { version: VERSION, listeners }) => listeners,
        Some(TrackerRequest::Hello { version, .. }) => {
            let sentence = format!("this tracker speaks version {VERSION}, you speak {version}");
            send.send(&TrackerEvent::Refused(sentence)).await?;
            return last_words(&mut send, connection).await;
        }
        _ => return Err(TransportError::Lost("its first message is no hello".to_owned())),
    };
    send.send(&TrackerEvent::Welcome { seen: connection.remote_addr() }).await?;
    let outbox = Arc::new(Outbox::default());
    if !state.enter(session, connection, outbox.clone(), &listeners) {
        return Ok(());
    }
    drop(listeners);
    let questions = Questions::default();
    tokio::select! {
        result = write(session, &**connection, send, &outbox, (&questions, &known), state) => result,
        result = read(session, &**connection, recv, state, (&questions, &known)) => result,
    }
}

/// What a peer says first.
struct Greeting {
    send: MessageSender<TrackerEvent>,
    hello: Option<TrackerRequest>,
    recv: MessageReceiver<TrackerRequest>,
    known: Permitted,
}

/// What the first messages come to.
enum Greeted {
    Hello(Greeting),
    /// It is here for a mailbox, and for nothing else.
    Mailbox(MessageSender<TrackerEvent>, MessageReceiver<TrackerRequest>, MailboxRequest),
    /// It is here to learn how it is reached, and for nothing else.
    Probe(MessageSender<TrackerEvent>, MessageReceiver<TrackerRequest>, ProbeRequest),
    /// It is here to learn who reads from origins, and for nothing else.
    Leases(MessageSender<TrackerEvent>, MessageReceiver<TrackerRequest>, LeaseRequest),
    /// It is here to prove a second address, and for nothing else.
    AlsoAt(MessageSender<TrackerEvent>, MessageReceiver<TrackerRequest>, Shown),
    /// A refused peer may still be sending its hello. Its messages are read until it disconnects; otherwise it would
    /// see a reset before it reads the reason.
    Refused(MessageSender<TrackerEvent>, MessageReceiver<TrackerRequest>, String),
}

/// Hears proofs, where there are private shares, and the hello. Until a proof was right nothing is said, or why nothing will be.
async fn greet(connection: &Arc<dyn Connection>, state: &State) -> Result<Greeted, TransportError> {
    let (send, recv) = connection.accept().await?;
    let mut recv = MessageReceiver::new(recv).with_cap(LONGEST);
    let mut send = MessageSender::new(send, TAKEN);
    let (mut hello, mut known) = (recv.recv().await?, Permitted::Everything);
    if let Some(TrackerRequest::Instance) = hello
        && state.private().is_none()
    {
        send.send(&TrackerEvent::Instance(state.instance)).await?;
        hello = recv.recv().await?;
    }
    if let Some(TrackerRequest::Mailbox(first)) = hello {
        // Codes are for those who have no ticket yet. Mailboxes of a private tracker are for its owner's shares alone.
        let is_claim = matches!(first, MailboxRequest::Claim { .. });
        if is_claim && state.private().is_some_and(|private| private.owner != connection.peer_id()) {
            return Ok(Greeted::Refused(send, recv, private::REFUSED.to_owned()));
        }
        return Ok(Greeted::Mailbox(send, recv, first));
    }
    if let Some(TrackerRequest::Probe(request)) = hello {
        return Ok(match state.private() {
            Some(_) => Greeted::Refused(send, recv, private::REFUSED.to_owned()),
            None => Greeted::Probe(send, recv, request),
        });
    }
    if let Some(TrackerRequest::AlsoAt { token, listeners }) = hello {
        return Ok(Greeted::AlsoAt(send, recv, Shown { token, listeners }));
    }
    if let Some(TrackerRequest::Lease(first)) = hello {
        return Ok(match state.private() {
            Some(_) => Greeted::Refused(send, recv, private::REFUSED.to_owned()),
            None => Greeted::Leases(send, recv, first),
        });
    }
    if let Some(private) = state.private() {
        if let Some(TrackerRequest::Prove { proofs }) = &hello {
            let mut checked = private.check(&**connection, proofs)?;
            // What it means may be hashed just now.
            let until = Instant::now() + NOT_HERE_YET;
            while checked.is_err() && private.shares.expects_more() {
                if Instant::now() >= until {
                    connection.close(NOT_YET, private::HASHING);
                    return Err(TransportError::Lost("it proves what is not here yet".to_owned()));
                }
                sleep(LOOK_AGAIN).await;
                checked = private.check(&**connection, proofs)?;
            }
            match checked {
                Ok(proven) => {
                    let shares = proven.iter().map(|proof| state.proven(private, proof)).collect();
                    send.send(&TrackerEvent::Proven { shares }).await?;
                    known = Permitted::Proven(proven);
                }
                Err(sentence) => return Ok(Greeted::Refused(send, recv, sentence)),
            }
            hello = recv.recv().await?;
        } else if connection.peer_id() != private.owner {
            return Ok(Greeted::Refused(send, recv, private::REFUSED.to_owned()));
        }
    } else if let Some(TrackerRequest::Prove { .. }) = &hello {
        return Ok(Greeted::Refused(send, recv, private::OPEN.to_owned()));
    }
    Ok(Greeted::Hello(Greeting { send, hello, recv, known }))
}

async fn write(
    session: u64,
    connection: &dyn Connection,
    mut send: MessageSender<TrackerEvent>,
    outbox: &Outbox,
    (asked, known): (&Questions, &Permitted),
    state: &State,
) -> Result<(), TransportError> {
    loop {
        tokio::select! {
            question = asked.next() => {
                if let Some(answer) = answer(question, known, (session, connection.peer_id()), state) {
                    tell(session, &mut send, answer, state).await?;
                }
            }
            () = outbox.filled() => {
                while let Some(news) = state.take(session, connection.peer_id(), outbox) {
                    tell(session, &mut send, news, state).await?;
                    // A question that came meanwhile has waited for one message, not for all news.
                    if let Some(question) = asked.try_next()
                        && let Some(answer) = answer(question, known, (session, connection.peer_id()), state)
                    {
                        tell(session, &mut send, answer, state).await?;
                    }
                }
            }
        }
    }
}

/// What a question is answered with.
fn answer(
    question: TrackerRequest,
    known: &Permitted,
    (session, peer): (u64, PeerId),
    state: &State,
) -> Option<TrackerEvent> {
    match question {
        TrackerRequest::Announce(_) => Some(TrackerEvent::Refused(private::UNPROVEN.to_owned())),
        TrackerRequest::SecondAddress => {
            let token = state.address_token(session, peer)?;
            Some(TrackerEvent::AddressToken { token, at: state.also_reached_at(session) })
        }
        TrackerRequest::Relay { peer: other, content } => {
            Some(TrackerEvent::Relayed { peer: other, answer: state.relay(peer, other, content) })
        }
        TrackerRequest::Watch { content, after } if !known.includes(content) => {
            Some(TrackerEvent::Watched { content, after, peers: Vec::new(), next: None })
        }
        TrackerRequest::Find(query) if !known.is_everything() => {
            let matches = state.find_among(&query, known);
            Some(TrackerEvent::Found { query, matches })
        }
        TrackerRequest::List { before } if !known.is_everything() => {
            Some(TrackerEvent::Listed { before, contents: state.list_of(known), next: None })
        }
        TrackerRequest::Find(query) => {
            // Nothing has so long a name, and the asker waits for an answer.
            let matches = if query.len() > LONGEST_QUERY { Vec::new() } else { state.find(&query, peer) };
            Some(TrackerEvent::Found { query, matches })
        }
        TrackerRequest::List { before } => {
            let (contents, next) = state.list(before);
            Some(TrackerEvent::Listed { before, contents, next })
        }
        TrackerRequest::Watch { content, after } => {
            let (peers, next) = state.watch(peer, content, after);
            Some(TrackerEvent::Watched { content, after, peers, next })
        }
        _ => None,
    }
}

async fn read(
    session: u64,
    connection: &dyn Connection,
    mut recv: MessageReceiver<TrackerRequest>,
    state: &State,
    (questions, known): (&Questions, &Permitted),
) -> Result<(), TransportError> {
    let (mut paced, mut turn) = (Paced::new(state.pace()), 0);
    let origin = AddressOrigin::of(connection.remote_addr().ip());
    while let Some(message) = recv.recv().await? {
        let began = std::time::Instant::now();
        let takes_time = matches!(message, TrackerRequest::Announce(_) | TrackerRequest::Leave(_));
        let counts = match message {
            // It hears the same of every id that it has not proven, whether anyone takes part or not.
            question @ TrackerRequest::Announce(Announce { content, .. }) if !known.includes(content) => {
                questions.put(question).await;
                1
            }
            TrackerRequest::Announce(announce) => state.announce(session, connection.peer_id(), announce),
            TrackerRequest::Leave(content) => {
                state.leave(session, connection.peer_id(), content);
                1
            }
            TrackerRequest::Progress { content, progress } => {
                state.progress(session, connection.peer_id(), content, progress);
                1
            }
            TrackerRequest::TakesLegs => {
                state.takes_legs(session, connection.peer_id());
                1
            }
            question @ (TrackerRequest::Find(_)
            | TrackerRequest::List { .. }
            | TrackerRequest::Watch { .. }
            | TrackerRequest::Relay { .. }
            | TrackerRequest::SecondAddress) => {
                questions.put(question).await;
                1
            }
            TrackerRequest::Bye => return Ok(()),
            TrackerRequest::Hello { .. } => return Err(TransportError::Lost("it said hello twice".to_owned())),
            TrackerRequest::Probe(_) => {
                return Err(TransportError::Lost("it asks how it is reached after its hello".to_owned()));
            }
            TrackerRequest::Instance => {
                return Err(TransportError::Lost("it asks which tracker this is after its hello".to_owned()));
            }
            TrackerRequest::Mailbox(_) => {
                return Err(TransportError::Lost("mailboxes are had by connections of their own".to_owned()));
            }
            TrackerRequest::Lease(_) => {
                return Err(TransportError::Lost("leases are had by connections of their own".to_owned()));
            }
            TrackerRequest::AlsoAt { .. } => {
                return Err(TransportError::Lost(
                    "second addresses are proven over connections of their own".to_owned(),
                ));
            }
            TrackerRequest::Prove { .. } => return Err(TransportError::Lost("it proves what is not asked".to_owned())),
        };
        // Who asks takes no such time, but is there: then nobody is alone.
        let busy = state.took(origin, if takes_time { began.elapsed() } else { Duration::ZERO });
        let busy = if takes_time { busy } else { Duration::ZERO };
        let wait = if counts == 0 { Duration::ZERO } else { paced.spend(counts).max(busy) };
        if !wait.is_zero() {
            // What comes meanwhile lies in the transport.
            let _held = state.hold(session, cost::UNREAD);
            tokio::time::sleep(wait).await;
        }
        turn += 1;
        if turn % A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Says a message, which counts for as long as it is not taken. What it was made from takes no room in the task meanwhile.
fn tell<'a>(
    session: u64,
    send: &'a mut MessageSender<TrackerEvent>,
    message: TrackerEvent,
    state: &'a State,
) -> impl Future<Output = Result<(), TransportError>> + 'a {
    let bytes = encode(&message);
    async move {
        let bytes = bytes?;
        let _held = state.hold(session, cost::message(bytes.len()));
        send.send_encoded(bytes).await
    }
}

#[cfg(test)]
mod tests {
    use protocol::Wire;
    use transport::frame::frame;
    use transport::{BoxFuture, MemoryNetwork, RecvStream, Transport};

    use super::*;
    use crate::ServerConfig;

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
    async fn who_asks_and_does_not_read_has_two_questions_waiting_and_no_more() {
        let network = MemoryNetwork::new();
        let bind = |name: &[u8], at: &str| {
            let transport = network.bind(PeerId::of_public_key(name), vec![at.parse().unwrap()]).unwrap();
            Arc::new(transport) as Arc<dyn Transport>
        };
        let (tracker, peer) = (bind(b"tracker", "10.0.0.1:9999"), bind(b"peer", "10.0.0.2:9000"));
        let dialled = peer.dial(tracker.listeners()[0], tracker.peer_id());
        let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
        let (_dialled, connection) = (dialled.unwrap(), accepted.unwrap());
        let state = State::new(ServerConfig::default());
        let questions = Questions::default();
        let bytes = TrackerRequest::List { before: None }.encode().unwrap();
        let asking = Box::new(Asking { frame: frame(&bytes).to_vec(), at: 0, asked: 0 });
        let asking = MessageReceiver::new(asking as Box<dyn RecvStream>);
        let reading = read(1, &*connection, asking, &state, (&questions, &Permitted::Everything));
        tokio::pin!(reading);
        // It gets as far as it can, and has to wait there.
        for taken in 0..5 {
            tokio::select! {
                biased;
                result = &mut reading => panic!("{result:?}"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(questions.len(), 2, "after {taken} were read");
            assert!(matches!(questions.next().await, TrackerRequest::List { .. }));
        }
    }
}
