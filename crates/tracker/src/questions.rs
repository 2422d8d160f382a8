//! What one peer has asked and is still to be answered. Of thousands of peers few ask anything: a queue takes memory only while something is in it.

use std::collections::VecDeque;
use std::sync::Mutex;

use protocol::TrackerRequest;
use tokio::sync::Notify;

use crate::lock::lock;

/// Questions that may wait for one peer. Their answers are made when they can be said: they are large, and cost the asker
/// next to nothing.
const MOST: usize = 2;

/// The questions of one peer, from the one who reads them to the one who answers.
#[derive(Default)]
pub(crate) struct Questions {
    waiting: Mutex<VecDeque<TrackerRequest>>,
    came: Notify,
    room: Notify,
}

impl Questions {
    /// Waits for room: who asks faster than it reads waits for itself.
    pub(crate) async fn put(&self, question: TrackerRequest) {
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if waiting.len() < MOST {
                    waiting.push_back(question);
                    self.came.notify_one();
                    return;
                }
            }
            self.room.notified().await;
        }
    }

    /// The next one.
    pub(crate) async fn next(&self) -> TrackerRequest {
        loop {
            if let Some(question) = self.try_next() {
                return question;
            }
            self.came.notified().await;
        }
    }

    /// The next one, if there is one already.
    pub(crate) fn try_next(&self) -> Option<TrackerRequest> {
        let mut waiting = lock(&self.waiting);
        let question = waiting.pop_front()?;
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        }
        self.room.notify_one();
        Some(question)
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }
}
