//! The first stream connection of a connection, which carries no streams: it keeps the connection alive, measures its round trip, asks
//! for stream connections, and says goodbye.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsStream;

use super::connection_core::{ControlFrame, Core, End};
use super::socket::Socket;
use super::sole::Sole;
use crate::keep_alive::KeepAlive;
use crate::pipe::Found;

/// Bytes of a frame.
const FRAME: usize = 5;
const PING: u8 = 0;
const PONG: u8 = 1;
const WANT: u8 = 2;
const CLOSE: u8 = 3;
/// Of the one stream of a connection without stream connections: so many bytes follow, its end, and that no more is wanted.
const DATA: u8 = 4;
const FIN: u8 = 5;
const RESET: u8 = 6;
const STOP: u8 = 7;
/// Most bytes of data that are read at a time, and written behind one header.
const BLOCK: usize = 8 << 10;
/// What needs no word is looked after this often.
const LOOK: Duration = Duration::from_secs(10);
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
        core.count_received(FRAME);
        match kind {
            PING => core.say(ControlFrame::Pong(value)),
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
        block.truncate(count);
        let mut block = Bytes::from(block);
        // What its reader does not want is forgotten.
        while !block.is_empty() && matches!(sole.inbound.push(&mut block), Ok(_)) {
            if !block.is_empty() {
                sole.inbound.writable.notified().await;
            }
        }
        core.heard(began.elapsed());
    }
    Ok(())
}

/// Writes what waits of the one stream, and its end once.
async fn pass_on(sole: &Sole, ended: &mut bool, writer: &mut WriteHalf<TlsStream<Socket>>) -> io::Result<()> {
    while !*ended {
        let mut frame = vec![0; FRAME + sole.outbound.waiting().min(BLOCK)];
        let (kind, value, count) = match sole.outbound.pull(&mut frame[FRAME..]) {
            Found::Bytes(count) => (DATA, count as u32, count),
            Found::End => (FIN, 0, 0),
            Found::Reset(code) => (RESET, code, 0),
            Found::Nothing => break,
        };
        *ended = kind != DATA;
        frame[0] = kind;
        frame[1..FRAME].copy_from_slice(&value.to_le_bytes());
        writer.write_all(&frame[..FRAME + count]).await?;
    }
    writer.flush().await
}

/// Waits until the one stream has something to say; for ever, if there is none.
async fn has_more(sole: Option<&Sole>) {
    match sole {
        Some(sole) => sole.outbound.readable.notified().await,
        None => std::future::pending().await,
    }
}

async fn write(
    core: &Arc<Core>,
    mut writer: WriteHalf<TlsStream<Socket>>,
    mut frames: mpsc::Receiver<ControlFrame>,
    began: Instant,
) -> io::Result<End> {
    let KeepAlive { every, patience } = core.keep_alive;
    let mut look = interval(every.unwrap_or(LOOK));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stream_ended = false;
    loop {
        let (kind, value) = tokio::select! {
            frame = frames.recv() => match frame {
                Some(ControlFrame::Pong(number)) => (PONG, number),
                Some(ControlFrame::Want) => (WANT, 0),
                Some(ControlFrame::Stop(code)) => (STOP, code),
                Some(ControlFrame::Ping) => (PING, began.elapsed().as_micros() as u32),
                None => return Ok(End::Local { code: 0, reason: String::new() }),
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
                    pass_on(sole, &mut stream_ended, &mut writer).await?;
                }
                continue;
            }
            end = core.end_of_all() => {
                // What was said last.
                if let (Some(sole), End::Local { .. }) = (&core.sole, &end) {
                    pass_on(sole, &mut stream_ended, &mut writer).await?;
                }
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
