//! One run of a peer: it owns the node, and what is shared and downloaded in it, from the first word to the tracker to the last.

pub mod ahead;
pub mod audience;
pub mod bind;
pub mod codes;
pub mod connect;
mod contents;
mod downloads;
mod ending;
pub mod family;
pub mod find;
pub mod gateway;
pub mod input;
pub mod known_trackers;
pub mod lan;
pub mod mapped;
mod messages;
pub mod notice;
pub mod origin;
pub mod own_tracker;
pub mod patience;
pub mod pipe;
pub mod place;
#[cfg(feature = "port-mapping")]
pub mod port_mapping;
#[cfg(not(feature = "port-mapping"))]
#[path = "no_port_mapping.rs"]
pub mod port_mapping;
pub mod query;
mod reached;
pub mod rendezvous;
mod repeats;
pub mod resolve;
mod rows;
mod run;
#[cfg(feature = "metrics")]
pub mod scraped;
pub mod secrets;
mod sharer;
mod shares;
pub mod site;
pub mod standstill;
mod state;
pub mod stdin;
pub mod suggest;
pub mod temp_folder;
mod ticking;
pub mod trust;
mod typed;

pub use state::{Session, SessionOptions};
