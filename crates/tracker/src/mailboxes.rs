//! Mailboxes for codes: a sharer owns one for as long as its connection stands; a getter that opens it says two things to the owner
//! and hears two answers. The tracker hands them on and understands none of them.
//!
//! A mailbox costs next to nothing and its number is public, so what is scarce is the owner's attention: exchanges of a mailbox
//! have few places, which are shared out by address as handshakes are, and a few seconds each.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{MAX_MAILBOX, MailboxEvent, MailboxRefusal, MailboxRequest, PeerId, TrackerEvent, TrackerRequest};
use swarm::AddressOrigin;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use transport::frame::{MessageReceiver, MessageSender};
use transport::{Connection, Handshakes, TransportError};

/// Exchanges of a mailbox that may be under way.
const EXCHANGES: usize = 32;
/// What may wait for an owner that reads slowly.
const WAITING: usize = 2 * EXCHANGES;
/// Answers of an exchange.
const ANSWERS: usize = 2;
/// No mailbox stands for longer. Its owner may claim another then.
const LIFE: Duration = Duration::from_secs(25 * 3600);
/// Mailboxes of a network (IPv4 /24, IPv6 /48) once half of all numbers are taken.
const OF_ONE_NETWORK: usize = 64;
/// So many numbers that were given back last are given to nobody else: who was told a code that is over comes late, and would guess at
/// the next one by it.
const RESTING: usize = 8;

/// All mailboxes, by their numbers.
#[derive(Default)]
pub(crate) struct Mailboxes {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    taken: BTreeMap<u16, Mailbox>,
    /// Numbers that were given back, the last one at the end.
    resting: VecDeque<u16>,
}

impl Table {
    fn give_back(&mut self, number: u16) {
        self.taken.remove(&number);
        self.resting.retain(|other| *other != number);
        self.resting.push_back(number);
        if self.resting.len() > RESTING {
            self.resting.pop_front();
        }
    }

    /// The smallest number that is free, of those that do not rest if there are any.
    fn smallest(&self) -> Option<u16> {
        let free = || (1..=MAX_MAILBOX).filter(|number| !self.taken.contains_key(number));
        free().find(|number| !self.resting.contains(number)).or_else(|| free().next())
    }
}

struct Mailbox {
    session: u64,
    owner: PeerId,
    network: IpAddr,
    events: mpsc::Sender<MailboxEvent>,
    places: Handshakes,
    exchanges: BTreeMap<u32, mpsc::Sender<Vec<u8>>>,
    last: u32,
}

/// A mailbox that its owner has.
struct Claim<'a> {
    mailboxes: &'a Mailboxes,
    number: u16,
    session: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut table = self.mailboxes.lock();
        if table.taken.get(&self.number).is_some_and(|mailbox| mailbox.session == self.session) {
            table.give_back(self.number);
        }
    }
}

/// An exchange that is under way.
struct Exchange<'a> {
    mailboxes: &'a Mailboxes,
    number: u16,
    session: u64,
    id: u32,
    events: mpsc::Sender<MailboxEvent>,
    answers: mpsc::Receiver<Vec<u8>>,
    places: Handshakes,
    /// The owner knows of it.
    begun: bool,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if let Some(mailbox) =
            self.mailboxes.lock().taken.get_mut(&self.number).filter(|mailbox| mailbox.session == self.session)
        {
            mailbox.exchanges.remove(&self.id);
        }
        if self.begun {
            // One that misses it forgets the exchange by itself.
            let _ = self.events.try_send(MailboxEvent::Over { exchange: self.id });
        }
    }
}

impl Mailboxes {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a mailbox to a session: of the number that it wishes if that is free, or its own from before, or else of the
    /// smallest that is free and does not rest.
    fn claim(
        &self,
        session: u64,
        (owner, from): (PeerId, IpAddr),
        wish: Option<u16>,
    ) -> Result<(Claim<'_>, mpsc::Receiver<MailboxEvent>), MailboxRefusal> {
        let mut table = self.lock();
        let network = AddressOrigin::of(from).network;
        let of_network = || table.taken.values().filter(|mailbox| mailbox.network == network).count();
        if table.taken.len() > usize::from(MAX_MAILBOX / 2) && of_network() >= OF_ONE_NETWORK {
            return Err(MailboxRefusal::Full);
        }
        let is_open = |number: &u16| table.taken.get(number).is_none_or(|mailbox| mailbox.owner == owner);
        let wished = wish.filter(|number| (1..=MAX_MAILBOX).contains(number) && is_open(number));
        let number = wished.or_else(|| table.smallest()).ok_or(MailboxRefusal::Full)?;
        let (events, received) = mpsc::channel(WAITING);
        let (places, exchanges) = (Handshakes::new(EXCHANGES), BTreeMap::new());
        // One that it had over a connection that is not known to be dead ends with this.
        table.taken.insert(number, Mailbox { session, owner, network, events, places, exchanges, last: 0 });
        Ok((Claim { mailboxes: self, number, session }, received))
    }

    /// Begins an exchange with the owner of a mailbox.
    fn open(&self, number: u16) -> Option<Exchange<'_>> {
        let mut table = self.lock();
        let mailbox = table.taken.get_mut(&number)?;
        mailbox.last = mailbox.last.wrapping_add(1);
        let (id, (answer, answers)) = (mailbox.last, mpsc::channel(ANSWERS));
        mailbox.exchanges.insert(id, answer);
        let (session, events, places) = (mailbox.session, mailbox.events.clone(), mailbox.places.clone());
        Some(Exchange { mailboxes: self, number, session, id, events, answers, places, begun: false })
    }

    /// The owner's answer, which nobody may wait for any more.
    fn answer(&self, claim: &Claim<'_>, exchange: u32, message: Vec<u8>) {
        if let Some(mailbox) = self.lock().taken.get(&claim.number).filter(|mailbox| mailbox.session == claim.session)
            && let Some(answers) = mailbox.exchanges.get(&exchange)
        {
            let _ = answers.try_send(message);
        }
    }

    /// What comes of a connection whose first message is about a mailbox.
    pub(crate) async fn serve(
        &self,
        session: u64,
        connection: &dyn Connection,
        send: &mut MessageSender<TrackerEvent>,
        recv: MessageReceiver<TrackerRequest>,
        first: MailboxRequest,
    ) -> Result<(), TransportError> {
        let refusal = match first {
            MailboxRequest::Claim { wish } => {
                let from = (connection.peer_id(), connection.remote_addr().ip());
                match self.claim(session, from, wish) {
                    Ok((claim, events)) => return self.keep(claim, events, send, recv).await,
                    Err(refusal) => refusal,
                }
            }
            MailboxRequest::Open { mailbox, message } => {
                let from = (connection.peer_id(), connection.remote_addr());
                match self.hand_on(from, (mailbox, message), send, recv).await? {
                    Ok(()) => return Ok(()),
                    Err(refusal) => refusal,
                }
            }
            _ => return Err(TransportError::Lost("it has opened no mailbox".to_owned())),
        };
        send.send(&TrackerEvent::Mailbox(MailboxEvent::Refused(refusal))).await
    }

    /// Serves the owner of a mailbox until its connection ends.
    async fn keep(
        &self,
        claim: Claim<'_>,
        mut events: mpsc::Receiver<MailboxEvent>,
        send: &mut MessageSender<TrackerEvent>,
        mut recv: MessageReceiver<TrackerRequest>,
    ) -> Result<(), TransportError> {
        send.send(&TrackerEvent::Mailbox(MailboxEvent::Claimed { mailbox: claim.number })).await?;
        let reading = async {
            while let Some(message) = recv.recv().await? {
                let TrackerRequest::Mailbox(MailboxRequest::Answer { exchange, message }) = message else {
                    return Err(TransportError::Lost("it says something else to its mailbox".to_owned()));
                };
                self.answer(&claim, exchange, message);
            }
            Ok(())
        };
        let writing = async {
            // There are no more if its owner has claimed it anew.
            while let Some(event) = events.recv().await {
                send.send(&TrackerEvent::Mailbox(event)).await?;
            }
            Ok(())
        };
        tokio::select! {
            result = reading => result,
            result = writing => result,
            () = sleep_until(Instant::now() + LIFE) => Ok(()),
        }
    }

    /// Hands on what someone says who has opened a mailbox, and what the owner answers. Twice each, and whatever else it says
    /// is heard by nobody: a connection is good for one try.
    async fn hand_on(
        &self,
        (peer, from): (PeerId, SocketAddr),
        (number, message): (u16, Vec<u8>),
        send: &mut MessageSender<TrackerEvent>,
        mut recv: MessageReceiver<TrackerRequest>,
    ) -> Result<Result<(), MailboxRefusal>, TransportError> {
        let Some(mut exchange) = self.open(number) else { return Ok(Err(MailboxRefusal::None)) };
        let Some(mut place) = exchange.places.begin(from.ip()) else { return Ok(Err(MailboxRefusal::Busy)) };
        let id = exchange.id;
        exchange.begun = true;
        let talk = async {
            let opened = MailboxEvent::Opened { exchange: id, peer, from, message };
            exchange.events.send(opened).await.map_err(|_| MailboxRefusal::None)?;
            answer(&mut exchange.answers, send).await?;
            let said = match recv.recv().await {
                Ok(Some(TrackerRequest::Mailbox(MailboxRequest::Say { message }))) => message,
                // It has heard enough, or says what it may not say.
                _ => return Ok(Ok(())),
            };
            let said = MailboxEvent::Said { exchange: id, message: said };
            exchange.events.send(said).await.map_err(|_| MailboxRefusal::None)?;
            answer(&mut exchange.answers, send).await?;
            Ok(Ok(()))
        };
        let done: Result<Result<Result<(), TransportError>, Ended>, _> = place.run(talk).await;
        match done {
            Ok(Ok(result)) => result.map(Ok),
            Ok(Err(Ended::Refused(refusal))) => Ok(Err(refusal)),
            Ok(Err(Ended::Lost(error))) => Err(error),
            Err(_given_up) => Ok(Err(MailboxRefusal::Busy)),
        }
    }
}

/// Why an exchange is over before its end.
enum Ended {
    Refused(MailboxRefusal),
    Lost(TransportError),
}

impl From<MailboxRefusal> for Ended {
    fn from(refusal: MailboxRefusal) -> Self {
        Ended::Refused(refusal)
    }
}

impl From<TransportError> for Ended {
    fn from(error: TransportError) -> Self {
        Ended::Lost(error)
    }
}

/// Hands on the next answer of the owner.
async fn answer(answers: &mut mpsc::Receiver<Vec<u8>>, send: &mut MessageSender<TrackerEvent>) -> Result<(), Ended> {
    let message = answers.recv().await.ok_or(MailboxRefusal::None)?;
    Ok(send.send(&TrackerEvent::Mailbox(MailboxEvent::Answered { message })).await?)
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn from(number: u32) -> (PeerId, IpAddr) {
        let [_, a, b, c] = number.to_be_bytes();
        (PeerId(Digest([c; 32])), IpAddr::from([10, a, b, c]))
    }

    #[test]
    fn a_mailbox_has_the_smallest_number_or_the_one_that_is_wished() {
        let mailboxes = Mailboxes::default();
        let claim = |session, wish| mailboxes.claim(session, from(session as u32), wish).ok().unwrap();
        let (first, second) = (claim(1, None), claim(2, None));
        assert_eq!((first.0.number, second.0.number), (1, 2));
        let (wished, taken) = (claim(3, Some(77)), claim(4, Some(77)));
        assert_eq!((wished.0.number, taken.0.number), (77, 3));
        for (wrong, next) in [(0, 4), (MAX_MAILBOX + 1, 5)] {
            assert_eq!(claim(6, Some(wrong)).0.number, next);
        }
    }

    #[test]
    fn a_number_that_was_given_back_rests() {
        let mailboxes = Mailboxes::default();
        let claim = |session, wish| mailboxes.claim(session, from(session as u32), wish).ok().unwrap();
        drop(claim(1, None));
        assert_eq!(claim(1, Some(1)).0.number, 1, "who wishes for it may have it");
        // Each is given back at once.
        let numbers: Vec<_> = (2..11).map(|session| claim(session, None).0.number).collect();
        assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 8, 9, 1], "it is free again");
    }

    #[test]
    fn where_all_others_are_taken_one_that_rests_is_given() {
        let mailboxes = Mailboxes::default();
        let claim = |session: u32| mailboxes.claim(session.into(), from(session << 8), None).map(|(claim, _)| claim);
        let mut claims: Vec<_> = (1..=u32::from(MAX_MAILBOX)).map(|session| claim(session).ok().unwrap()).collect();
        assert!(claim(MAX_MAILBOX.into()).is_err());
        let last = claims.pop().map(|claim| claim.number);
        assert_eq!(claim(0).ok().map(|claim| claim.number), last);
    }

    #[tokio::test]
    async fn an_owner_that_comes_back_has_its_mailbox_again() {
        let mailboxes = Mailboxes::default();
        let (old, mut events) = mailboxes.claim(1, from(7), None).ok().unwrap();
        let mut exchange = mailboxes.open(1).unwrap();
        exchange.begun = true;
        let (new, _events) = mailboxes.claim(2, from(7), Some(1)).ok().unwrap();
        assert_eq!((old.number, new.number), (1, 1));
        drop(exchange);
        assert_eq!(events.recv().await, Some(MailboxEvent::Over { exchange: 1 }));
        assert_eq!(events.recv().await, None, "the old session ends");
        drop(old);
        assert!(mailboxes.open(1).is_some(), "it took nothing along");
    }

    #[test]
    fn one_network_cannot_take_all_mailboxes() {
        let mailboxes = Mailboxes::default();
        let mut claims = Vec::new();
        let mut session = 0;
        let full = loop {
            session += 1;
            match mailboxes.claim(session, (PeerId(Digest([0; 32])), IpAddr::from([10, 0, 0, 1])), None) {
                Ok(claim) => claims.push(claim),
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(full, MailboxRefusal::Full);
        assert!(claims.len() < usize::from(MAX_MAILBOX) - 1000);
        assert!(mailboxes.claim(session + 1, (PeerId(Digest([1; 32])), IpAddr::from([10, 0, 1, 1])), None).is_ok());
    }
}
