//! The chores of the repository. Tools that run swarms are crates of their own, which `launcher` builds and starts.

pub mod certs;
pub mod ci;
pub mod cross;
pub mod dist;
pub mod docs;
mod names;
mod rings;
