//! The HTTP client of all origins: TLS by ring, bounded redirects, deadlines; and what its answers mean.

use std::env;
use std::error::Error;
use std::ops::Range;
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderName, IF_MATCH, RANGE, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Response, StatusCode, Url};

use crate::redirects::{Named, is_inward};
use crate::{ByteStream, Limits, OriginError, tls};

/// A connection must be there within this time, or less if less is waited for an answer.
const CONNECT: Duration = Duration::from_secs(10);
/// Seconds at most for which a server may ask to be left alone.
const LONGEST_ASKED: u64 = 3600;
/// Most bytes of an error's body that are shown.
const SHOWN: usize = 200;
/// Added to what fails of requests over http://.
const ONLY_HTTPS: &str = "a server that takes only https:// may answer so";
/// Where people name the certificate authorities that count in place of the system's.
const OWN_AUTHORITIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoClient {
    /// What the environment names has no certificates.
    #[error("SSL_CERT_FILE or SSL_CERT_DIR is set, but there are no CA certificates where it points")]
    Authorities,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Makes ring the process's provider for TLS, unless it has one.
pub(crate) fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A client for the host of this URL, that waits as the limits say.
pub(crate) fn client(limits: &Limits, url: &Url) -> Result<Client, OriginError> {
    client_of(limits, &Named::new(url))
}

/// A client for what the user named.
pub(crate) fn client_of(limits: &Limits, named: &Named) -> Result<Client, OriginError> {
    following(limits, named, || named.policy())
}

/// The same, which follows no redirects: for requests that have something secret in their bodies.
pub(crate) fn client_of_one(limits: &Limits, named: &Named) -> Result<Client, OriginError> {
    following(limits, named, Policy::none)
}

fn following(limits: &Limits, named: &Named, policy: impl Fn() -> Policy) -> Result<Client, OriginError> {
    let client = build(|| {
        let builder = if named.may_use_proxies() { Client::builder() } else { Client::builder().no_proxy() };
        builder
            .redirect(policy())
            .dns_resolver(Arc::new(named.clone()))
            // What a URL has of secrets is for its own server, and not for where that redirects.
            .referer(false)
            .connect_timeout(CONNECT.min(limits.answer))
    });
    client.map_err(|error| OriginError::refused("the web", error.to_string()))
}

/// A client that is configured so. Servers prove who they are by the system's certificate authorities. A system that has none at all, as a
/// container often does, takes those that Mozilla lists, as they were when this program was built.
pub(crate) fn build(configured: impl Fn() -> ClientBuilder) -> Result<Client, NoClient> {
    use_ring();
    let configured = || {
        // Over HTTP/2 all reads would share one connection, and its windows of a few MiB.
        configured().user_agent(concat!("p2p-fileshare/", env!("CARGO_PKG_VERSION"))).http1_only()
    };
    let failed = match configured().build() {
        Ok(client) => return Ok(client),
        Err(error) => error,
    };
    let client = configured().tls_certs_only(mozilla()).build().map_err(|_| NoClient::Other(chain(&failed)))?;
    if OWN_AUTHORITIES.iter().any(|name| env::var_os(name).is_some()) {
        return Err(NoClient::Authorities);
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::info!("this system has no CA certificates: those that came with this program are used"));
    Ok(client)
}

/// The authorities that Mozilla lists.
fn mozilla() -> impl Iterator<Item = Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|authority| Certificate::from_der(authority).ok())
}

/// Sends a request, and gives its answer if that is no error.
pub(crate) async fn send(request: RequestBuilder, url: &str, limits: &Limits) -> Result<Response, OriginError> {
    check(answer(request, url, limits).await?, url).await
}

/// Sends a request, and gives its answer, whatever it says.
pub(crate) async fn answer(request: RequestBuilder, url: &str, limits: &Limits) -> Result<Response, OriginError> {
    // What is compressed on the way has other ranges.
    let request = request.header(ACCEPT_ENCODING, "identity");
    let answered = tokio::time::timeout(limits.answer, request.send()).await;
    let Ok(sent) = answered else {
        let waited = humantime::format_duration(limits.answer);
        return Err(OriginError::unreachable(url, format!("no answer in {waited}")));
    };
    sent.map_err(|error| failed(url, &error))
}

async fn check(response: Response, url: &str) -> Result<Response, OriginError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = header(response.headers(), &RETRY_AFTER).and_then(|text| text.parse().ok());
    let retry_after = retry_after.map(|seconds: u64| seconds.min(LONGEST_ASKED));
    Err(match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => OriginError::NotFound(url.to_owned()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            let reason = format!("it answers {status}{}", body_words(response).await);
            OriginError::Denied { url: url.to_owned(), reason }
        }
        StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => OriginError::Changed(url.to_owned()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            OriginError::Unreachable { url: url.to_owned(), reason: format!("it answers {status}"), retry_after }
        }
        _ if status.is_server_error() => {
            OriginError::Unreachable { url: url.to_owned(), reason: format!("it answers {status}"), retry_after }
        }
        StatusCode::BAD_REQUEST if response.url().scheme() == "http" => {
            OriginError::refused(url, format!("it answers {status}{}; {ONLY_HTTPS}", body_words(response).await))
        }
        _ => OriginError::refused(url, format!("it answers {status}{}", body_words(response).await)),
    })
}

/// The beginning of an error's body on one line, if it is text.
async fn body_words(mut response: Response) -> String {
    let body = tokio::time::timeout(Duration::from_secs(2), response.chunk()).await;
    let Ok(Ok(Some(body))) = body else { return String::new() };
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned();
    let text: Vec<_> = text.split_whitespace().collect();
    let text = text.join(" ");
    if text.is_empty() || text.starts_with('<') || text.contains(char::is_control) {
        String::new()
    } else {
        format!(": {text}")
    }
}

/// What became of a request that was not answered.
pub(crate) fn failed(url: &str, error: &reqwest::Error) -> OriginError {
    if let Some(reason) = tls::refusal(error) {
        return OriginError::refused(url, reason);
    }
    let reason = chain(error);
    if error.is_redirect() || error.is_builder() || is_inward(error) {
        return OriginError::refused(url, reason);
    }
    if is_unresolved(error) {
        let host = error.url().and_then(Url::host_str).unwrap_or("its host");
        let proxy = if has_proxy() { ", or the proxy on the way there," } else { "" };
        return OriginError::Unresolved { url: url.to_owned(), reason: format!("{host}{proxy} cannot be resolved") };
    }
    let is_plain = error.url().is_some_and(|url| url.scheme() == "http");
    if is_plain && error.is_request() && !error.is_connect() && !error.is_timeout() {
        return OriginError::unreachable(url, format!("{reason}; {ONLY_HTTPS}"));
    }
    OriginError::unreachable(url, reason)
}

/// Whether the environment names a proxy.
fn has_proxy() -> bool {
    let names = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    names.into_iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Whether a request failed because the name of its host leads to no address. The client says that in words alone.
pub(crate) fn is_unresolved(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string() == "dns error" {
            return true;
        }
        next = error.source();
    }
    false
}

/// What happened, from the last cause: URLs, which may have secrets in them, are not part of that.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    if let Some(error) = last.downcast_ref::<reqwest::Error>() {
        return match error {
            _ if error.is_timeout() => "it took too long".to_owned(),
            _ if error.is_connect() => "no connection".to_owned(),
            _ if error.is_body() || error.is_decode() => "the answer broke off".to_owned(),
            _ => "the request failed".to_owned(),
        };
    }
    last.to_string()
}

pub(crate) fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A range that is to be read.
pub(crate) struct RangeRequest<'a> {
    pub(crate) request: RequestBuilder,
    /// For messages.
    pub(crate) url: &'a str,
    pub(crate) range: Range<u64>,
    pub(crate) size: u64,
    /// A strong one.
    pub(crate) if_match: Option<&'a str>,
}

/// Begins to read a range, and sees to it that the answer is of just that range of a file of that size. Its headers are for the
/// caller to look at.
pub(crate) async fn read_range(
    asked: RangeRequest<'_>,
    limits: &Limits,
) -> Result<(HeaderMap, ByteStream), OriginError> {
    let RangeRequest { request, url, range, size, if_match } = asked;
    let last = range.end - 1;
    let mut request = request.header(RANGE, format!("bytes={}-{last}", range.start));
    if let Some(tag) = if_match {
        request = request.header(IF_MATCH, tag);
    }
    let response = send(request, url, limits).await?;
    let headers = response.headers().clone();
    if header(&headers, &CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(OriginError::refused(url, "the server compresses it, though it was asked not to"));
    }
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let found = header(&headers, &CONTENT_RANGE).and_then(|text| content_range(&text));
        match found {
            Some((_, _, Some(total))) if total != size => return Err(OriginError::Changed(url.to_owned())),
            Some((first, found_last, _)) if (first, found_last) == (range.start, last) => {}
            _ => return Err(OriginError::refused(url, "the server answers with another range than was asked for")),
        }
    } else if range != (0..size) {
        return Err(OriginError::NoRanges(url.to_owned()));
    } else if response.content_length().is_some_and(|found| found != size) {
        return Err(OriginError::Changed(url.to_owned()));
    }
    let url = url.to_owned();
    let body = response.bytes_stream().map(move |part| part.map_err(|error| failed(&url, &error)));
    Ok((headers, body.boxed()))
}

/// First and last byte, and the size of the whole: `bytes 0-9/100`, where the size may be `*`.
pub(crate) fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, total))
}

/// A URL without what may be secret in it.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{Response as Answer, WebServer};

    #[test]
    fn content_ranges_are_read_as_rfc_9110_writes_them() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0, 9, Some(100))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 9, None)));
        for text in ["bytes */100", "items 0-9/100", "bytes 0-9", "bytes a-9/100", ""] {
            assert_eq!(content_range(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_system_without_authorities_takes_those_of_mozilla() {
        use_ring();
        assert!(mozilla().count() > 50);
        Client::builder().tls_certs_only(mozilla()).build().unwrap();
    }

    #[test]
    fn a_signed_url_is_shown_without_its_signature() {
        let url = Url::parse("https://user:word@host/a%20b.bin?X-Amz-Signature=secret#part").unwrap();
        assert_eq!(shown(&url), "https://host/a%20b.bin");
    }

    #[tokio::test]
    async fn a_server_on_the_web_cannot_redirect_into_a_network_of_this_machine() {
        let inner = WebServer::start(|_| Answer::new(200, "secret"));
        let port = inner.url().rsplit(':').next().unwrap().to_owned();
        let targets = ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]", "169.254.169.254"];
        for target in targets {
            let location = format!("http://{target}:{port}/file");
            let server = WebServer::start(move |_| Answer::new(302, "").header("Location", location.clone()));
            // As if it were on the web.
            let client = client_of(&Limits::default(), &Named::at("127.0.0.1", false)).unwrap();
            let answer = send(client.get(server.url()), "the file", &Limits::default()).await;
            let Err(error @ OriginError::Refused { .. }) = answer else { panic!("{target}: {answer:?}") };
            assert!(error.to_string().contains("private network"), "{target}: {error}");
        }
        assert!(inner.requests().is_empty());
    }
}
