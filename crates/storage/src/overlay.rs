//! A content of which some files are built, others lie in place already, and the rest is not wanted: each file is read and
//! written where it is. So nothing is ever written to a file in place, whatever is claimed of it.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Storage, StorageError};

/// Where one file of a content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is the one of this number among those that are built.
    Built(usize),
    /// It is the one of this number among those in place, which are only read.
    InPlace(usize),
    /// It is nowhere.
    Nowhere,
}

/// The files of a content, in several places.
pub struct OverlayStorage {
    /// What is said of a file that is nowhere.
    target: PathBuf,
    places: Vec<Place>,
    built: Arc<dyn Storage>,
    in_place: Arc<dyn Storage>,
}

impl OverlayStorage {
    /// Files in these places, of a content that will be `target`.
    pub fn new(target: PathBuf, places: Vec<Place>, built: Arc<dyn Storage>, in_place: Arc<dyn Storage>) -> Self {
        OverlayStorage { target, places, built, in_place }
    }

    fn nowhere(&self) -> StorageError {
        StorageError::NotFound(self.target.clone())
    }
}

impl Storage for OverlayStorage {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        match self.places[file] {
            Place::Built(file) => self.built.read(file, offset, len),
            Place::InPlace(file) => self.in_place.read(file, offset, len),
            Place::Nowhere => Err(self.nowhere()),
        }
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        match self.places[file] {
            Place::Built(file) => self.built.write(file, offset, data),
            // What lies in place was right when this was opened: later changes of others are not overwritten.
            Place::InPlace(_) => Err(StorageError::Changed(self.target.clone())),
            Place::Nowhere => Err(self.nowhere()),
        }
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.built.flush()
    }

    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        let (built, in_place) = (self.built.changed_by_others()?, self.in_place.changed_by_others()?);
        let is_changed = |place: &Place| match place {
            Place::Built(file) => built.contains(file),
            Place::InPlace(file) => in_place.contains(file),
            Place::Nowhere => false,
        };
        Ok((0..self.places.len()).filter(|&file| is_changed(&self.places[file])).collect())
    }

    fn release(&self) {
        self.built.release();
        self.in_place.release();
    }

    fn fills_gaps(&self) -> bool {
        self.built.fills_gaps()
    }
}
