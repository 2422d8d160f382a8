//! Handshakes take turns on the thread of an endpoint: a step of one of them, or of a few where the thread has much else to do, and then
//! everything else that is ready there.
//!
//! A step is a millisecond of cryptography, and a transfer's is a few microseconds. Where each waits for all others, a few hundred
//! handshakes that come at once make a round trip of every transfer on that thread as long as their steps take together. And where all
//! else takes long, a single step in between would let nobody in: handshakes get about half of a thread that is full.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

/// A step takes about so many milliseconds on a slow machine, and at most so many are done in a row.
const STEP: u128 = 1;
const MOST: usize = 16;

thread_local! {
    /// The turns of this thread that nobody has.
    static TURNS: Arc<Semaphore> = Arc::new(Semaphore::new(1));
    /// The turns of this thread that are still to end before all else has its turn.
    static LEFT: Cell<usize> = const { Cell::new(1) };
}

/// The turn of a handshake. Once this is dropped, and no other is left, there are new ones after all else that is ready.
pub(crate) struct Turn(Option<OwnedSemaphorePermit>);

/// Waits for a turn on this thread, which runs a runtime of its own.
pub(crate) async fn turn() -> Turn {
    Turn(TURNS.with(Arc::clone).acquire_owned().await.ok())
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turn) = self.0.take() else { return };
        turn.forget();
        let left = LEFT.with(|left| {
            left.set(left.get() - 1);
            left.get()
        });
        // Where the runtime is gone, nobody waits.
        if let (0, Ok(thread)) = (left, Handle::try_current()) {
            thread.spawn(async {
                let began = Instant::now();
                yield_now().await;
                let turns = MOST.min(1 + (began.elapsed().as_millis() / STEP) as usize);
                LEFT.set(turns);
                TURNS.with(|free| free.add_permits(turns));
            });
        }
    }
}

/// Does each step of this work in a turn of its own.
pub(crate) async fn in_turns<T>(work: impl Future<Output = T>) -> T {
    in_turns_until(work, std::future::pending()).await
}

/// Does each step of this work in a turn of its own until `over`, and the rest as usual.
pub(crate) async fn in_turns_until<T>(work: impl Future<Output = T>, over: impl Future<Output = ()>) -> T {
    let (mut work, mut over) = (pin!(work), pin!(over));
    loop {
        let mut turn = tokio::select! {
            biased;
            () = &mut over => return work.await,
            turn = turn() => Some(turn),
        };
        let step = poll_fn(|cx| match turn.take() {
            Some(_turn) => work.as_mut().poll(cx).map(Some),
            // Something has happened to the work, or it is over: it is not polled without a turn.
            None => Poll::Ready(None),
        });
        if let Some(done) = step.await {
            return done;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    /// Those that nobody has now: on a slow machine there may be more than one.
    async fn all_turns() -> Vec<Turn> {
        let mut turns = vec![turn().await];
        while TURNS.with(|free| free.available_permits()) > 0 {
            turns.push(turn().await);
        }
        turns
    }

    #[tokio::test]
    async fn a_transfer_waits_for_a_few_steps_of_all_handshakes() {
        const HANDSHAKES: usize = 300;
        const STEPS: usize = 3;
        let steps = Arc::new(AtomicUsize::new(0));
        for _ in 0..HANDSHAKES {
            let steps = steps.clone();
            tokio::spawn(in_turns(async move {
                for _ in 0..STEPS {
                    steps.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            }));
        }
        let transfer = async move {
            let (mut most, mut before) = (0, 0);
            while before < HANDSHAKES * STEPS {
                yield_now().await;
                let now = steps.load(Ordering::Relaxed);
                most = most.max(now - std::mem::replace(&mut before, now));
            }
            most
        };
        let most = tokio::spawn(transfer).await.unwrap();
        assert!(most <= 2 * MOST, "it waited for {most} steps");
    }

    #[tokio::test]
    async fn where_all_else_takes_long_handshakes_go_on_by_more_than_a_step() {
        let steps = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let steps = steps.clone();
            tokio::spawn(in_turns(async move {
                steps.fetch_add(1, Ordering::Relaxed);
            }));
        }
        // All else is as long as four steps, whatever the machine: each time that it had its turn, more of them are to follow.
        let mut passes = 0;
        while steps.load(Ordering::Relaxed) < 100 {
            passes += 1;
            std::thread::sleep(std::time::Duration::from_millis(4));
            yield_now().await;
        }
        assert!(passes < 75, "{passes} passes for 100 steps");
    }

    #[tokio::test]
    async fn one_that_waits_for_the_network_holds_nobody_up() {
        let (answers, answer) = oneshot::channel();
        let waiting = tokio::spawn(in_turns(answer));
        tokio::spawn(in_turns(yield_now())).await.unwrap();
        answers.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn what_is_over_needs_no_turn() {
        let (end, over) = oneshot::channel::<()>();
        let (answers, answer) = oneshot::channel();
        let work = tokio::spawn(in_turns_until(answer, async move { drop(over.await) }));
        tokio::spawn(in_turns(yield_now())).await.unwrap();
        let _held = all_turns().await;
        answers.send(7).unwrap();
        yield_now().await;
        assert!(!work.is_finished());
        drop(end);
        assert_eq!(work.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn one_that_is_given_up_gives_its_turn_back() {
        let held = all_turns().await;
        let waiting = tokio::spawn(in_turns(std::future::pending::<()>()));
        yield_now().await;
        waiting.abort();
        drop(held);
        let stalled = tokio::spawn(in_turns(std::future::pending::<()>()));
        drop(turn().await);
        stalled.abort();
        drop(turn().await);
    }
}
