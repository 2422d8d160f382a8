//! How a crowd stands beside the best possible: whether the swarm is slow, or the network.
//!
//! The bound is the one that simulated swarms are measured against (`tracker::bound`). It wants to know how fast links are. If
//! nobody says, it is taken that every peer could send as fast as the fastest was seen to.

use serde::Serialize;
use tracker::bound::{Capacities, Demand, least_seconds, least_seconds_of_several};

/// A swarm that does so much of what is possible has nothing left to gain that is worth looking for.
const WELL: f64 = 0.7;
/// No judgement before this fraction of the best possible time has passed.
const TOO_EARLY: f64 = 0.1;
/// Downloaders that have less than this at the start have nothing.
const NOTHING: f64 = 0.01;

/// What links can do, in bytes a second, where somebody says so.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Links {
    pub(super) uplink: Option<u64>,
    pub(super) downlink: Option<u64>,
}

/// What is known of a crowd.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standing {
    /// Those that had all of it before.
    pub(super) seeders: usize,
    /// What each downloader had when it was first seen, as a part of the whole, and has now.
    pub(super) downloaders: Vec<(f64, f64)>,
    pub(super) size: u64,
    pub(super) pieces: u32,
    /// The most that a peer was seen to send, in bytes a second.
    pub(super) fastest: u64,
    /// Seconds since the first of them was seen, or until the last was complete.
    pub(super) elapsed: f64,
}

/// What is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Slow {
    /// The swarm does what its links allow.
    Network,
    /// It could be faster with these links.
    Swarm,
    /// Nothing can be said.
    Unknown,
}

/// A judgement, and why.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) slow: Slow,
    pub(super) sentence: String,
    /// Seconds that the best possible takes.
    pub(super) best: Option<f64>,
}

/// Seconds before which not everyone can have everything.
pub(super) fn best(standing: &Standing, links: Links) -> Option<f64> {
    let uplink = links.uplink.unwrap_or(standing.fastest);
    if uplink == 0 || standing.size == 0 || standing.seeders == 0 || standing.downloaders.is_empty() {
        return None;
    }
    let a_second = |rate: u64| rate as f64 / standing.size as f64;
    let uplink = a_second(uplink);
    // Where nobody says otherwise they are wide enough.
    let downlink = links.downlink.map_or(f64::INFINITY, a_second);
    let seeders = uplink * standing.seeders as f64;
    let had: f64 = standing.downloaders.iter().map(|(had, _)| had).sum();
    let demands: Vec<_> =
        standing.downloaders.iter().map(|(had, _)| Demand { copies: 1.0 - had, uplink, downlink }).collect();
    let fluid = least_seconds_of_several(seeders, (1.0 - had).max(0.0), &demands);
    let are_fresh = standing.downloaders.iter().all(|(had, _)| *had < NOTHING);
    let uplinks = vec![uplink; standing.downloaders.len()];
    let capacities = Capacities { seeders, seeder_count: standing.seeders, uplinks, slowest_downlink: downlink };
    Some(if are_fresh { fluid.max(least_seconds(&capacities, standing.pieces)) } else { fluid })
}

/// Judges a crowd.
pub(super) fn judge(standing: &Standing, links: Links) -> Verdict {
    let count = standing.downloaders.len();
    let unknown = |sentence: &str| Verdict { slow: Slow::Unknown, sentence: sentence.to_owned(), best: None };
    if count == 0 {
        return unknown("Nobody gets it at the moment.");
    }
    if standing.seeders == 0 {
        return unknown("Nobody has all of it but those who are getting it.");
    }
    let Some(best) = best(standing, links) else {
        return unknown("Nothing was seen to be sent so far: what the links can do is not known.");
    };
    let is_complete = standing.downloaders.iter().all(|(_, has)| *has >= 1.0);
    let share = |(had, has): &(f64, f64)| if *had < 1.0 { ((has - had) / (1.0 - had)).clamp(0.0, 1.0) } else { 1.0 };
    let done = standing.downloaders.iter().map(share).sum::<f64>() / count as f64;
    // How much of the best possible's time is over: what was done in it is to be compared with that.
    let could = standing.elapsed / best;
    let part = (done / could.max(1e-9)).min(1.0);
    let at = rate(links.uplink.unwrap_or(standing.fastest));
    let whose = match links.uplink {
        Some(_) => format!("with uplinks of {at}"),
        None => format!("if every uplink has the {at} that the fastest peer was seen to send"),
    };
    let (took, best_time) = (time(standing.elapsed), time(best));
    let slow = if part >= WELL { Slow::Network } else { Slow::Swarm };
    if !is_complete && could < TOO_EARLY {
        let sentence = format!("It has just begun. The last of {count} could be done after {best_time}, {whose}.");
        return Verdict { slow: Slow::Unknown, sentence, best: Some(best) };
    }
    let percent = (part * 100.0).round();
    let what = match slow {
        Slow::Network => "The network is the limit",
        _ => "The swarm is slow",
    };
    let sentence = match is_complete {
        true => format!("{what}: all {count} had it after {took}, and the best possible is {best_time}, {whose}."),
        false => {
            format!("{what}: it does {percent}% of the best possible, which is {best_time} for all {count}, {whose}.")
        }
    };
    Verdict { slow, sentence, best: Some(best) }
}

fn rate(bytes: u64) -> String {
    format!("{}/s", bytesize::ByteSize(bytes))
}

fn time(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A hundred peers that get 100 MiB over links of 10 MiB/s.
    fn standing(has: f64, elapsed: f64) -> Standing {
        Standing {
            seeders: 1,
            downloaders: vec![(0.0, has); 100],
            size: 100 * MIB,
            pieces: 100,
            fastest: 10 * MIB,
            elapsed,
        }
    }

    #[test]
    fn the_best_possible_is_what_simulated_swarms_are_measured_against() {
        let uplink = 0.1;
        let capacities = Capacities {
            seeders: uplink,
            seeder_count: 1,
            uplinks: vec![uplink; 100],
            slowest_downlink: f64::INFINITY,
        };
        let expected = least_seconds(&capacities, 100);
        assert!((best(&standing(0.0, 0.0), Links::default()).unwrap() - expected).abs() < 1e-9);
        // Six doublings, of a hundredth each, beside the copy.
        assert!((expected - 10.6).abs() < 1e-9);
        let slow = Links { downlink: Some(MIB), ..Links::default() };
        assert_eq!(best(&standing(0.0, 0.0), slow), Some(100.0));
        assert_eq!(best(&Standing { fastest: 0, ..standing(0.0, 0.0) }, Links::default()), None);
        let half = Standing { downloaders: vec![(0.5, 0.5); 100], ..standing(0.0, 0.0) };
        assert!(best(&half, Links::default()).unwrap() < 5.1, "those who have a half need a half");
    }

    #[test]
    fn a_swarm_that_does_what_its_links_allow_is_not_slow() {
        let verdict = judge(&standing(0.45, 5.0), Links::default());
        assert_eq!(verdict.slow, Slow::Network, "{}", verdict.sentence);
        let verdict = judge(&standing(0.2, 5.0), Links::default());
        assert_eq!(verdict.slow, Slow::Swarm, "{}", verdict.sentence);
        // The links can do more than anyone was seen to send.
        let links = Links { uplink: Some(40 * MIB), downlink: None };
        let verdict = judge(&standing(0.45, 5.0), links);
        assert_eq!(verdict.slow, Slow::Swarm, "{}", verdict.sentence);
        let late = judge(&standing(0.8, 40.0), Links::default());
        assert_eq!(late.slow, Slow::Swarm, "what should have been done long ago: {}", late.sentence);
        assert_eq!(judge(&standing(1.0, 11.0), Links::default()).slow, Slow::Network);
        assert_eq!(judge(&standing(1.0, 60.0), Links::default()).slow, Slow::Swarm);
    }

    #[test]
    fn where_little_is_known_little_is_said() {
        let slow = |standing: &Standing| judge(standing, Links::default()).slow;
        assert_eq!(slow(&Standing::default()), Slow::Unknown);
        assert_eq!(slow(&Standing { seeders: 0, ..standing(0.5, 5.0) }), Slow::Unknown);
        assert_eq!(slow(&Standing { fastest: 0, ..standing(0.5, 5.0) }), Slow::Unknown);
        assert_eq!(slow(&standing(0.0, 0.5)), Slow::Unknown);
    }
}
