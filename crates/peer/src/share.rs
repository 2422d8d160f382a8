//! Making manifests: hash a file or a folder on all cores, and keep what came of it in the hashes folder.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocol::{
    Algorithm, ContentId, Digest, FileEntry, Geometry, Manifest, ManifestError, ManifestHeader, decorated_name,
    default_piece_size,
};
use storage::{Access, StorageError, error_at};

use crate::PeerError;
use crate::stamp::Stamp;
use crate::survey::{Found, Survey};

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

/// A content that was hashed.
pub struct Hashed {
    /// Its manifest.
    pub manifest: Manifest,
    /// Links and special files in it: no part of the content.
    pub skipped: Vec<PathBuf>,
}

/// The manifest of a file or a folder. Hashes on all cores and tells `progress` how many bytes are done, and of how many.
/// Blocks.
pub fn hash_content(
    path: &Path,
    algorithm: Algorithm,
    piece_size: Option<u32>,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<Hashed, PeerError> {
    let survey = Survey::of(path)?;
    let manifest = hash_survey(path, &survey, algorithm, piece_size, progress)?;
    Ok(Hashed { manifest, skipped: survey.skipped })
}

/// The manifest of what is to be shared, and kept in the hashes folder: hashed, unless nothing has changed since it was.
pub(crate) fn manifest_of(
    path: &Path,
    survey: &Survey,
    options: &ShareOptions,
    hashes: &Path,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<Manifest, PeerError> {
    let piece_size = options.piece_size.unwrap_or_else(|| default_piece_size(&survey.sizes()));
    let stamp = Stamp::of(path, survey, options.algorithm, piece_size);
    if let Some(manifest) = stamp.as_ref().and_then(|stamp| stamp.manifest(hashes, &survey.name)) {
        return Ok(manifest);
    }
    let manifest = hash_survey(path, survey, options.algorithm, Some(piece_size), progress)?;
    keep_manifest(hashes, &manifest)?;
    if let Some(stamp) = stamp {
        stamp.keep(hashes, &manifest);
    }
    Ok(manifest)
}

/// The manifest of what was found at a path.
pub(crate) fn hash_survey(
    path: &Path,
    survey: &Survey,
    algorithm: Algorithm,
    piece_size: Option<u32>,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<Manifest, PeerError> {
    let wrong = |reason| PeerError::Manifest { path: path.to_owned(), reason };
    let sizes = survey.sizes();
    let piece_size = piece_size.unwrap_or_else(|| default_piece_size(&sizes));
    let geometry = Geometry::new(piece_size, sizes).map_err(|error| wrong(error.into()))?;
    let entry = |file: &Found| FileEntry {
        path: file.path.clone(),
        size: file.metadata.len(),
        executable: file.executable(),
        root: Digest([0; 32]),
    };
    let header = ManifestHeader {
        name: survey.name.clone(),
        folder: survey.folder,
        algorithm,
        piece_size,
        files: survey.files.iter().map(entry).collect(),
        empty_folders: survey.empty_folders.clone(),
    };
    // What no manifest can say is said before everything is hashed.
    header.check().map_err(|reason| PeerError::Unfit { path: path.to_owned(), reason: reason.to_string() })?;
    let source = storage::backend("mmap").expect("the default backend exists").open(&survey.specs(), Access::Read)?;
    let read = |number: usize| {
        let piece = geometry.piece(number as u32).expect("it is below the number of pieces");
        Ok::<_, StorageError>((piece.place(), source.read(piece.file, piece.offset, piece.len)?))
    };
    let (count, total) = (geometry.pieces() as usize, geometry.total());
    let digests = integrity::hash_pieces(algorithm.integrity(), count, read, |done| progress(done, total))?;
    Manifest::build(header, &digests).map_err(wrong)
}

/// Where the manifest of a content of this name is kept.
pub fn manifest_path(hashes: &Path, name: &str) -> PathBuf {
    hashes.join(decorated_name("", name, ".manifest"))
}

/// Keeps a manifest in the hashes folder.
pub fn keep_manifest(hashes: &Path, manifest: &Manifest) -> Result<(), PeerError> {
    let name = &manifest.header().name;
    protocol::check_local_name(name, cfg!(windows))?;
    let path = manifest_path(hashes, name);
    put(&path, hashes, name, manifest.bytes()).map_err(|source| error_at(&path, source).into())
}

/// Writes a file of the hashes folder beside its place and renames it, so that nobody reads half of one.
pub(crate) fn put(path: &Path, hashes: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(hashes)?;
    // Several peers may share one hashes folder.
    let mark = format!(".{:016x}", fastrand::u64(..));
    let beside = hashes.join(decorated_name(".", name, &mark));
    // On a full disk half of it would stay, and another half with each try.
    fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path)).inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// The manifests of the hashes folder whose id is wanted, in no order. Of the others only the bytes are read and hashed; none
/// is taken apart and checked.
pub fn kept_manifests(hashes: &Path, wanted: impl Fn(ContentId) -> bool) -> impl Iterator<Item = Manifest> {
    let paths = fs::read_dir(hashes).into_iter().flatten().flatten().map(|entry| entry.path());
    let manifests = paths.filter(|path| path.extension().is_some_and(|end| end == "manifest"));
    let bytes = manifests.filter_map(|path| read_manifest_bytes(&path).ok());
    bytes.filter(move |bytes| wanted(Manifest::id_of(bytes))).filter_map(|bytes| Manifest::decode(bytes).ok())
}

/// Reads and checks a manifest's file.
pub fn read_manifest(path: &Path) -> Result<Manifest, PeerError> {
    let bytes = read_manifest_bytes(path)?;
    Manifest::decode(bytes).map_err(|reason| PeerError::Manifest { path: path.to_owned(), reason })
}

fn read_manifest_bytes(path: &Path) -> Result<Bytes, PeerError> {
    let io = |source| StorageError::Io { path: path.to_owned(), source };
    let len = fs::metadata(path).map_err(io)?.len();
    if len > protocol::MAX_MANIFEST_BYTES as u64 {
        return Err(PeerError::Manifest { path: path.to_owned(), reason: ManifestError::TooLong(len as usize) });
    }
    // No more than was looked at, whatever it has become.
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(len).read_to_end(&mut bytes)).map_err(io)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that no manifest can hold was hashed to its end before that was said.
    #[test]
    fn a_folder_that_is_too_deep_is_refused_before_it_is_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let deep = root.join(vec!["a"; 128].join("/"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "bytes").unwrap();
        let hashed = hash_content(&root, Algorithm::Blake3, None, |_, _| panic!("it is hashed"));
        let said = hashed.err().unwrap().to_string();
        assert!(said.contains("cannot be shared") && said.contains("128 parts"), "{said}");
    }

    #[test]
    fn of_many_manifests_only_the_wanted_one_is_taken_apart() {
        let folder = tempfile::tempdir().unwrap();
        let hashes = folder.path().join("hashes");
        let ids: Vec<_> = (0..20)
            .map(|number| {
                let path = folder.path().join(format!("file {number}"));
                fs::write(&path, [number; 3000]).unwrap();
                let manifest = hash_content(&path, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest;
                keep_manifest(&hashes, &manifest).unwrap();
                manifest.id()
            })
            .collect();
        fs::write(hashes.join("torn.manifest"), "half of one").unwrap();
        for id in ids {
            let found: Vec<_> = kept_manifests(&hashes, |kept| kept == id).map(|manifest| manifest.id()).collect();
            assert_eq!(found, [id]);
        }
        assert_eq!(kept_manifests(&hashes, |_| true).count(), 20);
    }
}
