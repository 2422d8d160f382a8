//! The resume journal: which pieces of a download are verified *and durable*.
//!
//! A header names the content; records follow, each a run of pieces with a checksum chained to all before it. What a
//! crash tore off, or what belongs to another content, fails its checksum: the journal is read up to there and cut.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::{ContentId, Digest, PieceRange, PieceSet};

use crate::StorageError;
use crate::error::error_at;
use crate::lock::lock;

const MAGIC: &[u8; 8] = b"P2PJRNL1";
/// What journals of all versions begin with.
const ANY_MAGIC: &[u8] = b"P2PJRNL";
const HEADER: usize = 8 + 32 + 4;
const RECORD: usize = 4 + 4 + 8;
/// Most bytes that are read: far more than a content of 2^20 pieces can need, were every piece a record twice over.
const MOST: u64 = 64 << 20;

/// The file of a journal, which is closed before it is removed, even while others hold the journal. Then there is nothing left to
/// claim.
#[derive(Debug, Clone, Default)]
pub(crate) struct JournalFile(Arc<Mutex<Option<File>>>);

impl JournalFile {
    pub(crate) fn put(&self, file: File) {
        *self.open() = Some(file);
    }

    pub(crate) fn close(&self) {
        *self.open() = None;
    }

    fn open(&self) -> MutexGuard<'_, Option<File>> {
        lock(&self.0)
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: JournalFile,
    path: PathBuf,
    /// Checksum of the last record; the next one's is computed over it.
    chain: [u8; 8],
    claimed: PieceSet,
}

/// Whether a file that begins so is a journal, of whatever version.
pub(crate) fn is_journal(start: &[u8]) -> bool {
    start.starts_with(ANY_MAGIC)
}

fn header(content: ContentId, pieces: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..40].copy_from_slice(&content.0.0);
    bytes[40..].copy_from_slice(&pieces.to_le_bytes());
    bytes
}

fn checksum(parts: &[&[u8]]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&Digest::of(&parts.concat()).0[..8]);
    sum
}

impl Journal {
    /// Opens or makes the journal of a content of `pieces` pieces, and says which of them are durable. Nothing is synced:
    /// what is written here claims nothing, and becomes durable with the first claim.
    pub fn open(path: &Path, content: ContentId, pieces: u32) -> Result<(Self, PieceSet), StorageError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let slot = JournalFile::default();
        slot.put(file.map_err(|source| error_at(path, source))?);
        let (journal, have, _) = Self::of(&slot, path, content, pieces)?;
        Ok((journal, have))
    }

    /// The same of a file that is open. Says also whether it was of this content before.
    pub(crate) fn of(
        slot: &JournalFile,
        path: &Path,
        content: ContentId,
        pieces: u32,
    ) -> Result<(Self, PieceSet, bool), StorageError> {
        let error = |source| error_at(path, source);
        let mut open = slot.open();
        let Some(mut file) = open.as_mut() else { return Err(StorageError::NotFound(path.to_owned())) };
        let mut bytes = Vec::new();
        (&mut file).take(MOST).read_to_end(&mut bytes).map_err(error)?;
        let header = header(content, pieces);
        let mut have = PieceSet::empty(pieces);
        // Put in together: records that all speak of the same pieces cost no more than others.
        let mut runs = Vec::new();
        let mut chain = checksum(&[&header]);
        let mut good = HEADER;
        let is_of_content = bytes.starts_with(&header);
        if is_of_content {
            for record in bytes[HEADER..].chunks_exact(RECORD) {
                let (body, sum) = record.split_at(8);
                let next = checksum(&[&chain, body]);
                let (first, count) = body.split_at(4);
                let number = |part: &[u8]| part.iter().rev().fold(0u32, |n, &byte| n << 8 | u32::from(byte));
                let run = PieceRange { first: number(first), count: number(count) };
                if sum != next || run.end().is_none_or(|end| end > pieces) {
                    break;
                }
                runs.push(run);
                chain = next;
                good += RECORD;
            }
        } else {
            // Nothing in it can be trusted, so nothing of it stays.
            file.set_len(0).map_err(error)?;
            file.seek(SeekFrom::Start(0)).map_err(error)?;
            file.write_all(&header).map_err(error)?;
        }
        have.insert_runs(runs);
        file.set_len(good as u64).map_err(error)?;
        file.seek(SeekFrom::Start(good as u64)).map_err(error)?;
        let journal = Journal { file: slot.clone(), path: path.to_owned(), chain, claimed: have.clone() };
        Ok((journal, have, is_of_content))
    }

    /// Claims runs of pieces whose bytes are durable already. Returns once the claim is durable too.
    pub fn commit(&mut self, runs: &[PieceRange]) -> Result<(), StorageError> {
        let mut bytes = Vec::with_capacity(runs.len() * RECORD);
        let mut chain = self.chain;
        for run in runs {
            let body = [run.first.to_le_bytes(), run.count.to_le_bytes()].concat();
            chain = checksum(&[&chain, &body]);
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&chain);
        }
        let mut open = self.file.open();
        // The download has its name, or was given up.
        let Some(file) = open.as_mut() else { return Ok(()) };
        let at = file.stream_position().map_err(|source| error_at(&self.path, source))?;
        let write = file.write_all(&bytes).and_then(|()| atomic_file::allow_unsupported(file.sync_data()));
        if let Err(source) = write {
            // Half a record would hide all that come after it.
            let _ = file.set_len(at);
            let _ = file.seek(SeekFrom::Start(at));
            return Err(error_at(&self.path, source));
        }
        drop(open);
        self.chain = chain;
        runs.iter().for_each(|&run| self.claimed.insert_run(run));
        Ok(())
    }

    /// The pieces that were claimed, now or by an earlier run.
    pub(crate) fn claimed(&self) -> &PieceSet {
        &self.claimed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_journal_says_what_is_whole_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let content = ContentId(Digest([5; 32]));
        let (mut journal, have) = Journal::open(&path, content, 100).unwrap();
        assert!(have.is_empty());
        journal.commit(&[PieceRange { first: 3, count: 2 }, PieceRange { first: 50, count: 10 }]).unwrap();
        journal.commit(&[PieceRange { first: 99, count: 1 }]).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let (mut journal, have) = Journal::open(&path, content, 100).unwrap();
            let records = len.saturating_sub(HEADER) / RECORD;
            assert_eq!(have.count(), [0, 2, 12, 13][records], "{len} bytes");
            journal.commit(&[PieceRange { first: 0, count: 1 }]).unwrap();
            assert!(Journal::open(&path, content, 100).unwrap().1.contains(0));
        }
    }

    /// A user who may write to the folder can write a journal whose every record claims all pieces again.
    #[test]
    fn records_that_all_claim_everything_cost_no_more_than_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (content, pieces) = (ContentId(Digest([5; 32])), protocol::MAX_PIECES);
        let everything = vec![PieceRange { first: 0, count: pieces }; 200_000];
        let (mut journal, _) = Journal::open(&path, content, pieces).unwrap();
        let mut bytes = header(content, pieces).to_vec();
        for run in everything {
            let body = [run.first.to_le_bytes(), run.count.to_le_bytes()].concat();
            journal.chain = checksum(&[&journal.chain, &body]);
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&journal.chain);
        }
        std::fs::write(&path, bytes).unwrap();
        assert!(Journal::open(&path, content, pieces).unwrap().1.is_full());
    }

    #[test]
    fn a_changed_byte_is_never_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let content = ContentId(Digest([5; 32]));
        Journal::open(&path, content, 100).unwrap().0.commit(&[PieceRange { first: 3, count: 2 }]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(Journal::open(&path, content, 100).unwrap().1.is_empty(), "byte {at}");
        }
        std::fs::write(&path, whole).unwrap();
        assert!(Journal::open(&path, ContentId(Digest([6; 32])), 100).unwrap().1.is_empty(), "another content");
    }
}
