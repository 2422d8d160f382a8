//! What a client of Hugging Face asks for, as its paths say it.

use std::fmt;

use percent_encoding::percent_decode_str;

/// The revision that is meant where none is named.
pub(crate) const MAIN: &str = "main";
/// Most characters of a repository's name.
const LONGEST: usize = 96;

/// What kind of repository it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Model,
    Dataset,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Repository {
    pub(crate) kind: Kind,
    /// `ORG/NAME`, or `NAME` alone.
    pub(crate) id: String,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Model => f.write_str(&self.id),
            Kind::Dataset => write!(f, "datasets/{}", self.id),
        }
    }
}

impl Repository {
    /// What the names of its contents begin with; the commit follows.
    pub(crate) fn prefix(&self) -> String {
        let id = self.id.replace('/', "--");
        match self.kind {
            Kind::Model => format!("{id}@"),
            Kind::Dataset => format!("datasets--{id}@"),
        }
    }

    /// The commit of a content of this repository, by the content's name.
    pub(crate) fn commit<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.prefix()).filter(|commit| is_commit(commit))
    }
}

/// Whether a content could be a repository at a commit, by its name.
pub(crate) fn is_repository(name: &str) -> bool {
    name.rsplit_once('@').is_some_and(|(_, commit)| is_commit(commit))
}

/// Whether a revision is a commit.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is asked for of a repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubCall {
    pub(crate) repository: Repository,
    pub(crate) revision: String,
    pub(crate) what: What,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Which commit it is, and which files it has.
    Info,
    /// The files below a folder.
    Tree(String),
    /// What some paths lead to.
    PathsInfo,
    /// The branches.
    Refs,
    /// A file.
    File(String),
}

impl HubCall {
    /// Reads the path of a request; nothing if no client of Hugging Face asks like that.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let segments = path.strip_prefix('/')?.split('/').map(decoded).collect::<Option<Vec<String>>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match &segments[..] {
            ["api", "models", rest @ ..] => api(Kind::Model, rest),
            ["api", "datasets", rest @ ..] => api(Kind::Dataset, rest),
            ["api", ..] => None,
            ["datasets", rest @ ..] => file(Kind::Dataset, rest),
            rest => file(Kind::Model, rest),
        }
    }
}

fn api(kind: Kind, rest: &[&str]) -> Option<HubCall> {
    let is_verb = |segment: &&str| ["revision", "tree", "paths-info", "refs"].contains(segment);
    let ids = rest.iter().skip(1).position(is_verb).map_or(rest.len(), |at| at + 1);
    let (id, call) = rest.split_at(ids);
    let repository = repository(kind, id)?;
    let (revision, what) = match call {
        [] => (MAIN, What::Info),
        ["revision", revision] => (*revision, What::Info),
        ["tree", revision, path @ ..] => (*revision, What::Tree(path.join("/").trim_end_matches('/').to_owned())),
        ["paths-info", revision] => (*revision, What::PathsInfo),
        ["refs"] => (MAIN, What::Refs),
        _ => return None,
    };
    Some(HubCall { repository, revision: revision.to_owned(), what })
}

fn file(kind: Kind, rest: &[&str]) -> Option<HubCall> {
    let at = (1..=2).find(|&at| rest.get(at) == Some(&"resolve"))?;
    let repository = repository(kind, &rest[..at])?;
    let [revision, path @ ..] = rest.get(at + 1..)? else { return None };
    let path = path.join("/");
    (!path.is_empty()).then(|| HubCall { repository, revision: (*revision).to_owned(), what: What::File(path) })
}

fn repository(kind: Kind, id: &[&str]) -> Option<Repository> {
    let plain = |part: &&str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty()
            && part.len() <= LONGEST
            && part.bytes().all(fits)
            && !part.contains("--")
            && !part.contains("..")
    };
    ((1..=2).contains(&id.len()) && id.iter().all(plain)).then(|| Repository { kind, id: id.join("/") })
}

fn decoded(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(|segment| segment.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(kind: Kind, id: &str, revision: &str, what: What) -> Option<HubCall> {
        Some(HubCall { repository: Repository { kind, id: id.to_owned() }, revision: revision.to_owned(), what })
    }

    #[test]
    fn paths_are_read_as_clients_make_them() {
        let (model, data) = (Kind::Model, Kind::Dataset);
        let tree = |path: &str| What::Tree(path.to_owned());
        let file = |path: &str| What::File(path.to_owned());
        for (path, expected) in [
            ("/api/models/org/m/revision/main", call(model, "org/m", "main", What::Info)),
            ("/api/models/gpt2", call(model, "gpt2", "main", What::Info)),
            ("/api/models/gpt2/revision/refs%2Fpr%2F1", call(model, "gpt2", "refs/pr/1", What::Info)),
            ("/api/datasets/org/d/tree/abc", call(data, "org/d", "abc", tree(""))),
            ("/api/datasets/org/d/tree/abc/a/b%20c", call(data, "org/d", "abc", tree("a/b c"))),
            ("/api/models/org/m/paths-info/main", call(model, "org/m", "main", What::PathsInfo)),
            ("/api/models/org/m/refs", call(model, "org/m", "main", What::Refs)),
            ("/org/m/resolve/main/a/b.bin", call(model, "org/m", "main", file("a/b.bin"))),
            ("/gpt2/resolve/main/config.json", call(model, "gpt2", "main", file("config.json"))),
            ("/datasets/org/d/resolve/main/resolve/x", call(data, "org/d", "main", file("resolve/x"))),
        ] {
            assert_eq!(HubCall::of(path), expected, "{path}");
        }
        for path in [
            "/",
            "/api",
            "/api/whoami-v2",
            "/api/models",
            "/api/models/a/b/c",
            "/org/m/resolve/main/",
            "/org/m/blob/main/x",
            "/a/b/c/resolve/main/x",
            "/../m/resolve/main/x",
            "/a--b/resolve/main/x",
            "/%ff/resolve/main/x",
        ] {
            assert_eq!(HubCall::of(path), None, "{path}");
        }
    }

    #[test]
    fn contents_are_named_by_repository_and_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let model = Repository { kind: Kind::Model, id: "org/m".to_owned() };
        assert_eq!(model.commit(&format!("org--m@{commit}")), Some(commit));
        for other in [
            "org--m@main",
            "org--m",
            "datasets--org--m@0123",
            &format!("org--m2@{commit}"),
            &format!("org--m@{commit}0"),
        ] {
            assert_eq!(model.commit(other), None, "{other}");
        }
        let data = Repository { kind: Kind::Dataset, id: "d".to_owned() };
        assert_eq!(data.commit(&format!("datasets--d@{commit}")), Some(commit));
    }
}
