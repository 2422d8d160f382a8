//! Who sees the page of a listener of its own: those who name it by an address or as `localhost`, from no page of another site, and
//! who know its token if it has one.
//!
//! A page of the web may lead a browser here under its own name (DNS rebinding): what `Host` says is a name then. The rules are those
//! of the gateway (`crates/gateway/src/access.rs`), without names of its own.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN, REFERER};
use axum::http::{StatusCode, Uri};
use data_encoding::{BASE64, BASE64_NOPAD};

/// Fewest bytes of a token.
const SHORTEST: usize = 16;
/// Most bytes of its file.
const LONGEST: u64 = 4096;

/// What those must know who look. It is never shown.
#[derive(Clone)]
pub struct Token(blake3::Hash);

/// Why there is no token.
#[derive(Debug)]
pub enum TokenError {
    /// Its file cannot be read.
    Unreadable(std::io::Error),
    /// It is of no use.
    Weak,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            TokenError::Weak => {
                f.write_str("a token has at least 16 characters, all of them printable ASCII and none of them a space")
            }
        }
    }
}

impl std::error::Error for TokenError {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A token of at least 16 characters that can stand in a header.
    pub fn new(token: &str) -> Result<Self, TokenError> {
        let token = token.trim();
        if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Weak);
        }
        // Digests are compared in constant time, whatever their texts have in common.
        Ok(Token(blake3::hash(token.as_bytes())))
    }

    /// The token in a file, without the space around it.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        if std::fs::metadata(path).map_err(TokenError::Unreadable)?.len() > LONGEST {
            return Err(TokenError::Weak);
        }
        Token::new(&std::fs::read_to_string(path).map_err(TokenError::Unreadable)?)
    }

    /// Whether a client gave it: as `Bearer`, or as the password of `Basic`.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return false };
        let Some((scheme, given)) = given.split_once(' ') else { return false };
        let given = given.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.0 == blake3::hash(given.as_bytes());
        }
        let decoded = BASE64.decode(given.as_bytes()).or_else(|_| BASE64_NOPAD.decode(given.as_bytes()));
        let Ok(decoded) = decoded else { return false };
        let colon = decoded.iter().position(|&byte| byte == b':');
        let password = colon.map(|colon| &decoded[colon + 1..]);
        scheme.eq_ignore_ascii_case("basic") && password.is_some_and(|password| self.0 == blake3::hash(password))
    }
}

/// Whether somebody is answered who has dialled this address; if not, with what.
pub(crate) fn check(
    headers: &HeaderMap,
    dialled: IpAddr,
    token: Option<&Token>,
) -> Result<(), (StatusCode, &'static str)> {
    if !names(headers, dialled) {
        return Err((StatusCode::MISDIRECTED_REQUEST, "ask for the address that you dial, or for localhost\n"));
    }
    if is_of_another_site(headers) {
        return Err((StatusCode::FORBIDDEN, "a page of another site has asked for this\n"));
    }
    match token {
        Some(token) if !token.is_in(headers) => {
            Err((StatusCode::UNAUTHORIZED, "the token is wanted: as Bearer, or as the password of Basic\n"))
        }
        _ => Ok(()),
    }
}

/// Whether `Host` is the address that was dialled, or `localhost` on loopback.
fn names(headers: &HeaderMap, dialled: IpAddr) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => host.split_once(':').map_or(host, |(host, _)| host),
    };
    let dialled = dialled.to_canonical();
    match host.parse::<IpAddr>() {
        Ok(address) => {
            address.to_canonical() == dialled || (address.to_canonical().is_loopback() && dialled.is_loopback())
        }
        Err(_) => dialled.is_loopback() && host.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether a browser says that a page of another site, or of another port of this machine, has made it ask.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    if headers.contains_key("sec-fetch-site") {
        let mut sites = headers.get_all("sec-fetch-site").iter();
        return sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    let host = headers.get(HOST).map(|host| host.as_bytes());
    headers.get_all(ORIGIN).iter().chain(headers.get_all(REFERER)).any(|page| {
        let page = page.to_str().ok().and_then(|page| page.parse::<Uri>().ok());
        let authority = page.as_ref().and_then(|page| page.authority());
        !authority.zip(host).is_some_and(|(page, host)| page.as_str().as_bytes().eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn status(headers: &[(&'static str, &str)], token: Option<&str>) -> u16 {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let token = token.map(|token| Token::new(token).unwrap());
        check(&all, "127.0.0.1".parse().unwrap(), token.as_ref()).err().map_or(200, |(status, _)| status.as_u16())
    }

    #[test]
    fn a_name_that_leads_here_is_refused() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:9", "127.0.0.7"] {
            assert_eq!(status(&[("host", host)], None), 200, "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:1", "127.0.0.1.evil.example", "10.0.0.1", "[::2"] {
            assert_eq!(status(&[("host", host)], None), 421, "{host}");
        }
        assert_eq!(status(&[], None), 421);
        assert_eq!(status(&[("host", "localhost"), ("host", "evil.example")], None), 421);
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let with = |name, value| status(&[("host", "127.0.0.1:9102"), (name, value)], None);
        for (name, value) in [
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://127.0.0.1:9102"),
            ("referer", "http://127.0.0.1:9102/"),
        ] {
            assert_eq!(with(name, value), 200, "{name} {value}");
        }
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://127.0.0.1:3000"),
            ("origin", "null"),
            ("referer", "https://evil.example/"),
        ] {
            assert_eq!(with(name, value), 403, "{name} {value}");
        }
    }

    #[test]
    fn the_token_is_a_bearer_or_the_password_of_basic() {
        let basic = format!("Basic {}", BASE64.encode(format!("me:{TOKEN}").as_bytes()));
        let with = |value: &str| status(&[("host", "localhost"), ("authorization", value)], Some(TOKEN));
        assert_eq!((with(&format!("Bearer {TOKEN}")), with(&basic)), (200, 200));
        for wrong in ["", "Bearer", "Bearer 0123456789abcdeX", "Basic !", TOKEN] {
            assert_eq!(with(wrong), 401, "{wrong}");
        }
        assert_eq!(status(&[("host", "localhost")], Some(TOKEN)), 401);
        assert!(Token::new("short").is_err() && Token::new("has a space in it, so").is_err());
        assert!(!format!("{:?}", Token::new(TOKEN).unwrap()).contains("0123"));
    }
}
