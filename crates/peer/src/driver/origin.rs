//! Contents that can be read from where they were made: which origin that is, and what is said of it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{ContentId, Manifest, PieceRange};
use swarm::{ConnId, Event, RequestId};

use super::item::{Item, OriginTold};
use super::state::Driver;
use crate::event::PeerEvent;
use crate::net::origin::{ORIGIN, OriginFetch};
use crate::report::Report;

/// Peers are asked for a manifest before the origin is, and the origin is not asked again for so long.
const MANIFEST: Duration = Duration::from_secs(2);
const MANIFEST_AGAIN: Duration = Duration::from_secs(15);

/// The manifest that these bytes are.
async fn decoded(bytes: Option<Bytes>) -> Option<Manifest> {
    let decoding = tokio::task::spawn_blocking(move || Manifest::decode(bytes?).ok());
    decoding.await.ok().flatten()
}

impl Driver {
    /// The manifest of a content is known, which names its origin, or the user did: the engine is told if that may be read.
    pub(super) fn use_origin(&mut self, content: ContentId, manifest: &Manifest) {
        let Some(item) = self.items.get_mut(&content) else { return };
        if item.origin.is_none() {
            item.origin = match (&item.options.origin, manifest.origin(), &self.setup.named_origins) {
                (Some(origin), ..) => Some(origin.clone()),
                (None, Some(url), Some(open)) => open(url),
                _ => None,
            };
        }
        if let Some(origin) = &item.origin {
            let (cap, spare) = (origin.rate().map(NonZeroU64::get), origin.is_spare());
            self.event(Event::Origin { content, cap, spare });
        }
    }

    /// The manifest has not come for a while: the origin may have it.
    pub(super) fn seek_manifest(&mut self, content: ContentId, attempt: u64) {
        let waits = |item: &&Item| item.attempt == attempt && item.store.is_none() && !item.opening;
        let Some(item) = self.items.get(&content).filter(waits).filter(|item| !item.paused) else { return };
        let Some(origin) = item.options.origin.clone() else { return };
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let found = match origin.manifest(content).await {
                Ok(found) => decoded(found).await.filter(|manifest| manifest.id() == content).ok_or_else(|| {
                    format!("{} has no manifest of {content} beside it that can be read", origin.shown())
                }),
                Err(error) => Err(error.to_string()),
            };
            let report = match found {
                Ok(manifest) => Report::Manifest { manifest: Arc::new(manifest) },
                Err(reason) => {
                    let _ = reports.send(Report::OriginFailed { content, reason }).await;
                    tokio::time::sleep(MANIFEST_AGAIN).await;
                    Report::ManifestLacks { content, attempt }
                }
            };
            let _ = reports.send(report).await;
        });
    }

    /// Asks the origin for the manifest if no peer brings it.
    pub(super) fn expect_manifest(&mut self, content: ContentId, attempt: u64) {
        if self.items.get(&content).is_none_or(|item| item.options.origin.is_none()) {
            return;
        }
        let reports = self.reports.clone();
        tokio::spawn(async move {
            tokio::time::sleep(MANIFEST).await;
            let _ = reports.send(Report::ManifestLacks { content, attempt }).await;
        });
    }

    pub(super) fn fetch_from_origin(&mut self, request: RequestId, content: ContentId, run: PieceRange) {
        let Some(item) = self.items.get(&content) else { return };
        let Some((intake, origin)) = self.intake(request, item, run).zip(item.origin.clone()) else { return };
        let came = intake.came.clone();
        let task = tokio::spawn(OriginFetch { origin, intake }.run());
        self.note_request(request, content, (ConnId::MAX, ORIGIN), came, task);
    }

    /// A piece came from the origin of a content, or a wrong one.
    pub(super) fn origin_brought(&mut self, content: ContentId, right: bool) {
        if right {
            self.tell_origin(content, OriginTold::Read, None);
        } else {
            let reason = "the origin has other bytes than the content was made of: what comes from there is not kept";
            self.tell_origin(content, OriginTold::Failed, Some(reason.to_owned()));
        }
    }

    pub(super) fn origin_failed(&mut self, content: ContentId, reason: String) {
        self.tell_origin(content, OriginTold::Failed, Some(reason));
    }

    /// Says how the origin stands, if that is news.
    fn tell_origin(&mut self, content: ContentId, now: OriginTold, failure: Option<String>) {
        let Some(item) = self.items.get_mut(&content) else { return };
        let origin = item.origin.as_ref().or(item.options.origin.as_ref());
        let Some(origin) = origin.map(|origin| origin.shown().to_owned()) else { return };
        if std::mem::replace(&mut item.origin_told, now) != now {
            self.tell(PeerEvent::Origin { content, origin, failure });
        }
    }
}
