//! The side that asks.

use std::time::Duration;

use tokio::io::BufReader;
use tokio::time::timeout;

use super::lines::{self, LineError};
use super::message::{Answer, Request};
use super::socket::{self, Stream};
use super::{ControlError, Place};

/// How long a connection may take, and how long the daemon may say nothing: while it works it says something each second.
const SILENT: Duration = Duration::from_secs(10);

/// A connection to a daemon.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    place: Place,
}

/// The answers to one request.
#[must_use = "they are to be read before the next request"]
pub struct Answers<'a> {
    client: &'a mut Client,
    over: bool,
}

impl Client {
    /// Connects to the daemon at a place.
    pub async fn connect(place: &Place) -> Result<Self, ControlError> {
        let stream = timeout(SILENT, socket::connect(place)).await.map_err(|_| ControlError::Silent)??;
        Ok(Client { stream: BufReader::new(stream), place: place.clone() })
    }

    /// Asks. The answers are read one after another.
    pub async fn ask(&mut self, request: &Request) -> Result<Answers<'_>, ControlError> {
        let length = lines::line(request).map(drop);
        if let Err(LineError::TooLong) = length {
            let bytes = serde_json::to_vec(request).map_or(0, |line| line.len());
            return Err(ControlError::MessageTooLong(bytes));
        }
        lines::send(&mut self.stream, request).await.map_err(|error| self.failed(error))?;
        Ok(Answers { client: self, over: false })
    }

    /// Asks, and gives all answers at once.
    pub async fn ask_all(&mut self, request: &Request) -> Result<Vec<Answer>, ControlError> {
        let mut answers = self.ask(request).await?;
        let mut all = Vec::new();
        while let Some(answer) = answers.next().await? {
            all.push(answer);
        }
        Ok(all)
    }

    fn failed(&self, error: LineError) -> ControlError {
        let path = self.place.path().to_owned();
        match error {
            LineError::Ended => ControlError::Ended,
            LineError::Late => ControlError::Silent,
            LineError::TooLong => ControlError::Foreign(path, "it sends a line without an end".to_owned()),
            LineError::NoMessage(reason) => ControlError::Foreign(path, reason),
            LineError::Io(source) => match source.kind() {
                std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset => ControlError::Ended,
                _ => ControlError::Io { path, source },
            },
        }
    }
}

impl Answers<'_> {
    /// The next answer; nothing after the last one, which is [`Answer::Done`] or [`Answer::Error`].
    pub async fn next(&mut self) -> Result<Option<Answer>, ControlError> {
        if self.over {
            return Ok(None);
        }
        let answer =
            lines::receive(&mut self.client.stream, SILENT).await.map_err(|error| self.client.failed(error))?;
        let answer: Answer = answer.ok_or(ControlError::Ended)?;
        self.over = matches!(answer, Answer::Done { .. } | Answer::Error { .. });
        Ok(Some(answer))
    }
}
