//! Downloads that were begun to look for something. They go again if nothing comes of them, and only some run at once: anyone may share
//! any number of contents under a name in an open swarm.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peer::{ContentId, State, Status};
use tokio::sync::watch;

use super::is_over;

/// Most of them that run at once. What else is wanted comes from its origin.
const MOST: usize = 64;

/// Those that are not complete yet.
#[derive(Default)]
pub(super) struct Begun(Mutex<HashMap<ContentId, watch::Receiver<Status>>>);

impl Begun {
    /// Whether another one may be begun.
    pub(super) fn has_room(&self) -> bool {
        let mut begun = self.lock();
        begun.retain(|_, status| {
            let state = &status.borrow().state;
            !is_over(state) && !matches!(state, State::Complete)
        });
        begun.len() < MOST
    }

    pub(super) fn add(&self, content: ContentId, status: watch::Receiver<Status>) {
        self.lock().insert(content, status);
    }

    /// Forgets one. Whether it was begun for this, and not by somebody who wants all of it.
    pub(super) fn take(&self, content: ContentId) -> bool {
        self.lock().remove(&content).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, watch::Receiver<Status>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
