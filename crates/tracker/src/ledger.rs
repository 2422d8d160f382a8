//! How much of the tracker's memory each connection takes, and which one goes when there is no room.
//!
//! Nobody has a fixed share: five hundred peers behind one address may take all there is, as long as nobody else needs it.
//! Only when room is short does someone go, and then by what it is here for and by whose it is:
//!
//! 1. Connections are of three kinds: those that announce nothing, those whose contents nobody else has or wants, and those
//!    that were brought together with someone. Each kind has a part of the memory that the others cannot take from it.
//!    One goes of the kind that is furthest above its part.
//! 2. Of that kind, from the network that takes most, and in it from the address that takes most. A flood
//!    from one place makes room for itself alone.
//! 3. Of that address: of those that announce nothing the one that has been here for longest, since who has just come is about to
//!    say what it is here for; of the others the one that takes most, and of equal ones the one that came last.
//!
//! A peer that goes may come back, and does; a tracker holds nothing that its peers do not know.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use swarm::AddressOrigin;

/// What a connection is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It announces nothing.
    Idle,
    /// Of what it announces it has met nobody who has or wants it.
    Alone,
    /// It was brought together with others.
    Met,
}

/// Sixteenths of the memory that each kind is sure of.
const PARTS: [u64; 3] = [2, 6, 8];

/// What a tracker may spend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes in all.
    pub(crate) memory: u64,
    /// Most connections.
    pub(crate) connections: usize,
}

/// What all connections take.
pub(crate) struct Ledger {
    room: Room,
    bytes: u64,
    accounts: HashMap<u64, ConnectionCost>,
    kinds: [Kind; 3],
}

/// What one connection takes.
struct ConnectionCost {
    origin: AddressOrigin,
    bytes: u64,
    used: Use,
}

/// What the connections of one kind take.
#[derive(Default)]
struct Kind {
    /// Whether it is that of those who announce nothing.
    idle: bool,
    bytes: u64,
    networks: Ranked<IpAddr>,
    addresses: HashMap<IpAddr, Ranked<IpAddr>>,
    /// Sessions by address, ranked for eviction. Of equally large ones the newest is evicted first. Idle sessions are
    /// ranked by age alone, the oldest first, so that nobody is evicted for a message that waits for it.
    sessions: HashMap<IpAddr, Ranked<u64>>,
}

/// Bytes by key, and who has most.
struct Ranked<K> {
    bytes: HashMap<K, u64>,
    order: BTreeSet<(u64, K)>,
    /// Only the keys count, and not the bytes.
    by_key: bool,
}

impl<K> Default for Ranked<K> {
    fn default() -> Self {
        Ranked { bytes: HashMap::new(), order: BTreeSet::new(), by_key: false }
    }
}

impl<K: Copy + Ord + Hash> Ranked<K> {
    fn change(&mut self, key: K, by: i64) {
        let by_key = self.by_key;
        let rank = |bytes| if by_key { (0, key) } else { (bytes, key) };
        let bytes = self.bytes.entry(key).or_default();
        self.order.remove(&rank(*bytes));
        *bytes = bytes.saturating_add_signed(by);
        if *bytes == 0 {
            self.bytes.remove(&key);
        } else {
            self.order.insert(rank(*bytes));
        }
    }

    fn most(&self) -> Option<K> {
        self.order.last().map(|&(_, key)| key)
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Kind {
    fn change(&mut self, origin: AddressOrigin, key: u64, by: i64) {
        self.bytes = self.bytes.saturating_add_signed(by);
        self.networks.change(origin.network, by);
        let addresses = self.addresses.entry(origin.network).or_default();
        addresses.change(origin.address, by);
        if addresses.is_empty() {
            self.addresses.remove(&origin.network);
        }
        let idle = self.idle;
        let ranked = || Ranked { by_key: idle, ..Ranked::default() };
        let sessions = self.sessions.entry(origin.address).or_insert_with(ranked);
        sessions.change(key, by);
        if sessions.is_empty() {
            self.sessions.remove(&origin.address);
        }
    }

    fn largest(&self) -> Option<u64> {
        let network = self.networks.most()?;
        let address = self.addresses.get(&network)?.most()?;
        self.sessions.get(&address)?.most()
    }
}

/// Sessions are numbered as they come. Turned round, the oldest is the last.
fn key(used: Use, session: u64) -> u64 {
    if used == Use::Idle { u64::MAX - session } else { session }
}

impl Ledger {
    pub(crate) fn new(room: Room) -> Self {
        let kinds = [true, false, false].map(|idle| Kind { idle, ..Kind::default() });
        Ledger { room, bytes: 0, accounts: HashMap::new(), kinds }
    }

    /// A connection is here, and takes so much.
    pub(crate) fn open(&mut self, session: u64, origin: AddressOrigin, bytes: usize) {
        self.accounts.insert(session, ConnectionCost { origin, bytes: 0, used: Use::Idle });
        self.change(session, bytes as i64);
    }

    /// A connection takes more, or less. One that is gone takes nothing.
    pub(crate) fn change(&mut self, session: u64, by: i64) {
        let Some(account) = self.accounts.get_mut(&session) else { return };
        debug_assert!(account.bytes as i64 + by >= 0, "session {session} has {} and gives back {by}", account.bytes);
        let by = by.max(-(account.bytes as i64));
        account.bytes = account.bytes.saturating_add_signed(by);
        self.bytes = self.bytes.saturating_add_signed(by);
        self.kinds[account.used as usize].change(account.origin, key(account.used, session), by);
    }

    /// It is known what a connection is here for.
    pub(crate) fn set_use(&mut self, session: u64, used: Use) {
        let Some(account) = self.accounts.get_mut(&session).filter(|account| account.used != used) else { return };
        let (origin, bytes) = (account.origin, account.bytes as i64);
        let before = std::mem::replace(&mut account.used, used);
        self.kinds[before as usize].change(origin, key(before, session), -bytes);
        self.kinds[used as usize].change(origin, key(used, session), bytes);
    }

    /// The same, if that is more than it was here for before.
    pub(crate) fn raise_use(&mut self, session: u64, used: Use) {
        if self.accounts.get(&session).is_some_and(|account| (account.used as usize) < used as usize) {
            self.set_use(session, used);
        }
    }

    /// A connection is gone, and all that it took.
    pub(crate) fn close(&mut self, session: u64) {
        let Some(bytes) = self.accounts.get(&session).map(|account| account.bytes) else { return };
        self.change(session, -(bytes as i64));
        self.accounts.remove(&session);
    }

    /// The connection that is to go, if there is no room.
    pub(crate) fn surplus(&self) -> Option<u64> {
        if self.bytes <= self.room.memory && self.accounts.len() <= self.room.connections {
            return None;
        }
        // Bytes over part, without a division: the kinds are compared by what each has for a sixteenth of the memory.
        let share = |&(kind, part): &(&Kind, u64)| u128::from(kind.bytes) * 16 / u128::from(part);
        let (kind, _) = self.kinds.iter().zip(PARTS).max_by_key(share)?;
        let last = kind.largest()?;
        Some(if kind.idle { u64::MAX - last } else { last })
    }

    /// What all take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> AddressOrigin {
        AddressOrigin::of(address.parse().unwrap())
    }

    fn ledger(memory: u64) -> Ledger {
        Ledger::new(Room { memory, connections: usize::MAX })
    }

    /// Lets go the peers that have to, until there is room.
    fn make_room(ledger: &mut Ledger) -> Vec<u64> {
        let mut gone = Vec::new();
        while let Some(session) = ledger.surplus() {
            ledger.close(session);
            gone.push(session);
        }
        gone
    }

    #[test]
    fn one_address_may_take_all_that_nobody_else_needs() {
        let mut ledger = ledger(1000);
        (0..10).for_each(|session| ledger.open(session, from("10.0.0.1"), 100));
        assert_eq!(make_room(&mut ledger), [], "no share bites while there is room");
        ledger.open(10, from("10.9.0.1"), 100);
        assert_eq!(make_room(&mut ledger), [0], "then the address that takes most gives, not the one that came");
    }

    #[test]
    fn a_place_that_fills_the_tracker_makes_room_itself() {
        let rows = [
            ("an address", vec!["10.1.0.1"]),
            ("a network", (1..=50).map(|host| ["10.1.0.", &host.to_string()].concat().leak() as &str).collect()),
            (
                "an IPv6 site",
                (0..50).map(|net| ["2001:db8:1:", &net.to_string(), "::1"].concat().leak() as &str).collect(),
            ),
        ];
        for (what, attackers) in rows {
            for used in [Use::Idle, Use::Alone, Use::Met] {
                let mut ledger = ledger(10_000);
                for (session, honest) in ["10.0.0.1", "10.0.0.2", "2001:db8:2::1"].into_iter().enumerate() {
                    ledger.open(session as u64, from(honest), 100);
                    ledger.set_use(session as u64, [Use::Idle, Use::Alone, Use::Met][session]);
                }
                for session in 10..2000 {
                    ledger.open(session, from(attackers[session as usize % attackers.len()]), 10);
                    ledger.change(session, 40);
                    ledger.set_use(session, used);
                    assert!(make_room(&mut ledger).iter().all(|gone| *gone >= 10), "{what}, {used:?}");
                }
                assert!(ledger.bytes() <= 10_000);
            }
        }
    }

    #[test]
    fn strangers_from_everywhere_that_met_nobody_leave_those_alone_that_have() {
        for used in [Use::Idle, Use::Alone] {
            let mut ledger = ledger(10_000);
            // The largest share of all, but of use.
            for session in 0..30 {
                ledger.open(session, from("10.0.0.1"), 100);
                ledger.set_use(session, Use::Met);
            }
            for session in 30..3000u64 {
                let [.., a, b] = session.to_be_bytes();
                ledger.open(session, from(&format!("20.{a}.{b}.1")), 50);
                ledger.set_use(session, used);
                assert!(make_room(&mut ledger).iter().all(|gone| *gone >= 30), "{used:?}");
            }
        }
    }

    /// From the address of the honest ones there is nothing to tell them apart by but how much they take, and for how long they
    /// are here.
    #[test]
    fn of_one_address_the_largest_goes_then_the_newest_that_is_alone_then_the_oldest_that_is_idle() {
        let mut ledger = ledger(1000);
        for session in 0..10 {
            ledger.open(session, from("10.0.0.1"), 90);
            ledger.set_use(session, Use::Alone);
        }
        ledger.change(3, 50);
        ledger.change(5, 60);
        assert_eq!(make_room(&mut ledger), [5]);
        ledger.change(3, -50);
        ledger.open(11, from("10.0.0.1"), 90);
        ledger.set_use(11, Use::Alone);
        ledger.open(12, from("10.0.0.1"), 90);
        ledger.set_use(12, Use::Alone);
        assert_eq!(make_room(&mut ledger), [], "990 of 1000");
        ledger.open(13, from("10.0.0.1"), 90);
        assert_eq!(make_room(&mut ledger), [12], "the one that has just come has not said yet what it is here for");
        let mut idle = self::ledger(1000);
        (0..14).for_each(|session| idle.open(session, from("10.0.0.1"), 90));
        assert_eq!(make_room(&mut idle), [0, 1, 2]);
    }

    #[test]
    fn too_many_connections_are_as_bad_as_too_many_bytes() {
        let mut ledger = Ledger::new(Room { memory: 1 << 30, connections: 5 });
        (0..5).for_each(|session| ledger.open(session, from("10.0.0.1"), 100));
        ledger.open(5, from("10.1.0.1"), 100);
        assert_eq!(make_room(&mut ledger), [0]);
    }

    #[test]
    fn the_books_agree_whatever_happens() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut ledger = ledger(100_000);
        let mut own: HashMap<u64, u64> = HashMap::new();
        for session in 0..5000 {
            let address = [10, 0, random.u8(..3), random.u8(..4)];
            ledger.open(session, AddressOrigin::of(address.into()), 100);
            own.insert(session, 100);
            for _ in 0..3 {
                let other = random.u64(..=session);
                let Some(bytes) = own.get_mut(&other) else { continue };
                let by = random.i64(-(*bytes as i64)..1000);
                *bytes = bytes.saturating_add_signed(by);
                ledger.change(other, by);
                ledger.set_use(other, [Use::Idle, Use::Alone, Use::Met][random.usize(..3)]);
            }
            for gone in make_room(&mut ledger) {
                assert!(own.remove(&gone).is_some());
            }
            assert_eq!(ledger.bytes(), own.values().sum::<u64>());
            assert_eq!(ledger.kinds.iter().map(|kind| kind.bytes).sum::<u64>(), ledger.bytes());
        }
        own.into_keys().for_each(|session| ledger.close(session));
        assert_eq!(ledger.bytes(), 0);
        assert!(ledger.kinds.iter().all(|kind| kind.networks.is_empty() && kind.sessions.is_empty()));
    }
}
