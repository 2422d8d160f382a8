//! A connection of quinn's, as handles and streams of ours hold it together. When it has ended and nobody holds it any more, it is
//! forgotten soon.
//!
//! quinn keeps a closed connection for three timeouts, to say again that it is closed (RFC 9000, 10.2). A timeout is as long as the path,
//! and as the thread is late: while strangers connect and are closed again by the hundred, thousands of 60 KB would stand.

use std::ops::Deref;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// While an endpoint has no more connections than this, they are kept as long as quinn likes.
const FEW: usize = 64;
/// A closed connection is kept for at least this time, for three round trips on a longer path, and no longer than `LATEST`. Until then each
/// packet that still comes is answered with the close. After that the other side gets a stateless reset, which has no reason.
const FORGOTTEN: Duration = Duration::from_millis(500);
const ROUND_TRIPS: u32 = 3;
const LATEST: Duration = Duration::from_secs(2);

/// A connection that is held.
pub(super) struct Held {
    quinn: quinn::Connection,
    accepted: Option<Accepted>,
}

/// Of one that another side has begun: where it came, and the task that drives it, on which thread.
pub(super) struct Accepted {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) driver: AbortHandle,
    pub(super) thread: Handle,
}

impl Held {
    /// Nothing is `accepted` where this side has dialled: those are as few as we like.
    pub(super) fn new(quinn: quinn::Connection, accepted: Option<Accepted>) -> Self {
        Held { quinn, accepted }
    }
}

impl Deref for Held {
    type Target = quinn::Connection;
    fn deref(&self) -> &quinn::Connection {
        &self.quinn
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let has_ended = self.quinn.close_reason().is_some();
        if let Some(Accepted { endpoint, driver, thread }) = self.accepted.take()
            && has_ended
            && endpoint.open_connections() > FEW
        {
            let after = (ROUND_TRIPS * self.quinn.rtt()).clamp(FORGOTTEN, LATEST);
            thread.spawn(async move {
                sleep(after).await;
                driver.abort();
            });
        }
    }
}
