//! How many files and sockets a program may have open: as many as it may ask for.
//!
//! Shells and service managers grant 1,024 for the sake of old programs, and far more on request.

/// Raises the limit to the most that this process may have. Without effect where there is no such limit.
#[cfg(unix)]
pub fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = |current| setrlimit(Resource::Nofile, Rlimit { current, ..limit });
    // macOS grants no more than this where its limit reads as none; what is refused leaves the limit as it is.
    if raised(limit.maximum).is_err() && limit.current.is_some_and(|now| now < OPEN_MAX) {
        let _ = raised(Some(OPEN_MAX));
    }
}

/// `OPEN_MAX` of macOS.
#[cfg(unix)]
const OPEN_MAX: u64 = 10_240;

/// Raises the limit to the most that this process may have. Without effect where there is no such limit.
#[cfg(not(unix))]
pub fn raise_limit() {}

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn the_most_that_may_be_asked_for_is() {
        super::raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert!(limit.current == limit.maximum || limit.current >= Some(super::OPEN_MAX), "{limit:?}");
    }
}
