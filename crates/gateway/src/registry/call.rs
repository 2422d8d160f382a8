//! What a client of a registry asks for, as its paths say it (OCI distribution specification).

use origins::FileDigest;
use origins::registry::{digest, is_name, is_tag};
use percent_encoding::percent_decode_str;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RegistryCall {
    /// Whether this is a registry at all.
    Base,
    /// A manifest.
    Manifest { name: String, reference: Reference },
    /// A layer, or a configuration.
    Blob { name: String, digest: FileDigest },
    /// The tags of a repository.
    Tags { name: String },
}

/// What names a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    Tag(String),
    Digest(FileDigest),
}

impl RegistryCall {
    /// Reads the path of a request; nothing if there can be no such thing here.
    pub(super) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?;
        if matches!(rest, "" | "/") {
            return Some(RegistryCall::Base);
        }
        let path = percent_decode_str(rest.strip_prefix('/')?).decode_utf8().ok()?;
        let (path, reference) = path.rsplit_once('/')?;
        let (name, kind) = path.rsplit_once('/')?;
        if !is_name(name) {
            return None;
        }
        let name = name.to_owned();
        match kind {
            "manifests" => {
                let by_digest = digest(reference).map(Reference::Digest);
                let reference =
                    by_digest.or_else(|| is_tag(reference).then(|| Reference::Tag(reference.to_owned())))?;
                Some(RegistryCall::Manifest { name, reference })
            }
            "blobs" => Some(RegistryCall::Blob { name, digest: digest(reference)? }),
            "tags" if reference == "list" => Some(RegistryCall::Tags { name }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_clients_make_them() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let manifest = |name: &str, reference| Some(RegistryCall::Manifest { name: name.to_owned(), reference });
        for (path, expected) in [
            ("/v2", Some(RegistryCall::Base)),
            ("/v2/", Some(RegistryCall::Base)),
            ("/v2/library/alpine/manifests/3.20", manifest("library/alpine", Reference::Tag("3.20".to_owned()))),
            (&format!("/v2/a/manifests/{digest}"), manifest("a", Reference::Digest(FileDigest::Sha256([10; 32])))),
            (
                &format!("/v2/a/manifests/blobs/{}", digest.replace(':', "%3A")),
                Some(RegistryCall::Blob { name: "a/manifests".to_owned(), digest: FileDigest::Sha256([10; 32]) }),
            ),
            (
                &format!("/v2/a/blobs/sha512:{}", "0a".repeat(64)),
                Some(RegistryCall::Blob { name: "a".to_owned(), digest: FileDigest::Sha512([10; 64]) }),
            ),
            ("/v2/a/tags/list", Some(RegistryCall::Tags { name: "a".to_owned() })),
        ] {
            assert_eq!(RegistryCall::of(path), expected, "{path}");
        }
        for path in [
            "/v2x",
            "/v2//manifests/a",
            "/v2/a/manifests/",
            "/v2/../manifests/a",
            "/v2/a/%2e%2e/manifests/a",
            "/v2/A/manifests/a",
            "/v2/a/manifests/sha512:00",
            "/v2/a/blobs/latest",
            "/v2/a/blobs/uploads/",
            "/v2/a/tags/all",
            "/v2/manifests/a",
            "/v2/a%00/manifests/a",
        ] {
            assert_eq!(RegistryCall::of(path), None, "{path}");
        }
    }
}
