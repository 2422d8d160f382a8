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
    /// Its name with the port, or its address.
    pub place: String,
    /// Its id, perhaps abbreviated.
    pub id: PeerId,
    /// Its state.
    pub state: TrackerState,
    /// The address at which it was last reached, or its only address.
    pub at: Option<SocketAddr>,
    /// Whether this may be another address of a tracker that is in the list already.
    pub(crate) is_guess: bool,
    /// The name by which it was given, and where that leads as far as is known.
    pub(crate) name: Option<String>,
    pub(crate) leads_to: Vec<SocketAddr>,
}

impl TrackerStatus {
    /// How many of a node's trackers are up, and how many are lost. If none has answered yet, one counts as lost.
    pub fn up_and_lost(all: &[Self]) -> [usize; 2] {
        let count = |state| all.iter().filter(|tracker| tracker.state == state).count();
        match [count(TrackerState::Up), count(TrackerState::Lost)] {
            [0, 0] => [0, usize::from(!all.is_empty())],
            counted => counted,
        }
    }
}

/// The state of a tracker, as this node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerState {
    /// It has not answered yet.
    Connecting,
    /// There is a session with it.
    Up,
    /// It was lost, or has never answered. It is tried again and again.
    Lost,
    /// Its address belongs to a tracker that is in the list already.
    Taken,
}

#[cfg(test)]
mod tests {
    use super::TrackerState::{Connecting, Lost, Taken, Up};
    use super::*;

    #[test]
    fn trackers_that_have_not_answered_are_lost_where_none_has() {
        let tracker = |state| TrackerStatus {
            number: 1,
            place: String::new(),
            id: PeerId::of_public_key(b"one"),
            state,
            at: None,
            is_guess: false,
            name: None,
            leads_to: Vec::new(),
        };
        for (states, counted) in [
            (vec![], [0, 0]),
            (vec![Connecting], [0, 1]),
            (vec![Up, Connecting, Taken], [1, 0]),
            (vec![Up, Lost, Lost], [1, 2]),
            (vec![Lost], [0, 1]),
        ] {
            let all: Vec<_> = states.into_iter().map(tracker).collect();
            assert_eq!(TrackerStatus::up_and_lost(&all), counted, "{all:?}");
        }
    }
}
