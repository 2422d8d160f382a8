//! The first stream connection of a connection, which carries no streams: it keeps the connection alive, measures its round trip, asks
//! for stream connections, and says goodbye.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsStream;

use super::connection_core::{Core, End};
use super::pending_frames::ControlFrame;
use super::socket::Socket;
use super::sole::{self, Sole};
use crate::keep_alive::KeepAlive;
use crate::pipe::Found;

/// Bytes of a frame.
const FRAME: usize = 5;
const PING: u8 = 0;
const PONG: u8 = 1;
const WANT: u8 = 2;
const CLOSE: u8 = 3;
/// Frames of the single stream on a connection without stream connections: data, finish, reset and stop.
const DATA: u8 = 4;
const FIN: u8 = 5;
const RESET: u8 = 6;
const STOP: u8 = 7;
/// Most bytes of data that are read at a time, and written behind one header.
const BLOCK: usize = 8 << 10;
/// A frame that took so long had to wait until the other side took something.
const WAITED: Duration = Duration::from_secs(1);
/// What needs no word is looked after this often.
const LOOK: Duration = Duration::from_secs(10);
/// Most bytes of a goodbye's reason; what is longer is cut.
const REASON: usize = 1024;
/// How long the other side may take to hear a goodbye, and to end its side; half of what a transport waits for all.
const LINGER: Duration = Duration::from_millis(500);
/// Most bytes that are read and forgotten meanwhile.
const UNREAD: u64 = 256 << 10;

/// Both directions of a control connection.
pub(super) type Halves = (ReadHalf<TlsStream<Socket>>, WriteHalf<TlsStream<Socket>>);

/// Runs until the connection ends, for whatever reason, and the other side had time to hear of it.
pub(super) async fn run(core: Arc<Core>, (mut reader, writer): Halves) {
    let began = Instant::now();
    {
        let (reading, writing) = (read(&core, &mut reader, began), write(&core, writer, began));
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
        core.count_received(FRAME);
        match kind {
            PING => core.frames.add(ControlFrame::Pong(value)),
            PONG => {
                let sent = Duration::from_micros(value.into());
                core.measured(
                    Duration::from_micros(u64::from(began.elapsed().as_micros() as u32)).saturating_sub(sent),
                );
            }
            DATA if core.sole.is_some() => take(core, reader, value as usize, began).await?,
            FIN if core.sole.is_some() => core.sole.iter().for_each(|sole| sole.inbound.finish()),
            RESET if core.sole.is_some() => core.sole.iter().for_each(|sole| sole.inbound.reset(value)),
            STOP if core.sole.is_some() => core.sole.iter().for_each(|sole| sole.outbound.stop(value)),
            WANT if core.sole.is_none() => core.clone().give_stream_connection(),
            CLOSE => {
                let mut reason = vec![0; usize::from(reader.read_u16_le().await?).min(REASON)];
                reader.read_exact(&mut reason).await?;
                return Ok(End::ByPeer { code: value, reason: String::from_utf8_lossy(&reason).into_owned() });
            }
            _ => return Ok(End::Local { code: 1, reason: "unknown frame on the control connection".to_owned() }),
        }
    }
}

/// Takes what follows of the one stream. While nobody reads that, nothing else is read either.
async fn take(
    core: &Arc<Core>,
    reader: &mut ReadHalf<TlsStream<Socket>>,
    mut left: usize,
    began: Instant,
) -> io::Result<()> {
    let Some(sole) = &core.sole else { return Ok(()) };
    core.is_used();
    while left > 0 {
        let mut block = vec![0; left.min(BLOCK)];
        let count = reader.read(&mut block).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= count;
        core.heard(began.elapsed());
        core.count_received(count);
        // No larger than what came: of a side that says a byte at a time blocks would wait.
        let mut block = Bytes::copy_from_slice(&block[..count]);
        // What its reader does not want is forgotten.
        while !block.is_empty() && sole.inbound.push(&mut block).is_ok() {
            if !block.is_empty() {
                // Nothing is heard because nothing is read: that is not the other side's silence.
                while timeout(LINGER, sole.inbound.writable.notified()).await.is_err() {
                    core.heard(began.elapsed());
                }
            }
        }
        core.heard(began.elapsed());
    }
    Ok(())
}

/// Writes what waits of the one stream, and its end once; but no more than a window of it, since something else may have to be said.
async fn pass_on(sole: &Sole, ended: &mut bool, out: &mut Out<'_>) -> io::Result<()> {
    for _ in 0..sole::WINDOW / BLOCK {
        if *ended {
            return Ok(());
        }
        let mut frame = vec![0; FRAME + sole.outbound.waiting().min(BLOCK)];
        let (kind, value, count) = match sole.outbound.pull(&mut frame[FRAME..]) {
            Found::Bytes(count) => (DATA, count as u32, count),
            Found::End => (FIN, 0, 0),
            Found::Reset(code) => (RESET, code, 0),
            Found::Nothing => return Ok(()),
        };
        *ended = kind != DATA;
        frame[0] = kind;
        frame[1..FRAME].copy_from_slice(&value.to_le_bytes());
        out.put(&frame[..FRAME + count]).await?;
    }
    sole.outbound.readable.notify_one();
    Ok(())
}

/// The way out of a control connection.
struct Out<'a> {
    core: &'a Core,
    writer: WriteHalf<TlsStream<Socket>>,
    began: Instant,
}

impl Out<'_> {
    /// Writes a frame. A side that takes nothing is waited for no longer than one that says nothing; if it does take something, that is a sign
    /// of life: what it says to ours may wait behind it.
    async fn put(&mut self, frame: &[u8]) -> io::Result<()> {
        let asked = Instant::now();
        let written = async {
            self.writer.write_all(frame).await?;
            self.writer.flush().await
        };
        timeout(self.core.keep_alive.patience, written)
            .await
            .map_err(|_| io::Error::other("nothing was taken for too long"))??;
        if asked.elapsed() >= WAITED {
            self.core.heard(self.began.elapsed());
        }
        Ok(())
    }
}

/// Waits until the one stream has something to say; for ever, if there is none.
async fn has_more(sole: Option<&Sole>) {
    match sole {
        Some(sole) => sole.outbound.readable.notified().await,
        None => std::future::pending().await,
    }
}

async fn write(core: &Arc<Core>, writer: WriteHalf<TlsStream<Socket>>, began: Instant) -> io::Result<End> {
    let mut out = Out { core, writer, began };
    let KeepAlive { every, patience } = core.keep_alive;
    let mut look = interval(every.unwrap_or(LOOK));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stream_ended = false;
    loop {
        let (kind, value) = tokio::select! {
            frame = core.frames.next() => match frame {
                ControlFrame::Pong(number) => (PONG, number),
                ControlFrame::Want => (WANT, 0),
                ControlFrame::Stop(code) => (STOP, code),
                ControlFrame::Ping => (PING, began.elapsed().as_micros() as u32),
            },
            _ = look.tick() => {
                core.close_idle_stream_connections();
                if began.elapsed().saturating_sub(core.last_heard()) > patience {
                    return Ok(End::Lost("nothing was heard for too long".to_owned()));
                }
                if every.is_none() {
                    continue;
                }
                (PING, began.elapsed().as_micros() as u32)
            }
            () = has_more(core.sole.as_ref()) => {
                if let Some(sole) = &core.sole {
                    pass_on(sole, &mut stream_ended, &mut out).await?;
                }
                continue;
            }
            end = core.end_of_all() => {
                // What was said last: at most a window of it waits.
                if let (Some(sole), End::Local { .. }) = (&core.sole, &end) {
                    pass_on(sole, &mut stream_ended, &mut out).await?;
                }
                if let End::Local { code, reason } = &end {
                    let reason = &reason.as_bytes()[..reason.len().min(REASON)];
                    let mut frame = vec![CLOSE];
                    frame.extend_from_slice(&code.to_le_bytes());
                    frame.extend_from_slice(&(reason.len() as u16).to_le_bytes());
                    frame.extend_from_slice(reason);
                    out.put(&frame).await?;
                    out.writer.shutdown().await?;
                }
                return Ok(end);
            }
        };
        let mut frame = vec![kind];
        frame.extend_from_slice(&value.to_le_bytes());
        out.put(&frame).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the future that a function with these arguments returns.
    fn bytes<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// A tracker has a task for each of its peers.
    #[test]
    fn the_task_of_a_connection_is_smaller_than_two_connections() {
        assert!(bytes(run) < 2 * size_of::<TlsStream<Socket>>(), "{} bytes", bytes(run));
    }
}
