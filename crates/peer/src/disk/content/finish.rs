//! The end of a download: it is made durable, verified again where that is in doubt, and gets its name.
//!
//! Until all of that is done, the next run finds what this one has verified.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::PieceSet;
use storage::{Backend, Output, Storage, StorageError, is_system_file};

use super::ContentStore;
use crate::disk::doubt::{Verified, verify_doubtful};
use crate::disk::file_state::{FileState, WatchedFile};
use crate::disk::settled::{kept_on_disk, settled};
use crate::error::PeerError;
use crate::lock::{lock, write};

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

impl ContentStore {
    /// Whether it is a download that is not complete yet.
    pub(crate) fn is_being_built(&self) -> bool {
        lock(&self.building).is_some()
    }

    /// Claims what is stored, and lets go of the output: someone else, or the next start, may go on with it, even if
    /// a task that was just aborted still holds this store. Blocks.
    pub(crate) fn close(&self) -> Result<(), StorageError> {
        let result = if self.finished.load(Ordering::Relaxed) { Ok(()) } else { self.sync() };
        drop(lock(&self.building).take());
        result
    }

    /// Makes a complete download durable and gives it its name. Blocks.
    pub(crate) fn finish(&self) -> Result<PathBuf, PeerError> {
        let building = lock(&self.building).take();
        let on_disk = building.as_ref().is_none_or(|building| building.backend.persistent());
        if let Some(mut building) = building {
            building.output.check_place().inspect_err(|_| drop(self.sync()))?;
            let written = self.flush(&building)?;
            let verified = self.verify_again(&mut building, written)?;
            self.give_name(building, &verified)?;
        }
        // What is kept in memory stays right whatever becomes of the files.
        if on_disk {
            self.note_files();
        }
        Ok(self.path.clone())
    }

    /// Makes what was built durable. The storage that it is in then.
    fn flush(&self, Building { output, storage, .. }: &Building) -> Result<Arc<dyn Storage>, StorageError> {
        match self.checkpoint {
            Some(_) => storage.flush().map(|()| storage.clone()),
            // If that fails, all of it is in memory still, and nothing of it would be believed.
            None => output.write_out(&**storage).inspect_err(|_| drop(output.cut_back(|_| Vec::new()))),
        }
    }

    /// Verifies again what somebody else may have changed, or everything if that is asked for. What was verified then.
    fn verify_again(&self, building: &mut Building, written: Arc<dyn Storage>) -> Result<Vec<Verified>, StorageError> {
        let in_place = building.in_place.take();
        let Building { output, backend, built, verify_on_disk, .. } = building;
        let doubtful = std::mem::take(&mut *write(&self.doubtful));
        let built = built.iter().copied().zip(output.specs());
        let mut known: Vec<_> = built.clone().filter(|(file, _)| *verify_on_disk || doubtful.contains(file)).collect();
        if *verify_on_disk {
            known.extend(in_place.iter().flat_map(|verified| verified.files.iter().flatten().cloned()));
        }
        let specs = built.map(Some).collect();
        let verified: Vec<_> = in_place.into_iter().chain([Verified { storage: written, files: specs }]).collect();
        if *verify_on_disk {
            output.forget_cached();
        }
        verify_doubtful(&self.manifest, &verified, kept_on_disk(&**backend), known)
            .inspect_err(|_| drop(self.sync()))?;
        Ok(verified)
    }

    /// Renames what is durable and verified, and reads it by its new name from then on.
    fn give_name(&self, building: Building, verified: &[Verified]) -> Result<(), StorageError> {
        let Building { output, backend, wanted, closes_files, .. } = building;
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
        Ok(())
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
            Some(WatchedFile::new(file, &at, FileState::of(&at, &seen)))
        };
        *lock(&self.watched) = self.table.files.iter().filter_map(look).collect();
    }
}
