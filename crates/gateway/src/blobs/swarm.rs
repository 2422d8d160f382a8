//! Contents of a swarm that could be what is wanted, by their names. Anyone may have given them those in an open swarm, so that they are
//! digested before they are believed.

use std::sync::Arc;

use peer::{Manifest, Node, OpenContent};
use tokio::time::{Instant, timeout};

use super::{Shared, is_over};
use crate::contents::Contents;

/// Contents of one name that are tried.
const TRIES: usize = 3;

/// A content that could be it.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) open: Arc<OpenContent>,
    /// Where it is downloaded, if this is a folder of its own.
    pub(super) folder: Option<std::path::PathBuf>,
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
            let found = |open| Found { node: swarm.node.clone(), open, folder: swarm.folder(content) };
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
            match timeout(patience, contents.begin(swarm, content, Some(name))).await {
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
