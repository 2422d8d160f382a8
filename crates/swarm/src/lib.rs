//! What a swarm decides, and nothing that it does: no clock, no sockets, no bytes of payload.
//!
//! [`Engine`] decides for a peer: whom to dial, whom to ask for which piece, whom to serve, when to give up.
//! [`Registry`] decides for a tracker. Time, randomness and everything that happened come in; actions go out. The
//! same seed and the same events give the same actions, so that a failing simulation is a test.
//!
//! # Example
//!
//! An engine that wants a content and hears of a peer dials it:
//!
//! ```
//! use std::time::Duration;
//!
//! use p2p_fileshare_swarm::protocol::{ContentId, Digest, PeerAddress, PeerId, PeerMessage, VERSION};
//! use p2p_fileshare_swarm::{Action, Config, Engine, Event};
//!
//! let me = PeerId(Digest([1; 32]));
//! let hello = PeerMessage::Hello { version: VERSION, listeners: Vec::new(), site: String::new() };
//! let mut engine = Engine::new(Config::default(), me, hello, 42);
//!
//! let content = ContentId(Digest([9; 32]));
//! let peer = PeerAddress { id: PeerId(Digest([2; 32])), addresses: vec![([10, 0, 0, 2], 9000).into()] };
//! let mut actions = Vec::new();
//! engine.handle(Duration::ZERO, Event::Want { content }, &mut actions);
//! engine.handle(Duration::ZERO, Event::Found { content, peers: vec![peer.clone()] }, &mut actions);
//! assert_eq!(actions, [Action::Dial { peer }]);
//! ```

pub mod bound;
mod engine;
mod event;
mod leases;
mod ranking;
mod registry;
mod scope;
mod shares;

pub use engine::{Config, ConnectionView, ContentView, Engine, ParticipantView};
pub use event::{Action, ConnId, Event, Failure, RequestId, ServeId};
pub use leases::{LeaseAction, Leases};
pub use ranking::{ANNOUNCED_TO, ranking};
pub use registry::{AddressOrigin, Addresses, Claim, Introductions, MOST_KNOWN, Push, Registry, SAMPLE};
pub use scope::Scope;
pub use shares::{Channel, NamedReceivers, Place, Proof, Shares};

/// Events and actions are made of its types: one crate is enough.
pub use protocol;
