//! One content on this peer's disk: where its pieces are read and written, and how they survive.
//!
//! A store is either a file or folder that is shared where it lies, or a download that is being built beside its target. What
//! is verified is written at once, and claimed in the journal only after a sync (`storage::Checkpoint`).

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{Block, ContentId, FileEntry, Manifest, PieceSet, Stretch};
use storage::{Backend, Checkpoint, Output, Remote, Storage, StorageError, has_hole, is_system_file};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::disk::doubt::{Verified, verify_doubtful};
use crate::disk::file_state::{FileState, WatchedFile, removed_or};
use crate::disk::left_over::LeftOver;
use crate::disk::names::local::LocalNames;
use crate::disk::names::policy::NameReport;
use crate::disk::settled::{kept_on_disk, settled};
use crate::error::PeerError;
use crate::lock::{lock, read, write};
use crate::stats::{WaitKind, WaitStats};

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

/// What a download needs until it is finished.
pub(crate) struct Building {
    pub(crate) output: Output,
    /// The files that are built.
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) backend: Arc<dyn Backend>,
    /// Which of the content's files they are.
    pub(crate) built: Vec<usize>,
    /// All that will be there then.
    pub(crate) wanted: Vec<usize>,
    /// What lies in place already.
    pub(crate) in_place: Option<Verified>,
    /// Whether everything is read back before it is called complete.
    pub(crate) verify_on_disk: bool,
    /// Whether files are closed, and nothing is read, while they get their names: Windows renames and replaces nothing that is
    /// open or mapped, be it to be read only. Elsewhere what is being given to others meanwhile is read on.
    pub(crate) closes_files: bool,
}

/// A store, and the pieces that are on it.
pub(crate) struct Opened {
    pub(crate) store: Arc<ContentStore>,
    pub(crate) have: PieceSet,
    /// The pieces that are to be on it.
    pub(crate) goal: PieceSet,
    /// What of an earlier download was of no use, if there was something.
    pub(crate) left_over: Option<LeftOver>,
}

/// What is verified is claimed at most this long after.
const COMMIT_AFTER: Duration = Duration::from_secs(1);

/// While they are built, contents with more files than this are not checked again and again for changes by others.
const WATCHED: usize = 1024;

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

    /// Why it cannot be given to others as it was, given what its storage says. Looks at a file, and blocks.
    pub(crate) fn why_not_given(&self, error: StorageError) -> StorageError {
        // A remote content has no path here, and the storage of a download reports its own changes.
        if self.remote.is_some() || self.is_being_built() { error } else { removed_or(error) }
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

    /// Notes what the files of a complete download are, where they are read from. Those that the system here may write to by itself are
    /// not looked at: of them alone it is seen when somebody asks for them.
    fn note_files(&self) {
        let look = |&file: &usize| {
            let at = self.names.spec(&self.manifest, &self.path, file).path;
            if is_system_file(&at) {
                return None;
            }
            let seen = std::fs::metadata(&at).ok()?;
            Some(WatchedFile::new(file, &at, FileState::of(&seen)))
        };
        *lock(&self.watched) = self.table.files.iter().filter_map(look).collect();
    }

    /// Whether a file can still be read as it was when it was opened.
    pub(crate) fn look_at(&self, file: usize) -> Result<(), StorageError> {
        let size = self.manifest.header().files[file].size;
        self.storage().read(file, 0, size.min(1) as usize).map(drop)
    }

    pub(crate) fn id(&self) -> ContentId {
        self.manifest.id()
    }

    /// Where this byte of the files that are wanted is, one file after the other: the piece, those of its file from there on,
    /// and how many of the piece's bytes come before it. Nothing behind the end.
    pub(crate) fn locate(&self, offset: u64) -> Option<(Range<u32>, usize)> {
        let FileTable { files, ends } = &self.table;
        let at = ends.partition_point(|&end| end <= offset);
        let &file = files.get(at)?;
        let begin = if at == 0 { 0 } else { ends[at - 1] };
        let (geometry, offset) = (self.manifest.geometry(), offset - begin);
        let piece_size = u64::from(geometry.piece_size());
        let pieces = geometry.pieces_of(file);
        let first = pieces.start + (offset / piece_size) as u32;
        Some((first..pieces.end, (offset % piece_size) as usize))
    }

    /// Where the files that are wanted are, one after the other.
    pub(crate) fn table(&self) -> &FileTable {
        &self.table
    }

    pub(crate) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The bytes of pieces that are stored, for others. Blocks while they come from the disk.
    pub(crate) fn load(&self, block: &Block) -> Result<Bytes, StorageError> {
        if self.is_doubtful(block) { self.load_verified(block) } else { self.load_as_is(block) }
    }

    /// Whether somebody else may have changed a file of it.
    fn is_doubtful(&self, block: &Block) -> bool {
        let doubtful = read(&self.doubtful);
        !doubtful.is_empty() && block.stretches.iter().any(|stretch| doubtful.contains(&stretch.file))
    }

    /// Some of the bytes of a block, for no longer than they are needed.
    pub(crate) fn load_part(&self, block: &Block, bytes: Range<usize>) -> Result<Bytes, StorageError> {
        let part = block.part(bytes.clone());
        if self.is_doubtful(block) {
            // Only whole pieces can be verified.
            return self.load_verified(block).map(|all| Bytes::copy_from_slice(&all[bytes]));
        }
        self.load_as_is(&part)
    }

    /// Whether what is read of large files is a slice of a map, if that is known.
    pub(crate) fn known_to_be_mapped(&self) -> Option<bool> {
        self.mapped.get().copied()
    }

    /// The same, found out by a byte of a large file: who reads it twice has two copies of it, or one place in a map. Blocks.
    pub(crate) fn is_mapped(&self, stretch: &Stretch) -> bool {
        *self.mapped.get_or_init(|| {
            let byte = || self.read(&Stretch { len: 1, ..*stretch });
            matches!((byte(), byte()), (Ok(one), Ok(other)) if one.as_ptr() == other.as_ptr())
        })
    }

    /// The bytes of pieces of a content that is somewhere else.
    pub(crate) async fn fetch(remote: &dyn Remote, block: &Block) -> Result<Bytes, StorageError> {
        let mut fetched = Vec::with_capacity(block.stretches.len());
        for stretch in &block.stretches {
            fetched.push(remote.fetch(stretch.file, stretch.offset, stretch.len).await?);
        }
        match &fetched[..] {
            [one] => Ok(one.clone()),
            several => Ok(several.concat().into()),
        }
    }

    /// The same, verified: for what is read once and never verified by anyone else.
    pub(crate) fn load_verified(&self, block: &Block) -> Result<Bytes, StorageError> {
        let bytes = self.load_as_is(block)?;
        self.verify_block(block, &bytes)?;
        Ok(bytes)
    }

    /// What a reader gets of a content that is somewhere else, verified. No thread waits for it: those that answers need, as for names and
    /// for the cache, would run out.
    pub(crate) async fn fetch_for_reader(
        self: Arc<Self>,
        remote: Arc<dyn Remote>,
        block: Block,
    ) -> Result<Bytes, StorageError> {
        let bytes = ContentStore::fetch(&*remote, &block).await?;
        let verifying = tokio::task::spawn_blocking(move || self.verify_block(&block, &bytes).map(|()| bytes));
        verifying.await.unwrap_or_else(|_| Err(StorageError::Unreachable("it ends".to_owned())))
    }

    fn verify_block(&self, block: &Block, bytes: &[u8]) -> Result<(), StorageError> {
        let (size, mut rest) = (self.manifest.geometry().piece_size() as usize, bytes);
        for stretch in &block.stretches {
            let (of_file, behind) = rest.split_at(stretch.len);
            rest = behind;
            let mut pieces = stretch.run.pieces().zip(of_file.chunks(size));
            if !pieces.all(|(piece, bytes)| self.manifest.verify(piece, bytes)) {
                return Err(StorageError::Changed(self.names.spec(&self.manifest, &self.path, stretch.file).path));
            }
        }
        Ok(())
    }

    /// The same for a reader. Pieces of files that stay where they are are verified once: the storage notices when such a file is
    /// changed, and reads it no more.
    pub(crate) fn load_for_reader(&self, block: &Block) -> Result<Bytes, StorageError> {
        let pieces = || block.stretches.iter().flat_map(|stretch| stretch.run.pieces());
        let is_settled = read(&self.doubtful).is_empty() && !self.is_being_built();
        if is_settled {
            let known = lock(&self.verified);
            if pieces().all(|piece| known.contains(piece)) {
                drop(known);
                return self.load_as_is(block);
            }
        }
        let bytes = self.load_verified(block)?;
        if is_settled {
            let mut known = lock(&self.verified);
            pieces().for_each(|piece| {
                known.insert(piece);
            });
        }
        Ok(bytes)
    }

    /// The bytes of pieces that are stored: of one file as the storage has them, of several put together.
    pub(crate) fn load_as_is(&self, block: &Block) -> Result<Bytes, StorageError> {
        if let [stretch] = &block.stretches[..] {
            return self.read(stretch);
        }
        let mut bytes = Vec::with_capacity(block.len);
        for stretch in &block.stretches {
            bytes.extend_from_slice(&self.read(stretch)?);
        }
        Ok(bytes.into())
    }

    /// Reads where the file is now. A download may get its name right before the read, and then its old one leads nowhere.
    fn read(&self, stretch: &Stretch) -> Result<Bytes, StorageError> {
        let before = self.storage();
        let read = |storage: &Arc<dyn Storage>| storage.read(stretch.file, stretch.offset, stretch.len);
        read(&before).or_else(|error| {
            drop(lock(&self.naming));
            let now = self.storage();
            if Arc::ptr_eq(&before, &now) { Err(error) } else { read(&now) }
        })
    }

    /// Verifies pieces in memory and writes those that are right, as few writes as there are files and gaps. Says of each
    /// whether it was. Where there is no room for them, what is reserved and holds nothing is given back. Blocks.
    pub(crate) fn write_verified(
        &self,
        block: &Block,
        bytes: &[u8],
        waits: &WaitStats,
    ) -> Result<Vec<(u32, bool)>, StorageError> {
        self.store_stretches(block, bytes, waits).inspect_err(|error| self.keep_verified(error))
    }

    fn store_stretches(
        &self,
        block: &Block,
        bytes: &[u8],
        waits: &WaitStats,
    ) -> Result<Vec<(u32, bool)>, StorageError> {
        let given_back = read(&self.given_back);
        if let Some(error) = given_back.as_ref().and_then(StorageError::no_room) {
            return Err(error);
        }
        let (mut verdicts, mut rest) = (Vec::new(), bytes);
        for &stretch in &block.stretches {
            let (bytes, behind) = rest.split_at(stretch.len);
            verdicts.extend(self.store_stretch(stretch, bytes, waits)?);
            rest = behind;
        }
        Ok(verdicts)
    }

    /// The disk has failed: claims what is verified, for the next run. If room is what is missing, what was reserved and holds
    /// no verified piece is given back before.
    fn keep_verified(&self, error: &StorageError) {
        // Writers are waited for: what they have verified counts, too.
        let mut given_back = write(&self.given_back);
        let Some(no_room) = error.no_room() else {
            // If that fails, too, nothing is claimed that is not there.
            let _ = self.sync();
            return;
        };
        // Nobody writes after that.
        if given_back.is_some() {
            return;
        }
        *given_back = Some(no_room);
        if let Some(Building { output, built, .. }) = &*lock(&self.building) {
            let none = || PieceSet::empty(self.manifest.geometry().pieces());
            let stored = self.checkpoint.as_ref().map_or_else(none, Checkpoint::stored_pieces);
            if let Err(error) = output.cut_back(|number| stored_ranges(&self.manifest, built[number], &stored)) {
                tracing::warn!(%error, "reserved space could not be released");
            }
        }
        // The journal has room now, if anything is to have it.
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "the last verified pieces could not be recorded in the journal");
        }
    }

    fn store_stretch(
        &self,
        stretch: Stretch,
        bytes: &[u8],
        waits: &WaitStats,
    ) -> Result<Vec<(u32, bool)>, StorageError> {
        let size = self.manifest.geometry().piece_size() as usize;
        let pieces = stretch.run.pieces().zip(bytes.chunks(size));
        let began = Instant::now();
        let verdicts: Vec<_> = pieces.map(|(piece, bytes)| (piece, self.manifest.verify(piece, bytes))).collect();
        waits.add(WaitKind::Verifying, began);
        let began = Instant::now();
        let mut at = 0;
        for group in verdicts.chunk_by(|(_, one), (_, other)| one == other) {
            let len = (group.len() * size).min(bytes.len() - at);
            if group[0].1 {
                self.write(stretch, at, &bytes[at..at + len], group)?;
            }
            at += len;
        }
        waits.add(WaitKind::Writing, began);
        Ok(verdicts)
    }

    fn write(&self, stretch: Stretch, at: usize, bytes: &[u8], group: &[(u32, bool)]) -> Result<(), StorageError> {
        self.storage().write(stretch.file, stretch.offset + at as u64, bytes)?;
        if let Some(checkpoint) = &self.checkpoint {
            self.waiting.notify_one();
            if checkpoint.stored(group.iter().map(|&(piece, _)| piece), bytes.len() as u64) {
                self.full.notify_one();
            }
        }
        Ok(())
    }

    /// Claims what is stored, again and again, until the disk fails. To be run beside a download and then dropped.
    pub(crate) async fn run_checkpoints(self: Arc<Self>) -> StorageError {
        loop {
            self.waiting.notified().await;
            let _ = timeout(COMMIT_AFTER, self.full.notified()).await;
            let store = self.clone();
            let claim =
                move || store.sync().and_then(|()| store.check_disk()).inspect_err(|error| store.keep_verified(error));
            if let Ok(Err(error)) = tokio::task::spawn_blocking(claim).await {
                return error;
            }
        }
    }

    /// Makes holes again of zeros that are stored: what this run has reserved fills them. Blocks.
    pub(crate) fn dig(&self, block: &Block, bytes: &[u8]) -> Result<(), StorageError> {
        let mut rest = bytes;
        for stretch in &block.stretches {
            let (of_file, behind) = rest.split_at(stretch.len);
            rest = behind;
            if has_hole(of_file, stretch.offset) {
                self.storage().write(stretch.file, stretch.offset, of_file)?;
            }
        }
        Ok(())
    }

    /// Claims pieces that were found and verified. Blocks.
    pub(crate) fn claim(&self, pieces: &PieceSet) -> Result<(), StorageError> {
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.stored(pieces.iter(), 0);
        }
        self.sync()
    }

    /// Makes what was verified durable and claims it in the journal. Blocks.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.checkpoint.as_ref().map_or(Ok(()), Checkpoint::commit)
    }

    /// Looks whether as much is free on the disk as is to be kept, while it is built, and whether somebody else writes to it.
    fn check_disk(&self) -> Result<(), StorageError> {
        let building = lock(&self.building);
        let Some(Building { output, storage, built, .. }) = &*building else { return Ok(()) };
        output.check_room()?;
        // Of many files a look at each is too much to be done again and again.
        if built.len() <= WATCHED {
            let changed = storage.changed_by_others()?;
            write(&self.doubtful).extend(changed.into_iter().map(|file| built[file]));
        }
        Ok(())
    }

    /// Claims what is stored, and lets go of the output: someone else, or the next start, may go on with it, even if
    /// a task that was just aborted still holds this store. Blocks.
    pub(crate) fn close(&self) -> Result<(), StorageError> {
        let result = if self.finished.load(Ordering::Relaxed) { Ok(()) } else { self.sync() };
        drop(lock(&self.building).take());
        result
    }

    /// Whether it is a download that is not complete yet.
    pub(crate) fn is_being_built(&self) -> bool {
        lock(&self.building).is_some()
    }

    /// Makes a complete download durable and gives it its name. Blocks.
    pub(crate) fn finish(&self) -> Result<PathBuf, PeerError> {
        let building = lock(&self.building).take();
        let on_disk = building.as_ref().is_none_or(|building| building.backend.persistent());
        if let Some(Building { output, storage, backend, built, wanted, in_place, verify_on_disk, closes_files }) =
            building
        {
            output.check_place().inspect_err(|_| drop(self.sync()))?;
            let written = match self.checkpoint {
                Some(_) => storage.flush().map(|()| storage),
                // If that fails, all of it is in memory still, and nothing of it would be believed.
                None => output.write_out(&*storage).inspect_err(|_| drop(output.cut_back(|_| Vec::new()))),
            }?;
            let doubtful = std::mem::take(&mut *write(&self.doubtful));
            let built = built.iter().copied().zip(output.specs());
            let mut known: Vec<_> =
                built.clone().filter(|(file, _)| verify_on_disk || doubtful.contains(file)).collect();
            if verify_on_disk {
                known.extend(in_place.iter().flat_map(|verified| verified.files.iter().flatten().cloned()));
            }
            let specs = built.map(Some).collect();
            let verified: Vec<_> = in_place.into_iter().chain([Verified { storage: written, files: specs }]).collect();
            if verify_on_disk {
                output.forget_cached();
            }
            verify_doubtful(&self.manifest, &verified, kept_on_disk(&*backend), known)
                .inspect_err(|_| drop(self.sync()))?;
            let _naming = lock(&self.naming);
            let closed = closes_files.then(|| write(&self.storage));
            if let Some(storage) = &closed {
                storage.release();
                verified.iter().for_each(|verified| verified.storage.release());
            }
            // What is read from now on is read where it is then, not by way of a link.
            let _held = output.hold_target();
            // Should it fail for want of anything, the next run finds all pieces.
            output.finish().inspect_err(|_| drop(self.sync()))?;
            self.finished.store(true, Ordering::Relaxed);
            if backend.persistent() {
                // A file that is closed meanwhile is opened again by its name, which is a new one.
                let settled = settled(&self.manifest, &self.names, &*backend, &self.path, &wanted)?;
                *closed.unwrap_or_else(|| write(&self.storage)) = settled;
                *lock(&self.verified) = PieceSet::empty(self.manifest.geometry().pieces());
            }
        }
        // What is kept in memory stays right whatever becomes of the files.
        if on_disk {
            self.note_files();
        }
        Ok(self.path.clone())
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

/// The bytes of each file that hold pieces which are stored: ranges in ascending order, for what is given back to the disk.
pub(crate) fn stored_ranges(manifest: &Manifest, file: usize, stored: &PieceSet) -> Vec<Range<u64>> {
    let geometry = manifest.geometry();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for piece in geometry.pieces_of(file).filter(|&piece| stored.contains(piece)) {
        let Some(at) = geometry.piece(piece) else { continue };
        let end = at.offset + at.len as u64;
        match ranges.last_mut() {
            Some(last) if last.end == at.offset => last.end = end,
            _ => ranges.push(at.offset..end),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
