//! What of a wanted folder lies in place already: files that are equal are kept and served from there, and what is different
//! is in the way, or is to be replaced.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use integrity::on_all_cores;
use protocol::{Manifest, PathTree, PieceRange, check_local_name};
use storage::{
    Access, Backend, FileBackend, FileSpec, Folder, StorageError, error_at, is_system_file, is_system_folder, named,
};

use crate::disk::doubt::Verified;
use crate::disk::names::local::LocalNames;
use crate::disk::scan::Scan;
use crate::error::PeerError;
use crate::lock::{POISONED, lock};

/// What was found of the files that are wanted, as their numbers in the manifest.
#[derive(Default)]
pub(crate) struct Existing {
    /// Equal, byte for byte.
    pub(crate) equal: Vec<usize>,
    /// Other files.
    pub(crate) different: Vec<usize>,
    /// Other ones of a kind that systems make by themselves: these are not replaced unless that is asked for, and the content is what
    /// it was without them.
    pub(crate) of_system: Vec<usize>,
    /// What is in the way and no file: a link, or a folder.
    pub(crate) in_the_way: Option<PathBuf>,
    /// What notices who changes the equal ones after they were hashed.
    pub(crate) verified: Option<Verified>,
}

/// Looks for the `wanted` files of a manifest in its folder, which lies in `folder`, and for what is in the way of
/// `empty_folders`. No link is followed. Hashes, on all cores, what has the right size; blocks.
pub(crate) fn compare(
    manifest: &Manifest,
    names: &LocalNames,
    folder: &Folder,
    wanted: &[usize],
    empty_folders: &[String],
) -> Result<Existing, PeerError> {
    let header = manifest.header();
    let name = names.name(manifest);
    let (target, mut walk) = (folder.path().join(name), folder.walk());
    let mut seen_at = |path: &str| {
        let inside = Path::new(name).join(path);
        walk.look(&inside).map_err(|source| PeerError::from(error_at(&folder.path().join(inside), source)))
    };
    let (mut found, mut same_size) = (Existing::default(), Vec::new());
    let files = wanted.iter().map(|&file| names.path(manifest, file));
    let tree = PathTree::new(files, empty_folders.iter().map(String::as_str));
    for path in tree.folders().chain(empty_folders.iter().map(String::as_str)) {
        if seen_at(path)?.is_some_and(|seen| !seen.is_folder) {
            found.in_the_way = Some(target.join(path));
            return Ok(found);
        }
    }
    let inside = |file: usize| Path::new(name).join(names.path(manifest, file));
    // All that can be there. What is left out for its name may be no path here, or lead elsewhere: on Windows `a:b` is on a drive.
    let can_be_here =
        |&file: &usize| names.path(manifest, file).split('/').all(|part| check_local_name(part, cfg!(windows)).is_ok());
    let known: Vec<usize> = (0..header.files.len()).filter(can_be_here).collect();
    let mut by_name = vec![false; header.files.len()];
    for (&file, is_there) in known.iter().zip(named(folder, known.iter().map(|&file| inside(file)))?) {
        by_name[file] = is_there;
    }
    for &file in wanted {
        let (path, size) = (names.path(manifest, file), header.files[file].size);
        match seen_at(path)? {
            None => {}
            // What lies there by another file's name is that file.
            Some(seen) if !seen.is_file || !by_name[file] => {
                found.in_the_way = Some(target.join(path));
                return Ok(found);
            }
            Some(seen) if seen.len == size => same_size.push(file),
            Some(_) => found.different.push(file),
        }
    }
    let different = Mutex::new(BTreeSet::new());
    let specs: Vec<FileSpec> = same_size.iter().map(|&file| names.spec(manifest, &target, file)).collect();
    // Not mapped: nothing of it is kept, and anyone may cut it meanwhile.
    let storage = FileBackend.open(&specs, Access::Read)?;
    let geometry = manifest.geometry();
    let pieces: Vec<u32> = same_size.iter().flat_map(|&file| geometry.pieces_of(file)).collect();
    on_all_cores(pieces.len(), |at| {
        let first = pieces[at];
        for block in geometry.blocks(PieceRange { first, count: 1 }, usize::MAX) {
            let stretch = block.stretches[0];
            let at = same_size.partition_point(|&file| file < stretch.file);
            let is_equal = match storage.read(at, stretch.offset, stretch.len) {
                Ok(bytes) => manifest.verify(first, &bytes),
                Err(StorageError::Changed(_)) => false,
                // What cannot be read is not different for all that is known.
                Err(error) => return Err(error),
            };
            if !is_equal {
                lock(&different).insert(stretch.file);
            }
        }
        Ok(())
    })?;
    let different = different.into_inner().expect(POISONED);
    let files = same_size.iter().zip(specs).map(|(&file, spec)| (!different.contains(&file)).then_some((file, spec)));
    found.verified = Some(Verified { storage, files: files.collect() });
    found.equal = same_size.into_iter().filter(|file| !different.contains(file)).collect();
    found.different.extend(different);
    Ok(found)
}

impl Existing {
    /// Tells those of the files that differ which a file manager or the system has made by itself. Those who shared such files once, with
    /// earlier versions, gave them to others, whose systems have written to them since.
    pub(crate) fn tell_of_system(&mut self, manifest: &Manifest, names: &LocalNames, target: &Path) {
        let is_of_system = |&file: &usize| {
            let path = names.path(manifest, file);
            let mut folders = path.split('/').rev().skip(1);
            folders.any(|folder| is_system_folder(folder.as_ref())) || is_system_file(&target.join(path))
        };
        let different = std::mem::take(&mut self.different);
        (self.of_system, self.different) = different.into_iter().partition(is_of_system);
        self.of_system.sort_unstable();
    }
}

/// Whether nothing lies in the folder `target` that is not, by its name here, a part of the content, or made by a system by itself.
pub(crate) fn holds_nothing_else(
    manifest: &Manifest,
    names: &LocalNames,
    empty_folders: &[String],
    target: &Path,
) -> bool {
    let Ok(scan) = Scan::of_all(target) else { return false };
    let files = (0..manifest.header().files.len()).map(|file| names.path(manifest, file));
    let tree = PathTree::new(files, empty_folders.iter().map(String::as_str));
    scan.left_out.is_empty()
        && scan.files.iter().all(|file| tree.is_file(&file.path))
        && scan.empty_folders.iter().all(|path| tree.is_folder(path))
}
