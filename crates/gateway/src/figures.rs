//! What a gateway says of itself in figures.

use peer::State;

/// How much a gateway keeps of what it has downloaded and brought, and has read from origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Bytes that this process has read from origins.
    pub from_origins: u64,
}

/// Whether a download is still to come to an end.
pub(crate) fn is_running(state: &State) -> bool {
    !matches!(state, State::Complete | State::Failed(_) | State::Withdrawn(_) | State::Stopped)
}
