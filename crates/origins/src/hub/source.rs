//! A model or data set as an origin: a folder content of all its files.

use std::ops::Range;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Hub, Repo};
use crate::{ByteStream, Listing, Object, OriginError, Source, Unfit, Version};

/// A model or data set at a revision.
pub struct HubSource {
    hub: Hub,
    repo: Repo,
    revision: String,
    url: String,
}

impl HubSource {
    /// At a branch, a tag or a commit.
    pub fn new(hub: Hub, repo: Repo, revision: &str) -> Self {
        let url = format!("{}@{revision}", repo.url());
        HubSource { hub, repo, revision: revision.to_owned(), url }
    }
}

impl Source for HubSource {
    fn url(&self) -> &str {
        &self.url
    }

    /// Without a revision: a commit is the same by every name.
    fn identity(&self) -> String {
        format!("{} {}", self.hub.endpoint, self.repo.url())
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, OriginError>> {
        async {
            let commit = self.hub.commit(&self.repo, &self.revision).await?;
            let files = self.hub.files(&self.repo, &commit).await?;
            let objects = files.iter().map(|file| file.object(&commit)).collect();
            let name = self.repo.content_name(&commit);
            Ok(Listing { name, folder: true, objects, unfit: Unfit::default() })
        }
        .boxed()
    }

    fn read<'a>(&'a self, object: &'a Object, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, OriginError>> {
        async move {
            let Version::Commit(commit) = &object.version else {
                return Err(OriginError::Changed(self.url.clone()));
            };
            self.hub.open(&self.repo, commit, object, range).await
        }
        .boxed()
    }
}
