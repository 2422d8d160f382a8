//! Answers that list the files of a content: they are long, so they are made on threads for that, few at once, and nobody else waits.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use peer::ReadMemory;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::error::Refusal;

/// Most that are made at once: each takes a processor and some megabytes for a content of many files.
const AT_ONCE: usize = 2;

/// Makes answers that list files.
pub(crate) struct Lists {
    turns: Semaphore,
    /// What is made and not yet sent takes a part of this.
    memory: ReadMemory,
    /// How long that is waited for.
    wait: Duration,
}

impl Lists {
    pub(crate) fn new(memory: ReadMemory, wait: Duration) -> Self {
        Lists { turns: Semaphore::new(AT_ONCE), memory, wait }
    }

    /// Makes something of a list once it is its turn.
    pub(crate) async fn make<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let _turn = self.turns.acquire().await.map_err(|_| Refusal::Busy)?;
        spawn_blocking(make).await.map_err(|_| Refusal::Failed)
    }

    /// Makes an answer once it is its turn.
    pub(crate) async fn answer(&self, make: impl FnOnce() -> Response + Send + 'static) -> Result<Response, Refusal> {
        let _turn = self.turns.acquire().await.map_err(|_| Refusal::Busy)?;
        let answer = spawn_blocking(make).await.map_err(|_| Refusal::Failed)?;
        self.hold(answer).await
    }

    /// An answer that takes memory until it is sent.
    pub(crate) async fn hold(&self, answer: Response) -> Result<Response, Refusal> {
        let (head, body) = answer.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.map_err(|_| Refusal::Failed)?;
        let room = timeout(self.wait, self.memory.take(bytes.len())).await.map_err(|_| Refusal::Busy)?;
        Ok(Response::from_parts(head, Body::from(room.hold(bytes))))
    }
}
