//! Which content a revision of a repository is: a commit by the content's name, and `main` the newest that is known.

use std::sync::Arc;
use std::time::Duration;

use peer::OpenContent;
use tokio::time::timeout;

use super::call::{MAIN, Repository, is_commit};
use crate::contents::Contents;
use crate::error::Refusal;

/// Longest wait for a page of a tracker's list.
const ANSWER: Duration = Duration::from_secs(10);
/// Most pages of it that are read.
const PAGES: usize = 64;

/// A repository at a commit, as a content of the swarm has it.
pub(crate) struct Revision {
    pub(crate) commit: String,
    pub(crate) open: Arc<OpenContent>,
}

/// The content of a repository at a revision.
pub(crate) async fn resolve(contents: &Contents, repository: &Repository, revision: &str) -> Result<Revision, Refusal> {
    let name = if is_commit(revision) {
        format!("{}{revision}", repository.prefix())
    } else if revision == MAIN {
        newest(contents, repository).await.ok_or(Refusal::NotFound)?
    } else {
        return Err(Refusal::NotFound);
    };
    let open = contents.by_name(&name).await?;
    let commit = repository.commit(&name).ok_or(Refusal::NotFound)?.to_owned();
    if !open.manifest().header().folder {
        return Err(Refusal::NotFound);
    }
    Ok(Revision { commit, open })
}

/// The name of the newest content of a repository: as the trackers list them, or else of those that are here.
async fn newest(contents: &Contents, repository: &Repository) -> Option<String> {
    for swarm in contents.swarms.iter().filter(|swarm| swarm.asks) {
        let mut before = None;
        for _ in 0..PAGES {
            let Ok(Ok(page)) = timeout(ANSWER, swarm.node.list(before)).await else { break };
            let found = page.contents.iter().find(|found| repository.commit(&found.name).is_some());
            if let Some(found) = found {
                return Some(found.name.clone());
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
    }
    let here = contents.here(|name| repository.commit(name).is_some()).await;
    here.first().map(|(_, open)| open.manifest().header().name.clone())
}
