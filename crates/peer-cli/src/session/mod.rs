//! One run of a peer: it owns the node, and what is shared and downloaded in it, from the first word to the tracker to the last.

pub mod connect;
mod contents;
mod ending;
pub mod find;
pub mod known_trackers;
pub mod patience;
pub mod pipe;
pub mod query;
mod run;
pub mod standstill;
mod state;
pub mod suggest;
pub mod temp_folder;
mod ticking;
pub mod trust;

pub use state::{Session, SessionOptions};
