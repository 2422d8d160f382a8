//! What an engine may use and how patient it is.

use std::time::Duration;

/// What an engine may use and how patient it is. Bytes and times; the defaults are for a trusted fleet.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of pieces in flight over all connections: asked for, and not come. What came and waits for its verdict is the
    /// shell's to bound.
    pub budget: u64,
    /// Most bytes of one request (at least one piece).
    pub request_bytes: u64,
    /// Most connections; fewer than that are dialled.
    pub connections: usize,
    /// Most serves at once over all connections, but for those of peers that each take one since their links are slow. One is enough
    /// where it fills the uplink.
    pub upload_slots: usize,
    /// Questions of one connection that may wait.
    pub questions_per_connection: usize,
    /// Wrong pieces after which a peer is shut out.
    pub wrong_pieces: u32,
    /// After this long without a byte, a request's pieces may be asked of others too.
    pub stall: Duration,
    /// After this long without a byte, a connection that owes us pieces is dropped.
    pub give_up: Duration,
    /// Haves are collected for this long.
    pub have_delay: Duration,
    /// Whether those who gave come before those who only take (tit for tat; Cohen 2003). In a trusted fleet it costs time
    /// and gains nothing.
    pub fair: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            budget: 32 << 20,
            request_bytes: 4 << 20,
            connections: 60,
            upload_slots: 16,
            questions_per_connection: 64,
            wrong_pieces: 3,
            stall: Duration::from_secs(2),
            give_up: Duration::from_secs(20),
            have_delay: Duration::from_millis(50),
            fair: false,
        }
    }
}
