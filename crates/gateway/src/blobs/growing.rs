//! A file that is written while others read it already.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use peer::ReadMemory;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::error::Refusal;

/// Most bytes that are read at a time.
const BLOCK: u64 = 256 << 10;

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not all of it has been digested.
    Open,
    /// It is what its digest says.
    Right,
    /// It is not.
    Wrong,
    /// It does not come, and clients are told so.
    Failed(Refusal),
}

/// A file that reaches its size or fails: its writer has deadlines.
pub(crate) struct Growing {
    pub(crate) path: PathBuf,
    pub(super) size: u64,
    /// Bytes that are there.
    pub(super) came: watch::Receiver<u64>,
    pub(super) verdict: watch::Receiver<Verdict>,
}

impl Growing {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Reads these bytes as they come, each block once there is room for it.
    pub(crate) fn read(self: &Arc<Self>, range: Range<u64>, memory: &ReadMemory) -> GrowingReader {
        GrowingReader { growing: self.clone(), file: None, range, memory: memory.clone(), asked: None }
    }

    /// Waits until there are more bytes than so many, and says how many there are.
    async fn more_than(&self, bytes: u64) -> io::Result<u64> {
        let (mut came, mut verdict) = (self.came.clone(), self.verdict.clone());
        loop {
            let so_far = *came.borrow_and_update();
            let known = *verdict.borrow_and_update();
            match known {
                // What is wrong goes no further.
                Verdict::Wrong => return outcome(known).map(|()| so_far),
                _ if so_far > bytes => return Ok(so_far),
                Verdict::Open => {}
                Verdict::Failed(_) => return outcome(known).map(|()| so_far),
                Verdict::Right => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            let ended = tokio::select! {
                changed = came.changed() => changed,
                changed = verdict.changed() => changed,
            };
            // Nobody writes any more; perhaps all is there.
            if ended.is_err() && *self.verdict.borrow() == Verdict::Open && *self.came.borrow() <= bytes {
                return outcome(Verdict::Open).map(|()| so_far);
            }
        }
    }
}

/// A block that was asked for, and the file for the next one.
type Reading = Pin<Box<dyn Future<Output = io::Result<(File, Bytes)>> + Send>>;

/// Reads a range of a file that grows.
pub(crate) struct GrowingReader {
    growing: Arc<Growing>,
    file: Option<File>,
    range: Range<u64>,
    memory: ReadMemory,
    asked: Option<Reading>,
}

impl GrowingReader {
    /// The next block; empty at the end.
    pub(crate) fn poll_block(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.range.is_empty() {
            return Poll::Ready(Ok(Bytes::new()));
        }
        let asked = self.asked.get_or_insert_with(|| {
            let (growing, memory) = (self.growing.clone(), self.memory.clone());
            Box::pin(block(growing, self.file.take(), self.range.clone(), memory))
        });
        let Poll::Ready(read) = asked.as_mut().poll(context) else { return Poll::Pending };
        self.asked = None;
        Poll::Ready(read.map(|(file, bytes)| {
            self.file = Some(file);
            self.range.start += bytes.len() as u64;
            bytes
        }))
    }
}

async fn block(
    growing: Arc<Growing>,
    file: Option<File>,
    range: Range<u64>,
    memory: ReadMemory,
) -> io::Result<(File, Bytes)> {
    let there = growing.more_than(range.start).await?;
    let end = range.end.min(there).min(range.start + BLOCK);
    let len = (end - range.start) as usize;
    let room = memory.take(len).await;
    let reading = spawn_blocking(move || {
        let mut file = match file {
            Some(file) => file,
            None => atomic_file::open_patiently(|| File::open(&growing.path))?,
        };
        let mut bytes = vec![0; len];
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut bytes)?;
        Ok::<_, io::Error>((file, Bytes::from(bytes)))
    });
    let (file, bytes) = reading.await.map_err(io::Error::other)??;
    Ok((file, room.hold(bytes)))
}

/// What an answer comes to. What is not known never will be.
pub(super) fn outcome(verdict: Verdict) -> io::Result<()> {
    match verdict {
        Verdict::Right => Ok(()),
        Verdict::Wrong => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not what its digest says")),
        Verdict::Open => Err(io::Error::other(Refusal::Late)),
        Verdict::Failed(refusal) => Err(io::Error::other(refusal)),
    }
}
