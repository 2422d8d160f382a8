//! How often addresses are dialled that have not answered. They come from strangers: a tracker, or a peer, that names a
//! third party's address under a thousand ids, or its ports one by one, must not make us send it a thousand handshakes.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;

/// What an account allows: tries at first, and the time after which there is one more.
struct Tries {
    most: f64,
    another: Duration,
}

/// Of an address: more than the back-off of one peer takes.
const OF_ADDRESS: Tries = Tries { most: 4.0, another: Duration::from_secs(5) };
/// Of all ports of a host: as many peers as the engine dials at once may be behind one router.
const OF_HOST: Tries = Tries { most: 16.0, another: Duration::from_secs(1) };
/// So many of these are left to peers whom the tracker vouches for: those that other peers name may be made up.
const FOR_VOUCHED: f64 = 4.0;
/// Addresses and hosts that are remembered, some 64 bytes each. One is forgotten when it has all its tries again, 20 seconds
/// after its last one at the latest. The engine dials 16 peers at once at 32 addresses each, so that
/// dialling that fails slowly does not fill this; where it is full, the one with the most tries left is forgotten.
const REMEMBERED: usize = 4096;

/// The tries that are left to addresses, and to hosts, that have not answered.
#[derive(Default)]
pub(crate) struct DialLimiter(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    addresses: Accounts<SocketAddr>,
    hosts: Accounts<IpAddr>,
}

impl DialLimiter {
    /// Whether to dial an address now, of a peer that somebody vouches for or not. Each call that is answered with yes counts as a try.
    pub(crate) fn may_dial(&self, address: SocketAddr, vouched: bool) -> bool {
        let (mut inner, now) = (lock(&self.0), Instant::now());
        let Inner { addresses, hosts } = &mut *inner;
        let host = host(address.ip());
        let least = if vouched { 1.0 } else { 1.0 + FOR_VOUCHED };
        let may = addresses.left(&address, &OF_ADDRESS, now) >= 1.0
            && host.is_none_or(|host| hosts.left(&host, &OF_HOST, now) >= least);
        if may {
            addresses.take(address, &OF_ADDRESS, now);
            host.into_iter().for_each(|host| hosts.take(host, &OF_HOST, now));
        }
        may
    }

    /// Somebody is there after all: it has answered, or has come from there.
    pub(crate) fn answered(&self, address: SocketAddr) {
        let mut inner = lock(&self.0);
        inner.addresses.forget(&address);
        host(address.ip()).into_iter().for_each(|host| inner.hosts.forget(&host));
    }
}

/// What counts as one host: an IPv4 address, or the /64 in which each can have as many IPv6 addresses as it likes. Not this
/// machine, where whole swarms may be: nobody far away has it dialled.
fn host(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V6(ip) => Some(IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into())),
        ip => Some(ip),
    }
}

/// The tries that are left, by what they are counted for.
struct Accounts<K>(HashMap<K, (f64, Instant)>);

impl<K> Default for Accounts<K> {
    fn default() -> Self {
        Accounts(HashMap::new())
    }
}

impl<K: Hash + Eq + Copy> Accounts<K> {
    fn left(&self, key: &K, tries: &Tries, now: Instant) -> f64 {
        self.0.get(key).map_or(tries.most, |account| tries.left(account, now))
    }

    fn take(&mut self, key: K, tries: &Tries, now: Instant) {
        let left = self.left(&key, tries, now);
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, account| tries.left(account, now) < tries.most);
        }
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&key) {
            // The one with the most tries left goes: who floods the account does not clear a victim's.
            let by_left =
                |one: &(f64, Instant), two: &(f64, Instant)| tries.left(one, now).total_cmp(&tries.left(two, now));
            let fullest = self.0.iter().max_by(|(_, one), (_, two)| by_left(one, two)).map(|(&other, _)| other);
            fullest.into_iter().for_each(|other| self.forget(&other));
        }
        self.0.insert(key, (left - 1.0, now));
    }

    fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }
}

impl Tries {
    fn left(&self, &(left, since): &(f64, Instant), now: Instant) -> f64 {
        (left + (now - since).as_secs_f64() / self.another.as_secs_f64()).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_victims_address_is_dialled_a_few_times_whatever_the_number_of_ids() {
        let limiter = DialLimiter::default();
        let victim = SocketAddr::from(([10, 0, 0, 1], 53));
        assert_eq!((0..1000).filter(|_| limiter.may_dial(victim, true)).count(), 4);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!((0..1000).filter(|_| limiter.may_dial(victim, true)).count(), 4);
        assert!(limiter.may_dial(SocketAddr::from(([10, 0, 0, 2], 53)), true), "others are dialled");
        limiter.answered(victim);
        assert!(limiter.may_dial(victim, true));
    }

    /// A peer names all ports of a third party, in messages that follow one another.
    #[tokio::test(start_paused = true)]
    async fn a_victim_is_dialled_a_few_times_whatever_the_number_of_its_ports() {
        let networks: [fn(u16) -> SocketAddr; 2] = [
            |port| SocketAddr::from(([192, 0, 2, 1], port)),
            |port| SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, port], port)),
        ];
        for at in networks {
            let limiter = DialLimiter::default();
            let dialled = || (1024..60_000).filter(|&port| limiter.may_dial(at(port), true)).count();
            assert_eq!(dialled(), 16);
            for second in 0..60 {
                assert!(dialled() <= 1, "second {second}");
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            assert!(limiter.may_dial(SocketAddr::from(([192, 0, 2, 2], 9000)), true), "others are dialled");
        }
    }

    /// Many peers are behind one router, or on one machine.
    #[tokio::test(start_paused = true)]
    async fn ports_of_a_host_that_answers_are_all_dialled() {
        let limiter = DialLimiter::default();
        for port in 9000..9500 {
            let here = SocketAddr::from(([127, 0, 0, 1], port));
            assert!(limiter.may_dial(here, true));
            let router = SocketAddr::from(([192, 0, 2, 1], port));
            assert!(limiter.may_dial(router, true));
            limiter.answered(router);
        }
        // One that dials out of there is at another port.
        let silent = |limiter: &DialLimiter| {
            (0..100).filter(|&port| limiter.may_dial(SocketAddr::from(([192, 0, 2, 1], 1024 + port)), true)).count()
        };
        assert_eq!(silent(&limiter), 16);
        limiter.answered(SocketAddr::from(([192, 0, 2, 1], 50_000)));
        assert_eq!(silent(&limiter), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_left_to_peers_that_somebody_vouches_for() {
        let limiter = DialLimiter::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        assert_eq!((0..100).filter(|&port| limiter.may_dial(at(port), false)).count(), 12);
        assert_eq!((100..200).filter(|&port| limiter.may_dial(at(port), true)).count(), 4);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(!limiter.may_dial(at(300), false) && limiter.may_dial(at(300), true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_account_neither_grows_nor_hides_a_victim() {
        let limiter = DialLimiter::default();
        let victim = SocketAddr::from(([10, 0, 0, 1], 53));
        let other = |n: usize| SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 9000));
        (0..REMEMBERED).for_each(|n| assert!(limiter.may_dial(other(n), true)));
        assert_eq!(
            (0..1000).filter(|_| limiter.may_dial(victim, true)).count(),
            4,
            "it comes when the account is full"
        );
        (REMEMBERED..2 * REMEMBERED).for_each(|n| assert!(limiter.may_dial(other(n), true), "others are dialled"));
        assert!(!limiter.may_dial(victim, true), "and is not forgotten for the sake of others");
        let inner = limiter.0.lock().unwrap();
        assert_eq!((inner.addresses.0.len(), inner.hosts.0.len()), (REMEMBERED, REMEMBERED));
    }

    /// Half a second, doubled each time, as the engine waits for one peer.
    #[tokio::test(start_paused = true)]
    async fn one_peers_own_back_off_is_never_held_up() {
        let limiter = DialLimiter::default();
        for tries in 0..20 {
            assert!(limiter.may_dial(SocketAddr::from(([10, 0, 0, 1], 9000)), true), "try {tries}");
            tokio::time::advance(Duration::from_millis(500 << tries.min(7))).await;
        }
    }
}
