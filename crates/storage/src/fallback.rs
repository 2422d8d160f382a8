//! Where the bytes of a content can be read that no peer has: the bucket or server that it was made of. What comes from there is
//! verified before it is kept, as anything that comes from elsewhere.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{ContentId, Manifest};

use crate::StorageError;

/// The next bytes on their way.
pub type NextBytes<'a> = Pin<Box<dyn Future<Output = Result<Bytes, StorageError>> + Send + 'a>>;
/// The bytes of a manifest on their way; none if there is no manifest.
pub type FindingManifest = Pin<Box<dyn Future<Output = Result<Option<Bytes>, StorageError>> + Send>>;

/// The origin of a content.
pub trait Fallback: Send + Sync {
    /// What it is called in messages, without anything secret.
    fn shown(&self) -> &str;
    /// The cap on how fast it is read, in bytes a second.
    fn rate(&self) -> Option<NonZeroU64>;
    /// Whether it is read only where peers bring next to nothing, and not for what nobody has at the moment.
    fn is_spare(&self) -> bool;
    /// The manifest of a content, if it lies there. Whether it is that one is for the caller to see.
    fn manifest(&self, content: ContentId) -> FindingManifest;
    /// Begins to read a range of a file of this manifest.
    fn read(&self, manifest: &Arc<Manifest>, file: usize, offset: u64, len: u64) -> Box<dyn FallbackRead>;
}

/// A range that is being read, once: who reads decides when to try again.
pub trait FallbackRead: Send {
    /// The next bytes, one at least, as long as some of the range are left. [`StorageError::Unreachable`] may be over after a while;
    /// after any other error it is long before a further try is of use.
    fn next(&mut self) -> NextBytes<'_>;
}
