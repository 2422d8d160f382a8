//! A peer of the swarm as a library: share files and folders, and download them from everyone who has pieces of them.
//!
//! A [`Node`] is a running peer. It is started over a [`Transport`] (QUIC, TCP, or a network in memory) on the current tokio
//! runtime; a current-thread runtime is enough. [`Node::share`] gives a [`Share`], [`Node::download`] a [`Download`]: the handle
//! to watch it, to read it while it comes, to pause, cancel, or await it.
//!
//! ```
#![doc = include_str!("../examples/embed.rs")]
//! ```
//!
//! # Transports, trackers and tickets
//!
//! Over a network, a transport is bound to a key and to addresses, and a tracker introduces peers to each other. A [`Ticket`], as
//! `peer-cli share` prints it, says which tracker and which content:
//!
//! ```no_run
//! use p2p_fileshare::{Identity, Node, Ticket, TransportConfig, TransportKind};
//!
//! # async fn get(ticket: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let ticket: Ticket = ticket.parse()?;
//! let config = TransportConfig::new(Identity::generate()?, vec!["[::]:0".parse()?]);
//! let node = Node::builder(TransportKind::Auto.bind(config)?).output("downloads").start();
//! let done = node.download_ticket(&ticket).await?.start().await?.await?;
//! println!("{}", done.path.display());
//! # Ok(())
//! # }
//! ```
//!
//! # One download
//!
//! Options that are not set for a download are those of the node's builder. The [`Status`] is a `watch`: its last value is never
//! missed. [`Node::events`] is a broadcast for logs and for people, on which nothing else depends.
//!
//! ```no_run
//! use p2p_fileshare::{Glob, Node};
//! # use p2p_fileshare::{ContentId, Transport};
//! use tokio::io::AsyncReadExt;
//!
//! # async fn example(transport: std::sync::Arc<dyn Transport>, content: ContentId) -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder(transport).output("out").start(); // storage: mapped files
//! let globs: [Glob; 1] = ["*.json".parse()?];
//! let download = node.download(content).only(globs).overwrite(true).down_rate(10 << 20).start().await?;
//!
//! let mut status = download.status();
//! let known = status.wait_for(|status| status.pieces > 0).await?.clone();
//! println!("{}: {} of {} pieces", known.name, known.have, known.pieces);
//!
//! let mut text = String::new();
//! download.read_from(0).read_to_string(&mut text).await?; // woken by each piece in order
//!
//! download.pause().await?;
//! download.resume().await?;
//! # if false {
//! download.cancel().await?; // verified pieces are kept
//! # }
//! let done = download.await?; // durable, under its final name; or a typed error
//! println!("{} in {:?}", done.path.display(), done.stats.durable);
//!
//! let share = node.share("model.bin").await?;
//! println!("{}", share.content());
//! share.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! A node is the asynchronous shell around the engine of `swarm`, which makes all decisions; all bytes pass here. Storage and
//! transport are plug-ins ([`Backend`], [`Transport`]). With the feature `serde`, `json` has the events of `peer-cli --json` as
//! types.

// The example of the README is compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod ask_all;
mod clock;
mod code;
mod command;
mod config;
mod counters;
mod disk;
mod download;
mod driver;
mod error;
mod event;
mod glob;
mod handle;
#[cfg(feature = "serde")]
pub mod json;
mod lease;
mod lock;
mod net;
mod node;
mod open_content;
mod overview;
mod reachability;
mod read_memory;
mod reader;
mod report;
mod resolver;
mod share;
mod stats;
mod status;
mod tracker_status;

pub use ask_all::merged;
pub use clock::Moment;
pub use code::{CodeEvent, CodeOffer, CodeOptions, NoCode, RedeemError};
pub use config::NodeBuilder;
pub use counters::{Counters, TIME_BOUNDS, Times};
pub use disk::left_out::{LeftOut, LeftOutReason};
pub use disk::left_over::LeftOver;
pub use disk::made_when_read::is_unsized;
pub use disk::manifests::{
    content_of_ticket, keep_manifest, kept_manifests, manifest_path, manifests_of, read_manifest, received_by_name,
    received_manifest, received_path, sweep_manifests,
};
pub use disk::names::policy::{NameDoubt, NamePolicy, NameReport};
pub use disk::scan::ScanOptions;
pub use disk::share::{Hashed, Held, hash_content, hash_content_with};
pub use disk::spool::{Spool, Spooled};
pub use download::{Download, DownloadBuilder};
pub use error::PeerError;
pub use event::PeerEvent;
pub use glob::{Glob, GlobError, Unmatched};
pub use lease::{Lease, LeaseState, NoLease};
pub use net::dial_book::{DialledPeer, Unanswered, WaitingFor};
pub use net::origin::ORIGIN;
pub use net::tracker::{Joined, MOST_TRACKERS, Page, TrackerAddress, WatchedPage};
pub use node::Node;
pub use open_content::{OpenContent, OpenFile};
pub use overview::Overview;
pub use reachability::{Filtering, Mapping, Reachability, ReachabilityError, reachability};
pub use read_memory::{ReadMemory, Room};
pub use reader::Reader;
pub use resolver::{Resolved, Resolver};
pub use share::{Share, ShareBuilder};
pub use stats::{Bottleneck, Waits};
pub use status::{Completed, DownloadStats, Participant, State, Status};
pub use tracker_status::{TrackerState, TrackerStatus};

// What a user touches of the crates below: one crate is enough.
pub use lan::Lan;
pub use protocol::{
    Algorithm, Code, CodeError, ContentId, ContentMatch, FileEntry, MAX_TICKET_TRACKERS, Manifest, OriginKey,
    OriginUrl, PeerAddress, PeerId, PieceRange, PieceSet, Query, QueryError, Secret, Ticket, TicketTracker, redacted,
};
pub use storage::{Backend, Fallback, FileBackend, MemoryBackend, MmapBackend, Remote, StorageError};
pub use swarm::Shares;
pub use transport::{
    Config as TransportConfig, Identity, IdentityError, Kind as TransportKind, MemoryNetwork, Transport,
    TransportError, Trust, interface_addresses,
};
