//! Where a path really leads, also on drives of which Windows cannot say that.

use std::io;
use std::path::{Path, PathBuf};

/// ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, ERROR_UNRECOGNIZED_VOLUME: the file is there, and nobody knows what the system calls it.
const NO_NAME: [i32; 3] = [1, 50, 1005];

/// The path from the root, without links, `.` and `..`. Windows does not have it for drives that its mount manager does not know, such as those of
/// ImDisk: there it is the path from the root with its links.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// assert!(p2p_fileshare_atomic_file::real_path(&folder.path().join("."))?.is_absolute());
/// assert!(p2p_fileshare_atomic_file::real_path(&folder.path().join("absent")).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    real_path_by(|path| path.canonicalize(), path, cfg!(windows))
}

fn real_path_by(
    canonicalize: impl Fn(&Path) -> io::Result<PathBuf>,
    path: &Path,
    windows: bool,
) -> io::Result<PathBuf> {
    match canonicalize(path) {
        Err(error) if windows && error.raw_os_error().is_some_and(|code| NO_NAME.contains(&code)) => {
            std::path::absolute(path)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_windows_knows_no_name_of_a_drive_the_path_is_taken_as_it_is() {
        let path = Path::new("file");
        let fails = |code| move |_: &Path| Err(io::Error::from_raw_os_error(code));
        for code in NO_NAME {
            assert_eq!(real_path_by(fails(code), path, true).unwrap(), std::path::absolute(path).unwrap());
            // Elsewhere these numbers mean something else.
            assert!(real_path_by(fails(code), path, false).is_err());
        }
        assert!(real_path_by(fails(2), path, true).is_err(), "it is not there");
    }
}
