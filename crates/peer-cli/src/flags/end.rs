//! When a run ends by itself, as its flags say.

use std::time::Duration;

/// When a session ends by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// Not at all, as the original does.
    Never,
    /// Not at all: the user stops it, and that is no failure, by whatever means.
    AtWill,
    /// Every download is complete.
    Done,
    /// Every download is complete, and has been shared on for so long, or for so many times its size, whatever comes first.
    Shared { time: Option<Duration>, ratio: Option<f64> },
}
