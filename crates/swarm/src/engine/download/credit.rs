//! What a peer has earned: little is asked of one that has given nothing yet, more with every piece that it gives, as in slow
//! start (RFC 5681), and nothing for a while of one that let us wait although others have what it owes.

use std::time::Duration;

use crate::engine::TICK;

/// After the first strike a peer rests for this long, after each further one twice as long. A peer that has delivered before rests
/// for less.
const REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(600);
const SHORT_REST: Duration = Duration::from_secs(8);
/// So many bytes, verified, make up for all strikes.
const ATONED: u64 = 8 << 20;
/// What is left of a pace after a tick without anything.
const FORGETS: f64 = 0.9;

/// What a peer has earned on its connection.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    /// Bytes of verified pieces that came from it.
    pub(crate) verified: u64,
    /// The same, but shrunk by strikes: how much more than at first may be asked of it.
    pub(crate) earned: u64,
    pub(crate) strikes: u32,
    since_strike: u64,
    /// It is asked for nothing before.
    pub(crate) rests_until: Duration,
    /// Nothing, or next to nothing, came in the last interval though it owes us something.
    pub(crate) stalled: bool,
    /// Whether it counts against the whole budget, and not only against the part for those that have to prove themselves.
    pub(super) proven: bool,
    /// When the interval began that its pace is judged by, and what had come from it.
    pub(super) since: Duration,
    came: u64,
    /// Bytes a second at its best, lately, and what had come at the last tick: requests may be too short for a rate.
    pub(super) best: f64,
    ticked: u64,
}

impl Credit {
    /// None, but with what is held against the peer.
    pub(crate) fn new(now: Duration, strikes: u32, rests_until: Duration) -> Self {
        Credit { strikes, rests_until, since: now, ..Credit::default() }
    }

    pub(super) fn strike(&mut self, now: Duration) {
        self.strikes += 1;
        (self.earned, self.since_strike) = (self.earned / 4, 0);
        let most = if self.verified > 0 { SHORT_REST } else { LONGEST_REST };
        self.rests_until = now + rest(self.strikes).min(most);
    }

    pub(crate) fn verify(&mut self, bytes: u64) {
        self.verified += bytes;
        self.earned += 2 * bytes;
        self.since_strike += bytes;
        if self.since_strike >= ATONED {
            self.strikes = 0;
        }
    }

    /// A tick has passed.
    pub(super) fn tick(&mut self, came: u64) {
        let bytes = came - std::mem::replace(&mut self.ticked, came);
        self.best = (bytes as f64 / TICK.as_secs_f64()).max(self.best * FORGETS);
    }

    /// Bytes a second in an interval that is over; begins the next one.
    pub(super) fn pace(&mut self, now: Duration, came: u64) -> f64 {
        let bytes = came - std::mem::replace(&mut self.came, came);
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.since, now));
        bytes as f64 / elapsed.as_secs_f64().max(0.001)
    }
}

/// How long a peer is left alone after so many strikes.
pub(crate) fn rest(strikes: u32) -> Duration {
    (REST * 2u32.pow(strikes.clamp(1, 16) - 1)).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_and_deliveries_atone() {
        let mut credit = Credit::default();
        let mut rests = Vec::new();
        for _ in 0..12 {
            credit.strike(Duration::ZERO);
            rests.push(credit.rests_until.as_secs());
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        credit.verify(ATONED);
        credit.strike(Duration::ZERO);
        assert_eq!((credit.strikes, credit.rests_until), (1, REST));
        assert_eq!(credit.earned, ATONED / 2, "a strike costs three quarters of what was earned");
        (0..9).for_each(|_| credit.strike(Duration::ZERO));
        assert_eq!(credit.rests_until, SHORT_REST, "a peer that has delivered is soon asked again");
    }

    #[test]
    fn a_pace_is_that_of_its_interval() {
        let mut credit = Credit::new(Duration::from_secs(1), 0, Duration::ZERO);
        assert_eq!(credit.pace(Duration::from_secs(3), 1000), 500.0);
        assert_eq!(credit.pace(Duration::from_secs(4), 1000), 0.0);
    }
}
