//! A content of a running service: what is saved of it, and its task, which is told what to do and shows how it stands.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::content::Wish;
use crate::control::{ContentStatus, Doing, Kind};
use crate::queue::{Candidate, StallTimer};
use crate::state::SavedContent;

/// A prefix of an id that is shorter means nothing.
const SHORTEST_PREFIX: usize = 4;

/// A content with its task.
pub(crate) struct Running {
    pub(crate) saved: SavedContent,
    pub(crate) wish: watch::Sender<Wish>,
    pub(crate) view: watch::Receiver<ContentStatus>,
    pub(crate) stall_timer: StallTimer,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    /// Its place in the queue.
    pub(crate) fn candidate(&mut self) -> Candidate {
        let view = self.view.borrow();
        let is_over = matches!(view.state, Doing::Failed | Doing::Sharing | Doing::Finishing);
        if self.saved.kind == Kind::Share || self.saved.paused || is_over || !self.saved.complete.is_empty() {
            return Candidate::Other;
        }
        if self.stall_timer.is_still(&view) { Candidate::Still } else { Candidate::Wants }
    }

    /// Has it go on, whatever went wrong before.
    pub(crate) fn go_on(&mut self) {
        self.wish.send_modify(|wish| wish.resumes += 1);
        self.stall_timer = StallTimer::new();
    }

    /// Has it replace different files until it is complete.
    pub(crate) fn replace_different(&mut self) {
        // What does so already goes on.
        if !self.saved.force {
            self.saved.replace_different();
            self.wish.send_modify(|wish| wish.forces += 1);
        }
    }

    /// Whether it is called so.
    pub(crate) fn is_called(&self, text: &str) -> bool {
        let view = self.view.borrow();
        [&view.name, &view.path, &view.ticket, &view.content, &self.saved.path].iter().any(|name| *name == text)
    }

    pub(crate) fn begins_with(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('…');
        prefix.len() >= SHORTEST_PREFIX && self.view.borrow().content.starts_with(&prefix.to_ascii_lowercase())
    }
}
