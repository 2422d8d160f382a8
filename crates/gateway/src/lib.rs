//! What a peer shares and downloads, over HTTP: any range of any file, folders as archives, the calls by which the clients of
//! Hugging Face get models and data sets, and those by which object stores are read.
//!
//! A [`Gateway`] listens at one address and serves the contents of the [`Swarm`]s that it was given, and no others. What is not here
//! yet is downloaded when somebody asks for it: a range waits for its pieces, which are fetched before others, and each piece is
//! verified before any of it is sent. With [`Origins`] it mirrors registries of container images, and brings models that nobody in the
//! swarm has. All of it is made of the libraries `p2p-fileshare` and `p2p-fileshare-origins` alone.
//!
//! Everyone who reaches the address can read what those swarms have. So a gateway listens on loopback unless it has a [`Token`], and it
//! answers only where `Host` names it: a web page whose name leads to this machine gets nothing.
//!
//! ```no_run
//! # #[cfg(feature = "http")]
//! # mod with_the_feature {
//! use p2p_fileshare_gateway::{Gateway, GatewayError, Options, Swarm};
//!
//! # async fn example(node: peer::Node) -> Result<(), GatewayError> {
//! let swarm = Swarm::new(node, "models").all().output("downloads");
//! let gateway = Gateway::bind(([127, 0, 0, 1], 8642).into(), vec![swarm], Options::default()).await?;
//! println!("http://{}", gateway.address());
//! gateway.serve().await;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! Without the feature `http` this crate is empty.

// What the page above names is only there with the feature.
#![cfg_attr(not(feature = "http"), allow(rustdoc::broken_intra_doc_links))]
#![cfg(feature = "http")]

mod access;
mod answers;
mod archive;
mod beside;
mod blobs;
mod body;
mod conditions;
mod contents;
mod doors;
mod downloads;
mod error;
mod figures;
mod files;
mod huggingface;
mod kept;
mod listings;
mod lists;
mod names;
mod origin;
mod pages;
mod paths;
mod patient;
mod range;
mod recent;
mod registry;
mod removal;
mod root_lock;
mod routes;
mod s3;
mod served;
mod server;
mod swarm;

pub use error::GatewayError;
pub use http_access::{Token, TokenError};
// What origins are made of.
pub use ::origins::hub::Hub;
pub use ::origins::registry::{Credentials, Login, Registry, login};
pub use ::origins::{Limits, OriginError, Pace};
pub use figures::KeptFigures;
pub use origin::Origins;
pub use s3::BucketPlace;
pub use server::{Gateway, Options};
pub use swarm::Swarm;
