//! How often addresses are dialled that have not answered. They come from strangers: a tracker, or a peer, that names a
//! third party's address under a thousand ids must not make us send it a thousand handshakes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;

/// Tries that an address has at first, and the time after which it has one more. More than the back-off of one peer takes.
const TRIES: f64 = 4.0;
const ANOTHER: Duration = Duration::from_secs(5);
/// Addresses that are remembered, some 64 bytes each. An address is forgotten when it has all its tries again, 20 seconds
/// after its last one at the latest. The engine dials 16 peers at once at 32 addresses each, so that
/// dialling that fails slowly does not fill this; where it is full, the address with the most tries left is forgotten.
const REMEMBERED: usize = 4096;

/// The tries that are left, by address, of those that have not answered.
#[derive(Default)]
pub(crate) struct DialLimiter(Mutex<HashMap<SocketAddr, (f64, Instant)>>);

impl DialLimiter {
    /// Whether to dial an address now. Each call counts as a try.
    pub(crate) fn may_dial(&self, address: SocketAddr) -> bool {
        let (mut tries, now) = (lock(&self.0), Instant::now());
        let left =
            |&(left, since): &(f64, Instant)| (left + (now - since).as_secs_f64() / ANOTHER.as_secs_f64()).min(TRIES);
        if tries.len() >= REMEMBERED {
            tries.retain(|_, account| left(account) < TRIES);
        }
        let here = tries.get(&address).map_or(TRIES, left);
        if here < 1.0 {
            return false;
        }
        if tries.len() >= REMEMBERED && !tries.contains_key(&address) {
            // The one with the most tries left goes: who floods the account does not clear a victim's.
            let fullest = tries.iter().max_by(|(_, one), (_, two)| left(one).total_cmp(&left(two)));
            fullest.map(|(&other, _)| other).and_then(|other| tries.remove(&other));
        }
        tries.insert(address, (here - 1.0, now));
        true
    }

    /// Somebody is there after all.
    pub(crate) fn answered(&self, address: SocketAddr) {
        lock(&self.0).remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_victims_address_is_dialled_a_few_times_whatever_the_number_of_ids() {
        let limiter = DialLimiter::default();
        let victim = SocketAddr::from(([10, 0, 0, 1], 53));
        assert_eq!((0..1000).filter(|_| limiter.may_dial(victim)).count(), 4);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!((0..1000).filter(|_| limiter.may_dial(victim)).count(), 4);
        assert!(limiter.may_dial(SocketAddr::from(([10, 0, 0, 2], 53))), "others are dialled");
        limiter.answered(victim);
        assert!(limiter.may_dial(victim));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_account_neither_grows_nor_hides_a_victim() {
        let limiter = DialLimiter::default();
        let victim = SocketAddr::from(([10, 0, 0, 1], 53));
        let other = |n: usize| SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 9000));
        (0..REMEMBERED).for_each(|n| assert!(limiter.may_dial(other(n))));
        assert_eq!((0..1000).filter(|_| limiter.may_dial(victim)).count(), 4, "it comes when the account is full");
        (REMEMBERED..2 * REMEMBERED).for_each(|n| assert!(limiter.may_dial(other(n)), "others are dialled"));
        assert!(!limiter.may_dial(victim), "and is not forgotten for the sake of others");
        assert_eq!(limiter.0.lock().unwrap().len(), REMEMBERED);
    }

    /// Half a second, doubled each time, as the engine waits for one peer.
    #[tokio::test(start_paused = true)]
    async fn one_peers_own_back_off_is_never_held_up() {
        let limiter = DialLimiter::default();
        for tries in 0..20 {
            assert!(limiter.may_dial(SocketAddr::from(([10, 0, 0, 1], 9000))), "try {tries}");
            tokio::time::advance(Duration::from_millis(500 << tries.min(7))).await;
        }
    }
}
