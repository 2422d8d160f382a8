//! Whether the tracker is still there, asked more often than the connection asks by itself, while something is waited for.
//!
//! A tracker keeps thousands of connections, most of them of peers that want nothing: those may find out after a while that it is gone.
//! Who downloads, or has asked something, is to find out within seconds.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// It is asked this often.
const EVERY: Duration = Duration::from_secs(2);
/// And is gone when it was silent for so many of these times in a row: within eight seconds and the start of the next time.
const SILENT: u32 = 4;

/// What is known of one connection.
pub(super) struct Liveness {
    look: Interval,
    /// Bytes that were received until the last look.
    received: u64,
    /// Times that it was asked and nothing has come since.
    silent: u32,
}

/// What a look leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing is waited for.
    Rest,
    /// The tracker is to be asked.
    Ask,
    /// It is gone.
    Gone,
}

impl Liveness {
    pub(super) fn new() -> Self {
        let mut look = interval(EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Liveness { look, received: 0, silent: 0 }
    }

    /// Waits for the time of the next look. May be dropped before.
    pub(super) async fn due(&mut self) {
        self.look.tick().await;
    }

    /// Looks, when so many bytes were received in all, and something is waited for or not.
    pub(super) fn look(&mut self, received: u64, waits: bool) -> Look {
        if !waits || received != self.received {
            self.silent = 0;
        }
        self.received = received;
        match (waits, self.silent) {
            (false, _) => Look::Rest,
            (true, SILENT..) => Look::Gone,
            (true, _) => {
                self.silent += 1;
                Look::Ask
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::PeerId;
    use tokio::time::Instant;
    use transport::{Connection, MemoryNetwork, Transport};

    use super::*;

    /// How long it takes until the tracker is found gone; nothing if it is not within a minute. Without a connection nothing comes.
    async fn gone_after(connection: Option<&dyn Connection>, waits: bool) -> Option<Duration> {
        let (began, mut liveness) = (Instant::now(), Liveness::new());
        while began.elapsed() < Duration::from_secs(60) {
            liveness.due().await;
            let received = connection.map_or(0, |connection| connection.stats().received);
            match (liveness.look(received, waits), connection) {
                (Look::Gone, _) => return Some(began.elapsed()),
                (Look::Ask, Some(connection)) => connection.ping(),
                (Look::Ask, None) | (Look::Rest, _) => {}
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
        assert_eq!(gone_after(Some(&*dialled), true).await, None, "it answers");
        let received = dialled.stats().received;
        assert_eq!(gone_after(Some(&*dialled), false).await, None);
        assert_eq!(dialled.stats().received, received, "nothing was asked");
        assert_eq!(gone_after(None, true).await, Some(Duration::from_secs(8)));
        assert_eq!(gone_after(None, false).await, None);
    }
}
