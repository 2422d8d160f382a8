//! When a complete file is to be sparse no longer, on Windows.
//!
//! NTFS calls a file sparse until it is told otherwise, even if all of it was written, and Windows attaches no image of a disk that
//! is called so: neither the Explorer an `.iso` nor Hyper-V a `.vhdx`. So a file without holes is called sparse no longer, which costs
//! nothing, and the holes of an image are filled.

use std::path::Path;

/// Ends of the names of the images that Windows attaches.
const IMAGES: [&str; 6] = ["iso", "img", "vhd", "vhdx", "avhd", "avhdx"];

/// Calls a complete file, which will have this name, sparse no longer if that is better. Should it fail, the file is as right as before.
#[cfg(windows)]
pub(crate) fn end_sparse(file: &std::fs::File, name: &Path) {
    let folder = name.parent().unwrap_or(name);
    let holes =
        file.metadata().and_then(|seen| Ok(seen.len().saturating_sub(atomic_file::windows::space_taken(file)?)));
    if holes.is_ok_and(|holes| ends_sparse(name, holes, |bytes| crate::room::has_room(folder, bytes))) {
        atomic_file::windows::set_sparse(file, false);
    }
}

/// Whether a file is to be sparse no longer, of which so many bytes are in holes. Those of an image are filled if they `fit` on the disk.
fn ends_sparse(name: &Path, holes: u64, fit: impl FnOnce(u64) -> bool) -> bool {
    let ending = name.extension().and_then(|ending| ending.to_str());
    let is_image = ending.is_some_and(|ending| IMAGES.iter().any(|image| image.eq_ignore_ascii_case(ending)));
    holes == 0 || is_image && fit(holes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_holes_and_what_windows_attaches_is_sparse_no_longer() {
        let never = |_: u64| -> bool { panic!("nothing has to be filled") };
        assert!(ends_sparse(Path::new("model.bin"), 0, never) && ends_sparse(Path::new("a.iso"), 0, never));
        assert!(!ends_sparse(Path::new("model.bin"), 65536, never), "its holes stay");
        for image in ["debian.iso", "a/b/C.VHDX", "x.img"] {
            assert!(ends_sparse(Path::new(image), 65536, |bytes| bytes == 65536), "{image}");
            assert!(!ends_sparse(Path::new(image), 65536, |_| false), "{image}, and the disk is full");
        }
        assert!(!ends_sparse(Path::new("iso"), 65536, never), "a name without an end");
    }

    #[cfg(windows)]
    #[test]
    fn a_file_without_holes_is_not_called_sparse() {
        use std::os::windows::fs::MetadataExt;
        use windows_sys::Win32::Storage::FileSystem::FILE_ATTRIBUTE_SPARSE_FILE;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        atomic_file::windows::set_sparse(file.as_file(), true);
        std::io::Write::write_all(&mut file, &[7; 1 << 20]).unwrap();
        // As every download before it is complete: some file systems give a file its space only then.
        file.as_file().sync_all().unwrap();
        end_sparse(file.as_file(), file.path());
        let attributes = file.as_file().metadata().unwrap().file_attributes();
        assert_eq!(attributes & FILE_ATTRIBUTE_SPARSE_FILE, 0);
    }
}
