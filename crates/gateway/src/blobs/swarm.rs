//! Contents of a swarm that could be what is wanted, by their names. Anyone may have given them those in an open swarm, so that they are
//! digested before they are believed.

use std::sync::Arc;
use std::time::Duration;

use peer::{ContentId, Fallback, Manifest, Node, OpenContent};
use tokio::time::{Instant, sleep, timeout};

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
/// after `end`: the origin has it in any case.
pub(super) async fn find(
    contents: &Contents,
    shared: &Shared,
    end: Instant,
    name: &str,
    spare: &Spare,
    fits: impl Fn(&Manifest) -> bool,
) -> Option<Found> {
    let Shared { avoided, begun, patience, .. } = shared;
    let patience = *patience;
    for swarm in contents.swarms.iter().filter(|swarm| swarm.asks) {
        let Ok(Ok(mut found)) = timeout(patience, swarm.node.find(name)).await else { continue };
        found.retain(|found| found.seeders > 0 && found.name == name && !avoided.has(found.content));
        found.sort_by_key(|found| std::cmp::Reverse(found.seeders));
        for content in found.into_iter().take(TRIES).map(|found| found.content) {
            if Instant::now() >= end {
                return None;
            }
            let found =
                |open| Found { node: swarm.node.clone(), open, folder: swarm.folder(content), is_patient: false };
            if let Some(open) = swarm.node.open(content).await {
                if fits(open.manifest()) {
                    return Some(found(Arc::new(open)));
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
            let is_new = swarm.node.status(content).await.is_none_or(|status| is_over(&status.state));
            if is_new && !begun.has_room() {
                return None;
            }
            match timeout(patience, contents.begin(swarm, content, Some(name), spare)).await {
                Ok(Ok(open)) => {
                    if is_new {
                        begun.add(content, open.status());
                    }
                    return Some(found(open));
                }
                _ => {
                    avoided.slow(content);
                    if is_new {
                        contents.abandon(swarm, content).await;
                    }
                }
            }
        }
    }
    None
}

/// A content that another gateway has just read, and that all who waited for it begin to download now. Its manifest is waited for a little
/// longer than usual, and room for one more download too: the origin is to be read once.
pub(super) async fn take(
    contents: &Contents,
    shared: &Shared,
    swarm: &Swarm,
    content: ContentId,
    name: &str,
    (fit, spare): (Fit, &Spare),
) -> Option<Found> {
    let Shared { avoided, begun, patience, .. } = shared;
    let patience = *patience * AT_ONCE;
    let Ok(Ok(manifest)) = timeout(patience, swarm.node.manifest(content)).await else {
        avoided.slow(content);
        return None;
    };
    if manifest.header().name != name || !fit.fits(&manifest) {
        avoided.wrong(content);
        return None;
    }
    let is_new = swarm.node.status(content).await.is_none_or(|status| is_over(&status.state));
    let beginning = async {
        while is_new && !begun.has_room() {
            sleep(ROOM).await;
        }
        loop {
            match contents.begin(swarm, content, Some(name), spare).await {
                Err(Refusal::Busy) => sleep(ROOM).await,
                other => return other,
            }
        }
    };
    let Ok(Ok(open)) = timeout(patience, beginning).await else {
        avoided.slow(content);
        if is_new {
            contents.abandon(swarm, content).await;
        }
        return None;
    };
    if is_new {
        begun.add(content, open.status());
    }
    let open = Arc::new(swarm.node.open(content).await?.patient(STARVED));
    Some(Found { node: swarm.node.clone(), open, folder: swarm.folder(content), is_patient: true })
}
