//! How a peer finds out how it is reached: a tracker looks at it from several of its own ports and addresses, and says what it saw.
//!
//! That is said on a connection of its own, and nothing else on that. First the tracker connects to the peer from ports, and if it
//! has one from an address, that the peer has never talked to: what comes through says how the router in front filters. Then the
//! peer connects to them itself: where it is seen says how the router maps (RFC 4787, RFC 5780).

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::codec::bounded;

/// Most places to connect to: another port of the tracker, and another address.
pub const MAX_PROBE_PLACES: usize = 2;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// Where the tracker was dialled.
    pub dialled: IpAddr,
    /// The port on which the sender takes connections over TCP, if it does.
    pub tcp: Option<u16>,
}

/// What the tracker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeEvent {
    /// Nobody has been told these so far: the receiver is to connect to them over QUIC. The first one is another port at the address
    /// that was dialled, the second one another address; none if it has come over TCP.
    Places {
        /// Where the tracker sees the receiver.
        seen: SocketAddr,
        /// Where to connect.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PROBE_PLACES>")]
        places: Vec<SocketAddr>,
    },
    /// What was found; the last thing that is said.
    Found(ProbeReport),
}

/// What a tracker has found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Where the receiver was seen from each place; nothing where it did not arrive.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PROBE_PLACES>")]
    pub seen: Vec<Option<SocketAddr>>,
    /// Whether the tracker got through over UDP from each of as many ports that it had never used.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PROBE_PLACES>")]
    pub let_in: Vec<bool>,
    /// Whether it got through over TCP, if that was to be tried.
    pub tcp: Option<bool>,
    /// Whether it carries connections between peers.
    pub relays: bool,
    /// Whether anyone on another machine has reached it over UDP.
    pub udp_works: bool,
}
