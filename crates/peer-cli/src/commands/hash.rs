//! `peer-cli hash` and `peer-cli verify`: manifests without a swarm.

use std::ops::Range;
use std::path::{Path, PathBuf};

use peer::{
    Hashed, PeerError, ScanOptions, hash_content_with, keep_manifest, manifest_path, manifests_of, read_manifest,
};
use protocol::{ContentId, Manifest};
use settings::Folders;
use storage::{Access, Backend, FileBackend, FileSpec, StorageError};

use crate::commands::inspect;
use crate::error::{ExitCode, Failure, failure, share_failure};
use crate::flags::cut::Cut;
use crate::flags::links::LinkArguments;
use crate::flags::paths::must_exist;
use crate::flags::peer::{CERTS, HASHES};
use crate::session::patience::still_written_words;
use crate::session::stdin::must_be_kept;
use crate::ui::counter::{self, Counter};
use crate::ui::left_out;
use crate::ui::screen::{complain, print};

/// Makes the manifest of a file, keeps it, and prints it.
pub fn hash(file: &Path, cut: &Cut, links: &LinkArguments, hashes: &Path) -> Result<(), Failure> {
    must_be_kept(file, "hash")?;
    must_exist(file)?;
    // What `share` would share, so that both have one id.
    let own = [hashes.to_owned(), CERTS.into()].into_iter().chain(settings::log_file());
    let Folders { data, state, cache } = Folders::of_this_process();
    let own_folders = [data, state, cache].into_iter().flatten();
    let scan = ScanOptions::new().follow_links(links.follow_links).own(own).own_folders(own_folders);
    let progress = Counter::new("Hashing", file).show();
    let waits = |written: &Path, most| counter::say(&still_written_words(written, most));
    let hashed = hash_content_with(file, &scan, cut.hash, cut.piece_size, progress, waits);
    let Hashed { manifest, left_out, .. } = hashed.map_err(|error| share_failure(file, &error))?;
    left_out::words(&left_out).iter().for_each(|line| complain(line));
    keep_manifest(hashes, &manifest).map_err(|error| not_kept(&error))?;
    let kept = manifest_path(hashes, &manifest.header().name);
    print(inspect::words(&manifest).into_iter().chain([format!("manifest    {}", kept.display())]))
}

/// Why a manifest is not kept, with what to do.
fn not_kept(error: &PeerError) -> Failure {
    match error {
        PeerError::Storage(StorageError::Unwritable { .. }) => {
            Failure::new(ExitCode::CannotWrite, format!("{error}. Name another folder for manifests with --hashes"))
        }
        error => failure(error),
    }
}

/// What a file is checked against.
#[derive(Debug)]
pub enum Against {
    /// The manifest that was made here of a file of that name: by `hash`, or when it was shared.
    Own,
    /// A manifest's file.
    File(PathBuf),
    /// The manifest of this content, from the hashes folder.
    Id(ContentId),
}

/// Checks a file against a manifest; fails and names the byte ranges that differ.
pub fn verify(file: &Path, against: &Against, hashes: Option<&Path>) -> Result<(), Failure> {
    must_be_kept(file, "verify")?;
    must_exist(file)?;
    let manifest = manifest(file, against, hashes)?;
    // A folder may hold a single file.
    let Some([entry]) = Some(&manifest.header().files[..]).filter(|_| !file.is_dir()) else {
        let what = if file.is_dir() { file.display().to_string() } else { format!("content {}", manifest.id()) };
        let sentence = format!(
            "verify checks a file, and {what} is a folder. `peer-cli hash` tells its content id, which stays the same as long as nothing \
             in it changes"
        );
        return Err(Failure::new(ExitCode::Usage, sentence));
    };
    let size = std::fs::metadata(file)
        .map_err(|error| Failure::new(ExitCode::Other, format!("{}: {error}", file.display())))?
        .len();
    let bad = bad_ranges(file, size, &manifest, Counter::new("Verifying", file).show())?;
    if bad.is_empty() && size == entry.size {
        return print([format!("{}: good, {} pieces", file.display(), manifest.geometry().pieces())]);
    }
    for Range { start, end } in &bad {
        print([format!("{}: bytes {start} to {} differ", file.display(), end - 1)])?;
    }
    if size != entry.size {
        print([format!("{}: it has {size} bytes, not {}", file.display(), entry.size)])?;
    }
    Err(Failure::new(ExitCode::VerificationFailed, format!("{} is not what its manifest says", file.display())))
}

fn manifest(file: &Path, against: &Against, hashes: Option<&Path>) -> Result<Manifest, Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // What `hash` has made here, and then what `share` and `get` keep.
    let users = settings::Folders::of_this_process().cache.filter(|_| hashes.is_none()).map(|cache| cache.join(HASHES));
    let hashes = hashes.unwrap_or(Path::new(HASHES));
    let path = match against {
        Against::Own => {
            let shared = users.as_ref().map(|users| manifest_path(&manifests_of(users, file), &name));
            let here = manifest_path(hashes, &name);
            shared.filter(|shared| !here.is_file() && shared.is_file()).unwrap_or(here)
        }
        Against::File(path) => path.clone(),
        Against::Id(id) => {
            let kept =
                [Some(hashes), users.as_deref()].into_iter().flatten().find_map(|hashes| inspect::kept(hashes, *id));
            return kept.ok_or_else(|| {
                let sentence = format!("there is no manifest of content {id} in {}", hashes.display());
                Failure::new(ExitCode::Other, sentence)
            });
        }
    };
    if path.is_file() {
        return Ok(read_manifest(&path)?);
    }
    let sentence = format!(
        "there is no manifest {}. For what was downloaded, give the content id with --id{}; for a file of your own, make it with \
         `peer-cli hash`; or name another manifest with --manifest",
        path.display(),
        inspect::downloaded_as(users.as_deref().filter(|_| !hashes.exists()).unwrap_or(hashes), &name)
    );
    Err(Failure::new(ExitCode::Other, sentence))
}

/// Byte ranges of pieces that differ or are missing, neighbours as one.
fn bad_ranges(
    file: &Path,
    size: u64,
    manifest: &Manifest,
    progress: impl Fn(u64, u64),
) -> Result<Vec<Range<u64>>, Failure> {
    let error = |error: storage::StorageError| Failure::from(peer::PeerError::from(error));
    let source = FileBackend.open(&[FileSpec { path: file.to_owned(), size }], Access::Read).map_err(error)?;
    let mut bad: Vec<Range<u64>> = Vec::new();
    for number in 0..manifest.geometry().pieces() {
        let piece = manifest.geometry().piece(number).expect("it is below the number of pieces");
        let end = piece.offset + piece.len as u64;
        let good = end <= size && manifest.verify(number, &source.read(0, piece.offset, piece.len).map_err(error)?);
        match bad.last_mut() {
            _ if good => {}
            Some(last) if last.end == piece.offset => last.end = end,
            _ => bad.push(piece.offset..end),
        }
        progress(end, manifest.geometry().total());
    }
    Ok(bad)
}

#[cfg(test)]
mod tests {
    use peer::hash_content;
    use protocol::Algorithm;

    use super::*;

    #[test]
    fn bad_bytes_are_named_by_range() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let mut bytes: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&file, &bytes).unwrap();
        let manifest = hash_content(&file, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest;
        let ranges = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            bad_ranges(&file, bytes.len() as u64, &manifest, |_, _| {}).unwrap()
        };
        assert_eq!(ranges(&bytes), []);
        assert_eq!(ranges(&bytes[..9999]).first(), Some(&(9216..10_000)));
        bytes[1024] ^= 1;
        bytes[2048] ^= 1;
        bytes[9000] ^= 1;
        assert_eq!(ranges(&bytes), [1024..3072, 8192..9216]);
    }
}
