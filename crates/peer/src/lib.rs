//! A peer of the swarm as a library: what `peer-cli` is made of, and what others embed.
//!
//! [`Node`] is the one asynchronous shell around the engine of `swarm`: it drives it with any transport, any
//! storage and a connection to a tracker. All decisions are the engine's; all bytes pass here. Everything runs on
//! the tokio runtime that it is started on; a current-thread runtime is enough.

mod buffers;
mod dial_book;
mod dial_filter;
mod doubt;
mod driver;
mod error;
mod fetch;
mod file_state;
mod folding;
mod hashing;
mod in_place;
mod inbox;
mod left_out;
mod link;
mod naming;
mod node;
mod own_state;
mod places;
mod rate;
mod reach;
mod refused;
mod reuse;
mod serve;
mod settled;
mod share;
mod shelf;
mod silent;
mod stamp;
mod survey;
mod tracker_client;
mod waits;
mod watch;
mod workers;

pub use dial_book::{DialledPeer, Unanswered, WaitingFor};
pub use error::PeerError;
pub use left_out::{LeftOut, LeftOutReason};
pub use naming::{NameDoubt, NamePolicy, NameReport};
pub use node::{GetOptions, Node, NodeBuilder, PeerEvent, Progress, Standing, Summary};
pub use share::{
    Hashed, Held, ShareOptions, hash_content, hash_content_with, keep_manifest, kept_manifests, manifest_path,
    read_manifest, received_by_name, received_manifest, received_path, sweep_manifests,
};
pub use survey::ScanOptions;
pub use tracker_client::{Page, TrackerAddress};
pub use transport::interface_addresses;
pub use waits::Waits;
