//! How many connections there are at once, and which one ends where there is no room: the oldest on which nothing was answered yet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// One in this many connections may be open without an answered request.
const STRANGERS: usize = 4;

/// Where connections come in.
#[derive(Debug)]
pub(crate) struct Doors {
    room: Arc<Semaphore>,
    most_strangers: usize,
    strangers: Mutex<Strangers>,
}

/// Connections that have not been let in, by their numbers, the oldest first.
#[derive(Debug, Default)]
struct Strangers {
    next: u64,
    there: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A connection, as its requests know it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The address that was dialled.
    pub(crate) dialled: SocketAddr,
    number: u64,
    doors: Arc<Doors>,
    _room: OwnedSemaphorePermit,
}

impl Doors {
    /// Room for so many connections.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let most_strangers = (most / STRANGERS).max(1);
        Arc::new(Doors { room: Arc::new(Semaphore::new(most)), most_strangers, strangers: Mutex::default() })
    }

    /// Waits until one more may come.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().acquire_owned().await.ok()
    }

    /// Whether no more may come.
    pub(crate) fn are_full(&self) -> bool {
        self.room.available_permits() == 0
    }

    /// One has come. What is given with it ends when it must go.
    pub(crate) fn enter(
        self: &Arc<Self>,
        room: OwnedSemaphorePermit,
        dialled: SocketAddr,
    ) -> (Arc<Connection>, oneshot::Receiver<()>) {
        let (must_go, goes) = oneshot::channel();
        let mut strangers = self.strangers();
        let number = strangers.next;
        strangers.next += 1;
        strangers.there.insert(number, must_go);
        if strangers.there.len() > self.most_strangers
            && let Some((_, must_go)) = strangers.there.pop_first()
        {
            let _ = must_go.send(());
        }
        (Arc::new(Connection { dialled, number, doors: self.clone(), _room: room }), goes)
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// It may stay: one of its requests is answered.
    pub(crate) fn is_let_in(&self) {
        self.doors.strangers().there.remove(&self.number);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.is_let_in();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_that_was_not_let_in_goes() {
        let doors = Doors::new(8);
        let enter = async || doors.enter(doors.room().await.unwrap(), "127.0.0.1:1".parse().unwrap());
        let (known, mut stays) = enter().await;
        known.is_let_in();
        let ((_silent, goes), (_other, mut also_stays)) = (enter().await, enter().await);
        let _newest = enter().await;
        goes.await.unwrap();
        assert!(stays.try_recv().is_err() && also_stays.try_recv().is_err());
        assert!(!doors.are_full());
    }
}
