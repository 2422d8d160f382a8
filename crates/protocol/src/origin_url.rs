//! URLs of origins that stand in manifests: whoever gets the content can read them, so there is nothing secret in one; and what reads
//! them trusts none of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most bytes of one.
pub const MAX_ORIGIN_URL: usize = 2048;

/// The URL of an origin that anyone may read who can reach it: `https://`, `http://` or `hf://`, without a password or a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginUrl(String);

/// A URL that cannot stand in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginUrlError {
    /// Only some kinds of origins can be read without credentials.
    #[error(
        "only https://, http:// and hf:// can be named in a manifest: others are read with credentials, which peers have of their own"
    )]
    Scheme,
    /// It has what may be a secret.
    #[error("a URL with a password, a `?` or a `#` may hold a secret, and everyone who gets the content could read it")]
    Secret,
    /// It is empty, too long, or has other characters than URLs have.
    #[error("it is no URL of at most {MAX_ORIGIN_URL} bytes")]
    Malformed,
}

impl OriginUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OriginUrl {
    type Err = OriginUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_ORIGIN_URL || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(OriginUrlError::Malformed);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginUrlError::Malformed)?;
        if !["https", "http", "hf"].contains(&scheme) {
            return Err(OriginUrlError::Scheme);
        }
        if rest.is_empty() || rest.starts_with('/') {
            return Err(OriginUrlError::Malformed);
        }
        // In hf:// the sign parts a revision from what it is of.
        let authority = rest.split('/').next().unwrap_or_default();
        if rest.contains(['?', '#']) || (scheme != "hf" && authority.contains('@')) {
            return Err(OriginUrlError::Secret);
        }
        Ok(OriginUrl(text.to_owned()))
    }
}

impl TryFrom<String> for OriginUrl {
    type Error = OriginUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<OriginUrl> for String {
    fn from(url: OriginUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_or_needs_credentials_is_no_part_of_a_manifest() {
        for text in ["https://host/a%20b", "http://192.0.2.1:80/a@b", "hf://org/model@0123", "https://[2001:db8::1]/a"]
        {
            assert_eq!(text.parse::<OriginUrl>().unwrap().as_str(), text);
        }
        for (text, error) in [
            ("s3://bucket/key", OriginUrlError::Scheme),
            ("file:///etc/passwd", OriginUrlError::Scheme),
            ("https://me:word@host/a", OriginUrlError::Secret),
            ("https://host/a?X-Amz-Signature=1", OriginUrlError::Secret),
            ("https://host/a#part", OriginUrlError::Secret),
            ("https:///a", OriginUrlError::Malformed),
            ("https://host/a b", OriginUrlError::Malformed),
            ("https://host\\@other/a", OriginUrlError::Malformed),
            ("https://h\u{f6}st/a", OriginUrlError::Malformed),
            ("https://", OriginUrlError::Malformed),
            ("host/a", OriginUrlError::Malformed),
        ] {
            assert_eq!(text.parse::<OriginUrl>(), Err(error), "{text}");
        }
        let long = format!("https://host/{}", "a".repeat(MAX_ORIGIN_URL));
        assert_eq!(long.parse::<OriginUrl>(), Err(OriginUrlError::Malformed));
    }
}
