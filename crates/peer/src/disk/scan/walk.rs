//! The walk through a folder that is to be shared: what of it is content, and why the rest is left out.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use atomic_file::is_gone;
use protocol::MAX_FILES;
use storage::{error_at, is_system_file, is_system_folder};

use super::readable::must_be_readable;
use super::{Scan, ScanOptions, ScannedFile, safe_name, unfit};
use crate::PeerError;
use crate::disk::left_out::{LeftOut, LeftOutReason};
use crate::disk::made_when_read::is_unsized;
use crate::disk::own_state::{Candidate, OwnState};

/// Folders in each other, more than any manifest has: what lies deeper is not walked to.
const DEEPEST: usize = 1000;

/// A walk through a folder.
struct Walk<'a> {
    scan: Scan,
    rules: Option<Rules<'a>>,
    /// The folder that is shared, as it was named and as it is.
    root: &'a Path,
    real_root: PathBuf,
    /// Where the files of a cache of models lie that this is a part of.
    blobs: Option<PathBuf>,
    /// Canonical paths of the folders that the walk is in.
    within: Vec<PathBuf>,
}

/// What is part of a content that is to be shared.
pub(super) struct Rules<'a> {
    pub(super) own: OwnState,
    pub(super) options: &'a ScanOptions,
}

impl Scan {
    /// Walks through all that is in it; what the rules leave out, if there are any, and links are noted.
    pub(super) fn walk_all(self, root: &Path, real_root: PathBuf, rules: Option<Rules<'_>>) -> Result<Self, PeerError> {
        let blobs = blobs_of(&real_root);
        let within = vec![real_root.clone()];
        let mut walk = Walk { scan: self, rules, root, real_root: real_root.clone(), blobs, within };
        walk.walk(root, &real_root, "")?;
        Ok(walk.scan)
    }
}

impl Walk<'_> {
    fn walk(&mut self, folder: &Path, real: &Path, inside: &str) -> Result<(), PeerError> {
        if self.within.len() > DEEPEST {
            return Err(unfit(folder, "its folders are too deep in each other"));
        }
        let read = || -> io::Result<Vec<(PathBuf, FileType)>> {
            let entries =
                fs::read_dir(folder)?.map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))));
            // An entry may go while the folder is read.
            entries.filter(|entry| !entry.as_ref().is_err_and(is_gone)).collect()
        };
        let mut entries = match read() {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) && !inside.is_empty() => {
                self.leave_out(folder, LeftOutReason::Vanished);
                return Ok(());
            }
            Err(error) => return Err(error_at(folder, error).into()),
        };
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        let before = self.scan.files.len() + self.scan.empty_folders.len();
        let left_out_before = self.scan.left_out.len();
        for (at, kind) in entries {
            self.entry(&at, kind, real, inside)?;
            if self.scan.files.len() > MAX_FILES || self.scan.empty_folders.len() > MAX_FILES {
                return Err(unfit(
                    folder,
                    &format!("a content may have at most {MAX_FILES} files: share its parts, or an archive"),
                ));
            }
        }
        if self.scan.files.len() + self.scan.empty_folders.len() == before && !inside.is_empty() {
            self.nothing_in(folder, real, inside, left_out_before);
        }
        Ok(())
    }

    /// A folder of which nothing is content: an empty one, or one of the programs' own.
    fn nothing_in(&mut self, folder: &Path, real: &Path, inside: &str, left_out_before: usize) {
        let left_out = &self.scan.left_out[left_out_before..];
        let own = left_out.iter().map(|left_out| left_out.reason).filter(|reason| reason.is_own()).min();
        let all_own = left_out.iter().all(|left_out| left_out.reason.is_own());
        let is_used = self.rules.as_ref().is_some_and(|rules| rules.own.is_used(real));
        match own.or(is_used.then_some(LeftOutReason::OwnState)) {
            Some(reason) => {
                // The folder stands for all that is in it.
                if all_own {
                    self.scan.left_out.truncate(left_out_before);
                    self.leave_out(folder, reason);
                }
            }
            None => self.scan.empty_folders.push(inside.to_owned()),
        }
    }

    fn entry(&mut self, at: &Path, kind: FileType, real_folder: &Path, inside: &str) -> Result<(), PeerError> {
        let name = at.file_name().unwrap_or_default();
        let is_of_system = (kind.is_dir() && is_system_folder(name)) || (kind.is_file() && is_system_file(at));
        // Nothing more is asked of it: not everyone may look into `lost+found`.
        if is_of_system {
            if self.rules.is_some() {
                self.leave_out(at, LeftOutReason::OfSystem);
            }
            return Ok(());
        }
        let found = if kind.is_symlink() { self.follow(at) } else { Ok((at.to_owned(), real_folder.join(name))) };
        let (target, real) = match found {
            Ok(found) => found,
            Err(reason) => {
                self.leave_out(at, reason);
                return Ok(());
            }
        };
        let metadata = match fs::symlink_metadata(&target) {
            Ok(metadata) => metadata,
            Err(error) if is_gone(&error) => {
                self.leave_out(at, LeftOutReason::Vanished);
                return Ok(());
            }
            Err(error) => return Err(error_at(at, error).into()),
        };
        let reason = match &metadata {
            metadata if !metadata.is_file() && !metadata.is_dir() => Some(LeftOutReason::NotAFile),
            metadata if is_unsized(&target, metadata) => Some(LeftOutReason::Unsized),
            metadata => {
                let candidate = Candidate { at: &target, real: &real, metadata };
                let own = self.rules.as_ref().map(|rules| rules.own.why_inside(&candidate));
                own.transpose().map_err(|source| error_at(at, source))?.flatten()
            }
        };
        if let Some(reason) = reason {
            self.leave_out(at, reason);
            return Ok(());
        }
        if self.rules.is_some() && metadata.is_file() {
            must_be_readable(&target)?;
        }
        let name = safe_name(at, name)?;
        let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
        if metadata.is_dir() {
            self.within.push(real.clone());
            self.walk(&target, &real, &path)?;
            self.within.pop();
        } else {
            self.scan.files.push(ScannedFile::new(path, target, metadata));
        }
        Ok(())
    }

    /// Where a link leads, and what the canonical path of that is; or why it is not followed.
    fn follow(&self, link: &Path) -> Result<(PathBuf, PathBuf), LeftOutReason> {
        let Some(rules) = &self.rules else { return Err(LeftOutReason::LinkOutside) };
        let real = link.canonicalize().map_err(|_| LeftOutReason::LinkToNothing)?;
        if real.is_dir() && self.within.contains(&real) {
            return Err(LeftOutReason::LinkLoop);
        }
        if let Ok(rest) = real.strip_prefix(&self.real_root) {
            // From the folder that is shared on there is no link any more.
            return Ok((self.root.join(rest), real));
        }
        let in_cache = self.blobs.as_ref().is_some_and(|blobs| real.starts_with(blobs));
        let follows = in_cache || rules.options.follow_links;
        if follows { Ok((dunce::simplified(&real).to_owned(), real)) } else { Err(LeftOutReason::LinkOutside) }
    }

    fn leave_out(&mut self, path: &Path, reason: LeftOutReason) {
        self.scan.left_out.push(LeftOut { path: path.to_owned(), reason });
    }
}

/// Where the files lie that a snapshot of a model links to, in a cache as Hugging Face's: `MODEL/snapshots/REVISION/…` holds
/// nothing but links to `MODEL/blobs/…`, so that a snapshot and its blobs are one thing that is shared.
fn blobs_of(real: &Path) -> Option<PathBuf> {
    let snapshots = real.ancestors().skip(1).find(|folder| folder.file_name() == Some("snapshots".as_ref()))?;
    let blobs = snapshots.with_file_name("blobs");
    let is_folder = fs::symlink_metadata(&blobs).is_ok_and(|blobs| blobs.is_dir());
    is_folder.then_some(blobs)
}
