//! Whether a file may be read. That is found out before anything is hashed, which takes long.

use std::io;
use std::path::Path;

use storage::error_at;

use crate::PeerError;
use crate::disk::made_when_read::open_at_once;

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
