//! Where a download is built, and how it gets its name: beside the target, under a lock, and by one rename.
//!
//! The folder that it is built in is opened once, and all is reached from there (`folder`); until it is finished, a folder is
//! for its owner alone, and so is a file that stands by itself.

mod finish;
mod place;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{ContentId, decorated_name};

use crate::error::{error_at, error_of_new, error_of_rename};
use crate::file::FileBackend;
use crate::folder::{Folder, How};
use crate::folder_merge::folders_in;
use crate::held::Held;
use crate::holes;
use crate::journal::JournalFile;
use crate::left_over::{self, Claimed, bytes_at, is_journal_at};
use crate::open::has_other_names;
use crate::room::Room;
use crate::state_names::STATE;
use crate::{Access, Backend, FileSpec, Journal, Storage, StorageError};
use place::{check_names, is_listed, lock, make_output_folder};

/// A download that is being built.
pub struct Output {
    /// What is built, and where it is built from.
    held: Arc<Held>,
    /// Names in that folder.
    name: PathBuf,
    part: PathBuf,
    journal: PathBuf,
    lock_name: PathBuf,
    lock: Mutex<Option<File>>,
    /// What the journal is written to, as soon as it is open.
    journal_file: JournalFile,
    files: Vec<Built>,
    is_folder: bool,
    empty_folders: Vec<String>,
    replaces: bool,
    merges: bool,
    /// Whether the folder that it is built in was made for it.
    made_folder: bool,
    /// Bytes that an earlier run had left and that could not stay.
    removed: u64,
}

/// A file of a download.
struct Built {
    /// Its path in the content, with `/`.
    path: String,
    spec: FileSpec,
    executable: bool,
}

impl Output {
    /// Prepares `folder` for a content called `name`: one file of that name, or, if `is_folder`, a folder with
    /// `files` (path inside with `/`, bytes, executable) and `empty_folders`. Every name is checked; nothing outside
    /// `folder` is touched, and no link is followed. The folders of a content are made when their first file comes, and those
    /// that are empty at the end. What the journal of an earlier run claims is to be verified before it is believed: files may
    /// have changed since then, or be gone.
    pub fn prepare(
        folder: &Path,
        name: &str,
        is_folder: bool,
        files: &[(String, u64, bool)],
        empty_folders: &[String],
    ) -> Result<Self, StorageError> {
        let [part, journal, lock_name] = STATE.map(|end| PathBuf::from(decorated_name(".", name, end)));
        check_names(folder, name, files, empty_folders)?;
        let made_folder = fs::symlink_metadata(folder).is_err();
        make_output_folder(folder)?;
        let base = Folder::open(folder).map_err(|source| error_at(folder, source))?;
        let look = |name: &PathBuf| base.look(name).map_err(|source| error_at(&folder.join(name), source));
        // A lock stays as long as what it is for: without one, and without a journal of ours, what lies there is somebody else's.
        let ours = look(&lock_name)?.is_some() || is_journal_at(&base, &journal);
        for other in [&part, &journal] {
            if !ours && look(other)?.is_some() {
                return Err(StorageError::NotOurs(folder.join(other)));
            }
        }
        let lock = lock(&base, &lock_name).map_err(|error| match error {
            // What somebody sees is the download, and not its lock.
            StorageError::Locked(_) => StorageError::Locked(folder.join(name)),
            error => error,
        })?;
        // Where upper and lower case are one, it may be that of another download.
        if name.is_ascii() && !is_listed(&base, &lock_name).map_err(|source| error_at(folder, source))? {
            return Err(StorageError::SameFile(folder.join(lock_name)));
        }
        let mut removed = 0;
        // What was a file is a folder now, or the other way round.
        if look(&part)?.is_some_and(|seen| if is_folder { seen.is_file } else { seen.is_folder }) {
            removed = bytes_at(&base, &part);
            left_over::remove(&base, &part)?;
        }
        if is_folder {
            base.make_folder(&part, true).map_err(|source| error_of_new(&folder.join(&part), source))?;
        }
        if look(&journal)?.is_some_and(|seen| !seen.is_file) {
            return Err(StorageError::NotOurs(folder.join(journal)));
        }
        let built = |(path, size, executable): &(String, u64, bool)| {
            let at = if is_folder { folder.join(&part).join(path) } else { folder.join(&part) };
            Built { path: path.clone(), spec: FileSpec { path: at, size: *size }, executable: *executable }
        };
        Ok(Output {
            held: Held::new(&base, part.to_str().unwrap_or_default()),
            name: name.into(),
            files: files.iter().map(built).collect(),
            part,
            journal,
            lock_name,
            lock: Mutex::new(Some(lock)),
            journal_file: JournalFile::default(),
            is_folder,
            empty_folders: empty_folders.to_vec(),
            replaces: false,
            merges: false,
            made_folder,
            removed,
        })
    }

    /// The space that was found for the download is reserved for it, as far as that can be, and watched while it is built.
    pub fn in_room(self, room: Room) -> Self {
        if self.is_folder || room.has_holes() {
            room.reserve(self.folder());
        }
        let held = Held::with_room(self.folder(), self.part.to_str().unwrap_or_default(), Some(room));
        Output { held, ..self }
    }

    /// Files of the download replace those that have their names.
    pub fn replacing(self) -> Self {
        Output { replaces: true, ..self }
    }

    /// The download is a folder, of which others were, or will be, other parts: its files are put one by one into the folder
    /// that has its name. Fails if nothing can be put there, or it is on another file system, to which nothing is moved: before
    /// anything is downloaded.
    pub fn merging(self) -> Result<Self, StorageError> {
        let (folder, target) = (self.folder(), self.target());
        let probe = format!(".p2p-rename-{}", std::process::id());
        let [from, to] = [&self.part, &self.name].map(|folder| folder.join(&probe));
        if folder.look(&self.name).is_ok_and(|seen| seen.is_some_and(|seen| seen.is_folder))
            && folder.open_file(&from, How::MakeNew { private: true }).is_ok()
        {
            let moved = folder.walk().rename(&from, &mut folder.walk(), &to, false);
            let _ = folder.remove_file(if moved.is_ok() { &to } else { &from });
            // What else is wrong with the folder itself need not be wrong for files that lie deeper.
            let is_flat = self.files.iter().any(|file| !file.path.contains('/'));
            match moved.map_err(|source| error_of_rename(&target, source)) {
                Err(error @ StorageError::Mounted(_)) => {
                    self.discard();
                    return Err(error);
                }
                Err(error @ (StorageError::Denied(_) | StorageError::Withheld(_) | StorageError::InUse(_)))
                    if is_flat =>
                {
                    self.discard();
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(Output { merges: true, ..self })
    }

    /// The files to open, where they are built.
    pub fn specs(&self) -> Vec<FileSpec> {
        self.files.iter().map(|file| file.spec.clone()).collect()
    }

    /// Where it is built.
    pub fn part_path(&self) -> PathBuf {
        self.path_of(&self.part)
    }

    /// Where the journal of this download is kept.
    pub fn journal_path(&self) -> PathBuf {
        self.path_of(&self.journal)
    }

    /// Bytes that an earlier run had left there, of whatever content.
    pub fn earlier(&self) -> u64 {
        self.removed + bytes_at(self.folder(), &self.part)
    }

    /// Where a file that is built holds something, as far as the file system says: ranges in ascending order.
    pub fn data(&self, number: usize) -> Vec<Range<u64>> {
        let file = &self.files[number];
        match self.folder().open_file(&self.inside(file), How::Read) {
            Ok(open) => holes::data(&open, open.metadata().map_or(0, |seen| seen.len().min(file.spec.size))),
            Err(_) => Vec::new(),
        }
    }

    /// Removes the files that an earlier run has left and that are none of this content: its journal was of another one.
    pub fn remove_others(&self) -> Result<(), StorageError> {
        if !self.is_folder {
            return Ok(());
        }
        let ours: HashSet<PathBuf> = self.files.iter().map(|file| self.inside(file)).collect();
        left_over::remove_files(self.folder(), &self.part, |file| !ours.contains(file))
    }

    /// Opens the journal of this download, as [`Journal::open`] does, without following a link. What an earlier run has left is
    /// [`Claimed::Unknown`] if the journal was of another content, of another version, or not there.
    pub fn journal(&self, content: ContentId, pieces: u32) -> Result<(Journal, Claimed), StorageError> {
        let path = self.journal_path();
        let error = |source| error_at(&path, source);
        let file = self.folder().open_file(&self.journal, How::Make { private: true }).map_err(error)?;
        let there = file.metadata().map_err(error)?;
        if !there.is_file() {
            return Err(StorageError::NotOurs(path));
        }
        if has_other_names(&file, &there) {
            return Err(StorageError::Linked(path));
        }
        self.journal_file.put(file);
        let (journal, have, is_of_content) = Journal::of(&self.journal_file, &path, content, pieces)?;
        let earlier = if is_of_content { 0 } else { self.earlier() };
        let claimed = if earlier > 0 { Claimed::Unknown { bytes: earlier } } else { Claimed::Pieces(have) };
        Ok((journal, claimed))
    }

    /// Where it will be.
    pub fn target(&self) -> PathBuf {
        self.path_of(&self.name)
    }

    /// Holds the place where it will be: what is read from there later is read from the same folder, and not by way of a link.
    pub fn hold_target(&self) -> Arc<Held> {
        Held::new(self.folder(), self.name.to_str().unwrap_or_default())
    }

    /// Fails if the folder that it is built in is not where it was: a reported path would not lead to it.
    pub fn check_place(&self) -> Result<(), StorageError> {
        match self.folder().is_in_place() {
            true => Ok(()),
            false => Err(StorageError::Moved(self.folder().path().to_owned())),
        }
    }

    /// Whether as much is free on the disk as is to be kept, no matter what fills it.
    pub fn check_room(&self) -> Result<(), StorageError> {
        self.held.room().map_or(Ok(()), Room::check)
    }

    /// Copies what a storage that is not persistent holds to where the files are built, and syncs it. Gives what was written.
    pub fn write_out(&self, storage: &dyn Storage) -> Result<Arc<dyn Storage>, StorageError> {
        // As any other download is written: a link that lies there is not followed.
        let written = FileBackend.open(&self.specs(), Access::Write)?;
        for (index, Built { spec, .. }) in self.files.iter().enumerate() {
            let mut offset = 0;
            while offset < spec.size {
                let bytes = storage.read(index, offset, (spec.size - offset).min(1 << 20) as usize)?;
                written.write(index, offset, &bytes)?;
                offset += bytes.len() as u64;
            }
        }
        written.flush()?;
        Ok(written)
    }

    /// Has what was written read from the disk when it is read next, as far as the system can be told so. It must be durable.
    pub fn forget_cached(&self) {
        #[cfg(target_os = "linux")]
        for file in &self.files {
            if let Ok(open) = self.folder().open_file(&self.inside(file), How::Read) {
                let _ = rustix::fs::fadvise(&open, 0, None, rustix::fs::Advice::DontNeed);
            }
        }
    }

    /// Gives the disk back what is reserved, or was written, and holds nothing that `keeps` names: of each file, by its number,
    /// ranges of bytes in ascending order. A file of which nothing is kept goes, and if nothing is kept of any, all of the
    /// download does.
    pub fn cut_back(&self, keeps: impl Fn(usize) -> Vec<Range<u64>>) -> Result<(), StorageError> {
        if let Some(room) = self.held.room() {
            room.release();
        }
        let mut kept = false;
        for (number, file) in self.files.iter().enumerate() {
            let ranges = keeps(number);
            let inside = self.inside(file);
            let open = self.folder().open_file(&inside, How::Write).ok();
            let ours =
                open.filter(|open| open.metadata().is_ok_and(|seen| seen.is_file() && !has_other_names(open, &seen)));
            if ranges.is_empty() {
                // Its storage may hold it open for a while yet.
                let _ = ours.map(|open| open.set_len(0));
                let _ = self.folder().remove_file(&inside);
                continue;
            }
            kept = true;
            if let Some(open) = ours {
                give_back(&open, file.spec.size, &ranges).map_err(|source| error_at(&file.spec.path, source))?;
            }
        }
        if !kept {
            self.discard();
        }
        Ok(())
    }

    /// Removes all that was made for it, unless other files lie there: of a run that wanted others. What cannot be removed
    /// stays.
    fn discard(&self) {
        let folder = self.folder();
        if self.is_folder {
            let mut left = false;
            let folders = folders_in(folder, &self.part, |_| left = true);
            if left {
                return;
            }
            folders.iter().flatten().rev().for_each(|inner| drop(folder.remove_folder(inner)));
        } else {
            let _ = folder.remove_file(&self.part);
        }
        self.journal_file.close();
        let _ = folder.remove_file(&self.journal);
        let _ = folder.remove_file(&self.lock_name);
        // Windows removes a file once nobody has it open, and no folder before all that is in it.
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        if self.made_folder {
            // Unless something else is in it by now.
            let _ = fs::remove_dir(folder.path());
        }
    }

    fn folder(&self) -> &Arc<Folder> {
        self.held.folder()
    }

    /// The place of a file in the folder that all is built in.
    fn inside(&self, file: &Built) -> PathBuf {
        if self.is_folder { self.part.join(&file.path) } else { self.part.clone() }
    }

    fn path_of(&self, inside: &Path) -> PathBuf {
        self.folder().path().join(inside)
    }
}

/// Gives the disk back what lies between and behind these ranges of a file. Its size stays.
fn give_back(file: &File, size: u64, keeps: &[Range<u64>]) -> io::Result<()> {
    let end = keeps.last().map_or(0, |range| range.end);
    file.set_len(end)?;
    file.set_len(size)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        let mut at = 0;
        for range in keeps {
            if at < range.start {
                // Where holes cannot be made, what lies between stays.
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let _ = fallocate(file, flags, at, range.start - at);
            }
            at = range.end;
        }
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::MmapBackend;

    /// Descriptors of this process, and files that it has mapped, under a folder.
    fn open_under(folder: &Path) -> Vec<String> {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let descriptors = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        let open: Vec<String> = descriptors.map(|path| path.to_string_lossy().into_owned()).collect();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().filter_map(|line| line.find('/').map(|at| line[at..].to_owned()));
        open.into_iter().chain(mapped).filter(|path| path.starts_with(&*folder.to_string_lossy())).collect()
    }

    /// Windows renames no folder of which a file is open, and what stays open when the rename fails was open during it.
    #[test]
    fn nothing_below_a_folder_is_open_or_mapped_when_it_is_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("a/large".to_owned(), 1 << 20, false), ("b/small".to_owned(), 3, true)];
        let prepare = || Output::prepare(folder.path(), "f", true, &files, &["c/empty".to_owned()]).unwrap();
        let (output, part) = (prepare(), folder.path().join(".f.part"));
        let storage = MmapBackend.open(&output.specs(), Access::Write).unwrap();
        storage.write(0, 0, &vec![7; 1 << 20]).unwrap();
        storage.write(1, 0, b"abc").unwrap();
        drop(storage.read(0, 0, 1 << 20).unwrap());
        storage.flush().unwrap();
        assert!(open_under(&part).len() >= 3, "a file, its map, and another file: {:?}", open_under(&part));
        storage.release();
        fs::create_dir(folder.path().join("f")).unwrap();
        fs::write(folder.path().join("f/other"), "in the way").unwrap();
        assert!(matches!(output.finish(), Err(StorageError::Exists(_))));
        assert_eq!(open_under(&part), [""; 0]);
        assert_eq!(storage.read(1, 0, 3).unwrap(), &b"abc"[..], "it is opened for that");
        assert_eq!(open_under(&part), [""; 0], "and closed again");
        fs::remove_dir_all(folder.path().join("f")).unwrap();
        prepare().finish().unwrap();
        assert_eq!(fs::read(folder.path().join("f/b/small")).unwrap(), b"abc");
    }

    /// A file that is removed while it is open keeps its name on older Windows, until it is closed.
    #[test]
    fn a_journal_is_closed_before_it_is_removed_even_if_others_hold_it() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::prepare(folder.path(), "f", false, &[("f".to_owned(), 3, false)], &[]).unwrap();
        let (mut journal, _) = output.journal(ContentId(protocol::Digest([5; 32])), 1).unwrap();
        let storage = MmapBackend.open(&output.specs(), Access::Write).unwrap();
        storage.write(0, 0, b"abc").unwrap();
        storage.flush().unwrap();
        storage.release();
        output.finish().unwrap();
        assert_eq!(open_under(&folder.path().join(".f")), [""; 0]);
        journal.commit(&[protocol::PieceRange { first: 0, count: 1 }]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the file");
    }
}
