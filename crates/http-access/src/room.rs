//! Which connections stay when there is room for so many: a newcomer gets in, and an old one ends instead.
//!
//! Connections on which nothing was answered yet go first, the oldest before others: who holds many open and says nothing, or does not
//! know the token, keeps nobody out. Then goes the oldest of the others: a page that looks on comes again by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// All connections of a listener.
#[derive(Debug)]
pub struct Room {
    most: usize,
    there: Mutex<There>,
}

#[derive(Debug, Default)]
struct There {
    next: u64,
    /// By whether something was answered, and by age.
    all: BTreeMap<(bool, u64), oneshot::Sender<()>>,
}

/// One connection: its place is free again when this is dropped.
#[derive(Debug)]
#[must_use = "its place is free again when this is dropped"]
pub struct Place {
    room: Arc<Room>,
    number: u64,
}

impl Room {
    /// Room for so many.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Room { most, there: Mutex::default() })
    }

    /// One has come. What is given with its place ends when it has to go.
    pub fn enter(self: &Arc<Self>) -> (Place, oneshot::Receiver<()>) {
        let (must_go, goes) = oneshot::channel();
        let mut there = self.there();
        if there.all.len() >= self.most {
            // Its receiver is told by the sender that is dropped.
            there.all.pop_first();
        }
        let number = there.next;
        there.next += 1;
        there.all.insert((false, number), must_go);
        (Place { room: self.clone(), number }, goes)
    }

    fn there(&self) -> MutexGuard<'_, There> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A request of it is answered.
    pub fn is_answered(&self) {
        let mut there = self.room.there();
        if let Some(must_go) = there.all.remove(&(false, self.number)) {
            there.all.insert((true, self.number), must_go);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut there = self.room.there();
        there.all.remove(&(false, self.number));
        there.all.remove(&(true, self.number));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn stays(goes: &mut oneshot::Receiver<()>) -> bool {
        goes.try_recv() == Err(TryRecvError::Empty)
    }

    #[test]
    fn who_asks_nothing_makes_room_first_and_then_the_oldest() {
        let room = Room::new(3);
        let (page, mut page_goes) = room.enter();
        page.is_answered();
        let (_idle, mut idle_goes) = room.enter();
        let (other, mut other_goes) = room.enter();
        let (third, mut third_goes) = room.enter();
        assert!(stays(&mut page_goes) && !stays(&mut idle_goes) && stays(&mut other_goes));
        other.is_answered();
        third.is_answered();
        let (_last, mut last_goes) = room.enter();
        assert!(!stays(&mut page_goes) && stays(&mut other_goes) && stays(&mut third_goes) && stays(&mut last_goes));
    }

    #[test]
    fn who_has_left_takes_no_room() {
        let room = Room::new(1);
        drop(room.enter());
        let (_there, mut goes) = room.enter();
        assert!(stays(&mut goes));
    }
}
