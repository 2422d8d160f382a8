//! Something of a registry that has a digest, as an origin of one object.

use std::ops::Range;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;

use super::{Kind, Registry};
use crate::client::{RangeRequest, read_range};
use crate::{ByteStream, Listing, Object, OriginError, Source};

/// What a repository has under digests.
pub(super) struct RegistrySource {
    pub(super) registry: Registry,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Of the one that is meant.
    pub(super) url: String,
}

impl Source for RegistrySource {
    fn url(&self) -> &str {
        &self.url
    }

    fn identity(&self) -> String {
        self.url.clone()
    }

    /// What has a digest is found by it, and is not listed.
    fn list(&self) -> BoxFuture<'_, Result<Listing, OriginError>> {
        async { Err(OriginError::refused(&self.url, "what a registry has is not listed")) }.boxed()
    }

    fn read<'a>(&'a self, object: &'a Object, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, OriginError>> {
        async move {
            let inner = &self.registry.0;
            let url = inner.at(&self.name, self.kind, &object.key)?;
            let reading = inner.permitted(&self.name, || async {
                let request = inner.request(Method::GET, &self.name, self.kind, &url).await?;
                let (range, size) = (range.clone(), object.size);
                let asked = RangeRequest { request, url: &self.url, range, size, if_match: None };
                read_range(asked, &inner.limits).await
            });
            reading.await.map(|(_, body)| body)
        }
        .boxed()
    }
}
