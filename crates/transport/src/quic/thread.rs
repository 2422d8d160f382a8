//! A thread with a runtime of its own for each endpoint: packets are built, encrypted and sent there, and never on the
//! thread that hashes and writes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The thread of one endpoint; it ends when it is stopped or this is dropped.
#[derive(Debug)]
pub(super) struct NetworkThread {
    pub(super) handle: Handle,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

impl NetworkThread {
    pub(super) fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, mut stopped) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        std::thread::Builder::new().name(format!("quic-{number}")).spawn(move || {
            // An error means that our owner is gone, which stops the thread too.
            let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
            drop(runtime); // the socket with it
            end.send_replace(true);
        })?;
        Ok(NetworkThread { handle, stop, ended })
    }

    /// Ends the thread and waits until it is gone; nothing that runs there waits for anyone.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// quinn's view of the thread.
    pub(super) fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(OnThread(self.handle.clone()))
    }
}

/// Runs quinn's tasks on one thread, whoever calls quinn.
#[derive(Debug)]
struct OnThread(Handle);

impl Runtime for OnThread {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _context = self.0.enter();
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(task);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _context = self.0.enter();
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
