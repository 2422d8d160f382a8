//! Storages whose bytes may be far away: nobody waits for them on a thread.

use std::pin::Pin;

use bytes::Bytes;

use crate::{Storage, StorageError};

/// Bytes on their way.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Bytes, StorageError>> + Send>>;
/// Ends when something has changed, with what.
pub type Changing = Pin<Box<dyn Future<Output = StorageError> + Send>>;

/// A storage that only reads, from somewhere else.
pub trait Remote: Storage {
    /// Does as [`read`](Storage::read), without blocking. [`StorageError::Unreachable`] is over after a while, and any other error is
    /// not.
    fn fetch(&self, file: usize, offset: u64, len: usize) -> Fetching;
    /// Who reads a byte of a file has all of the part read that it is in: files are cut into parts of so many bytes.
    fn part_size(&self) -> u64;
    /// Waits until something there is not what it was; for ever, if that cannot be.
    fn changed(&self) -> Changing;
}
