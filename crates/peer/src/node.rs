//! The handle that others hold: start a node, share, download, watch, shut down.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::{ContentId, ContentMatch, Manifest, PeerId, Query};
use tokio::sync::{broadcast, mpsc, watch};
use transport::Transport;

use crate::command::{Command, Commands};
use crate::config::NodeBuilder;
use crate::download::DownloadBuilder;
use crate::driver;
use crate::error::PeerError;
use crate::event::PeerEvent;
use crate::net::dial;
use crate::net::dial_book::{DialBook, DialledPeer, WaitingFor};
use crate::net::tracker::{Page, TrackerAddress};
use crate::share::ShareBuilder;
use crate::stats::{WaitStats, Waits};
use crate::status::Status;

impl NodeBuilder {
    /// Starts the node on the current tokio runtime.
    pub fn start(self) -> Node {
        let (events, _) = broadcast::channel(EVENTS);
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (announced, addresses) = watch::channel(dial::announced_addresses(&*self.transport, &self.announce));
        let node = Node {
            commands: Commands::new(commands),
            events: events.clone(),
            waits: Arc::default(),
            book: Arc::default(),
            id: self.transport.peer_id(),
            listeners: self.transport.listeners(),
            addresses,
        };
        tokio::spawn(driver::run(self, inbox, events, (node.waits.clone(), node.book.clone()), announced));
        node
    }
}

/// Events and commands that may wait.
const EVENTS: usize = 1024;
const COMMANDS: usize = 256;

/// A running peer. Clones are handles to the same one.
#[derive(Clone)]
pub struct Node {
    commands: Commands,
    events: broadcast::Sender<PeerEvent>,
    waits: Arc<WaitStats>,
    book: Arc<DialBook>,
    id: PeerId,
    listeners: Vec<SocketAddr>,
    addresses: watch::Receiver<Vec<SocketAddr>>,
}

impl Node {
    /// A node over any transport, which keeps what it downloads in mapped files.
    pub fn builder(transport: Arc<dyn Transport>) -> NodeBuilder {
        NodeBuilder::new(transport)
    }

    /// The id that this node proves to everyone.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The addresses that it listens on.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where others are told to reach this node, likeliest first: what it was told to announce, or the addresses of this
    /// machine. They change with its interfaces, and are announced anew then.
    pub fn addresses(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.addresses.clone()
    }

    /// Events from now on, for logs and for people who watch. A watcher that falls far behind misses some: what matters of a
    /// content is in its [`Status`].
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }

    /// Connects to a tracker and announces everything to it, now and whenever it comes back. Fails if it cannot be
    /// reached the first time.
    pub async fn join(&self, tracker: TrackerAddress) -> Result<(), PeerError> {
        self.commands.ask(|reply| Command::Track { tracker, reply }).await?
    }

    /// Knows a peer without a tracker.
    pub async fn add_peer(&self, content: ContentId, peer: protocol::PeerAddress) -> Result<(), PeerError> {
        self.commands.ask(|reply| Command::AddPeer { content, peer, reply }).await
    }

    /// Contents with this name or id, or an id that begins so ([`Query`]), as the tracker says and in its order. What it says is
    /// held against the question: whatever has another id or name is dropped, so that of an id at most that content comes.
    /// That the content of a name has it is still for
    /// [`DownloadBuilder::expect_name`] to see.
    pub async fn find(&self, query: &str) -> Result<Vec<ContentMatch>, PeerError> {
        let query: Query = query.parse()?;
        let asked = query.to_string();
        let mut found = self.commands.ask(|reply| Command::Find { query: asked, reply }).await??;
        let mut seen = BTreeSet::new();
        found.retain(|found| query.fits(found.content, &found.name) && seen.insert(found.content));
        Ok(found)
    }

    /// A page of what the tracker knows, newest first: the first one, or the one that goes on behind another.
    pub async fn list(&self, before: Option<u64>) -> Result<Page, PeerError> {
        self.commands.ask(|reply| Command::List { before, reply }).await?
    }

    /// The manifest of a content, from the hashes folder or from a peer that has it. Nothing is downloaded and nothing is
    /// kept. Waits until there is one; the node takes part in the content meanwhile, as it would for a download, and
    /// answers [`PeerError::ShutDown`] if it ends.
    pub async fn manifest(&self, content: ContentId) -> Result<Arc<Manifest>, PeerError> {
        self.commands.ask(|reply| Command::Manifest { content, reply }).await
    }

    /// Shares a file, or a folder with all that is in it: makes its manifest and serves its pieces. The builder that this gives
    /// is awaited. [`PeerEvent::Hashing`] tells how far that is, [`PeerEvent::Skipped`] what is left out of a folder. What has
    /// not changed since it was shared last, by its times and inodes, is not hashed again.
    pub fn share(&self, path: impl Into<PathBuf>) -> ShareBuilder {
        ShareBuilder::new(self.commands.clone(), path.into())
    }

    /// Downloads a content once the builder that this gives is started. Goes on from what an earlier run had verified, and goes
    /// on sharing when it is done.
    pub fn download(&self, content: ContentId) -> DownloadBuilder {
        DownloadBuilder::new(self.commands.clone(), content)
    }

    /// How a content stands at this moment; nothing if this node takes no part in it.
    pub async fn status(&self, content: ContentId) -> Option<Status> {
        self.commands.ask(|reply| Command::Status { content, reply }).await.ok().flatten()
    }

    /// What a download waits for at the moment; nothing if it is complete, or this node takes no part in it. While bytes flow it
    /// is [`WaitingFor::Pieces`].
    pub async fn waiting_for(&self, content: ContentId) -> Option<WaitingFor> {
        self.commands.ask(|reply| Command::WaitingFor { content, reply }).await.ok().flatten()
    }

    /// Peers that were dialled so far, the last few hundred of them, and where.
    pub fn dialled(&self) -> Vec<DialledPeer> {
        self.book.dialled()
    }

    /// What the requests of all downloads have waited for so far.
    pub fn waits(&self) -> Waits {
        self.waits.so_far()
    }

    /// Says goodbye to peers and tracker, syncs what is verified, and ends.
    pub async fn shutdown(&self) {
        let _ = self.commands.ask(|reply| Command::Shutdown { reply }).await;
    }
}
