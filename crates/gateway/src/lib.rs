//! What a peer shares and downloads, over HTTP: any range of any file, folders as archives, and the calls by which the clients of
//! Hugging Face get models and data sets.
//!
//! A [`Gateway`] listens at one address and serves the contents of the [`Swarm`]s that it was given, and no others. What is not here
//! yet is downloaded when somebody asks for it: a range waits for its pieces, which are fetched before others, and each piece is
//! verified before any of it is sent. All of it is made of the library `p2p-fileshare` alone.
//!
//! Whoever reaches the address can read what those swarms have. So a gateway listens on loopback unless it has a [`Token`], and it
//! answers only where `Host` names it: a web page whose name leads to this machine gets nothing.
//!
//! Without the feature `http` this crate is empty.

// What the page above names is only there with the feature.
#![cfg_attr(not(feature = "http"), allow(rustdoc::broken_intra_doc_links))]
#[cfg(feature = "http")]
mod access;
#[cfg(feature = "http")]
mod archive;
#[cfg(feature = "http")]
mod body;
#[cfg(feature = "http")]
mod conditions;
#[cfg(feature = "http")]
mod contents;
#[cfg(feature = "http")]
mod doors;
#[cfg(feature = "http")]
mod error;
#[cfg(feature = "http")]
mod files;
#[cfg(feature = "http")]
mod huggingface;
#[cfg(feature = "http")]
mod listings;
#[cfg(feature = "http")]
mod lists;
#[cfg(feature = "http")]
mod pages;
#[cfg(feature = "http")]
mod paths;
#[cfg(feature = "http")]
mod patient;
#[cfg(feature = "http")]
mod range;
#[cfg(feature = "http")]
mod routes;
#[cfg(feature = "http")]
mod served;
#[cfg(feature = "http")]
mod server;
#[cfg(feature = "http")]
mod swarm;

#[cfg(feature = "http")]
pub use access::Token;
#[cfg(feature = "http")]
pub use error::GatewayError;
#[cfg(feature = "http")]
pub use server::{Gateway, Options};
#[cfg(feature = "http")]
pub use swarm::Swarm;
