//! Contents of a swarm that are not taken: those that were wrong, and for a while those that nobody brought.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peer::ContentId;
use tokio::time::Instant;

/// Most of them.
const MOST: usize = 4096;
/// What nobody brought is tried again after this time.
const SLOW: Duration = Duration::from_secs(300);
/// What was wrong stays so; it is forgotten all the same.
const WRONG: Duration = Duration::from_secs(86_400);

/// Contents that are not taken, and until when.
#[derive(Default)]
pub(super) struct Avoided(Mutex<HashMap<ContentId, Instant>>);

impl Avoided {
    /// It is not what its name says.
    pub(super) fn wrong(&self, content: ContentId) {
        self.add(content, WRONG);
    }

    /// Nobody has brought it.
    pub(super) fn slow(&self, content: ContentId) {
        self.add(content, SLOW);
    }

    /// Whether it is not taken.
    pub(super) fn has(&self, content: ContentId) -> bool {
        self.lock().get(&content).is_some_and(|end| *end > Instant::now())
    }

    fn add(&self, content: ContentId, time: Duration) {
        let mut avoided = self.lock();
        if avoided.len() >= MOST {
            avoided.retain(|_, end| *end > Instant::now());
        }
        if avoided.len() < MOST {
            avoided.insert(content, Instant::now() + time);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
