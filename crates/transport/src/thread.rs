//! A thread with a runtime of its own for each endpoint: packets are built, encrypted and sent there, and never on the
//! thread that hashes and writes.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;

/// Nothing that runs on such a thread waits for anyone; but for a log that nobody reads it does.
pub(crate) const STANDSTILL: Duration = Duration::from_millis(500);

/// After so many steps of tasks, sockets and timers are looked at again, and tasks that have yielded go on. tokio's 61 are the steps of
/// many busy connections.
const SOCKETS_AFTER: u32 = 16;

/// The thread of one endpoint; it ends when it is stopped or this is dropped.
#[derive(Debug)]
pub(crate) struct NetworkThread {
    pub(crate) handle: Handle,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

impl NetworkThread {
    pub(crate) fn start(name: String) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().event_interval(SOCKETS_AFTER).build()?;
        let handle = runtime.handle().clone();
        let (stop, mut stopped) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        let (give, given) = std::sync::mpsc::channel::<Runtime>();
        let started = std::thread::Builder::new().name(name).spawn(move || {
            let Ok(runtime) = given.recv() else { return };
            // An error means that our owner is gone, which stops the thread too.
            let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
            drop(runtime); // the socket with it
            end.send_replace(true);
        });
        // A runtime must not be dropped where asynchronous code runs, as it may here: only a thread that is there is given it.
        if let Err(error) = started {
            runtime.shutdown_background();
            return Err(error);
        }
        let _ = give.send(runtime);
        Ok(NetworkThread { handle, stop, ended })
    }

    /// Ends the thread and waits until it is gone, unless it stands still.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let _ = timeout(STANDSTILL, self.ended.clone().wait_for(|ended| *ended)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if it waited for someone who reads a log.
    #[tokio::test]
    async fn a_thread_that_stands_still_holds_nobody_up() {
        let thread = NetworkThread::start("stuck".to_owned()).unwrap();
        let (free, held) = std::sync::mpsc::channel::<()>();
        let (entered, stands) = tokio::sync::oneshot::channel();
        thread.handle.spawn(async move {
            let _ = entered.send(());
            let _ = held.recv();
        });
        stands.await.unwrap();
        thread.stop().await;
        assert!(!*thread.ended.borrow());
        drop(free);
        thread.stop().await;
        assert!(*thread.ended.borrow());
    }
}
