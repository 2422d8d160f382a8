//! Opening what a path leads to in one call that follows no link and leaves no folder, which Linux has since 5.6.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

static UNKNOWN: AtomicBool = AtomicBool::new(false);

/// Opens what a path leads to from here; nothing if this system has no such call, or is to be asked step by step.
pub(super) fn open(folder: BorrowedFd<'_>, inside: &Path, flags: OFlags, mode: Mode) -> Option<Result<OwnedFd, Errno>> {
    if UNKNOWN.load(Ordering::Relaxed) {
        return None;
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // The call refuses a mode for what is not made.
    let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
    match openat2(folder, inside, flags, mode, resolve) {
        Err(Errno::NOSYS) => {
            UNKNOWN.store(true, Ordering::Relaxed);
            None
        }
        // A sandbox that forbids it, something that moves meanwhile, or a path that is too long in one piece.
        Err(Errno::PERM | Errno::AGAIN | Errno::INVAL | Errno::NAMETOOLONG) => None,
        result => Some(result),
    }
}
