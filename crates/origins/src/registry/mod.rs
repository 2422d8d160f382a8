//! A registry of container images (OCI distribution specification): what a tag stands for now, and the bytes of manifests and layers by
//! their digests.
//!
//! Where a registry wants a token of a service, that is asked for one, with the [`login`] of this user if there is one. Neither goes
//! anywhere else: of both servers, redirects elsewhere are followed without them.

mod asked;
mod credentials;
mod helper;
mod login;
mod name;
mod source;
mod tags;
mod token;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK, RANGE,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};

use crate::client::{answer, client_of, client_of_one, content_range, header, send};
use crate::http::small_body;
use crate::outage::Outage;
use crate::redirects::Named;
use crate::{FileDigest, Limits, Object, Origin, OriginError, Pace, Version};
use asked::Asked;
pub use asked::Login;
pub use credentials::Credentials;
pub use login::login;
use login::may_go_to;
pub use name::{digest, digest_name, is_name, is_tag};
use source::RegistrySource;
pub use tags::{Next, Tags};
use token::{Challenge, Granted, Tokens};
use url::form_urlencoded;

/// All kinds of manifests.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Most bytes of a manifest (the specification's own bound), and of what a service says that gives tokens.
const MANIFEST: u64 = 4 << 20;
const GRANTED: usize = 1 << 20;
/// Most bytes of a list of tags.
const TAGS: usize = 4 << 20;

/// What has a digest in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A manifest, or a list of them.
    Manifest,
    /// A layer, or the configuration of an image.
    Blob,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Kind::Manifest => "manifests",
            Kind::Blob => "blobs",
        }
    }
}

/// A registry. Clones are of the same.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    client: Client,
    /// For identity tokens, which go to the service for tokens alone.
    client_of_one: Client,
    named: Named,
    url: Url,
    /// For messages.
    shown: String,
    /// This user's, if there is one.
    login: Asked,
    /// Whether it was said that no login is sent.
    warned: AtomicBool,
    limits: Limits,
    outage: Outage,
    pace: OnceLock<Pace>,
    challenge: tokio::sync::Mutex<Option<Challenge>>,
    tokens: Mutex<Tokens>,
}

impl Registry {
    /// The registry at this address, and what has the credentials for it.
    pub fn new(url: &str, login: Option<Login>, limits: &Limits) -> Result<Self, OriginError> {
        let url = Url::parse(url).map_err(|error| OriginError::url(url, error.to_string()))?;
        let shown = crate::client::shown(&url);
        let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !is_bare {
            let reason = "a registry is at an address that begins with https:// or http://, without a password";
            return Err(OriginError::url(&shown, reason));
        }
        let named = Named::new(&url);
        Ok(Registry(Arc::new(Inner {
            client: client_of(limits, &named)?,
            client_of_one: client_of_one(limits, &named)?,
            named,
            url,
            shown: shown.trim_end_matches('/').to_owned(),
            login: Asked::new(login),
            warned: AtomicBool::new(false),
            limits: limits.clone(),
            outage: Outage::default(),
            pace: OnceLock::new(),
            challenge: tokio::sync::Mutex::default(),
            tokens: Mutex::default(),
        })))
    }

    /// The same registry, whose blobs are read no faster than this, together with all others that have it. It can be said once.
    pub fn paced(self, pace: Option<Pace>) -> Self {
        if let Some(pace) = pace {
            let _ = self.0.pace.set(pace);
        }
        self
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.0.shown
    }

    /// The digest of the manifest that a tag stands for now, and its size.
    pub async fn resolve(&self, name: &str, tag: &str) -> Result<(FileDigest, u64), OriginError> {
        let inner = &self.0;
        let url = inner.at(name, Kind::Manifest, tag)?;
        let shown = inner.shown(name, Kind::Manifest, tag);
        let resolve = || async {
            match inner.ask(Method::HEAD, name, Kind::Manifest, &url, &shown, None).await {
                Ok(found) => {
                    let digest = header(found.headers(), &DIGEST).and_then(|text| digest(&text));
                    let found = digest.zip(length(found.headers())).filter(|(_, size)| *size <= MANIFEST);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                // It may answer GET alone.
                Err(OriginError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
            // It does not say, so it is read, and is what it is.
            let found = inner.ask(Method::GET, name, Kind::Manifest, &url, &shown, None).await?;
            let bytes = small_body(found, &shown, MANIFEST as usize, &inner.limits).await?;
            let sha256 = <sha2::Sha256 as sha2::Digest>::digest(&bytes).into();
            Ok((FileDigest::Sha256(sha256), bytes.len() as u64))
        };
        inner.outage.persist(&inner.limits, resolve).await
    }

    /// The tags of a repository, or the next of them: so many behind this one, as far as the registry is asked so.
    pub async fn tags(&self, name: &str, most: Option<u32>, behind: Option<&str>) -> Result<Tags, OriginError> {
        let inner = &self.0;
        let (url, shown) = (inner.at_tags(name, most, behind)?, format!("{}/v2/{name}/tags/list", inner.shown));
        let list = || async {
            let found = inner.ask(Method::GET, name, Kind::Blob, &url, &shown, None).await?;
            let wrong = |reason: &str| OriginError::refused(&shown, reason);
            let links = found.headers().get_all(LINK).iter().map(|link| String::from_utf8_lossy(link.as_bytes()));
            let links: Vec<_> = links.collect();
            let next = tags::next(links.iter().map(|link| link.as_ref())).map_err(wrong)?;
            let body = small_body(found, &shown, TAGS, &inner.limits).await?;
            tags::read(&body, next).map_err(wrong)
        };
        inner.outage.persist(&inner.limits, list).await
    }

    /// What a digest names, if the registry has it: to be read from the origin that this returns.
    pub async fn find(&self, name: &str, kind: Kind, digest: FileDigest) -> Result<(Origin, Object), OriginError> {
        let inner = &self.0;
        let unknown = || OriginError::url(&inner.shown, "registries have no digests of this kind");
        let key = digest_name(digest).ok_or_else(unknown)?;
        let url = inner.at(name, kind, &key)?;
        let shown = inner.shown(name, kind, &key);
        let size = inner.outage.persist(&inner.limits, || inner.size(name, kind, &url, &shown)).await?;
        if kind == Kind::Manifest && size > MANIFEST {
            return Err(OriginError::refused(&shown, "it is too large for a manifest"));
        }
        let object =
            Object { path: key.clone(), version: Version::Commit(key.clone()), key, size, digest: Some(digest) };
        let source = RegistrySource { registry: self.clone(), name: name.to_owned(), kind, url: shown };
        let origin = Origin::new(Arc::new(source), inner.limits.clone()).paced(inner.pace.get().cloned());
        Ok((origin, object))
    }
}

impl Inner {
    fn shown(&self, name: &str, kind: Kind, reference: &str) -> String {
        format!("{}/v2/{name}/{}/{reference}", self.shown, kind.path())
    }

    fn at(&self, name: &str, kind: Kind, reference: &str) -> Result<Url, OriginError> {
        let mut url = self.url.clone();
        if !is_name(name) || !(is_tag(reference) || digest(reference).is_some()) {
            return Err(OriginError::url(&self.shown, "there is no image of such a name"));
        }
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push("v2").extend(name.split('/')).push(kind.path()).push(reference);
        }
        Ok(url)
    }

    fn at_tags(&self, name: &str, most: Option<u32>, behind: Option<&str>) -> Result<Url, OriginError> {
        let mut url = self.url.clone();
        if !is_name(name) || behind.is_some_and(|tag| !is_tag(tag)) {
            return Err(OriginError::url(&self.shown, "there are no images of such a name"));
        }
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push("v2").extend(name.split('/')).extend(["tags", "list"]);
        }
        if most.is_some() || behind.is_some() {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(most.map(|most| ("n", most.to_string())));
            query.extend_pairs(behind.map(|tag| ("last", tag)));
        }
        Ok(url)
    }

    /// How large something is. Some servers answer HEAD only where they keep it themselves.
    async fn size(&self, name: &str, kind: Kind, url: &Url, shown: &str) -> Result<u64, OriginError> {
        let unknown = || OriginError::refused(shown, "the registry does not say how large it is");
        match self.ask(Method::HEAD, name, kind, url, shown, None).await {
            Ok(found) if length(found.headers()).is_some() => return length(found.headers()).ok_or_else(unknown),
            Err(error) if error.is_transient() || matches!(error, OriginError::NotFound(_)) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let found = self.ask(Method::GET, name, kind, url, shown, Some("bytes=0-0")).await?;
        if found.status() == StatusCode::PARTIAL_CONTENT {
            let range = header(found.headers(), &CONTENT_RANGE).and_then(|text| content_range(&text));
            return range.and_then(|(_, _, size)| size).ok_or_else(unknown);
        }
        length(found.headers()).ok_or_else(unknown)
    }

    /// Asks, with what the registry wants of those who ask.
    async fn ask(
        &self,
        method: Method,
        name: &str,
        kind: Kind,
        url: &Url,
        shown: &str,
        range: Option<&'static str>,
    ) -> Result<Response, OriginError> {
        self.permitted(name, || async {
            let mut request = self.request(method.clone(), name, kind, url).await?;
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            send(request, shown, &self.limits).await
        })
        .await
    }

    /// Does what the registry may deny; where it does, once more with another token, and with another login.
    async fn permitted<T, F>(&self, name: &str, once: impl Fn() -> F) -> Result<T, OriginError>
    where
        F: Future<Output = Result<T, OriginError>>,
    {
        let is_denied = |answered: &Result<T, OriginError>| matches!(answered, Err(OriginError::Denied { .. }));
        let mut answered = once().await;
        if is_denied(&answered) && self.forget(name).await {
            answered = once().await;
        }
        // The token is a new one, and the login may hold no longer.
        if is_denied(&answered) && self.login.is_refused().await {
            self.forget(name).await;
            answered = once().await;
        }
        answered
    }

    /// A request that says what the registry wants to hear.
    async fn request(&self, method: Method, name: &str, kind: Kind, url: &Url) -> Result<RequestBuilder, OriginError> {
        let mut request = self.client.request(method, url.clone());
        if kind == Kind::Manifest {
            request = request.header(ACCEPT, MANIFESTS);
        }
        Ok(match self.authorization(name).await? {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        })
    }

    /// Forgets what the registry was told, which it did not take. Whether there was anything.
    async fn forget(&self, name: &str) -> bool {
        let had_token = self.tokens().find(name).is_some();
        self.tokens().forget(name);
        // It may have been open to everyone before.
        let challenge = self.challenge.lock().await.take();
        had_token || challenge == Some(Challenge::Open)
    }

    async fn authorization(&self, name: &str) -> Result<Option<HeaderValue>, OriginError> {
        // Those who ask at once for the first time ask once.
        let mut known = self.challenge.lock().await;
        let challenge = match &*known {
            Some(challenge) => challenge.clone(),
            None => known.insert(self.challenged().await?).clone(),
        };
        drop(known);
        let Challenge::Bearer { realm, service } = challenge else {
            let login = if challenge == Challenge::Basic { self.login(&self.url).await } else { None };
            return Ok(match login {
                Some(Credentials::Basic(login)) => basic(&login),
                Some(Credentials::Identity(_)) | None => None,
            });
        };
        if let Some(token) = self.tokens().find(name) {
            return Ok(Some(token));
        }
        let granted = self.granted(&realm, service.as_deref(), name).await?;
        let token = self.tokens().keep(name, &granted);
        token.map(Some).ok_or_else(|| OriginError::refused(&self.shown, "its service for tokens gives none"))
    }

    /// The login, for a server that may have it.
    async fn login(&self, to: &Url) -> Option<Credentials> {
        // No helper program is asked for what is not sent.
        if !may_go_to(to) {
            if self.login.is_some() && !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(url = self.shown, "no login for this registry is sent over plain HTTP: use https://");
            }
            return None;
        }
        self.login.get().await
    }

    /// What the registry wants.
    async fn challenged(&self) -> Result<Challenge, OriginError> {
        let mut url = self.url.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(["v2", ""]);
        }
        let answered = answer(self.client.get(url), &self.shown, &self.limits).await?;
        match answered.status() {
            StatusCode::UNAUTHORIZED => Challenge::of(answered.headers()).ok_or_else(|| {
                OriginError::refused(&self.shown, "it wants credentials of a kind that is not known here")
            }),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(OriginError::unreachable(&self.shown, format!("it answers {status}")))
            }
            _ => Ok(Challenge::Open),
        }
    }

    /// Asks the service that the registry names for a token with which this repository can be read.
    async fn granted(&self, realm: &str, service: Option<&str>, name: &str) -> Result<Granted, OriginError> {
        let wrong = |reason: &str| OriginError::refused(&self.shown, reason);
        let mut url = Url::parse(realm).map_err(|_| wrong("it names no service that gives tokens"))?;
        if !self.named.may_lead_to(&self.url, &url) {
            return Err(wrong("its token service is at an address that redirects may not lead to"));
        }
        let scope = format!("repository:{name}:pull");
        let wanted = service.map(|service| ("service", service)).into_iter().chain([("scope", scope.as_str())]);
        let request = match self.login(&url).await {
            Some(Credentials::Identity(token)) => {
                let own = [
                    ("grant_type", "refresh_token"),
                    ("client_id", "p2p-fileshare"),
                    ("refresh_token", token.as_str()),
                ];
                let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(wanted.chain(own)).finish();
                self.client_of_one.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            Some(Credentials::Basic(login)) => {
                url.query_pairs_mut().extend_pairs(wanted);
                match basic(&login) {
                    Some(login) => self.client.get(url).header(AUTHORIZATION, login),
                    None => self.client.get(url),
                }
            }
            None => {
                url.query_pairs_mut().extend_pairs(wanted);
                self.client.get(url)
            }
        };
        let shown = format!("the service for tokens of {}", self.shown);
        let answered = send(request, &shown, &self.limits).await?;
        let body = small_body(answered, &shown, GRANTED, &self.limits).await?;
        serde_json::from_slice(&body).map_err(|_| wrong("its service for tokens does not answer as it should"))
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name and a password as a header.
fn basic(login: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Basic {login}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What `Content-Length` says, also in the answer to HEAD.
fn length(headers: &HeaderMap) -> Option<u64> {
    header(headers, &CONTENT_LENGTH).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{Response, WebServer};

    #[tokio::test]
    async fn no_login_is_asked_for_that_would_be_sent_over_plain_http() {
        let asked = Arc::new(AtomicBool::new(false));
        let says = asked.clone();
        let login: Login = Arc::new(move || {
            says.store(true, Ordering::SeqCst);
            Some(Credentials::Basic("YTpi".to_owned()))
        });
        let registry = Registry::new("http://registry.example", Some(login), &Limits::default()).unwrap();
        for (to, is_sent) in [("http://registry.example", false), ("https://auth.example/token", true)] {
            let login = registry.0.login(&Url::parse(to).unwrap()).await;
            assert_eq!((login.is_some(), asked.load(Ordering::SeqCst)), (is_sent, is_sent), "{to}");
        }
    }

    #[tokio::test]
    async fn an_identity_token_is_given_for_another_by_the_service_alone() {
        let elsewhere = WebServer::start(|_| Response::new(200, "{}"));
        let (digits, redirects) = ("ab".repeat(32), Arc::new(AtomicBool::new(false)));
        let (found, leads, to) = (format!("sha256:{digits}"), redirects.clone(), elsewhere.url());
        let server = WebServer::start(move |request| match &*request.path {
            "/token" if leads.load(Ordering::SeqCst) => Response::new(307, "").header("Location", to.clone()),
            "/token" if request.method == "POST" => {
                let body = "service=s+1&scope=repository%3Aa%2Fb%3Apull&grant_type=refresh_token&client_id=p2p-fileshare&refresh_token=secret%2B";
                let is_right = request.body == body.as_bytes();
                Response::new(if is_right { 200 } else { 401 }, r#"{"access_token": "given"}"#)
            }
            _ if request.headers.get("authorization").is_some_and(|said| said == "Bearer given") => {
                Response::new(200, "").header("Docker-Content-Digest", found.clone()).header("Content-Length", "5")
            }
            _ => {
                let realm = format!("Bearer realm=\"http://{}/token\",service=\"s 1\"", request.headers["host"]);
                Response::new(401, "").header("WWW-Authenticate", realm)
            }
        });
        let login: Login = Arc::new(|| Some(Credentials::Identity("secret+".to_owned())));
        let open = || Registry::new(&server.url(), Some(login.clone()), &Limits::default()).unwrap();
        assert_eq!(open().resolve("a/b", "latest").await, Ok((FileDigest::Sha256([0xab; 32]), 5)));
        redirects.store(true, Ordering::SeqCst);
        assert!(open().resolve("a/b", "latest").await.is_err());
        assert!(elsewhere.requests().is_empty());
    }
}
