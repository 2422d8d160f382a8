//! Runs the real programs on this machine: builds, starts, watches and ends them, alone and as whole swarms over simulated links.
//!
//! `cargo xtask swarm`, the benchmarks, fault injection and the tests in `tests/` all use this one harness.
//!
//! ```no_run
//! use std::process::Command;
//! use std::time::Duration;
//!
//! # fn example(folder: &std::path::Path) -> anyhow::Result<()> {
//! let programs = testbed::programs::build(true)?;
//! let (mut tracker, address) =
//!     testbed::tracker::start(Command::new(&programs.tracker), folder, Duration::from_secs(10))?;
//! println!("a tracker listens on {address}");
//! tracker.end()?;
//! # Ok(())
//! # }
//! ```

pub mod certs;
pub mod event;
pub mod files;
pub mod namespaces;
pub mod process;
pub mod program;
pub mod programs;
pub mod relay;
pub mod swarm;
pub mod tracker;
