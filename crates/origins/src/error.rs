//! Why an origin did not give what was asked, by what someone can do about it.

/// Why an origin did not give what was asked. Each begins with what was asked for, without what is secret in its URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// It is no URL of an origin, or one that cannot be read.
    #[error("{url}: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such object.
    #[error("{0} is not there")]
    NotFound(String),
    /// It may not be read with these credentials.
    #[error("no permission for {url}: {reason}")]
    Denied {
        /// The object.
        url: String,
        /// What the origin said, and what to look at.
        reason: String,
    },
    /// It is another version than the one that was listed.
    #[error("{0} has changed since it was first looked at")]
    Changed(String),
    /// The server sends whole files only.
    #[error(
        "{0} cannot be read in parts: the server ignores ranges. Download it, and share the file; or pipe it into `share -`"
    )]
    NoRanges(String),
    /// It does not answer, or not well, and may do so later.
    #[error("{url} cannot be read at the moment: {reason}")]
    Unreachable {
        /// The object.
        url: String,
        /// What happened.
        reason: String,
        /// Seconds after which it asks to be tried again, if it said so.
        retry_after: Option<u64>,
    },
    /// The name of its host leads to no address, and may do so later.
    #[error("{url} cannot be read at the moment: {reason}")]
    Unresolved {
        /// The object.
        url: String,
        /// Which name it is.
        reason: String,
    },
    /// It answers, and not as an origin does; trying again would not help.
    #[error("{url} cannot be read: {reason}")]
    Refused {
        /// The object.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The range lies outside the object.
    #[error("bytes {from} to {to} lie outside {url}, which has {size}")]
    OutOfRange {
        /// The object.
        url: String,
        /// First byte.
        from: u64,
        /// The byte behind the last.
        to: u64,
        /// Its size.
        size: u64,
    },
}

impl OriginError {
    /// Whether the same may work a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, OriginError::Unreachable { .. } | OriginError::Unresolved { .. })
    }

    pub(crate) fn unreachable(url: &str, reason: impl Into<String>) -> Self {
        OriginError::Unreachable { url: url.to_owned(), reason: reason.into(), retry_after: None }
    }

    pub(crate) fn refused(url: &str, reason: impl Into<String>) -> Self {
        OriginError::Refused { url: url.to_owned(), reason: reason.into() }
    }

    /// Of what was typed, which may be anything.
    pub(crate) fn url(url: &str, reason: impl Into<String>) -> Self {
        OriginError::Url { url: protocol::redacted(url), reason: reason.into() }
    }
}
