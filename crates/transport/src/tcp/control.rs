//! The first stream connection of a connection, which carries no streams: it keeps the connection alive, measures its round trip, asks
//! for stream connections, and says goodbye.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};
use tokio_rustls::TlsStream;

use super::connection_core::{ControlFrame, Core, End};
use super::socket::Socket;

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
/// How long the other side may take to hear a goodbye, and to end its side; half of what a transport waits for all.
const LINGER: Duration = Duration::from_millis(500);
/// Most bytes that are read and forgotten meanwhile.
const UNREAD: u64 = 256 << 10;

/// Runs until the connection ends, for whatever reason, and the other side had time to hear of it.
pub(super) async fn run(core: Arc<Core>, stream: TlsStream<Socket>, frames: mpsc::Receiver<ControlFrame>) {
    let (mut reader, writer) = tokio::io::split(stream);
    let began = Instant::now();
    {
        let (reading, writing) = (read(&core, &mut reader, began), write(&core, writer, frames, began));
        tokio::pin!(reading, writing);
        let mut written = false;
        let end = tokio::select! {
            end = &mut reading => end,
            end = core.end_of_all() => Ok(end),
            end = &mut writing => {
                written = true;
                match end {
                    // A peer that cannot be written to may have said why before: that was not read yet.
                    Err(error) => timeout(LINGER, &mut reading).await.unwrap_or(Err(error)),
                    ended => ended,
                }
            }
        };
        core.finish(end.unwrap_or_else(|error| End::Lost(error.to_string())));
        if !written {
            // A peer that does not read is not waited for: a frame that is half written could wait for ever.
            let _ = timeout(LINGER, writing).await;
        }
    }
    if matches!(core.end_of_all().await, End::Local { .. }) {
        // A socket that is closed with something unread sends a reset, which overtakes the goodbye.
        let (mut rest, mut sink) = (reader.take(UNREAD), tokio::io::sink());
        let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut sink)).await;
    }
}

async fn read(core: &Arc<Core>, reader: &mut ReadHalf<TlsStream<Socket>>, began: Instant) -> io::Result<End> {
    loop {
        let (kind, value) = (reader.read_u8().await?, reader.read_u32_le().await?);
        core.heard(began.elapsed());
        match kind {
            PING => core.say(ControlFrame::Pong(value)),
            PONG => {
                let sent = Duration::from_micros(value.into());
                core.measured(
                    Duration::from_micros(u64::from(began.elapsed().as_micros() as u32)).saturating_sub(sent),
                );
            }
            WANT => core.clone().give_stream_connection(),
            CLOSE => {
                let mut reason = vec![0; usize::from(reader.read_u16_le().await?).min(REASON)];
                reader.read_exact(&mut reason).await?;
                return Ok(End::ByPeer { code: value, reason: String::from_utf8_lossy(&reason).into_owned() });
            }
            _ => return Ok(End::Local { code: 1, reason: "unknown frame on the control connection".to_owned() }),
        }
    }
}

async fn write(
    core: &Arc<Core>,
    mut writer: WriteHalf<TlsStream<Socket>>,
    mut frames: mpsc::Receiver<ControlFrame>,
    began: Instant,
) -> io::Result<End> {
    let mut keep_alive = interval(KEEP_ALIVE);
    loop {
        let (kind, value) = tokio::select! {
            frame = frames.recv() => match frame {
                Some(ControlFrame::Pong(number)) => (PONG, number),
                Some(ControlFrame::Want) => (WANT, 0),
                None => return Ok(End::Local { code: 0, reason: String::new() }),
            },
            _ = keep_alive.tick() => {
                core.close_idle_stream_connections();
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
