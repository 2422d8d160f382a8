//! A shared content: set it up, watch it, stop it.

use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use protocol::{Algorithm, ContentId, Manifest, Secret};
use storage::Remote;
use tokio::sync::watch;

use crate::command::{Command, Commands};
use crate::disk::share::{Held, RemoteFiles, SecretOf, ShareOptions};
use crate::error::PeerError;
use crate::handle::Handle;
use crate::reader::Reader;
use crate::status::Status;

/// Sets up a share. Awaiting it hashes the content, if needed, and shares it from then on.
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

    /// The hash of pieces. Default: BLAKE3.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.options.algorithm = algorithm;
        self
    }

    /// Bytes of a piece, a power of two from 1 KiB to 16 MiB. Default: chosen by the size of the files.
    pub fn piece_size(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.options.piece_size = bytes.into();
        self
    }

    /// Which pieces are served. Default: all.
    pub fn held(mut self, held: Held) -> Self {
        self.options.held = held;
        self
    }

    /// Shares it privately: only peers that prove to have this secret learn of it, and trackers know it by an id that is derived
    /// from the secret. The secret may depend on the content; it must be random to everyone who does not know it. A content that is
    /// shared openly already stays open.
    pub fn private(mut self, secret: impl Fn(ContentId) -> Secret + Send + Sync + 'static) -> Self {
        self.options.secret = Some(SecretOf(Arc::new(secret)));
        self
    }

    /// The manifest, if the file was hashed while it was written ([`Spool`](crate::Spool)): it is not hashed again, and its
    /// manifest is not kept for the next run.
    pub fn hashed(mut self, manifest: Manifest) -> Self {
        self.options.hashed = Some(manifest);
        self
    }

    /// Shares files that are stored elsewhere: their manifest, and the storage that reads them. The path is only their name in
    /// messages. The content is withdrawn when the storage reports a change.
    pub fn remote(mut self, manifest: Arc<Manifest>, storage: Arc<dyn Remote>) -> Self {
        self.options.remote = Some(RemoteFiles { manifest, storage });
        self
    }

    /// Limits the bytes sent per second. The node's own limit still applies to all contents together.
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
            let begun = commands.ask(|reply| Command::Share { path, options, reply }).await??;
            Ok(Share(Handle::new(commands, begun)))
        })
    }
}

/// A shared content. If it is dropped, the node continues to share it.
pub struct Share(Handle);

impl Share {
    /// The content that is shared.
    pub fn content(&self) -> ContentId {
        self.0.key.content
    }

    /// Its status. The content is withdrawn when its files change.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.0.status.clone()
    }

    /// Reads the content from this byte on: its files one after another, in the manifest's order. Each piece is verified when it
    /// is read.
    pub fn read_from(&self, offset: u64) -> Reader {
        self.0.read_from(offset)
    }

    /// Stops sharing it.
    pub async fn stop(self) -> Result<(), PeerError> {
        self.0.stop().await
    }
}
