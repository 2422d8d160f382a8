//! What earlier runs have left in a folder: what they kept there, how large it is, and when it was used.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::blobs::folder;

/// Where the times of last use are saved.
pub(super) const NOTES: &str = ".kept";
/// Most bytes of that.
const LONGEST: u64 = 16 << 20;
/// What folders of origins' files are in begins so.
const ORIGINS: &str = "origins-";

/// The folders of contents and of origins' files. What another gateway has is its own.
pub(super) fn found_in(root: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
    };
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for folder in folders(root) {
        let called = name(&folder);
        if called.starts_with(ORIGINS) {
            if !folder::is_taken(&folder) {
                found.extend(folders(&folder).filter(|folder| name(folder) != folder::ANSWERS));
            }
        } else if called.len() == 16 && called.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.push(folder);
        }
    }
    found
}

/// Bytes of all files below a folder.
pub(super) fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

pub(super) fn read_notes(root: &Path) -> HashMap<PathBuf, SystemTime> {
    let path = root.join(NOTES);
    let is_fine = path.metadata().is_ok_and(|found| found.is_file() && found.len() <= LONGEST);
    let read = || atomic_file::open_patiently(|| fs::read_to_string(&path)).unwrap_or_default();
    let text = if is_fine { read() } else { String::new() };
    let line = |line: &str| {
        let (used, folder) = line.split_once(' ')?;
        Some((root.join(folder), UNIX_EPOCH.checked_add(Duration::from_secs(used.parse().ok()?))?))
    };
    text.lines().filter_map(line).collect()
}
