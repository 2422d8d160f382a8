//! What clients must know. It is never shown, and compared in constant time.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::{BASE64, BASE64_NOPAD};
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Fewest bytes of a token.
const SHORTEST: usize = 16;
/// Most bytes of its file.
const LONGEST: u64 = 4096;

/// What clients must know.
#[derive(Clone)]
pub struct Token {
    digest: blake3::Hash,
    text: Arc<str>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("it cannot be read from {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is of no use.
    #[error("it needs at least 16 characters, all of them printable ASCII and none of them a space")]
    Weak,
}

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
        Ok(Token { digest: blake3::hash(token.as_bytes()), text: token.into() })
    }

    /// The token in a file, without the space around it.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Unreadable { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > LONGEST {
            return Err(TokenError::Weak);
        }
        Token::new(&std::fs::read_to_string(path).map_err(failed)?)
    }

    /// The token itself, to make signatures with.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a client gave it: as `Bearer` (RFC 6750), or as the password of `Basic` (RFC 7617).
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return false };
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

    fn is(&self, given: &[u8]) -> bool {
        self.digest == blake3::hash(given)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn it_is_a_bearer_or_the_password_of_basic() {
        let text = "0123456789abcdef";
        let token = Token::new(text).unwrap();
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
        let fits = |given: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(given).unwrap())]);
            token.is_in(&headers)
        };
        let right = [
            format!("Bearer {text}"),
            format!("bearer  {text} "),
            basic(&format!("user:{text}")),
            basic(&format!(":{text}")),
        ];
        for given in right {
            assert!(fits(&given), "{given}");
        }
        let wrong =
            ["", "Bearer", "Bearer wrong", text, "Basic !", &basic(text), &basic(&format!("{text}:")), "Digest x"];
        for given in wrong {
            assert!(!fits(given), "{given}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
    }

    #[test]
    fn it_is_long_and_plain_and_never_shown() {
        for wrong in ["", "short", "has a space in it, so", "größer größer größer"] {
            assert!(Token::new(wrong).is_err(), "{wrong}");
        }
        assert!(!format!("{:?}", Token::new("0123456789abcdef").unwrap()).contains("0123"));
    }
}
