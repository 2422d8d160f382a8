//! What a tracker may spend, whom it believes, and how its transport is set up.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use protocol::PeerId;
use transport::{Config, Identity, Trust};

use crate::cost;
use crate::pace::Pace;
use crate::private::PrivateTracker;

/// Bytes that a tracker may take unless it is told otherwise.
pub const MEMORY: u64 = 1 << 30;

/// What a tracker may spend, and whom it believes.
///
/// ```
/// let config = p2p_fileshare_tracker::ServerConfig::default().memory(64 << 20);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct ServerConfig {
    /// Most bytes of all connections and contents. When they are reached, the peers of least use make room: see
    /// [`Server`](crate::Server).
    pub memory: u64,
    /// Most connections at once; the same holds for them.
    pub connections: usize,
    /// How fast each connection may say the same again.
    pub pace: Pace,
    /// Those whose names for contents count; everyone's if there are none.
    pub publishers: BTreeSet<PeerId>,
    /// The private shares that it is for, and for nobody without their tickets; everything for everyone if there are none.
    pub private: Option<PrivateTracker>,
    /// Where it runs, as peers that know several trackers are told ([`TrackerInstance::label`](protocol::TrackerInstance)).
    pub label: [u8; 16],
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            memory: MEMORY,
            connections: 1 << 20,
            pace: Pace::default(),
            publishers: BTreeSet::new(),
            private: None,
            label: [0; 16],
            seed: fastrand::u64(..),
        }
    }
}

impl ServerConfig {
    /// What may be counted of the memory: an allocator keeps a part of what was freed, and a connection that was let go takes a moment
    /// to end.
    pub(crate) fn memory_to_count(&self) -> u64 {
        self.memory - self.memory / 5
    }

    /// How many peers there is memory for, if each takes part in a content of its own: over QUIC, and over TCP.
    pub fn room(&self) -> [u64; 2] {
        cost::peers(self.memory_to_count()).map(|peers| peers.min(self.connections as u64))
    }

    /// Takes at most so many bytes.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Bounds how fast each connection may say the same again.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Lets only these peers name contents, if there are any.
    pub fn publishers(mut self, publishers: impl IntoIterator<Item = PeerId>) -> Self {
        self.publishers = publishers.into_iter().collect();
        self
    }

    /// Serves these private shares alone, and nobody without their tickets.
    pub fn private(mut self, private: Option<PrivateTracker>) -> Self {
        self.private = private;
        self
    }

    /// Says where it runs: the same at each start, and something else than other trackers with the same key say.
    pub fn label(mut self, label: [u8; 16]) -> Self {
        self.label = label;
        self
    }

    /// Makes all random choices from this seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// A tracker says little, and a connection over which larger datagrams were tried keeps a buffer of that size.
const MTU: u16 = 1200;
/// All that a peer says to a tracker, it says on one stream.
const STREAMS: u32 = 1;

/// How the transport of a tracker is set up that listens here.
pub fn transport_config(identity: Identity, trust: Trust, listener: SocketAddr) -> Config {
    Config::new(identity, vec![listener]).trust(trust).mtu(Some(MTU)).streams(STREAMS).standing(true)
}
