//! The tracker as a library: [`Server`] is what the program `tracker` runs, and what a peer runs that brings its own.
//!
//! What is decided stands in `swarm::Registry`, one a content; here are the connections around it. A tracker holds
//! nothing that matters: kill it and running downloads go on; start it and the peers come back.

mod catalogue;
mod cost;
mod ledger;
mod outbox;
mod pace;
mod server;
mod session;

pub use pace::Pace;
pub use server::{MEMORY, Server, ServerConfig, transport_config};
