//! What came of a run.

/// The swarm at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds since the start.
    pub at: f64,
    /// Share of the downloaders that have everything.
    pub done: f64,
    /// Share of all wanted pieces that are there.
    pub pieces: f64,
    /// Copies of the rarest piece among those that take part.
    pub least_copies: u32,
    /// Copies of a piece, on average.
    pub mean_copies: f64,
    /// Copies of the content that seeders have sent.
    pub seeded: f64,
}

/// The end of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed that it ran with.
    pub seed: u64,
    /// Seconds that each downloader took, from its arrival; nothing if it did not get everything.
    pub seconds: Vec<Option<f64>>,
    /// Seconds that no protocol could beat.
    pub bound: f64,
    /// Copies that seeders sent.
    pub seeded: f64,
    /// Copies that went from one site to another.
    pub crossed: f64,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that were sent for nothing: a piece that was there, or came to its end with its request.
    pub wasted: u64,
    /// The swarm over time.
    pub samples: Vec<Sample>,
    /// A digest of everything that was told to any engine, in order.
    pub trace: u64,
    /// Events that engines took in.
    pub events: u64,
}

impl Outcome {
    /// Seconds of the last downloader; nothing if one did not get everything.
    pub fn last(&self) -> Option<f64> {
        self.seconds.iter().try_fold(0.0, |last: f64, seconds| Some(last.max((*seconds)?)))
    }

    /// Seconds on average over those that got everything.
    pub fn mean(&self) -> f64 {
        let done: Vec<f64> = self.seconds.iter().flatten().copied().collect();
        done.iter().sum::<f64>() / done.len().max(1) as f64
    }
}
