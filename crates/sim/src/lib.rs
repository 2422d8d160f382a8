//! Whole swarms in virtual time: thousands of the engines that peers run, and the registry that trackers run, over modelled
//! links. No sockets, no disks, no clock, and the same plan and seed always give the same result.
//!
//! # Example
//!
//! ```
//! use p2p_fileshare_sim::{Config, Plan};
//!
//! let plan = r#"
//!     about = "Eight downloaders and a seeder."
//!     peers = 8
//!     pieces = 16
//!     copy_seconds = 10
//!     [[group]]
//!     name = "seeder"
//!     count = 1
//!     holds = "all"
//!     [[group]]
//!     name = "downloader"
//! "#;
//! let plan = Plan::parse("example", plan)?;
//! let outcome = p2p_fileshare_sim::run(&plan, 1, &Config::default());
//! assert!(outcome.last().is_some_and(|seconds| seconds >= outcome.bound));
//! # Ok::<(), p2p_fileshare_sim::PlanError>(())
//! ```

mod actions;
mod equal;
mod network;
mod outcome;
mod plan;
mod queue;
mod world;

pub use actions::ActionLog;
pub use equal::Equal;
pub use outcome::{Outcome, Sample};
pub use plan::{Cut, Group, Holds, Hostile, HostileAnswers, Origin, Plan, PlanError, Serves};

/// How fast any protocol could be: what runs are measured against.
pub use swarm::bound;

/// How the engines of a run are set up.
pub use swarm::Config;

/// Runs a plan to its end. Panics, with the command that repeats the run, if something happens that must never.
pub fn run(plan: &Plan, seed: u64, config: &Config) -> Outcome {
    world::World::new(plan, seed, config).run()
}

/// Runs a plan as [`run`] does, and records what the engines decided.
pub fn record(plan: &Plan, seed: u64, config: &Config) -> ActionLog {
    world::World::new(plan, seed, config).record()
}
