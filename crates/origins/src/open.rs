//! From a URL to an origin.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use protocol::OriginUrl;

use crate::hub::{Hub, HubSource, Repo};
use crate::reader::persist;
use crate::redirects::Allowed;
use crate::store::StoreSource;
use crate::{HttpSource, Limits, Origin, OriginError, Pace};

/// How an origin is opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// How it is waited for.
    pub limits: Limits,
    /// Where an object store is, if not at its usual address: another server that speaks as S3 does, for one.
    pub endpoint: Option<String>,
    /// Caps how fast it is read, together with all other origins that are opened with a clone of this.
    pub pace: Option<Pace>,
}

impl Options {
    /// Waits as these limits say.
    pub fn limits(self, limits: Limits) -> Self {
        Options { limits, ..self }
    }

    /// Reads no more than so many bytes a second.
    pub fn rate(self, rate: Option<NonZeroU64>) -> Self {
        self.pace(rate.map(Pace::new))
    }

    /// Reads no faster than this, together with all others that have it.
    pub fn pace(self, pace: Option<Pace>) -> Self {
        Options { pace, ..self }
    }

    /// Another server that speaks as the object store does.
    pub fn endpoint(self, endpoint: Option<String>) -> Self {
        Options { endpoint, ..self }
    }
}

/// The schemes of origins.
const SCHEMES: [&str; 6] = ["https", "http", "hf", "s3", "gs", "az"];

impl Origin {
    /// Whether a text is meant as a URL of an origin, right or not.
    pub fn is_url(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
    }

    /// Whether a URL is of a file on a web server.
    pub(crate) fn is_web(url: &str) -> bool {
        matches!(url.split_once("://"), Some(("https" | "http", _)))
    }

    /// The origin that a URL stands for. Nobody is asked yet.
    pub fn open(url: &str, options: &Options) -> Result<Self, OriginError> {
        let limits = &options.limits;
        let source: Arc<dyn crate::Source> = match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("http" | "https") => Arc::new(HttpSource::new(url, limits)?),
            Some("hf") => {
                let (repo, revision) = Repo::parse(url)?;
                Arc::new(HubSource::new(Hub::from_env(limits)?, repo, &revision))
            }
            Some("s3" | "gs" | "az") => Arc::new(StoreSource::new(url, options.endpoint.as_deref(), limits)?),
            _ => {
                return Err(OriginError::url(
                    url,
                    "origins begin with https://, http://, hf://, s3://, gs:// or az://",
                ));
            }
        };
        Ok(Origin::new(source, limits.clone()).paced(options.pace.clone()))
    }

    /// The origin that a manifest names, if its host is one of those that are allowed. It is read without credentials, and no private
    /// address is asked that is not itself allowed.
    pub fn open_named(url: &OriginUrl, allowed: &Allowed, options: &Options) -> Result<Self, OriginError> {
        let limits = &options.limits;
        let source: Arc<dyn crate::Source> = match url.as_str().starts_with("hf://") {
            true => {
                let (repo, revision) = Repo::parse(url.as_str())?;
                Arc::new(HubSource::new(Hub::anonymous(limits, allowed)?, repo, &revision))
            }
            false => Arc::new(HttpSource::named(url.as_str(), limits, allowed)?),
        };
        Ok(Origin::new(source, limits.clone()).paced(options.pace.clone()))
    }

    /// Puts a small object beside what a URL names: into the folder of an object, or below a prefix. Only stores take any. Returns
    /// its URL.
    pub async fn put_beside(url: &str, options: &Options, name: &str, bytes: Bytes) -> Result<String, OriginError> {
        if !matches!(url.split_once("://"), Some(("s3" | "gs" | "az", _))) {
            return Err(OriginError::url(url, "only s3://, gs:// and az:// take something beside it"));
        }
        let store = StoreSource::new(url, options.endpoint.as_deref(), &options.limits)?;
        persist(&options.limits, || store.put(name, bytes.clone())).await
    }

    /// A small object beside what a URL names; nothing if there is none.
    pub(crate) async fn get_beside(
        url: &str,
        options: &Options,
        name: &str,
        most: usize,
    ) -> Result<Option<Bytes>, OriginError> {
        if !matches!(url.split_once("://"), Some(("s3" | "gs" | "az", _))) {
            return Ok(None);
        }
        StoreSource::new(url, options.endpoint.as_deref(), &options.limits)?.get(name, most).await
    }
}
