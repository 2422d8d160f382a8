//! A content that is shared: how it is asked for, watched and stopped.

use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;

use protocol::{Algorithm, ContentId};
use tokio::sync::watch;

use crate::command::{Command, Commands};
use crate::disk::share::{Held, ShareOptions};
use crate::error::PeerError;
use crate::reader::Reader;
use crate::report::{Begun, ContentKey};
use crate::status::Status;

/// What is to be shared. To await it is to hash it, if that is needed, and to share it from then on.
#[must_use = "it is shared once it is awaited"]
pub struct ShareBuilder {
    commands: Commands,
    path: PathBuf,
    options: ShareOptions,
}

impl ShareBuilder {
    pub(crate) fn new(commands: Commands, path: PathBuf) -> Self {
        ShareBuilder { commands, path, options: ShareOptions::default() }
    }

    /// How its pieces are digested; BLAKE3 unless set.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.options.algorithm = algorithm;
        self
    }

    /// Size of its pieces in bytes, a power of two from 1 KiB to 16 MiB; by the size of the files unless set.
    pub fn piece_size(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.options.piece_size = bytes.into();
        self
    }

    /// Which of its pieces are served; all unless set.
    pub fn held(mut self, held: Held) -> Self {
        self.options.held = held;
        self
    }

    /// Most bytes a second that are sent of it. That of the node bounds all contents together.
    pub fn up_rate(mut self, bytes: u64) -> Self {
        self.options.up = Some(bytes);
        self
    }
}

impl IntoFuture for ShareBuilder {
    type Output = Result<Share, PeerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let ShareBuilder { commands, path, options } = self;
        Box::pin(async move {
            let Begun { key, status } = commands.ask(|reply| Command::Share { path, options, reply }).await??;
            Ok(Share { commands, key, status })
        })
    }
}

/// A content that is shared. Dropping it leaves it to the node, which goes on.
pub struct Share {
    commands: Commands,
    key: ContentKey,
    status: watch::Receiver<Status>,
}

impl Share {
    /// Which content it is.
    pub fn content(&self) -> ContentId {
        self.key.content
    }

    /// How it stands, now and whenever that changes. It is withdrawn when its files are changed.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Reads it from this byte on: the bytes of its files, one after the other in the order of the manifest. Each piece is
    /// verified when it is read.
    pub fn read_from(&self, offset: u64) -> Reader {
        Reader::new(self.commands.clone(), self.key, self.status.clone(), offset)
    }

    /// Shares it no more.
    pub async fn stop(self) -> Result<(), PeerError> {
        let key = self.key;
        self.commands.ask(|reply| Command::Stop { key, reply }).await
    }
}
