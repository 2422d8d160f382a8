//! Contents of a swarm that could be what is wanted, by their names. Anyone may have given them those in an open swarm, so that they are
//! digested before they are believed.

use std::sync::Arc;
use std::time::Duration;

use peer::{ContentId, Fallback, Manifest, Node, OpenContent};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Shared, is_over};
use crate::contents::Contents;
use crate::error::Refusal;
use crate::swarm::Swarm;

/// Contents of one name that are tried.
const TRIES: usize = 3;
/// How often as long as usual what has just been read is waited for: everybody asks its reader for the manifest at once.
const AT_ONCE: u32 = 4;
/// Time between two looks for room.
const ROOM: Duration = Duration::from_millis(100);
/// Where many begin at once, a client waits so long for a piece before that comes before others.
const STARVED: Duration = Duration::from_secs(4);

/// What may be larger and is of unknown size is taken to be so large by those who wait for it.
const UNKNOWN: u64 = 1 << 30;

/// Where a content can be read if peers bring next to nothing: a slow peer should not keep a file from its origin.
pub(super) type Spare = Option<Arc<dyn Fallback>>;

/// What the manifest of a single file that is wanted says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    /// Its size, if that is known.
    pub(super) size: Option<u64>,
    /// Most bytes that it may have.
    pub(super) most: u64,
}

impl Fit {
    /// Its size, or what it is taken to be.
    pub(super) fn expected(&self) -> u64 {
        self.size.unwrap_or(self.most.min(UNKNOWN))
    }

    /// Whether it may have any size.
    pub(super) fn has_any_size(&self) -> bool {
        self.size.is_none() && self.most > UNKNOWN
    }

    /// There is no room for a content. Where the size of what is wanted is not known, somebody may share something larger under its name,
    /// and it is looked for elsewhere.
    pub(super) fn has_no_room(&self, refusal: Refusal) -> Result<Option<Found>, Refusal> {
        match refusal {
            Refusal::Full | Refusal::TooLarge if self.size.is_none() => Ok(None),
            refusal => Err(refusal),
        }
    }

    pub(super) fn fits(&self, manifest: &Manifest) -> bool {
        let header = manifest.header();
        let fits = |found: u64| self.size.is_none_or(|size| found == size) && found <= self.most;
        matches!(&header.files[..], [file] if !header.folder && fits(file.size))
    }
}

/// A content that could be it.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) open: Arc<OpenContent>,
    /// Where it is downloaded, if this is a folder of its own.
    pub(super) folder: Option<std::path::PathBuf>,
    /// Whether many begin with it at once, so that nobody's readers hasten anything.
    pub(super) is_patient: bool,
}

impl Found {
    /// Whether a gateway has downloaded it, and it is not something of the user's own.
    pub(super) fn is_downloaded(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.exists())
    }
}

/// The content of this name that most have, and whose manifest fits. It is downloaded from then on. A tracker, a manifest, and the files
/// are each waited for so long, and nothing more is tried
/// after `end`: the origin has it in any case. Fails where this gateway has no room for it, which is no fault of the content.
pub(super) async fn find(
    contents: &Contents,
    shared: &Shared,
    end: Instant,
    name: &str,
    spare: &Spare,
    fits: impl Fn(&Manifest) -> bool,
) -> Result<Option<Found>, Refusal> {
    let Shared { avoided, begun, patience, .. } = shared;
    let patience = *patience;
    for swarm in contents.swarms.iter().filter(|swarm| swarm.asks) {
        let Ok(Ok(mut found)) = timeout(patience, swarm.node.find(name)).await else { continue };
        found.retain(|found| found.seeders > 0 && found.name == name && !avoided.has(found.content));
        found.sort_by_key(|found| std::cmp::Reverse(found.seeders));
        for content in found.into_iter().take(TRIES).map(|found| found.content) {
            if Instant::now() >= end {
                return Ok(None);
            }
            let found =
                |open| Found { node: swarm.node.clone(), open, folder: swarm.folder(content), is_patient: false };
            if let Some(open) = swarm.node.open(content).await {
                if fits(open.manifest()) {
                    return Ok(Some(found(Arc::new(open))));
                }
                continue;
            }
            let Ok(Ok(manifest)) = timeout(patience, swarm.node.manifest(content)).await else {
                avoided.slow(content);
                continue;
            };
            if manifest.header().name != name || !fits(&manifest) {
                avoided.wrong(content);
                continue;
            }
            may_fit(shared, swarm, &manifest)?;
            let is_new = swarm.node.status(content).await.is_none_or(|status| is_over(&status.state));
            if is_new && !begun.has_room() {
                return Ok(None);
            }
            match timeout(patience, contents.begin(swarm, content, Some(name), spare)).await {
                Ok(Ok(open)) => {
                    if is_new {
                        begun.add(content, open.status());
                    }
                    return Ok(Some(found(open)));
                }
                Ok(Err(refusal)) if refusal.is_lack_of_room() => return Err(refusal),
                _ => {
                    avoided.slow(content);
                    if is_new {
                        contents.abandon(swarm, content).await;
                    }
                }
            }
        }
    }
    Ok(None)
}

/// Fails for what is larger than all that this gateway may keep of what it downloads.
fn may_fit(shared: &Shared, swarm: &Swarm, manifest: &Manifest) -> Result<(), Refusal> {
    match swarm.root() {
        Some(_) => shared.kept.may_fit(manifest.geometry().total()),
        None => Ok(()),
    }
}

/// A content that another gateway has just read, and that all who waited for it begin to download now. Its manifest is waited for a little
/// longer than usual, and room for one more download too: the origin is to be read once. Fails where there is no room.
pub(super) async fn take(
    contents: &Contents,
    shared: &Shared,
    swarm: &Swarm,
    content: ContentId,
    name: &str,
    (fit, spare): (Fit, &Spare),
) -> Result<Option<Found>, Refusal> {
    let Shared { avoided, begun, patience, .. } = shared;
    let patience = *patience * AT_ONCE;
    let Ok(Ok(manifest)) = timeout(patience, swarm.node.manifest(content)).await else {
        avoided.slow(content);
        return Ok(None);
    };
    if manifest.header().name != name || !fit.fits(&manifest) {
        avoided.wrong(content);
        return Ok(None);
    }
    may_fit(shared, swarm, &manifest)?;
    let is_new = swarm.node.status(content).await.is_none_or(|status| is_over(&status.state));
    let end = Instant::now() + patience;
    while is_new && !begun.has_room() {
        wait_for_room(end).await?;
    }
    let begun_so = loop {
        match timeout_at(end, contents.begin(swarm, content, Some(name), spare)).await {
            Ok(Err(Refusal::Busy)) => wait_for_room(end).await?,
            Ok(Err(refusal)) if refusal.is_lack_of_room() => return Err(refusal),
            other => break other,
        }
    };
    let Ok(Ok(open)) = begun_so else {
        avoided.slow(content);
        if is_new {
            contents.abandon(swarm, content).await;
        }
        return Ok(None);
    };
    if is_new {
        begun.add(content, open.status());
    }
    let Some(open) = swarm.node.open(content).await else { return Ok(None) };
    let (node, open) = (swarm.node.clone(), Arc::new(open.patient(STARVED)));
    Ok(Some(Found { node, open, folder: swarm.folder(content), is_patient: true }))
}

/// Waits a moment until it is looked for room again; fails after `end`.
async fn wait_for_room(end: Instant) -> Result<(), Refusal> {
    if Instant::now() >= end {
        return Err(Refusal::Busy);
    }
    sleep(ROOM).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_unknown_size_is_taken_for_one_of_a_gib_at_most() {
        let of = |size, most| Fit { size, most };
        for (fit, expected, has_any_size) in [
            (of(None, u64::MAX), UNKNOWN, true),
            (of(None, 4 << 20), 4 << 20, false),
            (of(Some(5 << 30), u64::MAX), 5 << 30, false),
        ] {
            assert_eq!((fit.expected(), fit.has_any_size()), (expected, has_any_size), "{fit:?}");
            let is_refused = fit.has_no_room(Refusal::TooLarge).is_err();
            assert_eq!(is_refused, fit.size.is_some(), "{fit:?}: what is too large may be something else");
        }
    }
}
