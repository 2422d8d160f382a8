//! Somebody watches a content: those who take part are asked how they stand, and what they say is kept for a while.
//!
//! Nobody is asked unless somebody watches, and nobody again before what it said is old. How many are asked in a second is
//! bounded, whatever is watched, and so is what each may say.

use std::time::Duration;

use protocol::{PeerProgress, REPORT_SECONDS};
use tokio::time::Instant;

/// What a peer says is old after this time.
const OLD: Duration = Duration::from_secs(REPORT_SECONDS);
/// A peer that still has so long to report is not asked again.
const EARLY: Duration = Duration::from_secs(REPORT_SECONDS / 2);
/// Peers that are asked in a second, at most.
const A_SECOND: f64 = 500.0;

/// How many may be asked.
pub(crate) struct Asking {
    left: f64,
    since: Instant,
}

impl Default for Asking {
    fn default() -> Self {
        Asking { left: A_SECOND, since: Instant::now() }
    }
}

impl Asking {
    /// Whether one more may be asked now.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        self.left = A_SECOND.min(self.left + A_SECOND * now.duration_since(self.since).as_secs_f64());
        self.since = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

/// What is known of how a member stands.
#[derive(Default)]
pub(crate) struct Watched {
    asked: Option<Instant>,
    said: Option<(Instant, Box<PeerProgress>)>,
}

impl Watched {
    /// Whether it is to be asked, since somebody watches now. It counts as asked then.
    pub(crate) fn ask(&mut self, now: Instant, asking: &mut Asking) -> bool {
        let is_early = self.asked.is_some_and(|asked| now.duration_since(asked) < EARLY);
        let asks = !is_early && asking.spend(now);
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// It says how it stands. False if nobody has asked lately: then it is not kept.
    pub(crate) fn say(&mut self, now: Instant, progress: PeerProgress) -> bool {
        // What it says last is on its way when it stops.
        let was_asked = self.asked.is_some_and(|asked| now.duration_since(asked) < OLD + EARLY);
        self.said = was_asked.then(|| (now, Box::new(progress)));
        was_asked
    }

    /// How it stands, if it has said so lately.
    pub(crate) fn progress(&self, now: Instant) -> Option<PeerProgress> {
        let (when, progress) = self.said.as_ref()?;
        (now.duration_since(*when) < OLD).then(|| (**progress).clone())
    }

    /// Whether anything that it said is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.said.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(have: u32) -> PeerProgress {
        PeerProgress { have, ..PeerProgress::default() }
    }

    #[test]
    fn what_nobody_asked_for_is_not_kept_and_what_was_said_gets_old() {
        let (mut watched, mut asking, now) = (Watched::default(), Asking::default(), Instant::now());
        assert!(!watched.say(now, progress(1)) && !watched.keeps());
        assert!(watched.ask(now, &mut asking) && !watched.ask(now + EARLY / 2, &mut asking));
        assert!(watched.say(now, progress(2)));
        assert_eq!(watched.progress(now).unwrap().have, 2);
        assert!(watched.ask(now + EARLY, &mut asking));
        assert_eq!(watched.progress(now + OLD), None);
        assert!(!watched.say(now + OLD * 3, progress(3)) && !watched.keeps());
    }

    #[test]
    fn however_much_is_watched_so_many_are_asked_in_a_second() {
        let (mut asking, now) = (Asking::default(), Instant::now());
        let asked = |asking: &mut Asking, now| (0..10_000).filter(|_| asking.spend(now)).count();
        assert_eq!(asked(&mut asking, now), 500);
        assert_eq!(asked(&mut asking, now + Duration::from_secs(60)), 500);
    }
}
