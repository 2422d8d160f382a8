//! What a hub has: models and data sets, and how they are written in a URL.

use crate::OriginError;

/// A kind of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RepoKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl RepoKind {
    pub(super) fn plural(self) -> &'static str {
        match self {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        }
    }

    /// What comes before the id where files are.
    pub(super) fn prefix(self) -> &'static [&'static str] {
        match self {
            RepoKind::Model => &[],
            RepoKind::Dataset => &["datasets"],
        }
    }
}

/// A model or data set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repo {
    /// Which of both.
    pub kind: RepoKind,
    /// `org/name`, or a name alone.
    pub id: String,
}

impl Repo {
    /// A model, by `org/name` or by its name alone.
    pub fn model(id: &str) -> Result<Self, OriginError> {
        Repo::new(RepoKind::Model, id)
    }

    /// A data set, by `org/name` or by its name alone.
    pub fn dataset(id: &str) -> Result<Self, OriginError> {
        Repo::new(RepoKind::Dataset, id)
    }

    /// A model or data set, by `org/name` or by its name alone.
    pub fn new(kind: RepoKind, id: &str) -> Result<Self, OriginError> {
        let is_part = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let bare = !part.starts_with(['.', '-']) && !part.ends_with(['.', '-']) && !part.contains("..");
            !part.is_empty() && part.len() <= 96 && part.bytes().all(allowed) && bare && !part.contains("--")
        };
        let parts: Vec<_> = id.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_part(part)) {
            let url = format!("hf://{}{id}", if kind == RepoKind::Dataset { "datasets/" } else { "" });
            return Err(OriginError::url(
                &url,
                "a model is written hf://org/name, and a data set hf://datasets/org/name",
            ));
        }
        Ok(Repo { kind, id: id.to_owned() })
    }

    /// Reads `hf://org/name@revision` and `hf://datasets/org/name@revision`; without a revision it is `main`.
    pub fn parse(url: &str) -> Result<(Self, String), OriginError> {
        let Some(rest) = url.strip_prefix("hf://") else {
            return Err(OriginError::url(url, "it does not begin with hf://"));
        };
        let (path, revision) = match rest.split_once('@') {
            Some((path, revision)) => (path, revision),
            None => (rest, "main"),
        };
        let path = path.trim_end_matches('/');
        if path.starts_with("hf_") && !path.contains('/') {
            return Err(OriginError::url(url, "a token is no part of a URL: it is given by HF_TOKEN"));
        }
        if revision.is_empty() {
            return Err(OriginError::url(url, "a revision comes behind @: a branch, a tag or a commit"));
        }
        let repo = match path.split_once('/') {
            Some(("datasets", id)) => Repo::dataset(id)?,
            Some(("models", id)) if id.contains('/') => Repo::model(id)?,
            Some(("spaces", _)) => return Err(OriginError::url(url, "spaces cannot be shared")),
            _ => Repo::model(path)?,
        };
        Ok((repo, revision.to_owned()))
    }

    /// How it is written.
    pub fn url(&self) -> String {
        match self.kind {
            RepoKind::Model => format!("hf://{}", self.id),
            RepoKind::Dataset => format!("hf://datasets/{}", self.id),
        }
    }

    /// What the content of all its files at a commit is called: `org--model@COMMIT`, `datasets--org--name@COMMIT`.
    pub fn content_name(&self, commit: &str) -> String {
        let id = self.id.replace('/', "--");
        match self.kind {
            RepoKind::Model => format!("{id}@{commit}"),
            RepoKind::Dataset => format!("datasets--{id}@{commit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_models_and_data_sets_are_read() {
        for (url, kind, id, revision) in [
            ("hf://org/model", RepoKind::Model, "org/model", "main"),
            ("hf://gpt2@v1", RepoKind::Model, "gpt2", "v1"),
            ("hf://models/org/model@refs/pr/1", RepoKind::Model, "org/model", "refs/pr/1"),
            ("hf://datasets/org/set/@abc", RepoKind::Dataset, "org/set", "abc"),
        ] {
            let (repo, found) = Repo::parse(url).unwrap();
            assert_eq!((repo.kind, repo.id.as_str(), found.as_str()), (kind, id, revision), "{url}");
        }
        let wrong = [
            "hf://",
            "hf://a/b/c",
            "hf://../x",
            "hf://a/..",
            "hf://a/b@",
            "s3://a/b",
            "hf://spaces/a/b",
            "hf://a b/c",
            "hf://a--b/c",
            "hf://hf_token@a/b",
        ];
        for url in wrong {
            assert!(Repo::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_content_is_called_by_repository_and_commit() {
        assert_eq!(Repo::model("org/model").unwrap().content_name("c0"), "org--model@c0");
        assert_eq!(Repo::dataset("org/set").unwrap().content_name("c0"), "datasets--org--set@c0");
    }
}
