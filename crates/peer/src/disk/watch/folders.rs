//! What the system tells of changes in folders. How many folders it is asked about is bounded, since all programs of a user
//! share what it has for that.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Weak;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::desk::Desk;

/// Most folders that a node asks about.
const MOST_FOLDERS: usize = 1024;

/// Whether something was changed, and not only opened or read.
fn is_change(event: &notify::Result<Event>) -> bool {
    let Ok(event) = event else { return true };
    !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

/// How much of what happens in folders the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    All,
    /// Not what other machines do.
    Some,
    Nothing,
}

/// The folders that the system is asked about, each for as many contents as have files in it.
pub(super) struct Folders {
    desk: Weak<Desk>,
    watcher: Option<RecommendedWatcher>,
    folders: HashMap<PathBuf, usize>,
    /// Whether it was in vain once: then it is left alone.
    refused: bool,
}

impl Folders {
    pub(super) fn new(desk: Weak<Desk>) -> Self {
        Folders { desk, watcher: None, folders: HashMap::new(), refused: false }
    }

    /// Asks about all of these folders, or none of them.
    pub(super) fn add(&mut self, folders: &[PathBuf]) -> Coverage {
        let new = folders.iter().filter(|folder| !self.folders.contains_key(*folder)).count();
        if self.refused || self.folders.len() + new > MOST_FOLDERS {
            return Coverage::Nothing;
        }
        for (number, folder) in folders.iter().enumerate() {
            if let Err(error) = self.add_one(folder) {
                tracing::debug!(%error, folder = %folder.display(), "the system tells of no changes: files are looked at");
                self.refused = true;
                self.remove(&folders[..number]);
                return Coverage::Nothing;
            }
        }
        if folders.iter().all(|folder| is_local(folder)) { Coverage::All } else { Coverage::Some }
    }

    fn add_one(&mut self, folder: &Path) -> notify::Result<()> {
        if let Some(count) = self.folders.get_mut(folder) {
            *count += 1;
            return Ok(());
        }
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => {
                let desk = self.desk.clone();
                none.insert(notify::recommended_watcher(move |event| {
                    if let Some(desk) = desk.upgrade().filter(|_| is_change(&event)) {
                        desk.order(|orders| orders.signs.insert(event));
                    }
                })?)
            }
        };
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        self.folders.insert(folder.to_owned(), 1);
        Ok(())
    }

    pub(super) fn remove(&mut self, folders: &[PathBuf]) {
        for folder in folders {
            let Some(count) = self.folders.get_mut(folder) else { continue };
            *count -= 1;
            if *count == 0 {
                self.folders.remove(folder);
                // It may be gone, and was forgotten with that.
                let _ = self.watcher.as_mut().map(|watcher| watcher.unwatch(folder));
            }
        }
    }
}

/// Whether nobody but this machine writes to the file system of a folder, as far as its kind says.
#[cfg(target_os = "linux")]
fn is_local(folder: &Path) -> bool {
    /// NFS, SMB (three of them), FUSE, 9P, Ceph, AFS, Lustre, GPFS, BeeGFS, OCFS2, GFS2, Coda, and what virtual machines share.
    const SHARED: [u64; 15] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x0102_1997,
        0x00c3_6400,
        0x5346_414f,
        0x0bd0_0bd0,
        0x4750_4653,
        0x1983_0326,
        0x7461_636f,
        0x0116_1970,
        0x7375_7245,
        0x786f_4256,
    ];
    // The kernel's constants have 32 bits, whatever type they come in.
    rustix::fs::statfs(folder).is_ok_and(|found| !SHARED.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

/// On macOS the system says it of every file system. It tells of nothing that others write to one on the network.
#[cfg(target_vendor = "apple")]
fn is_local(folder: &Path) -> bool {
    /// MNT_LOCAL.
    const LOCAL: u32 = 0x1000;
    rustix::fs::statfs(folder).is_ok_and(|found| found.f_flags & LOCAL != 0)
}

/// Windows tells of what others write to a drive on the network, too.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn is_local(_: &Path) -> bool {
    true
}
