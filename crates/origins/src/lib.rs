//! Where contents come from before any peer has them: web servers, object stores, and Hugging Face.
//!
//! An [`Origin`] lists the objects behind a URL, each at a version, and reads ranges of them. A read is pinned to the version that was
//! listed: an object that has changed since is an error of its own ([`OriginError::Changed`]), and never other bytes. What breaks off
//! is resumed where it broke off; what an origin cannot do for a while is tried again, with growing and random pauses, for as long as
//! [`Limits`] say. An origin that is silent or too slow is one that cannot.
//!
//! A [`registry`] has container images, whose parts are known by their digests: a [`FileCheck`] says whether bytes are what one names.
//!
//! [`make_manifest`] makes a content of what was listed, and [`OriginStorage`] is its files for those who serve it: read once each,
//! and kept in a bounded [`Cache`].
//!
//! # Example
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # mod with_the_feature {
//! use p2p_fileshare_origins::{Limits, Options, Origin};
//!
//! # async fn example() -> Result<(), p2p_fileshare_origins::OriginError> {
//! let origin = Origin::open("hf://org/model@main", &Options::default())?;
//! let listing = origin.list().await?;
//! println!("{}: {} files", listing.name, listing.objects.len());
//! let object = &listing.objects[0];
//! let first = origin.read(object, 0..object.size.min(1 << 20)).await?;
//! # Ok(())
//! # }
//! # }
//! ```

// What the page above names is only there with the feature.
#![cfg_attr(not(feature = "client"), allow(rustdoc::broken_intra_doc_links))]
#![cfg(feature = "client")]

mod cache;
mod check;
mod client;
mod error;
mod fallback;
mod http;
pub mod hub;
mod limits;
mod manifest;
mod object;
mod open;
mod outage;
mod pace;
mod partial;
mod parts;
mod program;
mod reader;
mod redirects;
pub mod registry;
mod signed;
mod storage;
mod store;
mod tls;
#[cfg(test)]
#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

pub use self::storage::OriginStorage;
pub use cache::Cache;
pub use check::FileCheck;
pub use error::OriginError;
pub use fallback::OriginFallback;
pub use http::HttpSource;
pub use limits::Limits;
pub use manifest::{KeptManifests, Pieces, make_manifest};
pub use object::{ByteStream, FileDigest, Listing, Object, Source, Unfit, Version};
pub use open::Options;
pub use pace::Pace;
pub use reader::{Origin, RangeReader, bytes_from_origins};
pub use redirects::Allowed;
