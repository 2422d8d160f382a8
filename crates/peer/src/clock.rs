//! A clock that counts the time that a machine sleeps, and that nobody sets: for what is good for a certain time.
//!
//! The clock of `std` stands still on Linux and macOS while the machine sleeps. The wall clock does not, but it is set: by people, and
//! once the network is there.

use std::time::Duration;

/// A moment by that clock, of this machine since it was started.
///
/// ```
/// let moment = p2p_fileshare::Moment::now();
/// assert!(moment.elapsed() < std::time::Duration::from_secs(3600));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Moment(now())
    }

    /// The time since then.
    pub fn elapsed(self) -> Duration {
        now().saturating_sub(self.0)
    }
}

#[cfg(unix)]
fn now() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::Boottime;
    // There it counts sleep.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::Monotonic;
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default())
}

/// The clock of `std` counts sleep there.
#[cfg(not(unix))]
fn now() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward() {
        let (first, second) = (Moment::now(), Moment::now());
        assert!(first <= second && first.elapsed() >= second.elapsed());
    }
}
