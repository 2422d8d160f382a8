//! A content that is open, whether it is shared or downloaded: its files, and any range of their bytes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, FileEntry, Manifest};
use tokio::sync::watch;

use crate::command::{Commands, OpenedContent};
use crate::disk::content::FileTable;
use crate::error::PeerError;
use crate::handle::Handle;
use crate::reader::Reader;
use crate::status::Status;

/// A content whose manifest is known and whose files are open: see [`Node::open`](crate::Node::open). The content goes on without
/// it.
pub struct OpenContent {
    handle: Handle,
    manifest: Arc<Manifest>,
    files: FileTable,
    /// How long its readers wait before they ask for a piece out of turn.
    patience: Option<Duration>,
}

/// A file of an open content.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct OpenFile<'a> {
    /// Its entry in the manifest.
    pub entry: &'a FileEntry,
    /// The offset of its first byte in all files together, as [`OpenContent::read`] counts.
    pub offset: u64,
}

impl OpenContent {
    pub(crate) fn new(commands: Commands, OpenedContent { begun, manifest, files }: OpenedContent) -> Self {
        OpenContent { handle: Handle::new(commands, begun), manifest, files, patience: None }
    }

    /// Makes its readers [patient](Reader::patient).
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        OpenContent { patience: Some(patience), ..self }
    }

    /// Which content it is.
    pub fn content(&self) -> ContentId {
        self.handle.key.content
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Its status.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.handle.status.clone()
    }

    /// The files that are wanted or shared, in the manifest's order.
    pub fn files(&self) -> impl Iterator<Item = OpenFile<'_>> {
        (0..self.files.files.len()).filter_map(|number| self.file(number))
    }

    /// One of these files, by its place among them.
    pub fn file(&self, number: usize) -> Option<OpenFile<'_>> {
        let FileTable { files, ends } = &self.files;
        let (&file, &end) = files.get(number).zip(ends.get(number))?;
        let entry = &self.manifest.header().files[file];
        Some(OpenFile { entry, offset: end - entry.size })
    }

    /// Reads a range of all files one after another. It waits for bytes that are not here yet, and each piece is verified before
    /// any of it is returned.
    pub fn read(&self, range: Range<u64>) -> Reader {
        let reader = self.handle.read_range(range);
        match self.patience {
            Some(patience) => reader.patient(patience),
            None => reader,
        }
    }

    /// Stops sharing or downloading it.
    pub async fn stop(self) -> Result<(), PeerError> {
        self.handle.stop().await
    }
}
