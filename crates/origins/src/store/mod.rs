//! Buckets of S3, Google Cloud and Azure: an object, or all below a prefix.
//!
//! Credentials come from where each cloud's own tools look: the environment, a profile, the role of the machine. They are never
//! part of a URL.

mod aws;
mod connector;

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientOptions, Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use protocol::{MAX_MANIFEST_BYTES, redacted};

use connector::Connector;

use crate::client::{chain, use_ring};
use crate::{ByteStream, Limits, Listing, Object, OriginError, Source, Version};

/// How manifests end that lie beside what they are of.
pub(crate) const BESIDE: &str = ".p2p-manifest";
/// Most objects below a prefix: more than a content may have.
const OBJECTS: usize = 100_000;

/// A bucket, and what of it is meant.
pub(crate) struct StoreSource {
    store: Box<dyn ObjectStore>,
    /// Where the store is.
    address: String,
    bucket: String,
    /// The key of an object, or a prefix that ends with `/` or is empty.
    key: String,
    url: String,
    limits: Limits,
}

impl StoreSource {
    /// What a URL names, in the store of its scheme.
    pub(crate) fn new(url: &str, endpoint: Option<&str>, limits: &Limits) -> Result<Self, OriginError> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', ':', '?', '#']) {
            return Err(OriginError::url(
                url,
                format!("it is written {scheme}://bucket/key, or {scheme}://bucket/prefix/"),
            ));
        }
        use_ring();
        let (store, address) = open(scheme, bucket, endpoint, limits).map_err(|error| {
            // Some say which address is wrong, and that may have a password in it.
            let reason = Some(chain(&error)).filter(|reason| !reason.contains('@') && !reason.contains("://"));
            let reason =
                reason.unwrap_or_else(|| "its store cannot be opened: check --endpoint and the environment".to_owned());
            OriginError::url(url, reason)
        })?;
        Ok(StoreSource {
            store,
            address,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            url: redacted(url),
            limits: limits.clone(),
        })
    }

    /// Puts a small object beside the one that is meant, or into the prefix, and returns its URL.
    pub(crate) async fn put(&self, name: &str, bytes: Bytes) -> Result<String, OriginError> {
        let key = self.beside(name);
        let scheme = self.url.split_once("://").map_or("", |(scheme, _)| scheme);
        let url = format!("{scheme}://{}/{key}", self.bucket);
        let path = self.path(&key)?;
        let putting = self.store.put(&path, bytes.into());
        let put = tokio::time::timeout(self.limits.answer, putting).await;
        put.map_err(|_| OriginError::unreachable(&url, "no answer"))?.map_err(|error| failed(&url, error))?;
        Ok(url)
    }

    /// A small object beside the one that is meant, or in the prefix; nothing if there is none.
    pub(crate) async fn get(&self, name: &str, most: usize) -> Option<Bytes> {
        let path = self.path(&self.beside(name)).ok()?;
        let reading = async {
            // Whole answers are for what is small.
            let options = GetOptions { range: Some((0..most as u64 + 1).into()), ..GetOptions::default() };
            let got = self.store.get_opts(&path, options).await.ok().filter(|got| got.meta.size <= most as u64)?;
            let (size, mut body, mut all) = (got.meta.size as usize, got.into_stream(), BytesMut::new());
            while let Some(part) = body.try_next().await.ok()? {
                all.extend_from_slice(&part);
                if all.len() > size {
                    return None;
                }
            }
            Some(all.freeze()).filter(|all| all.len() == size)
        };
        tokio::time::timeout(self.limits.answer, reading).await.ok().flatten()
    }

    fn beside(&self, name: &str) -> String {
        match self.key.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_owned(),
        }
    }

    fn path(&self, key: &str) -> Result<Path, OriginError> {
        Path::parse(key).map_err(|_| OriginError::url(&self.url, "no object can be called so here, as `a//b` or `..`"))
    }

    async fn look(&self) -> Result<Listing, OriginError> {
        if !self.is_prefix() {
            let found = self.store.head(&self.path(&self.key)?).await;
            let found = match found {
                Err(Error::NotFound { .. }) if self.has_objects_below().await => {
                    let reason = format!("there is no such object, but there are some below it: write {}/", self.url);
                    return Err(OriginError::url(&self.url, reason));
                }
                found => found.map_err(|error| failed(&self.url, error))?,
            };
            let name = self.key.rsplit('/').next().unwrap_or_default().to_owned();
            return Ok(Listing { name: name.clone(), folder: false, objects: vec![object(found, name)] });
        }
        let prefix = self.path(&self.key)?;
        let mut found = self.store.list(Some(&prefix));
        let (mut objects, mut bytes) = (Vec::new(), 0);
        while let Some(meta) = found.try_next().await.map_err(|error| failed(&self.url, error))? {
            let below = meta.location.as_ref().strip_prefix(self.key.trim_start_matches('/'));
            // Keys that end with `/` stand for folders in some tools, and have no bytes.
            let is_content = |path: &&str| !path.is_empty() && !path.ends_with(BESIDE);
            let Some(path) = below.filter(is_content).map(str::to_owned) else { continue };
            if meta.size > 0 || !is_folder_mark(&meta) {
                bytes += path.len() + meta.e_tag.as_ref().map_or(0, String::len);
                objects.push(object(meta, path));
            }
            if objects.len() > OBJECTS || bytes > MAX_MANIFEST_BYTES {
                let reason = format!(
                    "there are more than {OBJECTS} objects below it, or their names are longer than those of a content"
                );
                return Err(OriginError::refused(&self.url, reason));
            }
        }
        if objects.is_empty() {
            return Err(OriginError::NotFound(format!("an object below {}", self.url)));
        }
        let last = self.key.trim_end_matches('/').rsplit('/').next().filter(|last| !last.is_empty());
        Ok(Listing { name: last.unwrap_or(&self.bucket).to_owned(), folder: true, objects })
    }

    fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    async fn has_objects_below(&self) -> bool {
        let Ok(prefix) = self.path(&self.key) else { return false };
        matches!(self.store.list(Some(&prefix)).next().await, Some(Ok(_)))
    }
}

/// `list` has taken the stroke at its end away.
fn is_folder_mark(meta: &ObjectMeta) -> bool {
    meta.e_tag.as_deref() == Some("\"d41d8cd98f00b204e9800998ecf8427e\"") && meta.location.as_ref().ends_with('/')
}

/// An ETag as it stands in headers. Lists of Azure have them without quotation marks, and such a one matches nothing.
fn quoted(tag: String) -> String {
    if tag.ends_with('"') { tag } else { format!("\"{tag}\"") }
}

fn object(meta: ObjectMeta, path: String) -> Object {
    let version = match meta.e_tag {
        Some(tag) => Version::ETag(quoted(tag)),
        None => Version::Modified(meta.last_modified.to_rfc3339()),
    };
    Object { path, key: meta.location.to_string(), size: meta.size, version, digest: None }
}

fn open(
    scheme: &str,
    bucket: &str,
    endpoint: Option<&str>,
    limits: &Limits,
) -> Result<(Box<dyn ObjectStore>, String), object_store::Error> {
    let connector = Connector(limits.clone());
    // How long is waited, the connector knows.
    let client = ClientOptions::new()
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) || allows_http(scheme));
    // Trying again, too.
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    Ok(match scheme {
        "s3" => {
            use object_store::aws::AmazonS3ConfigKey::{Endpoint, Region};
            let builder = aws::builder(bucket, endpoint);
            let address = [Endpoint, Region].map(|key| builder.get_config_value(&key));
            check_address(address[0].as_deref())?;
            (
                Box::new(builder.with_http_connector(connector).with_client_options(client).with_retry(retry).build()?),
                format!("{address:?}"),
            )
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            if let Some(endpoint) = endpoint {
                builder = builder.with_base_url(endpoint);
            }
            let address = builder.get_config_value(&GoogleConfigKey::BaseUrl);
            check_address(address.as_deref())?;
            (
                Box::new(builder.with_http_connector(connector).with_client_options(client).with_retry(retry).build()?),
                format!("{address:?}"),
            )
        }
        _ => {
            use object_store::azure::AzureConfigKey::{AccountName, Endpoint, UseEmulator};
            let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint.to_owned());
            }
            let address = [AccountName, Endpoint, UseEmulator].map(|key| builder.get_config_value(&key));
            check_address(address[1].as_deref())?;
            (
                Box::new(builder.with_http_connector(connector).with_client_options(client).with_retry(retry).build()?),
                format!("{address:?}"),
            )
        }
    })
}

/// What object_store would panic at, and what would be seen by everyone on this machine.
fn check_address(address: Option<&str>) -> Result<(), object_store::Error> {
    let Some(address) = address else { return Ok(()) };
    let is_plain = |url: reqwest::Url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    };
    if reqwest::Url::parse(address).is_ok_and(is_plain) {
        return Ok(());
    }
    let reason =
        "the address of its store, by --endpoint or the environment, is not http or https with a host and no password";
    Err(Error::Generic { store: "store", source: reason.into() })
}

/// Whether the environment names a server without TLS.
fn allows_http(scheme: &str) -> bool {
    scheme == "s3" && aws::endpoint().is_some_and(|endpoint| endpoint.starts_with("http://"))
}

/// What an error of a store means.
fn failed(url: &str, error: Error) -> OriginError {
    match error {
        Error::NotFound { .. } => OriginError::NotFound(url.to_owned()),
        Error::Precondition { .. } | Error::NotModified { .. } => OriginError::Changed(url.to_owned()),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            let reason = "the store refuses these credentials, or there is no such object".to_owned();
            OriginError::Denied { url: url.to_owned(), reason }
        }
        Error::Generic { source, .. } => {
            let (all, last) = (whole_chain(&*source), chain(&*source));
            // What a store says of a request is in its text alone.
            if all.contains("301 Moved") || all.contains("PermanentRedirect") {
                return OriginError::refused(url, "the bucket is in another region: set AWS_REGION");
            }
            if all.contains("status code: 30") || all.contains("Received redirect") {
                return OriginError::refused(
                    url,
                    "the store redirects: give its own address, by --endpoint or AWS_REGION",
                );
            }
            if all.contains("416 ") || all.contains("InvalidRange") {
                return OriginError::Changed(url.to_owned());
            }
            if all.contains("status 400") || all.contains("400 Bad Request") {
                return OriginError::refused(url, last);
            }
            if last.contains("certificate") || last.contains("answer is longer than") {
                return OriginError::refused(url, last);
            }
            OriginError::unreachable(
                url,
                if last.len() > 300 { "the store does not answer well".to_owned() } else { last },
            )
        }
        error => OriginError::refused(url, chain(&error)),
    }
}

fn whole_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let (mut all, mut next) = (error.to_string(), error.source());
    while let Some(error) = next {
        all += ": ";
        all += &error.to_string();
        next = error.source();
    }
    all
}

impl Source for StoreSource {
    fn url(&self) -> &str {
        &self.url
    }

    fn identity(&self) -> String {
        format!("{} {} {}", self.address, self.bucket, self.key)
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, OriginError>> {
        async {
            // Many pages of a list may take their time; each answer has a deadline in the client.
            match tokio::time::timeout(self.limits.answer.saturating_mul(20), self.look()).await {
                Ok(found) => found,
                Err(_) => Err(OriginError::unreachable(&self.url, "the list of objects does not come to an end")),
            }
        }
        .boxed()
    }

    fn read<'a>(&'a self, object: &'a Object, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, OriginError>> {
        async move {
            let url = if self.is_prefix() { format!("{}{}", self.url, object.path) } else { self.url.clone() };
            let if_match = object.version.strong_etag().map(str::to_owned);
            let options = GetOptions { range: Some(range.clone().into()), if_match, ..GetOptions::default() };
            let path = self.path(&object.key)?;
            let getting = self.store.get_opts(&path, options);
            let Ok(got) = tokio::time::timeout(self.limits.answer, getting).await else {
                let waited = humantime::format_duration(self.limits.answer);
                return Err(OriginError::unreachable(&url, format!("no answer in {waited}")));
            };
            let got = got.map_err(|error| failed(&url, error))?;
            let same_version = match (&object.version, &got.meta.e_tag) {
                (Version::ETag(asked), Some(found)) => *asked == quoted(found.clone()),
                _ => true,
            };
            if got.meta.size != object.size || !same_version {
                return Err(OriginError::Changed(url));
            }
            if got.range != range {
                return Err(OriginError::refused(&url, "the store answers with another range than was asked for"));
            }
            Ok(got.into_stream().map(move |part| part.map_err(|error| failed(&url, error))).boxed())
        }
        .boxed()
    }
}
