//! The project's own chores. What runs swarms is in crates of its own, which `launcher` builds and starts.

pub mod certs;
pub mod ci;
pub mod cross;
pub mod dist;
pub mod docs;
mod rings;
