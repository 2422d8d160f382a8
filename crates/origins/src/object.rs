//! What an origin has: objects at a version, and the seam behind which each kind of origin stands.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::OriginError;

/// Most objects that are named of those that are left out.
const NAMED: usize = 5;

/// The bytes of an answer, as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes, OriginError>>;

/// What shows that an object is still the one that was listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Version {
    /// The origin's mark of these bytes (RFC 9110, 8.8.3), as it was sent.
    ETag(String),
    /// When it was last modified, as it was sent: for servers without ETags.
    Modified(String),
    /// It is of a commit of a hub, and never changes.
    Commit(String),
    /// The origin says nothing.
    Unknown,
}

impl Version {
    /// The ETag to pin a read with. A weak one cannot be: no read would match it.
    pub(crate) fn strong_etag(&self) -> Option<&str> {
        match self {
            Version::ETag(tag) if !tag.starts_with("W/") => Some(tag),
            _ => None,
        }
    }

    /// Whether bytes of one version are always the same. Times are of seconds, and a weak ETag is of what means the same (RFC 9110, 8.8.1).
    pub fn is_exact(&self) -> bool {
        matches!(self, Version::Commit(_)) || self.strong_etag().is_some()
    }

    /// Whether it says anything about the bytes.
    pub fn is_known(&self) -> bool {
        *self != Version::Unknown
    }
}

/// What the bytes of a whole file are, by its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileDigest {
    /// The SHA-256 of its bytes: of files that a hub keeps by LFS.
    Sha256([u8; 32]),
    /// The SHA-512 of its bytes: a registry may name blobs so.
    Sha512([u8; 64]),
    /// The SHA-1 of git's blob: `blob SIZE`, a zero byte, and its bytes.
    GitBlob([u8; 20]),
}

/// An object of an origin, at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its path in the content; of a single object, its name.
    pub path: String,
    /// How the origin calls it.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Which one it is.
    pub version: Version,
    /// What its bytes are, if the origin says so.
    pub digest: Option<FileDigest>,
}

/// What lies behind a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// What the content is called.
    pub name: String,
    /// Whether it is a folder with objects, or a single object of that name.
    pub folder: bool,
    /// The objects, by path.
    pub objects: Vec<Object>,
    /// What else lies there.
    pub unfit: Unfit,
}

/// Objects that are left out of a listing: their keys are no paths of files in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfit {
    /// How many there are.
    pub count: usize,
    /// The keys of the first.
    pub first: Vec<String>,
}

impl Unfit {
    /// One more.
    pub(crate) fn add(&mut self, key: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(key.to_owned());
        }
    }
}

/// A kind of origin. Its reads are single tries; [`Origin`](crate::Origin) tries again and resumes.
pub trait Source: Send + Sync {
    /// The URL as it may be shown: without anything secret.
    fn url(&self) -> &str;
    /// What tells it from every other origin: its address, and all of the URL that says which object is meant. Two sources of one
    /// identity are the same to the cache and the manifests that are kept. It is hashed, and never shown.
    fn identity(&self) -> String;
    /// What lies there now.
    fn list(&self) -> BoxFuture<'_, Result<Listing, OriginError>>;
    /// Begins to read a range of an object, which is not empty and lies within it. Fails if the object is another version; that as
    /// many bytes come as were asked for is for the caller to see.
    fn read<'a>(&'a self, object: &'a Object, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, OriginError>>;
}
