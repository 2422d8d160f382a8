//! What the project's tools are made of. The stories in `tests/` build and run whole swarms with the same code.

pub mod bench;
pub mod certs;
pub mod chaos;
pub mod ci;
pub mod cross;
pub mod dist;
pub mod hostile;
pub mod programs;
pub mod relay;
pub mod simulate;
pub mod soak;
pub mod swarm;
pub mod usage;
