//! How fast a connection may keep the tracker busy.
//!
//! A connection that says more is not refused and loses nothing: it is read more slowly, until what it has to say waits on its own side.
//! What a peer announces for the first time is free, so that thousands of files are there at once when a tracker comes back;
//! each of them takes memory, and that is counted.

use std::time::Duration;

use tokio::time::Instant;

/// Messages that a connection may say at once, and in each second after that.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// At once.
    pub burst: u32,
    /// In a second.
    pub a_second: u32,
}

impl Default for Pace {
    fn default() -> Self {
        // Four thousand files that become complete in a moment are one burst.
        Pace { burst: 4096, a_second: 200 }
    }
}

/// What a connection has said lately.
pub(crate) struct Paced {
    pace: Pace,
    left: f64,
    since: Instant,
}

impl Paced {
    pub(crate) fn new(pace: Pace) -> Self {
        Paced { pace, left: f64::from(pace.burst), since: Instant::now() }
    }

    /// One more message. Says how long to wait before the next is read.
    pub(crate) fn spend(&mut self) -> Duration {
        let now = Instant::now();
        let a_second = f64::from(self.pace.a_second.max(1));
        let earned = (now - std::mem::replace(&mut self.since, now)).as_secs_f64() * a_second;
        self.left = (self.left + earned).min(f64::from(self.pace.burst)) - 1.0;
        Duration::from_secs_f64((-self.left / a_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_then_each_waits_its_turn() {
        let mut paced = Paced::new(Pace { burst: 100, a_second: 10 });
        assert!((0..100).all(|_| paced.spend().is_zero()));
        let began = Instant::now();
        for _ in 0..50 {
            tokio::time::sleep(paced.spend()).await;
        }
        assert!((4.9..5.2).contains(&began.elapsed().as_secs_f64()), "in virtual time: {:?}", began.elapsed());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!((0..100).all(|_| paced.spend().is_zero()), "who was quiet has a burst again");
    }
}
