//! The status of a content: its state, how much of it is here, and what it took.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::{PeerId, PieceRange};
use tokio::time::Instant;

use crate::disk::names::policy::NameReport;
use crate::error::PeerError;
use crate::stats::Bottleneck;

/// The status of a content. See [`Download::status`](crate::Download::status) and [`Share::status`](crate::Share::status).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Its name; empty until the manifest is known.
    pub name: String,
    /// Bytes of the files that are wanted or shared; 0 until the manifest is known.
    pub size: u64,
    /// Pieces that are stored.
    pub have: u32,
    /// Pieces that were here at the start: stored by an earlier run, or equal in the file that is replaced.
    pub had: u32,
    /// Pieces in total; 0 until the manifest is known.
    pub pieces: u32,
    /// Connected peers that take part.
    pub peers: u32,
    /// Payload bytes received so far.
    pub received: u64,
    /// Payload bytes sent so far.
    pub sent: u64,
    /// Payload bytes received per second, averaged over the last three seconds.
    pub rate: u64,
    /// Bytes of verified pieces by the peer that sent them.
    pub sources: BTreeMap<PeerId, u64>,
    /// Those who take part in it, or did so since it began here: the first thousand of them.
    pub participants: Vec<Participant>,
    /// Pieces that no connected peer has.
    pub lacking: Vec<PieceRange>,
    /// What limits the download so far; `None` for a share.
    pub bottleneck: Option<Bottleneck>,
    /// Things in a shared folder that are not part of the content.
    pub left_out: u32,
    /// The result of a download, once it is complete. It stays if the files change later and the content is withdrawn.
    pub completed: Option<Completed>,
}

impl Status {
    /// Whether it is complete and under its final name, or shared from the start.
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

/// A peer that takes part in a content, or did so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Participant {
    /// Who it is.
    pub peer: PeerId,
    /// Where it is, as seen from here.
    pub address: SocketAddr,
    /// Other addresses that it says are its own, without ports.
    pub also_at: Vec<IpAddr>,
    /// Whether it is connected and takes part now.
    pub is_connected: bool,
    /// Whether it wants pieces that it lacks, or did so.
    pub wanted: bool,
    /// Whether it has got all that it wanted.
    pub has_all: bool,
    /// Whether it had all of it when it came: what was sent to it was not needed.
    pub came_whole: bool,
    /// Bytes that it has.
    pub have: u64,
    /// Bytes that it is to have in the end.
    pub size: u64,
    /// Payload bytes sent to it.
    pub sent: u64,
    /// Bytes of verified pieces that came from it.
    pub received: u64,
    /// How long it took to get all that it wanted; until then, and where it has left, how long it has been here.
    pub time: Duration,
    /// When it was first connected.
    pub came: Instant,
    /// When it left, if it is not connected now.
    pub left: Option<Instant>,
}

/// What a content is doing.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum State {
    /// The manifest is not known yet.
    #[default]
    Starting,
    /// The manifest is known, and what is on disk is being checked.
    Opening,
    /// Pieces are being fetched.
    Fetching,
    /// Paused.
    Paused,
    /// Every piece is verified. The files are being synced and renamed.
    Finishing,
    /// Complete, under its final name, and shared.
    Complete,
    /// Failed. What is verified is kept.
    Failed(Arc<PeerError>),
    /// Its files were changed or removed on disk, so it is no longer shared.
    Withdrawn(String),
    /// Cancelled, or no longer shared.
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

/// A completed download.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed {
    /// Where it is.
    pub path: PathBuf,
    /// What it took.
    pub stats: DownloadStats,
}

/// What a download took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownloadStats {
    /// Time from the start to the last verified piece.
    pub verified: Duration,
    /// Time from the start to the durable file.
    pub durable: Duration,
    /// Bytes of the files that were wanted.
    pub size: u64,
    /// Payload bytes by the peer that they came from.
    pub sources: BTreeMap<PeerId, u64>,
    /// What limited it.
    pub bottleneck: Option<Bottleneck>,
    /// Paths, in the content, of files that are executable. Empty on platforms without such a permission.
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
