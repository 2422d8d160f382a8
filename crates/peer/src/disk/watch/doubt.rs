//! A file that must be hashed to see whether it has changed: another one of the same length, or one whose change
//! time alone is new. It is hashed a little at a time, since it may be large and nothing is known to be wrong.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ContentId, Manifest};

use crate::disk::file_state::FileState;

/// A file is hashed for so long at a time, and then not for as long.
const TURN: Duration = Duration::from_millis(50);

/// A file in doubt.
pub(super) struct Doubt {
    pub(super) content: ContentId,
    /// Its number among those that are watched.
    pub(super) index: usize,
    manifest: Arc<Manifest>,
    at: PathBuf,
    /// What it was when it came into doubt.
    state: FileState,
    file: Option<File>,
    /// Pieces that are still to be hashed.
    left: Range<u32>,
    due: Instant,
}

/// What is known of it.
pub(super) enum Verdict {
    /// Nothing yet.
    Unknown,
    /// Every byte is right, as it lay there.
    Right(FileState),
    /// It is another file.
    Wrong(PathBuf),
    /// It could not be read.
    Unread,
}

impl Doubt {
    pub(super) fn new(
        content: ContentId,
        index: usize,
        manifest: Arc<Manifest>,
        number: usize,
        at: PathBuf,
        state: FileState,
    ) -> Self {
        let left = manifest.geometry().pieces_of(number);
        Doubt { content, index, manifest, at, state, file: None, left, due: Instant::now() }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Hashes for a moment.
    pub(super) fn go_on(&mut self) -> Verdict {
        let began = Instant::now();
        while let Some(piece) = self.left.next() {
            match self.verify(piece) {
                Ok(true) => {}
                Ok(false) => return Verdict::Wrong(self.at.clone()),
                Err(_) => return Verdict::Unread,
            }
            if began.elapsed() > TURN && !self.left.is_empty() {
                self.due = Instant::now() + began.elapsed();
                return Verdict::Unknown;
            }
        }
        Verdict::Right(self.state.clone())
    }

    /// Reads the next piece: they follow each other in the file.
    fn verify(&mut self, piece: u32) -> std::io::Result<bool> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.at)?),
        };
        let len = self.manifest.geometry().piece(piece).map_or(0, |piece| piece.len);
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(self.manifest.verify(piece, &bytes))
    }
}
