//! Bytes that come one after another and are to be shared: written to a file, and hashed on the way, so that nothing is read
//! twice. Nobody is told of them before all have come.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use protocol::{Algorithm, Digest, FileEntry, Manifest, ManifestHeader, NameError, StreamPieces, check_name};
use storage::{Room, error_at, is_state_name};

use crate::error::PeerError;

/// After so many bytes it is looked again whether the disk has room.
const LOOK_AFTER: u64 = 16 << 20;

/// A file that is being written with what is to be shared under its name.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// use p2p_fileshare::{Algorithm, Spool};
///
/// let mut spool = Spool::create(folder, "greeting.txt", Algorithm::Blake3, None, None)?;
/// spool.write(b"hello, ")?;
/// spool.write(b"world")?;
/// let spooled = spool.finish()?;
/// assert_eq!(spooled.manifest.header().files[0].size, 12);
/// // And then: node.share(spooled.path).hashed(spooled.manifest).await?
/// # Ok(())
/// # }
/// ```
pub struct Spool {
    path: PathBuf,
    name: String,
    file: File,
    algorithm: Algorithm,
    pieces: StreamPieces,
    room: Room,
    looked_at: u64,
}

/// A file that holds all that came, and its manifest.
#[non_exhaustive]
pub struct Spooled {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
}

impl Spool {
    /// Makes a file of this name in a folder, which is to be nobody else's. `keep_free` bytes stay free on its disk, or what is
    /// usual.
    pub fn create(
        folder: &Path,
        name: &str,
        algorithm: Algorithm,
        piece_size: Option<u32>,
        keep_free: Option<u64>,
    ) -> Result<Self, PeerError> {
        check_name(name)?;
        if is_state_name(name) {
            return Err(NameError::State(name.to_owned()).into());
        }
        let path = folder.join(name);
        let room = Room::look(folder, name, false, &[], keep_free)?;
        let file = File::create_new(&path).map_err(|source| error_at(&path, source))?;
        let pieces = StreamPieces::new(algorithm, piece_size);
        Ok(Spool { path, name: name.to_owned(), file, algorithm, pieces, room, looked_at: 0 })
    }

    /// Fails if so many bytes do not fit on the disk: for what is known to come.
    pub fn must_fit(&self, bytes: u64, keep_free: Option<u64>) -> Result<(), PeerError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        Room::look(folder, &self.name, false, &[(self.name.clone(), bytes, false)], keep_free)?;
        Ok(())
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> u64 {
        self.pieces.bytes()
    }

    /// Writes what has come. Blocks.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        if self.pieces.is_too_long_with(bytes.len()) {
            let reason =
                "more comes than a content may have: share it in parts, or with a larger --piece-size".to_owned();
            return Err(PeerError::Unfit { path: self.path.clone(), reason });
        }
        if self.bytes() >= self.looked_at {
            self.room.check()?;
            self.looked_at = self.bytes() + LOOK_AFTER;
        }
        self.file.write_all(bytes).map_err(|source| error_at(&self.path, source))?;
        self.pieces.update(bytes);
        Ok(())
    }

    /// All has come.
    pub fn finish(self) -> Result<Spooled, PeerError> {
        let Spool { path, name, algorithm, pieces, .. } = self;
        let pieces = pieces.finish();
        let file = FileEntry { path: name.clone(), size: pieces.len, executable: false, root: Digest([0; 32]) };
        let header = ManifestHeader {
            name,
            folder: false,
            algorithm,
            piece_size: pieces.piece_size,
            files: vec![file],
            empty_folders: Vec::new(),
        };
        let manifest = Manifest::build(header, &pieces.digests);
        let manifest = manifest.map_err(|reason| PeerError::Manifest { path: path.clone(), reason })?;
        Ok(Spooled { path, manifest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::share::hash_content;

    #[test]
    fn a_spooled_file_is_the_content_that_sharing_it_would_make() {
        let folder = tempfile::tempdir().unwrap();
        for len in [0usize, 1, 5000, 3_000_001] {
            let name = format!("{len}.bin");
            let bytes: Vec<u8> = (0..len as u32).map(|n| (n * 7 % 251) as u8).collect();
            let mut spool = Spool::create(folder.path(), &name, Algorithm::Blake3, None, None).unwrap();
            bytes.chunks(12_345).for_each(|bytes| spool.write(bytes).unwrap());
            let spooled = spool.finish().unwrap();
            assert!(std::fs::read(&spooled.path).unwrap() == bytes);
            let hashed = hash_content(&spooled.path, Algorithm::Blake3, None, |_, _| {}).unwrap().manifest;
            assert_eq!(spooled.manifest.id(), hashed.id(), "{len} bytes");
        }
    }

    #[test]
    fn a_name_that_is_none_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", ".x.part", ".x.lock"] {
            assert!(Spool::create(folder.path(), name, Algorithm::Blake3, None, None).is_err(), "{name:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_leaves_too_little_free_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let create = |keep_free| Spool::create(folder.path(), "x", Algorithm::Blake3, None, Some(keep_free));
        assert!(matches!(create(u64::MAX / 2), Err(PeerError::Storage(error)) if error.is_no_room()));
        let spool = create(0).unwrap();
        assert!(matches!(spool.must_fit(u64::MAX / 2, Some(0)), Err(PeerError::Storage(error)) if error.is_no_room()));
        assert!(spool.must_fit(1, Some(0)).is_ok());
    }
}
