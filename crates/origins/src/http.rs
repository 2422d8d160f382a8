//! A file on a web server.

use std::ops::Range;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use percent_encoding::percent_decode_str;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED, RANGE};
use reqwest::{Client, StatusCode, Url};

use crate::client::{RangeRequest, client, client_of, content_range, failed, header, read_range, send, shown};
use crate::redirects::{Allowed, Named};
use crate::signed::unsigned;
use crate::store::BESIDE;
use crate::{ByteStream, Limits, Listing, Object, OriginError, Source, Unfit, Version};

/// A file on a web server, which must answer ranges.
pub struct HttpSource {
    client: Client,
    limits: Limits,
    url: Url,
    shown: String,
}

impl HttpSource {
    /// The file at this URL, `https` or `http`.
    pub fn new(url: &str, limits: &Limits) -> Result<Self, OriginError> {
        let parsed = Url::parse(url).map_err(|error| OriginError::url(url, error.to_string()))?;
        let shown = shown(&parsed);
        if parsed.password().is_some() || !parsed.username().is_empty() {
            let reason = "a password in a URL is seen by everyone on this machine; use a signed URL, or another way";
            return Err(OriginError::url(&shown, reason));
        }
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(OriginError::url(&shown, "it is no URL of a web server"));
        }
        Ok(HttpSource { client: client(limits, &parsed)?, limits: limits.clone(), url: parsed, shown })
    }

    /// The file at a URL that a manifest names: the URL's host must be allowed, and no private address that is not is asked.
    pub(crate) fn named(url: &str, limits: &Limits, allowed: &Allowed) -> Result<Self, OriginError> {
        let source = HttpSource::new(url, limits)?;
        if !allowed.has(&source.url) {
            return Err(not_allowed(&source.url));
        }
        Ok(HttpSource { client: client_of(limits, &Named::by_stranger(allowed))?, ..source })
    }

    /// A small file whose URL is that of this one with something behind it, or in its folder; nothing if there is none.
    pub(crate) async fn get_beside(&self, name: &str, most: usize) -> Result<Option<Bytes>, OriginError> {
        let behind = format!("{}{BESIDE}", self.url.path());
        let within = self.url.path().rsplit_once('/').map(|(folder, _)| format!("{folder}/{name}"));
        let mut failed = None;
        for path in [Some(behind), within].into_iter().flatten() {
            let mut url = self.url.clone();
            url.set_path(&path);
            url.set_query(None);
            let shown = shown(&url);
            let found = async {
                let found = send(self.client.get(url), &shown, &self.limits).await?;
                small_body(found, &shown, most, &self.limits).await
            };
            match found.await {
                Ok(bytes) => return Ok(Some(bytes.into())),
                Err(error) if error.is_transient() => failed = Some(error),
                // Servers answer in many ways that something is not there.
                Err(_) => {}
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Looks at the file by its first byte: that shows its size and version, and whether parts of it can be read. Many URLs that
    /// can be read do not take HEAD.
    async fn look(&self) -> Result<Object, OriginError> {
        let request = self.client.get(self.url.clone()).header(RANGE, "bytes=0-0");
        let response = match send(request, &self.shown, &self.limits).await {
            // An empty file has no first byte.
            Err(OriginError::Changed(_)) => {
                let sent = send(self.client.head(self.url.clone()), &self.shown, &self.limits).await?;
                let size = header(sent.headers(), &reqwest::header::CONTENT_LENGTH);
                if size.is_some_and(|size| size != "0") {
                    return Err(OriginError::NoRanges(self.shown.clone()));
                }
                return Ok(self.object(0, sent.headers()));
            }
            response => response?,
        };
        let range = header(response.headers(), &CONTENT_RANGE).and_then(|text| content_range(&text));
        match (response.status(), range) {
            (StatusCode::PARTIAL_CONTENT, Some((0, 0, Some(size)))) => Ok(self.object(size, response.headers())),
            (StatusCode::PARTIAL_CONTENT, _) => {
                Err(OriginError::refused(&self.shown, "the server does not say how large it is"))
            }
            _ if response.content_length() == Some(0) => Ok(self.object(0, response.headers())),
            _ => Err(OriginError::NoRanges(self.shown.clone())),
        }
    }

    fn object(&self, size: u64, headers: &HeaderMap) -> Object {
        let path = name(&self.url);
        Object { path, key: String::new(), size, version: version(headers), digest: None }
    }
}

/// A manifest may name it, and the user did not allow that.
pub(crate) fn not_allowed(url: &Url) -> OriginError {
    let host = url.host_str().unwrap_or_default();
    OriginError::refused(&shown(url), format!("the manifest names this URL: --origin-allow {host} allows its host"))
}

/// The last part of its path.
fn name(url: &Url) -> String {
    let last = url.path_segments().and_then(|parts| parts.rev().find(|part| !part.is_empty()));
    let last = last.unwrap_or_else(|| url.host_str().unwrap_or("file"));
    percent_decode_str(last).decode_utf8_lossy().into_owned()
}

fn version(headers: &HeaderMap) -> Version {
    match (header(headers, &ETAG), header(headers, &LAST_MODIFIED)) {
        (Some(tag), _) => Version::ETag(tag),
        (None, Some(modified)) => Version::Modified(modified),
        (None, None) => Version::Unknown,
    }
}

impl Source for HttpSource {
    fn url(&self) -> &str {
        &self.shown
    }

    fn identity(&self) -> String {
        unsigned(&self.url)
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, OriginError>> {
        async {
            let object = self.look().await?;
            let name = object.path.clone();
            Ok(Listing { name, folder: false, objects: vec![object], unfit: Unfit::default() })
        }
        .boxed()
    }

    fn read<'a>(&'a self, object: &'a Object, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, OriginError>> {
        async move {
            let asked = RangeRequest {
                request: self.client.get(self.url.clone()),
                url: &self.shown,
                range,
                size: object.size,
                if_match: object.version.strong_etag(),
            };
            let (headers, body) = read_range(asked, &self.limits).await?;
            // Many servers take no notice of `If-Match`.
            let found = version(&headers);
            if found.is_known() && object.version.is_known() && found != object.version {
                return Err(OriginError::Changed(self.shown.clone()));
            }
            Ok(body)
        }
        .boxed()
    }
}

/// All of a small answer.
pub(crate) async fn small_body(
    mut response: reqwest::Response,
    url: &str,
    most: usize,
    limits: &Limits,
) -> Result<Vec<u8>, OriginError> {
    let mut all = Vec::new();
    let reading = async {
        while let Some(part) = response.chunk().await.map_err(|error| failed(url, &error))? {
            if all.len() + part.len() > most {
                return Err(OriginError::refused(url, format!("the answer is longer than {most} bytes")));
            }
            all.extend_from_slice(&part);
        }
        Ok(())
    };
    match tokio::time::timeout(limits.answer, reading).await {
        Ok(read) => read.map(|()| all),
        Err(_) => Err(OriginError::unreachable(url, "the answer came too slowly")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_by_the_last_part_of_its_url() {
        for (url, expected) in [
            ("https://host/a/b.bin?signed=1", "b.bin"),
            ("https://host/a%20b/", "a b"),
            ("https://host", "host"),
            ("https://host/a%2fb", "a/b"),
        ] {
            assert_eq!(name(&Url::parse(url).unwrap()), expected);
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_shown() {
        let error = HttpSource::new("https://me:secret@host/file", &Limits::default()).err().unwrap().to_string();
        assert!(!error.contains("secret") && error.contains("https://host/file"), "{error}");
    }
}
