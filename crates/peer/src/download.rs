//! A download: set it up, watch it, read it while it arrives, pause it, await it.

use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use protocol::{ContentId, Secret};
use storage::Fallback;
use tokio::sync::watch;

use crate::command::{Command, Commands};
use crate::config::{Choice, DownloadOptions};
use crate::disk::names::policy::NamePolicy;
use crate::error::PeerError;
use crate::glob::Glob;
use crate::handle::Handle;
use crate::net::dial_book::WaitingFor;
use crate::reader::Reader;
use crate::status::{Completed, Status};

/// Sets up a download. What is not set here is as the node's builder has it.
#[must_use = "a download begins with `start`"]
pub struct DownloadBuilder {
    commands: Commands,
    content: ContentId,
    options: DownloadOptions,
}

impl DownloadBuilder {
    pub(crate) fn new(commands: Commands, content: ContentId) -> Self {
        DownloadBuilder { commands, content, options: DownloadOptions::default() }
    }

    /// The folder to download into.
    pub fn output(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.folder = Some(folder.into());
        self
    }

    /// Whether its files may replace different files of the same names. They do so once the download is complete; until then
    /// the old files stay, and pieces that are equal at the same offset are taken from them.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.options.replace = Some(overwrite);
        self
    }

    /// Downloads only files of a folder that one of these patterns matches; with no patterns, all files. Other files can be
    /// downloaded into the same folder later. Fails with [`PeerError::Unmatched`] if a pattern matches nothing. A hidden name
    /// that a pattern spells out is allowed ([`NamePolicy`]).
    pub fn only(mut self, globs: impl IntoIterator<Item = Glob>) -> Self {
        let globs: Arc<[Glob]> = globs.into_iter().collect();
        self.options.only = if globs.is_empty() { None } else { Some(Choice::Globs(globs)) };
        self
    }

    /// Downloads only files of a folder for whose path, with `/`, `wanted` is true.
    pub fn files(mut self, wanted: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.options.only = Some(Choice::Paths(Arc::new(wanted)));
        self
    }

    /// The name that the manifest must have, or the download fails with [`PeerError::OtherName`] before anything is written. To
    /// be set when the id was found by name, because a tracker may claim any name for an id.
    pub fn expect_name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// What to do about names that should not be in the output folder.
    pub fn names(mut self, policy: NamePolicy) -> Self {
        self.options.names = Some(policy);
        self
    }

    /// Downloads a private share with the secret from its ticket. It is shared on only to holders of the ticket.
    pub fn private(mut self, secret: Option<Secret>) -> Self {
        self.options.secret = secret;
        self
    }

    /// The origin that the content was made from. It is read for pieces that no peer has, and for the manifest if no peer has it.
    /// Each piece is verified before it is kept.
    pub fn origin(mut self, origin: Arc<dyn Fallback>) -> Self {
        self.options.origin = Some(origin);
        self
    }

    /// Limits the bytes received per second. The node's own limit still applies to all downloads together.
    pub fn down_rate(mut self, bytes: u64) -> Self {
        self.options.down = Some(bytes);
        self
    }

    /// Limits the bytes sent per second. The node's own limit still applies to all contents together.
    pub fn up_rate(mut self, bytes: u64) -> Self {
        self.options.up = Some(bytes);
        self
    }

    /// Starts the download. Fails with [`PeerError::Already`] if this node already takes part in the content. Other errors end
    /// the download later.
    pub async fn start(self) -> Result<Download, PeerError> {
        let DownloadBuilder { commands, content, options } = self;
        let begun = commands.ask(|reply| Command::Download { content, options, reply }).await??;
        Ok(Download(Handle::new(commands, begun)))
    }
}

/// A running download. Awaiting it waits until it is complete or has failed. If it is dropped, the download continues in the
/// node.
pub struct Download(Handle);

impl Download {
    /// The content that is downloaded.
    pub fn content(&self) -> ContentId {
        self.0.key.content
    }

    /// Its status, updated several times a second while bytes flow, and at once when the state changes. The last value stays
    /// readable after the download has ended. Clone the value that `borrow` or `wait_for` returns: the node cannot publish a new
    /// status while it is borrowed, and waits.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.0.status.clone()
    }

    /// Reads the download from this byte on while it arrives: the wanted files one after another, in the manifest's order. Each
    /// piece is verified again when it is read. The reader is woken when the next piece in order is stored.
    pub fn read_from(&self, offset: u64) -> Reader {
        self.0.read_from(offset)
    }

    /// What it currently waits for, or `None` if it is complete. While bytes flow this is [`WaitingFor::Pieces`].
    pub async fn waiting_for(&self) -> Option<WaitingFor> {
        let content = self.content();
        self.0.commands.ask(|reply| Command::WaitingFor { content, reply }).await.ok().flatten()
    }

    /// Waits until the download is complete (durable, under its final name) or has failed.
    pub async fn completed(&self) -> Result<Completed, Arc<PeerError>> {
        let mut status = self.status();
        loop {
            if let Some(outcome) = status.borrow_and_update().outcome() {
                return outcome;
            }
            // The last status is there even when nobody sends another.
            if status.changed().await.is_err() {
                let outcome = status.borrow().outcome();
                return outcome.unwrap_or_else(|| Err(Arc::new(PeerError::ShutDown)));
            }
        }
    }

    /// Stops downloading and serving until [`Download::resume`]. Verified pieces are kept and the files are closed. A download
    /// that is complete, or has all its pieces, is not paused.
    pub async fn pause(&self) -> Result<(), PeerError> {
        let key = self.0.key;
        self.0.commands.ask(|reply| Command::Pause { key, reply }).await
    }

    /// Continues after [`Download::pause`].
    pub async fn resume(&self) -> Result<(), PeerError> {
        let key = self.0.key;
        self.0.commands.ask(|reply| Command::Resume { key, reply }).await
    }

    /// Ends the download, or stops sharing it if it is complete. Verified pieces are kept. Once this returns, another download of
    /// the same content into the same folder can start and resumes from them. An incomplete download that is awaited then fails with
    /// [`PeerError::Cancelled`].
    pub async fn cancel(&self) -> Result<(), PeerError> {
        self.0.stop().await
    }
}

impl IntoFuture for Download {
    type Output = Result<Completed, Arc<PeerError>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.completed().await })
    }
}
