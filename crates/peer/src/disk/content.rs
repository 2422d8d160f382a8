//! One content on this peer's disk: where its pieces are read and written, and how they survive.
//!
//! A store is either a file or folder that is shared where it lies, or a download that is being built beside its target. What
//! is verified is written at once, and claimed in the journal only after a sync (`storage::Checkpoint`).

mod finish;
mod reading;
mod writing;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use protocol::{ContentId, FileEntry, Manifest, PieceSet};
use storage::{Checkpoint, Remote, Storage, StorageError};
use tokio::sync::Notify;

use crate::disk::file_state::WatchedFile;
use crate::disk::left_over::LeftOver;
use crate::disk::names::local::LocalNames;
use crate::disk::names::policy::NameReport;
use crate::lock::{lock, read};
pub(crate) use finish::Building;
pub(crate) use writing::stored_ranges;

/// A content that is open.
pub(crate) struct ContentStore {
    manifest: Arc<Manifest>,
    storage: RwLock<Arc<dyn Storage>>,
    /// Held while a download gets its name: a reader that finds nothing by the old one waits for the new one.
    naming: Mutex<()>,
    /// Claims what is durable; none for what is shared where it lies, or kept in memory.
    checkpoint: Option<Checkpoint>,
    /// Where a download is built, until it is finished.
    building: Mutex<Option<Building>>,
    /// Told when something waits to be claimed, and when so much waits that it should be claimed at once.
    waiting: Notify,
    full: Notify,
    /// Whether a download is durable and has its name: then nothing is left to claim.
    finished: AtomicBool,
    sent: AtomicU64,
    path: PathBuf,
    /// The files that are wanted, or shared.
    table: FileTable,
    /// Pieces that were verified as they were read, from this storage or right before it was opened: it notices when a file is changed.
    verified: Mutex<PieceSet>,
    /// Set once the disk was full and unused reserved space was released; nothing is written after that.
    given_back: RwLock<Option<StorageError>>,
    names: LocalNames,
    name_report: NameReport,
    /// Files that somebody else may have changed while they are built: nothing of them is given away unverified.
    doubtful: RwLock<BTreeSet<usize>>,
    /// What the files were when they were known to be right; until that is asked for.
    watched: Mutex<Vec<WatchedFile>>,
    /// What lies in a shared folder and is no part of the content.
    left_out: u32,
    /// Where the files are, if they are not on this machine.
    remote: Option<Arc<dyn Remote>>,
    /// Whether what is read of a large file is a slice of a map, once that was looked at.
    mapped: OnceLock<bool>,
}

/// The files of a content that are wanted or shared, one after another, as readers see them.
#[derive(Debug, Clone)]
pub(crate) struct FileTable {
    /// Their numbers in the manifest.
    pub(crate) files: Arc<[usize]>,
    /// Where each of them ends.
    pub(crate) ends: Arc<[u64]>,
}

impl FileTable {
    fn new(manifest: &Manifest, wanted: Vec<usize>) -> Self {
        let sizes = wanted.iter().map(|&file| manifest.header().files[file].size);
        let ends = sizes.scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        FileTable { ends: ends.collect(), files: wanted.into() }
    }
}

/// A store, and the pieces that are on it.
pub(crate) struct Opened {
    pub(crate) store: Arc<ContentStore>,
    pub(crate) have: PieceSet,
    /// The pieces that are to be on it.
    pub(crate) goal: PieceSet,
    /// Whether what lacks is better written in ascending order.
    pub(crate) in_order: bool,
    /// What of an earlier download was of no use, if there was something.
    pub(crate) left_over: Option<LeftOver>,
}

impl ContentStore {
    /// A content of which these files are where they stay, at `path`.
    pub(crate) fn new(manifest: Arc<Manifest>, storage: Arc<dyn Storage>, path: PathBuf, wanted: Vec<usize>) -> Self {
        ContentStore {
            storage: RwLock::new(storage),
            naming: Mutex::default(),
            checkpoint: None,
            building: Mutex::new(None),
            waiting: Notify::new(),
            full: Notify::new(),
            finished: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            path,
            table: FileTable::new(&manifest, wanted),
            verified: Mutex::new(PieceSet::empty(manifest.geometry().pieces())),
            manifest,
            given_back: RwLock::new(None),
            names: LocalNames::default(),
            name_report: NameReport::default(),
            doubtful: RwLock::default(),
            watched: Mutex::default(),
            left_out: 0,
            remote: None,
            mapped: OnceLock::new(),
        }
    }

    /// A content of which all files are somewhere else.
    pub(crate) fn of_remote(manifest: Arc<Manifest>, remote: Arc<dyn Remote>, path: PathBuf) -> Self {
        let all = (0..manifest.header().files.len()).collect();
        ContentStore { remote: Some(remote.clone()), ..ContentStore::new(manifest, remote, path, all) }
    }

    /// The storage that is to be waited for, if the files are not on this machine.
    pub(crate) fn remote(&self) -> Option<&Arc<dyn Remote>> {
        self.remote.as_ref()
    }

    /// The names that it and its files have here, and what was done about them.
    pub(crate) fn named(self, names: LocalNames, name_report: NameReport) -> Self {
        ContentStore { names, name_report, ..self }
    }

    /// A download that is not complete yet.
    pub(crate) fn built_by(self, building: Building, checkpoint: Option<Checkpoint>) -> Self {
        ContentStore { building: Mutex::new(Some(building)), checkpoint, ..self }
    }

    /// Files that are shared where they lie, beside so much that is no part of the content.
    pub(crate) fn shared_from(self, files: Vec<WatchedFile>, left_out: u32) -> Self {
        ContentStore { watched: Mutex::new(files), left_out, ..self }
    }

    /// Every piece was read and digested right before the files were opened, and they are as they were then.
    pub(crate) fn all_verified(self) -> Self {
        let pieces = self.manifest.geometry().pieces();
        ContentStore { verified: Mutex::new(PieceSet::full(pieces)), ..self }
    }

    pub(crate) fn left_out(&self) -> u32 {
        self.left_out
    }

    /// The files to watch from now on, once they are where they stay.
    pub(crate) fn take_watched(&self) -> Vec<WatchedFile> {
        std::mem::take(&mut *lock(&self.watched))
    }

    pub(crate) fn id(&self) -> ContentId {
        self.manifest.id()
    }

    /// Where the files that are wanted are, one after the other.
    pub(crate) fn table(&self) -> &FileTable {
        &self.table
    }

    pub(crate) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// What was done about doubtful names.
    pub(crate) fn name_report(&self) -> &NameReport {
        &self.name_report
    }

    /// Bytes of the files that are wanted, or shared.
    pub(crate) fn wanted(&self) -> u64 {
        self.table.ends.last().copied().unwrap_or(0)
    }

    /// How many files they are.
    pub(crate) fn wanted_count(&self) -> usize {
        self.table.files.len()
    }

    /// Paths in the content of those files that may be executed here.
    pub(crate) fn executable(&self) -> Vec<String> {
        let files = self.wanted_files().filter(|file| cfg!(unix) && file.executable);
        files.map(|file| file.path.clone()).collect()
    }

    fn wanted_files(&self) -> impl Iterator<Item = &FileEntry> {
        self.table.files.iter().map(|&file| &self.manifest.header().files[file])
    }

    fn storage(&self) -> Arc<dyn Storage> {
        read(&self.storage).clone()
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
