//! The settings of each connection: by what was chosen for all of them, by who is at its other end, and by its path.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::TransportConfig;

use super::congestion::Congestion;
use super::windows::{self, Windows};
use super::{path, settings};
use crate::keep_alive::{self, KeepAlive};

/// What was chosen for all connections.
#[derive(Clone, Copy)]
pub(super) struct Choices {
    pub(super) mtu: Option<u16>,
    pub(super) streams: u32,
    pub(super) congestion: Congestion,
    /// Whether connections that come in are a tracker's.
    pub(super) standing: bool,
}

/// The settings of a connection between a peer and a tracker.
pub(super) fn standing_path(choices: Choices, kept: KeepAlive) -> TransportConfig {
    let mut transport = settings::standing();
    settings::kept_alive(&mut transport, kept.every, kept.patience);
    transport.congestion_controller_factory(choices.congestion.factory());
    transport.max_concurrent_bidi_streams(choices.streams.into()).send_window(windows::LEAST);
    transport
}

/// As peers know it: a tracker has thousands of connections, and a peer one, by which it learns what the path carries.
pub(super) fn path_to_tracker(address: SocketAddr, choices: Choices) -> TransportConfig {
    let mut transport = standing_path(choices, keep_alive::TO_TRACKER);
    let carried = path::largest_datagram(address);
    settings::searched(&mut transport, choices.mtu.map_or(carried, |mtu| mtu.min(carried)));
    transport
}

/// The settings of a connection to or from this address.
pub(super) fn transport_to(address: SocketAddr, choices: Choices, windows: &Windows) -> Arc<TransportConfig> {
    let mut transport = path_to(address, choices, windows);
    // A user who limits the size may know that something on the path carries less.
    if choices.mtu.is_none() && address.ip().to_canonical().is_loopback() {
        settings::known_path(&mut transport, path::largest_datagram(address));
    }
    Arc::new(transport)
}

/// The same, of which nothing is known before: a handshake then takes a tenth of the memory, where datagrams may be large.
pub(super) fn path_to(address: SocketAddr, choices: Choices, windows: &Windows) -> TransportConfig {
    let Choices { mtu, streams, congestion, .. } = choices;
    let carried = path::largest_datagram(address);
    let mut transport = settings::transport(mtu.map_or(carried, |mtu| mtu.min(carried)), windows.first());
    settings::kept_alive(&mut transport, keep_alive::PEERS.every, keep_alive::PEERS.patience);
    transport.congestion_controller_factory(congestion.factory());
    // What is to be sent waits where it can still be chosen, until it is known how fast it leaves.
    transport.max_concurrent_bidi_streams(streams.into()).send_window(windows::LEAST);
    transport
}
