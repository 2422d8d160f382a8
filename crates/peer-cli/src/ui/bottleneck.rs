//! What held a download up: said from what its requests waited for, in the order in which things can be at fault.

use std::time::Duration;

use peer::{Bottleneck, Waits};

use crate::ui::amounts::{rate, took};

/// Most peers that are named.
const NAMED: usize = 3;

/// Nothing is said of what has taken less: it is over before anything could be done about it.
pub const WORTH_SAYING: Duration = Duration::from_secs(10);
/// A peer that sends as much of its cap as this is held up by it.
const AT_ITS_CAP: f64 = 0.85;

/// A peer that bytes came from.
#[derive(Debug, Clone)]
pub struct SendingPeer {
    /// What it is called.
    pub name: String,
    /// Bytes that came from it.
    pub bytes: u64,
    /// Bytes a second that it sends at most, if it has said so.
    pub cap: Option<u64>,
}

/// A line that says what it is, and why that is said; `peers` are those that bytes came from.
pub fn words(bottleneck: Bottleneck, waits: &Waits, wall: Duration, peers: Vec<SendingPeer>) -> String {
    let why = match bottleneck {
        Bottleneck::Peers => {
            let silent = wall.saturating_sub(waits.flowing);
            format!("peers: for {} of {} nobody sent anything", took(silent), took(wall))
        }
        Bottleneck::Network => senders(peers, wall),
        Bottleneck::RateCap => "the cap of --down-rate".to_owned(),
        Bottleneck::Disk => {
            format!("the disk: writing took {}, hashing {}", took(waits.writing), took(waits.verifying))
        }
        // Hashing, as far as the library knows today.
        _ => format!("hashing: it took {}, writing {}", took(waits.verifying), took(waits.writing)),
    };
    format!("Held up by {why}.")
}

/// Who sent how fast, most first; if the caps of all who matter say it all, those.
fn senders(mut peers: Vec<SendingPeer>, wall: Duration) -> String {
    peers.sort_by_key(|peer| std::cmp::Reverse(peer.bytes));
    let a_second = |peer: &SendingPeer| peer.bytes as f64 / wall.as_secs_f64().max(1e-3);
    let is_capped = |peer: &SendingPeer| peer.cap.is_some_and(|cap| a_second(peer) >= cap as f64 * AT_ITS_CAP);
    let all: u64 = peers.iter().map(|peer| peer.bytes).sum();
    let capped: u64 = peers.iter().filter(|peer| is_capped(peer)).map(|peer| peer.bytes).sum();
    let named = peers.iter().take(NAMED).map(|peer| {
        let speed = format!("{} sends {}", peer.name, rate(a_second(peer) as u64));
        match peer.cap {
            Some(cap) => format!("{speed} and is capped at {} there", rate(cap)),
            None => speed,
        }
    });
    let named: Vec<_> = named.collect();
    let more = peers.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let what = if all > 0 && capped * 10 >= all * 9 { "caps of peers" } else { "the network, or what peers send" };
    if named.is_empty() { format!("{what}: nobody yet") } else { format!("{what}: {}{more}", named.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SECONDS: Duration = Duration::from_secs(20);

    fn peer(name: &str, mib_a_second: u64, cap: Option<u64>) -> SendingPeer {
        SendingPeer { name: name.to_owned(), bytes: mib_a_second * 20 * MIB, cap: cap.map(|cap| cap * MIB) }
    }

    fn network(peers: Vec<SendingPeer>) -> String {
        words(Bottleneck::Network, &Waits::default(), SECONDS, peers)
    }

    #[test]
    fn peers_are_named_by_address_with_what_they_send() {
        let peers = (1..=5).map(|n| peer(&format!("10.0.0.{n}"), n, None)).collect();
        assert_eq!(
            network(peers),
            "Held up by the network, or what peers send: 10.0.0.5 sends 5.0 MiB/s, 10.0.0.4 sends 4.0 MiB/s, 10.0.0.3 sends \
             3.0 MiB/s, and 2 more."
        );
    }

    #[test]
    fn a_cap_that_a_peer_has_told_is_named() {
        assert_eq!(
            network(vec![peer("10.0.0.1", 5, Some(5))]),
            "Held up by caps of peers: 10.0.0.1 sends 5.0 MiB/s and is capped at 5.0 MiB/s there."
        );
        let said = network(vec![peer("10.0.0.1", 5, Some(50)), peer("10.0.0.2", 1, None)]);
        assert!(said.starts_with("Held up by the network") && said.contains("capped at 50.0 MiB/s"), "{said}");
    }
}
