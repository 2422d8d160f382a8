//! What was said of downloads that run side by side: what holds up one of them often holds up the others, and is said once.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::session::patience::AGAIN;

/// Sentences of the last minute, without the names of downloads.
#[derive(Default)]
pub(super) struct Repeats(BTreeMap<String, Instant>);

impl Repeats {
    /// Whether this was not said of any of them for a while; from now on it was.
    pub(super) fn is_news(&mut self, now: Instant, words: &str) -> bool {
        self.0.retain(|_, when| now.saturating_duration_since(*when) < AGAIN);
        let is_news = !self.0.contains_key(words);
        if is_news {
            self.0.insert(words.to_owned(), now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sentence_is_said_of_one_download_and_again_after_a_while() {
        let (mut repeats, began) = (Repeats::default(), Instant::now());
        assert!(repeats.is_news(began, "a") && repeats.is_news(began, "b"));
        assert!(!repeats.is_news(began + AGAIN / 2, "a") && repeats.is_news(began + AGAIN, "a"));
    }
}
