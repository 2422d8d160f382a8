//! What trackers list, remembered for a moment: clients ask for the newest version again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::swarm::Swarm;

/// Longest wait for all of a tracker's list.
const ANSWER: Duration = Duration::from_secs(10);
/// Most pages of it that are read.
const PAGES: usize = 64;
/// It is asked for again after this time.
const KEPT: Duration = Duration::from_secs(5);

/// What the trackers of all swarms list. Those who ask for a list that is on its way wait for that one.
pub(crate) struct Listings(Vec<Mutex<Option<Arc<Listing>>>>);

/// What a tracker lists.
pub(crate) struct Listing {
    since: Instant,
    /// Names, newest first, and whether somebody has all of what is called so.
    pub(crate) names: Vec<(String, bool)>,
    /// Whether the tracker has answered to the end.
    pub(crate) is_whole: bool,
}

impl Listings {
    /// Of so many swarms.
    pub(crate) fn new(swarms: usize) -> Self {
        Listings((0..swarms).map(|_| Mutex::default()).collect())
    }

    /// What the tracker of this swarm, the one of that number, lists under names that are kept.
    pub(crate) async fn of(&self, number: usize, swarm: &Swarm, keep: fn(&str) -> bool) -> Arc<Listing> {
        let mut known = self.0[number].lock().await;
        match &*known {
            Some(listing) if listing.since.elapsed() < KEPT => listing.clone(),
            _ => known.insert(Arc::new(read(swarm, keep).await)).clone(),
        }
    }
}

/// What a swarm's tracker lists now.
async fn read(swarm: &Swarm, keep: fn(&str) -> bool) -> Listing {
    let (mut names, mut before, mut is_whole) = (Vec::new(), None, true);
    let end = Instant::now() + ANSWER;
    for _ in 0..PAGES {
        let Ok(Ok(page)) = timeout_at(end, swarm.node.list(before)).await else {
            is_whole = false;
            break;
        };
        let kept = page.contents.into_iter().filter(|found| keep(&found.name));
        names.extend(kept.map(|found| (found.name, found.seeders > 0)));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    Listing { since: Instant::now(), names, is_whole }
}
