//! The relay: carries connections between peers that cannot reach each other, if the tracker is told to.
//!
//! Who has a session here, and takes part in a content, may ask for a connection to another peer of that content. It then
//! opens legs (`protocol::relay`), each with a key that follows from the one that it was told. For each the other peer is
//! told to open one too, and both are coupled: what comes over one goes over the other. That goes on for as long as they have any
//! content in common, as peers have one connection for all of them. A peer pays for what it sends, and the one that asked for the
//! connection pays for all of it.

mod account;
mod couple;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use protocol::{Carried, ContentId, LegKey, PeerId, RelayKey, TrackerEvent};
use swarm::AddressOrigin;
use tokio::sync::watch;
use tokio::time::Instant;
use transport::Leg;

use crate::lock::lock;
use crate::outbox::Outbox;
use account::{Account, Accounts};
use couple::{HeldByConnection, HeldByRelay};

/// The other peer's leg comes within this time.
const OTHER_LEG: Duration = Duration::from_secs(5);
/// A connection without legs is forgotten after this time, and one whose peers have no content in common any more or have left the tracker is
/// cut.
const UNUSED: Duration = Duration::from_secs(30);
/// Keys of legs that the tracker knows ahead: some may never come, or come late.
const AHEAD: u32 = 64;
/// Legs of one connection at once: as many TLS connections as two peers have directly.
const LEGS: usize = 224;
/// Legs of all connections at once, and of those that peers of one address asked for the half. Each takes two descriptors, and all of them no
/// more than a half of those that a tracker has for sockets.
const ALL_LEGS: usize = 16_384;

/// What a stranger is told.
const STRANGER: &str = "the relay carries only between peers that take part in the same content";
/// What is said of a peer that opens no legs.
const NO_LEGS: &str = "the relay cannot reach that peer: its version is older, or it uses QUIC alone";

/// What a relay may spend.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
#[must_use]
pub struct RelayLimits {
    /// Most bytes a second for one peer, sent and received.
    pub rate: Option<u64>,
    /// Most bytes a day for one peer, sent and received. All peers of an address have four times as much.
    pub bytes: Option<u64>,
    /// Most relayed connections at once.
    pub connections: usize,
    /// Of these, most that one peer asked for.
    pub a_peer: usize,
    /// Most that the peers of one address asked for: an IPv4 address, or an IPv6 /64. Half of all unless it is set.
    pub an_address: usize,
}

impl Default for RelayLimits {
    fn default() -> Self {
        RelayLimits { rate: None, bytes: Some(100 << 30), connections: 400, a_peer: 32, an_address: 200 }
    }
}

impl RelayLimits {
    /// At most so many bytes a second for one peer.
    pub fn rate(mut self, rate: Option<u64>) -> Self {
        self.rate = rate;
        self
    }

    /// At most so many bytes a day for one peer.
    pub fn bytes(mut self, bytes: Option<u64>) -> Self {
        self.bytes = bytes;
        self
    }

    /// At most so many connections at once.
    pub fn connections(mut self, connections: usize) -> Self {
        (self.connections, self.an_address) = (connections, connections.div_ceil(2));
        self
    }
}

/// A peer with a session here, as the relay sees it.
pub(crate) struct Party {
    pub(crate) peer: PeerId,
    /// Where its session comes from.
    pub(crate) address: SocketAddr,
    /// Whether it opens legs.
    pub(crate) takes_legs: bool,
    pub(crate) outbox: Arc<Outbox>,
}

/// Both ends of a connection that is asked for, if both take part in the content.
pub(crate) type Parties = Option<(Party, Party)>;

/// A relayed connection.
struct Carriage {
    asker: PeerId,
    other: PeerId,
    /// The one that it was asked for. It carries all others, too.
    content: ContentId,
    /// Where its asker was.
    origin: AddressOrigin,
    key: RelayKey,
    /// Who pays for what the asker sends, and for what the other sends.
    paid_by_asker: Vec<Arc<Account>>,
    paid_by_both: Vec<Arc<Account>>,
    legs: Arc<AtomicUsize>,
    /// Those of all connections that were asked for from there.
    legs_of_address: Arc<AtomicUsize>,
    ended: watch::Sender<bool>,
    held: HeldByConnection,
}

impl Carriage {
    /// Cuts all its legs.
    fn end(&self) {
        self.ended.send_replace(true);
    }
}

/// What is known of a connection beside the connection.
struct LegRecord {
    carriage: Arc<Carriage>,
    /// Keys of legs that its asker may open, and the number of the first one whose key is not among them yet.
    keys: HashSet<LegKey>,
    next: u32,
    /// When it was last seen with a leg, and its peers with a content in common.
    used: Instant,
    present: Instant,
}

/// A leg that waits for the other one.
struct WaitingLeg {
    leg: Leg,
    carriage: Arc<Carriage>,
    place: LegPlace,
    since: Instant,
}

/// One of the legs of its connection, of its address, and of all, until it is dropped.
struct LegPlace([Arc<AtomicUsize>; 3]);

impl LegPlace {
    /// One more, if there is room: so many of all.
    fn take(carriage: &Carriage, all: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = LegPlace([&carriage.legs, &carriage.legs_of_address, all].map(|count| {
            count.fetch_add(1, Ordering::Relaxed);
            count.clone()
        }));
        let most = [LEGS, most.div_ceil(2), most];
        let fits = place.0.iter().zip(most).all(|(count, most)| count.load(Ordering::Relaxed) <= most);
        fits.then_some(place)
    }
}

impl Drop for LegPlace {
    fn drop(&mut self) {
        for count in &self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The relay of a tracker.
pub(crate) struct Relay {
    limits: RelayLimits,
    books: Mutex<Books>,
    legs: Arc<AtomicUsize>,
    most_legs: usize,
    held: Arc<HeldByRelay>,
}

struct Books {
    accounts: Accounts,
    next: u64,
    carriages: BTreeMap<u64, LegRecord>,
    /// Legs by the address of those who asked for their connections.
    legs: HashMap<IpAddr, Arc<AtomicUsize>>,
    /// Keys of legs that an asker may open.
    expected: HashMap<LegKey, u64>,
    /// Legs that askers have opened, by the key of the other one.
    waiting: HashMap<LegKey, WaitingLeg>,
}

impl Relay {
    pub(crate) fn new(limits: RelayLimits) -> Self {
        let books = Books {
            accounts: Accounts::new(limits.rate, limits.bytes),
            next: 0,
            carriages: BTreeMap::new(),
            legs: HashMap::new(),
            expected: HashMap::new(),
            waiting: HashMap::new(),
        };
        let most_legs = ALL_LEGS.min(transport::most_sockets() / 4).max(2);
        Relay { limits, books: Mutex::new(books), legs: Arc::default(), most_legs, held: Arc::default() }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Relayed connections at present.
    pub(crate) fn connections(&self) -> usize {
        self.books().carriages.len()
    }

    /// Lets a peer open legs to another one, or says why not.
    pub(crate) fn ask(&self, parties: Parties, content: ContentId) -> Result<Carried, String> {
        let (asker, other) = parties.ok_or(STRANGER)?;
        if !other.takes_legs {
            return Err(NO_LEGS.to_owned());
        }
        let origin = AddressOrigin::of(asker.address.ip());
        let mut books = self.books();
        // Who asks again has lost the connection that it had.
        books.forget(|carriage| (carriage.asker, carriage.other) == (asker.peer, other.peer));
        let now = Instant::now();
        let own = books.accounts.of(asker.peer, asker.address.ip(), now);
        let others = books.accounts.of(other.peer, other.address.ip(), now);
        if let Some(rest) = Account::all_spent(&own, now) {
            return Err(format!("your daily limit at the relay is used up: ask again in {}", words(rest)));
        }
        if let Some(rest) = Account::all_spent(&others, now) {
            let again = words(rest);
            return Err(format!("that peer's daily limit at the relay is used up: ask again in {again}"));
        }
        // Only now: who is refused must not have cut somebody else's connection.
        books.room(&self.limits, asker.peer, origin)?;
        let mut key = RelayKey([0; 16]);
        transport::random(&mut key.0);
        let number = books.next;
        books.next += 1;
        let legs_of_address = books.legs.entry(origin.address).or_default().clone();
        let carriage = Carriage {
            asker: asker.peer,
            other: other.peer,
            content,
            origin,
            key,
            // Peers at one address have one account for it.
            paid_by_both: own
                .iter()
                .cloned()
                .chain(others.into_iter().filter(|one| !own.iter().any(|own| Arc::ptr_eq(own, one))))
                .collect(),
            paid_by_asker: own,
            legs: Arc::default(),
            legs_of_address,
            ended: watch::Sender::new(false),
            held: HeldByConnection::of(&self.held, self.limits.connections),
        };
        let (carriage, keys) = (Arc::new(carriage), (0..AHEAD).map(|leg| key.leg(leg)).collect::<HashSet<_>>());
        books.expected.extend(keys.iter().map(|&key| (key, number)));
        books.carriages.insert(number, LegRecord { carriage, keys, next: AHEAD, used: now, present: now });
        tracing::info!(asker = %asker.peer, other = %other.peer, "carries a connection");
        Ok(Carried { key, address: other.address })
    }

    /// A leg has come. `parties` says whether the peers of a connection are still there and have a content in common.
    pub(crate) fn leg_came(&self, leg: Leg, parties: impl Fn(PeerId, PeerId, ContentId) -> Parties) {
        let mut books = self.books();
        if let Some(first) = books.waiting.remove(&leg.key) {
            drop(books);
            return self.couple(first, leg);
        }
        let Some(number) = books.expected.remove(&leg.key) else {
            return tracing::debug!(from = %leg.from, "a leg that nobody expects");
        };
        let Some(entry) = books.carriages.get_mut(&number) else { return };
        let carriage = entry.carriage.clone();
        entry.used = Instant::now();
        let next = carriage.key.leg(entry.next);
        entry.next = entry.next.wrapping_add(1);
        entry.keys.remove(&leg.key);
        entry.keys.insert(next);
        books.expected.insert(next, number);
        drop(books);
        let Some((asker, other)) = parties(carriage.asker, carriage.other, carriage.content) else { return };
        let Some(place) = LegPlace::take(&carriage, &self.legs, self.most_legs) else {
            return tracing::debug!(from = %leg.from, "too many legs");
        };
        let mut key = LegKey([0; 16]);
        transport::random(&mut key.0);
        let told = TrackerEvent::Leg { from: asker.peer, address: asker.address, key };
        self.books().waiting.insert(key, WaitingLeg { leg, carriage, place, since: Instant::now() });
        if !other.outbox.say(told) {
            self.books().waiting.remove(&key);
        }
    }

    /// Both legs are here.
    fn couple(&self, first: WaitingLeg, second: Leg) {
        let WaitingLeg { leg: first, carriage, place, .. } = first;
        // Where the packets of one of them are handled.
        first.thread.spawn(async move {
            let mut ended = carriage.ended.subscribe();
            let (asker_pays, both_pay) = (&carriage.paid_by_asker, &carriage.paid_by_both);
            let carried = tokio::select! {
                carried = couple::couple(first.socket, second.socket, asker_pays, both_pay, &carriage.held) => carried,
                _ = ended.wait_for(|ended| *ended) => Ok(()),
            };
            if let Err(error) = carried {
                tracing::debug!(%error, asker = %carriage.asker, "a leg has ended");
                if Account::all_spent(&carriage.paid_by_both, Instant::now()).is_some() {
                    carriage.end();
                }
            }
            drop(place);
        });
    }

    /// Forgets what nobody uses, and cuts connections of peers that have no content in common any more.
    pub(crate) fn sweep(&self, parties: impl Fn(PeerId, PeerId, ContentId) -> Parties) {
        let now = Instant::now();
        let standing: Vec<_> = {
            let mut books = self.books();
            books.waiting.retain(|_, waiting| now - waiting.since < OTHER_LEG);
            books.accounts.forget_old(now);
            books.legs.retain(|_, legs| Arc::strong_count(legs) > 1);
            books.carriages.iter().map(|(&number, entry)| (number, entry.carriage.clone())).collect()
        };
        let present: Vec<_> = standing
            .iter()
            .map(|(number, carriage)| (*number, parties(carriage.asker, carriage.other, carriage.content).is_some()))
            .collect();
        let mut books = self.books();
        for (number, present) in present {
            let Some(entry) = books.carriages.get_mut(&number) else { continue };
            if present {
                entry.present = now;
            }
            if entry.carriage.legs.load(Ordering::Relaxed) > 0 {
                entry.used = now;
            }
        }
        let over = |entry: &LegRecord| {
            now - entry.used > UNUSED || now - entry.present > UNUSED || *entry.carriage.ended.borrow()
        };
        let gone: Vec<_> = books.carriages.iter().filter(|(_, entry)| over(entry)).map(|(&number, _)| number).collect();
        books.remove(&gone);
    }
}

impl Books {
    /// Whether there is room for one more connection. If there is none left, one of the network with the most makes room.
    fn room(&mut self, limits: &RelayLimits, asker: PeerId, origin: AddressOrigin) -> Result<(), String> {
        let count =
            |of: &dyn Fn(&Carriage) -> bool| self.carriages.values().filter(|entry| of(&entry.carriage)).count();
        if count(&|carriage| carriage.asker == asker) >= limits.a_peer {
            return Err(format!("the relay allows {} connections for one peer, and you have that many", limits.a_peer));
        }
        if count(&|carriage| carriage.origin.address == origin.address) >= limits.an_address {
            let most = limits.an_address;
            return Err(format!("the relay allows {most} connections for one address, and yours has that many"));
        }
        if self.carriages.len() >= limits.connections {
            let Some(surplus) = self.surplus(origin.network) else {
                return Err(format!("the relay allows {} connections at once, and has that many", limits.connections));
            };
            self.remove(&[surplus]);
        }
        Ok(())
    }

    /// The connection that makes room for one that is asked for from this network: of the one with the most, if that would still have no fewer
    /// afterwards, one without legs, or else the newest.
    fn surplus(&self, of: IpAddr) -> Option<u64> {
        let mut networks = HashMap::<IpAddr, usize>::new();
        self.carriages.values().for_each(|entry| *networks.entry(entry.carriage.origin.network).or_default() += 1);
        let own = networks.get(&of).copied().unwrap_or(0);
        let (network, most) = networks.into_iter().max_by_key(|&(network, count)| (count, network))?;
        let entries = self.carriages.iter().filter(|(_, entry)| entry.carriage.origin.network == network);
        let idle = |entry: &LegRecord| entry.carriage.legs.load(Ordering::Relaxed) == 0;
        let newest = entries.max_by_key(|(number, entry)| (idle(entry), **number)).map(|(&number, _)| number);
        newest.filter(|_| most > own + 1)
    }

    fn forget(&mut self, which: impl Fn(&Carriage) -> bool) {
        let gone: Vec<_> =
            self.carriages.iter().filter(|(_, entry)| which(&entry.carriage)).map(|(&number, _)| number).collect();
        self.remove(&gone);
    }

    fn remove(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(entry) = self.carriages.remove(number) {
                entry.carriage.end();
                entry.keys.iter().for_each(|key| {
                    self.expected.remove(key);
                });
            }
        }
    }
}

/// A time as people say it.
fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{} s", seconds.max(1)),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests;
