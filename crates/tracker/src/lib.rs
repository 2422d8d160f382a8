//! The tracker as a library: [`Server`] is what the program `tracker` runs, and what a peer runs that brings its own.
//!
//! What is decided stands in `swarm::Registry`, one a content; here are the connections around it. A tracker holds
//! nothing that matters: kill it and running downloads go on; start it and the peers come back.
//!
//! # Example
//!
//! ```no_run
//! use p2p_fileshare_tracker::{Identity, Server, ServerConfig, TransportKind, Trust, transport_config};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::generate()?;
//! let transport = TransportKind::Auto.bind(transport_config(identity, Trust::Anyone, ([127, 0, 0, 1], 9999).into()))?;
//! println!("Tracker id: {}", transport.peer_id());
//! Server::new(transport, ServerConfig::default()).run().await;
//! # Ok(())
//! # }
//! ```

mod catalogue;
mod config;
mod cost;
mod last_words;
mod ledger;
mod lock;
mod mailboxes;
mod news_load;
mod outbox;
mod own_addresses;
mod pace;
mod private;
mod probe;
mod questions;
mod relay;
mod second_address;
mod server;
mod session;
mod state;
mod watching;

pub use config::{MEMORY, ServerConfig, transport_config};
pub use pace::Pace;
pub use private::PrivateTracker;
pub use relay::RelayLimits;
pub use server::{ObservedPeer, Server};
pub use state::ConnectedPeer;

// What a tracker is made of comes from the crates below: one crate is enough.
pub use protocol::{ContentId, ContentMatch, PeerId, PeerProgress, Role, WatchedPeer, WatchedSource};
/// How fast any swarm could be.
pub use swarm::bound;
pub use transport::{Config as TransportConfig, Identity, Kind as TransportKind, Transport, Trust};
