//! Who is answered: those who name this gateway in `Host`, and who know its token if it has one.
//!
//! A web page anywhere may make a browser ask this machine something. Its name is in `Host` even if it leads here (DNS rebinding), so
//! only known names and the address that was dialled are answered. A page of another site is not answered either, as far as the
//! browser says that it asks: a request may begin a download, even if nothing of the answer can be read (no CORS) or embedded
//! (`Cross-Origin-Resource-Policy`).

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::Uri;
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN, REFERER};
use axum::http::request::Parts;
use data_encoding::{BASE64, BASE64_NOPAD};

use crate::error::{GatewayError, Refusal};
use crate::s3::signature::{is_below, is_signed};

/// Fewest bytes of a token.
const SHORTEST: usize = 16;
/// Most bytes of its file.
const LONGEST: u64 = 4096;
/// Whose page has made a browser ask.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What clients of a gateway must know. It is never shown.
#[derive(Clone)]
pub struct Token {
    digest: blake3::Hash,
    /// Signatures are made with the token itself.
    text: Arc<str>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A token of at least 16 characters that can stand in a header.
    pub fn new(token: &str) -> Result<Self, GatewayError> {
        let token = token.trim();
        if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(GatewayError::Token);
        }
        // Digests are compared in constant time, whatever their texts have in common.
        Ok(Token { digest: blake3::hash(token.as_bytes()), text: token.into() })
    }

    /// The token in a file, without the space around it.
    pub fn read(path: &Path) -> Result<Self, GatewayError> {
        let failed = |source| GatewayError::TokenFile { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > LONGEST {
            return Err(GatewayError::Token);
        }
        Token::new(&std::fs::read_to_string(path).map_err(failed)?)
    }

    fn is(&self, given: &[u8]) -> bool {
        self.digest == blake3::hash(given)
    }

    /// Whether a request as to an object store is signed with it.
    fn has_signed(&self, request: &Parts) -> bool {
        is_below(request.uri.path()) && is_signed(request, &self.text, SystemTime::now())
    }

    /// Whether a client gave it: as `Bearer`, or as the password of `Basic`.
    fn is_in(&self, request: &Parts) -> bool {
        let Some(given) = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        let Some((scheme, given)) = given.split_once(' ') else { return false };
        let given = given.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(given.as_bytes());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let decoded = BASE64.decode(given.as_bytes()).or_else(|_| BASE64_NOPAD.decode(given.as_bytes()));
        let Ok(decoded) = decoded else { return false };
        let colon = decoded.iter().position(|&byte| byte == b':');
        colon.is_some_and(|colon| self.is(&decoded[colon + 1..]))
    }
}

/// Who is answered.
#[derive(Debug)]
pub(crate) struct Access {
    /// Names of this machine, in small letters, beside `localhost` and its addresses.
    pub(crate) hosts: Vec<String>,
    pub(crate) token: Option<Token>,
}

impl Access {
    /// Whether a request is answered at all.
    pub(crate) fn check(&self, request: &Parts, dialled: IpAddr) -> Result<(), Refusal> {
        // A proxy's client puts the host in front of the path.
        let of_target = request.uri.host().map(str::to_owned);
        let mut named = request.headers.get_all(HOST).iter();
        let of_header = named.next().and_then(|host| host.to_str().ok()).map(|host| without_port(host).to_owned());
        let named_once = named.next().is_none();
        let knows = |host: &String| self.knows(host, dialled);
        if !named_once || !of_header.as_ref().is_some_and(knows) || !of_target.iter().all(knows) {
            return Err(Refusal::Host);
        }
        if is_of_another_site(request) {
            return Err(Refusal::Site);
        }
        match &self.token {
            Some(token) if !token.is_in(request) && !token.has_signed(request) => Err(Refusal::Unauthorized),
            _ => Ok(()),
        }
    }

    fn knows(&self, host: &str, dialled: IpAddr) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let (address, dialled) = (address.to_canonical(), dialled.to_canonical());
            return address == dialled || (address.is_loopback() && dialled.is_loopback());
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_local = dialled.to_canonical().is_loopback() && host == "localhost";
        is_local || self.hosts.contains(&host)
    }
}

/// Whether a browser says that a page of another site, or of another port of this machine, has made it ask.
fn is_of_another_site(request: &Parts) -> bool {
    let header = |name: HeaderName| request.headers.get_all(name).into_iter();
    if request.headers.contains_key(FETCH_SITE) {
        return header(FETCH_SITE).any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    // Older browsers do not say it, and others only where nobody can listen on the way: they may say which page it is.
    let host = header(HOST).next().map(HeaderValue::as_bytes);
    header(ORIGIN).chain(header(REFERER)).any(|page| {
        let page = page.to_str().ok().and_then(|page| page.parse::<Uri>().ok());
        let authority = page.as_ref().and_then(|page| page.authority());
        !authority.zip(host).is_some_and(|(page, host)| page.as_str().as_bytes().eq_ignore_ascii_case(host))
    })
}

/// `HOST`, `HOST:PORT`, or an IPv6 address in brackets, with a port or without one.
fn without_port(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split_once(':').map_or(host, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)], uri: &str) -> Parts {
        let request =
            headers.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn access(token: Option<&str>) -> Access {
        Access { hosts: vec!["models.example".to_owned()], token: token.map(|token| Token::new(token).unwrap()) }
    }

    #[test]
    fn only_known_hosts_are_answered() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let answered = |host: &str, dialled| access(None).check(&parts(&[("host", host)], "/"), dialled).is_ok();
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]:9",
            "models.example",
            "models.example.:1",
        ] {
            assert!(answered(host, loopback), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example:80", "[::2]", "models"]
        {
            assert!(!answered(host, loopback), "{host}");
        }
        let elsewhere = "10.0.0.7".parse().unwrap();
        assert!(answered("10.0.0.7:80", elsewhere) && answered("models.example", elsewhere));
        assert!(
            !answered("localhost", elsewhere) && !answered("127.0.0.1", elsewhere) && !answered("10.0.0.8", elsewhere)
        );
        let check = |parts: &Parts| access(None).check(parts, loopback).is_ok();
        assert!(!check(&parts(&[], "/")), "no host");
        assert!(!check(&parts(&[("host", "localhost"), ("host", "evil.example")], "/")), "two hosts");
        assert!(!check(&parts(&[("host", "localhost")], "http://evil.example/")), "another host in the target");
        assert!(check(&parts(&[("host", "localhost")], "http://localhost:80/")));
    }

    #[test]
    fn pages_of_other_sites_are_not_answered() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let answered = |headers: &[(&str, &str)]| {
            let headers = [&[("host", "127.0.0.1:8642")], headers].concat();
            access(None).check(&parts(&headers, "/"), loopback).is_ok()
        };
        for headers in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("referer", "http://127.0.0.1:8642/")],
            // A proxy in front may have another name.
            &[("sec-fetch-site", "same-origin"), ("origin", "https://models.example")],
            &[("origin", "http://127.0.0.1:8642")],
            &[("referer", "http://127.0.0.1:8642/content/x")],
        ] {
            assert!(answered(headers), "{headers:?}");
        }
        for headers in [
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
            &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3000")],
            &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "?")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://127.0.0.1:3000")],
            &[("origin", "http://127.0.0.1")],
            &[("origin", "http://127.0.0.1:8642.evil.example")],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:8642"), ("origin", "https://evil.example")],
            &[("referer", "https://evil.example/page")],
            &[("referer", "")],
        ] {
            assert!(!answered(headers), "{headers:?}");
        }
    }

    #[test]
    fn the_token_is_a_bearer_or_the_password_of_basic() {
        let loopback = "127.0.0.1".parse().unwrap();
        let token = "0123456789abcdef";
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
        let answered = |given: &str| {
            let headers = [("host", "localhost"), ("authorization", given)];
            access(Some(token)).check(&parts(&headers, "/"), loopback).is_ok()
        };
        for given in [
            format!("Bearer {token}"),
            format!("bearer  {token} "),
            basic(&format!("user:{token}")),
            basic(&format!(":{token}")),
        ] {
            assert!(answered(&given), "{given}");
        }
        for given in
            ["", "Bearer", "Bearer wrong", token, "Basic !", &basic(token), &basic(&format!("{token}:")), "Digest x"]
        {
            assert!(!answered(given), "{given}");
        }
        assert!(access(Some(token)).check(&parts(&[("host", "localhost")], "/"), loopback).is_err());
    }

    #[test]
    fn a_token_is_long_and_plain() {
        for wrong in ["", "short", "has a space in it, so", "größer größer größer"] {
            assert!(Token::new(wrong).is_err(), "{wrong}");
        }
        assert!(!format!("{:?}", Token::new("0123456789abcdef").unwrap()).contains("0123"));
    }
}
