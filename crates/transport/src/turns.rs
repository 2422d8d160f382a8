//! Handshakes take turns on the thread of an endpoint: one step of one of them, and then everything else that is ready there.
//!
//! A step is a millisecond of cryptography, and a transfer's is a few microseconds. Where each waits for all others, a few hundred
//! handshakes that come at once make a round trip of every transfer on that thread as long as their steps take together.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

thread_local! {
    /// The one turn of this thread.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// The turn of a handshake. Once this is dropped, the next one has its turn after all else that is ready.
pub(crate) struct Turn(Option<OwnedSemaphorePermit>);

/// Waits for a turn on this thread, which runs a runtime of its own.
pub(crate) async fn turn() -> Turn {
    Turn(TURN.with(Arc::clone).acquire_owned().await.ok())
}

impl Drop for Turn {
    fn drop(&mut self) {
        let turn = self.0.take();
        // Where the runtime is gone, nobody waits.
        if let Ok(thread) = Handle::try_current() {
            thread.spawn(async move {
                yield_now().await;
                drop(turn);
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

    #[tokio::test]
    async fn a_transfer_waits_for_a_step_or_two_of_all_handshakes() {
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
        assert!(most <= 2, "it waited for {most} steps");
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
        let _held = turn().await;
        answers.send(7).unwrap();
        yield_now().await;
        assert!(!work.is_finished());
        drop(end);
        assert_eq!(work.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn one_that_is_given_up_gives_its_turn_back() {
        let held = turn().await;
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
