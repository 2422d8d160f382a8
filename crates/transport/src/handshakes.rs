//! Handshakes under way: how many, for how long, and whose goes when there are too many. For QUIC and TCP alike, and for what
//! is proven over a connection before anything else.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use crate::admission::{Admission, Newcomer, Place, Worth};

/// A handshake must be over within this time, on either side.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
/// And within this time while room is short.
const HURRIED: Duration = Duration::from_secs(3);
/// Whether room is short is looked at this often after that.
const LOOK: Duration = Duration::from_millis(100);
/// Handshakes under way at once: as many as a machine finishes in a quarter of a second, since those of a whole swarm that
/// starts at the same moment are honest. Each takes some 30 KB.
pub(crate) const MOST: usize = 384;

/// The handshakes of all listeners of a transport.
#[derive(Clone)]
pub struct Handshakes(Arc<Admission>);

/// One that is under way. Its place is held until this is dropped.
pub struct Handshake {
    place: Place,
    began: Instant,
    /// Ends when the place is needed for another.
    needed: oneshot::Receiver<()>,
}

/// A handshake was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// It took too long.
    #[error("it took too long")]
    Late,
    /// Its place was needed for another.
    #[error("too many were under way from there")]
    Needed,
}

impl Handshakes {
    /// At most so many at once.
    pub fn new(most: usize) -> Self {
        Handshakes(Admission::new(most))
    }

    /// One more, for which another may be given up. Nothing if too many came from there within a moment.
    pub fn begin(&self, from: IpAddr) -> Option<Handshake> {
        let (end, needed) = oneshot::channel();
        let (began, newcomer) = (Instant::now(), Newcomer { from, holder: None, worth: Worth::HalfOpen });
        let end = move || {
            let _ = end.send(()); // nobody listens if it is over
        };
        let place = self.0.enter(began, newcomer, end)?;
        Some(Handshake { place, began, needed })
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.0.taken()
    }
}

impl Handshake {
    /// Does what belongs to it, within the time that it has in all.
    pub async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T, GivenUp> {
        let (place, began) = (&self.place, self.began);
        let late = async {
            sleep_until(began + HURRIED).await;
            while !place.is_short() && began.elapsed() < HANDSHAKE {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            done = work => Ok(done),
            () = late => Err(GivenUp::Late),
            _ = &mut self.needed => Err(GivenUp::Needed),
        }
    }

    /// It is done: until the connection is taken, it is worth more than what is not.
    pub(crate) fn is_done(&self) {
        self.place.set_worth(Worth::Waiting);
    }

    /// It has failed, and leaves something for so long, unless its place is needed before.
    pub(crate) async fn failed(&mut self, leaves: Duration) {
        self.place.set_worth(Worth::Failed);
        tokio::select! {
            () = sleep(leaves) => {}
            _ = &mut self.needed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn stall(mut handshake: Handshake) -> (GivenUp, Duration) {
        let began = Instant::now();
        let given_up = handshake.run(std::future::pending::<()>()).await.unwrap_err();
        (given_up, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_has_less_time_while_room_is_short() {
        let handshakes = Handshakes::new(16);
        let alone = stall(handshakes.begin(HERE).unwrap()).await;
        assert_eq!(alone, (GivenUp::Late, HANDSHAKE));
        let many: Vec<_> = (0..5).map(|_| tokio::spawn(stall(handshakes.begin(HERE).unwrap()))).collect();
        for one in many {
            let (given_up, after) = one.await.unwrap();
            assert_eq!(given_up, GivenUp::Late);
            assert!(after >= HURRIED && after <= HANDSHAKE, "{after:?}");
        }
        assert_eq!(handshakes.under_way(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_handshake_is_given_up_for_the_next() {
        let handshakes = Handshakes::new(2);
        let old = tokio::spawn(stall(handshakes.begin(HERE).unwrap()));
        sleep(Duration::from_secs(1)).await;
        let mut failed = handshakes.begin(HERE).unwrap();
        let failed = tokio::spawn(async move { failed.failed(HANDSHAKE).await });
        tokio::task::yield_now().await;
        sleep(Duration::from_millis(100)).await;
        let _third = handshakes.begin(HERE).unwrap();
        failed.await.unwrap();
        assert!(!old.is_finished(), "what has failed already goes first");
        let _fourth = handshakes.begin(HERE).unwrap();
        assert_eq!(old.await.unwrap().0, GivenUp::Needed);
    }
}
