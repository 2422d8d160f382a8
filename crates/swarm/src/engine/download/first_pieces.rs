//! What is under way for the first pieces of one content, which were asked for together with the manifest.

use std::time::Duration;

use protocol::PieceRange;

use crate::event::{ConnId, RequestId};

/// What was asked for before it is known how the content is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) conn: ConnId,
    pub(super) request: RequestId,
    /// Most bytes that are held.
    pub(super) most: u64,
    pub(super) since: Duration,
    /// Which pieces come, once the other side has said so.
    pub(super) run: Option<PieceRange>,
}

/// The first pieces of a content.
#[derive(Debug, Default)]
pub(crate) struct FirstPieces {
    pub(super) asked: Option<First>,
    /// How often somebody was asked.
    pub(super) tries: u32,
}
