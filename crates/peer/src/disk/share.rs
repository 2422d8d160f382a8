//! Sharing a file or a folder where it lies: it is hashed on all cores, unless nothing has changed since it was, and opened.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::{Algorithm, ContentId, Manifest, PieceSet, Secret, default_piece_size};
use storage::{Access, Backend, Remote, StorageError};
use tokio::sync::broadcast;

use crate::disk::content::{ContentStore, Opened};
use crate::disk::file_state::WatchedFile;
use crate::disk::hash::{Hashing, PATIENCE, QUIET};
use crate::disk::hash_cache::HashCache;
use crate::disk::left_out::LeftOut;
use crate::disk::manifests::keep_manifest;
use crate::disk::scan::{Scan, ScanOptions};
use crate::disk::settled::{hold, kept_on_disk};
use crate::error::PeerError;
use crate::event::PeerEvent;

/// Attempts to share what others write to between hashing and opening it.
const TRIES: u32 = 3;
/// Time between two events about hashing.
const WORD: Duration = Duration::from_millis(100);

/// Which pieces of a shared file are held.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Held {
    /// All of them.
    All,
    /// All but these.
    Without(Vec<u32>),
    /// From the floor of the first share of all pieces to the ceiling of the second; shares are 0 to 1.
    Fraction(f64, f64),
}

impl Held {
    /// The pieces out of `pieces` that are held.
    pub fn pieces(&self, pieces: u32) -> PieceSet {
        let mut set = PieceSet::full(pieces);
        match self {
            Held::All => {}
            Held::Without(lacked) => lacked.iter().for_each(|&piece| {
                set.remove(piece);
            }),
            Held::Fraction(from, to) => {
                let (first, end) = ((f64::from(pieces) * from).floor() as u32, (f64::from(pieces) * to).ceil() as u32);
                (0..pieces).filter(|piece| !(first..end).contains(piece)).for_each(|piece| {
                    set.remove(piece);
                });
            }
        }
        set
    }
}

/// How a file is shared.
#[derive(Debug, Clone)]
pub(crate) struct ShareOptions {
    /// How its pieces are digested.
    pub(crate) algorithm: Algorithm,
    /// Size of its pieces in bytes; chosen by the file's size if nothing is said.
    pub(crate) piece_size: Option<u32>,
    /// Which pieces are served.
    pub(crate) held: Held,
    /// Most bytes a second that are sent of it.
    pub(crate) up: Option<u64>,
    /// The secret of a private share, by the content that it turns out to be.
    pub(crate) secret: Option<SecretOf>,
    /// What it is, if it was hashed before.
    pub(crate) hashed: Option<Manifest>,
    /// Where its files are, if they are not on this machine.
    pub(crate) remote: Option<RemoteFiles>,
}

/// Files that are somewhere else, and what they are.
#[derive(Clone)]
pub(crate) struct RemoteFiles {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) storage: Arc<dyn Remote>,
}

impl std::fmt::Debug for RemoteFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RemoteFiles(…)")
    }
}

/// The secret of a content.
#[derive(Clone)]
pub(crate) struct SecretOf(pub(crate) Arc<dyn Fn(ContentId) -> Secret + Send + Sync>);

impl std::fmt::Debug for SecretOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretOf(…)")
    }
}

impl Default for ShareOptions {
    fn default() -> Self {
        ShareOptions {
            algorithm: Algorithm::Blake3,
            piece_size: None,
            held: Held::All,
            up: None,
            secret: None,
            hashed: None,
            remote: None,
        }
    }
}

/// A content that was hashed.
#[non_exhaustive]
pub struct Hashed {
    /// Its manifest.
    pub manifest: Manifest,
    /// What lies there and is no part of the content.
    pub left_out: Vec<LeftOut>,
}

/// The manifest of a file or a folder. Hashes on all cores and tells `progress` how many bytes are done, and of how many.
/// Blocks.
pub fn hash_content(
    path: &Path,
    algorithm: Algorithm,
    piece_size: Option<u32>,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<Hashed, PeerError> {
    hash_content_with(path, &ScanOptions::default(), algorithm, piece_size, progress, |_, _| {})
}

/// The same, of what the options say is part of it. Tells `waits` which file is being written to, and for how long that is waited for at
/// most.
pub fn hash_content_with(
    path: &Path,
    options: &ScanOptions,
    algorithm: Algorithm,
    piece_size: Option<u32>,
    progress: impl Fn(u64, u64) + Sync,
    waits: impl Fn(&Path, Duration),
) -> Result<Hashed, PeerError> {
    let mut scan = Scan::of(path, options)?;
    let backend = &storage::MmapBackend;
    let hashing = Hashing { path, algorithm, piece_size, backend, quiet: Duration::ZERO, patience: PATIENCE };
    let manifest = hashing.run(&mut scan, progress, |written| waits(written, PATIENCE))?;
    Ok(Hashed { manifest, left_out: scan.left_out })
}

/// Shares a file or a folder where it lies. Blocks while it is hashed, if it is not known from before.
pub(crate) fn share(
    path: &Path,
    options: &ShareOptions,
    scan_options: &ScanOptions,
    backend: &dyn Backend,
    hashes: &Path,
    events: &broadcast::Sender<PeerEvent>,
) -> Result<Opened, PeerError> {
    if let Some(RemoteFiles { manifest, storage }) = options.remote.clone() {
        let have = options.held.pieces(manifest.geometry().pieces());
        let store = Arc::new(ContentStore::of_remote(manifest, storage, path.to_owned()));
        return Ok(Opened { store, have, goal: PieceSet::empty(0), in_order: false, left_over: None });
    }
    let waits = |path: &Path| {
        let _ = events.send(PeerEvent::StillWritten { path: path.to_owned(), most: PATIENCE });
    };
    let mut written = path.to_owned();
    for _ in 0..TRIES {
        let mut scan = Scan::of(path, scan_options)?;
        // What is hashed and served is what lies in this folder, whatever is linked in its place meanwhile.
        let _held = if scan.folder { Some(hold(path, "")?) } else { None };
        let (manifest, is_new) = match &options.hashed {
            Some(hashed) if is_of(hashed, &scan) => (hashed.clone(), false),
            Some(_) => return Err(StorageError::Changed(path.to_owned()).into()),
            None => {
                manifest_of(path, &mut scan, options, hashes, kept_on_disk(backend), progress(path, events), waits)?
            }
        };
        // What was empty when it was found may be a key by now.
        if scan.stale
            && let Some(file) = scan.file_not_in(&Scan::of(path, scan_options)?)
        {
            written = file.at.clone();
            continue;
        }
        let storage = match kept_on_disk(backend).open(&scan.specs(), Access::Read) {
            // Of a folder others are left; a file that is gone is gone.
            Err(StorageError::Changed(file)) => {
                written = file;
                continue;
            }
            Err(StorageError::NotFound(file)) if scan.folder => {
                written = file;
                continue;
            }
            result => result?,
        };
        // From here on the storage detects changes; this check covers the time before it was opened.
        if let Some(file) = scan.changed_file()? {
            written = file.at.clone();
            continue;
        }
        let have = options.held.pieces(manifest.geometry().pieces());
        let watched = scan.files.iter().enumerate();
        let watched = watched.map(|(number, file)| WatchedFile::new(number, &file.at, file.state().clone())).collect();
        let all: Vec<usize> = (0..manifest.header().files.len()).collect();
        let mut store = ContentStore::new(manifest.into(), storage, path.to_owned(), all)
            .shared_from(watched, scan.left_out.len() as u32);
        if is_new {
            store = store.all_verified();
        }
        if !scan.left_out.is_empty() {
            let _ = events.send(PeerEvent::Skipped { left_out: scan.left_out });
        }
        return Ok(Opened { store: Arc::new(store), have, goal: PieceSet::empty(0), in_order: false, left_over: None });
    }
    Err(PeerError::StillWritten(written))
}

/// Whether a manifest is of the names and sizes that lie there.
fn is_of(manifest: &Manifest, scan: &Scan) -> bool {
    let header = manifest.header();
    let listed = header.files.iter().map(|file| (file.path.as_str(), file.size));
    let found = scan.files.iter().map(|file| (file.path.as_str(), file.metadata.len()));
    header.name == scan.name && header.folder == scan.folder && listed.eq(found)
}

/// Tells who watches how many bytes of `path` are hashed, at first and now and then.
fn progress<'a>(path: &'a Path, events: &'a broadcast::Sender<PeerEvent>) -> impl Fn(u64, u64) + Sync + 'a {
    let (began, told) = (Instant::now(), AtomicU64::new(0));
    move |done, total| {
        let word = (began.elapsed().as_millis() / WORD.as_millis()) as u64 + 1;
        if word > told.load(Ordering::Relaxed) && told.swap(word, Ordering::Relaxed) < word {
            let _ = events.send(PeerEvent::Hashing { path: path.to_owned(), done, total });
        }
    }
}

/// The manifest of what is to be shared, and kept in the hashes folder: hashed, unless nothing has changed since it was. It is
/// read with `backend`; `waits` is told which file is being written to. Also says whether all of it was hashed just now.
fn manifest_of(
    path: &Path,
    scan: &mut Scan,
    options: &ShareOptions,
    hashes: &Path,
    backend: &dyn Backend,
    progress: impl Fn(u64, u64) + Sync,
    waits: impl Fn(&Path),
) -> Result<(Manifest, bool), PeerError> {
    let algorithm = options.algorithm;
    let stamp = |scan: &Scan| {
        let piece_size = options.piece_size.unwrap_or_else(|| default_piece_size(&scan.sizes()));
        HashCache::of(path, scan, algorithm, piece_size)
    };
    if let Some(manifest) = stamp(scan).and_then(|stamp| stamp.manifest(hashes, &scan.name)) {
        return Ok((manifest, false));
    }
    let piece_size = options.piece_size;
    let hashing = Hashing { path, algorithm, piece_size, backend, quiet: QUIET, patience: PATIENCE };
    let manifest = hashing.run(scan, progress, waits)?;
    match keep_manifest(hashes, &manifest) {
        Err(PeerError::Storage(error)) => {
            tracing::info!(%error, "the manifest is not kept: the next start hashes everything again");
        }
        kept => {
            kept?;
            // Of what the files were while they were hashed.
            stamp(scan).iter().for_each(|stamp| stamp.keep(hashes, &manifest));
        }
    }
    Ok((manifest, true))
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    #[cfg(target_os = "linux")]
    #[test]
    fn nobody_waits_for_a_pipe_in_the_hashes_folder() {
        use protocol::ContentId;
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        use crate::disk::manifests::{kept_manifests, manifest_path, received_manifest, received_path};

        let folder = tempfile::tempdir().unwrap();
        let (hashes, path) = (folder.path().join("hashes"), folder.path().join("file"));
        fs::write(&path, "bytes").unwrap();
        let id = ContentId(protocol::Digest([7; 32]));
        fs::create_dir_all(hashes.join("by-id")).unwrap();
        let pipes = [hashes.join("file.stamp"), manifest_path(&hashes, "file"), received_path(&hashes, id)];
        for pipe in &pipes {
            mknodat(CWD, pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }
        assert!(received_manifest(&hashes, id).is_none() && kept_manifests(&hashes, |_| true).next().is_none());
        let mut scan = Scan::of(&path, &ScanOptions::default()).unwrap();
        let options = ShareOptions::default();
        manifest_of(&path, &mut scan, &options, &hashes, &storage::FileBackend, |_, _| {}, |_| {}).unwrap();
        assert!(manifest_path(&hashes, "file").is_file(), "what is kept takes its place");
    }
}
