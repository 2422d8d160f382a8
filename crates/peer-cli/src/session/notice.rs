//! What is said only if something takes a while: nobody wants to read that the program waits for what is there in a moment.

use crate::session::patience::SPEAK;

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
}
