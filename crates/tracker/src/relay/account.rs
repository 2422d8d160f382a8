//! How many bytes a relay carries for a peer: quotas by second and by day.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::PeerId;
use swarm::AddressOrigin;
use tokio::time::{Instant, sleep};

use crate::lock::lock;

/// How long the bytes of a day count.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Peers of one address have so many times what one has: ids cost nothing.
const PEERS_OF_AN_ADDRESS: u64 = 4;
/// Accounts that are remembered. The one with the fewest bytes goes first.
const REMEMBERED: usize = 1 << 16;
/// The shortest time whose bytes may be carried at once.
const BURST: Duration = Duration::from_millis(100);
/// What is carried at once at the least.
const LEAST: f64 = (64 << 10) as f64;

/// The account of a peer, or of an address.
#[derive(Debug)]
pub(crate) struct Account {
    /// Bytes a second, and a day.
    rate: Option<f64>,
    most: Option<u64>,
    state: Mutex<Totals>,
}

#[derive(Debug)]
struct Totals {
    /// Bytes that may be carried now; below zero, those that were carried too early.
    left: f64,
    since: Instant,
    /// Bytes of this day, and when it began.
    carried: u64,
    began: Instant,
}

impl Account {
    fn new(rate: Option<u64>, most: Option<u64>, now: Instant) -> Self {
        let rate = rate.map(|rate| rate.max(1) as f64);
        let state = Totals { left: LEAST, since: now, carried: 0, began: now };
        Account { rate, most, state: Mutex::new(state) }
    }

    fn state<T>(&self, change: impl FnOnce(&mut Totals) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// For how long nothing more is carried, if the day's bytes are spent.
    fn spent(&self, now: Instant) -> Option<Duration> {
        let most = self.most?;
        self.state(|state| {
            state.new_day(now);
            (state.carried >= most).then(|| DAY.saturating_sub(now - state.began))
        })
    }

    /// The longest such time of several accounts.
    pub(crate) fn all_spent(accounts: &[Arc<Account>], now: Instant) -> Option<Duration> {
        accounts.iter().filter_map(|account| account.spent(now)).max()
    }

    /// How long to wait before more is carried.
    fn wait(&self, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        self.state(|state| {
            let burst = (rate * BURST.as_secs_f64()).max(LEAST);
            let earned = (now - std::mem::replace(&mut state.since, now)).as_secs_f64() * rate;
            state.left = (state.left + earned).min(burst);
            Duration::from_secs_f64((-state.left / rate).max(0.0))
        })
    }

    /// Waits until more may be carried at the expense of all of these. False if the bytes of one of them are spent.
    pub(crate) async fn ready(accounts: &[Arc<Account>]) -> bool {
        loop {
            let now = Instant::now();
            if Self::all_spent(accounts, now).is_some() {
                return false;
            }
            let wait = accounts.iter().map(|account| account.wait(now)).max().unwrap_or_default();
            if wait.is_zero() {
                return true;
            }
            sleep(wait).await;
        }
    }

    /// So many bytes were carried.
    pub(crate) fn charge(accounts: &[Arc<Account>], bytes: usize) {
        for account in accounts {
            account.state(|state| {
                state.carried += bytes as u64;
                state.left -= bytes as f64;
            });
        }
    }
}

impl Totals {
    fn new_day(&mut self, now: Instant) {
        if now - self.began >= DAY {
            (self.carried, self.began) = (0, now);
        }
    }
}

/// All accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    rate: Option<u64>,
    bytes: Option<u64>,
    peers: HashMap<PeerId, Arc<Account>>,
    addresses: HashMap<IpAddr, Arc<Account>>,
}

impl Accounts {
    pub(crate) fn new(rate: Option<u64>, bytes: Option<u64>) -> Self {
        Accounts { rate, bytes, peers: HashMap::new(), addresses: HashMap::new() }
    }

    /// The accounts that pay for what a peer at this address has carried.
    pub(crate) fn of(&mut self, peer: PeerId, address: IpAddr, now: Instant) -> Vec<Arc<Account>> {
        let several = |limit: Option<u64>| limit.map(|limit| limit.saturating_mul(PEERS_OF_AN_ADDRESS));
        let (rate, bytes) = (self.rate, self.bytes);
        vec![
            account(&mut self.peers, peer, || Account::new(rate, bytes, now)),
            account(&mut self.addresses, AddressOrigin::of(address).address, || {
                Account::new(several(rate), several(bytes), now)
            }),
        ]
    }

    /// Forgets the accounts of another day.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        let is_fresh =
            |account: &Arc<Account>| Arc::strong_count(account) > 1 || account.state(|state| now - state.began < DAY);
        self.peers.retain(|_, account| is_fresh(account));
        self.addresses.retain(|_, account| is_fresh(account));
    }
}

fn account<K: Copy + Eq + std::hash::Hash>(
    all: &mut HashMap<K, Arc<Account>>,
    key: K,
    new: impl FnOnce() -> Account,
) -> Arc<Account> {
    if all.len() >= REMEMBERED && !all.contains_key(&key) {
        let unused = all.iter().filter(|(_, account)| Arc::strong_count(account) == 1);
        let least = unused.min_by_key(|(_, account)| account.state(|state| state.carried)).map(|(&key, _)| key);
        least.and_then(|least| all.remove(&least));
    }
    all.entry(key).or_insert_with(|| Arc::new(new())).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn peer(number: u32) -> PeerId {
        PeerId::of_public_key(&number.to_le_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_holds_for_all_that_is_carried_for_a_peer() {
        let mut accounts = Accounts::new(Some(1 << 20), None);
        let own = accounts.of(peer(1), HERE, Instant::now());
        let began = Instant::now();
        let leg = |own: Vec<Arc<Account>>| async move {
            for _ in 0..40 {
                assert!(Account::ready(&own).await);
                Account::charge(&own, 64 << 10);
            }
        };
        tokio::join!(leg(own.clone()), leg(own.clone()));
        let seconds = began.elapsed().as_secs_f64();
        assert!((4.7..5.1).contains(&seconds), "5 MiB in virtual time: {seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_of_a_day_are_spent_until_the_next() {
        let mut accounts = Accounts::new(None, Some(1000));
        let own = accounts.of(peer(1), HERE, Instant::now());
        assert!(Account::ready(&own).await);
        Account::charge(&own, 1000);
        assert!(!Account::ready(&own).await);
        assert_eq!(Account::all_spent(&own, Instant::now()), Some(DAY));
        let again = accounts.of(peer(1), HERE, Instant::now());
        assert!(!Account::ready(&again).await, "a new connection is no new day");
        tokio::time::advance(DAY).await;
        assert!(Account::ready(&own).await);
    }

    #[tokio::test(start_paused = true)]
    async fn new_ids_of_one_address_share_four_times_as_much() {
        let mut accounts = Accounts::new(None, Some(1000));
        let carried = (0..100).filter(|&number| {
            let own = accounts.of(peer(number), HERE, Instant::now());
            let free = Account::all_spent(&own, Instant::now()).is_none();
            if free {
                Account::charge(&own, 1000);
            }
            free
        });
        assert_eq!(carried.count(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_are_bounded_and_forgotten_after_a_day() {
        let mut accounts = Accounts::new(None, Some(1000));
        let first = accounts.of(peer(0), HERE, Instant::now());
        Account::charge(&first, 1000);
        drop(first);
        for number in 1..REMEMBERED as u32 + 10 {
            accounts.of(peer(number), HERE, Instant::now());
        }
        assert_eq!(accounts.peers.len(), REMEMBERED);
        assert!(accounts.peers.contains_key(&peer(0)), "the one that has had most is remembered");
        tokio::time::advance(DAY).await;
        accounts.forget_old(Instant::now());
        assert!(accounts.peers.is_empty() && accounts.addresses.is_empty());
    }
}
