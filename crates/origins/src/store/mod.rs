//! Buckets of S3, Google Cloud and Azure: an object, or all below a prefix.
//!
//! Credentials come from where each cloud's own tools look: the environment, a profile, the role of the machine. They are never
//! part of a URL.

mod aws;
mod connector;
mod credential_process;
mod unfit;
mod xml;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::{self, Path};
use object_store::{ClientOptions, Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use protocol::{MAX_MANIFEST_BYTES, check_path, redacted};

use connector::Connector;
use xml::text_of;

use crate::client::{chain, is_unresolved, use_ring};
use crate::{ByteStream, Limits, Listing, Object, OriginError, Source, Unfit, Version, tls};

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
    /// What is left out of the list that is being read.
    unfit: Arc<Mutex<Unfit>>,
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
        let unfit = Arc::default();
        let connector = Connector(limits.clone(), Arc::clone(&unfit));
        let (store, address) = open(scheme, bucket, endpoint, connector).map_err(|error| {
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
            unfit,
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
    pub(crate) async fn get(&self, name: &str, most: usize) -> Result<Option<Bytes>, OriginError> {
        let path = self.path(&self.beside(name))?;
        let reading = async {
            // Whole answers are for what is small.
            let options = GetOptions { range: Some((0..most as u64 + 1).into()), ..GetOptions::default() };
            let got = match self.store.get_opts(&path, options).await {
                Ok(got) if got.meta.size <= most as u64 => got,
                // Of what is not there a bucket says so only to those who may list it.
                Ok(_) | Err(Error::NotFound { .. } | Error::PermissionDenied { .. }) => return Ok(None),
                Err(error) => return Err(failed(&self.url, error)),
            };
            let (size, mut body, mut all) = (got.meta.size as usize, got.into_stream(), BytesMut::new());
            while let Some(part) = body.try_next().await.map_err(|error| failed(&self.url, error))? {
                all.extend_from_slice(&part);
                if all.len() > size {
                    return Ok(None);
                }
            }
            Ok(Some(all.freeze()).filter(|all| all.len() == size))
        };
        let read = tokio::time::timeout(self.limits.answer, reading).await;
        read.unwrap_or_else(|_| Err(OriginError::unreachable(&self.url, "no answer")))
    }

    fn beside(&self, name: &str) -> String {
        match self.key.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_owned(),
        }
    }

    fn path(&self, key: &str) -> Result<Path, OriginError> {
        let path = unfit::path(key.strip_suffix('/').unwrap_or(key));
        path.ok_or_else(|| OriginError::url(&self.url, "object names like `/a`, `a//b` or `..` are not supported"))
    }

    fn unfit(&self) -> MutexGuard<'_, Unfit> {
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self) -> Result<Listing, OriginError> {
        if !self.is_prefix() {
            let path = self.path(&self.key)?;
            let found = match self.store.head(&path).await {
                // An answer to HEAD has no words that say why.
                Err(error) if is_refused(&error) => {
                    let first = GetOptions { range: Some((0..1).into()), ..GetOptions::default() };
                    self.store.get_opts(&path, first).await.map(|got| got.meta)
                }
                found => found,
            };
            let found = match found {
                Err(Error::NotFound { .. }) if self.has_objects_below().await => {
                    let reason = format!("there is no such object, but there are some below it: write {}/", self.url);
                    return Err(OriginError::url(&self.url, reason));
                }
                found => found.map_err(|error| failed(&self.url, error))?,
            };
            let name = self.key.rsplit('/').next().unwrap_or_default().to_owned();
            let objects = vec![object(found, name.clone())];
            return Ok(Listing { name, folder: false, objects, unfit: Unfit::default() });
        }
        let prefix = self.path(&self.key)?;
        *self.unfit() = Unfit::default();
        let mut found = self.store.list(Some(&prefix));
        let (mut objects, mut bytes) = (Vec::new(), 0);
        while let Some(meta) = found.try_next().await.map_err(|error| failed(&self.url, error))? {
            let below = meta.location.as_ref().strip_prefix(self.key.trim_start_matches('/'));
            let is_content = |path: &&str| !path.is_empty() && !path.ends_with(BESIDE);
            let Some(path) = below.filter(is_content).map(str::to_owned) else { continue };
            if check_path(&path).is_err() {
                self.unfit().add(meta.location.as_ref());
                continue;
            }
            bytes += path.len() + meta.e_tag.as_ref().map_or(0, String::len);
            objects.push(object(meta, path));
            if objects.len() > OBJECTS || bytes > MAX_MANIFEST_BYTES {
                let reason = format!(
                    "there are more than {OBJECTS} objects below it, or their names are longer than those of a content"
                );
                return Err(OriginError::refused(&self.url, reason));
            }
        }
        let unfit = std::mem::take(&mut *self.unfit());
        match unfit.first.first() {
            Some(key) if objects.is_empty() => return Err(not_supported(&self.url, key)),
            None if objects.is_empty() => {
                return Err(OriginError::NotFound(format!("an object below {}", self.url)));
            }
            _ => {}
        }
        let last = self.key.trim_end_matches('/').rsplit('/').next().filter(|last| !last.is_empty());
        let objects = without_folder_marks(objects);
        Ok(Listing { name: last.unwrap_or(&self.bucket).to_owned(), folder: true, objects, unfit })
    }

    fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    async fn has_objects_below(&self) -> bool {
        let Ok(prefix) = self.path(&self.key) else { return false };
        matches!(self.store.list(Some(&prefix)).next().await, Some(Ok(_)))
    }
}

/// The objects but for those that stand for folders in some tools: without bytes, and with others below them. Their keys end with `/`, which
/// is not listed.
fn without_folder_marks(mut objects: Vec<Object>) -> Vec<Object> {
    objects.sort_by(|one, other| one.path.cmp(&other.path));
    let is_folder = |object: &Object| {
        let folder = format!("{}/", object.path);
        let next = objects.partition_point(|other| other.path < folder);
        objects.get(next).is_some_and(|other| other.path.starts_with(&folder))
    };
    let marks: Vec<bool> = objects.iter().map(|object| object.size == 0 && is_folder(object)).collect();
    objects.into_iter().zip(marks).filter(|(_, is_mark)| !is_mark).map(|(object, _)| object).collect()
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
    connector: Connector,
) -> Result<(Box<dyn ObjectStore>, String), object_store::Error> {
    // Trying again, too.
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    Ok(match scheme {
        "s3" => {
            use object_store::aws::AmazonS3ConfigKey::{Endpoint, Region};
            let builder = aws::builder(bucket, endpoint);
            let address = [Endpoint, Region].map(|key| builder.get_config_value(&key));
            let client = client_of(address[0].as_deref())?;
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
            let client = client_of(address.as_deref())?;
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
            let client = client_of(address[1].as_deref())?;
            (
                Box::new(builder.with_http_connector(connector).with_client_options(client).with_retry(retry).build()?),
                format!("{address:?}"),
            )
        }
    })
}

/// What a client for a store at this address may do, which may be named by the user, the environment or a profile. How long it waits, the
/// connector knows. Fails for what object_store would panic at, and what would be seen by everyone on this machine.
fn client_of(address: Option<&str>) -> Result<ClientOptions, object_store::Error> {
    let Some(address) = address else { return Ok(ClientOptions::new()) };
    let is_plain = |url: &reqwest::Url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    };
    if let Some(url) = reqwest::Url::parse(address).ok().filter(is_plain) {
        return Ok(ClientOptions::new().with_allow_http(url.scheme() == "http"));
    }
    let reason =
        "the address of its store, by --endpoint or the environment, is not http or https with a host and no password";
    Err(Error::Generic { store: "store", source: reason.into() })
}

/// Where machines and containers in a cloud ask for credentials of their role.
const ROLES: [&str; 4] = ["169.254.169.254", "169.254.170.", "metadata.google.internal", "/metadata/identity"];

/// Whether a store does not let an object be read.
fn is_refused(error: &Error) -> bool {
    match error {
        Error::PermissionDenied { .. } => true,
        Error::Generic { source, .. } => whole_chain(&**source).contains("400 Bad Request"),
        _ => false,
    }
}

/// What an error of a store means.
fn failed(url: &str, error: Error) -> OriginError {
    match error {
        Error::NotFound { .. } => OriginError::NotFound(url.to_owned()),
        Error::Precondition { .. } | Error::NotModified { .. } => OriginError::Changed(url.to_owned()),
        Error::Unauthenticated { path, source } if path == credential_process::NOT_ASKED => {
            OriginError::Denied { url: url.to_owned(), reason: source.to_string() }
        }
        Error::PermissionDenied { source, .. } | Error::Unauthenticated { source, .. } => {
            denied(url, &whole_chain(&*source))
        }
        Error::Generic { source, .. } => {
            let (all, last) = (whole_chain(&*source), chain(&*source));
            // They are asked where there are no other credentials, and are on no other machine.
            if ROLES.iter().any(|role| all.contains(role)) && !all.contains("status code: 5") && !all.contains("429 ") {
                let prefix = match url.split_once("://") {
                    Some(("gs", _)) => "GOOGLE",
                    Some(("az", _)) => "AZURE",
                    _ => "AWS",
                };
                let reason = format!(
                    "there are no credentials for it, neither in the environment nor in a profile, and this machine has no role that \
                     gives any (profiles with sso_session or role_arn are not read). If it is open to everyone, set \
                     {prefix}_SKIP_SIGNATURE=true"
                );
                return OriginError::Denied { url: url.to_owned(), reason };
            }
            // What a store says of a request is in its text alone, and of a list also how it is meant.
            let is = |status: &str| all.contains(&format!("status code: {status}"));
            if is("404") {
                return OriginError::NotFound(url.to_owned());
            }
            if is("401") || is("403") {
                return denied(url, &all);
            }
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
                let words = text_of(&all, "Message").zip(text_of(&all, "Code"));
                let words = words.map(|(words, code)| format!("the store says: {words} ({code})"));
                return OriginError::refused(url, words.unwrap_or(last));
            }
            if let Some(reason) = tls::refusal(&*source) {
                return OriginError::refused(url, reason);
            }
            if last.contains("answer is longer than") {
                return OriginError::refused(url, last);
            }
            if is_unresolved(&*source) {
                let reason = "the address of its store cannot be resolved".to_owned();
                return OriginError::Unresolved { url: url.to_owned(), reason };
            }
            OriginError::unreachable(
                url,
                if last.len() > 300 { "the store does not answer well".to_owned() } else { last },
            )
        }
        Error::InvalidPath { source: path::Error::BadSegment { path, .. } | path::Error::EmptySegment { path } } => {
            not_supported(url, &path)
        }
        error => OriginError::refused(url, chain(&error)),
    }
}

/// Why a store does not let something be read.
fn denied(url: &str, said: &str) -> OriginError {
    match text_of(said, "Code").as_deref() {
        Some("RequestTimeTooSkewed") => {
            OriginError::refused(url, "the clocks of this machine and of the store are too far apart")
        }
        Some("InvalidObjectState") => OriginError::refused(url, "it is archived: restore it first"),
        code => {
            let code = code.map_or_else(String::new, |code| format!(" ({code})"));
            let reason = format!("the store refuses these credentials, or there is no such object{code}");
            OriginError::Denied { url: url.to_owned(), reason }
        }
    }
}

fn not_supported(url: &str, key: &str) -> OriginError {
    let reason = format!("names of objects like {key:?} are not supported: rename it, or share another prefix");
    OriginError::refused(url, reason)
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

#[cfg(test)]
mod tests {
    use object_store::ClientConfigKey;
    use object_store::aws::AmazonS3Builder;

    use super::*;
    use crate::web::{Response as Answer, WebServer};

    fn listed(path: &str, size: u64) -> Object {
        Object {
            path: path.to_owned(),
            key: path.to_owned(),
            size,
            version: Version::ETag("\"a\"".to_owned()),
            digest: None,
        }
    }

    #[test]
    fn an_object_whose_key_is_not_supported_is_named() {
        for key in ["bad/../x", "bad//x"] {
            let error = failed("s3://bucket/", Path::parse(key).unwrap_err().into()).to_string();
            assert!(error.contains(&format!("{key:?} are not supported")), "{error}");
        }
    }

    #[test]
    fn an_object_that_stands_for_a_folder_is_no_file() {
        let all = [
            ("sub-b", 0),
            ("sub", 0),
            ("sub/a.bin", 1),
            ("sub/deep", 0),
            ("sub/deep/x", 1),
            ("empty", 0),
            ("full", 1),
            ("full/x", 1),
        ];
        let found = without_folder_marks(all.into_iter().map(|(path, size)| listed(path, size)).collect());
        let found: Vec<_> = found.iter().map(|object| object.path.as_str()).collect();
        assert_eq!(found, ["empty", "full", "full/x", "sub-b", "sub/a.bin", "sub/deep/x"]);
    }

    /// A bucket of a server that answers each list with these keys.
    fn source(server: &WebServer, key: &str) -> StoreSource {
        let (limits, unfit) = (Limits::default(), Arc::default());
        let builder = AmazonS3Builder::new().with_bucket_name("bucket").with_endpoint(server.url());
        let builder = builder.with_access_key_id("key").with_secret_access_key("secret");
        let builder = builder.with_client_options(client_of(Some(&server.url())).unwrap());
        let store = builder.with_http_connector(Connector(limits.clone(), Arc::clone(&unfit))).build().unwrap();
        let (address, url) = (server.url(), format!("s3://bucket/{key}"));
        StoreSource {
            store: Box::new(store),
            address,
            bucket: "bucket".to_owned(),
            key: key.to_owned(),
            url,
            limits,
            unfit,
        }
    }

    fn list_of(keys: &[&str]) -> WebServer {
        let entry = |key: &&str| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>\"t\"</ETag><Size>1</Size></Contents>"
            )
        };
        let entries: String = keys.iter().map(entry).collect();
        let list = format!("<ListBucketResult>{entries}<IsTruncated>false</IsTruncated></ListBucketResult>");
        WebServer::start(move |_| Answer::new(200, list.clone()))
    }

    #[tokio::test]
    async fn why_a_store_refuses_is_said() {
        for (status, code, words) in [
            (403, "RequestTimeTooSkewed", "the clocks of this machine and of the store are too far apart"),
            (403, "InvalidAccessKeyId", "or there is no such object (InvalidAccessKeyId)"),
            (403, "InvalidObjectState", "it is archived: restore it first"),
            (400, "ExpiredToken", "the store says: In <words> & more (ExpiredToken)"),
        ] {
            let said = format!("<Error><Code>{code}</Code><Message>In &lt;words&gt; &amp; more</Message></Error>");
            let server = WebServer::start(move |_| Answer::new(status, said.clone()));
            for key in ["a", "p/"] {
                let error = source(&server, key).list().await.unwrap_err().to_string();
                assert!(error.ends_with(words), "{key}: {error}");
            }
        }
        for key in ["a", "p/"] {
            let server = WebServer::start(|_| Answer::new(403, ""));
            let error = source(&server, key).list().await.unwrap_err().to_string();
            assert!(error.ends_with("or there is no such object"), "{key}: {error}");
            let server = WebServer::start(|_| Answer::new(404, "<Error><Code>NoSuchBucket</Code></Error>"));
            let error = source(&server, key).list().await.unwrap_err();
            assert!(matches!(error, OriginError::NotFound(_)), "{key}: {error}");
        }
    }

    #[tokio::test]
    async fn objects_whose_names_no_file_can_have_do_not_cost_the_others() {
        let long = format!("p/{}", "x".repeat(256));
        let server = list_of(&["p/a b", "p//a", "p/a/../b", "p/c&#10;", &long, "p/d/", "p/e/f", "p/./g", "p/+%20ö"]);
        let source = source(&server, "p/");
        for _ in 0..2 {
            let found = source.list().await.unwrap();
            let paths: Vec<_> = found.objects.iter().map(|object| object.path.as_str()).collect();
            assert_eq!(paths, ["+%20ö", "a b", "e/f"]);
            assert_eq!(found.unfit.count, 6);
            assert_eq!(found.unfit.first, ["p//a", "p/a/../b", "p/c\n", "p/d/", "p/./g"]);
        }
    }

    #[tokio::test]
    async fn a_prefix_with_nothing_else_is_refused() {
        let server = list_of(&["p//a"]);
        let error = source(&server, "p/").list().await.unwrap_err().to_string();
        assert!(error.contains("\"p//a\" are not supported"), "{error}");
        for key in ["/p/", "/a", "a//b", "../a"] {
            let error = source(&server, key).list().await.unwrap_err().to_string();
            assert!(error.contains("are not supported"), "{key}: {error}");
        }
    }

    #[test]
    fn a_store_without_tls_is_asked_wherever_its_address_comes_from() {
        let may = |address| client_of(address).unwrap().get_config_value(&ClientConfigKey::AllowHttp);
        assert_eq!(may(Some("http://minio:9000")).as_deref(), Some("true"));
        assert_eq!(may(Some("https://minio:9000")), may(None));
        assert!(client_of(Some("http://user:word@minio")).is_err() && client_of(Some("minio:9000")).is_err());
    }

    #[test]
    fn who_has_no_credentials_is_told_so_at_once() {
        let of = |said: &str| failed("s3://b/k", Error::Generic { store: "S3", source: said.to_owned().into() });
        for said in [
            "Error performing PUT http://169.254.169.254/latest/api/token in 1s, after 0 retries: HTTP error: error sending request",
            "Error performing GET http://169.254.170.2/v2/credentials: Server returned non-2xx status code: 404 Not Found",
            "Error performing GET http://metadata.google.internal/computeMetadata/v1: HTTP error: error sending request",
        ] {
            let OriginError::Denied { reason, .. } = of(said) else { panic!("{said}") };
            assert!(reason.ends_with("set AWS_SKIP_SIGNATURE=true"), "{reason}");
        }
        let busy = "Error performing PUT http://169.254.169.254/latest/api/token: Server returned non-2xx status code: 503 Busy";
        assert!(of(busy).is_transient());
        assert!(of("Error performing GET https://s3.example/b/k: HTTP error: error sending request").is_transient());
    }
}
