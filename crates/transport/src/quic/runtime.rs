//! quinn's view of an endpoint's thread.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Runs quinn's tasks on one thread, no matter which thread calls quinn.
#[derive(Debug)]
pub(super) struct OnThread(pub(super) Handle);

impl Runtime for OnThread {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _context = self.0.enter();
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let task = self.0.spawn(task).abort_handle();
        LATEST.with_borrow_mut(|latest| *latest = Some(task));
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
    /// The task that quinn started last from this thread.
    static LATEST: RefCell<Option<AbortHandle>> = const { RefCell::new(None) };
}

/// Has a connection begun, and gives the task that drives it. To abort that is to forget the connection at once, once all
/// handles of it are gone, too: a close would be kept for three timeouts (RFC 9000, 10.2).
pub(super) fn driver_of<T>(begin: impl FnOnce() -> T) -> (T, Option<AbortHandle>) {
    LATEST.take();
    let begun = begin();
    (begun, LATEST.take())
}
