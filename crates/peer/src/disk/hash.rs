//! Hashing what is to be shared, on all cores, while others may still write to it.
//!
//! A manifest must be of bytes that stay. So each file is looked at again after it was hashed: what was removed meanwhile is
//! left out, what was written to is waited for and hashed again, and what does not come to rest is refused with a sentence
//! rather than offered and withdrawn. No other file is hashed twice for that: no piece runs across files.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{
    Algorithm, Digest, FileEntry, Geometry, GeometryError, Manifest, ManifestError, ManifestHeader, default_piece_size,
};
use storage::{Access, Backend, StorageError};

use crate::PeerError;
use crate::disk::file_state::Change;
use crate::disk::left_out::{LeftOut, LeftOutReason};
use crate::disk::scan::Scan;

/// What is offered was not written to for so long.
pub(crate) const QUIET: Duration = Duration::from_millis(500);
/// What was written to while it was hashed must be quiet for so long.
const QUIET_AGAIN: Duration = Duration::from_secs(2);
/// Files that are written to are waited for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at a file that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// How a content is hashed.
pub(crate) struct Hashing<'a> {
    pub(crate) path: &'a Path,
    pub(crate) algorithm: Algorithm,
    /// Size of the pieces; by the files' sizes if nothing is said.
    pub(crate) piece_size: Option<u32>,
    /// What it is read with.
    pub(crate) backend: &'a dyn Backend,
    /// For how long nobody is to have written to it.
    pub(crate) quiet: Duration,
    /// How long it is waited for if somebody writes to it.
    pub(crate) patience: Duration,
}

/// How far a file is.
#[derive(Clone, Default)]
struct HashedFile {
    /// Digests of its pieces, once it was hashed.
    digests: Option<Vec<Digest>>,
    /// Whether it was written to while it was hashed.
    restless: bool,
}

impl Hashing<'_> {
    /// The manifest of what was found at the path; `scan` is brought up to date with it. Tells `progress` how many bytes are
    /// done, and of how many, and `waits` which file is being written to. Blocks.
    pub(crate) fn run(
        &self,
        scan: &mut Scan,
        progress: impl Fn(u64, u64) + Sync,
        waits: impl Fn(&Path),
    ) -> Result<Manifest, PeerError> {
        let mut files = vec![HashedFile::default(); scan.files.len()];
        let (mut cut, mut waiting_since, mut told) = (0, None::<Instant>, false);
        loop {
            let piece_size = self.piece_size.unwrap_or_else(|| default_piece_size(&scan.sizes()));
            if piece_size != cut {
                files.iter_mut().for_each(|file| file.digests = None);
                cut = piece_size;
            }
            // What no manifest can say is said before everything is hashed.
            let header = self.header(scan, piece_size);
            let unfit =
                |reason: ManifestError| PeerError::Unfit { path: self.path.to_owned(), reason: reason.to_string() };
            header.check().map_err(unfit)?;
            let due = |&number: &usize| {
                let HashedFile { digests, restless } = &files[number];
                digests.is_none() && (!restless || scan.files[number].state().unquiet_for(QUIET_AGAIN).is_zero())
            };
            let due: Vec<usize> = (0..files.len()).filter(due).collect();
            let hashed = self.hash(scan, piece_size, &due, &progress)?;
            for (number, digests) in due.iter().zip(hashed.into_iter().flatten()) {
                files[*number].restless |= digests.is_none();
                files[*number].digests = digests;
            }
            self.look_again(scan, &mut files)?;
            let Some(missing) = files.iter().position(|file| file.digests.is_none()) else {
                let known: Vec<Digest> = files.iter().flat_map(|file| &file.digests).flatten().copied().collect();
                let wrong = |reason| PeerError::Manifest { path: self.path.to_owned(), reason };
                let unquiet = scan.files.iter().map(|file| file.state().unquiet_for(self.quiet)).max();
                match unquiet.filter(|unquiet| !unquiet.is_zero()) {
                    Some(unquiet) => std::thread::sleep(unquiet.min(LOOK)),
                    // What has vanished or grown may call for other pieces.
                    None if self.piece_size.is_none() && default_piece_size(&scan.sizes()) != piece_size => {}
                    None => return Manifest::build(self.header(scan, piece_size), &known).map_err(wrong),
                }
                continue;
            };
            let restless = files.iter().position(|file| file.digests.is_none() && file.restless);
            let written = &scan.files[restless.unwrap_or(missing)].at;
            if restless.is_some() && !std::mem::replace(&mut told, true) {
                waits(written);
            }
            if waiting_since.get_or_insert_with(Instant::now).elapsed() > self.patience {
                return Err(PeerError::StillWritten(written.clone()));
            }
            // If one has vanished, the others are hashed at once.
            if restless.is_some() {
                std::thread::sleep(LOOK);
            }
        }
    }

    fn header(&self, scan: &Scan, piece_size: u32) -> ManifestHeader {
        let files = scan.files.iter().map(|file| FileEntry {
            path: file.path.clone(),
            size: file.metadata.len(),
            executable: file.executable(),
            root: Digest([0; 32]),
        });
        ManifestHeader {
            name: scan.name.clone(),
            folder: scan.folder,
            algorithm: self.algorithm,
            piece_size,
            files: files.collect(),
            empty_folders: scan.empty_folders.clone(),
        }
    }

    /// The digests of these files; none of one that cannot be read as it was found, and nothing at all if one of them is gone or
    /// was written to before any was read.
    fn hash(
        &self,
        scan: &Scan,
        piece_size: u32,
        numbers: &[usize],
        progress: impl Fn(u64, u64) + Sync,
    ) -> Result<Option<Vec<Option<Vec<Digest>>>>, PeerError> {
        if numbers.is_empty() {
            return Ok(None);
        }
        let wrong = |error: GeometryError| PeerError::Manifest { path: self.path.to_owned(), reason: error.into() };
        // Of all files first: then it shows if there are too many pieces.
        let total = Geometry::new(piece_size, scan.sizes()).map_err(wrong)?.total();
        let all = scan.specs();
        let specs: Vec<_> = numbers.iter().map(|&number| all[number].clone()).collect();
        let geometry = Geometry::new(piece_size, specs.iter().map(|spec| spec.size).collect()).map_err(wrong)?;
        let source = match self.backend.open(&specs, Access::Read) {
            Ok(source) => source,
            // The look that follows finds which of them it is; the others are hashed then.
            Err(StorageError::Changed(_) | StorageError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let unread: Vec<AtomicBool> = specs.iter().map(|_| AtomicBool::new(false)).collect();
        let read = |number: usize| {
            let piece = geometry.piece(number as u32).expect("it is below the number of pieces");
            let unread = &unread[piece.file];
            if unread.load(Ordering::Relaxed) {
                return Ok((piece.place(), Bytes::new()));
            }
            let bytes = match source.read(piece.file, piece.offset, piece.len) {
                Err(StorageError::Changed(_) | StorageError::NotFound(_)) => {
                    unread.store(true, Ordering::Relaxed);
                    Bytes::new()
                }
                result => result?,
            };
            Ok::<_, StorageError>((piece.place(), bytes))
        };
        let (count, known) = (geometry.pieces() as usize, total - geometry.total());
        let told = |done| progress(known + done, total);
        let digests = integrity::hash_pieces(self.algorithm.integrity(), count, read, told)?;
        let of_file = |(number, unread): (usize, &AtomicBool)| {
            let pieces = geometry.pieces_of(number);
            (!unread.load(Ordering::Relaxed)).then(|| digests[pieces.start as usize..pieces.end as usize].to_vec())
        };
        Ok(Some(unread.iter().enumerate().map(of_file).collect()))
    }

    /// Looks at all files again: what is gone is left out, and what was written to has no digests any more.
    fn look_again(&self, scan: &mut Scan, files: &mut Vec<HashedFile>) -> Result<(), PeerError> {
        let (mut kept, mut progress) = (Vec::new(), Vec::new());
        for (file, mut state) in std::mem::take(&mut scan.files).into_iter().zip(std::mem::take(files)) {
            let Some(now) = file.look_again()? else {
                if !scan.folder {
                    return Err(StorageError::NotFound(file.at).into());
                }
                scan.left_out.push(LeftOut { path: file.at, reason: LeftOutReason::Vanished });
                continue;
            };
            if file.state().change(now.state()) != Change::None {
                state = HashedFile { digests: None, restless: true };
                scan.stale = true;
            }
            kept.push(now);
            progress.push(state);
        }
        (scan.files, *files) = (kept, progress);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::disk::scan::ScanOptions;

    fn hash(path: &Path, quiet: Duration, progress: impl Fn(u64, u64) + Sync) -> Result<(Scan, Manifest), PeerError> {
        let mut scan = Scan::of(path, &ScanOptions::default())?;
        let (algorithm, patience) = (Algorithm::Blake3, Duration::from_secs(3));
        let hashing =
            Hashing { path, algorithm, piece_size: Some(1024), backend: &storage::FileBackend, quiet, patience };
        let manifest = hashing.run(&mut scan, progress, |_| {})?;
        Ok((scan, manifest))
    }

    #[test]
    fn a_file_that_grows_while_it_is_hashed_is_hashed_again_once_it_is_quiet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, [7; 5000]).unwrap();
        let grown = AtomicBool::new(false);
        let grow = |_, _| {
            if !grown.swap(true, Ordering::Relaxed) {
                File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
            }
        };
        let (_, manifest) = hash(&path, Duration::ZERO, grow).unwrap();
        assert_eq!(manifest.header().files[0].size, 5004);
        assert_eq!(manifest.header().files[0].root.to_string(), blake3::hash(&fs::read(&path).unwrap()).to_string());
    }

    #[test]
    fn a_file_that_never_stops_growing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, [7; 5000]).unwrap();
        let (stop, file) = (AtomicBool::new(false), File::options().append(true).open(&path).unwrap());
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    (&file).write_all(b"a line\n").unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            let error = hash(&path, QUIET, |_, _| {}).err();
            stop.store(true, Ordering::Relaxed);
            error
        });
        assert!(matches!(error, Some(PeerError::StillWritten(_))), "{error:?}");
    }

    /// An editor's file that is gone before anything is hashed makes nobody wait.
    #[test]
    fn a_file_that_is_removed_before_anything_is_hashed_is_left_out_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        for name in ["a", ".a.swp"] {
            fs::write(root.join(name), "bytes").unwrap();
        }
        let mut scan = Scan::of(&root, &ScanOptions::default()).unwrap();
        fs::remove_file(root.join(".a.swp")).unwrap();
        let (algorithm, quiet, patience) = (Algorithm::Blake3, Duration::ZERO, Duration::from_secs(3));
        let hashing =
            Hashing { path: &root, algorithm, piece_size: None, backend: &storage::FileBackend, quiet, patience };
        let manifest = hashing.run(&mut scan, |_, _| {}, |_| panic!("nobody writes to anything")).unwrap();
        assert_eq!(manifest.header().files.len(), 1);
    }

    #[test]
    fn an_empty_file_that_becomes_a_key_while_it_is_hashed_is_seen_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let (root, key) = (folder.path().join("root"), folder.path().join("key"));
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), [7; 3000]).unwrap();
        fs::write(root.join("late"), "").unwrap();
        transport::Identity::load_or_create(&key).unwrap();
        let written = AtomicBool::new(false);
        let write = |_, _| {
            if !written.swap(true, Ordering::Relaxed) {
                fs::copy(&key, root.join("late")).unwrap();
            }
        };
        let (scan, _) = hash(&root, Duration::ZERO, write).unwrap();
        let now = Scan::of(&root, &ScanOptions::default()).unwrap();
        assert!(scan.stale);
        assert_eq!(scan.file_not_in(&now).unwrap().path, "late");
    }

    #[test]
    fn a_file_that_is_removed_while_a_folder_is_hashed_is_left_out_and_the_others_are_hashed_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(root.join(name), [name.as_bytes()[0]; 3000]).unwrap();
        }
        let (told, removed) = (AtomicUsize::new(0), root.join("b"));
        let remove = |_, _| {
            told.fetch_add(1, Ordering::Relaxed);
            let _ = fs::remove_file(&removed);
        };
        let (scan, manifest) = hash(&root, Duration::ZERO, remove).unwrap();
        let files: Vec<_> = manifest.header().files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(files, ["a", "c"]);
        assert_eq!(scan.left_out, [LeftOut { path: removed, reason: LeftOutReason::Vanished }]);
        let (_, again) = hash(&root, Duration::ZERO, |_, _| {}).unwrap();
        assert_eq!(again.id(), manifest.id(), "as if it had never been there");
    }
}
