//! Which connections stay when there is not room for all: fair shares by prefix and address, which bite only when room
//! is short.
//!
//! A fixed cap an address would shut out a whole office behind one address, and a cap on all is full as soon as one
//! stranger fills it. Here a newcomer always gets a place. If there is none left, one is taken from those who have the
//! most: of the prefix with the most places (IPv4 /24, IPv6 /64), of its address with the most, of that one's holder
//! with the most, the place that is worth least, and of those the oldest. What is honest lasts for milliseconds; what
//! stalls grows old.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;

/// What is younger is not ended for another one of the same address: under a flood that is faster than we are, nothing
/// would ever be done.
const GRACE: Duration = Duration::from_millis(100);
/// A holder with so many places has no more than others: each connection needs some.
const FEW: usize = 4;
/// Room is short when more than this part of it is taken.
const SHORT: usize = 8;

/// What a place is good for; of one holder what is worth least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    /// What is left of something that failed.
    Failed,
    /// A handshake that is not done.
    HalfOpen,
    /// A connection that waits to be taken.
    Waiting,
    /// A stream connection without a stream.
    WithoutStream,
    /// A connection on which there was no stream yet.
    Unused,
    /// A stream connection with a stream.
    WithStream,
    /// What a connection cannot be without.
    Control,
}

/// Ends what has a place. Called once, when the place is needed for another.
type End = Box<dyn FnOnce() + Send>;

/// A number of places.
pub(crate) struct Admission {
    room: usize,
    table: Mutex<Table>,
    /// How many were ended or refused for want of a place so far, if anybody wants to know.
    let_go: Option<Arc<AtomicU64>>,
}

/// A place that is held, until this is dropped or the place is taken away.
pub(crate) struct Place {
    number: u64,
    admission: Arc<Admission>,
}

/// A connection that asks for a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newcomer {
    /// Its address.
    pub(crate) from: IpAddr,
    /// Whose it is, of those at this address; one of its own if not given.
    pub(crate) holder: Option<u64>,
    /// What it is good for.
    pub(crate) worth: Worth,
}

impl Admission {
    /// So many places.
    pub(crate) fn new(room: usize) -> Arc<Self> {
        Arc::new(Admission { room: room.max(1), table: Mutex::default(), let_go: None })
    }

    /// So many places of sockets. Those that are ended or refused for want of one are counted here.
    pub(crate) fn of_sockets(room: usize, let_go: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Admission { room: room.max(1), table: Mutex::default(), let_go: Some(let_go) })
    }

    /// A place; for it, another may have been ended. Nothing if those of this address came too fast after each other.
    pub(crate) fn enter(
        self: &Arc<Self>,
        now: Instant,
        newcomer: Newcomer,
        end: impl FnOnce() + Send + 'static,
    ) -> Option<Place> {
        let mut table = lock(&self.table);
        let number = table.add(now, newcomer, Box::new(end));
        let ended = match table.places.len() > self.room {
            true => {
                let most = table.dispensable().unwrap_or(number);
                let young = |held: &Admitted| now.saturating_duration_since(held.since) < GRACE;
                let same = |held: &Admitted| held.address.same(&table.places[&number].address);
                let refused = table.places.get(&most).is_some_and(|held| young(held) && same(held));
                table.remove(if refused { number } else { most }).map(|held| (held, refused || most == number))
            }
            false => None,
        };
        // Not under the lock: what ends may hold places of its own.
        drop(table);
        if let Some(let_go) = self.let_go.as_ref().filter(|_| ended.is_some())
            && let_go.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(
                "there are no sockets left for more: from now on some are closed for others. Raise the limit of open files"
            );
        }
        match ended {
            Some((_, true)) => None,
            Some((held, false)) => {
                (held.end)();
                Some(Place { number, admission: self.clone() })
            }
            None => Some(Place { number, admission: self.clone() }),
        }
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        lock(&self.table).places.len()
    }

    /// Whether so many places are taken that nobody should hold one for long.
    pub(crate) fn is_short(&self) -> bool {
        self.taken() > self.room / SHORT
    }
}

impl Place {
    /// It is good for something else from now on.
    pub(crate) fn set_worth(&self, worth: Worth) {
        let mut table = lock(&self.admission.table);
        if let Some(held) = table.places.get_mut(&self.number) {
            held.worth = worth;
        }
    }

    /// Whether nobody should hold a place for long.
    pub(crate) fn is_short(&self) -> bool {
        self.admission.is_short()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let held = lock(&self.admission.table).remove(self.number);
        drop(held); // not under the lock
    }
}

#[derive(Default)]
struct Table {
    next: u64,
    /// By age.
    places: BTreeMap<u64, Admitted>,
    prefixes: Groups<IpAddr>,
    addresses: Groups<IpAddr>,
    holders: Groups<(IpAddr, u64)>,
}

struct Admitted {
    prefix: Group<IpAddr>,
    address: Group<IpAddr>,
    holder: Group<(IpAddr, u64)>,
    worth: Worth,
    since: Instant,
    end: End,
}

impl Table {
    fn add(&mut self, now: Instant, Newcomer { from, holder, worth }: Newcomer, end: End) -> u64 {
        let number = self.next;
        self.next += 1;
        let from = from.to_canonical();
        // The numbers of holders and of places never meet: the highest bit tells them apart.
        let holder = holder.unwrap_or(number | 1 << 63);
        let held = Admitted {
            prefix: self.prefixes.join(prefix(from)),
            address: self.addresses.join(from),
            holder: self.holders.join((from, holder)),
            worth,
            since: now,
            end,
        };
        self.places.insert(number, held);
        number
    }

    /// The place that is to go first.
    fn dispensable(&self) -> Option<u64> {
        let rank = |(number, held): &(&u64, &Admitted)| {
            let counts = (held.prefix.count(), held.address.count(), held.holder.count().max(FEW));
            (counts, Reverse(held.worth), Reverse(**number))
        };
        self.places.iter().max_by_key(rank).map(|(&number, _)| number)
    }

    fn remove(&mut self, number: u64) -> Option<Admitted> {
        let held = self.places.remove(&number)?;
        self.prefixes.leave(&held.prefix);
        self.addresses.leave(&held.address);
        self.holders.leave(&held.holder);
        Some(held)
    }
}

/// How many places each of some kind has.
struct Groups<K>(HashMap<K, Arc<AtomicUsize>>);

/// One of them; what it has is found without a search.
struct Group<K> {
    key: K,
    count: Arc<AtomicUsize>,
}

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Groups(HashMap::new())
    }
}

impl<K> Group<K> {
    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.count, &other.count)
    }
}

impl<K: Hash + Eq + Copy> Groups<K> {
    fn join(&mut self, key: K) -> Group<K> {
        let count = self.0.entry(key).or_default().clone();
        count.fetch_add(1, Ordering::Relaxed);
        Group { key, count }
    }

    fn leave(&mut self, group: &Group<K>) {
        if group.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.remove(&group.key);
        }
    }
}

/// What one customer of a provider has to itself.
fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some time after all that was there is out of its grace.
    const LATER: Duration = Duration::from_secs(1);

    struct Door {
        admission: Arc<Admission>,
        now: Instant,
        /// The connection that was ended, by the number that the test gave it.
        ended: Arc<Mutex<Vec<u32>>>,
    }

    impl Door {
        fn new(room: usize) -> Self {
            Door { admission: Admission::new(room), now: Instant::now(), ended: Arc::default() }
        }

        fn enter(&self, name: u32, from: &str, holder: Option<u64>, worth: Worth) -> Option<Place> {
            let (ended, from) = (self.ended.clone(), from.parse().unwrap());
            let end = move || ended.lock().unwrap().push(name);
            self.admission.enter(self.now, Newcomer { from, holder, worth }, end)
        }

        fn half_open(&self, name: u32, from: &str) -> Option<Place> {
            self.enter(name, from, None, Worth::HalfOpen)
        }

        fn ended(&self) -> Vec<u32> {
            std::mem::take(&mut *self.ended.lock().unwrap())
        }
    }

    #[test]
    fn nobody_is_ended_while_there_is_room() {
        let door = Door::new(500);
        let places: Vec<_> = (0..500).map(|name| door.half_open(name, "192.0.2.1").unwrap()).collect();
        assert_eq!((door.ended(), door.admission.taken()), (vec![], 500));
        drop(places);
        assert_eq!(door.admission.taken(), 0);
        let table = door.admission.table.lock().unwrap();
        assert_eq!((table.prefixes.0.len(), table.addresses.0.len(), table.holders.0.len()), (0, 0, 0));
    }

    #[test]
    fn who_is_ended_or_refused_is_counted() {
        let (let_go, now) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let admission = Admission::of_sockets(2, let_go.clone());
        let enter = |after: Duration, last| {
            let newcomer =
                Newcomer { from: IpAddr::from([192, 0, 2, last]), holder: None, worth: Worth::WithoutStream };
            admission.enter(now + after, newcomer, || {})
        };
        let mut places = vec![enter(Duration::ZERO, 1), enter(Duration::ZERO, 1)];
        assert_eq!(let_go.load(Ordering::Relaxed), 0);
        places.push(enter(LATER, 2));
        assert_eq!(let_go.load(Ordering::Relaxed), 1);
        drop(places);
        drop(enter(LATER, 3));
        assert_eq!(let_go.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn oldest_of_the_address_with_most_makes_room() {
        let mut door = Door::new(8);
        let _honest = door.half_open(100, "192.0.2.7").unwrap();
        let _flood: Vec<_> = (0..7).map(|name| door.half_open(name, "198.51.100.1").unwrap()).collect();
        door.now += LATER;
        let _newcomer = door.half_open(101, "203.0.113.5").unwrap();
        assert_eq!(door.ended(), [0]);
        let _same = door.half_open(102, "198.51.100.1").unwrap();
        assert_eq!(door.ended(), [1], "also for one of its own");
        assert_eq!(door.admission.taken(), 8);
    }

    #[test]
    fn addresses_of_one_prefix_share() {
        let mut door = Door::new(8);
        let _honest: Vec<_> = (0..3).map(|name| door.half_open(100 + name, "192.0.2.7").unwrap()).collect();
        let _flood: Vec<_> = (0..5).map(|name| door.half_open(name, &format!("198.51.100.{name}")).unwrap()).collect();
        door.now += LATER;
        let _newcomer = door.half_open(103, "192.0.2.7").unwrap();
        assert_eq!(door.ended(), [0], "three of one address are fewer than five of one prefix");
        let door = Door::new(4);
        let _flood: Vec<_> = (0..4).map(|name| door.half_open(name, &format!("2001:db8::{name}:1")).unwrap()).collect();
        let _newcomer = door.half_open(4, "2001:db8:0:1::1").unwrap();
        assert_eq!(door.ended(), [0]);
        // An IPv4 address is the same through an IPv6 socket.
        let door = Door::new(2);
        let _two = [door.half_open(0, "192.0.2.1").unwrap(), door.half_open(1, "::ffff:192.0.2.2").unwrap()];
        let _other = door.half_open(2, "::ffff:198.51.100.1").unwrap();
        assert_eq!(door.ended(), [0]);
    }

    #[test]
    fn a_flood_from_everywhere_ends_the_oldest() {
        let mut door = Door::new(4);
        let mut places: Vec<_> = (0..4).map(|name| door.half_open(name, &format!("10.0.{name}.1")).unwrap()).collect();
        door.now += LATER;
        places.extend((4..8).map(|name| door.half_open(name, &format!("10.0.{name}.1")).unwrap()));
        assert_eq!(door.ended(), [0, 1, 2, 3]);
    }

    #[test]
    fn an_honest_handshake_is_done_before_a_flood_of_its_own_address_gets_to_it() {
        let mut door = Door::new(256);
        let mut flood: Vec<_> = (0..256).map(|name| door.half_open(name, "127.0.0.1").unwrap()).collect();
        let mut done = 0;
        for round in 0..100 {
            door.now += LATER;
            let honest = door.half_open(u32::MAX, "127.0.0.1").unwrap();
            // Three thousand a second are renewed, and it takes 80 ms.
            flood.extend((0..240).filter_map(|name| door.half_open(1000 * round + name, "127.0.0.1")));
            done += u32::from(!door.ended().contains(&u32::MAX));
            drop(honest);
        }
        assert_eq!(done, 100);
    }

    #[test]
    fn who_came_just_now_is_not_ended_for_the_next_of_its_address() {
        let mut door = Door::new(8);
        let mut places: Vec<_> = (0..8).map(|name| door.half_open(name, "127.0.0.1").unwrap()).collect();
        assert!(door.half_open(8, "127.0.0.1").is_none());
        assert_eq!((door.ended(), door.admission.taken()), (vec![], 8));
        places.push(door.half_open(9, "127.0.1.1").expect("but for one of another"));
        assert_eq!(door.ended(), [0]);
        door.now += GRACE;
        places.push(door.half_open(10, "127.0.0.1").unwrap());
        assert_eq!(door.ended(), [1]);
    }

    #[test]
    fn what_is_worth_least_goes_first_of_the_holder_with_most() {
        let mut door = Door::new(10);
        let enter = |door: &Door, name, holder, worth| door.enter(name, "127.0.0.1", Some(holder), worth).unwrap();
        let connection = |name, holder, worth| enter(&door, name, holder, worth);
        let _honest = [
            connection(100, 1, Worth::Control),
            connection(101, 1, Worth::WithStream),
            connection(102, 1, Worth::WithoutStream),
        ];
        let greedy: Vec<_> = (0..6).map(|name| connection(name, 2, Worth::WithStream)).collect();
        let _idle = connection(6, 2, Worth::WithoutStream);
        door.now += LATER;
        let connection = |name, holder, worth| enter(&door, name, holder, worth);
        let _newcomer = connection(103, 3, Worth::Control);
        assert_eq!(door.ended(), [6], "a stream connection without a stream");
        greedy[2].set_worth(Worth::WithoutStream);
        let _newcomer = connection(104, 3, Worth::WithStream);
        assert_eq!(door.ended(), [2]);
        let _newcomer = connection(105, 4, Worth::Unused);
        assert_eq!(door.ended(), [0], "and then one with a stream");
        let _newcomer = connection(106, 4, Worth::WithStream);
        assert_eq!(door.ended(), [102], "now nobody has many, and what is worth least goes");
        door.now += LATER;
        let _newcomer = enter(&door, 107, 5, Worth::Control);
        assert_eq!(door.ended(), [105], "before the streams of others");
        drop(greedy);
        assert_eq!(door.admission.taken(), 6);
    }

    #[test]
    fn what_ends_may_give_back_other_places() {
        let door = Door::new(1);
        let inner = door.half_open(0, "192.0.2.1").unwrap();
        drop(door.ended());
        let admission = door.admission.clone();
        let other = Admission::new(1);
        let newcomer =
            |last| Newcomer { from: IpAddr::from([198, 51, 100, last]), holder: None, worth: Worth::HalfOpen };
        let first = other.enter(door.now, newcomer(1), move || drop((inner, admission))).unwrap();
        let _second = other.enter(door.now + LATER, newcomer(2), || {}).unwrap();
        assert_eq!((door.admission.taken(), other.taken()), (0, 1));
        drop(first);
    }
}
