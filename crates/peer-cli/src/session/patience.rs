//! How long a run waits for others: one time from its start, for all that comes before the first bytes.
//!
//! `--wait` bounds what a run waits for: the tracker's name and answer, someone who shares what is wanted, a connection to
//! them, the manifest, the first piece. Without it the tracker and someone who shares it must be there at once, and the rest is
//! waited for as long as it takes, with a sentence after a few seconds that says for what, and for how long.
//!
//! Time in which the program does not run is no time in which anyone could answer: a job that is stopped (Ctrl-Z), or a machine
//! that sleeps, goes on waiting where it was. So all of it is counted by a clock of its own, [`now`].

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// After this long it is said what is waited for.
pub const SPEAK: Duration = Duration::from_secs(3);
/// Longest time for one try to reach the tracker, and for the name servers to say where it is.
pub const ONE_TRY: Duration = Duration::from_secs(10);
/// Time between two tries.
pub const TRY_AGAIN: Duration = Duration::from_millis(500);
/// The same sentence is said again after this long.
pub const AGAIN: Duration = Duration::from_secs(60);
/// No network answers in no time: less is not waited for what has to be there.
const LEAST: Duration = Duration::from_secs(1);
/// Longer than anyone waits, and still a time that clocks can tell.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Time between two looks at the clock, and after how long without one the program did not run.
const PULSE: Duration = Duration::from_millis(500);
const AWAY: Duration = Duration::from_secs(3);

/// A clock that stands while the program does not run.
#[derive(Debug)]
struct Clock {
    last: Instant,
    /// For how long it stood.
    stood: Duration,
}

impl Clock {
    /// The time, given what the system says.
    fn at(&mut self, real: Instant) -> Instant {
        let passed = real.saturating_duration_since(self.last);
        if passed >= AWAY {
            self.stood += passed;
        }
        self.last = self.last.max(real);
        self.last - self.stood
    }
}

static CLOCK: Mutex<Option<Clock>> = Mutex::new(None);

/// The time, without that in which the program was stopped or its machine slept. Only [`keep_time`] notices that it was.
pub fn now() -> Instant {
    let real = Instant::now();
    lock(&CLOCK).as_mut().map_or(real, |clock| clock.at(real))
}

/// Looks at the clock again and again, in the background.
pub fn keep_time() {
    let mut clock = lock(&CLOCK);
    if clock.is_none() {
        *clock = Some(Clock { last: Instant::now(), stood: Duration::ZERO });
        tokio::spawn(async {
            loop {
                tokio::time::sleep(PULSE).await;
                now();
            }
        });
    }
}

/// What is left of `--wait`.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    began: Instant,
    wait: Option<Duration>,
}

impl Patience {
    /// From now on.
    pub fn new(wait: Option<Duration>) -> Self {
        Patience { began: now(), wait: wait.map(|wait| wait.min(FOR_EVER)) }
    }

    /// Whether something that is not there now may be waited for.
    pub fn waits(&self) -> bool {
        self.wait.is_some_and(|wait| self.elapsed() < wait)
    }

    /// How long one answer may take that otherwise takes `most`.
    pub fn bound(&self, most: Duration) -> Duration {
        self.wait.map_or(most, |wait| most.min(wait.max(LEAST).saturating_sub(self.elapsed())))
    }

    fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.began)
    }

    /// The end of what [`Self::bound`] allows, in words.
    pub fn at_most(&self, most: Duration) -> String {
        format!("for {} at most", self.wait.map_or_else(|| shown(most), least))
    }

    /// A pause between two tries, no longer than what is left.
    pub fn pause(&self, pause: Duration) -> Duration {
        self.bound(pause)
    }
}

/// A time in words, without what nobody wants to know.
pub fn shown(time: Duration) -> String {
    if time >= FOR_EVER {
        return "100 years".to_owned();
    }
    let tenths = (time.as_millis() as u64 + 50) / 100;
    humantime::format_duration(Duration::from_millis(tenths * 100)).to_string()
}

/// What is said while a file is waited for that is to be hashed and is being written to.
pub fn still_written_words(path: &Path, most: Duration) -> String {
    format!("{} is being written to: waiting until that is over, for {} at most.", path.display(), shown(most))
}

/// A `--wait` in words, as it counts.
pub fn least(wait: Duration) -> String {
    shown(wait.max(LEAST))
}

/// How long a wait is that `--wait` bounds, as the rest of a sentence.
pub fn how_long(wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("for {} at most", least(wait)),
        None => "as long as it takes; --wait sets an end".to_owned(),
    }
}

/// Whether a download stands still, and what was said of that.
#[derive(Debug)]
pub struct Stillness {
    /// Since when nothing came, and since when somebody else is to blame for that.
    since: Instant,
    counted: Instant,
    /// Whether this machine needed the time for itself at the last look.
    busy: bool,
    received: u64,
    /// Bytes of a manifest that is coming.
    manifest: u64,
    said: Option<(String, Instant)>,
}

impl Stillness {
    /// Nothing has come since then.
    pub fn since(then: Instant) -> Self {
        Stillness { since: then, counted: then, busy: false, received: 0, manifest: 0, said: None }
    }

    /// What is waited for has begun just now. The time before counts, but it was spoken of then.
    pub fn begun(mut self, now: Instant) -> Self {
        self.since = now;
        self
    }

    /// Takes a look, with so many bytes received in all: true if nothing has come for so long that something should be said, or be done.
    pub fn look(&mut self, now: Instant, received: u64, wait: Option<Duration>) -> bool {
        if received != self.received {
            self.received = received;
            self.excuse(now);
        }
        now - self.since >= SPEAK || self.is_over(now, wait)
    }

    /// Whether something came a moment ago.
    pub fn is_moving(&self, now: Instant) -> bool {
        self.received > 0 && now.saturating_duration_since(self.since) < SPEAK
    }

    /// Restarts the time: the wait so far was caused by this machine.
    pub fn excuse(&mut self, now: Instant) {
        (self.since, self.counted, self.said) = (now, now, None);
    }

    /// Whether this machine needs the time for itself now: however long it takes, that counts against nobody.
    pub fn is_busy(&mut self, now: Instant, busy: bool) {
        if self.busy && !busy {
            self.excuse(now);
        }
        (self.counted, self.busy) = (if busy { now } else { self.counted }, busy);
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
        wait.is_some_and(|wait| now - self.counted >= wait.max(LEAST))
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
    fn time_in_which_the_program_is_stopped_does_not_count() {
        let real = Instant::now();
        let mut clock = Clock { last: real, stood: Duration::ZERO };
        let mut at = |seconds: u32| (clock.at(real + SECOND * seconds) - real).as_secs();
        assert_eq!([at(1), at(2), at(4)], [1, 2, 4]);
        assert_eq!([at(3604), at(3605), at(3606)], [4, 5, 6], "an hour with Ctrl-Z");
        assert_eq!(at(3606), 6, "nor does it go back");
    }

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
        let late = Stillness::since(began).begun(began + SECOND * 9);
        assert!(late.is_over(began + SECOND * 10, wait), "what came before it counts");
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
    fn a_busy_machine_says_so_and_gives_nothing_up() {
        let (began, wait) = (Instant::now(), Some(SECOND * 5));
        let mut still = Stillness::since(began);
        for seconds in 1..=100 {
            still.is_busy(began + SECOND * seconds, true);
            assert!(!still.is_over(began + SECOND * seconds, wait));
        }
        assert!(still.speaks(began + SECOND * 100, "busy"));
        still.is_busy(began + SECOND * 101, false);
        assert!(!still.speaks(began + SECOND * 103, "waits for others"), "it has just begun to");
        assert!(!still.is_over(began + SECOND * 105, wait) && still.is_over(began + SECOND * 106, wait));
    }

    #[test]
    fn how_long_is_waited_is_said_in_words() {
        assert_eq!(how_long(Some(SECOND * 300)), "for 5m at most");
        assert_eq!(how_long(Some(Duration::ZERO)), "for 1s at most");
        assert!(how_long(None).contains("--wait"));
        assert_eq!([Duration::MAX, SECOND * 4 - SECOND / 1000].map(shown), ["100 years", "4s"]);
        assert_eq!(Patience::new(None).at_most(SECOND * 10), "for 10s at most");
        assert_eq!(Patience::new(Some(SECOND * 60)).at_most(SECOND * 10), "for 1m at most");
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
        assert!(!still.is_moving(began), "nothing has come yet");
        still.look(began + SECOND * 70, 5, None);
        assert!(still.is_moving(began + SECOND * 72) && !still.is_moving(began + SECOND * 73));
        let mut late = Stillness::since(began).begun(began + SECOND * 9);
        assert!(!late.speaks(began + SECOND * 10, "a") && late.speaks(began + SECOND * 12, "a"));
    }
}
