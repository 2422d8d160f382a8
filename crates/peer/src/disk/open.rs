//! Opening a download: the plan says what is in place, and the rest is built beside the target, on top of what an earlier run
//! had verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{FileEntry, Manifest, PieceRange, PieceSet};
use storage::{Access, Backend, Checkpoint, Claimed, Output, OverlayStorage, Place, Room, Storage, StorageError};

use crate::config::DownloadSettings;
use crate::disk::content::{Building, ContentStore, Opened, stored_ranges};
use crate::disk::doubt::verify_doubtful;
use crate::disk::existing::Existing;
use crate::disk::left_over::LeftOver;
use crate::disk::manifests::{keep_received, note_ticket};
use crate::disk::names::{Selection, select};
use crate::disk::plan::Plan;
use crate::disk::reuse::{reuse, verify_again};
use crate::disk::settled::{hold, kept_on_disk, mend_bits, settled};
use crate::disk::zeros;
use crate::error::PeerError;

/// A download that is about to be opened.
struct Opening<'a> {
    manifest: Arc<Manifest>,
    backend: &'a Arc<dyn Backend>,
    settings: &'a DownloadSettings,
    selection: Selection,
    target: PathBuf,
    /// The pieces that are wanted.
    goal: PieceSet,
}

/// Opens, or goes on with, a download. What is there already is checked: files that are right are kept; if one is not, nothing
/// is touched, unless files may be replaced by files when all is complete. Blocks.
pub(crate) fn open(
    manifest: Arc<Manifest>,
    backend: &Arc<dyn Backend>,
    settings: &DownloadSettings,
) -> Result<Opened, PeerError> {
    // Names are judged before anything is written.
    let mut selection = select(&manifest, settings)?;
    if let Err(error) = keep_received(&settings.hashes, &manifest) {
        tracing::info!(%error, "the manifest is not kept: the next start asks others for it again");
    }
    if let Some(secret) = settings.secret {
        note_ticket(&settings.hashes, secret, manifest.id());
    }
    selection.record(&settings.hashes, manifest.id());
    let name = selection.names.name(&manifest).to_owned();
    let target = settings.folder.join(&name);
    // What is compared is what is opened, whatever takes its place meanwhile.
    let _held = if is_there(&target) { Some(hold(&settings.folder, &name)?) } else { None };
    let plan = Plan::of(&manifest, &selection, settings)?;
    if let Plan::Complete(existing) | Plan::Build { existing, .. } = &plan {
        selection.wanted.retain(|file| existing.of_system.binary_search(file).is_err());
    }
    let mut goal = PieceSet::empty(manifest.geometry().pieces());
    insert_files(&mut goal, &manifest, &selection.wanted);
    let opening = Opening { manifest, backend, settings, selection, target, goal };
    match plan {
        Plan::Complete(existing) => opening.complete(existing),
        Plan::Build { existing, replace } => opening.build(existing, replace),
        Plan::Differs(path) => Err(StorageError::Exists(path).into()),
        Plan::Blocked(path) => Err(PeerError::Irreplaceable(path)),
    }
}

fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

impl Opening<'_> {
    /// All files are in place: they are shared from there.
    fn complete(self, existing: Existing) -> Result<Opened, PeerError> {
        let Opening { manifest, backend, selection, target, goal, .. } = self;
        mend_bits(&manifest, &selection.names, &target, &existing.equal);
        let storage = settled(&manifest, &selection.names, &**backend, &target, &selection.wanted)?;
        if let Some(verified) = &existing.verified {
            verify_doubtful(&manifest, std::slice::from_ref(verified), &storage::FileBackend, Vec::new())?;
        }
        let Selection { wanted, names, report, .. } = selection;
        let store = ContentStore::new(manifest, storage, target, wanted).named(names, report);
        Ok(Opened { store: Arc::new(store), have: goal.clone(), goal, in_order: false, left_over: None })
    }

    /// Some files are built. What an earlier run left is verified again, and pieces of files to be replaced are taken over.
    fn build(self, existing: Existing, replace: bool) -> Result<Opened, PeerError> {
        mend_bits(&self.manifest, &self.selection.names, &self.target, &existing.equal);
        let equal = &existing.equal;
        let wanted = self.selection.wanted.iter().copied();
        let built: Vec<usize> = wanted.filter(|file| equal.binary_search(file).is_err()).collect();
        let output = self.output(&built, replace)?;
        let part = output.part_path();
        let earlier = if self.backend.persistent() { 0 } else { output.earlier() };
        let pieces = self.manifest.geometry().pieces();
        let (journal, claimed) = if self.backend.persistent() {
            let (journal, claimed) = output.journal(self.manifest.id(), pieces)?;
            (Some(journal), claimed)
        } else {
            (None, Claimed::Pieces(PieceSet::empty(pieces)))
        };
        let mut have = match &claimed {
            Claimed::Pieces(have) => have.clone(),
            Claimed::Unknown { .. } => {
                output.remove_others()?;
                self.pieces_with_data(&output, &built)
            }
        };
        let before = have.clone();
        let storage = self.write_backend().open(&output.specs(), Access::Write).inspect_err(|error| {
            if error.is_no_room() {
                let _ = output.cut_back(|number| stored_ranges(&self.manifest, built[number], &have));
            }
        })?;
        let in_order = storage.fills_gaps();
        let checkpoint = journal.map(|journal| Checkpoint::new(storage.clone(), journal));
        let all = self.read_storage(&storage, &built, equal)?;
        let Opening { manifest, backend, settings, selection, target, goal } = self;
        let Selection { wanted, names, report, .. } = selection;
        let building = Building {
            output,
            storage,
            backend: backend.clone(),
            built,
            wanted: wanted.clone(),
            in_place: existing.verified,
            verify_on_disk: settings.verify_on_disk,
            closes_files: cfg!(windows),
        };
        let old = existing.different.iter().map(|&file| (file, names.spec(&manifest, &target, file).path));
        let old: Vec<_> = old.collect();
        let store = ContentStore::new(manifest.clone(), all, target, wanted)
            .named(names, report)
            .built_by(building, checkpoint);
        verify_again(&store, &mut have)?;
        let bytes = |pieces: &PieceSet| bytes_of(&manifest, pieces);
        let left_over = match claimed {
            Claimed::Unknown { bytes: size } => {
                store.claim(&have)?;
                let reused = bytes(&have);
                Some(LeftOver { path: part, size: size.max(reused), reused })
            }
            // Somebody has changed what was verified.
            Claimed::Pieces(_) if have.count() < before.count() => {
                Some(LeftOver { path: part, size: bytes(&before), reused: bytes(&have) })
            }
            Claimed::Pieces(_) if earlier > 0 => Some(LeftOver { path: part, size: earlier, reused: 0 }),
            Claimed::Pieces(_) => None,
        };
        insert_files(&mut have, &manifest, &existing.equal);
        for (file, path) in old {
            reuse(&store, file, &path, &mut have)?;
        }
        Ok(Opened { store: Arc::new(store), have, goal, in_order, left_over })
    }

    /// The pieces of these files of which an earlier run, of another content perhaps, may have left something.
    fn pieces_with_data(&self, output: &Output, built: &[usize]) -> PieceSet {
        let geometry = self.manifest.geometry();
        let mut pieces = PieceSet::empty(geometry.pieces());
        let size = u64::from(geometry.piece_size());
        for (number, &file) in built.iter().enumerate() {
            let of_file = geometry.pieces_of(file);
            for data in output.data(number) {
                let first = of_file.start + (data.start / size) as u32;
                let end = of_file.end.min(of_file.start + data.end.div_ceil(size) as u32);
                pieces.insert_run(PieceRange { first, count: end.saturating_sub(first) });
            }
        }
        pieces
    }

    /// Where these files are built, with the room for them.
    fn output(&self, built: &[usize], replace: bool) -> Result<Output, PeerError> {
        let (header, folder) = (self.manifest.header(), &self.settings.folder);
        let Selection { names, empty_folders, .. } = &self.selection;
        let name = names.name(&self.manifest);
        let entry = |&file: &usize| {
            let FileEntry { size, executable, .. } = header.files[file];
            (names.path(&self.manifest, file).to_owned(), size, executable)
        };
        let files: Vec<_> = built.iter().map(entry).collect();
        let keep_free = self.settings.keep_free;
        let room = Room::look(folder, name, header.folder, &files, keep_free).or_else(|error| match error {
            StorageError::NoRoom { needs, free, keeps, .. } => {
                let lacks = needs.saturating_add(keeps).saturating_sub(free);
                let Some(holes) = zeros::holes(&self.manifest, built, lacks) else { return Err(error) };
                Room::look_beside_holes(folder, name, header.folder, &files, &holes, keep_free)
            }
            error => Err(error),
        })?;
        let mut output = Output::prepare(folder, name, header.folder, &files, empty_folders)?.in_room(room);
        if replace {
            output = output.replacing();
        }
        if header.folder && (is_there(&self.target) || self.selection.is_partial(self.settings)) {
            output = output.merging()?;
        }
        Ok(output)
    }

    /// What the files are written with. What is mapped stays in memory, so it cannot be read back from the disk.
    fn write_backend(&self) -> Arc<dyn Backend> {
        let is_mapped = self.backend.name() == storage::MmapBackend.name();
        if self.settings.verify_on_disk && is_mapped { Arc::new(storage::FileBackend) } else { self.backend.clone() }
    }

    /// What the content is read from while it is built: files that are built, and files in place.
    fn read_storage(
        &self,
        storage: &Arc<dyn Storage>,
        built: &[usize],
        equal: &[usize],
    ) -> Result<Arc<dyn Storage>, PeerError> {
        let count = self.manifest.header().files.len();
        if built.len() == count {
            return Ok(storage.clone());
        }
        let names = &self.selection.names;
        let specs: Vec<_> = equal.iter().map(|&file| names.spec(&self.manifest, &self.target, file)).collect();
        let in_place = kept_on_disk(&**self.backend).open(&specs, Access::Read)?;
        let place = |file: usize| match (built.binary_search(&file), equal.binary_search(&file)) {
            (Ok(number), _) => Place::Built(number),
            (_, Ok(number)) => Place::InPlace(number),
            _ => Place::Nowhere,
        };
        let places = (0..count).map(place).collect();
        Ok(Arc::new(OverlayStorage::new(self.target.clone(), places, storage.clone(), in_place)))
    }
}

/// Bytes of these pieces.
fn bytes_of(manifest: &Manifest, pieces: &PieceSet) -> u64 {
    let len = |piece| manifest.geometry().piece(piece).map_or(0, |piece| piece.len as u64);
    pieces.iter().map(len).sum()
}

/// Puts the pieces of these files into a set.
fn insert_files(set: &mut PieceSet, manifest: &Manifest, files: &[usize]) {
    for pieces in files.iter().map(|&file| manifest.geometry().pieces_of(file)) {
        set.insert_run(PieceRange { first: pieces.start, count: pieces.end - pieces.start });
    }
}
