//! What the log says of a content that stands still: each reason once, however often it is tried again, and once that it goes on.

use crate::control::{ContentStatus, Doing, Kind};

/// What the log said last of a content.
#[derive(Debug, Default)]
pub(super) struct TroubleLog {
    /// Why it stands still; nothing if it goes on.
    reason: Option<String>,
}

/// What is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Stopped,
    GoesOn,
}

impl TroubleLog {
    /// Logs what is new.
    pub(super) fn log(&mut self, view: &ContentStatus) {
        let Some(change) = self.change(view) else { return };
        let ContentStatus { number, path, reason, .. } = view;
        match (change, view.kind) {
            (Change::GoesOn, _) => tracing::info!(number, path, "a content goes on"),
            (Change::Stopped, Kind::Share) => tracing::warn!(number, path, reason, "a content is not shared"),
            (Change::Stopped, Kind::Download) => tracing::warn!(number, path, reason, "a download has failed"),
        }
    }

    fn change(&mut self, view: &ContentStatus) -> Option<Change> {
        match view.state {
            Doing::Failed => self.stopped(&view.reason),
            // What was shared is gone, or was changed.
            Doing::Waiting if view.kind == Kind::Share && !view.reason.is_empty() => self.stopped(&view.reason),
            Doing::Downloading | Doing::Finishing | Doing::Sharing => self.reason.take().map(|_| Change::GoesOn),
            _ => None,
        }
    }

    fn stopped(&mut self, reason: &str) -> Option<Change> {
        let is_new = self.reason.as_deref() != Some(reason);
        self.reason = Some(reason.to_owned());
        is_new.then_some(Change::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(kind: Kind, state: Doing, reason: &str) -> ContentStatus {
        ContentStatus { kind, state, reason: reason.to_owned(), ..ContentStatus::default() }
    }

    #[test]
    fn each_reason_is_logged_once_until_it_goes_on() {
        let mut log = TroubleLog::default();
        let mut change = |state, reason| log.change(&view(Kind::Share, state, reason));
        assert_eq!(change(Doing::Sharing, ""), None);
        assert_eq!(change(Doing::Waiting, "changed"), Some(Change::Stopped));
        for _ in 0..3 {
            assert_eq!(change(Doing::Hashing, ""), None);
            assert_eq!(change(Doing::Waiting, ""), None);
            assert_eq!(change(Doing::Waiting, "changed"), None);
        }
        assert_eq!(change(Doing::Failed, "gone"), Some(Change::Stopped));
        assert_eq!(change(Doing::Paused, ""), None);
        assert_eq!(change(Doing::Failed, "gone"), None);
        assert_eq!(change(Doing::Sharing, "the tracker does not answer"), Some(Change::GoesOn));
        assert_eq!(change(Doing::Failed, "gone"), Some(Change::Stopped));
    }

    #[test]
    fn a_download_that_waits_is_no_trouble() {
        let mut log = TroubleLog::default();
        let mut change = |state, reason| log.change(&view(Kind::Download, state, reason));
        assert_eq!(change(Doing::Waiting, "the tracker does not answer"), None);
        assert_eq!(change(Doing::Failed, "full"), Some(Change::Stopped));
        assert_eq!(change(Doing::Checking, ""), None);
        assert_eq!(change(Doing::Downloading, ""), Some(Change::GoesOn));
    }
}
