//! The crowds that are followed though nobody looks: the few contents that most peers get at this time. So a page that is opened late
//! shows them from their beginning.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracker::ContentId;

use super::look::{listed, observed};
use super::{Shared, crowd};

/// So many crowds are followed.
const RECORDED: usize = 4;
/// With those that were until now.
pub(super) const AT_ONCE: usize = 2 * RECORDED;
/// One that gets a content alone is no crowd.
const CROWD: u32 = 2;
/// Peers say at most once a second how far they are.
const APART: Duration = Duration::from_secs(1);
/// The contents are chosen anew at every such look.
const CHOSEN: u32 = 2;

/// Follows them for ever.
pub(super) async fn record(shared: Arc<Shared>) {
    let mut looks = interval(APART);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut contents, mut before, mut count) = (Vec::new(), Vec::new(), 0u32);
    loop {
        looks.tick().await;
        if count.is_multiple_of(CHOSEN) {
            before = std::mem::replace(&mut contents, largest(&shared).await);
        }
        count = count.wrapping_add(1);
        // Those that are no crowds any more are looked at a last time: their peers may all be done.
        for &content in contents.iter().chain(before.iter().filter(|content| !contents.contains(content))) {
            follow(&shared, content).await;
        }
    }
}

/// The contents that most peers get.
async fn largest(shared: &Shared) -> Vec<ContentId> {
    let found = listed(shared).await.into_iter();
    let mut crowds: Vec<_> = found.filter(|found| found.downloaders >= CROWD).collect();
    crowds.sort_by_key(|found| (std::cmp::Reverse(found.downloaders), found.content));
    crowds.truncate(RECORDED);
    crowds.into_iter().map(|found| found.content).collect()
}

async fn follow(shared: &Shared, content: ContentId) {
    let peers: Vec<_> = observed(shared, content).await.into_iter().map(|observed| observed.peer).collect();
    let size = shared.server.about(content).map_or(0, |about| about.size);
    shared.with_crowd(content, |crowd: &mut crowd::Crowd, now| crowd.look(now, &peers, size));
}
