//! What is said only if something takes a while: nobody wants to read that the program waits for what is there in a moment.

use crate::session::patience::{Patience, SPEAK, TRY_AGAIN};

/// Something that is said once, when what it is about has taken a while.
pub struct DelayedNotice<'a> {
    tell: &'a dyn Fn(String),
    sentence: Option<String>,
    due: tokio::time::Instant,
}

impl<'a> DelayedNotice<'a> {
    pub fn new(tell: &'a dyn Fn(String), sentence: String) -> Self {
        DelayedNotice { tell, sentence: Some(sentence), due: tokio::time::Instant::now() + SPEAK }
    }

    /// Says something else in its place, if it was not said.
    pub fn instead(&mut self, sentence: String) {
        self.sentence = self.sentence.take().map(|_| sentence);
    }

    /// What went before has ended: the time counts from now on.
    pub fn restart(&mut self) {
        self.due = tokio::time::Instant::now() + SPEAK;
    }

    /// Says it, if it was not said.
    pub fn now(&mut self) {
        self.sentence.take().into_iter().for_each(self.tell);
    }

    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep_until(self.due), if self.sentence.is_some() => self.now(),
            }
        }
    }

    /// Tries until it works, for as long as `patience` lasts and an error is worth another try.
    pub async fn retry<T, E>(
        mut self,
        patience: Patience,
        attempt: impl AsyncFn() -> Result<T, E>,
        is_worth_another: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        loop {
            let error = match self.during(attempt()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if !is_worth_another(&error) || !patience.waits() {
                return Err(error);
            }
            self.now();
            tokio::time::sleep(patience.pause(TRY_AGAIN)).await;
        }
    }
}
