//! The handle of a node: start it, share, download, watch, shut down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::{Code, ContentId, ContentMatch, MAX_WRONG, Manifest, OriginKey, PeerId, Query, Secret, Ticket};
use storage::Fallback;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep};
use transport::Transport;

use crate::ask_all::{Answers, ask_all, in_turns, list};
use crate::code::{self, CodeOffer, CodeOptions, Numbers, RedeemError};
use crate::command::{Command, Commands, Rates};
use crate::config::NodeBuilder;
use crate::counters::{Counters, Counting};
use crate::download::DownloadBuilder;
use crate::driver;
use crate::error::PeerError;
use crate::event::PeerEvent;
use crate::lease::{Lease, LeaseConnections, NoLease};
use crate::lock::lock;
use crate::net::dial_book::{DialBook, DialledPeer, WaitingFor};
use crate::net::listen;
use crate::net::rate::RateCap;
use crate::net::tracker::{Joined, Page, TrackerAddress, WatchedPage};
use crate::open_content::OpenContent;
use crate::overview::Overview;
use crate::share::ShareBuilder;
use crate::stats::{WaitStats, Waits};
use crate::status::Status;
use crate::tracker_status::{TrackerState, TrackerStatus};

impl NodeBuilder {
    /// Shares the rate limits of another node: together both stay below them, also after a change. For a process that has one
    /// node for each of several trackers.
    pub fn rates_of(mut self, other: &Node) -> Self {
        (self.up, self.down) = other.rates.clone();
        self
    }

    /// Starts the node on the current tokio runtime.
    pub fn start(self) -> Node {
        let (events, _) = broadcast::channel(EVENTS);
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (announced, addresses) = watch::channel(listen::announced_addresses(&*self.transport, &self.announce));
        let (tell_trackers, tracker_statuses) = watch::channel(Vec::new());
        let node = Node {
            commands: Commands::new(commands),
            events: events.clone(),
            waits: Arc::default(),
            book: Arc::default(),
            counting: Arc::default(),
            id: self.transport.peer_id(),
            listeners: self.transport.listeners(),
            addresses,
            tracker_statuses,
            silent: Arc::default(),
            transport: self.transport.clone(),
            code_numbers: Numbers::default(),
            leases: Arc::default(),
            rates: (self.up.clone(), self.down.clone()),
        };
        tokio::spawn(driver::run(
            self,
            inbox,
            events,
            (node.waits.clone(), node.book.clone(), node.counting.clone()),
            (announced, tell_trackers),
        ));
        node
    }
}

/// Events and commands that may wait.
const EVENTS: usize = 1024;
const COMMANDS: usize = 256;

/// How long and how often to look whether a tracker is up.
const NEWS: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(10);

/// A running peer. Clones are handles to the same one.
#[derive(Clone)]
pub struct Node {
    commands: Commands,
    events: broadcast::Sender<PeerEvent>,
    waits: Arc<WaitStats>,
    book: Arc<DialBook>,
    counting: Arc<Counting>,
    id: PeerId,
    listeners: Vec<SocketAddr>,
    addresses: watch::Receiver<Vec<SocketAddr>>,
    tracker_statuses: watch::Receiver<Vec<TrackerStatus>>,
    /// Trackers that have not answered what was asked last.
    silent: Arc<Mutex<Vec<String>>>,
    /// For codes, which do not involve the driver, and their numbers.
    transport: Arc<dyn Transport>,
    code_numbers: Numbers,
    /// For leases, which do not involve the driver either.
    leases: Arc<LeaseConnections>,
    /// The caps on what is sent and received.
    rates: (Arc<RateCap>, Arc<RateCap>),
}

impl Node {
    /// Begins to set up a node over a transport. Pieces are kept in mapped files unless another storage is set.
    pub fn builder(transport: Arc<dyn Transport>) -> NodeBuilder {
        NodeBuilder::new(transport)
    }

    /// The id of this node, which it proves in every handshake.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The addresses that it listens on.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The addresses that are announced to others, likeliest first: those that were set with [`NodeBuilder::announce`], or those
    /// of this machine. They are announced again when the interfaces change.
    pub fn addresses(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.addresses.clone()
    }

    /// Events from now on, for logs and for people. A receiver that falls far behind misses events. What matters about a content
    /// is in its [`Status`].
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }

    /// Announces these addresses in addition to those of this machine, and replaces those of an earlier call: for example ports
    /// that a router forwards. Has no effect if [`NodeBuilder::announce`] is set.
    pub async fn announce_also(&self, addresses: Vec<SocketAddr>) {
        let _ = self.commands.ask(|reply| Command::AnnounceAlso { addresses, reply }).await;
    }

    /// Connects to a tracker and announces all contents to it, now and after each reconnection. Fails if the first connection
    /// does.
    pub async fn join(&self, tracker: TrackerAddress) -> Result<(), PeerError> {
        self.join_any(vec![tracker]).await.map(|_| ())
    }

    /// Connects to several trackers, at most [`MOST_TRACKERS`](crate::MOST_TRACKERS), and to all trackers behind a name with
    /// several addresses. Each content is announced to two live trackers, which are the same for every peer; if one is lost,
    /// another replaces it until it is back. Returns when the first tracker has answered, and fails if none does; the others are
    /// retried. The trackers need not know of each other. Trackers that were joined before are left.
    pub async fn join_any(&self, trackers: Vec<TrackerAddress>) -> Result<Joined, PeerError> {
        self.commands.ask(|reply| Command::Track { trackers, secret: None, reply }).await?
    }

    /// The trackers that were joined, and their state.
    pub async fn trackers(&self) -> Vec<TrackerStatus> {
        self.commands.ask(|reply| Command::Trackers { reply }).await.unwrap_or_default()
    }

    /// The trackers that were joined and their state, as a `watch`: its last value is never missed.
    pub fn watch_trackers(&self) -> watch::Receiver<Vec<TrackerStatus>> {
        self.tracker_statuses.clone()
    }

    /// The trackers to ask, once it is clear how many are behind a name: if one address has answered and another has not shortly
    /// after, the second is taken for another address of the same tracker, and left out.
    pub async fn trackers_to_ask(&self) -> Vec<TrackerStatus> {
        let began = Instant::now();
        loop {
            let trackers = self.trackers().await;
            let is_guess = |tracker: &TrackerStatus| tracker.is_guess && tracker.state == TrackerState::Connecting;
            let is_up = trackers.iter().any(|tracker| tracker.state == TrackerState::Up);
            if !trackers.iter().any(is_guess) || (!is_up && began.elapsed() >= NEWS) {
                return trackers;
            }
            sleep(LOOK).await;
        }
    }

    /// The names of trackers that have not answered the last query although others have.
    pub fn silent_trackers(&self) -> Vec<String> {
        lock(&self.silent).clone()
    }

    /// Connects to the tracker of a ticket. With the secret of a private share, the tracker, which runs in the sharer's process,
    /// tells which content it is, after both sides have proven that they have the secret. Give no secret if the ticket has a
    /// content id: its tracker need not know that there is one.
    pub async fn join_private(&self, tracker: TrackerAddress, secret: Option<Secret>) -> Result<Joined, PeerError> {
        self.commands.ask(|reply| Command::Track { trackers: vec![tracker], secret, reply }).await?
    }

    /// Connects to the tracker of a ticket, and sets up the download of its content.
    pub async fn download_ticket(&self, ticket: &Ticket) -> Result<DownloadBuilder, PeerError> {
        let secret = ticket.secret();
        if let (Some(secret), None) = (secret, ticket.content()) {
            self.approach(ticket.addresses().to_vec(), secret).await?;
        }
        if let Some(content) = ticket.content() {
            self.expect(content, secret).await?;
        }
        let joined = match (ticket.content(), ticket.trackers().len()) {
            (Some(_), 2..) => self.join_any(TrackerAddress::all_of(ticket)).await,
            (content, _) => self.join_private(ticket.into(), secret.filter(|_| content.is_none())).await,
        };
        if let (Some(content), Err(_)) = (ticket.content(), &joined) {
            self.unexpect(content).await?;
        }
        let joined = joined?;
        let content = ticket.content().or(joined.told.map(|told| told.content));
        let content = content.ok_or_else(|| PeerError::NotFound("what the ticket stands for".to_owned()))?;
        Ok(self.download(content).private(secret))
    }

    /// Offers a short code for a ticket at a tracker, until the returned value is dropped. The first peer that proves to have the
    /// code gets the ticket; then a new code is made. The tracker learns neither.
    pub fn offer_code(&self, place: TrackerAddress, ticket: Ticket, options: CodeOptions) -> CodeOffer {
        code::offer(self.transport.clone(), place, ticket, options, self.code_numbers.clone())
    }

    /// Redeems a code: gets the ticket from the sharer who offers the code at this tracker. The tracker learns neither. Its id
    /// need not be known beforehand, because a tracker that is not the sharer's does not have the code.
    pub async fn redeem_code(&self, place: &TrackerAddress, code: &Code) -> Result<Ticket, RedeemError> {
        code::redeem(self.transport.clone(), place, code).await
    }

    /// Asks a tracker for a lease: permission to read the file with this key and about this size from its origin. All nodes ask
    /// the same tracker, by the ranking. `wrong` are contents that other readers have published and that turned out to be wrong,
    /// at most four.
    pub async fn lease(&self, key: OriginKey, size: u64, wrong: &[ContentId]) -> Result<Lease, NoLease> {
        let asked = self.commands.ask(|reply| Command::Places { content: ContentId(key.0), reply }).await;
        let wrong = wrong.iter().rev().take(MAX_WRONG).copied().collect();
        self.leases.claim(&self.transport, asked.unwrap_or_default(), (key, size), wrong).await
    }

    /// Ends a private share: nobody can get it any more, and receivers are told this reason.
    pub async fn end_share(&self, content: ContentId, reason: &str) -> Result<(), PeerError> {
        let reason = reason.to_owned();
        self.commands.ask(|reply| Command::EndShare { content, reason, reply }).await
    }

    /// Adds a peer of a content, as if a tracker had introduced it.
    pub async fn add_peer(&self, content: ContentId, peer: protocol::PeerAddress) -> Result<(), PeerError> {
        self.commands.ask(|reply| Command::AddPeer { content, peer, reply }).await
    }

    /// Asks the tracker for contents by name, by id or by the beginning of an id ([`Query`]), and returns them in its order.
    /// Several trackers are asked at once, and their answers are merged; one that has not answered a second after the first is
    /// left out. Matches that do not answer the query are dropped. Whether a content really has the name is checked only when its
    /// manifest arrives ([`DownloadBuilder::expect_name`]).
    pub async fn find(&self, query: &str) -> Result<Vec<ContentMatch>, PeerError> {
        let query: Query = query.parse()?;
        if matches!(query, Query::Private(_)) {
            // No tracker is told a secret.
            return Ok(Vec::new());
        }
        let asked = query.to_string();
        let question = move |tracker, reply| Command::Find { tracker, query: asked.clone(), reply };
        let Answers { mut answers, silent } = ask_all(&self.commands, self.trackers_to_ask().await, question).await?;
        *lock(&self.silent) = silent;
        let mut seen = BTreeSet::new();
        for found in &mut answers {
            seen.clear();
            found.retain(|found| query.fits(found.content, &found.name) && seen.insert(found.content));
        }
        Ok(in_turns(answers))
    }

    /// A page of the contents that the tracker knows, newest first: the first page, or the one after `before`. With several
    /// trackers, the second one is read when the first has no more, so a content that both know comes twice
    /// ([`merged`](crate::merged)).
    pub async fn list(&self, before: Option<u64>) -> Result<Page, PeerError> {
        let trackers = self.trackers_to_ask().await;
        match &trackers[..] {
            [] => Err(PeerError::NoTracker),
            [only] => self.commands.ask(|reply| Command::List { tracker: only.number, before, reply }).await?,
            several => {
                let (page, silent) = list(&self.commands, several, before).await?;
                let mut known = lock(&self.silent);
                if before.is_none() {
                    known.clear();
                }
                known.extend(silent);
                Ok(page)
            }
        }
    }

    /// A page of the peers of a content and their progress: the first page, or the one after `after`. Repeat it about once a
    /// second: peers report their progress to the tracker only while somebody asks. Peers of older versions never do, and an
    /// older tracker closes the connection.
    pub async fn watch(&self, content: ContentId, after: Option<u64>) -> Result<WatchedPage, PeerError> {
        self.commands.ask(|reply| Command::Watch { content, after, reply }).await?
    }

    /// The manifest of a content, from the hashes folder or from a peer. Nothing is downloaded or kept. Waits until a peer has
    /// it; meanwhile the node takes part in the content as for a download. Fails with [`PeerError::ShutDown`] if the node ends.
    pub async fn manifest(&self, content: ContentId) -> Result<Arc<Manifest>, PeerError> {
        self.manifest_with(content, None, None).await
    }

    /// The same for a private share.
    pub async fn private_manifest(&self, content: ContentId, secret: Secret) -> Result<Arc<Manifest>, PeerError> {
        self.manifest_with(content, Some(secret), None).await
    }

    /// The same for a content that may be private. If no peer has the manifest, `origin` is asked too, as with
    /// [`DownloadBuilder::origin`].
    pub async fn manifest_with(
        &self,
        content: ContentId,
        secret: Option<Secret>,
        origin: Option<Arc<dyn Fallback>>,
    ) -> Result<Arc<Manifest>, PeerError> {
        self.commands.ask(|reply| Command::Manifest { content, secret, origin, reply }).await
    }

    /// Connects to the sharer of a private share while its tracker is still asked which content it is: both have the same address
    /// and port. A download that begins within five seconds then starts sooner. Nothing is said on the connection until both
    /// sides have proven the secret.
    pub async fn approach(&self, addresses: Vec<SocketAddr>, secret: Secret) -> Result<(), PeerError> {
        self.commands.ask(|reply| Command::Approach { addresses, secret, reply }).await
    }

    /// Prepares a download, perhaps of a private content: the node takes part in the content from now on, while its trackers are
    /// still dialled or asked, so that a download that begins a moment later starts sooner. A manifest that arrives is kept for
    /// it. Without a download, call [`Node::unexpect`].
    pub async fn expect(&self, content: ContentId, secret: Option<Secret>) -> Result<(), PeerError> {
        self.commands.ask(|reply| Command::Expect { content, secret, reply }).await
    }

    /// Ends [`Node::expect`] if no download has begun.
    pub async fn unexpect(&self, content: ContentId) -> Result<(), PeerError> {
        self.commands.ask(|reply| Command::Unexpect { content, reply }).await
    }

    /// Shares a file or a folder: await the returned builder. The content is hashed, unless times and inodes show that it has not
    /// changed since it was last shared. [`PeerEvent::Hashing`] reports progress, [`PeerEvent::Skipped`] what is left out of a
    /// folder.
    pub fn share(&self, path: impl Into<PathBuf>) -> ShareBuilder {
        ShareBuilder::new(self.commands.clone(), path.into())
    }

    /// Sets up a download, which begins with [`DownloadBuilder::start`]. It resumes from what an earlier run has verified, and
    /// the content is shared once it is complete.
    pub fn download(&self, content: ContentId) -> DownloadBuilder {
        DownloadBuilder::new(self.commands.clone(), content)
    }

    /// The current status of a content, or `None` if this node takes no part in it.
    pub async fn status(&self, content: ContentId) -> Option<Status> {
        self.commands.ask(|reply| Command::Status { content, reply }).await.ok().flatten()
    }

    /// A handle to a content that this node shares or downloads, to read any range of it. `None` until its manifest is known and
    /// its files are open ([`State::Fetching`](crate::State)).
    pub async fn open(&self, content: ContentId) -> Option<OpenContent> {
        let opened = self.commands.ask(|reply| Command::Open { content, reply }).await.ok().flatten()?;
        Some(OpenContent::new(self.commands.clone(), opened))
    }

    /// The contents that this node takes part in, in any order.
    pub async fn contents(&self) -> Vec<ContentId> {
        self.commands.ask(|reply| Command::Contents { reply }).await.unwrap_or_default()
    }

    /// What a download currently waits for, or `None` if it is complete or this node takes no part in it. While bytes flow this
    /// is [`WaitingFor::Pieces`].
    pub async fn waiting_for(&self, content: ContentId) -> Option<WaitingFor> {
        self.commands.ask(|reply| Command::WaitingFor { content, reply }).await.ok().flatten()
    }

    /// A map of the pieces of a content in at most so many parts, and the sites of its peers; `None` if this node takes no part
    /// in it.
    pub async fn overview(&self, content: ContentId, parts: usize) -> Option<Overview> {
        self.commands.ask(|reply| Command::Overview { content, parts, reply }).await.ok().flatten()
    }

    /// The last few hundred peers that were dialled, and their addresses.
    pub fn dialled(&self) -> Vec<DialledPeer> {
        self.book.dialled()
    }

    /// What the requests of all downloads have waited for so far.
    pub fn waits(&self) -> Waits {
        self.waits.so_far()
    }

    /// Counters since the node was started.
    pub fn counters(&self) -> Counters {
        self.counting.so_far()
    }

    /// The upload limits in bytes per second of connected peers that take part in a content, have a limit and report it.
    pub async fn up_rates(&self, content: ContentId) -> BTreeMap<PeerId, u64> {
        self.commands.ask(|reply| Command::UpRates { content, reply }).await.unwrap_or_default()
    }

    /// Changes the limit of bytes sent per second for all contents together; `None` removes it.
    pub async fn set_up_rate(&self, rate: Option<u64>) {
        let _ = self.commands.ask(|reply| Command::SetRates { rates: Rates::Up(rate), reply }).await;
    }

    /// Changes the limit of bytes received per second for all contents together; `None` removes it.
    pub async fn set_down_rate(&self, rate: Option<u64>) {
        let _ = self.commands.ask(|reply| Command::SetRates { rates: Rates::Down(rate), reply }).await;
    }

    /// Whether the node has ended: it was shut down, or an internal error has ended it.
    pub fn has_ended(&self) -> bool {
        self.commands.has_ended()
    }

    /// Waits until the node has ended. Nothing is shared or downloaded any more then, whatever the last status says.
    pub async fn ended(&self) {
        self.commands.ended().await;
    }

    /// Says goodbye to peers and tracker, syncs what is verified, and ends.
    pub async fn shutdown(&self) {
        let _ = self.commands.ask(|reply| Command::Shutdown { reply }).await;
    }
}
