//! Memory for manifests that are under way. Whether a manifest is the right one is known only with its last byte, and what a sender says
//! of its size may be an invention.
//!
//! All together have as much as the largest manifest, beyond a little that each may always have. It is given part by part as bytes come, and
//! not faster than `PACE`: of many that send without end the engine lets the best go on within a second, and the rest should not
//! have filled it by then. Whoever waits for a part while others have them all gives up soon, and what it has goes to them: otherwise two
//! large ones could each wait for the other.

use std::sync::Arc;
use std::time::Duration;

use protocol::MAX_MANIFEST_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::net::rate::RateCap;

/// Bytes of a part.
pub(super) const PART: usize = 64 << 10;
/// Parts that each may always have.
pub(super) const FIRST_PARTS: usize = 4;
/// Bytes a second that are given to all together.
const PACE: u64 = 16 << 20;
/// A part is waited for no longer than this. The engine takes a sender for one that never ends after twice that time.
const LONGEST: Duration = Duration::from_secs(1);

/// Memory for all manifests of a node.
pub(crate) struct ManifestMemory {
    parts: Arc<Semaphore>,
    pace: RateCap,
}

impl Default for ManifestMemory {
    fn default() -> Self {
        let parts = MAX_MANIFEST_BYTES.div_ceil(PART);
        ManifestMemory { parts: Arc::new(Semaphore::new(parts)), pace: RateCap::new(Some(PACE)) }
    }
}

impl ManifestMemory {
    /// Waits for one more part; nothing if others keep all of them.
    pub(super) async fn part(&self) -> Option<OwnedSemaphorePermit> {
        let part = timeout(LONGEST, self.parts.clone().acquire_owned()).await.ok()?.ok()?;
        self.pace.take(PART).await;
        Some(part)
    }

    /// Bytes that are held beyond what each may always have.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        MAX_MANIFEST_BYTES - self.parts.available_permits() * PART
    }
}
