//! Lines over a stream: bounded, and each within a deadline.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::message::VERSION;

/// Longest line, with its end.
pub const LONGEST: usize = 64 << 10;
/// How long the other side may take to read a line.
const WRITTEN: Duration = Duration::from_secs(10);

/// A message as a line has it.
#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    message: &'a T,
}

/// Why no message came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The stream has ended.
    #[error("it has ended")]
    Ended,
    /// Nothing came in time.
    #[error("nothing came in time")]
    Late,
    /// The line is too long.
    #[error("a line has {LONGEST} bytes at most, and this one has more")]
    TooLong,
    /// It is no message.
    #[error("{0}")]
    NoMessage(String),
    /// The system refuses.
    #[error("{0}")]
    Io(io::Error),
}

/// The message as a line.
pub fn line(message: &impl Serialize) -> Result<Vec<u8>, LineError> {
    let mut line = serde_json::to_vec(&Versioned { v: VERSION, message })
        .map_err(|error| LineError::NoMessage(error.to_string()))?;
    line.push(b'\n');
    if line.len() > LONGEST { Err(LineError::TooLong) } else { Ok(line) }
}

/// Sends a message.
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> Result<(), LineError> {
    let line = line(message)?;
    let sent = async {
        stream.write_all(&line).await?;
        stream.flush().await
    };
    match timeout(WRITTEN, sent).await {
        Ok(result) => result.map_err(LineError::Io),
        Err(_) => Err(LineError::Late),
    }
}

/// The next message; nothing if the stream ends between two. It begins within `begins`, and ends soon after that.
pub async fn receive<T: DeserializeOwned>(
    stream: &mut (impl AsyncBufRead + Unpin),
    begins: Duration,
) -> Result<Option<T>, LineError> {
    let begun = timeout(begins, stream.fill_buf()).await.map_err(|_| LineError::Late)?;
    if begun.map_err(LineError::Io)?.is_empty() {
        return Ok(None);
    }
    let line = timeout(WRITTEN, read_line(stream)).await.map_err(|_| LineError::Late)??;
    let value: serde_json::Value =
        serde_json::from_slice(&line).map_err(|error| LineError::NoMessage(error.to_string()))?;
    match value.get("v").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(LineError::NoMessage(format!("version {version} is not supported: use version {VERSION}")));
        }
        None => return Err(LineError::NoMessage("`v`, the version, is missing".to_owned())),
    }
    serde_json::from_value(value).map(Some).map_err(|error| LineError::NoMessage(error.to_string()))
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, LineError> {
    let mut line = Vec::new();
    loop {
        let buffer = stream.fill_buf().await.map_err(LineError::Io)?;
        if buffer.is_empty() {
            return Err(LineError::Ended);
        }
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(buffer.len(), |end| end + 1);
        if line.len() + taken > LONGEST {
            return Err(LineError::TooLong);
        }
        line.extend_from_slice(&buffer[..taken]);
        stream.consume(taken);
        if end.is_some() {
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Request;
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Option<Request>, LineError> {
        receive(&mut &bytes[..], Duration::from_secs(60)).await
    }

    #[tokio::test]
    async fn lines_are_bounded_and_versioned() {
        let status = br#"{"v":1,"request":"status"}"#;
        let line = [&status[..], b"\n"].concat();
        assert_eq!(read(&line).await.unwrap(), Some(Request::Status {}));
        assert_eq!(read(b"").await.unwrap(), None, "it ends between two");
        assert!(matches!(read(status).await, Err(LineError::Ended)), "it ends within one");
        assert!(matches!(read(&vec![b' '; LONGEST + 1]).await, Err(LineError::TooLong)));
        for wrong in
            ["{\"v\":2,\"request\":\"status\"}\n", "{\"request\":\"status\"}\n", "{}\n", "\n", "nonsense\n", "[1]\n"]
        {
            assert!(matches!(read(wrong.as_bytes()).await, Err(LineError::NoMessage(_))), "{wrong}");
        }
        let deep = format!("{}\n", "[".repeat(LONGEST / 2));
        assert!(matches!(read(deep.as_bytes()).await, Err(LineError::NoMessage(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_stands_still_is_given_up() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut far = tokio::io::BufReader::new(far);
        let nothing = receive::<Request>(&mut far, Duration::from_secs(60)).await;
        assert!(matches!(nothing, Err(LineError::Late)));
        near.write_all(b"{\"v\":1,").await.unwrap();
        let half = receive::<Request>(&mut far, Duration::from_secs(60)).await;
        assert!(matches!(half, Err(LineError::Late)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_given_up() {
        let (mut near, _far) = tokio::io::duplex(16);
        assert!(matches!(send(&mut near, &Request::Status {}).await, Err(LineError::Late)));
    }
}
