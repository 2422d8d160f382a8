//! What a swarm decides, and nothing that it does: no clock, no sockets, no bytes of payload.
//!
//! [`Engine`] decides for a peer: whom to dial, whom to ask for which piece, whom to serve, when to give up.
//! [`Registry`] decides for a tracker. Time, randomness and everything that happened come in; actions go out. The
//! same seed and the same events give the same actions, so that a failing simulation is a test.

mod engine;
mod event;
mod registry;
mod scope;

pub use engine::{Config, ConnectionView, ContentView, Engine};
pub use event::{Action, ConnId, Event, Failure, RequestId, ServeId};
pub use registry::{Addresses, Claim, Introductions, MOST_KNOWN, Origin, Push, Registry, SAMPLE};
pub use scope::Scope;
