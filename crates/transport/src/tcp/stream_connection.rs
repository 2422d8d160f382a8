//! One TLS connection, which carries one stream after another.
//!
//! Everything is framed: eight bytes of header (kind, number of the stream on this stream connection, a value), and for data so many
//! bytes as the value says. Each direction of a stream ends with a `FIN` or a `RESET`; once both have ended, the stream connection is
//! free for the next stream. A `STOP` asks the other side for its `RESET`. It may come late, so it names its stream.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_rustls::TlsStream;

use super::socket::{Handle, Socket};

const DATA: u8 = 0;
const FIN: u8 = 1;
const RESET: u8 = 2;
const STOP: u8 = 3;
const HEADER: usize = 8;
/// Most bytes of payload that are put behind their header and written as one.
const SMALL: usize = 4 << 10;

/// A stream connection that carries no stream at present.
pub(super) struct StreamConnection {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// The number of its next stream; the lower 24 bits are on the wire.
    pub(super) next: u32,
    pub(super) socket: Handle,
    /// Since when it has carried no stream.
    pub(super) idle: Instant,
}

/// What the other side says of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamFrame {
    /// So many bytes follow.
    Data(u32),
    /// Its direction has ended well.
    Fin,
    /// Its direction has ended with this code.
    Reset(u32),
    /// It wants no more; with this code.
    Stop(u32),
}

pub(super) struct Reader {
    io: ReadHalf<TlsStream<Socket>>,
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of payload that are still to come.
    left: usize,
}

pub(super) struct Writer {
    io: WriteHalf<TlsStream<Socket>>,
}

impl StreamConnection {
    pub(super) fn new(stream: TlsStream<Socket>) -> Self {
        let socket = stream.get_ref().0.handle();
        let (reader, writer) = tokio::io::split(stream);
        let reader = Reader { io: reader, header: [0; HEADER], filled: 0, left: 0 };
        StreamConnection { reader, writer: Writer { io: writer }, next: 0, socket, idle: Instant::now() }
    }
}

fn violated() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the other side broke the framing")
}

impl Reader {
    /// The next thing said of stream `number`; late frames about earlier ones are skipped. May be dropped while it
    /// waits: nothing is lost. Must not be asked while payload is left.
    pub(super) async fn said(&mut self, number: u32) -> io::Result<StreamFrame> {
        debug_assert_eq!(self.left, 0);
        loop {
            while self.filled < HEADER {
                let count = self.io.read(&mut self.header[self.filled..]).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.filled += count;
            }
            self.filled = 0;
            let [kind, a, b, c, value @ ..] = self.header;
            let (value, of) = (u32::from_le_bytes(value), u32::from_le_bytes([a, b, c, 0]));
            let current = of == number & 0xff_ffff;
            return Ok(match kind {
                DATA if current => {
                    self.left = value as usize;
                    StreamFrame::Data(value)
                }
                FIN if current => StreamFrame::Fin,
                RESET if current => StreamFrame::Reset(value),
                STOP if current => StreamFrame::Stop(value),
                STOP => continue,
                _ => return Err(violated()),
            });
        }
    }

    /// Bytes of payload that are still to come.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Some of the payload that is left: at least one byte, if there is room for one.
    pub(super) async fn payload(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(self.left);
        let count = self.io.read(&mut buf[..most]).await?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        Ok(count)
    }
}

impl Writer {
    /// Writes a frame of data. If it is dropped before it is done, the stream connection is torn.
    pub(super) async fn data(&mut self, number: u32, payload: &[u8]) -> io::Result<()> {
        let header = header(DATA, number, payload.len() as u32);
        if payload.len() <= SMALL {
            let mut frame = Vec::with_capacity(HEADER + payload.len());
            frame.extend_from_slice(&header);
            frame.extend_from_slice(payload);
            self.io.write_all(&frame).await?;
        } else {
            self.io.write_all(&header).await?;
            self.io.write_all(payload).await?;
        }
        self.io.flush().await
    }

    /// Writes a frame without payload.
    pub(super) async fn say(&mut self, number: u32, said: StreamFrame) -> io::Result<()> {
        let header = match said {
            StreamFrame::Data(len) => header(DATA, number, len),
            StreamFrame::Fin => header(FIN, number, 0),
            StreamFrame::Reset(code) => header(RESET, number, code),
            StreamFrame::Stop(code) => header(STOP, number, code),
        };
        self.io.write_all(&header).await?;
        self.io.flush().await
    }

    /// Ends the stream connection; the other side sees its end at once.
    pub(super) async fn shut_down(&mut self) {
        let _ = self.io.shutdown().await;
    }
}

fn header(kind: u8, number: u32, value: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&number.to_le_bytes());
    header.copy_within(0..3, 1);
    header[0] = kind;
    header[4..].copy_from_slice(&value.to_le_bytes());
    header
}
