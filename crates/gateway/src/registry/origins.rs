//! Which registries are read from, and which of them a request means.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use origins::registry::{Next, Registry, Tags, digest, digest_name};
use origins::{FileDigest, OriginError};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::answers::Answers;
use crate::recent::Recent;

/// How long what a tag stands for is believed.
const TAGS: Duration = Duration::from_secs(30);
/// Most tags that are remembered.
const MOST: usize = 4096;
/// Most lists of tags that are remembered, and most bytes of all: each may be several MiB.
const MOST_LISTS: usize = 1024;
const BYTES_OF_LISTS: u64 = 32 << 20;
/// Most that are asked for at once: each takes several times its size until it has been read.
const LISTS_AT_ONCE: usize = 2;

/// A registry that is read from, as `docker.io` names one.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) registry: Registry,
}

/// A tag: of which registry and repository, and its name.
type TagKey = (usize, String, String);
/// A list of tags: of which registry, by which name of a repository, how many, and behind which.
type ListKey = (usize, String, Option<u32>, Option<String>);

/// A list of tags, as it is sent.
#[derive(Clone)]
pub(super) struct List {
    /// JSON, under the name that clients call the repository by.
    pub(super) text: Bytes,
    /// Where the next are, if there are more.
    pub(super) next: Option<Next>,
}

/// All registries that are read from, and no others: what a client names is looked up here, and never dialled.
pub(crate) struct Registries {
    all: Vec<Named>,
    /// What they said in earlier runs.
    answers: Answers,
    tags: Recent<TagKey, FileDigest, OriginError>,
    lists: Recent<ListKey, List, OriginError>,
    turns: Arc<Semaphore>,
}

impl Registries {
    pub(crate) fn new(all: Vec<Named>, answers: Answers) -> Self {
        Registries {
            all,
            answers,
            tags: Recent::new(TAGS, MOST),
            lists: Recent::new(TAGS, MOST_LISTS).within(BYTES_OF_LISTS, |list: &List| list.text.len() as u64),
            turns: Arc::new(Semaphore::new(LISTS_AT_ONCE)),
        }
    }

    /// Whether there are none.
    pub(crate) fn are_none(&self) -> bool {
        self.all.is_empty()
    }

    /// The registry that a request means, and the name of the repository there: by `ns=`, as containerd says it, by the name's first
    /// part, or else the one that was named first.
    pub(super) fn find<'a>(&self, query: Option<&str>, name: &'a str) -> Option<(usize, &'a str)> {
        let at = |wanted: &str| self.all.iter().position(|named| named.name.eq_ignore_ascii_case(wanted));
        if let Some(said) = query.and_then(said) {
            return Some((at(&said)?, name));
        }
        if let Some((first, rest)) = name.split_once('/')
            && let Some(number) = at(first)
        {
            return Some((number, rest));
        }
        (!self.all.is_empty()).then_some((0, name))
    }

    pub(super) fn registry(&self, number: usize) -> &Registry {
        &self.all[number].registry
    }

    /// What a tag stands for now, or did a moment ago; or last, where the registry does not answer.
    pub(super) async fn resolve(&self, number: usize, name: &str, tag: &str) -> Result<FileDigest, OriginError> {
        let (registry, answers) = (self.registry(number).clone(), self.answers.clone());
        let asked = format!("tag {} {name}:{tag}", registry.url());
        let stored = self.answers.find(asked.clone(), digest);
        let (name, tag) = (name.to_owned(), tag.to_owned());
        let key = (number, name.clone(), tag.clone());
        let asking = async move {
            let (found, _) = registry.resolve(&name, &tag).await?;
            answers.keep(asked, move || digest_name(found)).await;
            Ok(found)
        };
        self.tags.get_or_old(key, stored, asking, OriginError::is_transient).await
    }

    /// The tags of a repository that a client calls so, now or a moment ago; or last, where the registry does not answer.
    pub(super) async fn list(
        &self,
        (number, name): (usize, &str),
        called: &str,
        most: Option<u32>,
        behind: Option<String>,
    ) -> Result<List, OriginError> {
        let key = (number, called.to_owned(), most, behind.clone());
        let (registry, name, called) = (self.registry(number).clone(), name.to_owned(), called.to_owned());
        let turns = self.turns.clone();
        let asking = async move {
            // The semaphore is never closed.
            let _turn = turns.acquire_owned().await.ok();
            let Tags { tags, next } = registry.tags(&name, most, behind.as_deref()).await?;
            Ok(List { text: json!({ "name": called, "tags": tags }).to_string().into(), next })
        };
        self.lists.get_or_old(key, ready(None), asking, OriginError::is_transient).await
    }
}

/// The registry that `ns=` names.
fn said(query: &str) -> Option<String> {
    let said = query.split('&').find_map(|part| part.strip_prefix("ns="))?;
    Some(percent_encoding::percent_decode_str(said).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_that_were_named_are_meant() {
        let named = |name: &str| Named {
            name: name.to_owned(),
            registry: Registry::new("http://127.0.0.1:1", None, &Default::default()).unwrap(),
        };
        let answers = Answers::new("none".into());
        let registries = Registries::new(vec![named("docker.io"), named("127.0.0.1:5000")], answers.clone());
        for (query, name, expected) in [
            (Some("ns=docker.io"), "library/alpine", Some((0, "library/alpine"))),
            (Some("a=b&ns=127.0.0.1%3A5000"), "x", Some((1, "x"))),
            (Some("ns=169.254.169.254"), "x", None),
            (Some("ns="), "x", None),
            (None, "library/alpine", Some((0, "library/alpine"))),
            (None, "docker.io/library/alpine", Some((0, "library/alpine"))),
            (Some("other=1"), "x", Some((0, "x"))),
        ] {
            assert_eq!(registries.find(query, name), expected, "{query:?} {name}");
        }
        assert_eq!(Registries::new(Vec::new(), answers).find(None, "x"), None);
    }
}
