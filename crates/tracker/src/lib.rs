//! The tracker as a library: [`Server`] is what the program `tracker` runs, and what a peer runs that brings its own.
//!
//! What is decided stands in `swarm::Registry`, one a content; here are the connections around it. A tracker holds
//! nothing that matters: kill it and running downloads go on; start it and the peers come back.

mod catalogue;
mod config;
mod cost;
mod ledger;
mod outbox;
mod pace;
mod server;
mod session;
mod state;

pub use config::{MEMORY, ServerConfig, transport_config};
pub use pace::Pace;
pub use server::Server;
