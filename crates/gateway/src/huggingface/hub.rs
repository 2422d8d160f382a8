//! A hub that is asked for what nobody has shared, and what it said lately.

use std::sync::Arc;
use std::time::Duration;

use origins::OriginError;
use origins::hub::{Hub, HubFile, Repo};

use super::call::is_commit;
use super::ranges::Ranges;
use crate::answers::Answers;
use crate::recent::Recent;

/// How long a branch or tag is believed to be at its commit, and how many of them are remembered.
const REVISIONS: Duration = Duration::from_secs(30);
const MOST_REVISIONS: usize = 1024;
/// Files of a commit never change. Lists of them are remembered as far as they have no more bytes together: a usual one has some
/// kilobytes, and some have many megabytes.
const TREES: Duration = Duration::from_secs(3600);
const MOST_TREES: usize = 4096;
const BYTES_OF_TREES: u64 = 64 << 20;

/// A hub, and what it said lately.
pub(crate) struct HubOrigin {
    pub(super) hub: Hub,
    /// What it said in earlier runs.
    answers: Answers,
    revisions: Recent<(Repo, String), String, OriginError>,
    trees: Recent<(Repo, String), Arc<Vec<HubFile>>, OriginError>,
    /// What is read of files that are not verified yet.
    pub(super) ranges: Ranges,
}

impl HubOrigin {
    pub(crate) fn new(hub: Hub, answers: Answers) -> Self {
        let revisions = Recent::new(REVISIONS, MOST_REVISIONS);
        let size = |files: &Arc<Vec<HubFile>>| files.iter().map(size_of_entry).sum();
        let trees = Recent::new(TREES, MOST_TREES).within(BYTES_OF_TREES, size);
        HubOrigin { hub, answers, revisions, trees, ranges: Ranges::default() }
    }

    /// The commit of a revision; the last that is known, where the hub does not answer.
    pub(super) async fn commit(&self, repo: &Repo, revision: &str) -> Result<String, OriginError> {
        if is_commit(revision) {
            return Ok(revision.to_owned());
        }
        let asked = format!("commit {} {}@{revision}", self.hub.endpoint(), repo.url());
        let stored = self.answers.find(asked.clone(), |commit| is_commit(commit).then(|| commit.to_owned()));
        let key = (repo.clone(), revision.to_owned());
        let (hub, answers, repo, revision) =
            (self.hub.clone(), self.answers.clone(), repo.clone(), revision.to_owned());
        let asking = async move {
            let commit = hub.commit(&repo, &revision).await?;
            let answer = commit.clone();
            answers.keep(asked, || Some(answer)).await;
            Ok(commit)
        };
        self.revisions.get_or_old(key, stored, asking, OriginError::is_transient).await
    }

    /// The files of a commit.
    pub(super) async fn files(&self, repo: &Repo, commit: &str) -> Result<Arc<Vec<HubFile>>, OriginError> {
        let asked = format!("files {} {}@{commit}", self.hub.endpoint(), repo.url());
        let stored = self.answers.find(asked.clone(), |files| serde_json::from_str(files).ok().map(Arc::new));
        let key = (repo.clone(), commit.to_owned());
        let (hub, answers, repo, commit) = (self.hub.clone(), self.answers.clone(), repo.clone(), commit.to_owned());
        let asking = async move {
            let files = Arc::new(hub.files(&repo, &commit).await?);
            let answer = files.clone();
            answers.keep(asked, move || serde_json::to_string(&*answer).ok()).await;
            Ok(files)
        };
        self.trees.get_or_old(key, stored, asking, OriginError::is_transient).await
    }
}

/// What one file takes in memory.
fn size_of_entry(file: &HubFile) -> u64 {
    let text = file.path.len() + file.oid.len() + file.sha256.as_ref().map_or(0, String::len);
    (size_of::<HubFile>() + text) as u64
}
