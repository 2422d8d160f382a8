//! Finding peers of one content, and sharers, on the local network: without an address, and without a tracker.
//!
//! A beacon of multicast packets. Those who look for something ask, and those who have it answer ([`Lan`]). Strangers in the
//! network learn nothing of contents: a packet names one by a MAC over the packet's random salt, and what a holder says of
//! itself is sealed, both with keys that follow from the secret of a private share or from the id of an open one. No packet
//! has the name of a content, a machine or a user, nor anything that is the same in two packets, but for a random label of
//! the process.
//!
//! Nothing that is heard is believed: an address counts only as the one that the packet came from, and only if that is in a
//! network of this machine; a peer proves who it is when it is dialled, as everywhere. How much is taken of what is heard,
//! and how often peers are introduced, is bounded.
//!
//! # Example
//!
//! ```
//! use p2p_fileshare_lan::{ContentKey, FakeNetwork, Lan};
//! # use protocol::{ContentId, Digest, PeerId};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // Of a real network: `Lan::start(Multicast::join(&[])?)`.
//! let network = FakeNetwork::new();
//! let sharer = Lan::start(network.link("10.0.0.1".parse().unwrap()));
//! let getter = Lan::start(network.link("10.0.0.2".parse().unwrap()));
//! let content = ContentKey::new(&ContentId(Digest([7; 32])).lan_key());
//!
//! let (met, _) = tokio::sync::mpsc::channel(1);
//! let me = PeerId::of_public_key(b"sharer");
//! sharer.node(me, 9000, met);
//! sharer.take_part(&content, false);
//!
//! let holder = getter.holders(&content).recv().await.unwrap();
//! assert_eq!((holder.peer, holder.address), (me, "10.0.0.1:9000".parse().unwrap()));
//! # });
//! ```

mod beacon;
mod fake;
mod interfaces;
mod key;
mod limits;
mod link;
mod multicast;
mod packet;
mod run;

pub use fake::{FakeLink, FakeNetwork};
pub use key::ContentKey;
pub use link::{Link, Received};
pub use multicast::{GROUP_V4, GROUP_V6, LanError, Multicast, PORT};
pub use run::Lan;

use std::net::SocketAddr;

use protocol::PeerId;

use crate::packet::Trackers;

/// What the tracker in a sharer's process has for those who know nothing of it yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offers {
    /// Where it listens.
    pub port: u16,
    /// It lists what is shared openly.
    pub open: bool,
    /// It knows codes.
    pub codes: bool,
}

impl Offers {
    fn trackers(&self) -> Trackers {
        Trackers { open: self.open && self.port != 0, codes: self.codes && self.port != 0 }
    }
}

/// Which trackers in processes of sharers are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those that list what is shared openly.
    Open,
    /// Those that know codes.
    Codes,
}

/// A tracker in a sharer's process, as somebody in the network says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundTracker {
    /// Where it is.
    pub address: SocketAddr,
    /// Random for each process: it may be heard at several addresses.
    pub label: u64,
}

/// A peer that takes part in a content, as somebody in the network says who knows the content.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Holder {
    /// Which content.
    pub key: ContentKey,
    /// Its id, which it is to prove.
    pub peer: PeerId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the tracker in its process is, if there is one.
    pub tracker: Option<SocketAddr>,
}
