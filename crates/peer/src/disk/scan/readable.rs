//! Whether a file has what it says and may be read. That is found out before anything is hashed, which takes long.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::Path;

use storage::error_at;

use crate::PeerError;

/// Whether a file says to be empty and has bytes all the same, as in `/proc`: what would arrive is an empty one. One that is being
/// written to now is looked at again anyway.
pub(super) fn is_unsized(at: &Path, metadata: &Metadata) -> bool {
    if !metadata.is_file() || metadata.len() > 0 {
        return false;
    }
    let read = |mut file: fs::File| Ok(file.read(&mut [0])? > 0 && file.metadata()?.len() == 0);
    open_at_once(at).and_then(read).unwrap_or(false)
}

/// Fails if a file may not be read: that is said before all the others are hashed.
pub(super) fn must_be_readable(at: &Path) -> Result<(), PeerError> {
    if is_readable(at) {
        return Ok(());
    }
    // A process may have rights that its user has not.
    match open_at_once(at) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error_at(at, error).into()),
        _ => Ok(()),
    }
}

/// Opens a file to read it. Some wait for what they are to say: this does not.
pub(super) fn open_at_once(at: &Path) -> io::Result<fs::File> {
    let mut options = fs::File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    options.open(at)
}

/// Whether the user may read a file: cheaper than to open it.
#[cfg(unix)]
fn is_readable(at: &Path) -> bool {
    rustix::fs::access(at, rustix::fs::Access::READ_OK).is_ok()
}

/// Files that may not be read are rare there, and to open each takes long: it shows when they are hashed.
#[cfg(not(unix))]
fn is_readable(_: &Path) -> bool {
    true
}
