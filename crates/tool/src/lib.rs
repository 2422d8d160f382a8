//! What all tools of `cargo xtask` share: their command line, Ctrl-C, and the memory and processor time of processes.
//!
//! This crate does not depend on the product's crates, so that a tool that runs none of them, such as the simulator, builds quickly.
//!
//! ```no_run
//! /// Its doc comments are what `cargo xtask simulate --help` prints.
//! #[derive(clap::Args)]
//! struct Arguments {
//!     /// Seed of the first run
//!     #[arg(long, default_value_t = 1)]
//!     seed: u64,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     tool::main("simulate", |arguments: &Arguments| {
//!         tool::interrupt::watch_interrupts()?;
//!         println!("from seed {}", arguments.seed);
//!         Ok(())
//!     })
//! }
//! ```

mod arguments;
pub mod interrupt;
pub mod usage;

pub use arguments::{exit_code, main};
