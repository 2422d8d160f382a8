//! What waits for the thread that watches files: orders of the node, and what the system told.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, Weak};

use protocol::ContentId;

use super::signs::Signs;
use crate::disk::content::ContentStore;
use crate::disk::file_state::WatchedFile;
use crate::lock::lock;

/// What waits for the thread.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) orders: Mutex<Orders>,
    pub(super) wake: Condvar,
}

#[derive(Default)]
pub(super) struct Orders {
    pub(super) queue: VecDeque<Order>,
    pub(super) signs: Signs,
    pub(super) stop: bool,
}

pub(super) enum Order {
    Add(Weak<ContentStore>, ContentId, Vec<WatchedFile>),
    Remove(ContentId),
}

impl Desk {
    pub(super) fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut lock(&self.orders));
        self.wake.notify_one();
    }
}
