//! What came of a run.

use serde::Serialize;

/// The swarm at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sample {
    /// Seconds since the start.
    pub at: f64,
    /// Share of the downloads that are complete.
    pub done: f64,
    /// Share of all wanted pieces that are there.
    pub pieces: f64,
    /// Copies of the rarest piece among those that take part.
    pub least_copies: u32,
    /// Copies of a piece, on average.
    pub mean_copies: f64,
    /// Copies of all contents that seeders have sent.
    pub seeded: f64,
}

/// How it went for a peer that read in order while it downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reading {
    /// Seconds from the manifest to its first piece; nothing if it never had one.
    pub first: Option<f64>,
    /// Seconds that it waited after that, in all.
    pub stalled: f64,
}

/// The end of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The seed that it ran with.
    pub seed: u64,
    /// Seconds that each download took, from the arrival of its peer; nothing if it did not get everything. Peers that
    /// crashed before count as none.
    pub seconds: Vec<Option<f64>>,
    /// Downloads that are not complete though their peer could reach each piece: there should be none, ever.
    pub stuck: u32,
    /// Downloads that are not complete because some piece was in nobody's reach.
    pub cut_off: u32,
    /// Downloads that ended with a crash of their own peer.
    pub crashed: u32,
    /// Seconds that no protocol could beat.
    pub bound: f64,
    /// Copies that seeders sent.
    pub seeded: f64,
    /// Copies that the origin sent.
    pub from_origin: f64,
    /// Copies that went from one site to another.
    pub crossed: f64,
    /// Bytes that were sent.
    pub sent: u64,
    /// Of those, bytes that were lost on the way and sent again.
    pub lost: u64,
    /// Of those, bytes that were lost, that were there already, were wrong, or came to their end with their request.
    pub wasted: u64,
    /// How it went for each that read in order.
    pub reading: Vec<Reading>,
    /// The swarm over time.
    pub samples: Vec<Sample>,
    /// A digest of everything that was told to any engine, in order.
    pub trace: u64,
    /// Events that engines took in.
    pub events: u64,
}

impl Outcome {
    /// Seconds of the last download; nothing if one did not get everything.
    pub fn last(&self) -> Option<f64> {
        self.seconds.iter().try_fold(0.0, |last: f64, seconds| Some(last.max((*seconds)?)))
    }

    /// Seconds on average over those that got everything.
    pub fn mean(&self) -> f64 {
        let done: Vec<f64> = self.seconds.iter().flatten().copied().collect();
        done.iter().sum::<f64>() / done.len().max(1) as f64
    }
}
