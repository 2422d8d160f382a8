//! What a gateway says of itself in figures.

use peer::State;

/// How much a gateway keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptFigures {
    /// Bytes that are kept, or for which there is room already.
    pub bytes: u64,
    /// How many there may be, if there is a bound.
    pub most: Option<u64>,
    /// Contents and files that are kept.
    pub kept: u64,
    /// How many had to go so far.
    pub removed: u64,
    /// Contents whose download runs.
    pub downloading: u64,
    /// Contents that are complete, and shared.
    pub sharing: u64,
}

/// Whether a download is still to come to an end.
pub(crate) fn is_running(state: &State) -> bool {
    !matches!(state, State::Complete | State::Failed(_) | State::Withdrawn(_) | State::Stopped)
}
