//! How connections are kept alive, and how soon the other end's death is noticed: for QUIC and TCP alike.
//!
//! Peers that exchange pieces must notice soon. A tracker has a connection of everyone who is there: each word on all of them costs
//! it more than all that it is asked. There only the peer's side speaks up, as often as the mappings of routers need it, and where it waits for
//! something it asks more often by itself ([`Connection::ping`](crate::Connection::ping)). Whoever knows only the short times keeps to
//! them: the side that pings often is answered, and the shorter patience counts.

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
/// A tracker's side.
pub(crate) const OF_TRACKER: KeepAlive = KeepAlive { every: None, patience: STANDING };
/// Two words of the peer's side may be lost, and the third is late.
const STANDING: Duration = Duration::from_secs(40);
