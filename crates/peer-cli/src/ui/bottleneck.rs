//! What held a download up: said from what its requests waited for, in the order in which things can be at fault.

use std::time::Duration;

use peer::{Bottleneck, Waits};

use crate::flags::sizes;

/// Most peers that are named.
const NAMED: usize = 3;

/// A line that says what it is, and why that is said.
pub fn words(bottleneck: Bottleneck, waits: &Waits, wall: Duration) -> String {
    let why = match bottleneck {
        Bottleneck::Peers => {
            let silent = wall.saturating_sub(waits.flowing);
            format!("peers: for {} of {} nobody sent anything", seconds(silent), seconds(wall))
        }
        Bottleneck::Network => format!("the network, or what peers send: {}", peers(waits, wall)),
        Bottleneck::RateCap => "the cap of --down-rate".to_owned(),
        Bottleneck::Disk => {
            format!("the disk: writing took {}, hashing {}", seconds(waits.writing), seconds(waits.verifying))
        }
        // Hashing, as far as the library knows today.
        _ => {
            format!("hashing: it took {}, writing {}", seconds(waits.verifying), seconds(waits.writing))
        }
    };
    format!("Held up by {why}.")
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
    fn peers_are_named_with_what_they_sent() {
        let mut network = waits(10, 10, 0, 0, 0, 0);
        network.peers = (0..5).map(|n| (PeerId(Digest([n; 32])), u64::from(n) << 20)).collect();
        assert_eq!(
            words(Bottleneck::Network, &network, Duration::from_secs(1)),
            "Held up by the network, or what peers send: 04040404 4.0 MiB/s, 03030303 3.0 MiB/s, 02020202 2.0 MiB/s and 2 more."
        );
    }
}
