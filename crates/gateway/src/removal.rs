//! Removing folders, though a virus scanner may have a file of one open for a moment.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

/// Removes a folder with all that is in it. One that is gone is as good. May block for some seconds.
pub(crate) fn remove_all(folder: &Path) -> io::Result<()> {
    match atomic_file::patiently(|| std::fs::remove_dir_all(folder)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The same outside of the async runtime. What stays is said in the log.
pub(crate) async fn remove_outside(folder: PathBuf) {
    let removing = spawn_blocking(move || {
        if let Err(error) = remove_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "could not be removed");
        }
    });
    let _ = removing.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_goes_with_all_that_is_in_it_and_one_that_is_gone_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("folder");
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::write(folder.join("inner/file"), "bytes").unwrap();
        remove_outside(folder.clone()).await;
        assert!(!folder.exists());
        remove_all(&folder).unwrap();
        // What is no folder stays.
        std::fs::write(&folder, "bytes").unwrap();
        remove_all(&folder).unwrap_err();
    }
}
