//! How a registry wants to be asked: by anyone, with a password, or with a token of the service that it names (Docker registry token
//! authentication).

use std::collections::HashMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use tokio::time::Instant;

/// Most tokens that are remembered: one a repository.
const MOST: usize = 1024;
/// How long a token holds if nothing is said, and how long before its end it is not used any more.
const USUAL: u64 = 60;
const LONGEST: u64 = 3600;
const EARLIER: u64 = 10;

/// What a registry wants of those who ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Nothing.
    Open,
    /// A password.
    Basic,
    /// A token, which this service gives.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// What these headers of an answer 401 ask for.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).find_map(read)
    }
}

fn read(header: &str) -> Option<Challenge> {
    let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters_of(parameters);
    let find = |wanted: &str| parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let realm = find("realm")?.1.clone();
    Some(Challenge::Bearer { realm, service: find("service").map(|(_, service)| service.clone()) })
}

/// `name="value",name=value`; values in quotes may have commas.
fn parameters_of(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_owned();
        let (value, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        found.push((name, value.trim().to_owned()));
        text = behind;
    }
    found
}

/// What a service answers that gives tokens.
#[derive(Deserialize)]
pub(super) struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Granted {
    /// The token as a header, and for how long it holds.
    fn header(&self) -> Option<(HeaderValue, Duration)> {
        let token = self.token.as_deref().or(self.access_token.as_deref()).filter(|token| !token.is_empty())?;
        let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        let holds = self.expires_in.unwrap_or(USUAL).clamp(USUAL, LONGEST) - EARLIER;
        Some((header, Duration::from_secs(holds)))
    }
}

/// Tokens by the repositories that they are for.
#[derive(Default)]
pub(super) struct Tokens(HashMap<String, (HeaderValue, Instant)>);

impl Tokens {
    pub(super) fn find(&self, name: &str) -> Option<HeaderValue> {
        self.0.get(name).filter(|(_, end)| *end > Instant::now()).map(|(header, _)| header.clone())
    }

    /// Remembers what was granted, and gives it as a header.
    pub(super) fn keep(&mut self, name: &str, granted: &Granted) -> Option<HeaderValue> {
        let (header, holds) = granted.header()?;
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(name.to_owned(), (header.clone(), Instant::now() + holds));
        Some(header)
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_wants_is_read_from_its_header() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (header, expected) in [
            (
                "Bearer realm=\"https://auth/token\",service=\"registry\",scope=\"repository:a:pull,push\"",
                bearer("https://auth/token", Some("registry")),
            ),
            ("bearer service=\"a, b\", realm=https://auth", bearer("https://auth", Some("a, b"))),
            ("Bearer realm=\"https://auth", bearer("https://auth", None)),
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer service=\"registry\"", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(read(header), expected, "{header}");
        }
    }

    #[test]
    fn a_token_holds_for_as_long_as_is_said() {
        let granted = |text: &str| serde_json::from_str::<Granted>(text).unwrap();
        let holds = |text: &str| granted(text).header().map(|(_, holds)| holds.as_secs());
        assert_eq!(holds(r#"{"token": "a"}"#), Some(50));
        assert_eq!(holds(r#"{"access_token": "a", "expires_in": 300}"#), Some(290));
        assert_eq!(holds(r#"{"token": "a", "expires_in": 99999999999}"#), Some(3590));
        assert_eq!(holds(r#"{"token": "a\r\nb"}"#), None);
        assert_eq!(holds("{}"), None);
        let mut tokens = Tokens::default();
        assert!(tokens.keep("a", &granted(r#"{"token": "t"}"#)).is_some());
        assert_eq!(tokens.find("a").unwrap(), "Bearer t");
        assert_eq!(tokens.find("b"), None);
        tokens.forget("a");
        assert_eq!(tokens.find("a"), None);
    }
}
