//! Whether somebody else has written to a file that is built or kept here.
//!
//! A piece is verified in memory and then written, so the file is right only as long as nobody else touches it: a clean-up job
//! cuts it, a synchronising tool replaces it, an editor saves into it. Every change leaves a mark in the file's times, and the
//! change time cannot be set back. So its state is recorded after each write of ours and compared before the next one and
//! at the end. Where it differs, someone else has been there, and what is known of the bytes has to be verified again.
//!
//! Some clocks are too coarse for that: two writes within one tick leave the same times (Linux before 6.13, FAT, Windows). That
//! writes of ours leave marks says nothing, since they may be ticks apart; so a clock counts as fine only after it has told
//! apart things that were done right after each other. Until then, and always where the clock is coarse, each write of ours
//! sets the time of the file back a little: whatever somebody else writes then sets it to now. Where that cannot be done either,
//! the file is verified again.

use std::fs::{File, Metadata};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// A file that was changed within this time may be changed again without a mark: the coarsest clock of a file system (FAT)
/// ticks so.
const TICK: Duration = Duration::from_secs(2);

/// How far the time of a file is set back.
const BACK: Duration = Duration::from_secs(60);
/// A clock that told apart so many times what was done right after each other is fine.
const PROVEN: u32 = 8;

/// What is known of the clock of a file system.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// How often it told apart what was done right after each other.
    told_apart: AtomicU32,
    is_coarse: AtomicBool,
}

impl Clock {
    /// We have written to a file that was like this `before`. Says how it is now, and whether a change by others would show.
    pub(crate) fn mark(&self, file: &File, before: FileState) -> io::Result<(FileState, bool)> {
        let now = FileState::of(&file.metadata()?);
        let shows = (before.changed, before.modified) != (now.changed, now.modified);
        if !shows {
            self.is_coarse.store(true, Ordering::Relaxed);
        } else if self.is_fine() {
            return Ok((now, true));
        }
        let back = SystemTime::now().checked_sub(BACK).ok_or(io::ErrorKind::InvalidInput)?;
        match file.set_modified(back) {
            Ok(()) => {
                let marked = FileState::of(&file.metadata()?);
                self.note(&now, &marked);
                let is_back = marked.modified.is_some_and(|modified| modified < back + BACK / 2);
                Ok((marked, shows || is_back))
            }
            Err(_) => Ok((now, shows)),
        }
    }

    fn is_fine(&self) -> bool {
        self.told_apart.load(Ordering::Relaxed) >= PROVEN && !self.is_coarse.load(Ordering::Relaxed)
    }

    /// A file was like this `before` its time was set back, right after that write, and is like this now. Where the change time
    /// is but the time of the last write it goes back with it, and says nothing.
    fn note(&self, before: &FileState, now: &FileState) {
        if now.changed > before.changed {
            self.told_apart.fetch_add(1, Ordering::Relaxed);
        } else {
            self.is_coarse.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the time of a file may have been set back, so that it is to be set to now in the end.
    pub(crate) fn may_be_back(modified: Option<SystemTime>) -> bool {
        let settled = SystemTime::now().checked_sub(BACK / 2);
        modified.zip(settled).is_some_and(|(modified, settled)| modified < settled)
    }
}

/// How a file is: if two are equal, nobody has written to it in between, as far as the clock of its file system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// Its size in bytes.
    pub(crate) len: u64,
    /// When its bytes were changed last.
    pub(crate) modified: Option<SystemTime>,
    /// When anything of it was changed last, in seconds and nanoseconds, where the system says that.
    pub(crate) changed: (i64, i64),
    /// Device and inode, where a path says that.
    pub(crate) identity: (u64, u64),
    /// Whether it has a name, as far as the file system counts names.
    pub(crate) is_named: bool,
}

impl FileState {
    #[cfg(unix)]
    pub(crate) fn of(seen: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        FileState {
            len: seen.len(),
            modified: seen.modified().ok(),
            changed: (seen.ctime(), seen.ctime_nsec()),
            identity: (seen.dev(), seen.ino()),
            is_named: seen.nlink() > 0,
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn of(seen: &Metadata) -> Self {
        FileState { len: seen.len(), modified: seen.modified().ok(), changed: (0, 0), identity: (0, 0), is_named: true }
    }

    /// Whether this is what a file was that is only read, and nobody has written to it since.
    pub(crate) fn is_still(&self, now: &FileState) -> bool {
        let same_time = self.modified.is_none() || self.modified == now.modified;
        self.len == now.len && same_time && (now.is_named || !self.is_named)
    }

    /// Whether it was changed so lately that the next change may leave no mark.
    fn is_young(&self) -> bool {
        let settled = SystemTime::now().checked_sub(TICK);
        self.modified.zip(settled).is_none_or(|(modified, settled)| modified > settled)
    }
}

/// What is known of the changes of one file.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    last: Option<FileState>,
    doubtful: bool,
    /// Whether it may be there: this run has made it, or an earlier one has left it.
    pub(crate) is_ours: bool,
}

impl Changes {
    /// Of a file that is only read from now on.
    pub(crate) fn since(state: FileState) -> Self {
        Changes { last: Some(state), doubtful: state.is_young(), is_ours: false }
    }

    /// The file was opened. If it is known already it must be as it was.
    pub(crate) fn opened(&mut self, now: FileState) {
        self.doubtful |= self.last.is_some_and(|last| last != now);
        self.last = Some(now);
    }

    /// Whether it was there.
    pub(crate) fn is_known(&self) -> bool {
        self.last.is_some()
    }

    /// What we have done to it ourselves ends with this.
    pub(crate) fn is_now(&mut self, now: FileState) {
        self.last = Some(now);
    }

    /// We have written to it, and it was so right after; what others do from then on shows, or does not.
    pub(crate) fn written(&mut self, after: FileState, shows: bool) {
        self.doubtful |= !shows;
        self.last = Some(after);
    }

    /// Something went wrong, and nothing is known of the file.
    pub(crate) fn lost(&mut self) {
        self.doubtful = true;
    }

    /// Whether somebody else may have written to it. From here on it counts as unchanged.
    pub(crate) fn take(&mut self, now: Option<FileState>) -> bool {
        let Some(last) = self.last else { return false };
        let doubtful = std::mem::take(&mut self.doubtful) || now != Some(last);
        self.last = now.or(self.last);
        doubtful
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn state(tick: i64) -> FileState {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(tick as u64);
        FileState { len: 10, modified: Some(modified), changed: (tick, 0), identity: (1, 2), is_named: true }
    }

    #[test]
    fn our_own_writes_are_no_changes_of_others() {
        let mut changes = Changes::default();
        assert!(!changes.take(Some(state(1))), "it was never opened");
        changes.opened(state(1));
        changes.written(state(2), true);
        changes.opened(state(2));
        assert!(!changes.take(Some(state(2))));
    }

    #[test]
    fn a_change_between_two_writes_is_noticed_once() {
        let mut changes = Changes::default();
        changes.opened(state(1));
        changes.opened(state(2));
        changes.written(state(3), true);
        assert!(changes.take(Some(state(3))));
        assert!(!changes.take(Some(state(3))));
        assert!(changes.take(None), "it is gone");
        assert!(changes.take(Some(FileState { identity: (1, 3), ..state(3) })), "another file");
    }

    #[test]
    fn where_a_change_would_not_show_a_file_is_doubtful() {
        let mut changes = Changes::default();
        changes.opened(state(1));
        changes.written(state(1), false);
        assert!(changes.take(Some(state(1))));
    }

    /// As if a write of ours had left no mark.
    #[test]
    fn on_a_coarse_clock_every_write_sets_the_time_back_and_what_others_write_shows() {
        let (clock, mut file) = (Clock::default(), tempfile::tempfile().unwrap());
        let state = |file: &File| FileState::of(&file.metadata().unwrap());
        clock.is_coarse.store(true, Ordering::Relaxed);
        for _ in 0..20 {
            let before = state(&file);
            std::io::Write::write_all(&mut file, b"ours").unwrap();
            let (after, shows) = clock.mark(&file, before).unwrap();
            assert!(shows && Clock::may_be_back(after.modified));
            assert_eq!(after, state(&file));
            std::io::Write::write_all(&mut file, b"theirs").unwrap();
            assert!(state(&file).modified != after.modified && !Clock::may_be_back(state(&file).modified));
        }
    }

    #[test]
    fn a_clock_that_shows_every_write_is_left_alone_soon() {
        let (clock, mut file) = (Clock::default(), tempfile::tempfile().unwrap());
        for number in 0..20 {
            let before = FileState::of(&file.metadata().unwrap());
            std::io::Write::write_all(&mut file, b"ours").unwrap();
            let (after, shows) = clock.mark(&file, before).unwrap();
            assert!(shows);
            if clock.is_coarse.load(Ordering::Relaxed) {
                let _ = writeln!(std::io::stderr(), "skipped: the clock of files is coarse here");
                return;
            }
            let writes = number + 1;
            assert_eq!(Clock::may_be_back(after.modified), writes <= PROVEN, "{writes} writes");
        }
    }

    /// Slow writes are ticks apart, and what somebody else writes within the tick of one of them would leave no mark.
    #[test]
    fn slow_writes_do_not_prove_a_clock_fine() {
        let back = |tick| FileState { modified: Some(SystemTime::UNIX_EPOCH), ..state(tick) };
        let [coarse, without_change_time, fine] = [(); 3].map(|()| Clock::default());
        for tick in 0..100 {
            coarse.note(&state(tick), &back(tick));
            // As on FAT, where it is but the time of the last write.
            without_change_time.note(&state(tick), &FileState { changed: (0, 0), ..back(tick) });
            fine.note(&state(tick), &back(tick + 1));
        }
        assert_eq!([coarse.is_fine(), without_change_time.is_fine(), fine.is_fine()], [false, false, true]);
    }

    #[test]
    fn a_file_that_was_changed_just_now_may_change_again_without_a_mark() {
        let young = FileState { modified: Some(SystemTime::now()), ..state(1) };
        assert!(Changes::since(young).take(Some(young)));
        assert!(!Changes::since(state(1)).take(Some(state(1))));
    }
}
