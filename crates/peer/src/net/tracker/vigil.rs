//! Whether the tracker is still there, asked more often than the connection asks by itself, while something is waited for.
//!
//! A tracker keeps thousands of connections, most of them of peers that want nothing: those may find out after a while that it is gone.
//! Who downloads, or has asked something, is to find out within seconds.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use transport::Connection;

/// It is asked this often.
const EVERY: Duration = Duration::from_secs(2);
/// And is gone when it was silent for so many of these times in a row: within eight seconds and the start of the next time.
const SILENT: u32 = 4;

/// What is known of one connection.
pub(super) struct Vigil {
    look: Interval,
    /// Bytes that were received until the last look.
    received: u64,
    /// Times that it was asked and nothing has come since.
    silent: u32,
}

impl Vigil {
    pub(super) fn new() -> Self {
        let mut look = interval(EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Vigil { look, received: 0, silent: 0 }
    }

    /// Waits for the time of the next look. May be dropped before.
    pub(super) async fn due(&mut self) {
        self.look.tick().await;
    }

    /// Asks, if something is waited for. False if the tracker is gone.
    pub(super) fn look(&mut self, connection: &dyn Connection, waits: bool) -> bool {
        let received = connection.stats().received;
        if !waits || received != self.received {
            self.silent = 0;
        }
        self.received = received;
        if waits {
            if self.silent >= SILENT {
                return false;
            }
            self.silent += 1;
            connection.ping();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::PeerId;
    use tokio::time::Instant;
    use transport::{BoxFuture, LinkStats, MemoryNetwork, Stream, Transport, TransportError};

    use super::*;

    /// A connection over which nothing comes any more.
    struct Dead(Arc<dyn Connection>);

    impl Connection for Dead {
        fn peer_id(&self) -> PeerId {
            self.0.peer_id()
        }
        fn transport(&self) -> &'static str {
            self.0.transport()
        }
        fn remote_addr(&self) -> std::net::SocketAddr {
            self.0.remote_addr()
        }
        fn exporter(&self, label: &str) -> Result<[u8; 32], TransportError> {
            self.0.exporter(label)
        }
        fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
            self.0.open()
        }
        fn accept(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
            self.0.accept()
        }
        fn spawn(&self, task: BoxFuture<'static, ()>) -> tokio::task::JoinHandle<()> {
            self.0.spawn(task)
        }
        fn stats(&self) -> LinkStats {
            LinkStats::default()
        }
        fn ping(&self) {}
        fn close(&self, code: u32, reason: &str) {
            self.0.close(code, reason);
        }
        fn closed(&self) -> BoxFuture<'_, TransportError> {
            self.0.closed()
        }
    }

    /// How long it takes until the tracker is found gone; nothing if it is not within a minute.
    async fn gone_after(connection: &dyn Connection, waits: bool) -> Option<Duration> {
        let (began, mut vigil) = (Instant::now(), Vigil::new());
        while began.elapsed() < Duration::from_secs(60) {
            vigil.due().await;
            if !vigil.look(connection, waits) {
                return Some(began.elapsed());
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_finds_out_within_seconds_and_nobody_else_asks() {
        let network = MemoryNetwork::new();
        let bind = |id: &[u8], at: &str| network.bind(PeerId::of_public_key(id), vec![at.parse().unwrap()]).unwrap();
        let (peer, tracker) = (bind(b"peer", "10.0.0.1:1"), bind(b"tracker", "10.0.0.2:1"));
        let (dialled, _accepted) = tokio::join!(peer.dial(tracker.listeners()[0], tracker.peer_id()), tracker.accept());
        let dialled = dialled.unwrap();
        assert_eq!(gone_after(&*dialled, true).await, None, "it answers");
        let received = dialled.stats().received;
        assert_eq!(gone_after(&*dialled, false).await, None);
        assert_eq!(dialled.stats().received, received, "nothing was asked");
        let dead = Dead(dialled);
        assert_eq!(gone_after(&dead, true).await, Some(Duration::from_secs(8)));
        assert_eq!(gone_after(&dead, false).await, None);
    }
}
