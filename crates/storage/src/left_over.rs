//! What an earlier run has left where a download is built, and this one cannot go on with as it is: another version of the
//! content, a file where a folder is to be, a journal of an older program. What of it is right is reused, and what is removed is
//! counted, so that it can be told.

use std::fs::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};

use protocol::PieceSet;

use crate::StorageError;
use crate::error::error_at;
use crate::folder::{Folder, How};
use crate::folder_merge::folders_in;
use crate::holes;
use crate::journal::is_journal;

/// Which pieces are there, as far as the journal says.
#[derive(Debug)]
pub enum Claimed {
    /// These; they are to be verified before they are believed.
    Pieces(PieceSet),
    /// Something lies there, and the journal is not of this content: any piece of it may be right.
    Unknown {
        /// Bytes that lie there, or lay there and were removed.
        bytes: u64,
    },
}

/// Whether a journal lies there, of whatever version and content: then a program like this one has put it there.
pub(crate) fn is_journal_at(folder: &Folder, journal: &Path) -> bool {
    let mut start = [0; 8];
    let read = folder.open_file(journal, How::Read).and_then(|mut file| {
        let is_file = file.metadata()?.is_file();
        if is_file { file.read_exact(&mut start) } else { Ok(()) }
    });
    read.is_ok() && is_journal(&start)
}

/// Bytes that lie at `part`: of a file, or of all files in a folder. What is only reserved does not count where the file system
/// says so.
pub(crate) fn bytes_at(folder: &Folder, part: &Path) -> u64 {
    let Ok(Some(seen)) = folder.look(part) else { return 0 };
    let mut files = Vec::new();
    match seen.is_folder {
        true => drop(folders_in(folder, part, |file| files.push(file.to_owned()))),
        false => files.push(part.to_owned()),
    }
    let bytes = |path: &PathBuf| {
        let file = folder.open_file(path, How::Read).ok()?;
        let seen = file.metadata().ok().filter(Metadata::is_file)?;
        Some(holes::data(&file, seen.len()).iter().map(|range| range.end - range.start).sum::<u64>())
    };
    files.iter().filter_map(bytes).sum()
}

/// Removes what is built there, a file or a folder with all that is in it. No link is followed.
pub(crate) fn remove(folder: &Folder, part: &Path) -> Result<(), StorageError> {
    let error = |path: &Path, source| error_at(&folder.path().join(path), source);
    let seen = folder.look(part).map_err(|source| error(part, source))?;
    if !seen.is_some_and(|seen| seen.is_folder) {
        return folder.remove_file(part).map_err(|source| error(part, source));
    }
    remove_files(folder, part, |_| true)?;
    for inner in folders_in(folder, part, |_| ())?.iter().rev() {
        folder.remove_folder(inner).map_err(|source| error(inner, source))?;
    }
    Ok(())
}

/// Removes the files below `part` that this says, and the folders that are empty then.
pub(crate) fn remove_files(folder: &Folder, part: &Path, goes: impl Fn(&Path) -> bool) -> Result<(), StorageError> {
    let mut files = Vec::new();
    let folders = folders_in(folder, part, |file| files.push(file.to_owned()))?;
    for file in files.iter().filter(|file| goes(file)) {
        folder.remove_file(file).map_err(|source| error_at(&folder.path().join(file), source))?;
    }
    // One that holds something stays.
    folders.iter().skip(1).rev().for_each(|inner| drop(folder.remove_folder(inner)));
    Ok(())
}
