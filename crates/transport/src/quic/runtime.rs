//! quinn's view of an endpoint's thread.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::turns::in_turns_until;

/// Runs quinn's tasks on one thread, no matter which thread calls quinn.
#[derive(Debug)]
pub(super) struct OnThread(pub(super) Handle);

impl Runtime for OnThread {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _context = self.0.enter();
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        match SHAKES_HANDS.take() {
            Some(over) => {
                let over = async move { drop(over.await) };
                let task = self.0.spawn(in_turns_until(task, over)).abort_handle();
                DRIVER.set(Some(task));
            }
            None => drop(self.0.spawn(task)),
        }
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _context = self.0.enter();
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

thread_local! {
    /// Ends with the handshake of the connection that is begun on this thread right now.
    static SHAKES_HANDS: Cell<Option<oneshot::Receiver<()>>> = const { Cell::new(None) };
    /// The task that drives it.
    static DRIVER: Cell<Option<AbortHandle>> = const { Cell::new(None) };
}

/// Has a connection begun whose handshake is still to come: its steps take turns with those of others for as long as what is given
/// last is there. Gives the task that drives it, too: to abort that is to forget the connection at once, once all handles of it
/// are gone; a close would be kept for three timeouts (RFC 9000, 10.2).
pub(super) fn driver_of<T>(begin: impl FnOnce() -> T) -> (T, Option<AbortHandle>, oneshot::Sender<()>) {
    let (shakes_hands, over) = oneshot::channel();
    SHAKES_HANDS.set(Some(over));
    let begun = begin();
    SHAKES_HANDS.take();
    (begun, DRIVER.take(), shakes_hands)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::yield_now;

    use super::*;
    use crate::turns::turn;

    #[tokio::test]
    async fn a_connection_takes_turns_while_it_shakes_hands() {
        let steps = Arc::new(AtomicUsize::new(0));
        let counted = steps.clone();
        let task = async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        };
        let runtime = OnThread(Handle::current());
        let held = turn().await;
        let ((), driver, shakes_hands) = driver_of(|| runtime.spawn(Box::pin(task)));
        yield_now().await;
        assert_eq!(steps.load(Ordering::Relaxed), 0, "another has its turn");
        drop(held);
        while steps.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        let _held = turn().await;
        drop(shakes_hands);
        let before = steps.load(Ordering::Relaxed);
        while steps.load(Ordering::Relaxed) < before + 10 {
            yield_now().await;
        }
        driver.unwrap().abort();
    }
}
