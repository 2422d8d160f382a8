//! How close a swarm with equal uplinks came to the best that any swarm can do.
//!
//! What that best is stands in `sim::bound`, which simulated swarms are judged by too. A real run never names its
//! downlinks: they are taken to be wide enough.

use std::fmt;

use serde::Serialize;
use sim::bound::{Capacities, least_seconds};

use super::{PeerOutcome, Plan, Sharing};

/// What any swarm needs, and what this one needed. Seconds count from the start of the first downloader's process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Optimum {
    /// Seconds that no swarm can beat.
    pub bound: f64,
    /// Seconds until the last downloader had verified everything.
    pub last: f64,
    /// The same, on average over downloaders.
    pub mean: f64,
    /// Copies of the whole that left the seeders.
    pub copies: f64,
}

impl Optimum {
    /// Compares a run with the bound, if the plan limits uplinks and everyone wants everything.
    pub(super) fn compare(plan: &Plan, bytes: u64, peers: &[PeerOutcome]) -> Option<Self> {
        let uplink = plan.network.uplink()?;
        let part = |files: &Sharing| matches!(files, Sharing::Wants(files) if files.len() < plan.files.len());
        if plan.peers.iter().any(|peer| part(&peer.files)) {
            return None;
        }
        let (seeds, loads): (Vec<_>, Vec<_>) =
            plan.peers.iter().zip(peers).partition(|(peer, _)| matches!(peer.files, Sharing::Seeds));
        let pieces = loads.iter().map(|(_, peer)| peer.pieces).max()?;
        let times = || loads.iter().map(|(_, peer)| peer.seconds_from_start);
        Some(Optimum {
            bound: bound(seeds.len(), loads.len(), pieces, bytes, uplink),
            last: times().fold(0.0, f64::max),
            mean: times().sum::<f64>() / loads.len() as f64,
            copies: seeds.iter().map(|(_, peer)| peer.uploaded).sum::<u64>() as f64 / bytes.max(1) as f64,
        })
    }
}

/// Seconds that any swarm needs to bring so many bytes to all downloaders, if all uplinks are alike.
fn bound(seeders: usize, downloaders: usize, pieces: u64, bytes: u64, uplink: f64) -> f64 {
    // In units of an uplink, so that times come out as multiples of what one copy takes.
    let capacities = Capacities {
        seeders: seeders as f64,
        seeder_count: seeders,
        uplinks: vec![1.0; downloaders],
        slowest_downlink: f64::INFINITY,
    };
    let pieces = u32::try_from(pieces.max(1)).unwrap_or(u32::MAX);
    least_seconds(&capacities, pieces) * (bytes as f64 / uplink)
}

impl fmt::Display for Optimum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Optimum { bound, last, mean, copies } = self;
        write!(f, "No swarm can do it in less than {bound:.2} s: the last downloader took {last:.2} s ")?;
        write!(f, "({:.2} times that), the mean {mean:.2} s ({:.2}). ", last / bound, mean / bound)?;
        write!(f, "The seeders sent {copies:.2} copies.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_the_paper() {
        // 64 MiB at 50 Mbit/s in 2,048 pieces: 10.74 s for one, and a piece's time three times more for eight.
        let once = f64::from(64 << 20) / 6.25e6;
        assert_eq!(bound(1, 1, 2_048, 64 << 20, 6.25e6), once);
        assert_eq!(bound(1, 8, 2_048, 64 << 20, 6.25e6), once * (1.0 + 3.0 / 2_048.0));
        // One piece has to double its copies three times after it left the seeder.
        assert_eq!(bound(1, 8, 1, 64 << 20, 6.25e6), once * 4.0);
    }

    #[test]
    fn several_seeders_are_bound_by_what_they_send_and_by_what_all_send() {
        assert_eq!(bound(2, 1, 1_000, 300, 100.0), 1.5);
        assert_eq!(bound(2, 4, 1_000, 300, 100.0), 2.0);
    }
}
