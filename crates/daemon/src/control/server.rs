//! The side that answers: takes connections, a bounded number of them, and reads requests one after another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::BufReader;
use tokio::sync::{Semaphore, mpsc};

use super::lines::{self, LineError};
use super::message::{Answer, ErrorCode, Request};
use super::socket::{Listener, Stream};

/// Connections at once. More wait: who controls a daemon asks and leaves.
const CONNECTIONS: usize = 32;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(300);
/// Answers that may wait to be read.
const ANSWERS: usize = 16;
/// After an error of the listener: there may be no descriptors for the moment.
const PAUSE: Duration = Duration::from_millis(200);
/// An accept error is logged at most this often: accept may keep failing for hours.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What answers requests.
pub trait Answering: Send + Sync + 'static {
    /// Answers one. An answer that nobody takes any more changes nothing about what is done.
    fn answer(self: Arc<Self>, request: Request, answers: mpsc::Sender<Answer>) -> impl Future<Output = ()> + Send;
}

/// Takes connections for as long as it is polled.
pub async fn serve(mut listener: Listener, service: Arc<impl Answering>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut said: Option<Instant> = None;
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                let service = service.clone();
                tokio::spawn(async move {
                    if let Err(error) = talk(stream, service).await {
                        tracing::debug!(%error, "a control connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
                    tracing::warn!(%error, "no control connection can be taken");
                    said = Some(Instant::now());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn talk(stream: Box<dyn Stream>, service: Arc<impl Answering>) -> Result<(), LineError> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = match lines::receive::<Request>(&mut stream, IDLE).await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error @ (LineError::NoMessage(_) | LineError::TooLong)) => {
                let message = format!("this is no request: {error}");
                lines::send(&mut stream, &Answer::Error { code: ErrorCode::Usage, message }).await?;
                // Where a line has no end, the next one has no beginning.
                match error {
                    LineError::NoMessage(_) => continue,
                    error => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        let (answers, mut taken) = mpsc::channel(ANSWERS);
        tokio::spawn(service.clone().answer(request, answers));
        let mut ended = false;
        while let Some(answer) = taken.recv().await {
            ended |= matches!(answer, Answer::Done { .. } | Answer::Error { .. });
            match lines::send(&mut stream, &answer).await {
                Err(LineError::TooLong) => {
                    // Nothing of it is sent. What is asked for is done all the same.
                    let message = format!("the answer is too long: {}", LineError::TooLong);
                    lines::send(&mut stream, &Answer::Error { code: ErrorCode::Other, message }).await?;
                    ended = true;
                    break;
                }
                sent => sent?,
            }
        }
        // What answers has ended without a last word, as when the daemon shuts down.
        if !ended {
            return Ok(());
        }
    }
}
