//! Compares a swarm with limited uplinks with the best result that any swarm could have, and with the same swarm in virtual time.
//!
//! `sim::bound` computes the best result, for simulations too. Downlinks that a run does not limit are assumed to be fast enough. What
//! a real run takes longer than the simulation is due to headers, handshakes, the start of processes and the behaviour of transports
//! over the link, because the decisions are those of the same engine.

#[cfg(feature = "optimum")]
mod compare;

use std::fmt;

#[cfg(feature = "optimum")]
pub(super) use compare::compare;
use serde::Serialize;

#[cfg(not(feature = "optimum"))]
use super::{PeerOutcome, Plan};

/// What any swarm needs, and what this one needed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Optimum {
    /// Seconds that no swarm can beat.
    pub bound: f64,
    /// What these peers took, from the start of the first downloader's process.
    pub real: Took,
    /// What the simulation says of as many peers with the same uplinks; nothing where it has no such plan, or not all are alike.
    pub simulated: Option<Took>,
}

/// What one swarm took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Took {
    /// Seconds until the last downloader had verified everything.
    pub last: f64,
    /// The same, on average over downloaders.
    pub mean: f64,
    /// Copies of the whole that left the seeders.
    pub copies: f64,
}

/// Nothing is compared without the crate that simulates.
#[cfg(not(feature = "optimum"))]
pub(super) fn compare(_: &Plan, _: u64, _: &[PeerOutcome]) -> Option<Optimum> {
    None
}

impl fmt::Display for Optimum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, took: Took| {
            let times = [took.last, took.mean].map(|time| format!("{time:.2} s ({:.3})", time / self.bound));
            format!("\n{name:11}  {:>15}  {:>15}  {:6.2}", times[0], times[1], took.copies)
        };
        writeln!(f, "No swarm can do it in less than {:.2} s; in brackets, how many times that it took.", self.bound)?;
        write!(f, "{:11}  {:>15}  {:>15}  {:>6}", "", "last downloader", "mean", "copies")?;
        write!(f, "{}", row("these peers", self.real))?;
        self.simulated.map_or(Ok(()), |took| write!(f, "{}", row("simulated", took)))
    }
}
