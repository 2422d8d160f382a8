//! Hugging Face's hub, or a server that speaks as it does: what a model or data set has at a commit, and ranges of its files.
//!
//! The hub is that of `HF_ENDPOINT`, and the token that of `HF_TOKEN` or of the file that `hf auth login` writes, as for the hub's
//! own clients. The token goes to the hub alone, and not to where it redirects.
//!
//! ```no_run
//! use p2p_fileshare_origins::Limits;
//! use p2p_fileshare_origins::hub::{Hub, Repo};
//!
//! # async fn example() -> Result<(), p2p_fileshare_origins::OriginError> {
//! let hub = Hub::from_env(&Limits::default())?;
//! let repo = Repo::model("org/model")?;
//! let commit = hub.commit(&repo, "main").await?;
//! let files = hub.files(&repo, &commit).await?;
//! // A file's first megabyte, whole or not at all; `reader` gives larger ranges part by part.
//! let first = hub.read(&repo, &commit, &files[0], 0..files[0].size.min(1 << 20)).await?;
//! # Ok(())
//! # }
//! ```

mod place;
mod repo;
mod source;
mod tree;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder, Url};
use serde::{Deserialize, Serialize};

use crate::client::{RangeRequest, client, client_of, read_range, send};
use crate::http::{not_allowed, small_body};
use crate::outage::Outage;
use crate::redirects::{Allowed, Named};
use crate::{ByteStream, FileDigest, Limits, Object, Origin, OriginError, Pace, RangeReader, Version};
pub use repo::{Repo, RepoKind};
pub use source::HubSource;

/// Most bytes of an answer about a revision. It lists all files, which is not asked for.
const MOST_OF_REVISION: usize = 32 << 20;

/// A file of a model or data set at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubFile {
    /// Its path, with `/`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The hub's name of it in hexadecimal: of git's blob, which for a file that is kept by LFS is only a pointer.
    pub oid: String,
    /// The SHA-256 of its bytes in hexadecimal, if it is kept by LFS.
    pub sha256: Option<String>,
}

impl HubFile {
    /// The ETag that the hub gives it, without quotation marks.
    pub fn etag(&self) -> &str {
        self.sha256.as_deref().unwrap_or(&self.oid)
    }

    /// What its bytes are: by the hub, every file has a digest.
    pub fn digest(&self) -> Option<FileDigest> {
        match &self.sha256 {
            Some(sha256) => hex(sha256).map(FileDigest::Sha256),
            None => hex(&self.oid).map(FileDigest::GitBlob),
        }
    }

    /// What it is to an origin of this commit: see [`Hub::origin`].
    pub fn object(&self, commit: &str) -> Object {
        let version = Version::Commit(commit.to_owned());
        Object { path: self.path.clone(), key: self.path.clone(), size: self.size, version, digest: self.digest() }
    }
}

/// So many bytes in hexadecimal, lower case or not.
pub(crate) fn hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    if text.len() != 2 * BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (number, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * number..2 * number + 2], 16).ok()?;
    }
    Some(bytes)
}

/// A hub.
#[derive(Clone)]
pub struct Hub {
    client: Client,
    endpoint: Url,
    token: Option<String>,
    limits: Limits,
    outage: Outage,
    pace: Option<Pace>,
}

impl Hub {
    /// The hub of `HF_ENDPOINT`, with the token of this user.
    pub fn from_env(limits: &Limits) -> Result<Self, OriginError> {
        Hub::new(&place::endpoint(), place::token(), limits)
    }

    /// The hub at this address, with the token of this user.
    pub fn at_url(endpoint: &str, limits: &Limits) -> Result<Self, OriginError> {
        Hub::new(endpoint, place::token(), limits)
    }

    /// The hub at this address, with this token if there is one.
    pub fn new(endpoint: &str, token: Option<String>, limits: &Limits) -> Result<Self, OriginError> {
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        let url = Url::parse(endpoint).ok().filter(is_web);
        let mut url =
            url.ok_or_else(|| OriginError::url(endpoint, "a hub is at an address such as https://huggingface.co"))?;
        url.set_query(None);
        url.set_fragment(None);
        let (client, outage) = (client(limits, &url)?, Outage::default());
        Ok(Hub { client, endpoint: url, token, limits: limits.clone(), outage, pace: None })
    }

    /// The hub of `HF_ENDPOINT` for what a manifest names: without a token, and only if its host is allowed.
    pub(crate) fn anonymous(limits: &Limits, allowed: &Allowed) -> Result<Self, OriginError> {
        let hub = Hub::new(&place::endpoint(), None, limits)?;
        if !allowed.has(&hub.endpoint) {
            return Err(not_allowed(&hub.endpoint));
        }
        Ok(Hub { client: client_of(limits, &Named::by_stranger(allowed))?, ..hub })
    }

    /// The same hub, whose files are read no faster than this, together with all others that have it.
    pub fn paced(self, pace: Option<Pace>) -> Self {
        Hub { pace, ..self }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The commit that a revision is now: a branch, a tag, or a commit. Of a commit nobody is asked.
    pub async fn commit(&self, repo: &Repo, revision: &str) -> Result<String, OriginError> {
        if is_commit(revision) {
            return Ok(revision.to_ascii_lowercase());
        }
        let shown = format!("{}@{revision}", repo.url());
        if revision.is_empty() || revision.len() > 250 || revision.contains(char::is_control) {
            return Err(OriginError::url(&shown, "there is no such revision"));
        }
        let url = self.at(&["api", repo.kind.plural()], repo, &["revision", revision]);
        let info: Revision = self.json(&url, &shown, MOST_OF_REVISION).await?;
        if !is_commit(&info.sha) {
            return Err(OriginError::refused(&shown, "the hub does not say which commit it is"));
        }
        Ok(info.sha.to_ascii_lowercase())
    }

    /// Its files at a commit, by path.
    pub async fn files(&self, repo: &Repo, commit: &str) -> Result<Vec<HubFile>, OriginError> {
        tree::files(self, repo, commit).await
    }

    /// Reads a range of a file. All of it is held in memory.
    pub async fn read(
        &self,
        repo: &Repo,
        commit: &str,
        file: &HubFile,
        range: Range<u64>,
    ) -> Result<Bytes, OriginError> {
        self.origin(repo, commit).read(&file.object(commit), range).await
    }

    /// Reads a range of a file, one part after another.
    pub fn reader(
        &self,
        repo: &Repo,
        commit: &str,
        file: &HubFile,
        range: Range<u64>,
    ) -> Result<RangeReader, OriginError> {
        self.origin(repo, commit).reader(&file.object(commit), range)
    }

    /// A model or data set at a commit as an origin.
    pub fn origin(&self, repo: &Repo, commit: &str) -> Origin {
        let source = HubSource::new(self.clone(), repo.clone(), commit);
        Origin::new(Arc::new(source), self.limits.clone()).paced(self.pace.clone())
    }

    /// A URL of this hub about a repository: what comes before and behind its id.
    fn at(&self, before: &[&str], repo: &Repo, behind: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(before).extend(repo.id.split('/')).extend(behind);
        }
        url
    }

    fn get(&self, url: &Url) -> RequestBuilder {
        let request = self.client.get(url.clone());
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        url: &Url,
        shown: &str,
        most: usize,
    ) -> Result<T, OriginError> {
        let ask = || async {
            let response = send(self.get(url), shown, &self.limits).await.map_err(|error| self.explained(error))?;
            let body = small_body(response, shown, most, &self.limits).await?;
            serde_json::from_slice(&body).map_err(|_| {
                OriginError::refused(
                    shown,
                    format!("{} does not answer as a hub does", crate::client::shown(&self.endpoint)),
                )
            })
        };
        self.outage.persist(&self.limits, ask).await
    }

    /// What can be done about it.
    fn explained(&self, error: OriginError) -> OriginError {
        match error {
            OriginError::Denied { url, reason } => {
                let hint = match self.token {
                    Some(_) => "; the token of HF_TOKEN does not give access to it",
                    None => "; HF_TOKEN has the token for what is not open to everyone. It may also not be there",
                };
                OriginError::Denied { url, reason: reason + hint }
            }
            error => error,
        }
    }

    /// Begins to read a range of a file, once.
    async fn open(
        &self,
        repo: &Repo,
        commit: &str,
        file: &Object,
        range: Range<u64>,
    ) -> Result<ByteStream, OriginError> {
        let mut behind = vec!["resolve", commit];
        behind.extend(file.key.split('/'));
        let url = self.at(repo.kind.prefix(), repo, &behind);
        let shown = format!("{}@{commit}/{}", repo.url(), file.key);
        // A commit is one version for ever, so there is nothing to pin; and where it redirects, ETags are others.
        let request = self.get(&url);
        let asked = RangeRequest { request, url: &shown, range, size: file.size, if_match: None };
        let (_, body) = read_range(asked, &self.limits).await.map_err(|error| self.explained(error))?;
        Ok(body)
    }
}

/// What is said of a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
}

/// Whether a revision is a commit's whole name.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_with_a_slash_is_one_part_of_a_path() {
        let hub = Hub::new("http://host/mirror/", None, &Limits::default()).unwrap();
        let repo = Repo::model("org/name").unwrap();
        let url = hub.at(&["api", "models"], &repo, &["revision", "refs/pr/1"]);
        assert_eq!(url.as_str(), "http://host/mirror/api/models/org/name/revision/refs%2Fpr%2F1");
        let url = hub.at(&["datasets"], &repo, &["resolve", "c", "a b", "%?#.bin"]);
        assert_eq!(url.as_str(), "http://host/mirror/datasets/org/name/resolve/c/a%20b/%25%3F%23.bin");
    }

    #[test]
    fn digests_are_read_from_hexadecimal() {
        let file = |oid: &str, sha256: Option<&str>| HubFile {
            path: "a".to_owned(),
            size: 1,
            oid: oid.to_owned(),
            sha256: sha256.map(str::to_owned),
        };
        assert_eq!(file(&"0A".repeat(20), None).digest(), Some(FileDigest::GitBlob([10; 20])));
        assert_eq!(file("", Some(&"ff".repeat(32))).digest(), Some(FileDigest::Sha256([255; 32])));
        assert_eq!(file(&"é".repeat(20), None).digest(), None);
    }
}
