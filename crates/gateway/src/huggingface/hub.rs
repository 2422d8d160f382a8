//! A hub that is asked for what nobody has shared, and what it said lately.

use std::sync::Arc;
use std::time::Duration;

use origins::OriginError;
use origins::hub::{Hub, HubFile, Repo};

use super::call::is_commit;
use crate::recent::Recent;

/// How long a branch or tag is believed to be at its commit, and how many of them are remembered.
const REVISIONS: Duration = Duration::from_secs(30);
const MOST_REVISIONS: usize = 1024;
/// Files of a commit never change. Some lists of them are long, so that few are remembered.
const TREES: Duration = Duration::from_secs(3600);
const MOST_TREES: usize = 16;
/// A hub, and what it said lately.
pub(crate) struct HubOrigin {
    pub(super) hub: Hub,
    revisions: Recent<(Repo, String), String, OriginError>,
    trees: Recent<(Repo, String), Arc<Vec<HubFile>>, OriginError>,
}

impl HubOrigin {
    pub(crate) fn new(hub: Hub) -> Self {
        let revisions = Recent::new(REVISIONS, MOST_REVISIONS);
        HubOrigin { hub, revisions, trees: Recent::new(TREES, MOST_TREES) }
    }

    /// The commit of a revision; the last that is known, where the hub does not answer.
    pub(super) async fn commit(&self, repo: &Repo, revision: &str) -> Result<String, OriginError> {
        if is_commit(revision) {
            return Ok(revision.to_owned());
        }
        let key = (repo.clone(), revision.to_owned());
        let (hub, repo, revision) = (self.hub.clone(), repo.clone(), revision.to_owned());
        let asking = async move { hub.commit(&repo, &revision).await };
        self.revisions.get_or_old(key, asking, OriginError::is_transient).await
    }

    /// The files of a commit.
    pub(super) async fn files(&self, repo: &Repo, commit: &str) -> Result<Arc<Vec<HubFile>>, OriginError> {
        let key = (repo.clone(), commit.to_owned());
        let (hub, repo, commit) = (self.hub.clone(), repo.clone(), commit.to_owned());
        let asking = async move { hub.files(&repo, &commit).await.map(Arc::new) };
        self.trees.get_or_old(key, asking, OriginError::is_transient).await
    }
}
