//! What origins refuse, for a moment: clients ask again at once, and each try would be one more request to the origin.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Refusal;

/// Most files of them, and how long that is remembered.
const MOST: usize = 4096;
const REMEMBERED: Duration = Duration::from_secs(30);

/// Files that their origins refuse, by what they are called there: another origin may give the same file.
#[derive(Default)]
pub(super) struct Refusing(Mutex<HashMap<String, (Instant, Refusal)>>);

impl Refusing {
    /// An origin refuses a file.
    pub(super) fn add(&self, file: String, refusal: Refusal) {
        let (mut refusing, now) = (self.lock(), Instant::now());
        if refusing.len() >= MOST {
            refusing.retain(|_, (end, _)| *end > now);
        }
        if refusing.len() < MOST {
            refusing.insert(file, (now + REMEMBERED, refusal));
        }
    }

    /// What was said of it a moment ago.
    pub(super) fn of(&self, file: &str) -> Option<Refusal> {
        self.lock().get(file).filter(|(end, _)| *end > Instant::now()).map(|(_, refusal)| *refusal)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Refusal)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_origin_is_asked_again_after_a_moment() {
        let refusing = Refusing::default();
        refusing.add("hf://org/model@c/a".to_owned(), Refusal::Denied);
        assert_eq!(refusing.of("hf://org/model@c/a"), Some(Refusal::Denied));
        assert_eq!(refusing.of("hf://org/mirror@c/a"), None);
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(refusing.of("hf://org/model@c/a"), None);
    }
}
