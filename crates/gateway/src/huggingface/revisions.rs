//! Which content a revision of a repository is: a commit by the content's name, and `main` the newest that somebody has.

use std::sync::Arc;
use std::time::Duration;

use peer::OpenContent;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::call::{MAIN, Repository, is_commit, is_repository};
use crate::contents::Contents;
use crate::error::Refusal;
use crate::swarm::Swarm;

/// Longest wait for all of a tracker's list.
const ANSWER: Duration = Duration::from_secs(10);
/// Most pages of it that are read.
const PAGES: usize = 64;
/// It is asked for again after this time.
const KEPT: Duration = Duration::from_secs(5);

/// A repository at a commit, as a content of the swarm has it.
pub(crate) struct Revision {
    pub(crate) commit: String,
    pub(crate) open: Arc<OpenContent>,
}

/// What trackers list of repositories, remembered for a moment: clients ask for `main` again and again.
pub(crate) struct Revisions {
    /// One a swarm. Those who ask meanwhile wait for the same list.
    lists: Vec<Mutex<Option<List>>>,
}

/// What a tracker lists of repositories.
struct List {
    since: Instant,
    /// The names of contents, newest first, and whether somebody has all of it.
    names: Vec<(String, bool)>,
    /// Whether the tracker has told all.
    whole: bool,
}

impl Revisions {
    pub(crate) fn new(swarms: usize) -> Self {
        Revisions { lists: (0..swarms).map(|_| Mutex::default()).collect() }
    }

    /// The content of a repository at a revision.
    pub(crate) async fn resolve(
        &self,
        contents: &Contents,
        repository: &Repository,
        revision: &str,
    ) -> Result<Revision, Refusal> {
        let name = if is_commit(revision) {
            format!("{}{revision}", repository.prefix())
        } else if revision == MAIN {
            self.newest(contents, repository).await?
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

    /// The name of the newest content of a repository that somebody has: as the trackers list them, or else of those that are here.
    async fn newest(&self, contents: &Contents, repository: &Repository) -> Result<String, Refusal> {
        let here = contents.here(|name| repository.commit(name).is_some()).await;
        let complete = here.iter().filter(|(_, open)| open.status().borrow().is_complete());
        let complete: Vec<&str> = complete.map(|(_, open)| open.manifest().header().name.as_str()).collect();
        let (mut listed, mut told_all) = (None, true);
        for (swarm, list) in contents.swarms.iter().zip(&self.lists).filter(|(swarm, _)| swarm.asks) {
            let mut list = list.lock().await;
            if list.as_ref().is_none_or(|list| list.since.elapsed() >= KEPT) {
                *list = Some(read(swarm).await);
            }
            let Some(list) = &*list else { continue };
            let of_it: Vec<_> = list.names.iter().filter(|(name, _)| repository.commit(name).is_some()).collect();
            if let Some(name) = choose(&of_it, &complete) {
                return Ok(name);
            }
            listed = listed.or_else(|| of_it.first().map(|(name, _)| name.clone()));
            told_all &= list.whole;
        }
        let known = here.first().map(|(_, open)| open.manifest().header().name.clone()).or(listed);
        known.ok_or(if told_all { Refusal::NotFound } else { Refusal::Tracker })
    }
}

/// The newest of these that somebody has, or that is complete here.
fn choose(listed: &[&(String, bool)], complete: &[&str]) -> Option<String> {
    let found = listed.iter().find(|(name, has_seeders)| *has_seeders || complete.contains(&name.as_str()));
    found.map(|(name, _)| name.clone())
}

/// What a swarm's tracker lists of repositories now.
async fn read(swarm: &Swarm) -> List {
    let (mut names, mut before, mut whole) = (Vec::new(), None, true);
    let end = Instant::now() + ANSWER;
    for _ in 0..PAGES {
        let Ok(Ok(page)) = timeout_at(end, swarm.node.list(before)).await else {
            whole = false;
            break;
        };
        let of_repositories = page.contents.into_iter().filter(|found| is_repository(&found.name));
        names.extend(of_repositories.map(|found| (found.name, found.seeders > 0)));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    List { since: Instant::now(), names, whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_is_the_newest_commit_that_somebody_has() {
        let listed = [("new", false), ("older", true), ("oldest", true)].map(|(name, has)| (name.to_owned(), has));
        let listed: Vec<_> = listed.iter().collect();
        assert_eq!(choose(&listed, &[]).as_deref(), Some("older"));
        assert_eq!(choose(&listed, &["new"]).as_deref(), Some("new"), "it is complete here");
        assert_eq!(choose(&listed[..1], &[]), None);
    }
}
