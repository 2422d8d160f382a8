//! Files and folders that file managers and operating systems make by themselves: how a window looks, previews, waste baskets, and what a
//! drive or a NAS keeps for itself.
//!
//! They come and change whenever somebody looks at a folder, and nobody means them who shares one. So they are no part of a shared
//! folder, and of a downloaded one they are no difference. All that has to know what they are asks here.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Files of file managers.
const FILES: [&str; 7] = [
    // macOS: the Finder, and shared drives.
    ".DS_Store",
    ".apdisk",
    // Windows: the Explorer.
    "Thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    // KDE: Dolphin.
    ".directory",
];

/// Folders of systems, most of them at the top of a drive.
const FOLDERS: [&str; 19] = [
    // macOS, and file servers for it.
    ".fseventsd",
    ".Spotlight-V100",
    ".DocumentRevisions-V100",
    ".TemporaryItems",
    ".Trashes",
    ".AppleDouble",
    ".AppleDB",
    ".AppleDesktop",
    // macOS and Linux.
    ".Trash",
    // Windows.
    "System Volume Information",
    "$RECYCLE.BIN",
    // File systems of Linux.
    "lost+found",
    // Synology.
    "@eaDir",
    "#recycle",
    "#snapshot",
    // QNAP.
    ".@__thumb",
    "@Recycle",
    "@Recently-Snapshot",
    // NetApp, and others that serve NFS.
    ".snapshot",
];

/// The waste basket of a user at the top of a drive, with the user's number behind it.
const TRASH_OF_USER: &str = ".Trash-";

/// How file systems call a file that was removed while a program had it open, with digits behind it: NFS, FUSE, SMB on macOS.
const REMOVED: [&str; 3] = [".nfs", ".fuse_hidden", ".smbdelete"];
/// Hexadecimal digits behind these, at least.
const REMOVED_DIGITS: usize = 8;

/// How the file beside another one is called in which macOS keeps what a drive cannot (AppleDouble), and what it begins with.
const APPLE_DOUBLE: &str = "._";
const APPLE_DOUBLE_MAGIC: [u8; 4] = [0, 5, 0x16, 7];

/// Whether a folder of this name is one that a system makes by itself.
///
/// ```
/// use p2p_fileshare_storage::is_system_folder;
///
/// assert!(is_system_folder("lost+found".as_ref()) && is_system_folder(".Trash-1000".as_ref()));
/// assert!(!is_system_folder("photos".as_ref()));
/// ```
pub fn is_system_folder(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let of_user = name.strip_prefix(TRASH_OF_USER).unwrap_or_default();
    let is_trash = !of_user.is_empty() && of_user.bytes().all(|byte| byte.is_ascii_digit());
    is_trash || FOLDERS.iter().any(|folder| folder.eq_ignore_ascii_case(name))
}

/// Whether a file is one that a file manager or a system makes by itself. It is known by its name; of one that begins with `._`, the first
/// bytes are read.
pub fn is_system_file(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    let is_removed = |begin: &str| {
        let rest = name.strip_prefix(begin).unwrap_or_default();
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        digits >= REMOVED_DIGITS
    };
    FILES.iter().any(|file| file.eq_ignore_ascii_case(name))
        || REMOVED.into_iter().any(is_removed)
        || (name.starts_with(APPLE_DOUBLE) && is_apple_double(path))
}

fn is_apple_double(path: &Path) -> bool {
    let mut begin = [0; APPLE_DOUBLE_MAGIC.len()];
    // A pipe would wait for someone who writes to it.
    let is_file = fs::symlink_metadata(path).is_ok_and(|seen| seen.is_file());
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == APPLE_DOUBLE_MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systems_make_by_themselves_is_known_by_its_name() {
        for name in [".DS_Store", "thumbs.DB", "Desktop.ini", ".directory", ".nfs000000000123abcd00000001"] {
            assert!(is_system_file(Path::new("photos").join(name).as_path()), "{name}");
            assert!(!is_system_folder(name.as_ref()), "{name}");
        }
        for name in ["DS_Store", "desktop.ini.txt", ".nfs", ".nfs-exports", ".fuse_hidden", ".git", "lost+found"] {
            assert!(!is_system_file(Path::new(name)), "{name}");
        }
        for name in ["LOST+FOUND", "@eaDir", ".Trash-1000", "system volume information", "$RECYCLE.BIN"] {
            assert!(is_system_folder(name.as_ref()), "{name}");
        }
        for name in [".Trash-", ".Trash-of-me", "eaDir", "recycle", ".git"] {
            assert!(!is_system_folder(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn a_file_beside_another_one_is_of_macos_only_if_it_begins_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("._photo.jpg");
        assert!(!is_system_file(&path), "nothing is there");
        fs::write(&path, "of the user").unwrap();
        assert!(!is_system_file(&path));
        fs::write(&path, [&APPLE_DOUBLE_MAGIC[..], b"\0\x02\0\0Mac OS X"].concat()).unwrap();
        assert!(is_system_file(&path));
    }
}
