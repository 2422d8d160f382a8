//! The first lane of a connection, which carries no streams: it keeps the connection alive, measures its round trip, asks
//! for lanes, and says goodbye.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};
use tokio_rustls::TlsStream;

use super::connection::{Core, End};

const PING: u8 = 0;
const PONG: u8 = 1;
const WANT: u8 = 2;
const CLOSE: u8 = 3;
/// Keeps idle connections, and the mappings of NATs, alive.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A peer that vanished is noticed within this time.
const IDLE: Duration = Duration::from_secs(8);
/// Most bytes of a goodbye's reason; what is longer is cut.
const REASON: usize = 1024;
/// Words that may wait.
pub(super) const QUEUE: usize = 256;

/// What our side wants said.
#[derive(Debug)]
pub(super) enum Word {
    /// The other side has pinged with this number.
    Pong(u32),
    /// One more lane is needed for streams that we open.
    Want,
}

/// Runs until the connection ends, for whatever reason.
pub(super) async fn run(core: Arc<Core>, stream: TlsStream<TcpStream>, words: mpsc::Receiver<Word>) {
    let (reader, writer) = tokio::io::split(stream);
    let began = Instant::now();
    let end = tokio::select! {
        end = read(&core, reader, began) => end,
        end = write(&core, writer, words, began) => end,
    };
    core.finish(end.unwrap_or_else(|error| End::Lost(error.to_string())));
}

async fn read(core: &Arc<Core>, mut reader: ReadHalf<TlsStream<TcpStream>>, began: Instant) -> io::Result<End> {
    loop {
        let (kind, value) = (reader.read_u8().await?, reader.read_u32_le().await?);
        core.heard(began.elapsed());
        match kind {
            PING => core.say(Word::Pong(value)),
            PONG => {
                let sent = Duration::from_micros(value.into());
                core.measured(
                    Duration::from_micros(u64::from(began.elapsed().as_micros() as u32)).saturating_sub(sent),
                );
            }
            WANT => core.clone().give_lane(),
            CLOSE => {
                let mut reason = vec![0; usize::from(reader.read_u16_le().await?).min(REASON)];
                reader.read_exact(&mut reason).await?;
                return Ok(End::ByPeer { code: value, reason: String::from_utf8_lossy(&reason).into_owned() });
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown word on the trunk")),
        }
    }
}

async fn write(
    core: &Arc<Core>,
    mut writer: WriteHalf<TlsStream<TcpStream>>,
    mut words: mpsc::Receiver<Word>,
    began: Instant,
) -> io::Result<End> {
    let mut keep_alive = interval(KEEP_ALIVE);
    loop {
        let (kind, value) = tokio::select! {
            word = words.recv() => match word {
                Some(Word::Pong(number)) => (PONG, number),
                Some(Word::Want) => (WANT, 0),
                None => return Ok(End::Local { code: 0, reason: String::new() }),
            },
            _ = keep_alive.tick() => {
                if began.elapsed().saturating_sub(core.last_heard()) > IDLE {
                    return Ok(End::Lost("nothing was heard for too long".to_owned()));
                }
                (PING, began.elapsed().as_micros() as u32)
            }
            end = core.end_of_all() => {
                if let End::Local { code, reason } = &end {
                    let reason = &reason.as_bytes()[..reason.len().min(REASON)];
                    let mut frame = vec![CLOSE];
                    frame.extend_from_slice(&code.to_le_bytes());
                    frame.extend_from_slice(&(reason.len() as u16).to_le_bytes());
                    frame.extend_from_slice(reason);
                    writer.write_all(&frame).await?;
                    writer.shutdown().await?;
                }
                return Ok(end);
            }
        };
        let mut frame = vec![kind];
        frame.extend_from_slice(&value.to_le_bytes());
        writer.write_all(&frame).await?;
        writer.flush().await?;
    }
}
