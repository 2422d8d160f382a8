//! Reading a run of pieces from the origin of a content: as pieces of peers they are received, verified, stored and reported; what
//! they come from is behind the seam [`Fallback`].

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{Geometry, PeerId, PieceRange};
use storage::{Fallback, FallbackRead, StorageError};
use swarm::Failure;
use tokio::task::JoinHandle;

use crate::net::intake::{Intake, all};
use crate::report::Report;
use crate::stats::WaitKind;

/// Stands for the origin among those that pieces came from ([`Status::sources`](crate::Status)). No peer has this id.
pub const ORIGIN: PeerId = PeerId(protocol::Digest([0; 32]));

/// Bytes that are verified and written as one, if pieces are small: they come slowly, and others wait for each.
const BLOCK: usize = 256 << 10;

/// One read.
pub(crate) struct OriginFetch {
    pub(crate) origin: Arc<dyn Fallback>,
    pub(crate) intake: Intake,
}

impl OriginFetch {
    /// Reads the run and says how that went, once all of it was stored.
    pub(crate) async fn run(self) {
        let mut storing = Vec::new();
        let outcome = self.receive(&mut storing).await;
        all(storing).await;
        let failure = match &outcome {
            Ok(()) => None,
            Err(StorageError::Unreachable(_)) => Some(Failure::Broken),
            Err(_) => Some(Failure::Invalid),
        };
        if let Err(error) = outcome {
            let (content, reason) = (self.intake.store.id(), error.to_string());
            let _ = self.intake.reports.send(Report::OriginFailed { content, reason }).await;
        }
        self.intake.finished(failure).await;
    }

    async fn receive(&self, storing: &mut Vec<JoinHandle<()>>) -> Result<(), StorageError> {
        let Intake { store, run, waits, buffers, .. } = &self.intake;
        let geometry = store.manifest().geometry();
        let mut reading = Reading { fetch: self, ranges: ranges(geometry, *run), current: None, rest: Bytes::new() };
        let _flowing = waits.flowing();
        // No buffer is taken before something comes.
        reading.more().await?;
        self.intake.begins().await;
        for block in geometry.blocks(*run, BLOCK) {
            let mut buffer = waits.during(WaitKind::Buffers, buffers.take(block.len)).await;
            reading.fill(&mut buffer).await?;
            waits.came_from(ORIGIN, block.len as u64);
            self.intake.store(block, buffer, storing).await;
        }
        Ok(())
    }
}

/// The bytes of a run: of each file that it touches, the range.
fn ranges(geometry: &Geometry, run: PieceRange) -> VecDeque<Range> {
    let mut ranges: VecDeque<Range> = VecDeque::new();
    for stretch in geometry.blocks(run, BLOCK).flat_map(|block| block.stretches) {
        match ranges.back_mut() {
            Some(last) if last.file == stretch.file => last.len += stretch.len as u64,
            _ => ranges.push_back(Range { file: stretch.file, offset: stretch.offset, len: stretch.len as u64 }),
        }
    }
    ranges
}

#[derive(Debug, PartialEq, Eq)]
struct Range {
    file: usize,
    offset: u64,
    len: u64,
}

/// Ranges that are read one after another, and what came of them and was not taken yet.
struct Reading<'a> {
    fetch: &'a OriginFetch,
    ranges: VecDeque<Range>,
    current: Option<(Box<dyn FallbackRead>, u64)>,
    rest: Bytes,
}

impl Reading<'_> {
    async fn fill(&mut self, mut part: &mut [u8]) -> Result<(), StorageError> {
        while !part.is_empty() {
            if self.rest.is_empty() {
                self.more().await?;
            }
            let bytes = self.rest.split_to(self.rest.len().min(part.len()));
            let (filled, behind) = part.split_at_mut(bytes.len());
            filled.copy_from_slice(&bytes);
            part = behind;
        }
        Ok(())
    }

    /// Waits for the next bytes.
    async fn more(&mut self) -> Result<(), StorageError> {
        let OriginFetch { origin, intake } = self.fetch;
        let (mut read, left) = match self.current.take().filter(|(_, left)| *left > 0) {
            Some(current) => current,
            None => {
                let ended = || StorageError::Unreachable("nothing more is to come".to_owned());
                let Range { file, offset, len } = self.ranges.pop_front().ok_or_else(ended)?;
                (origin.read(intake.store.manifest(), file, offset, len), len)
            }
        };
        let bytes = intake.waits.during(WaitKind::Network, read.next()).await?;
        let len = bytes.len() as u64;
        if len == 0 || len > left {
            let source = std::io::Error::other("it sends another number of bytes than was asked for");
            return Err(StorageError::Io { path: origin.shown().into(), source });
        }
        intake.came(bytes.len()).await;
        (self.rest, self.current) = (bytes, Some((read, left - len)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_file_one_range_is_read() {
        let geometry = Geometry::new(1024, vec![1500, 0, 300_000, 10]).unwrap();
        let run = PieceRange { first: 1, count: geometry.pieces() - 1 };
        let range = |file, offset, len| Range { file, offset, len };
        assert_eq!(ranges(&geometry, run), [range(0, 1024, 476), range(2, 0, 300_000), range(3, 0, 10)]);
    }
}
