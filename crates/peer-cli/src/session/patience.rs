//! How long a run waits for others: one time from its start, for all that comes before the first bytes.
//!
//! `--wait` bounds what a run waits for: the tracker's name and answer, someone who shares what is wanted, a connection to
//! them, the manifest, the first piece. Without it the tracker and someone who shares it must be there at once, and the rest is
//! waited for as long as it takes, with a sentence after a few seconds that says for what.

use std::time::{Duration, Instant};

/// After this long it is said what is waited for.
pub const SPEAK: Duration = Duration::from_secs(3);
/// The same sentence is said again after this long.
const AGAIN: Duration = Duration::from_secs(60);
/// No network answers in no time: less is not waited for what has to be there.
const LEAST: Duration = Duration::from_secs(1);
/// Longer than anyone waits, and still a time that clocks can tell.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What is left of `--wait`.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    began: Instant,
    wait: Option<Duration>,
}

impl Patience {
    /// From now on.
    pub fn new(wait: Option<Duration>) -> Self {
        Patience { began: Instant::now(), wait: wait.map(|wait| wait.min(FOR_EVER)) }
    }

    /// Whether something that is not there now may be waited for.
    pub fn waits(&self) -> bool {
        self.wait.is_some_and(|wait| self.began.elapsed() < wait)
    }

    /// How long one answer may take that otherwise takes `most`.
    pub fn bound(&self, most: Duration) -> Duration {
        self.wait.map_or(most, |wait| most.min(wait.max(LEAST).saturating_sub(self.began.elapsed())))
    }

    /// A pause between two tries, no longer than what is left.
    pub fn pause(&self, pause: Duration) -> Duration {
        self.bound(pause)
    }
}

/// Whether a download stands still, and what was said of that.
#[derive(Debug)]
pub struct Stillness {
    /// Since when nothing came.
    since: Instant,
    received: u64,
    /// Bytes of a manifest that is coming.
    manifest: u64,
    said: Option<(String, Instant)>,
}

impl Stillness {
    /// Nothing has come since then.
    pub fn since(then: Instant) -> Self {
        Stillness { since: then, received: 0, manifest: 0, said: None }
    }

    /// Takes a look, with so many bytes received in all: true if nothing has come for so long that something should be said, or be done.
    pub fn look(&mut self, now: Instant, received: u64, wait: Option<Duration>) -> bool {
        if received != self.received {
            self.received = received;
            self.excuse(now);
        }
        now - self.since >= SPEAK || self.is_over(now, wait)
    }

    /// Nobody else is to blame for what was waited for so far.
    pub fn excuse(&mut self, now: Instant) {
        (self.since, self.said) = (now, None);
    }

    /// So many bytes of a manifest have come: more than before are as good as those of pieces.
    pub fn manifest(&mut self, now: Instant, came: u64) {
        if came > self.manifest {
            self.manifest = came;
            self.excuse(now);
        }
    }

    /// Whether it has stood still for longer than it may.
    pub fn is_over(&self, now: Instant, wait: Option<Duration>) -> bool {
        wait.is_some_and(|wait| now - self.since >= wait.max(LEAST))
    }

    /// Whether to say this now: it is time, and it is news.
    pub fn speaks(&mut self, now: Instant, words: &str) -> bool {
        let stale = |(said, when): &(String, Instant)| said != words || now - *when >= AGAIN;
        let speaks = now - self.since >= SPEAK && self.said.as_ref().is_none_or(stale);
        if speaks {
            self.said = Some((words.to_owned(), now));
        }
        speaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_a_wait_nothing_absent_is_waited_for() {
        let patience = Patience::new(None);
        assert!(!patience.waits());
        assert_eq!(patience.bound(SECOND * 5), SECOND * 5);
        assert!(Patience::new(Some(Duration::MAX)).waits(), "longer than clocks can tell");
        let none = Patience::new(Some(Duration::ZERO));
        assert!(!none.waits() && none.bound(SECOND * 5) > Duration::ZERO, "what is there may answer");
    }

    #[test]
    fn one_wait_bounds_everything_before_the_first_byte() {
        let (began, wait) = (Instant::now(), Some(SECOND * 10));
        let mut still = Stillness::since(began);
        assert!(!still.look(began + SECOND, 0, wait));
        assert!(still.look(began + SECOND * 3, 0, wait));
        assert!(!still.is_over(began + SECOND * 9, wait) && still.is_over(began + SECOND * 10, wait));
        // Bytes flow: from then on each silence is bounded.
        assert!(!still.look(began + SECOND * 10, 1, wait));
        assert!(!still.is_over(began + SECOND * 19, wait) && still.is_over(began + SECOND * 20, wait));
        assert!(!still.is_over(began + SECOND * 1000, None));
        // So do those of a manifest, and no time counts that this machine needs for itself.
        still.manifest(began + SECOND * 20, 5);
        still.manifest(began + SECOND * 25, 5);
        assert!(still.is_over(began + SECOND * 30, wait));
        still.excuse(began + SECOND * 30);
        assert!(!still.is_over(began + SECOND * 31, wait));
    }

    #[test]
    fn a_sentence_is_said_after_three_seconds_and_not_over_and_over() {
        let began = Instant::now();
        let mut still = Stillness::since(began);
        assert!(!still.speaks(began + SECOND, "a"));
        assert!(still.speaks(began + SECOND * 3, "a"));
        assert!(!still.speaks(began + SECOND * 4, "a"));
        assert!(still.speaks(began + SECOND * 5, "b"), "it waits for something else");
        assert!(still.speaks(began + SECOND * 65, "b"));
    }
}
