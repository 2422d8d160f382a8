//! What each tool that `cargo xtask` starts begins with: its command line, Ctrl-C, and what processes use.
//!
//! Nothing here needs the product's own crates, so that a tool which runs none of them, as the simulator, is built quickly.

mod arguments;
pub mod interrupt;
pub mod usage;

pub use arguments::{exit_code, main};
