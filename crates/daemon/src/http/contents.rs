//! Which contents have changed since somebody last looked. Of ten thousand contents that stand still nothing is copied: each tells by
//! a counter whether it has changed.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use tokio::sync::watch;

use super::shown::shown;
use crate::control::ContentStatus;
use crate::running::Running;

/// Contents that are said at once, at most.
const MOST: usize = 500;

/// What somebody was told of all contents.
#[derive(Default)]
pub(super) struct Contents {
    known: HashMap<u64, watch::Receiver<ContentStatus>>,
    /// In the order that was said.
    order: Vec<u64>,
    /// Where to look first: where there is too much, each has its turn.
    first: usize,
}

/// What is to be said.
#[derive(Debug, Serialize)]
pub(super) struct Changes {
    /// Those that are new or have changed.
    pub(super) contents: Vec<ContentStatus>,
    /// Numbers of those that are gone.
    pub(super) removed: Vec<u64>,
    /// Numbers of all, in the order in which they are downloaded, if that is another one than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<Vec<u64>>,
    /// How many there are.
    pub(super) total: usize,
    /// Whether more have changed than are said here.
    pub(super) sampled: bool,
    /// Whether some were never said so far.
    #[serde(skip)]
    pub(super) incomplete: bool,
}

impl Changes {
    /// Whether there is nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.removed.is_empty() && self.order.is_none()
    }
}

impl Contents {
    /// What has changed among all contents.
    pub(super) fn look(&mut self, all: &[Running], trusted: bool) -> Changes {
        let total = all.len();
        let numbers = all.iter().map(|content| content.saved.number);
        let mut removed = Vec::new();
        let mut order = None;
        if !numbers.clone().eq(self.order.iter().copied()) {
            let there: HashSet<u64> = numbers.clone().collect();
            removed = self.known.keys().copied().filter(|number| !there.contains(number)).collect();
            self.known.retain(|number, _| there.contains(number));
            self.order = numbers.collect();
            order = Some(self.order.clone());
        }
        let (mut contents, mut sampled) = (Vec::new(), false);
        let begin = if self.first < total { self.first } else { 0 };
        for place in (begin..total).chain(0..begin) {
            let content = &all[place];
            let view = self.known.get_mut(&content.saved.number);
            let is_new = view.is_none();
            let has_changed = view.as_ref().is_none_or(|view| view.has_changed().unwrap_or(false));
            if !has_changed {
                continue;
            }
            if contents.len() >= MOST {
                (sampled, self.first) = (true, place);
                break;
            }
            let now = match view {
                Some(view) => view.borrow_and_update().clone(),
                None => {
                    let mut view = content.view.clone();
                    let now = view.borrow_and_update().clone();
                    self.known.insert(content.saved.number, view);
                    now
                }
            };
            debug_assert!(is_new || now.number == content.saved.number);
            contents.push(shown(now, trusted));
        }
        Changes { contents, removed, order, total, sampled, incomplete: self.known.len() < total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Wish;
    use crate::queue::StallTimer;
    use crate::state::SavedContent;

    fn running(number: u64) -> (watch::Sender<ContentStatus>, Running) {
        let (tell, view) = watch::channel(ContentStatus { number, ..ContentStatus::default() });
        let saved = SavedContent { number, ..SavedContent::default() };
        let (wish, _) = watch::channel(Wish::default());
        let task = tokio::spawn(async {});
        (tell, Running { saved, wish, view, stall_timer: StallTimer::new(), task })
    }

    #[tokio::test]
    async fn ten_thousand_contents_are_said_in_parts_and_then_only_those_that_change() {
        let (tell, mut all): (Vec<_>, Vec<_>) = (0..10_000).map(running).unzip();
        let mut contents = Contents::default();
        let mut said = 0;
        loop {
            let changes = contents.look(&all, true);
            said += changes.contents.len();
            assert!(changes.contents.len() <= MOST && changes.total == 10_000);
            assert_eq!(changes.order.is_some(), said <= MOST);
            if !changes.incomplete {
                break;
            }
        }
        assert_eq!(said, 10_000);
        assert!(contents.look(&all, true).is_empty());
        tell[77].send_modify(|view| view.have += 1);
        let changes = contents.look(&all, true);
        assert_eq!(changes.contents.iter().map(|content| content.number).collect::<Vec<_>>(), [77]);
        all.swap(0, 9);
        all.remove(5);
        let changes = contents.look(&all, true);
        assert_eq!((changes.removed, changes.total, changes.contents.len()), (vec![5], 9999, 0));
        assert_eq!(changes.order.unwrap()[0], 9);
    }

    #[tokio::test]
    async fn where_all_change_all_the_time_each_has_its_turn() {
        let (tell, all): (Vec<_>, Vec<_>) = (0..1200).map(running).unzip();
        let mut contents = Contents::default();
        while contents.look(&all, true).incomplete {}
        let mut seen = HashSet::new();
        for _ in 0..3 {
            tell.iter().for_each(|tell| tell.send_modify(|view| view.have += 1));
            let changes = contents.look(&all, true);
            assert!(changes.sampled);
            seen.extend(changes.contents.iter().map(|content| content.number));
        }
        assert_eq!(seen.len(), 1200);
    }
}
