//! A peer of the swarm as a library: what `peer-cli` is made of, and what others embed.
//!
//! [`Node`] is the one asynchronous shell around the engine of `swarm`: it drives it with any transport, any
//! storage and a connection to a tracker. All decisions are the engine's; all bytes pass here. Everything runs on
//! the tokio runtime that it is started on; a current-thread runtime is enough.

mod disk;
mod driver;
mod error;
mod net;
mod node;
mod report;
mod stats;

pub use disk::left_out::{LeftOut, LeftOutReason};
pub use disk::manifests::{
    Hashed, Held, ShareOptions, hash_content, hash_content_with, keep_manifest, kept_manifests, manifest_path,
    read_manifest, received_by_name, received_manifest, received_path, sweep_manifests,
};
pub use disk::names::{NameDoubt, NamePolicy, NameReport};
pub use disk::scan::ScanOptions;
pub use error::PeerError;
pub use net::dial_book::{DialledPeer, Unanswered, WaitingFor};
pub use net::tracker::{Page, TrackerAddress};
pub use node::{GetOptions, Node, NodeBuilder, PeerEvent, Progress, Standing, Summary};
pub use stats::Waits;
pub use transport::interface_addresses;
