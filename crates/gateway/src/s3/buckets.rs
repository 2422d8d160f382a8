//! Which content a bucket and a key mean: a bucket is a content of that name, or one where the user has put contents.

use std::sync::Arc;

use peer::{OpenContent, OpenFile, Query};

use crate::contents::Contents;
use crate::error::Refusal;

/// Where in a bucket a content is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlace {
    bucket: String,
    /// What the keys of its files begin with, which ends with `/` or is empty; or the key of its only file.
    prefix: String,
    /// The content's name or id.
    content: String,
}

impl BucketPlace {
    /// Reads `s3://BUCKET/PREFIX/=NAME`, where the name may be an id; nothing if it is not written so.
    pub fn parse(text: &str) -> Option<Self> {
        let (place, content) = text.strip_prefix("s3://")?.rsplit_once('=')?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let is_bucket = !bucket.is_empty() && !prefix.starts_with('/');
        (is_bucket && crate::pages::is_name(content)).then(|| BucketPlace {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            content: content.to_owned(),
        })
    }

    /// Whether keys with this prefix may be here.
    fn meets(&self, prefix: &str) -> bool {
        self.prefix.starts_with(prefix) || prefix.starts_with(&self.prefix)
    }

    /// The key of a file.
    fn key(&self, open: &OpenContent, file: OpenFile<'_>) -> Option<String> {
        let is_prefix = self.prefix.is_empty() || self.prefix.ends_with('/');
        match is_prefix {
            true => Some(format!("{}{}", self.prefix, file.entry.path)),
            false => (!open.manifest().header().folder).then(|| self.prefix.clone()),
        }
    }
}

/// Places in buckets that the user has named.
pub(crate) struct Buckets(Vec<BucketPlace>);

/// A content in a bucket.
pub(super) struct Mounted {
    place: BucketPlace,
    pub(super) open: Arc<OpenContent>,
}

impl Mounted {
    /// Its files, with their keys.
    pub(super) fn files(&self) -> impl Iterator<Item = (String, OpenFile<'_>)> {
        self.open.files().filter_map(|file| Some((self.place.key(&self.open, file)?, file)))
    }

    /// The file of a key.
    pub(super) fn find(&self, key: &str) -> Option<OpenFile<'_>> {
        let path = match self.place.prefix.as_str() {
            prefix if prefix.is_empty() || prefix.ends_with('/') => key.strip_prefix(prefix)?,
            whole => return self.open.files().next().filter(|_| key == whole && !self.open.manifest().header().folder),
        };
        self.open.files().find(|file| file.entry.path == path)
    }
}

impl Buckets {
    pub(crate) fn new(places: Vec<BucketPlace>) -> Self {
        Buckets(places)
    }

    /// The names of buckets that the user has named.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|place| place.bucket.as_str())
    }

    /// The contents of a bucket in which keys with this prefix may be. Fails if there is no such bucket.
    pub(super) async fn open(&self, contents: &Contents, bucket: &str, prefix: &str) -> Result<Vec<Mounted>, Refusal> {
        let places: Vec<&BucketPlace> = self.0.iter().filter(|place| place.bucket == bucket).collect();
        if places.is_empty() {
            let place = BucketPlace { bucket: bucket.to_owned(), prefix: String::new(), content: bucket.to_owned() };
            let open = find(contents, bucket).await?;
            return Ok(vec![Mounted { place, open }]);
        }
        let mut opened = Vec::new();
        for place in places.into_iter().filter(|place| place.meets(prefix)) {
            match find(contents, &place.content).await {
                Ok(open) => opened.push(Mounted { place: place.clone(), open }),
                // Others may be there.
                Err(Refusal::NotFound) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(opened)
    }
}

/// The content of a name or an id.
async fn find(contents: &Contents, name: &str) -> Result<Arc<OpenContent>, Refusal> {
    if !crate::pages::is_name(name) {
        return Err(Refusal::NotFound);
    }
    match name.parse() {
        Ok(Query::Id(id)) => contents.by_id(id).await,
        _ => contents.by_name(name).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let place = |bucket: &str, prefix: &str, content: &str| {
            let [bucket, prefix, content] = [bucket, prefix, content].map(str::to_owned);
            Some(BucketPlace { bucket, prefix, content })
        };
        for (text, expected) in [
            ("s3://models/run-7/=run-7", place("models", "run-7/", "run-7")),
            ("s3://models=all", place("models", "", "all")),
            ("s3://models/=all", place("models", "", "all")),
            ("s3://models/a=b/=c", place("models", "a=b/", "c")),
            ("s3://models/big.bin=big.bin", place("models", "big.bin", "big.bin")),
        ] {
            assert_eq!(BucketPlace::parse(text), expected, "{text}");
        }
        for text in ["", "models=a", "s3://=a", "s3://models", "s3://models=", "s3://models//a=b"] {
            assert_eq!(BucketPlace::parse(text), None, "{text}");
        }
        let at = |text: &str, prefix: &str| BucketPlace::parse(text).unwrap().meets(prefix);
        assert!(at("s3://b/a/=c", "") && at("s3://b/a/=c", "a/") && at("s3://b/a/=c", "a/b") && at("s3://b/=c", "x"));
        assert!(!at("s3://b/a/=c", "b"));
    }
}
