//! The manifest of what an origin has: made in one read, on all cores, and kept beside the version that it is of, so that no version
//! is read twice for it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream;
use integrity::{Algorithm, Digest, Place};
use protocol::{ContentId, FileEntry, MAX_MANIFEST_BYTES, Manifest, ManifestHeader, default_piece_size};

use crate::cache::{Cache, ObjectKey, PartKey, digest, object_digest};
use crate::parts::part_size;
use crate::store::BESIDE;
use crate::{FileCheck, Listing, Object, Options, Origin, OriginError, Version};

/// Bytes that are read, or wait to be hashed, at a time; and parts, at most and at least.
const AT_ONCE: u64 = 48 << 20;
const MOST_PARTS: u64 = 16;
const LEAST_PARTS: u64 = 3;
/// How often it is told how many bytes have come.
const TOLD: Duration = Duration::from_millis(100);

/// How the file is called that says which manifest of a version was wrong.
const REFUSED: &str = "refused";

/// How the pieces of a content are cut and digested.
#[derive(Debug, Clone, Copy)]
pub struct Pieces {
    /// How they are digested.
    pub algorithm: Algorithm,
    /// Their size; chosen by the sizes of the files if nothing is said.
    pub size: Option<u32>,
}

/// Makes the manifest of what was listed: each byte is read once, and goes into the cache if there is one. Tells `progress` how many
/// bytes have come, and of how many. Files whose origin has a digest of them are compared with it.
pub async fn make_manifest(
    origin: &Origin,
    listing: &Listing,
    pieces: Pieces,
    cache: Option<&Arc<Cache>>,
    progress: impl Fn(u64, u64),
) -> Result<Manifest, OriginError> {
    let header = header(origin, listing, pieces)?;
    let (algorithm, piece_size) = (header.algorithm, header.piece_size);
    let total = listing.objects.iter().map(|object| object.size).sum();
    let size = part_size(piece_size);
    let identity = &origin.identity();
    let parts = (0..listing.objects.len()).flat_map(|file| {
        // An empty file has one part, for its digest.
        let count = listing.objects[file].size.div_ceil(size).max(1);
        (0..count).map(move |number| (file, number))
    });
    let (came, told) = (AtomicU64::new(0), Mutex::new(Instant::now()));
    let (came, told, progress) = (&came, &told, &progress);
    let read = parts.map(|(file, number)| {
        let object = &listing.objects[file];
        let range = number * size..object.size.min((number + 1) * size);
        let kept = cache.map(|cache| (cache.clone(), PartKey::new(&ObjectKey::new(identity, object), size, number)));
        let alone = object.size <= u64::from(piece_size);
        async move {
            let mut reader = origin.reader(object, range.clone())?;
            let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
            while let Some(part) = reader.next().await? {
                bytes.extend_from_slice(&part);
                let came = came.fetch_add(part.len() as u64, Ordering::Relaxed) + part.len() as u64;
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.elapsed() >= TOLD {
                    *told = Instant::now();
                    drop(told);
                    progress(came, total);
                }
            }
            let bytes = bytes.freeze();
            let whole = bytes.clone();
            let digesting = move || {
                let digests = digests_of(algorithm, piece_size, range.start, alone, &bytes);
                if let Some((cache, key)) = kept.filter(|_| !bytes.is_empty()) {
                    cache.keep(&key, &bytes);
                }
                digests
            };
            let digests = tokio::task::spawn_blocking(digesting).await;
            let digests = digests.map_err(|_| OriginError::refused(origin.url(), "it was stopped"))?;
            Ok((file, whole, digests))
        }
    });
    let at_once = origin.reads_at_once((AT_ONCE / size).clamp(LEAST_PARTS, MOST_PARTS) as usize);
    let mut read = stream::iter(read).buffered(at_once);
    let (mut digests, mut check) = (Vec::new(), Check::default());
    while let Some(part) = read.next().await {
        let (file, bytes, of_part) = part?;
        digests.extend(of_part);
        check = check.update(origin, &listing.objects[file], file, bytes).await?;
    }
    progress(total, total);
    Manifest::build(header, &digests).map_err(|error| unfit(origin, &error.to_string()))
}

fn unfit(origin: &Origin, reason: &str) -> OriginError {
    OriginError::url(origin.url(), format!("it cannot be a content: {reason}"))
}

/// All of the manifest that is known without reading.
fn header(origin: &Origin, listing: &Listing, pieces: Pieces) -> Result<ManifestHeader, OriginError> {
    let sizes: Vec<_> = listing.objects.iter().map(|object| object.size).collect();
    let entry = |object: &Object| FileEntry {
        path: object.path.clone(),
        size: object.size,
        executable: false,
        root: Digest([0; 32]),
    };
    let header = ManifestHeader {
        name: listing.name.clone(),
        folder: listing.folder,
        algorithm: pieces.algorithm,
        piece_size: pieces.size.unwrap_or_else(|| default_piece_size(&sizes)),
        files: listing.objects.iter().map(entry).collect(),
        empty_folders: Vec::new(),
    };
    header.check().map_err(|error| unfit(origin, &error.to_string()))?;
    protocol::Geometry::new(header.piece_size, sizes).map_err(|error| unfit(origin, &error.to_string()))?;
    Ok(header)
}

fn digests_of(algorithm: Algorithm, piece_size: u32, start: u64, alone: bool, bytes: &[u8]) -> Vec<Digest> {
    let integrity = algorithm.integrity();
    let pieces = bytes.chunks(piece_size as usize).enumerate();
    let place = |number: usize| Place { offset: start + number as u64 * u64::from(piece_size), alone };
    pieces.map(|(number, piece)| integrity.piece(place(number), piece)).collect()
}

/// Compares files with what their origin says that they are, as their bytes come in order.
#[derive(Default)]
struct Check {
    file: Option<usize>,
    state: Option<FileCheck>,
}

impl Check {
    /// More bytes of a file. Away from here, as there are many of them.
    async fn update(
        mut self,
        origin: &Origin,
        object: &Object,
        file: usize,
        bytes: Bytes,
    ) -> Result<Self, OriginError> {
        if self.file != Some(file) {
            let state = object.digest.map(|digest| FileCheck::new(digest, object.size));
            self = Check { file: Some(file), state };
        }
        let Some(mut state) = self.state.take() else { return Ok(self) };
        let hashing = tokio::task::spawn_blocking(move || {
            state.update(&bytes);
            state
        });
        let state = hashing.await.map_err(|_| OriginError::refused(origin.url(), "it was stopped"))?;
        if !state.is_whole() {
            self.state = Some(state);
        } else if !state.is_right() {
            let reason = "its bytes are not those that its origin says it has";
            return Err(OriginError::refused(&origin.shown(object), reason));
        }
        Ok(self)
    }
}

/// Manifests that are kept by the versions that they are of.
pub struct KeptManifests {
    folder: PathBuf,
}

impl KeptManifests {
    /// In this folder, which is made when there is something to keep.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        KeptManifests { folder: folder.into() }
    }

    /// The manifest of what was listed, if it was made before.
    pub fn find(&self, origin: &Origin, listing: &Listing, pieces: Pieces) -> Option<Manifest> {
        let expected = header(origin, listing, pieces).ok()?;
        let path = self.path(origin, listing, &expected)?;
        let bytes = read_at_most(&path, MAX_MANIFEST_BYTES as u64)?;
        fitting(bytes.into(), &expected)
    }

    /// Keeps the manifest of what was listed. Without exact versions there is nothing to keep it by.
    pub fn keep(&self, origin: &Origin, listing: &Listing, manifest: &Manifest) -> std::io::Result<()> {
        let Some(path) = self.path(origin, listing, manifest.header()) else { return Ok(()) };
        std::fs::create_dir_all(&self.folder)?;
        atomic_file::replace_cache(&path, manifest.bytes())
    }

    /// Forgets a manifest that a piece did not fit, and takes it from nowhere again.
    pub(crate) fn refuse(&self, origin: &Origin, listing: &Listing, manifest: &Manifest) {
        let Some(path) = self.path(origin, listing, manifest.header()) else { return };
        let _ = atomic_file::patiently(|| std::fs::remove_file(&path));
        let refused = || {
            std::fs::create_dir_all(&self.folder)?;
            atomic_file::replace_cache(&path.with_extension(REFUSED), manifest.id().to_string().as_bytes())
        };
        if let Err(error) = refused() {
            tracing::warn!(%error, "a wrong manifest beside the objects will be found again");
        }
    }

    /// The manifest that was put beside what it is of, if there is one of this version. Its pieces are verified when they are read, and
    /// it is not for [`keep`](KeptManifests::keep): others may have written it.
    pub async fn find_beside(
        &self,
        origin: &Origin,
        listing: &Listing,
        pieces: Pieces,
        url: &str,
        options: &Options,
    ) -> Option<Manifest> {
        let expected = header(origin, listing, pieces).ok()?;
        let name = beside_name(listing, &key(origin.url(), listing, &expected)?);
        let bytes = Origin::get_beside(url, options, &name, MAX_MANIFEST_BYTES).await.ok()??;
        let manifest = fitting(bytes, &expected)?;
        let path = self.path(origin, listing, &expected)?.with_extension(REFUSED);
        let refused = read_at_most(&path, 256).unwrap_or_default();
        (refused != manifest.id().to_string().as_bytes()).then_some(manifest)
    }

    /// Puts a manifest beside what it is of, and returns its URL. Only object stores take it. It lies there twice: once for those who
    /// have what it is of and look for its manifest, and once for those who know which content they want.
    pub async fn put_beside(
        &self,
        origin: &Origin,
        listing: &Listing,
        manifest: &Manifest,
        url: &str,
        options: &Options,
    ) -> Result<String, OriginError> {
        let Some(key) = key(origin.url(), listing, manifest.header()) else {
            return Err(OriginError::refused(origin.url(), "it has no strong ETag to find the manifest by"));
        };
        let by_id = name_by_id(&listing.name, manifest.id());
        Origin::put_beside(url, options, &by_id, manifest.bytes().clone()).await?;
        Origin::put_beside(url, options, &beside_name(listing, &key), manifest.bytes().clone()).await
    }

    /// Where the manifest of what was listed is kept; nothing if there are no exact versions to keep it by.
    pub fn path(&self, origin: &Origin, listing: &Listing, header: &ManifestHeader) -> Option<PathBuf> {
        Some(self.folder.join(format!("{}.manifest", key(&origin.identity(), listing, header)?)))
    }
}

/// What a manifest is called beside what it is of. Objects that are called so are no part of any content.
fn beside_name(listing: &Listing, key: &str) -> String {
    format!("{}.{}{BESIDE}", listing.name, &key[..16])
}

/// What the manifest of a content is called beside what it is of.
pub(crate) fn name_by_id(name: &str, content: ContentId) -> String {
    format!("{name}.{}{BESIDE}", &content.to_string()[..16])
}

/// What stands for a version of all files that were listed, and how they are cut. On this machine the origin's identity is part of it;
/// beside the objects its URL is enough, which is the same for every machine.
fn key(origin: &str, listing: &Listing, header: &ManifestHeader) -> Option<String> {
    let mut names = vec![listing.name.clone(), header.algorithm.to_string()];
    for object in &listing.objects {
        if !object.version.is_exact() {
            return None;
        }
        names.push(object_digest(origin, object));
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    Some(digest(&names, u64::from(header.piece_size), &Version::Unknown))
}

/// A manifest of just what is expected.
fn fitting(bytes: Bytes, expected: &ManifestHeader) -> Option<Manifest> {
    let manifest = Manifest::decode(bytes).ok()?;
    let found = manifest.header();
    let same_files = found.files.iter().map(|file| (&file.path, file.size));
    let same = same_files.eq(expected.files.iter().map(|file| (&file.path, file.size)));
    let same_cut = (found.algorithm, found.piece_size) == (expected.algorithm, expected.piece_size);
    (same && same_cut && found.name == expected.name && found.folder == expected.folder).then_some(manifest)
}

fn read_at_most(path: &Path, most: u64) -> Option<Vec<u8>> {
    let file = atomic_file::open_patiently(|| std::fs::File::open(path)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then_some(bytes)
}
