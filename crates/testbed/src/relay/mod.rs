//! A simulated link: datagrams between peers pass through a thread that delays, drops, reorders, duplicates and queues them as the
//! modelled link would. It needs no privileges and runs on every platform.
//!
//! A [`Relay`] stands in front of one listener. Each client that dials its address gets its own link to that listener.

mod direction;
mod forward;
mod link;

pub use direction::Counts;
pub use forward::{Relay, Traffic};
pub use link::{Blackout, Link};
pub(crate) use link::{duration, rate};
