//! One content on this peer's disk: where its pieces are read and written, and how they survive.
//!
//! A store is either a file or folder that is shared where it lies, or a download that is being built beside its target. What
//! is verified is written at once, and claimed in the journal only after a sync (`storage::Checkpoint`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{Block, ContentId, FileEntry, Manifest, PieceRange, PieceSet, Stretch};
use storage::{
    Access, Backend, Checkpoint, Folder, Output, OverlayStorage, Place, Room, Storage, StorageError, error_at,
};
use tokio::sync::{Notify, broadcast};
use tokio::time::timeout;

use crate::disk::doubt::{Verified, verify_doubtful};
use crate::disk::existing::{Existing, compare, holds_nothing_else, spec};
use crate::disk::file_state::FileState;
use crate::disk::hash::PATIENCE;
use crate::disk::manifests::{ShareOptions, keep_received, manifest_of};
use crate::disk::names::{LocalNames, NamePolicy, NameReport, Plan, plan};
use crate::disk::reuse::{reuse, stored_ranges, verify_again};
use crate::disk::scan::{Scan, ScanOptions};
use crate::disk::settled::{hold, kept_on_disk, lies_at, mend_bits, settled};
use crate::disk::watch::WatchedFile;
use crate::stats::{WaitKind, WaitStats};
use crate::{PeerError, PeerEvent};

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
    wanted: Vec<usize>,
    /// That there was no room, and what holds nothing was given back: then nothing is written any more.
    given_back: RwLock<Option<StorageError>>,
    names: LocalNames,
    name_report: NameReport,
    /// Files that somebody else may have changed while they are built: nothing of them is given away unverified.
    doubtful: RwLock<BTreeSet<usize>>,
    /// What the files were when they were known to be right; until that is asked for.
    watched: Mutex<Vec<WatchedFile>>,
    /// What lies in a shared folder and is no part of the content.
    left_out: u32,
}

/// What a download needs until it is finished.
struct Building {
    output: Output,
    /// The files that are built.
    storage: Arc<dyn Storage>,
    backend: Arc<dyn Backend>,
    /// Which of the content's files they are.
    built: Vec<usize>,
    /// All that will be there then.
    wanted: Vec<usize>,
    /// What lies in place already.
    in_place: Option<Verified>,
    /// Whether everything is read back before it is called complete.
    verify_on_disk: bool,
    /// Whether files are closed, and nothing is read, while they get their names: Windows renames and replaces nothing that is
    /// open or mapped, be it to be read only. Elsewhere what is being given to others meanwhile is read on.
    closes_files: bool,
}

/// Where downloads go, and what is kept to there.
#[derive(Debug, Clone)]
pub(crate) struct Downloads {
    /// For manifests.
    pub(crate) hashes: PathBuf,
    pub(crate) folder: PathBuf,
    /// Whether they may replace files.
    pub(crate) replace: bool,
    pub(crate) names: NamePolicy,
    /// Bytes that they leave free.
    pub(crate) keep_free: Option<u64>,
    /// Whether everything is read back from the disk before it is called complete.
    pub(crate) verify_on_disk: bool,
    /// Files and folders of these programs that no download may be, or lie in, by its names.
    pub(crate) reserved: Vec<PathBuf>,
}

/// Which files of a content are wanted, by their paths inside.
#[derive(Clone)]
pub(crate) struct Choice {
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) spelt_out: Arc<SpeltOut>,
}

/// Whether the file of this path is wanted.
pub(crate) type Wanted = dyn Fn(&str) -> bool + Send + Sync;

/// Whether, for the path of a file, the user has spelt out the hidden name at the end of another, which is a part of it.
pub(crate) type SpeltOut = dyn Fn(&str, &str) -> bool + Send + Sync;

/// A store, and the pieces that are on it.
pub(crate) struct Opened {
    pub(crate) store: Arc<ContentStore>,
    pub(crate) have: PieceSet,
    /// The pieces that are to be on it.
    pub(crate) goal: PieceSet,
}

/// Attempts to share what others write to between hashing and opening it.
const TRIES: u32 = 3;
/// What is verified is claimed at most this long after.
const COMMIT_AFTER: Duration = Duration::from_secs(1);

/// Of so many files each is looked at now and then while they are built.
const WATCHED: usize = 1024;

/// Puts the pieces of these files into a set.
fn insert_files(set: &mut PieceSet, manifest: &Manifest, files: &[usize]) {
    for pieces in files.iter().map(|&file| manifest.geometry().pieces_of(file)) {
        set.insert_run(PieceRange { first: pieces.start, count: pieces.end - pieces.start });
    }
}

/// Time between two words about hashing.
const WORD: Duration = Duration::from_millis(100);

/// Tells who watches how many bytes of `path` are hashed, at first and now and then.
fn progress<'a>(path: &'a Path, events: &'a broadcast::Sender<PeerEvent>) -> impl Fn(u64, u64) + Sync + 'a {
    let (began, told) = (Instant::now(), AtomicU64::new(0));
    move |done, total| {
        let word = (began.elapsed().as_millis() / WORD.as_millis()) as u64 + 1;
        if word > told.load(Ordering::Relaxed) && told.swap(word, Ordering::Relaxed) < word {
            let _ = events.send(PeerEvent::Hashing { path: path.to_owned(), done, total });
        }
    }
}

impl ContentStore {
    /// Shares a file or a folder where it lies. Blocks while it is hashed, if it is not known from before.
    pub(crate) fn share(
        path: &Path,
        options: &ShareOptions,
        scan_options: &ScanOptions,
        backend: &dyn Backend,
        hashes: &Path,
        events: &broadcast::Sender<PeerEvent>,
    ) -> Result<Opened, PeerError> {
        let waits = |path: &Path| {
            let _ = events.send(PeerEvent::StillWritten { path: path.to_owned(), most: PATIENCE });
        };
        let mut written = path.to_owned();
        for _ in 0..TRIES {
            let mut scan = Scan::of(path, scan_options)?;
            // What is hashed and served is what lies in this folder, whatever is linked in its place meanwhile.
            let _held = if scan.folder { Some(hold(path, "")?) } else { None };
            let manifest =
                manifest_of(path, &mut scan, options, hashes, kept_on_disk(backend), progress(path, events), waits)?;
            // What was empty when it was found may be a key by now.
            if scan.stale
                && let Some(file) = scan.file_not_in(&Scan::of(path, scan_options)?)
            {
                written = file.at.clone();
                continue;
            }
            let storage = match kept_on_disk(backend).open(&scan.specs(), Access::Read) {
                // Of a folder others are left; a file that is gone is gone.
                Err(StorageError::Changed(file)) => {
                    written = file;
                    continue;
                }
                Err(StorageError::NotFound(file)) if scan.folder => {
                    written = file;
                    continue;
                }
                result => result?,
            };
            // From here on the storage notices; what came before it was opened, only this look does.
            if let Some(file) = scan.changed_file()? {
                written = file.at.clone();
                continue;
            }
            let have = options.held.pieces(manifest.geometry().pieces());
            let watched = scan.files.iter().enumerate();
            let watched = watched.map(|(number, file)| WatchedFile::new(number, &file.at, file.state())).collect();
            let all: Vec<usize> = (0..manifest.header().files.len()).collect();
            let names = (LocalNames::default(), NameReport::default());
            let mut store = ContentStore::new(manifest.into(), storage, None, None, path.to_owned(), &all, names);
            (store.watched, store.left_out) = (Mutex::new(watched), scan.left_out.len() as u32);
            if !scan.left_out.is_empty() {
                let _ = events.send(PeerEvent::Skipped { left_out: scan.left_out });
            }
            return Ok(Opened { store: Arc::new(store), have, goal: PieceSet::empty(0) });
        }
        Err(PeerError::StillWritten(written))
    }

    /// Opens, or goes on with, a download of all files, or of those that are chosen. What is there already is checked: files
    /// that are right are kept; if one is not, nothing is touched, unless `replace` says that files may be replaced by files
    /// when all is complete: then what they have in common is here already. Blocks.
    pub(crate) fn download(
        manifest: Arc<Manifest>,
        backend: &Arc<dyn Backend>,
        downloads: &Downloads,
        choice: Option<&Choice>,
    ) -> Result<Opened, PeerError> {
        let Downloads { hashes, folder, replace, keep_free, verify_on_disk, .. } = downloads;
        // Before anything is written.
        let plan = plan(&manifest, downloads, choice)?;
        if let Err(error) = keep_received(hashes, &manifest) {
            tracing::warn!(%error, "the manifest is not kept: the next start asks others for it again");
        }
        plan.record(hashes, manifest.id());
        // What is mapped stays in memory: then nothing would be read back from the disk.
        let files_backend: Arc<dyn Backend> = Arc::new(storage::FileBackend);
        let is_mapped = backend.name() == storage::MmapBackend.name();
        let write_backend = if *verify_on_disk && is_mapped { &files_backend } else { backend };
        let (header, geometry) = (manifest.header(), manifest.geometry());
        let some = choice.is_some() || !plan.report.skipped.is_empty();
        let Plan { wanted, empty_folders, names, report } = plan;
        let mut goal = PieceSet::empty(geometry.pieces());
        insert_files(&mut goal, &manifest, &wanted);
        let name = names.name(&manifest).to_owned();
        let target = folder.join(&name);
        let old = std::fs::symlink_metadata(&target).ok();
        let held = old.as_ref().map(|_| hold(folder, &name)).transpose()?;
        let found = match &old {
            None => Existing::default(),
            Some(old) if header.folder && old.is_dir() => {
                // Before anything is hashed.
                if !*replace && !some && !holds_nothing_else(&manifest, &names, &empty_folders, &target) {
                    return Err(StorageError::Exists(target).into());
                }
                let within = Folder::open(folder).map_err(|source| error_at(folder, source))?;
                let found = compare(&manifest, &names, &within, &wanted, &empty_folders)?;
                let other = found.different.first().map(|&file| spec(&manifest, &names, &target, file).path);
                match (&found.in_the_way, other) {
                    (Some(path), _) if *replace => return Err(PeerError::Irreplaceable(path.clone())),
                    (Some(path), _) => return Err(StorageError::Exists(path.clone()).into()),
                    (None, Some(path)) if !*replace => return Err(StorageError::Exists(path).into()),
                    _ => found,
                }
            }
            Some(old) => {
                if lies_at(&manifest, &target)? {
                    mend_bits(&manifest, &names, &target, &wanted);
                    let all = [0];
                    let storage = settled(&manifest, &names, &**backend, &target, &all)?;
                    let store = ContentStore::new(manifest, storage, None, None, target, &all, (names, report));
                    return Ok(Opened { store: Arc::new(store), have: goal.clone(), goal });
                }
                if !*replace {
                    return Err(StorageError::Exists(target).into());
                }
                if header.folder || !old.is_file() {
                    return Err(PeerError::Irreplaceable(target));
                }
                Existing { different: wanted.clone(), ..Existing::default() }
            }
        };
        mend_bits(&manifest, &names, &target, &found.equal);
        let there = |path: &String| target.join(path).is_dir();
        if old.is_some() && found.equal.len() == wanted.len() && empty_folders.iter().all(there) {
            let storage = settled(&manifest, &names, &**backend, &target, &wanted)?;
            if let Some(verified) = &found.verified {
                verify_doubtful(&manifest, std::slice::from_ref(verified), &storage::FileBackend, Vec::new())?;
            }
            let store = ContentStore::new(manifest.clone(), storage, None, None, target, &wanted, (names, report));
            return Ok(Opened { store: Arc::new(store), have: goal.clone(), goal });
        }
        let built: Vec<usize> =
            wanted.iter().copied().filter(|file| found.equal.binary_search(file).is_err()).collect();
        let entry = |&file: &usize| {
            let FileEntry { size, executable, .. } = header.files[file];
            (names.path(&manifest, file).to_owned(), size, executable)
        };
        let files: Vec<_> = built.iter().map(entry).collect();
        let room = Room::look(folder, &name, header.folder, &files, *keep_free)?;
        let mut output = Output::prepare(folder, &name, header.folder, &files, &empty_folders)?.in_room(room);
        if !found.different.is_empty() {
            output = output.replacing();
        }
        if header.folder && (old.is_some() || some) {
            output = output.merging()?;
        }
        let (journal, mut have) = match backend.persistent() {
            true => output.journal(manifest.id(), geometry.pieces()).map(|(journal, have)| (Some(journal), have))?,
            false => (None, PieceSet::empty(geometry.pieces())),
        };
        let storage = write_backend.open(&output.specs(), Access::Write).inspect_err(|error| {
            if error.is_no_room() {
                let _ = output.cut_back(|number| stored_ranges(&manifest, built[number], &have));
            }
        })?;
        let checkpoint = journal.map(|journal| Checkpoint::new(storage.clone(), journal));
        let all: Arc<dyn Storage> = if built.len() == header.files.len() {
            storage.clone()
        } else {
            let specs: Vec<_> = found.equal.iter().map(|&file| spec(&manifest, &names, &target, file)).collect();
            let in_place = kept_on_disk(&**backend).open(&specs, Access::Read)?;
            let place = |file: usize| match (built.binary_search(&file), found.equal.binary_search(&file)) {
                (Ok(number), _) => Place::Built(number),
                (_, Ok(number)) => Place::InPlace(number),
                _ => Place::Nowhere,
            };
            let places = (0..header.files.len()).map(place).collect();
            Arc::new(OverlayStorage::new(target.clone(), places, storage.clone(), in_place))
        };
        let building = Building {
            output,
            storage,
            backend: backend.clone(),
            built,
            wanted: wanted.clone(),
            in_place: found.verified,
            verify_on_disk: *verify_on_disk,
            closes_files: cfg!(windows),
        };
        let store = ContentStore::new(
            manifest.clone(),
            all,
            checkpoint,
            Some(building),
            target.clone(),
            &wanted,
            (names, report),
        );
        verify_again(&store, &mut have)?;
        insert_files(&mut have, &store.manifest, &found.equal);
        for &file in &found.different {
            reuse(&store, file, &spec(&manifest, &store.names, &target, file).path, &mut have)?;
        }
        drop(held);
        Ok(Opened { store: Arc::new(store), have, goal })
    }

    fn new(
        manifest: Arc<Manifest>,
        storage: Arc<dyn Storage>,
        checkpoint: Option<Checkpoint>,
        building: Option<Building>,
        path: PathBuf,
        wanted: &[usize],
        (names, name_report): (LocalNames, NameReport),
    ) -> Self {
        let (waiting, full) = (Notify::new(), Notify::new());
        ContentStore {
            manifest,
            storage: RwLock::new(storage),
            naming: Mutex::default(),
            checkpoint,
            building: Mutex::new(building),
            waiting,
            full,
            finished: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            path,
            wanted: wanted.to_owned(),
            given_back: RwLock::new(None),
            names,
            name_report,
            doubtful: RwLock::default(),
            watched: Mutex::default(),
            left_out: 0,
        }
    }

    pub(crate) fn left_out(&self) -> u32 {
        self.left_out
    }

    /// The files to watch from now on, once they are where they stay.
    pub(crate) fn take_watched(&self) -> Vec<WatchedFile> {
        std::mem::take(&mut *self.watched.lock().expect("no panic holds it"))
    }

    /// Notes what the files of a complete download are, where they are read from.
    fn note_files(&self) {
        let look = |&file: &usize| {
            let at = spec(&self.manifest, &self.names, &self.path, file).path;
            let seen = std::fs::metadata(&at).ok()?;
            Some(WatchedFile::new(file, &at, FileState::of(&seen)))
        };
        *self.watched.lock().expect("no panic holds it") = self.wanted.iter().filter_map(look).collect();
    }

    /// Whether a file can still be read as it was when it was opened.
    pub(crate) fn look_at(&self, file: usize) -> Result<(), StorageError> {
        let size = self.manifest.header().files[file].size;
        self.storage().read(file, 0, size.min(1) as usize).map(drop)
    }

    pub(crate) fn id(&self) -> ContentId {
        self.manifest.id()
    }

    pub(crate) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The bytes of pieces that are stored, for others. Blocks while they come from the disk.
    pub(crate) fn load(&self, block: &Block) -> Result<Bytes, StorageError> {
        let is_doubtful = {
            let doubtful = self.doubtful.read().expect("no panic holds it");
            !doubtful.is_empty() && block.stretches.iter().any(|stretch| doubtful.contains(&stretch.file))
        };
        if is_doubtful { self.load_verified(block) } else { self.load_as_is(block) }
    }

    /// The same, verified: for what is read once and never verified by anyone else.
    pub(crate) fn load_verified(&self, block: &Block) -> Result<Bytes, StorageError> {
        let bytes = self.load_as_is(block)?;
        let (size, mut rest) = (self.manifest.geometry().piece_size() as usize, &bytes[..]);
        for stretch in &block.stretches {
            let (of_file, behind) = rest.split_at(stretch.len);
            rest = behind;
            let mut pieces = stretch.run.pieces().zip(of_file.chunks(size));
            if !pieces.all(|(piece, bytes)| self.manifest.verify(piece, bytes)) {
                return Err(StorageError::Changed(spec(&self.manifest, &self.names, &self.path, stretch.file).path));
            }
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
            drop(self.naming.lock().expect("no panic holds it"));
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
        let given_back = self.given_back.read().expect("no panic holds it");
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
        // Whoever writes is waited for: what they have verified counts, too.
        let mut given_back = self.given_back.write().expect("no panic holds it");
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
        if let Some(Building { output, built, .. }) = &*self.building.lock().expect("no panic holds it") {
            let none = || PieceSet::empty(self.manifest.geometry().pieces());
            let stored = self.checkpoint.as_ref().map_or_else(none, Checkpoint::stored_pieces);
            if let Err(error) = output.cut_back(|number| stored_ranges(&self.manifest, built[number], &stored)) {
                tracing::warn!(%error, "what was reserved is not given back");
            }
        }
        // The journal has room now, if anything is to have it.
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "the last verified pieces are not claimed");
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

    /// Makes what was verified durable and claims it in the journal. Blocks.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.checkpoint.as_ref().map_or(Ok(()), Checkpoint::commit)
    }

    /// Looks whether as much is free on the disk as is to be kept, while it is built, and whether somebody else writes to it.
    fn check_disk(&self) -> Result<(), StorageError> {
        let building = self.building.lock().expect("no panic holds it");
        let Some(Building { output, storage, built, .. }) = &*building else { return Ok(()) };
        output.check_room()?;
        // Of many files a look at each is too much to be done again and again.
        if built.len() <= WATCHED {
            let changed = storage.changed_by_others()?;
            self.doubtful.write().expect("no panic holds it").extend(changed.into_iter().map(|file| built[file]));
        }
        Ok(())
    }

    /// Claims what is stored, and lets go of the output: someone else, or the next start, may go on with it, even if
    /// a task that was just aborted still holds this store. Blocks.
    pub(crate) fn close(&self) -> Result<(), StorageError> {
        let result = if self.finished.load(Ordering::Relaxed) { Ok(()) } else { self.sync() };
        drop(self.building.lock().expect("no panic holds it").take());
        result
    }

    /// Whether it is a download that is not complete yet.
    pub(crate) fn is_being_built(&self) -> bool {
        self.building.lock().expect("no panic holds it").is_some()
    }

    /// Makes a complete download durable and gives it its name. Blocks.
    pub(crate) fn finish(&self) -> Result<PathBuf, PeerError> {
        let building = self.building.lock().expect("no panic holds it").take();
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
            let doubtful = std::mem::take(&mut *self.doubtful.write().expect("no panic holds it"));
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
            let _naming = self.naming.lock().expect("no panic holds it");
            let closed = closes_files.then(|| self.storage.write().expect("no panic holds it"));
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
                *closed.unwrap_or_else(|| self.storage.write().expect("no panic holds it")) = settled;
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
        self.wanted_files().map(|file| file.size).sum()
    }

    /// Paths in the content of those files that may be executed here.
    pub(crate) fn executable(&self) -> Vec<String> {
        let files = self.wanted_files().filter(|file| cfg!(unix) && file.executable);
        files.map(|file| file.path.clone()).collect()
    }

    fn wanted_files(&self) -> impl Iterator<Item = &FileEntry> {
        self.wanted.iter().map(|&file| &self.manifest.header().files[file])
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.storage.read().expect("no panic holds it").clone()
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
