//! What held a download up: said from what its requests waited for, in the order in which things can be at fault.

use std::time::Duration;

use peer::Waits;

use crate::sizes;

/// Most peers that are named.
const NAMED: usize = 3;

/// What a faster download would need more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limiter {
    /// Nobody sent anything for most of the time: what others had was here, or they had no room to send.
    Peers,
    /// Bytes were waited for while answers were under way: the network, or what the senders give.
    Network,
    /// `--down-rate`.
    RateCap,
    /// Pieces waited to be written.
    Disk,
    /// Pieces waited to be hashed.
    Hashing,
}

impl Limiter {
    /// Of a download that has taken `wall` so far.
    pub fn of(waits: &Waits, wall: Duration) -> Self {
        if waits.flowing * 2 < wall {
            return Limiter::Peers;
        }
        let storing = waits.buffers + waits.workers;
        if waits.rate_cap > waits.network && waits.rate_cap > storing {
            Limiter::RateCap
        } else if waits.network >= storing {
            Limiter::Network
        } else if waits.writing > waits.verifying {
            Limiter::Disk
        } else {
            Limiter::Hashing
        }
    }

    /// As events call it.
    pub fn name(self) -> &'static str {
        match self {
            Limiter::Peers => "peers",
            Limiter::Network => "network",
            Limiter::RateCap => "rate_cap",
            Limiter::Disk => "disk",
            Limiter::Hashing => "hashing",
        }
    }

    /// A line that says what it is, and why that is said.
    pub fn words(self, waits: &Waits, wall: Duration) -> String {
        let why = match self {
            Limiter::Peers => {
                let silent = wall.saturating_sub(waits.flowing);
                format!("peers: for {} of {} nobody sent anything", seconds(silent), seconds(wall))
            }
            Limiter::Network => format!("the network, or what peers send: {}", peers(waits, wall)),
            Limiter::RateCap => "the cap of --down-rate".to_owned(),
            Limiter::Disk => {
                format!("the disk: writing took {}, hashing {}", seconds(waits.writing), seconds(waits.verifying))
            }
            Limiter::Hashing => {
                format!("hashing: it took {}, writing {}", seconds(waits.verifying), seconds(waits.writing))
            }
        };
        format!("Held up by {why}.")
    }
}

/// Who sent how fast, most first.
fn peers(waits: &Waits, wall: Duration) -> String {
    let mut peers: Vec<_> = waits.peers.iter().collect();
    peers.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    let named = peers.iter().take(NAMED).map(|(peer, bytes)| {
        let rate = sizes::show((**bytes as f64 / wall.as_secs_f64().max(1e-3)) as u64);
        format!("{} {rate}/s", &peer.to_string()[..8])
    });
    let named: Vec<_> = named.collect();
    let more = peers.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    if named.is_empty() { "nobody yet".to_owned() } else { named.join(", ") + &more }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Digest, PeerId};

    fn waits(flowing: u64, network: u64, rate_cap: u64, buffers: u64, writing: u64, verifying: u64) -> Waits {
        let seconds = Duration::from_secs;
        Waits {
            network: seconds(network),
            rate_cap: seconds(rate_cap),
            buffers: seconds(buffers),
            writing: seconds(writing),
            verifying: seconds(verifying),
            flowing: seconds(flowing),
            ..Waits::default()
        }
    }

    #[test]
    fn the_longest_wait_names_the_limiter() {
        let limiter = |waits: Waits| Limiter::of(&waits, Duration::from_secs(10));
        assert_eq!(limiter(waits(4, 4, 0, 0, 0, 0)), Limiter::Peers);
        assert_eq!(limiter(waits(9, 30, 1, 2, 9, 1)), Limiter::Network);
        assert_eq!(limiter(waits(10, 5, 30, 0, 0, 0)), Limiter::RateCap);
        assert_eq!(limiter(waits(10, 5, 0, 30, 18, 2)), Limiter::Disk);
        assert_eq!(limiter(waits(10, 5, 0, 30, 2, 18)), Limiter::Hashing);
    }

    #[test]
    fn peers_are_named_with_what_they_sent() {
        let mut network = waits(10, 10, 0, 0, 0, 0);
        network.peers = (0..5).map(|n| (PeerId(Digest([n; 32])), u64::from(n) << 20)).collect();
        assert_eq!(
            Limiter::Network.words(&network, Duration::from_secs(1)),
            "Held up by the network, or what peers send: 04040404 4.0 MiB/s, 03030303 3.0 MiB/s, 02020202 2.0 MiB/s and 2 more."
        );
    }
}
