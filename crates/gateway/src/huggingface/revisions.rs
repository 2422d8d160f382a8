//! Which content a revision of a repository is: a commit by the content's name, and `main` the newest that somebody has.

use std::sync::Arc;

use peer::OpenContent;

use super::call::{MAIN, Repository, is_commit, is_repository};
use crate::contents::Contents;
use crate::error::Refusal;

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
        newest(contents, repository).await?
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

/// The name of the newest content of a repository that somebody has: as the trackers list them, or else of those that are here, or that
/// tickets mean.
pub(super) async fn newest(contents: &Contents, repository: &Repository) -> Result<String, Refusal> {
    let here = contents.here(|name| repository.commit(name).is_some()).await;
    let complete = here.iter().filter(|(_, open)| open.status().borrow().is_complete());
    let complete: Vec<&str> = complete.map(|(_, open)| open.manifest().header().name.as_str()).collect();
    let (mut found, mut told_all) = (None, true);
    for (number, swarm) in contents.swarms.iter().enumerate().filter(|(_, swarm)| swarm.asks) {
        let listing = contents.listings.of(number, swarm, is_repository).await;
        let of_it: Vec<_> = listing.names.iter().filter(|(name, _)| repository.commit(name).is_some()).collect();
        if let Some(name) = choose(&of_it, &complete) {
            return Ok(name);
        }
        found = found.or_else(|| of_it.first().map(|(name, _)| name.clone()));
        told_all &= listing.is_whole;
    }
    if let Some(name) = here.first().map(|(_, open)| open.manifest().header().name.clone()).or(found) {
        return Ok(name);
    }
    match contents.names.find(&contents.swarms, |name| repository.commit(name).is_some()).await {
        Ok(Some((_, name))) => Ok(name),
        Ok(None) if told_all => Err(Refusal::NotFound),
        Err(late) if told_all => Err(late),
        Ok(None) | Err(_) => Err(Refusal::Tracker),
    }
}

/// The newest of these that somebody has, or that is complete here.
fn choose(listed: &[&(String, bool)], complete: &[&str]) -> Option<String> {
    let found = listed.iter().find(|(name, has_seeders)| *has_seeders || complete.contains(&name.as_str()));
    found.map(|(name, _)| name.clone())
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
