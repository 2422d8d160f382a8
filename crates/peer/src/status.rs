//! How a content stands in a node: the state it is in, how much of it is here, and what it took.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::{PeerId, Run};
use tokio::time::Instant;

use crate::disk::names::policy::NameReport;
use crate::error::PeerError;
use crate::stats::Bottleneck;

/// How a content stands. See [`Download::status`](crate::Download::status) and [`Share::status`](crate::Share::status).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing. The last one stays.
    pub state: State,
    /// The content's name; empty while unknown.
    pub name: String,
    /// Bytes in all, or of the files that are wanted; 0 while unknown.
    pub size: u64,
    /// Pieces stored of those.
    pub have: u32,
    /// Pieces in all; 0 while unknown.
    pub pieces: u32,
    /// Connected peers that take part.
    pub peers: u32,
    /// Payload bytes received so far.
    pub received: u64,
    /// Payload bytes sent so far.
    pub sent: u64,
    /// Payload bytes received in a second, over the last few seconds.
    pub rate: u64,
    /// Bytes of verified pieces, by the peer that they came from.
    pub sources: BTreeMap<PeerId, u64>,
    /// Pieces that nobody who is connected has.
    pub lacking: Vec<Run>,
    /// What a faster download would need more of; nothing for what is shared from the start.
    pub bottleneck: Option<Bottleneck>,
    /// What lies in a folder that is shared here and is no part of the content. Those who get it do not know of it.
    pub left_out: u32,
    /// The download's result, from when it is complete; it stays if the files are changed later and withdrawn.
    pub completed: Option<Completed>,
}

impl Status {
    /// Whether it is complete and has its final name (or was shared from the start).
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// How a download has ended; nothing while it goes on.
    pub(crate) fn outcome(&self) -> Option<Result<Completed, Arc<PeerError>>> {
        match &self.completed {
            Some(completed) => Some(Ok(completed.clone())),
            None => self.state.end().map(Err),
        }
    }
}

/// What a content is doing.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum State {
    /// It is wanted, and its manifest is not known yet.
    #[default]
    Starting,
    /// The manifest is here; what is on the disk already is being looked through.
    Opening,
    /// Pieces are fetched.
    Fetching,
    /// Told to pause: nothing is fetched, and what is verified is kept.
    Paused,
    /// Every piece is verified; the files are made durable and get their names.
    Finishing,
    /// It is complete and has its name, and is shared.
    Complete,
    /// It has failed and was given up. What is verified is kept.
    Failed(Arc<PeerError>),
    /// Its files were changed or removed on disk, for this reason, and are not shared any more.
    Withdrawn(String),
    /// It was cancelled, or is not shared any more.
    Stopped,
}

impl State {
    /// Why nothing more comes of a content; nothing while it is downloaded or shared.
    pub(crate) fn end(&self) -> Option<Arc<PeerError>> {
        match self {
            State::Failed(error) => Some(error.clone()),
            State::Withdrawn(reason) => Some(Arc::new(PeerError::Withdrawn(reason.clone()))),
            State::Stopped => Some(Arc::new(PeerError::Cancelled)),
            _ => None,
        }
    }
}

/// A download that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed {
    /// Where it is.
    pub path: PathBuf,
    /// What it took.
    pub stats: DownloadStats,
}

/// What a download took, and what was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownloadStats {
    /// From the wish to the last verified piece.
    pub verified: Duration,
    /// From the wish to the durable file.
    pub durable: Duration,
    /// Bytes of the files that were wanted.
    pub size: u64,
    /// Payload bytes by the peer that they came from.
    pub sources: BTreeMap<PeerId, u64>,
    /// What a faster download would have needed more of.
    pub bottleneck: Option<Bottleneck>,
    /// Paths, in the content, of files that may be executed: whoever shares them says so. Empty where files have no such bit.
    pub executable: Arc<[String]>,
    /// What was done about doubtful names.
    pub names: NameReport,
}

/// Over how long a rate is measured.
const WINDOW: Duration = Duration::from_secs(3);
/// Most samples in that time.
const SAMPLES: usize = 32;

/// Measures how many bytes come in a second.
#[derive(Default)]
pub(crate) struct RateMeter(VecDeque<(Instant, u64)>);

impl RateMeter {
    /// The rate now that so many bytes have come in all.
    pub(crate) fn rate(&mut self, now: Instant, received: u64) -> u64 {
        while self.0.len() > 1 && (self.0.len() >= SAMPLES || now - self.0[0].0 > WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back((now, received));
        let (then, before) = self.0[0];
        let seconds = (now - then).as_secs_f64();
        if seconds > 0.0 { (received.saturating_sub(before) as f64 / seconds) as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut meter, began) = (RateMeter::default(), Instant::now());
        let at = |tenths: u64| began + Duration::from_millis(100 * tenths);
        assert_eq!(meter.rate(at(0), 0), 0);
        assert_eq!(meter.rate(at(10), 1000), 1000);
        let rates: Vec<_> = (11..=100).map(|tenths| meter.rate(at(tenths), 1000)).collect();
        assert_eq!(rates.last(), Some(&0), "nothing came for long");
        assert!(rates.is_sorted_by(|one, other| one >= other), "{rates:?}");
    }
}
