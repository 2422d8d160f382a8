//! The node's one task: what happens goes into the engine, and what the engine wants is done.
//!
//! Everything that waits (streams, disks, the tracker) is a task of its own that reports through one bounded
//! channel; this one never waits for any of them, so nothing can hold it up.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::{Announce, ContentId, Manifest, PeerMessage, RefusalReason, Run, Stake, VERSION};
use swarm::{Action, ConnId, Engine, Event, RequestId, ServeId};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use transport::{Connection, SendStream, Transport};

use crate::PeerError;
use crate::buffers::Buffers;
use crate::fetch::{self, PieceFetch};
use crate::inbox::{Command, Input};
use crate::link::{self, Question};
use crate::node::{NodeBuilder, PeerEvent, Progress, Summary};
use crate::rate::RateCap;
use crate::reach;
use crate::serve::{self, PieceServe};
use crate::shelf::{Opened, Shelf};
use crate::silent::Silent;
use crate::tracker_client::{self, ToClient};
use crate::waits::WaitBooks;
use crate::workers::Workers;

/// A live connection is never silent for longer, but for two round trips: each end asks for a sign of life every two seconds.
const SILENT: Duration = Duration::from_millis(2500);
/// Most bytes that are read at once for who asks for them in order.
const READ: u64 = 1 << 20;
/// Reports that may wait.
const INBOX: usize = 1024;

struct Link {
    connection: Arc<dyn Connection>,
    outbox: mpsc::Sender<PeerMessage>,
    /// Bytes that have come over it in all, and when there were last more.
    received: u64,
    heard: Instant,
}

impl Link {
    /// Looks at its figures: the round trip, and whether nothing at all has come for too long.
    fn look(&mut self) -> (Duration, bool) {
        let stats = self.connection.stats();
        if self.received != stats.received {
            (self.received, self.heard) = (stats.received, Instant::now());
        }
        (stats.rtt, self.heard.elapsed() > SILENT + stats.rtt * 2)
    }
}

/// One content: on disk, on the wire, in figures.
struct Item {
    shelf: Option<Arc<Shelf>>,
    /// Whether the shelf is there or on its way.
    opening: bool,
    started: Instant,
    verified: Option<Duration>,
    sources: BTreeMap<protocol::PeerId, u64>,
    wanted: bool,
    /// Only the manifest is wanted, and the content forgotten then.
    looked_at: bool,
    finished: bool,
    /// Claims what is verified while a download runs.
    claiming: Option<AbortHandle>,
}

impl Drop for Item {
    fn drop(&mut self) {
        if let Some(task) = self.claiming.take() {
            task.abort();
        }
    }
}

struct Driver {
    setup: Setup,
    engine: Engine,
    began: Instant,
    actions: Vec<Action>,
    links: HashMap<ConnId, Link>,
    next_conn: ConnId,
    requests: HashMap<RequestId, Fetching>,
    questions: HashMap<ServeId, Asked>,
    next_serve: ServeId,
    items: HashMap<ContentId, Item>,
    /// Who waits for the manifest alone of a content, which is not to be downloaded.
    looks: HashMap<ContentId, Vec<oneshot::Sender<Arc<Manifest>>>>,
    tracker: Option<mpsc::Sender<ToClient>>,
    inputs: mpsc::Sender<Input>,
    events: broadcast::Sender<PeerEvent>,
}

/// A request that is under way.
struct Fetching {
    from: protocol::PeerId,
    task: AbortHandle,
    /// Payload bytes that have come, and how many of them the engine knows of.
    came: Arc<AtomicU64>,
    told: u64,
    /// What it is for, and how many of those bytes are stored.
    content: ContentId,
    stored: u64,
}

struct Asked {
    conn: ConnId,
    content: ContentId,
    run: protocol::Run,
    stream: Box<dyn SendStream>,
}

struct Setup {
    transport: Arc<dyn Transport>,
    storage: Arc<dyn storage::Backend>,
    hashes: PathBuf,
    output: PathBuf,
    replace: bool,
    /// Where others may reach us.
    listeners: Vec<SocketAddr>,
    up: Arc<RateCap>,
    down: Arc<RateCap>,
    buffers: Arc<Buffers>,
    workers: Arc<Workers>,
    waits: Arc<WaitBooks>,
    silent: Arc<Silent>,
}

/// Runs a node until it is shut down or every handle is gone.
pub(crate) async fn run(
    builder: NodeBuilder,
    mut commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<PeerEvent>,
    waits: Arc<WaitBooks>,
) {
    let (inputs, mut inbox) = mpsc::channel(INBOX);
    let listeners = reach::announced_addresses(&*builder.transport, &builder.announce);
    let hello = PeerMessage::Hello { version: VERSION, listeners: listeners.clone(), site: builder.site };
    let setup = Setup {
        transport: builder.transport,
        storage: builder.storage,
        hashes: builder.hashes,
        output: builder.output,
        replace: builder.replace,
        listeners,
        up: Arc::new(RateCap::new(builder.up)),
        down: Arc::new(RateCap::new(builder.down)),
        buffers: Buffers::new(builder.engine.budget),
        workers: Workers::new(),
        waits,
        silent: Arc::default(),
    };
    let accepting = tokio::spawn(reach::accept(setup.transport.clone(), inputs.clone()));
    let engine = Engine::new(builder.engine, setup.transport.peer_id(), hello, builder.seed);
    let mut driver = Driver {
        setup,
        engine,
        began: Instant::now(),
        actions: Vec::new(),
        links: HashMap::new(),
        next_conn: 0,
        requests: HashMap::new(),
        questions: HashMap::new(),
        next_serve: 0,
        items: HashMap::new(),
        looks: HashMap::new(),
        tracker: None,
        inputs,
        events,
    };
    let reply = loop {
        let tick = driver.began + driver.engine.next_timeout();
        tokio::select! {
            input = inbox.recv() => match input {
                Some(input) => driver.input(input),
                None => break None,
            },
            command = commands.recv() => match command {
                Some(Command::Shutdown { reply }) => break Some(reply),
                Some(command) => driver.command(command),
                None => break None,
            },
            () = tokio::time::sleep_until(tick) => driver.tick(),
        }
    };
    accepting.abort();
    driver.shut_down().await;
    if let Some(reply) = reply {
        let _ = reply.send(());
    }
}

impl Driver {
    fn event(&mut self, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.engine.handle(self.began.elapsed(), event, &mut actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        self.actions = actions;
    }

    fn tick(&mut self) {
        // How much is asked of a peer ahead depends on its round trip, which only the transport knows.
        let looks: Vec<_> = self.links.iter_mut().map(|(&conn, link)| (conn, link.look())).collect();
        for (conn, (rtt, silent)) in looks {
            self.event(Event::RoundTrip { conn, rtt });
            if silent {
                self.event(Event::Silence { conn });
            }
        }
        let requests: Vec<_> = self.requests.keys().copied().collect();
        requests.into_iter().for_each(|request| self.progressed(request));
        self.event(Event::Tick);
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Event(event) => {
                match &event {
                    Event::Disconnected { conn } => drop(self.links.remove(conn)),
                    Event::Finished { request, failure } => {
                        if *failure == Some(swarm::Failure::Invalid) {
                            self.note_wrong(*request, "an answer of a wrong length");
                        }
                        self.progressed(*request);
                        self.requests.remove(request);
                    }
                    _ => {}
                }
                self.event(event);
            }
            Input::Connected { connection, dialled } => self.connected(connection, dialled),
            Input::Question { conn, question } => self.question(conn, question),
            Input::Manifest { manifest } => self.manifest(manifest),
            Input::Opened { content, result } => self.opened(content, result),
            Input::Shared { result, reply } => {
                let result = result.map(|opened| self.shared(opened));
                let _ = reply.send(result);
            }
            Input::Stored { request, content, verdicts } => self.stored(request, content, &verdicts),
            Input::DiskFailed { content, error } => self.give_up(content, error.into()),
            Input::SourceFailed { content, error } => self.withdraw(content, error.to_string()),
            Input::Completed { content, result } => self.completed(content, result),
            Input::TrackerLost => self.tell(PeerEvent::TrackerLost),
            Input::TrackerBack => self.tell(PeerEvent::TrackerBack),
        }
    }

    /// Tells the engine what has come of a request since it was told last.
    fn progressed(&mut self, request: RequestId) {
        let Some(fetching) = self.requests.get_mut(&request) else { return };
        let came = fetching.came.load(Ordering::Relaxed);
        let bytes = came - std::mem::replace(&mut fetching.told, came);
        if bytes > 0 {
            self.event(Event::Progress { request, bytes });
        }
    }

    fn stored(&mut self, request: RequestId, content: ContentId, verdicts: &[(u32, bool)]) {
        self.progressed(request);
        for &(piece, right) in verdicts {
            if right
                && let (Some(item), Some(fetching)) = (self.items.get_mut(&content), self.requests.get_mut(&request))
            {
                let len = item.shelf.as_ref().and_then(|shelf| shelf.manifest().geometry().piece(piece));
                let len = len.map_or(0, |piece| piece.len as u64);
                *item.sources.entry(fetching.from).or_default() += len;
                fetching.stored += len;
            }
            if !right {
                self.note_wrong(request, "a wrong piece");
            }
            self.event(if right { Event::Stored { request, piece } } else { Event::Wrong { request, piece } });
        }
    }

    /// For the log: what a peer did wrong while we still dealt with it.
    fn note_wrong(&self, request: RequestId, what: &'static str) {
        let Some(from) = self.requests.get(&request).map(|fetching| fetching.from) else { return };
        if self.links.values().any(|link| link.connection.peer_id() == from) {
            tracing::info!(peer = %from, "{what}");
        }
    }

    fn tell(&self, event: PeerEvent) {
        // Nobody may be watching.
        let _ = self.events.send(event);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Track { tracker, reply } => {
                let (transport, listeners) = (self.setup.transport.clone(), self.setup.listeners.clone());
                let client = tracker_client::start(transport, tracker, listeners, self.inputs.clone(), reply);
                self.tracker = Some(client);
                let contents: Vec<_> = self.items.keys().copied().collect();
                contents.into_iter().for_each(|content| self.announce(content));
            }
            Command::Meet { content, peer, reply } => {
                self.event(Event::Found { content, peers: vec![peer] });
                let _ = reply.send(());
            }
            Command::Find { query, reply } => match &self.tracker {
                Some(tracker) => {
                    if let Err(error) = tracker.try_send(ToClient::Find { query, reply })
                        && let ToClient::Find { reply, .. } = error.into_inner()
                    {
                        let _ = reply.send(Err(PeerError::NoTracker));
                    }
                }
                None => drop(reply.send(Err(PeerError::NoTracker))),
            },
            Command::List { before, reply } => match &self.tracker {
                Some(tracker) => {
                    if let Err(error) = tracker.try_send(ToClient::List { before, reply })
                        && let ToClient::List { reply, .. } = error.into_inner()
                    {
                        let _ = reply.send(Err(PeerError::NoTracker));
                    }
                }
                None => drop(reply.send(Err(PeerError::NoTracker))),
            },
            Command::Manifest { content, reply } => self.look(content, reply),
            Command::Share { path, options, reply } => {
                let (storage, hashes, inputs) =
                    (self.setup.storage.clone(), self.setup.hashes.clone(), self.inputs.clone());
                let events = self.events.clone();
                tokio::spawn(async move {
                    let work = move || Shelf::share(&path, &options, &*storage, &hashes, &events);
                    let result = tokio::task::spawn_blocking(work).await.unwrap_or(Err(PeerError::ShutDown));
                    let _ = inputs.send(Input::Shared { result, reply }).await;
                });
            }
            Command::Get { content, reply } => {
                let _ = reply.send(self.get(content));
            }
            Command::Read { content, first, reply } => self.read(content, first, reply),
            Command::Progress { content, reply } => {
                let _ = reply.send(self.progress(content));
            }
            Command::Shutdown { reply } => drop(reply),
        }
    }

    /// Reads what is verified from a piece on, beside everything else.
    fn read(&self, content: ContentId, first: u32, reply: oneshot::Sender<Result<Option<Bytes>, PeerError>>) {
        let shelf = self.items.get(&content).and_then(|item| item.shelf.clone());
        let (Some(shelf), Some(have)) = (shelf, self.engine.have(content)) else { return drop(reply.send(Ok(None))) };
        let geometry = shelf.manifest().geometry();
        let most = geometry.pieces_within(first, READ);
        let count = (first..first.saturating_add(most)).take_while(|&piece| have.contains(piece)).count() as u32;
        let Some(block) = geometry.blocks(Run { first, count }, usize::MAX).next() else {
            return drop(reply.send(Ok(None)));
        };
        tokio::task::spawn_blocking(move || {
            let _ = reply.send(shelf.load(&block).map(Some).map_err(PeerError::from));
        });
    }

    fn progress(&self, content: ContentId) -> Option<Progress> {
        let item = self.items.get(&content)?;
        let view = self.engine.view(content)?;
        let header = item.shelf.as_ref().map(|shelf| shelf.manifest());
        // What is not stored yet is here all the same: on a slow link a block takes seconds.
        let of_content = self.requests.values().filter(|fetching| fetching.content == content);
        let coming: u64 = of_content.map(|one| one.came.load(Ordering::Relaxed).saturating_sub(one.stored)).sum();
        Some(Progress {
            name: header.map_or_else(String::new, |manifest| manifest.header().name.clone()),
            size: header.map_or(0, |manifest| manifest.geometry().total()),
            have: view.have,
            pieces: view.pieces,
            peers: view.peers,
            received: item.sources.values().sum::<u64>() + coming,
            sent: item.shelf.as_ref().map_or(0, |shelf| shelf.sent()),
            finished: item.finished,
        })
    }

    fn get(&mut self, content: ContentId) -> Result<(), PeerError> {
        if let Some(item) = self.items.get_mut(&content) {
            let only_looked_at = std::mem::take(&mut item.looked_at);
            return if only_looked_at { Ok(()) } else { Err(PeerError::Already(content)) };
        }
        let item = Item {
            shelf: None,
            opening: false,
            started: Instant::now(),
            verified: None,
            sources: BTreeMap::new(),
            wanted: true,
            looked_at: false,
            finished: false,
            claiming: None,
        };
        self.items.insert(content, item);
        self.event(Event::Want { content });
        self.announce(content);
        // A manifest that is here already saves asking for one.
        let (hashes, inputs) = (self.setup.hashes.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let kept = tokio::task::spawn_blocking(move || crate::share::kept_manifest(&hashes, content)).await;
            if let Ok(Some(manifest)) = kept {
                let _ = inputs.send(Input::Manifest { manifest: Arc::new(manifest) }).await;
            }
        });
        Ok(())
    }

    /// Asks for a manifest as for any content that is wanted, and forgets the content once it is here.
    fn look(&mut self, content: ContentId, reply: oneshot::Sender<Arc<Manifest>>) {
        if let Some(shelf) = self.items.get(&content).and_then(|item| item.shelf.as_ref()) {
            let _ = reply.send(shelf.manifest().clone());
            return;
        }
        self.looks.entry(content).or_default().push(reply);
        // An error means that it is wanted already: then the manifest comes anyway.
        if self.get(content).is_ok()
            && let Some(item) = self.items.get_mut(&content)
        {
            item.looked_at = true;
        }
    }

    /// The manifest of a wanted content is known: open its output, and find out what is there already.
    fn manifest(&mut self, manifest: Arc<Manifest>) {
        let content = manifest.id();
        for waiting in self.looks.remove(&content).into_iter().flatten() {
            let _ = waiting.send(manifest.clone());
        }
        if self.items.get(&content).is_some_and(|item| item.looked_at) {
            self.drop_content(content);
            return;
        }
        // It may be known from the hashes folder and from several peers: the first one counts.
        let Some(item) = self.items.get_mut(&content).filter(|item| item.wanted && !item.opening) else { return };
        item.opening = true;
        let (storage, inputs) = (self.setup.storage.clone(), self.inputs.clone());
        let (hashes, output, replace) = (self.setup.hashes.clone(), self.setup.output.clone(), self.setup.replace);
        tokio::spawn(async move {
            let work = move || Shelf::download(manifest, &*storage, &hashes, &output, replace);
            let result = tokio::task::spawn_blocking(work).await.unwrap_or(Err(PeerError::ShutDown));
            let _ = inputs.send(Input::Opened { content, result }).await;
        });
    }

    fn opened(&mut self, content: ContentId, result: Result<Opened, PeerError>) {
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => return self.give_up(content, error),
        };
        let Some(item) = self.items.get_mut(&content).filter(|item| item.shelf.is_none()) else { return };
        item.shelf = Some(opened.shelf.clone());
        let manifest = opened.shelf.manifest().clone();
        let geometry = Arc::new(manifest.geometry().clone());
        let whole = opened.have.is_full();
        let piece = geometry.piece_size();
        if !whole && self.setup.buffers.exceeded_by(piece as usize) {
            let mib = f64::from(piece) / f64::from(1 << 20);
            tracing::warn!("two pieces of {mib} MiB are more than the budget: memory will be larger");
        }
        if !whole {
            let (shelf, inputs) = (opened.shelf.clone(), self.inputs.clone());
            let task = tokio::spawn(async move {
                let error = shelf.keep_claiming().await;
                let _ = inputs.send(Input::DiskFailed { content, error }).await;
            });
            item.claiming = Some(task.abort_handle());
        }
        self.tell(PeerEvent::Manifest {
            content,
            name: manifest.header().name.clone(),
            size: geometry.total(),
            pieces: geometry.pieces(),
            have: opened.have.count(),
        });
        self.event(Event::Content { content, geometry, have: opened.have, wanted: true });
        if whole {
            self.finish(content);
        } else {
            self.announce(content);
        }
    }

    fn shared(&mut self, opened: Opened) -> ContentId {
        let content = opened.shelf.id();
        let geometry = Arc::new(opened.shelf.manifest().geometry().clone());
        let item = Item {
            shelf: Some(opened.shelf),
            opening: true,
            started: Instant::now(),
            verified: None,
            sources: BTreeMap::new(),
            wanted: false,
            looked_at: false,
            finished: true,
            claiming: None,
        };
        self.items.insert(content, item);
        self.event(Event::Content { content, geometry, have: opened.have, wanted: false });
        self.announce(content);
        content
    }

    /// Tells the tracker what we hold of a content.
    fn announce(&mut self, content: ContentId) {
        let (Some(tracker), Some(item)) = (&self.tracker, self.items.get(&content)) else { return };
        let whole = self.engine.have(content).is_some_and(|have| have.is_full()) && item.shelf.is_some();
        let stake = match (whole, item.wanted && !item.finished) {
            (true, _) => Stake::Seeder,
            (false, true) => Stake::Downloader,
            (false, false) => Stake::Partial,
        };
        let about = item
            .shelf
            .as_ref()
            .map(|shelf| (shelf.manifest().header().name.clone(), shelf.manifest().geometry().total()));
        if tracker.try_send(ToClient::Announce(Announce { content, about, stake })).is_err() {
            tracing::warn!("the tracker's queue is full; {content} is announced when it comes back");
        }
    }

    fn connected(&mut self, connection: Arc<dyn Connection>, dialled: bool) {
        let conn = self.next_conn;
        self.next_conn += 1;
        let (peer, remote) = (connection.peer_id(), connection.remote_addr());
        self.tell(PeerEvent::Connected { peer, address: remote, transport: connection.transport() });
        let (outbox, messages) = mpsc::channel(link::OUTBOX);
        let link = Link { connection: connection.clone(), outbox, received: 0, heard: Instant::now() };
        self.links.insert(conn, link);
        let talk = link::run(conn, connection.clone(), dialled, messages, self.inputs.clone());
        connection.spawn(Box::pin(talk));
        self.event(Event::Connected { conn, peer, remote, dialled });
    }

    fn question(&mut self, conn: ConnId, question: Question) {
        match question {
            Question::Manifest { content, stream } => match self.items.get(&content).and_then(|i| i.shelf.as_ref()) {
                Some(shelf) => drop(tokio::spawn(serve::manifest(stream, shelf.manifest().bytes().clone()))),
                None => drop(tokio::spawn(link::refuse(stream, RefusalReason::NotHeld))),
            },
            Question::Pieces { content, run, stream } => {
                let serve = self.next_serve;
                self.next_serve += 1;
                self.questions.insert(serve, Asked { conn, content, run, stream });
                self.event(Event::Asked { conn, serve, content, run });
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { peer } => {
                let (transport, silent) = (self.setup.transport.clone(), self.setup.silent.clone());
                drop(tokio::spawn(reach::dial(transport, silent, peer, self.inputs.clone())))
            }
            Action::Close { conn, reason } => {
                if let Some(link) = self.links.remove(&conn) {
                    tracing::info!(peer = %link.connection.peer_id(), reason, "closes a connection");
                    link.connection.close(1, reason);
                }
            }
            Action::Send { conn, message } => {
                if let Some(link) = self.links.get(&conn)
                    && link.outbox.try_send(message).is_err()
                {
                    link.connection.close(1, "it does not read");
                }
            }
            Action::FetchManifest { conn, content } => {
                if let Some(link) = self.links.get(&conn) {
                    let fetch = fetch::manifest(conn, link.connection.clone(), content, self.inputs.clone());
                    link.connection.spawn(Box::pin(fetch));
                }
            }
            Action::Fetch { conn, request, content, run } => self.fetch(conn, request, content, run),
            Action::Cancel { request } => {
                if let Some(fetching) = self.requests.get(&request) {
                    fetching.task.abort();
                }
            }
            Action::Serve { serve } => {
                let Some(asked) = self.questions.remove(&serve) else { return };
                let shelf = self.items.get(&asked.content).and_then(|item| item.shelf.clone());
                if let (Some(shelf), Some(link)) = (shelf, self.links.get(&asked.conn)) {
                    let (workers, cap) = (self.setup.workers.clone(), self.setup.up.clone());
                    let (Asked { run, stream, .. }, inputs) = (asked, self.inputs.clone());
                    let connection = link.connection.clone();
                    let work = PieceServe { serve, connection, shelf, run, stream, workers, cap, inputs };
                    link.connection.spawn(Box::pin(work.run()));
                }
            }
            Action::Refuse { serve, reason } => {
                if let Some(asked) = self.questions.remove(&serve) {
                    tokio::spawn(link::refuse(asked.stream, reason));
                }
            }
            Action::Completed { content } => self.finish(content),
            Action::Lacking { content, runs } => self.tell(PeerEvent::Lacking { content, runs }),
            Action::Banned { peer } => self.tell(PeerEvent::Banned { peer }),
        }
    }

    fn fetch(&mut self, conn: ConnId, request: RequestId, content: ContentId, run: protocol::Run) {
        let (Some(link), Some(item)) = (self.links.get(&conn), self.items.get(&content)) else { return };
        let Some(shelf) = item.shelf.clone() else { return };
        let came = Arc::new(AtomicU64::new(0));
        let fetch = PieceFetch {
            request,
            connection: link.connection.clone(),
            shelf,
            run,
            came: came.clone(),
            buffers: self.setup.buffers.clone(),
            workers: self.setup.workers.clone(),
            waits: self.setup.waits.clone(),
            cap: self.setup.down.clone(),
            inputs: self.inputs.clone(),
        };
        let task = link.connection.spawn(Box::pin(fetch.run()));
        let inputs = self.inputs.clone();
        let from = link.connection.peer_id();
        self.requests.insert(request, Fetching { from, task: task.abort_handle(), came, told: 0, content, stored: 0 });
        // A request that is given up ends like any other, so that the engine's books are right.
        tokio::spawn(async move {
            if task.await.is_err() {
                let event = Event::Finished { request, failure: Some(swarm::Failure::Broken) };
                let _ = inputs.send(Input::Event(event)).await;
            }
        });
    }

    /// All pieces are here: make them durable and give the file its name.
    fn finish(&mut self, content: ContentId) {
        let Some(item) = self.items.get_mut(&content) else { return };
        let Some(shelf) = item.shelf.clone() else { return };
        item.verified = Some(item.started.elapsed());
        // The whole file is synced now; nothing has to be claimed piece by piece any more.
        if let Some(task) = item.claiming.take() {
            task.abort();
        }
        self.tell(PeerEvent::Verified { content });
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let result = tokio::task::spawn_blocking(move || shelf.finish()).await.unwrap_or(Err(PeerError::ShutDown));
            let _ = inputs.send(Input::Completed { content, result }).await;
        });
    }

    fn completed(&mut self, content: ContentId, result: Result<PathBuf, PeerError>) {
        let path = match result {
            Ok(path) => path,
            Err(error) => return self.give_up(content, error),
        };
        let Some(item) = self.items.get_mut(&content) else { return };
        item.finished = true;
        let durable = item.started.elapsed();
        let summary = Summary {
            verified: item.verified.unwrap_or(durable),
            durable,
            sources: item.sources.iter().map(|(&peer, &bytes)| (peer, bytes)).collect(),
        };
        self.tell(PeerEvent::Completed { content, path, summary });
        self.announce(content);
    }

    /// A download cannot go on.
    fn give_up(&mut self, content: ContentId, error: PeerError) {
        if self.drop_content(content) {
            self.tell(PeerEvent::Failed { content, error: Arc::new(error) });
        }
    }

    /// A shared file is not what it was any more.
    fn withdraw(&mut self, content: ContentId, reason: String) {
        if self.drop_content(content) {
            self.tell(PeerEvent::Withdrawn { content, reason });
        }
    }

    fn drop_content(&mut self, content: ContentId) -> bool {
        let there = self.items.remove(&content).is_some();
        if there {
            self.event(Event::Withdraw { content });
            if let Some(tracker) = &self.tracker {
                let _ = tracker.try_send(ToClient::Leave(content));
            }
        }
        there
    }

    /// Goodbye to everyone, then the disk, then the sockets; each within a bounded time.
    async fn shut_down(&mut self) {
        for fetching in self.requests.values() {
            fetching.task.abort();
        }
        for link in self.links.values() {
            let _ = link.outbox.try_send(PeerMessage::Bye);
        }
        if let Some(tracker) = self.tracker.take() {
            let (done, gone) = oneshot::channel();
            if tracker.try_send(ToClient::Bye { done }).is_ok() {
                let _ = timeout(Duration::from_secs(1), gone).await;
            }
        }
        let shelves: Vec<_> = self.items.drain().filter_map(|(_, mut item)| item.shelf.take()).collect();
        let sync = tokio::task::spawn_blocking(move || {
            for error in shelves.iter().filter_map(|shelf| shelf.close().err()) {
                tracing::warn!(%error, "the last verified pieces are not claimed");
            }
        });
        let _ = timeout(Duration::from_secs(30), sync).await;
        let _ = timeout(Duration::from_secs(3), self.setup.transport.close()).await;
    }
}
