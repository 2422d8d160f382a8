//! The best that is possible, and the same swarm in virtual time.

use std::time::Duration;

use sim::Equal;
use sim::bound::{Capacities, least_seconds};

use super::{Optimum, Took};
use crate::swarm::{Network, PeerOutcome, Plan, Rates, Sharing};

/// One way between two namespaces of one machine that nothing else uses.
const LATENCY: Duration = Duration::from_micros(250);
/// Times an uplink that a peer can receive in the simulation.
const DOWNLINK: f64 = 100.0;

/// Compares a run with the bound, if the plan limits uplinks and everyone wants everything.
pub(in crate::swarm) fn compare(plan: &Plan, bytes: u64, peers: &[PeerOutcome]) -> Option<Optimum> {
    let Network::Namespaces(rates) = &plan.network else { return None };
    let uplink = rates.uplink?;
    let part = |files: &Sharing| matches!(files, Sharing::Wants(files) if files.len() < plan.files.len());
    if plan.peers.iter().any(|peer| part(&peer.files)) {
        return None;
    }
    let (seeds, loads): (Vec<_>, Vec<_>) =
        plan.peers.iter().zip(peers).partition(|(peer, _)| matches!(peer.files, Sharing::Seeds));
    let pieces = loads.iter().map(|(_, peer)| peer.pieces).max()?;
    let times = || loads.iter().map(|(_, peer)| peer.seconds_from_start);
    let whole = plan.files.len() == 1 && seeds.iter().all(|(_, peer)| peer.pieces == pieces);
    let alike = rates.seeder_uplink.is_none() && rates.downlink.is_none();
    Some(Optimum {
        bound: bound(seeds.len(), loads.len(), pieces, bytes, uplink, rates),
        real: Took {
            last: times().fold(0.0, f64::max),
            mean: times().sum::<f64>() / loads.len() as f64,
            copies: seeds.iter().map(|(_, peer)| peer.uploaded).sum::<u64>() as f64 / bytes.max(1) as f64,
        },
        simulated: (whole && alike).then(|| simulate(seeds.len(), loads.len(), pieces, bytes, uplink)).flatten(),
    })
}

/// The same in virtual time; nothing if it is no plan for a simulation.
fn simulate(seeders: usize, downloaders: usize, pieces: u64, bytes: u64, uplink: f64) -> Option<Took> {
    let equal = Equal {
        seeders: seeders.try_into().ok()?,
        downloaders: downloaders.try_into().ok()?,
        pieces: pieces.try_into().ok()?,
        piece_size: bytes.checked_div(pieces)?.checked_next_power_of_two()?.try_into().ok()?,
        uplink,
        downlink: DOWNLINK * uplink,
        latency: LATENCY,
    };
    let outcome = sim::run(&equal.plan(), 0, &swarm::Config::default());
    let seconds = outcome.seconds.iter().copied().collect::<Option<Vec<f64>>>()?;
    // Its last piece is as long as the others.
    let shorter = bytes as f64 / (pieces as f64 * f64::from(equal.piece_size));
    Some(Took {
        last: seconds.iter().copied().fold(0.0, f64::max) * shorter,
        mean: seconds.iter().sum::<f64>() / seconds.len().max(1) as f64 * shorter,
        copies: outcome.seeded,
    })
}

/// Seconds that any swarm needs to bring so many bytes to all downloaders, over links that carry so much.
fn bound(seeders: usize, downloaders: usize, pieces: u64, bytes: u64, uplink: f64, rates: &Rates) -> f64 {
    // In units of an uplink, so that times come out as multiples of what one copy takes.
    let capacities = Capacities {
        seeders: seeders as f64 * rates.seeder_uplink.map_or(1.0, |seeder| seeder / uplink),
        seeder_count: seeders,
        uplinks: vec![1.0; downloaders],
        slowest_downlink: rates.downlink.map_or(f64::INFINITY, |downlink| downlink / uplink),
    };
    let pieces = u32::try_from(pieces.max(1)).unwrap_or(u32::MAX);
    least_seconds(&capacities, pieces) * (bytes as f64 / uplink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_the_paper() {
        // 64 MiB at 50 Mbit/s in 2,048 pieces: 10.74 s for one, and a piece's time three times more for eight.
        let once = f64::from(64 << 20) / 6.25e6;
        assert_eq!(bound(1, 1, 2_048, 64 << 20, 6.25e6, &Rates::default()), once);
        assert_eq!(bound(1, 8, 2_048, 64 << 20, 6.25e6, &Rates::default()), once * (1.0 + 3.0 / 2_048.0));
        // One piece has to double its copies three times after it left the seeder.
        assert_eq!(bound(1, 8, 1, 64 << 20, 6.25e6, &Rates::default()), once * 4.0);
    }

    #[test]
    fn a_simulated_swarm_comes_close_to_the_bound_and_is_never_under_it() {
        let (bytes, pieces, uplink) = (16 << 20, 256, 6.25e6);
        let took = simulate(1, 8, pieces, bytes, uplink).unwrap();
        let bound = bound(1, 8, pieces, bytes, uplink, &Rates::default());
        assert!((1.0..1.2).contains(&(took.last / bound)) && took.mean <= took.last, "{took:?} of {bound}");
        assert!((1.0..1.2).contains(&took.copies), "{took:?}");
    }

    #[test]
    fn links_of_their_own_count() {
        // A seeder that sends ten times as much, and downlinks that carry half as much again as an uplink.
        let rates = Rates { seeder_uplink: Some(1_000.0), downlink: Some(150.0), ..Rates::default() };
        assert_eq!(bound(1, 4, 1_000, 300, 100.0, &rates), 2.0);
        assert_eq!(bound(1, 4, 1_000, 300, 100.0, &Rates { downlink: None, ..rates }), 300.0 * 4.0 / 1_400.0);
    }

    #[test]
    fn several_seeders_are_bound_by_what_they_send_and_by_what_all_send() {
        assert_eq!(bound(2, 1, 1_000, 300, 100.0, &Rates::default()), 1.5);
        assert_eq!(bound(2, 4, 1_000, 300, 100.0, &Rates::default()), 2.0);
    }
}
