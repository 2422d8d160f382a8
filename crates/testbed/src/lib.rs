//! Real programs on this machine: built, started, watched and ended, alone and as whole swarms over links of our own making.
//!
//! `cargo xtask swarm`, the bench, the faults and the stories in `tests/` are all made of this.

pub mod certs;
pub mod event;
pub mod files;
pub mod process;
pub mod program;
pub mod programs;
pub mod relay;
pub mod swarm;
pub mod tracker;
