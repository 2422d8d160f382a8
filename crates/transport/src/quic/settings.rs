//! Every QUIC setting in one place, with its reason. The figures come from measurements over loopback on two cores.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};

/// Asked of the kernel for each socket, both ways. With the usual 208 KiB a burst overflows the buffer and is lost.
pub(crate) const SOCKET_BUFFER: usize = 4 << 20;
/// Bytes that one stream may have under way: enough for a piece at 10 Gbit/s and a millisecond, small enough that a
/// stream with holes stays below quinn's limit of 1,024 gaps.
const STREAM_WINDOW: u32 = 2 << 20;
/// What every path carries (RFC 9000, 14), in bytes of UDP payload.
const SMALLEST_MTU: u16 = 1200;
/// Bytes that may be under way to a tracker or from it, on each connection.
pub(crate) const STANDING_WINDOW: u32 = 64 << 10;
/// Streams that the other side may have open, if nothing else is said. quinn keeps an entry for every permitted one: 4,096
/// of them made an idle connection ten times as large.
pub(crate) const STREAMS: u32 = 100;
/// The largest datagram that UDP over IPv4 carries, in bytes. An endpoint takes all of them.
pub(crate) const LARGEST_DATAGRAM: u16 = 65_507;

/// Bytes that are kept of a connection whose handshake waits to be begun, and of all of these. Nothing but the first packet is due
/// before; quinn's own default lets strangers have 100 MB kept.
const KEPT_BEFORE: u64 = 16 << 10;
const KEPT_BEFORE_OF_ALL: u64 = 2 << 20;

/// The settings of a listener.
pub(crate) fn listener(server: &mut ServerConfig) {
    server.incoming_buffer_size(KEPT_BEFORE).incoming_buffer_size_total(KEPT_BEFORE_OF_ALL);
}

/// The settings of a connection over whose path datagrams of up to `mtu` bytes are tried, and on which so many bytes may
/// be under way in either direction until it is known what the path holds: then `windows.rs` sets it. quinn's own
/// default lets a connection take 250 MB.
pub(crate) fn transport(mtu: u16, window: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    searched(&mut transport, mtu);
    transport
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(window))
        .send_window(u64::from(window))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    transport
}

/// It is found out how large datagrams may be, up to this size.
pub(crate) fn searched(transport: &mut TransportConfig, mtu: u16) {
    let mut discovery = MtuDiscoveryConfig::default();
    // The search halves the range until this little is left: a path is known after some six round trips.
    discovery.upper_bound(mtu).minimum_change((mtu / 32).max(20));
    transport.mtu_discovery_config(Some(discovery));
}

/// How often something is said, and after how long without a word the other side is given up.
pub(crate) fn kept_alive(transport: &mut TransportConfig, every: Option<Duration>, patience: Duration) {
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(patience.as_millis() as u32))))
        .keep_alive_interval(every);
}

/// For a connection between a peer and a tracker: little is said on it, and quinn keeps a buffer for as many datagrams as it may send in one
/// call, and as much unread as a window grants.
pub(crate) fn standing() -> TransportConfig {
    let mut transport = transport(SMALLEST_MTU, STANDING_WINDOW);
    transport
        .enable_segmentation_offload(false)
        .mtu_discovery_config(None)
        .stream_receive_window(VarInt::from_u32(STANDING_WINDOW));
    transport
}

/// For a path that needs no search, which is the one within this machine: datagrams are as large as it carries from the
/// first on, and what is sent at once is what a socket's buffer takes. A file of 10 MiB is over before a search is.
pub(crate) fn known_path(transport: &mut TransportConfig, mtu: u16) {
    let mut congestion = CubicConfig::default();
    congestion.initial_window(SOCKET_BUFFER as u64 / 4);
    transport.initial_mtu(mtu).congestion_controller_factory(Arc::new(congestion));
}

/// What an endpoint needs to know.
pub(crate) fn endpoint() -> EndpointConfig {
    let mut endpoint = EndpointConfig::default();
    endpoint.max_udp_payload_size(LARGEST_DATAGRAM).expect("it is in range");
    endpoint
}
