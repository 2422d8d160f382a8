//! How the trackers of a node are.

use std::net::SocketAddr;

use protocol::PeerId;

/// The number of a client of a tracker, of all that there were in a node.
pub(crate) type TrackerNumber = u64;

/// One of the trackers that a node has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerStatus {
    pub(crate) number: TrackerNumber,
    /// What it is called: its name with the port, or its address.
    pub place: String,
    /// Its id, perhaps abbreviated.
    pub id: PeerId,
    /// How it is.
    pub state: TrackerState,
    /// Where it was reached last, or where it is if it has one address.
    pub at: Option<SocketAddr>,
    /// Whether it may be one more address of another.
    pub(crate) is_guess: bool,
}

/// How a tracker is, as far as is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerState {
    /// It has not answered yet.
    Connecting,
    /// There is a session with it.
    Up,
    /// It was lost, or has never answered. It is tried again and again.
    Lost,
    /// Its address leads to a tracker that is known by another.
    Taken,
}
