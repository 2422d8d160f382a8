//! Why a tracker refuses something: a few short sentences are told, however many it says, and however long they are.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// Most characters of a reason.
const LONGEST: usize = 200;
/// Most reasons that are told at once, each once; and the time after which they may be told again.
const REASONS: usize = 8;
const AGAIN: Duration = Duration::from_secs(60);
/// Most refusals in a session. A tracker that says more than this has nothing else to say.
const MOST: u32 = 1000;

/// The reason, if it is not too long, or its beginning.
pub(super) fn shortened(reason: String) -> String {
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &reason[..end]),
        None => reason,
    }
}

/// What a tracker has refused, in all sessions with it.
#[derive(Default)]
pub(super) struct Refusals {
    told: BTreeSet<String>,
    since: Option<Instant>,
    /// How often in this session.
    count: u32,
}

impl Refusals {
    /// A session begins.
    pub(super) fn begin(&mut self) {
        self.count = 0;
    }

    /// It refuses something. The reason, if it is to be told.
    pub(super) fn one_more(&mut self, reason: String) -> Option<String> {
        self.count += 1;
        let now = Instant::now();
        if self.since.is_none_or(|since| now - since >= AGAIN) {
            self.told.clear();
        }
        let reason = shortened(reason);
        if self.told.len() >= REASONS || !self.told.insert(reason.clone()) {
            return None;
        }
        self.since = Some(now);
        Some(reason)
    }

    /// Whether the session is to end.
    pub(super) fn are_too_many(&self) -> bool {
        self.count > MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_short_reasons_are_told_of_a_tracker_that_refuses_without_end() {
        let mut refusals = Refusals::default();
        let mut told = Vec::new();
        for session in 0..10 {
            refusals.begin();
            told.extend(
                (0..=MOST).filter_map(|number| refusals.one_more(format!("{session} {number} {}", "é".repeat(60_000)))),
            );
            assert!(refusals.are_too_many());
        }
        assert_eq!(told.len(), REASONS);
        assert!(told.iter().all(|reason| reason.chars().count() == LONGEST + 2));
        tokio::time::advance(AGAIN).await;
        assert_eq!(refusals.one_more("no".to_owned()).as_deref(), Some("no"));
        assert_eq!(refusals.one_more("no".to_owned()), None);
    }
}
