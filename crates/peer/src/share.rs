//! Making manifests: hash a file on all cores, and keep what came of it in the hashes folder.

use std::fs;
use std::path::{Path, PathBuf};

use protocol::{
    Algorithm, ContentId, Digest, FileEntry, Manifest, ManifestError, ManifestHeader, decorated_name,
    default_piece_size,
};
use storage::{Access, FileSpec, StorageError};

use crate::PeerError;

/// Which pieces of a shared file are held.
#[derive(Debug, Clone, PartialEq)]
pub enum Held {
    /// All of them.
    All,
    /// All but these.
    Without(Vec<u32>),
    /// From the floor of the first share of all pieces to the ceiling of the second; shares are 0 to 1.
    Share(f64, f64),
}

/// How a file is shared.
#[derive(Debug, Clone, PartialEq)]
pub struct ShareOptions {
    /// How its pieces are digested.
    pub algorithm: Algorithm,
    /// Size of its pieces in bytes; chosen by the file's size if nothing is said.
    pub piece_size: Option<u32>,
    /// Which pieces are served.
    pub held: Held,
}

/// The manifest of one file. Hashes on all cores and tells `progress` how many bytes are done, and of how many. Blocks.
pub fn hash_file(
    path: &Path,
    algorithm: Algorithm,
    piece_size: Option<u32>,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<Manifest, PeerError> {
    let io = |source| StorageError::Io { path: path.to_owned(), source };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        io(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "its name is not Unicode, so others could not store it",
        ))
    })?;
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => StorageError::NotFound(path.to_owned()),
        std::io::ErrorKind::PermissionDenied => StorageError::Denied(path.to_owned()),
        _ => io(source),
    })?;
    if !metadata.is_file() {
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a file")).into());
    }
    let size = metadata.len();
    let piece_size = piece_size.unwrap_or_else(|| default_piece_size(&[size]));
    protocol::Geometry::new(piece_size, vec![size])
        .map_err(|error| PeerError::Manifest { path: path.to_owned(), reason: error.into() })?;
    let source = storage::backend("mmap").expect("the default backend exists");
    let source = source.open(&[FileSpec { path: path.to_owned(), size }], Access::Read)?;
    let read = |offset, len| source.read(0, offset, len).map_err(std::io::Error::other);
    let progress = |done| progress(done, size);
    let digests = integrity::hash_pieces(algorithm.integrity(), size, piece_size, read, progress).map_err(io)?;
    let header = ManifestHeader {
        name: name.to_owned(),
        folder: false,
        algorithm,
        piece_size,
        files: vec![FileEntry {
            path: name.to_owned(),
            size,
            executable: executable(&metadata),
            root: Digest([0; 32]),
        }],
        empty_folders: Vec::new(),
    };
    Manifest::build(header, &digests).map_err(|reason| PeerError::Manifest { path: path.to_owned(), reason })
}

#[cfg(unix)]
fn executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn executable(_: &fs::Metadata) -> bool {
    false
}

/// Where the manifest of a content of this name is kept.
pub fn manifest_path(hashes: &Path, name: &str) -> PathBuf {
    hashes.join(decorated_name("", name, ".manifest"))
}

/// Keeps a manifest in the hashes folder: written beside and renamed, so that nobody reads half of one.
pub fn keep_manifest(hashes: &Path, manifest: &Manifest) -> Result<(), PeerError> {
    protocol::check_local_name(&manifest.header().name, cfg!(windows))?;
    let path = manifest_path(hashes, &manifest.header().name);
    let write = || {
        fs::create_dir_all(hashes)?;
        // Several peers may share one hashes folder.
        let mark = format!(".{:016x}", fastrand::u64(..));
        let beside = hashes.join(decorated_name(".", &manifest.header().name, &mark));
        fs::write(&beside, manifest.bytes())?;
        fs::rename(&beside, &path)
    };
    write().map_err(|source| StorageError::Io { path: path.clone(), source }.into())
}

/// The manifest of a content, if the hashes folder has it.
pub(crate) fn kept_manifest(hashes: &Path, content: ContentId) -> Option<Manifest> {
    let entries = fs::read_dir(hashes).ok()?;
    let manifests =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "manifest"));
    manifests.filter_map(|path| read_manifest(&path).ok()).find(|manifest| manifest.id() == content)
}

/// Reads and checks a manifest's file.
pub fn read_manifest(path: &Path) -> Result<Manifest, PeerError> {
    let io = |source| StorageError::Io { path: path.to_owned(), source };
    let too_long =
        |len: u64| PeerError::Manifest { path: path.to_owned(), reason: ManifestError::TooLong(len as usize) };
    let len = fs::metadata(path).map_err(io)?.len();
    if len > protocol::MAX_MANIFEST_BYTES as u64 {
        return Err(too_long(len));
    }
    let bytes = fs::read(path).map_err(io)?;
    Manifest::decode(bytes.into()).map_err(|reason| PeerError::Manifest { path: path.to_owned(), reason })
}
