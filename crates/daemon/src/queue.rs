//! Which downloads run, and which wait for others: in their order, so many at once. One that gets nothing for a while runs on, and
//! keeps nobody waiting.

/// A content in its place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// It is to be downloaded, and takes a place.
    Wants,
    /// It runs, and nothing has come for a while.
    Still,
    /// It has no need of a place: it is shared, complete, paused, or has failed.
    Other,
}

/// Whether each of them may run.
pub(crate) fn plan(candidates: impl IntoIterator<Item = Candidate>, at_once: usize) -> Vec<bool> {
    let mut room = at_once.max(1);
    let runs = |candidate| match candidate {
        Candidate::Wants if room == 0 => false,
        Candidate::Wants => {
            room -= 1;
            true
        }
        Candidate::Still | Candidate::Other => true,
    };
    candidates.into_iter().map(runs).collect()
}

#[cfg(test)]
mod tests {
    use super::Candidate::{Other, Still, Wants};
    use super::*;

    #[test]
    fn the_first_downloads_run_and_the_others_wait() {
        assert_eq!(plan([Wants, Other, Wants, Wants], 2), [true, true, true, false]);
        assert_eq!(plan([Wants, Wants], 0), [true, false], "one always runs");
        assert_eq!(plan([], 3), [false; 0]);
    }

    #[test]
    fn a_download_that_gets_nothing_keeps_nobody_waiting() {
        assert_eq!(plan([Still, Wants, Wants], 1), [true, true, false]);
    }
}
