//! A link of our own making: datagrams between peers pass through a thread that delays, loses, reorders, doubles and
//! queues them as a modelled link would. It needs no rights and runs wherever the peers do.
//!
//! A [`Relay`] stands before one listener. Everyone who dials its address gets a link of its own to that listener.

mod direction;
mod forward;
mod link;

pub use direction::Counts;
pub use forward::{Relay, Traffic};
pub use link::{Blackout, Link};
pub(crate) use link::{duration, rate};
