//! Which of several trackers one is: two that have the same key are told apart, and two addresses of one are not taken for two.

use serde::{Deserialize, Serialize};

/// What a tracker says of itself to peers that know several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TrackerInstance {
    /// Where it runs, in a form that outlives a restart: all peers rank trackers by it and by their ids.
    pub label: [u8; 16],
    /// Random, and another one after each start.
    pub nonce: [u8; 16],
}
