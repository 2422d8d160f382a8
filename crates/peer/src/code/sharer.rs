//! The sharer's side: a mailbox at a tracker, and a code for it, again and again.
//!
//! It has a connection of its own, since an older tracker ends one on which it hears of mailboxes. When that breaks it comes back and
//! wishes for the number that it had: the code stays good. So it does when its ticket changes: neither tracker nor words are in that.
//! If the tracker stays away and there are others that receivers ask, too, the code moves to one of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Code, CodeMessage, MailboxEvent, MailboxRequest, PeerId, Ticket, TrackerEvent, TrackerRequest, Wire};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use transport::frame::{MessageReceiver, MessageSender};
use transport::{Connection, Transport, TransportError};

use super::guesses::{GuessOutcome, Guesses};
use super::numbers::{Number, Numbers};
use crate::clock::Moment;
use crate::net::dial::{self, For};
use crate::net::tracker::TrackerAddress;

/// A tracker answers within this time, and takes what is said.
const ANSWER: Duration = Duration::from_secs(10);
/// A new code follows a burnt one after this time at the earliest: an attacker is not given more to guess.
const BETWEEN: Duration = Duration::from_secs(60);
/// After so many burnt codes there are no more: someone keeps guessing, and would be right one day.
const BURNT: u32 = 10;
/// Shortest and longest wait before the tracker is tried again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// After so many tries of one tracker in vain it is the next one's turn.
const IN_VAIN: u32 = 2;
/// A code that is good stays with its tracker for so long: that may be starting anew, and elsewhere the code's number may be taken.
const RESTARTS: Duration = Duration::from_secs(20);
/// Largest number of a mailbox that a tracker in the sharer's process is asked for: there the smallest ones would be those of
/// every sharer in the same network.
const OWN_NUMBERS: u16 = 99;
/// How often the clock is looked at while a code is good: timers stand still while the machine sleeps.
const CLOCK: Duration = Duration::from_secs(5);
/// Events that may wait: who offers a code may be busy for a while.
const EVENTS: usize = 64;

/// How codes are offered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CodeOptions {
    /// How long a code lives that nobody uses. Then there is no other.
    pub life: Duration,
    /// How often codes may be used in all.
    pub uses: Option<u32>,
    /// Whether the tracker is the sharer's own: others have theirs beside it.
    pub own_tracker: bool,
    /// Other trackers that receivers ask. While the one where codes are offered does not answer, they are offered at one of these.
    pub others: Vec<TrackerAddress>,
}

impl CodeOptions {
    /// Codes that live so long each, and are used by as many as come.
    pub fn new(life: Duration) -> Self {
        CodeOptions { life, uses: None, own_tracker: false, others: Vec::new() }
    }

    /// So many may use codes.
    #[must_use]
    pub fn uses(self, uses: Option<u32>) -> Self {
        CodeOptions { uses, ..self }
    }

    /// The tracker is in the same process.
    #[must_use]
    pub fn own_tracker(self, own_tracker: bool) -> Self {
        CodeOptions { own_tracker, ..self }
    }

    /// Receivers ask these trackers, too.
    #[must_use]
    pub fn others(self, others: Vec<TrackerAddress>) -> Self {
        CodeOptions { others, ..self }
    }
}

/// What becomes of codes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeEvent {
    /// This code is good now, for so long.
    New {
        /// The code.
        code: Code,
        /// How long it lives unless it is used or burnt.
        life: Duration,
    },
    /// Someone has used it, and has the ticket.
    Used {
        /// The code.
        code: Code,
        /// Who.
        peer: PeerId,
        /// From where, as the tracker says.
        from: SocketAddr,
        /// Whether another follows.
        last: bool,
    },
    /// Three wrong ones were tried: it is worth nothing any more. Another follows.
    Burnt {
        /// The code.
        code: Code,
        /// From where they came, as the tracker says.
        from: Vec<SocketAddr>,
        /// How long until there is another.
        wait: Duration,
    },
    /// The tracker has given its number to somebody else. Another follows.
    Lost {
        /// The code.
        code: Code,
        /// How long until there is another.
        wait: Duration,
    },
    /// Nobody has used it in its time. No other follows.
    Expired {
        /// The code.
        code: Code,
    },
    /// There is no code, and none follows.
    None(NoCode),
}

/// Why there is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoCode {
    /// The tracker does not know what a mailbox is.
    #[error("the tracker is of an earlier version, which has none")]
    OldTracker,
    /// It has no mailbox left.
    #[error("the tracker has no room for another code")]
    Full,
    /// It is private, and somebody else's.
    #[error("the tracker is for someone else's codes alone")]
    NotHere,
    /// Too many were burnt.
    #[error("someone keeps guessing codes")]
    Guessed,
}

/// Codes for a ticket, for as long as this is kept.
#[derive(Debug)]
#[must_use = "codes are good for as long as it is kept"]
pub struct CodeOffer {
    events: mpsc::Receiver<CodeEvent>,
    ticket: watch::Sender<Ticket>,
    task: AbortHandle,
}

impl CodeOffer {
    /// What happens next; nothing if no code follows.
    pub async fn next(&mut self) -> Option<CodeEvent> {
        self.events.recv().await
    }

    /// Who uses a code gets this ticket from now on: the codes stay as they are.
    pub fn set_ticket(&self, ticket: Ticket) {
        self.ticket.send_replace(ticket);
    }
}

impl Drop for CodeOffer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Offers codes for a ticket at a tracker. `numbers` has those of the node's other codes.
pub(crate) fn offer(
    transport: Arc<dyn Transport>,
    place: TrackerAddress,
    ticket: Ticket,
    mut options: CodeOptions,
    numbers: Numbers,
) -> CodeOffer {
    let places = std::iter::once(place).chain(std::mem::take(&mut options.others)).collect();
    let ((report, events), (ticket, told)) = (mpsc::channel(EVENTS), watch::channel(ticket));
    let offer = Offer {
        transport,
        places,
        ticket: told,
        options,
        report,
        numbers,
        number: None,
        spent: None,
        current: None,
        used: 0,
        burnt: 0,
    };
    CodeOffer { events, ticket, task: tokio::spawn(offer.run()).abort_handle() }
}

struct Offer {
    transport: Arc<dyn Transport>,
    /// The trackers, first the one where it is offered.
    places: VecDeque<TrackerAddress>,
    ticket: watch::Receiver<Ticket>,
    options: CodeOptions,
    report: mpsc::Sender<CodeEvent>,
    numbers: Numbers,
    /// The number of its mailbox, also while there is no connection: it is claimed again.
    number: Option<Number>,
    /// The number of a code that was used, until another is claimed: others who were told the same code come late, and would guess
    /// at the next one by it.
    spent: Option<Number>,
    /// The code that is good, or that was the last.
    current: Option<Current>,
    /// How often codes were used.
    used: u32,
    /// How many codes were burnt.
    burnt: u32,
}

struct Current {
    guesses: Guesses,
    /// When it came, for the pause before the next one.
    since: Instant,
    /// The same, for how long it lives.
    made: Moment,
    /// When there is to be another, if it is void.
    next: Option<Instant>,
}

impl Current {
    /// It is void, and another is to follow: in how long.
    fn another(&mut self) -> Duration {
        let now = Instant::now();
        let next = (self.since + BETWEEN).max(now);
        self.next = Some(next);
        next - now
    }
}

/// Why there is nothing more to do.
enum End {
    /// It is said to the one who keeps the offer.
    Said(CodeEvent),
    /// It is said already, or nobody listens.
    Silent,
}

struct Mailbox {
    connection: Arc<dyn Connection>,
    send: MessageSender<TrackerRequest>,
    recv: MessageReceiver<TrackerEvent>,
    number: u16,
}

impl Offer {
    async fn run(mut self) {
        let (mut wait, mut in_vain, mut refused, mut lost) = (AGAIN.0, 0, 0, Instant::now());
        let end = loop {
            match self.claim().await {
                Ok(Ok(mailbox)) => {
                    (wait, in_vain, refused) = (AGAIN.0, 0, 0);
                    let connection = mailbox.connection.clone();
                    let end = self.serve(mailbox).await;
                    lost = Instant::now();
                    connection.close(0, "done");
                    if let Err(end) = end {
                        break end;
                    }
                }
                // Another tracker may have one.
                Ok(Err(no_code)) => {
                    tracing::debug!(%no_code, "no mailbox");
                    refused += 1;
                    if refused >= self.places.len() {
                        break End::Said(CodeEvent::None(no_code));
                    }
                    self.places.rotate_left(1);
                    in_vain = 0;
                }
                Err(error) => {
                    tracing::debug!(%error, "no mailbox");
                    (in_vain, refused) = (in_vain + 1, 0);
                }
            }
            if let Some(end) = self.expired() {
                break end;
            }
            let is_good = self.current.as_ref().is_some_and(|current| current.next.is_none());
            if in_vain >= IN_VAIN && (!is_good || lost.elapsed() >= RESTARTS) {
                self.places.rotate_left(1);
                in_vain = 0;
            }
            sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait = (wait * 2).min(AGAIN.1);
            self.places[0].resolve_again().await;
        };
        if let End::Said(event) = end {
            let _ = self.report.send(event).await;
        }
    }

    /// The end of a code that is too old.
    fn expired(&self) -> Option<End> {
        let current = self.current.as_ref()?;
        let old = current.next.is_none() && current.made.elapsed() >= self.options.life;
        old.then(|| End::Said(CodeEvent::Expired { code: current.guesses.code() }))
    }

    /// When to look at the code again if nothing is heard; nothing if there is none.
    fn due(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        let left = || self.options.life.saturating_sub(current.made.elapsed());
        Some(current.next.unwrap_or_else(|| Instant::now() + left().min(CLOCK)))
    }

    /// A mailbox, of the same number as before if possible. An error may pass.
    async fn claim(&mut self) -> Result<Result<Mailbox, NoCode>, TransportError> {
        let place = &self.places[0];
        let connection = dial::first(self.transport.clone(), place.id, place.addresses.clone(), For::Tracker).await?;
        let claim = self.claim_over(connection.clone());
        let claimed = timeout(ANSWER, claim).await.unwrap_or(Err(TransportError::TimedOut("claim a mailbox")));
        if !matches!(claimed, Ok(Ok(_))) {
            connection.close(0, "no mailbox");
        }
        claimed
    }

    async fn claim_over(&mut self, connection: Arc<dyn Connection>) -> Result<Result<Mailbox, NoCode>, TransportError> {
        let (send, recv) = connection.open().await?;
        let (mut send, mut recv) = (MessageSender::new(send, ANSWER), MessageReceiver::new(recv));
        let tracker = connection.peer_id();
        let free = match &self.number {
            // At this tracker, another code of this node may have it.
            Some(own) if !own.is_at(tracker) => {
                self.numbers.take(tracker, own.get()).or_else(|| self.numbers.any(tracker, OWN_NUMBERS))
            }
            None if self.options.own_tracker || self.spent.is_some() => self.numbers.any(tracker, OWN_NUMBERS),
            _ => None,
        };
        let wish = free.as_ref().or(self.number.as_ref()).map(Number::get);
        send.send(&TrackerRequest::Mailbox(MailboxRequest::Claim { wish })).await?;
        Ok(match recv.recv().await {
            Ok(Some(TrackerEvent::Mailbox(MailboxEvent::Claimed { mailbox: number }))) => {
                if !self.number.as_ref().is_some_and(|own| own.is(tracker, number)) {
                    let wished = free.filter(|free| free.is(tracker, number));
                    let got = wished.or_else(|| self.numbers.take(tracker, number));
                    // The tracker has lost the connection of that one, which is about to claim its number again.
                    let taken = || TransportError::Lost(format!("another code of this node has the number {number}"));
                    self.number = Some(got.ok_or_else(taken)?);
                }
                self.spent = None;
                Ok(Mailbox { connection, send, recv, number })
            }
            Ok(Some(TrackerEvent::Refused(_))) => Err(NoCode::NotHere),
            Ok(Some(TrackerEvent::Mailbox(MailboxEvent::Refused(_)))) => Err(NoCode::Full),
            // One that does not know the message ends the connection, and has a word for it that is not for this.
            Err(error) if !is_old(&error, &*connection).await => return Err(error),
            _ => Err(NoCode::OldTracker),
        })
    }

    /// Serves a mailbox until its connection is lost, or there is nothing more to do.
    async fn serve(&mut self, mailbox: Mailbox) -> Result<(), End> {
        let Mailbox { connection, mut send, mut recv, number } = mailbox;
        let (me, tracker) = (self.transport.peer_id(), connection.peer_id());
        match &mut self.current {
            None => self.renew(number, me, tracker).await?,
            Some(current) if current.guesses.code().mailbox() == number => current.guesses.moved(tracker),
            // A tracker that does so on purpose gets no more guesses by it.
            Some(current) => {
                current.guesses.end();
                if current.next.is_none() {
                    let (code, wait) = (current.guesses.code(), current.another());
                    self.say(CodeEvent::Lost { code, wait }).await?;
                }
            }
        }
        let (heard, mut messages) = mpsc::channel(EVENTS);
        // Reading is not cancelled half way through a frame.
        let reader = tokio::spawn(async move {
            while let Ok(Some(message)) = recv.recv().await {
                if heard.send(message).await.is_err() {
                    break;
                }
            }
        });
        let result = loop {
            let Some(due) = self.due() else { break Ok(()) };
            let message = tokio::select! {
                message = messages.recv() => message,
                () = self.report.closed() => break Err(End::Silent),
                () = sleep_until(due) => {
                    if let Some(end) = self.expired() {
                        break Err(end);
                    }
                    if self.current.as_ref().is_some_and(|current| current.next.is_none()) {
                        continue;
                    }
                    match self.renew(number, me, tracker).await {
                        Ok(()) => continue,
                        Err(end) => break Err(end),
                    }
                }
            };
            // Nobody uses it after its time, though the machine has slept and no timer has said so.
            if let Some(end) = self.expired() {
                break Err(end);
            }
            let Some(current) = &mut self.current else { break Ok(()) };
            let (exchange, answer, verdict) = match message {
                Some(TrackerEvent::Mailbox(MailboxEvent::Opened { exchange, peer, from, message })) => {
                    let begins = CodeMessage::decode(&message).unwrap_or(CodeMessage::Wrong);
                    (exchange, current.guesses.begin(exchange, (peer, from), &begins), GuessOutcome::None)
                }
                Some(TrackerEvent::Mailbox(MailboxEvent::Said { exchange, message })) => {
                    let proves = CodeMessage::decode(&message).unwrap_or(CodeMessage::Wrong);
                    let (answer, verdict) = current.guesses.prove(exchange, &proves, &self.ticket.borrow());
                    (exchange, answer, verdict)
                }
                Some(TrackerEvent::Mailbox(MailboxEvent::Over { exchange })) => {
                    current.guesses.over(exchange);
                    continue;
                }
                _ => break Ok(()),
            };
            let message = answer.encode().unwrap_or_default();
            let answer = TrackerRequest::Mailbox(MailboxRequest::Answer { exchange, message });
            let sent = send.send(&answer).await;
            // What has come of it is so, whether the answer arrives or not.
            if let Err(end) = self.settle(verdict, number).await {
                // The answer is to arrive before the connection goes.
                let _ = send.finish();
                sleep(LINGER).await;
                break Err(end);
            }
            if sent.is_err() {
                break Ok(());
            }
            // It was used, and the next one has another number.
            if self.current.is_none() {
                let _ = send.finish();
                sleep(LINGER).await;
                break Ok(());
            }
        };
        reader.abort();
        result
    }

    /// What follows from a proof.
    async fn settle(&mut self, verdict: GuessOutcome, number: u16) -> Result<(), End> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let code = current.guesses.code();
        match verdict {
            GuessOutcome::None => Ok(()),
            GuessOutcome::Wrong { left } => {
                tracing::info!(mailbox = number, left, "a wrong code was tried");
                Ok(())
            }
            GuessOutcome::Burnt(from) => {
                let wait = current.another();
                self.say(CodeEvent::Burnt { code, from, wait }).await?;
                self.burnt += 1;
                if self.burnt < BURNT { Ok(()) } else { Err(End::Said(CodeEvent::None(NoCode::Guessed))) }
            }
            GuessOutcome::Used { peer, from } => {
                self.used += 1;
                let last = self.options.uses.is_some_and(|uses| self.used >= uses);
                self.say(CodeEvent::Used { code, peer, from, last }).await?;
                (self.current, self.spent) = (None, self.number.take());
                if last { Err(End::Silent) } else { Ok(()) }
            }
        }
    }

    /// Another code, by other words.
    async fn renew(&mut self, number: u16, me: PeerId, tracker: PeerId) -> Result<(), End> {
        let mut random = [0; 4];
        transport::random(&mut random);
        let code = Code::new(number, [[random[0], random[1]], [random[2], random[3]]].map(u16::from_le_bytes));
        let guesses = Guesses::new(code, me, tracker);
        self.current = Some(Current { guesses, since: Instant::now(), made: Moment::now(), next: None });
        self.say(CodeEvent::New { code, life: self.options.life }).await
    }

    async fn say(&self, event: CodeEvent) -> Result<(), End> {
        self.report.send(event).await.map_err(|_| End::Silent)
    }
}

/// How long the last answer may take to the tracker before its connection is closed.
const LINGER: Duration = Duration::from_millis(500);

/// Whether a tracker that says nothing is of an earlier version: it has ended the connection itself, as on any message that it does
/// not know.
pub(crate) async fn is_old(error: &TransportError, connection: &dyn Connection) -> bool {
    let ended = match timeout(Duration::from_secs(1), connection.closed()).await {
        Ok(ended) => ended,
        Err(_) => error.clone(),
    };
    matches!(ended, TransportError::ClosedByPeer { code: 0, .. })
}
