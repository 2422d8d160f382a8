//! Sharing from a URL: a bucket, a web server or a hub. How these are read is for the program to say that runs the daemon; without that
//! a daemon shares files alone.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use peer::{Manifest, Remote};

use crate::control::ErrorCode;

/// What is at a URL.
pub struct Opened {
    /// What it is.
    pub manifest: Arc<Manifest>,
    /// Who reads it.
    pub storage: Arc<dyn Remote>,
    /// What it is called in messages: the URL, without what is secret in it.
    pub shown: PathBuf,
}

/// How it goes with a URL that is being opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpeningStep {
    /// So many bytes of so many were read for the manifest.
    Read {
        /// Bytes that were read.
        done: u64,
        /// All of them.
        total: u64,
    },
    /// It does not go on at the moment, for the reason that this sentence says.
    Stuck(String),
}

/// Hears how it goes with a URL that is being opened.
pub type Progress = Arc<dyn Fn(OpeningStep) + Send + Sync>;

/// Why a URL was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError {
    /// What kind of error it is.
    pub code: ErrorCode,
    /// What is wrong, as a sentence.
    pub message: String,
}

/// A URL that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = Result<Opened, OpenError>> + Send>>;

/// Opens a URL.
pub type OpenUrl = Arc<dyn Fn(String, Progress) -> Opening + Send + Sync>;

/// Says what is wrong with a URL that can never be opened. Nobody is asked. An error is a sentence.
pub type CheckUrl = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Why a URL is not shared where there is nobody who opens it.
pub(crate) const NO_URLS: &str = "this daemon shares files alone: it was built without origins";

/// Whether what is to be shared is a URL, and no path: those are absolute here.
pub(crate) fn is_url(what: &str) -> bool {
    let scheme = what.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_absolute_paths() {
        assert!(["s3://bucket/key", "https://host/a?b", "hf://org/model"].into_iter().all(is_url));
        assert!(!["/srv/s3://a", "C:\\s3://a", "://a", "/srv/a"].into_iter().any(is_url));
    }
}
