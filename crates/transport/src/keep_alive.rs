//! How connections are kept alive, and how soon the other end's death is noticed: for QUIC and TCP alike.
//!
//! Peers that exchange pieces must notice soon. So must a tracker that few know: until it has noticed, it names dead peers to new ones, and
//! of few peers one is many. It speaks up by itself, as peers do. A tracker that thousands know has a connection of each: a word on all of them
//! costs it more than all that it is asked. There only the peer's side speaks up, as often as the mappings of routers need it, and where it
//! waits for something it asks more often by itself ([`Connection::ping`](crate::Connection::ping)).
//!
//! The tracker decides, and a peer need not know what: the side that pings often is answered, and the shorter patience counts. Peers of
//! earlier versions, which know only the short times, are served in the same way.

use std::time::Duration;

/// Of one side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// Something is said this often, if nothing else is.
    pub(crate) every: Option<Duration>,
    /// If nothing was heard for this long, the connection is lost.
    pub(crate) patience: Duration,
}

/// Between peers.
pub(crate) const PEERS: KeepAlive = KeepAlive { every: Some(Duration::from_secs(2)), patience: Duration::from_secs(8) };
/// A peer's side of a connection to a tracker. Routers forget a mapping after 30 s and more.
pub(crate) const TO_TRACKER: KeepAlive = KeepAlive { every: Some(Duration::from_secs(15)), patience: STANDING };
/// The tracker's keep-alive for a new connection, when `standing` connections exist.
pub(crate) fn of_tracker(standing: usize) -> KeepAlive {
    if standing < FEW { PEERS } else { OF_LARGE_TRACKER }
}

/// Two thousand connections with a word every 2 s keep a core busy for a few hundredths of its time.
const FEW: usize = 2_000;
const OF_LARGE_TRACKER: KeepAlive = KeepAlive { every: None, patience: STANDING };
/// Two words of the peer's side may be lost, and the third is late.
const STANDING: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_speaks_up_while_few_know_it() {
        assert_eq!((of_tracker(0), of_tracker(FEW - 1)), (PEERS, PEERS));
        assert_eq!(of_tracker(FEW), OF_LARGE_TRACKER);
    }
}
