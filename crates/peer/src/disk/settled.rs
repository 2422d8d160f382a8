//! Files of a content where they have their names: whether they are there, and how they are read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::Manifest;
use storage::{Access, Backend, Folder, Held, OverlayStorage, Place, Storage, StorageError, error_at, make_executable};

use crate::disk::hash::{Hashing, PATIENCE};
use crate::disk::names::local::LocalNames;
use crate::disk::scan::Scan;
use crate::error::PeerError;

/// Whether a path is the one file of a content, with every byte of it. Hashes only what has the right size.
pub(crate) fn lies_at(manifest: &Manifest, path: &Path) -> Result<bool, PeerError> {
    // A link, too, is something that is in the way: what it leads to is nobody's business here.
    let there = std::fs::symlink_metadata(path).map_err(|source| StorageError::Io { path: path.to_owned(), source })?;
    let header = manifest.header();
    if header.folder || !there.is_file() || there.len() != header.files[0].size {
        return Ok(false);
    }
    let Ok(mut scan) = Scan::of_all(path) else { return Ok(false) };
    // Not mapped: anyone may cut it meanwhile.
    let (algorithm, piece_size, backend) = (header.algorithm, Some(header.piece_size), &storage::FileBackend);
    let hashing = Hashing { path, algorithm, piece_size, backend, quiet: Duration::ZERO, patience: PATIENCE };
    let there = hashing.run(&mut scan, |_, _| {}, |_| {})?;
    Ok(there.header().files[0].root == header.files[0].root)
}

/// Holds what lies in a folder under a name, or the folder itself.
pub(crate) fn hold(folder: &Path, name: &str) -> Result<Arc<Held>, StorageError> {
    Ok(Held::new(&Folder::open(folder).map_err(|source| error_at(folder, source))?, name))
}

/// Where what lies on disk is read from, whatever downloads are kept in.
pub(crate) fn kept_on_disk(backend: &dyn Backend) -> &dyn Backend {
    if backend.persistent() { backend } else { &storage::FileBackend }
}

/// These files of a content, where they have their names; the others are nowhere.
pub(crate) fn settled(
    manifest: &Manifest,
    names: &LocalNames,
    backend: &dyn Backend,
    path: &Path,
    files: &[usize],
) -> Result<Arc<dyn Storage>, StorageError> {
    let specs: Vec<_> = files.iter().map(|&file| names.spec(manifest, path, file)).collect();
    let storage = kept_on_disk(backend).open(&specs, Access::Read)?;
    if files.len() == manifest.header().files.len() {
        return Ok(storage);
    }
    let place = |file: usize| files.binary_search(&file).map_or(Place::Nowhere, Place::InPlace);
    let places = (0..manifest.header().files.len()).map(place).collect();
    Ok(Arc::new(OverlayStorage::new(path.to_owned(), places, storage.clone(), storage)))
}

/// Makes files that are right executable that are to be: their bytes are all that was compared. A user who may not do that to
/// their own file has it all the same.
pub(crate) fn mend_bits(manifest: &Manifest, names: &LocalNames, target: &Path, files: &[usize]) {
    for &file in files.iter().filter(|&&file| manifest.header().files[file].executable) {
        let _ = make_executable(&names.spec(manifest, target, file).path);
    }
}
