//! What spares hashing again what has not changed: a stamp beside each manifest that was made here, in the hashes folder.
//!
//! A stamp is two digests: the id of the manifest that it lies beside, and one of all that was seen of the files when they
//! were hashed (paths, sizes, times, inodes) and of how they were cut. If both are as they were, so is the content; a stamp that
//! is torn, old or of something else fits nothing and is as good as none. As in git, files that changed within the last
//! seconds have no stamp: they could change again without any sign of it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{Algorithm, Digest, Manifest, decorated_name};

use crate::disk::manifests::{manifest_path, put, read_manifest};
use crate::disk::scan::{Scan, ScannedFile};

/// Two files changed within this time may have the same times: the coarsest clock of a file system (FAT) ticks so.
const TICK: Duration = Duration::from_secs(2);
/// Bytes of a stamp.
const BYTES: u64 = 64;
/// Begins what is digested; another one whenever that changes.
const VERSION: &[u8] = b"P2PSTMP1";

/// All that was seen of what lies at a path, and how it is cut into pieces.
pub(crate) struct HashCache(Digest);

impl HashCache {
    /// The stamp of what was found; none while a file of it is too young, or claims to be from the future.
    pub(crate) fn of(path: &Path, scan: &Scan, algorithm: Algorithm, piece_size: u32) -> Option<Self> {
        let settled = SystemTime::now().checked_sub(TICK)?.duration_since(UNIX_EPOCH).ok()?.as_nanos() as i128;
        let mut seen = Vec::from(VERSION);
        // A length before each text: no two lists of them look alike.
        let mut text = |bytes: &[u8]| {
            seen.extend((bytes.len() as u64).to_le_bytes());
            seen.extend(bytes);
        };
        text(atomic_file::real_path(path).ok()?.as_os_str().as_encoded_bytes());
        text(algorithm.to_string().as_bytes());
        text(&piece_size.to_le_bytes());
        text(&(scan.files.len() as u64).to_le_bytes());
        for file in &scan.files {
            let (times, place) = traits(file)?;
            if times.iter().any(|&time| time >= settled) {
                return None;
            }
            text(file.path.as_bytes());
            text(&file.metadata.len().to_le_bytes());
            text(&[file.executable().into()]);
            times.iter().for_each(|time| text(&time.to_le_bytes()));
            place.iter().for_each(|number| text(&number.to_le_bytes()));
        }
        scan.empty_folders.iter().for_each(|folder| text(folder.as_bytes()));
        Some(HashCache(Digest::of(&seen)))
    }

    /// The manifest that was made when all looked as it does now.
    pub(crate) fn manifest(&self, hashes: &Path, name: &str) -> Option<Manifest> {
        let path = stamp_path(hashes, name);
        // A pipe would be waited for.
        let path = path.is_file().then_some(path)?;
        let read = || {
            let mut kept = Vec::new();
            // One byte more than it may have shows that it is none.
            File::open(&path)?.take(BYTES + 1).read_to_end(&mut kept).map(|_| kept)
        };
        let kept = atomic_file::open_patiently(read).ok()?;
        let manifest = read_manifest(&manifest_path(hashes, name)).ok()?;
        (kept == self.bytes(&manifest)).then_some(manifest)
    }

    /// Keeps it beside the manifest that was made of what it saw.
    pub(crate) fn keep(&self, hashes: &Path, manifest: &Manifest) {
        let name = &manifest.header().name;
        if let Err(error) = put(&stamp_path(hashes, name), hashes, &self.bytes(manifest)) {
            tracing::debug!(%error, "the hash cache could not be written: {name} will be hashed again");
        }
    }

    fn bytes(&self, manifest: &Manifest) -> Vec<u8> {
        [manifest.id().0.0, self.0.0].concat()
    }
}

fn stamp_path(hashes: &Path, name: &str) -> PathBuf {
    hashes.join(decorated_name("", name, ".stamp"))
}

/// When a file was last changed, in nanoseconds since 1970, and where it is. The change time cannot be set back by a program that sets
/// the modification time.
#[cfg(unix)]
fn traits(file: &ScannedFile) -> Option<([i128; 2], [u64; 2])> {
    use std::os::unix::fs::MetadataExt;
    let seen = &file.metadata;
    let modified = i128::from(seen.mtime()) * 1_000_000_000 + i128::from(seen.mtime_nsec());
    Some(([modified, file.state().changed()], [seen.dev(), seen.ino()]))
}

/// The same on Windows. The numbers of files are left out: some file systems there change them.
#[cfg(windows)]
fn traits(file: &ScannedFile) -> Option<([i128; 3], [u64; 0])> {
    let time = |at: std::io::Result<SystemTime>| at.ok()?.duration_since(UNIX_EPOCH).ok().map(|t| t.as_nanos() as i128);
    Some(([time(file.metadata.modified())?, time(file.metadata.created())?, file.state().changed()], []))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ScanOptions;
    use crate::disk::manifests::keep_manifest;
    use crate::disk::share::hash_content;

    fn stamp(path: &Path) -> Option<HashCache> {
        HashCache::of(path, &Scan::of(path, &ScanOptions::default()).unwrap(), Algorithm::Blake3, 1024)
    }

    /// Waits until nothing that was changed before is too young.
    fn settle() {
        std::thread::sleep(TICK + Duration::from_millis(50));
    }

    #[test]
    fn what_is_young_or_from_the_future_has_no_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "bytes").unwrap();
        assert!(stamp(&path).is_none(), "young");
        settle();
        assert!(stamp(&path).is_some(), "settled");
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        settle();
        assert!(stamp(&path).is_none(), "from the future");
    }

    #[test]
    fn a_stamp_fits_what_it_saw_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (root, hashes) = (folder.path().join("root"), folder.path().join("hashes"));
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::write(root.join("a"), "bytes").unwrap();
        fs::write(root.join("b"), "bytes").unwrap();
        settle();
        let scan = Scan::of(&root, &ScanOptions::default()).unwrap();
        let manifest = hash_content(&root, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest;
        let stamp = stamp(&root).unwrap();
        assert!(stamp.manifest(&hashes, "root").is_none(), "nothing is kept");
        keep_manifest(&hashes, &manifest).unwrap();
        stamp.keep(&hashes, &manifest);
        let fits = |stamp: Option<HashCache>| stamp.is_some_and(|stamp| stamp.manifest(&hashes, "root").is_some());
        assert!(fits(self::stamp(&root)));
        assert!(!fits(HashCache::of(&root, &scan, Algorithm::Sha256, 1024)), "another algorithm");
        assert!(!fits(HashCache::of(&root, &scan, Algorithm::Blake3, 2048)), "other pieces");
        // A damaged stamp or manifest is none.
        for kept in [stamp_path(&hashes, "root"), manifest_path(&hashes, "root")] {
            let whole = fs::read(&kept).unwrap();
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 1;
                fs::write(&kept, bytes).unwrap();
                assert!(!fits(self::stamp(&root)), "byte {at} of {}", kept.display());
            }
            fs::write(&kept, &whole[..whole.len() - 1]).unwrap();
            assert!(!fits(self::stamp(&root)), "torn");
            fs::write(&kept, whole).unwrap();
        }
        assert!(fits(self::stamp(&root)));
        // The same size, and the old time set again.
        let old = fs::metadata(root.join("b")).unwrap().modified().unwrap();
        fs::write(root.join("b"), "other").unwrap();
        fs::File::options().write(true).open(root.join("b")).unwrap().set_modified(old).unwrap();
        settle();
        assert!(!fits(self::stamp(&root)), "one file of a folder");
    }
}
