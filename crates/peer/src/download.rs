//! A download: how it is asked for, watched, read while it comes, paused and waited for.

use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use protocol::ContentId;
use tokio::sync::watch;

use crate::command::{Command, Commands};
use crate::config::{Choice, DownloadOptions};
use crate::disk::names::policy::NamePolicy;
use crate::error::PeerError;
use crate::glob::Glob;
use crate::net::dial_book::WaitingFor;
use crate::reader::Reader;
use crate::report::{Begun, ContentKey};
use crate::status::{Completed, Status};

/// A download that is to be started. What is not said here is as the node's builder has it.
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

    /// The folder that it goes to.
    pub fn output(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.folder = Some(folder.into());
        self
    }

    /// Whether its files may replace different ones that have their names, once it is complete. Until then the old one stays,
    /// and pieces that are equal at the same place are taken from it.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.options.replace = Some(overwrite);
        self
    }

    /// Of a folder, only the files that one of these patterns matches. What others bring later goes into the same folder. It
    /// fails with [`PeerError::NothingChosen`] where there are none. A hidden name that a pattern spells out is not doubtful
    /// ([`NamePolicy`]). No patterns mean all files.
    pub fn only(mut self, globs: impl IntoIterator<Item = Glob>) -> Self {
        let globs: Arc<[Glob]> = globs.into_iter().collect();
        if globs.is_empty() {
            self.options.only = None;
            return self;
        }
        let wanted = globs.clone();
        self.options.only = Some(Choice {
            wanted: Arc::new(move |path| wanted.iter().any(|glob| glob.matches(path))),
            spelt_out: Arc::new(move |path, hidden| globs.iter().any(|glob| glob.spells_out(path, hidden))),
        });
        self
    }

    /// The same for files whose paths inside, with `/`, are `wanted`.
    pub fn files(mut self, wanted: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.options.only = Some(Choice { wanted: Arc::new(wanted), spelt_out: Arc::new(|_, _| false) });
        self
    }

    /// The name that the content's manifest must have. To be set where a name led to the id: which contents have a name is
    /// what a tracker says, and one that has another is given up ([`PeerError::OtherName`]) before anything is written.
    pub fn expect_name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// What becomes of names that should not be where it goes.
    pub fn names(mut self, policy: NamePolicy) -> Self {
        self.options.names = Some(policy);
        self
    }

    /// Most bytes a second that are received for it. That of the node bounds all downloads together.
    pub fn down_rate(mut self, bytes: u64) -> Self {
        self.options.down = Some(bytes);
        self
    }

    /// Most bytes a second that are sent of it. That of the node bounds all contents together.
    pub fn up_rate(mut self, bytes: u64) -> Self {
        self.options.up = Some(bytes);
        self
    }

    /// Starts it. Fails with [`PeerError::Already`] if this node takes part in the content; whatever else goes wrong ends the
    /// download.
    pub async fn start(self) -> Result<Download, PeerError> {
        let DownloadBuilder { commands, content, options } = self;
        let Begun { key, status } = commands.ask(|reply| Command::Download { content, options, reply }).await??;
        Ok(Download { commands, key, status })
    }
}

/// A download that was started. To await it is to wait until it is complete; dropping it leaves it to the node, which goes on.
pub struct Download {
    commands: Commands,
    key: ContentKey,
    status: watch::Receiver<Status>,
}

impl Download {
    /// What is downloaded.
    pub fn content(&self) -> ContentId {
        self.key.content
    }

    /// How it stands, now and whenever that changes: several times a second while bytes flow, and at once when its state does.
    /// The last one stays.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Reads it from this byte on while it comes: the bytes of the files that are wanted, one file after the other in the order
    /// of the manifest. Each piece is verified once more when it is read, and waited for while it is not here.
    pub fn read_from(&self, offset: u64) -> Reader {
        Reader::new(self.commands.clone(), self.key, self.status.clone(), offset)
    }

    /// What it waits for at the moment; nothing if it is complete. While bytes flow it is [`WaitingFor::Pieces`].
    pub async fn waiting_for(&self) -> Option<WaitingFor> {
        let content = self.key.content;
        self.commands.ask(|reply| Command::WaitingFor { content, reply }).await.ok().flatten()
    }

    /// Waits until it is complete, durable and has its name, or has failed.
    pub async fn completed(&self) -> Result<Completed, Arc<PeerError>> {
        let mut status = self.status.clone();
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

    /// Takes no part in it until [`Download::resume`]: what is verified is kept, and the files are closed. One that is complete,
    /// or about to be, goes on being shared.
    pub async fn pause(&self) -> Result<(), PeerError> {
        let key = self.key;
        self.commands.ask(|reply| Command::Pause { key, reply }).await
    }

    /// Goes on after [`Download::pause`].
    pub async fn resume(&self) -> Result<(), PeerError> {
        let key = self.key;
        self.commands.ask(|reply| Command::Resume { key, reply }).await
    }

    /// Ends it, or sharing it if it is complete. What is verified is kept, for the next download of the same content into the
    /// same folder, which may begin once this returns.
    pub async fn cancel(self) -> Result<(), PeerError> {
        let key = self.key;
        self.commands.ask(|reply| Command::Stop { key, reply }).await
    }
}

impl IntoFuture for Download {
    type Output = Result<Completed, Arc<PeerError>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.completed().await })
    }
}
