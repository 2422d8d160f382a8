//! A file that is here or on its way, and what is known of its digest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peer::OpenContent;
use tokio::sync::watch;

use super::growing::{Growing, Verdict, outcome};
use super::is_gone;
use crate::body::{Awaited, Later, Source};

/// A file that is here or on its way.
#[derive(Clone)]
pub(crate) struct Held {
    /// What has its bytes.
    pub(crate) source: Source,
    /// Where it begins there.
    pub(crate) offset: u64,
    /// Its size.
    pub(crate) size: u64,
    verdict: watch::Receiver<Verdict>,
    /// Whether clients may have bytes of it that were sent before it was known to be right.
    went_out: Arc<AtomicBool>,
}

impl Held {
    /// A file of a content.
    pub(super) fn in_content(
        open: Arc<OpenContent>,
        offset: u64,
        size: u64,
        verdict: watch::Receiver<Verdict>,
    ) -> Self {
        Held { source: Source::Content(open), offset, size, verdict, went_out: Arc::default() }
    }

    /// A file that grows.
    pub(super) fn growing(growing: Arc<Growing>) -> Self {
        let (size, verdict) = (growing.size, growing.verdict.clone());
        Held { source: Source::File(growing), offset: 0, size, verdict, went_out: Arc::default() }
    }

    /// A file of which it is not known yet where it comes from.
    pub(super) fn later(later: Arc<dyn Later>, size: u64, verdict: watch::Receiver<Verdict>) -> Self {
        Held { source: Source::Later(later), offset: 0, size, verdict, went_out: Arc::default() }
    }

    /// What is known of it.
    pub(super) fn verdict(&self) -> Verdict {
        *self.verdict.borrow()
    }

    /// Bytes of it are about to be sent that are not known to be right. Fails where it is known already that they may not be.
    pub(crate) fn goes_out(&self) -> io::Result<()> {
        self.went_out.store(true, Ordering::SeqCst);
        match self.verdict() {
            Verdict::Open | Verdict::Right => Ok(()),
            verdict => outcome(verdict),
        }
    }

    /// Whether any were sent so.
    pub(super) fn went_out(&self) -> bool {
        self.went_out.load(Ordering::SeqCst)
    }

    /// Whether it must be looked for again.
    pub(super) fn is_over(&self) -> bool {
        let verdict = *self.verdict.borrow();
        let is_lost = verdict == Verdict::Open && self.verdict.has_changed().is_err();
        is_lost
            || matches!(verdict, Verdict::Wrong | Verdict::Failed(_))
            || match &self.source {
                Source::Content(open) => is_gone(open),
                // It may have gone to make room, and what still comes does not go.
                Source::File(growing) => verdict == Verdict::Right && !growing.path.is_file(),
                Source::Later(later) => later.is_over(),
                Source::Known { .. } => false,
            }
    }

    /// What the end of an answer waits for; nothing if the file is known to be right.
    pub(crate) fn awaited(&self) -> Option<Awaited> {
        if *self.verdict.borrow() == Verdict::Right {
            return None;
        }
        let held = self.clone();
        Some(Box::pin(async move { held.is_right().await }))
    }

    /// Waits until it is known to be right; fails if it is not.
    pub(crate) async fn is_right(&self) -> io::Result<()> {
        let mut verdict = self.verdict.clone();
        let found = verdict.wait_for(|verdict| *verdict != Verdict::Open).await;
        outcome(found.map_or(Verdict::Open, |verdict| *verdict))
    }
}
