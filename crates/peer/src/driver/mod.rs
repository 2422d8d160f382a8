//! The node's one task: what happens goes into the engine, and what the engine wants is done.
//!
//! Everything that waits (streams, disks, the tracker) is a task of its own that reports through one bounded
//! channel; this one never waits for any of them, so nothing can hold it up.

mod contents;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::{ContentId, Manifest, PeerMessage, RefusalReason, VERSION};
use swarm::{Action, ConnId, Engine, Event, RequestId, ServeId};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout};
use transport::{Connection, SendStream, Transport};

use crate::PeerError;
use crate::disk::content::{ContentStore, Downloads};
use crate::disk::scan::ScanOptions;
use crate::disk::watch::Watch;
use crate::disk::workers::Workers;
use crate::net::buffers::Buffers;
use crate::net::dial;
use crate::net::dial_book::DialBook;
use crate::net::dial_filter::{DialFilter, Source};
use crate::net::dial_limiter::DialLimiter;
use crate::net::fetch::{self, MANIFEST_MEMORY, ManifestProgress, PieceFetch};
use crate::net::link::{self, Question};
use crate::net::rate::RateCap;
use crate::net::serve::{self, PieceServe};
use crate::net::tracker::{self, ToClient};
use crate::node::{NodeBuilder, PeerEvent, Standing};
use crate::report::{Command, Report};
use crate::stats::WaitStats;
use contents::Item;

/// A live connection is never silent for longer, but for two round trips: each end asks for a sign of life every two seconds.
const SILENT: Duration = Duration::from_millis(2500);
/// Reports that may wait.
const INBOX: usize = 1024;

struct Link {
    connection: Arc<dyn Connection>,
    outbox: mpsc::Sender<PeerMessage>,
    /// Bytes that have come over it in all, and when there were last more.
    received: u64,
    heard: Instant,
    /// Whether a right piece came over it.
    proven: bool,
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

struct Driver {
    setup: Setup,
    engine: Engine,
    began: Instant,
    actions: Vec<Action>,
    links: HashMap<ConnId, Link>,
    next_conn: ConnId,
    requests: HashMap<RequestId, Fetching>,
    manifests: HashMap<(ConnId, ContentId), (AbortHandle, Arc<ManifestProgress>)>,
    questions: HashMap<ServeId, Asked>,
    next_serve: ServeId,
    items: HashMap<ContentId, Item>,
    /// Stores of what was given up, while others still write to them.
    closing: Vec<JoinHandle<()>>,
    /// Who waits for the manifest alone of a content, which is not to be downloaded.
    manifest_waiters: HashMap<ContentId, Vec<oneshot::Sender<Arc<Manifest>>>>,
    /// What no watcher may miss, of whatever was shared or wanted.
    standings: HashMap<ContentId, Standing>,
    tracker: Option<mpsc::Sender<ToClient>>,
    tracker_lost: bool,
    /// Notices when files are changed that are shared.
    watch: Watch,
    reports: mpsc::Sender<Report>,
    events: broadcast::Sender<PeerEvent>,
}

/// A request that is under way.
struct Fetching {
    conn: ConnId,
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
    run: protocol::PieceRange,
    stream: Box<dyn SendStream>,
}

struct Setup {
    transport: Arc<dyn Transport>,
    storage: Arc<dyn storage::Backend>,
    downloads: Downloads,
    scan: ScanOptions,
    /// Where others may reach us.
    listeners: watch::Sender<Vec<SocketAddr>>,
    site: String,
    up: Arc<RateCap>,
    down: Arc<RateCap>,
    buffers: Arc<Buffers>,
    /// Memory for manifests that are under way.
    manifest_memory: Arc<Semaphore>,
    workers: Arc<Workers>,
    waits: Arc<WaitStats>,
    dial_limiter: Arc<DialLimiter>,
    dialled: Arc<DialFilter>,
    book: Arc<DialBook>,
}

/// Runs a node until it is shut down or every handle is gone.
pub(crate) async fn run(
    builder: NodeBuilder,
    mut commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<PeerEvent>,
    (waits, book): (Arc<WaitStats>, Arc<DialBook>),
    listeners: watch::Sender<Vec<SocketAddr>>,
) {
    let (reports, mut inbox) = mpsc::channel(INBOX);
    let site = builder.site;
    let hello = PeerMessage::Hello { version: VERSION, listeners: listeners.borrow().clone(), site: site.clone() };
    let dialled = Arc::new(DialFilter::new(builder.dial_private, &builder.transport.listeners()));
    let setup = Setup {
        transport: builder.transport,
        storage: builder.storage,
        downloads: builder.downloads,
        scan: builder.scan,
        listeners,
        site,
        up: Arc::new(RateCap::new(builder.up)),
        down: Arc::new(RateCap::new(builder.down)),
        buffers: Buffers::new(builder.engine.budget),
        manifest_memory: Arc::new(Semaphore::new(MANIFEST_MEMORY)),
        workers: Workers::new(),
        waits,
        dial_limiter: Arc::default(),
        dialled,
        book,
    };
    let accepting = tokio::spawn(dial::accept(setup.transport.clone(), reports.clone()));
    // What it was told to announce does not depend on this machine.
    let watching = builder.announce.is_empty().then(|| {
        let known = setup.listeners.borrow().clone();
        dial::watch_addresses(setup.transport.clone(), known, reports.clone())
    });
    let watching = watching.map(|watching| tokio::spawn(watching));
    let engine = Engine::new(builder.engine, setup.transport.peer_id(), hello, builder.seed);
    let mut driver = Driver {
        setup,
        engine,
        began: Instant::now(),
        actions: Vec::new(),
        links: HashMap::new(),
        next_conn: 0,
        requests: HashMap::new(),
        manifests: HashMap::new(),
        questions: HashMap::new(),
        next_serve: 0,
        items: HashMap::new(),
        closing: Vec::new(),
        manifest_waiters: HashMap::new(),
        standings: HashMap::new(),
        tracker: None,
        tracker_lost: false,
        watch: Watch::new(reports.clone()),
        reports,
        events,
    };
    let reply = loop {
        let tick = driver.began + driver.engine.next_timeout();
        tokio::select! {
            report = inbox.recv() => match report {
                Some(report) => driver.handle(report),
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
    watching.inspect(|watching| watching.abort());
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
        self.manifests.retain(|_, (task, _)| !task.is_finished());
        let manifests: Vec<_> = self.manifests.iter().map(|(&key, (_, progress))| (key, progress.read())).collect();
        for ((conn, content), (came, total)) in manifests.into_iter().filter(|(_, (came, _))| *came > 0) {
            self.event(Event::ManifestProgress { content, conn, came, total });
        }
        self.event(Event::Tick);
    }

    fn handle(&mut self, report: Report) {
        match report {
            Report::Event(mut event) => {
                match &mut event {
                    Event::Message { conn, message: PeerMessage::Peers { content, peers } } => {
                        if let Some(link) = self.links.get(conn) {
                            let source = Source::Peer(link.connection.remote_addr().ip());
                            self.setup.book.not_dialled(*content, &self.setup.dialled.keep(source, peers));
                        }
                    }
                    Event::Disconnected { conn } => self.forget_link(*conn),
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
            Report::Connected { connection, dialled } => self.connected(connection, dialled),
            Report::Question { conn, question } => self.question(conn, question),
            Report::Manifest { manifest } => self.manifest(manifest),
            Report::Opened { content, result } => self.opened(content, result),
            Report::Shared { result, reply } => {
                let result = result.map(|opened| self.shared(opened));
                let _ = reply.send(result);
            }
            Report::Stored { request, content, verdicts } => self.stored(request, content, &verdicts),
            Report::DiskFailed { content, error } => self.give_up(content, error.into()),
            Report::SourceFailed { content, error } => self.source_failed(content, error),
            Report::Completed { content, result } => self.completed(content, result),
            Report::TrackerLost => {
                self.tracker_lost = true;
                self.tell(PeerEvent::TrackerLost);
            }
            Report::TrackerBack => {
                self.tracker_lost = false;
                self.tell(PeerEvent::TrackerBack);
            }
            Report::TrackerUnfit { error } => self.tell(PeerEvent::TrackerUnfit { error: Arc::new(error) }),
            Report::Addresses { addresses } => {
                tracing::info!(?addresses, "this machine has other addresses than before");
                let (listeners, site) = (addresses.clone(), self.setup.site.clone());
                self.engine.set_hello(PeerMessage::Hello { version: VERSION, listeners, site });
                // Whoever announces them to the tracker is woken.
                self.setup.listeners.send_replace(addresses);
            }
        }
    }

    /// A connection has ended, and nobody waits for answers over it. The engine forgets its questions without a word; the
    /// streams that they came on would keep the connection, with all its buffers, for ever.
    fn forget_link(&mut self, conn: ConnId) {
        if let Some(link) = self.links.remove(&conn) {
            let peer = link.connection.peer_id();
            if !self.links.values().any(|other| other.connection.peer_id() == peer) {
                self.setup.book.lost(peer);
            }
        }
        self.questions.retain(|_, asked| asked.conn != conn);
        for (_, (task, _)) in self.manifests.extract_if(|(from, _), _| *from == conn) {
            task.abort();
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
                let len = item.store.as_ref().and_then(|store| store.manifest().geometry().piece(piece));
                let len = len.map_or(0, |piece| piece.len as u64);
                *item.sources.entry(fetching.from).or_default() += len;
                fetching.stored += len;
                if let Some(link) = self.links.get_mut(&fetching.conn) {
                    link.proven = true;
                }
            }
            if !right {
                self.note_wrong(request, "a wrong piece");
            }
            self.event(if right {
                Event::Stored { content, request, piece }
            } else {
                Event::Corrupt { request, piece }
            });
        }
    }

    /// For the log: what a peer did wrong while we still dealt with it.
    fn note_wrong(&self, request: RequestId, what: &'static str) {
        let Some(from) = self.requests.get(&request).map(|fetching| fetching.from) else { return };
        if self.links.values().any(|link| link.connection.peer_id() == from) {
            tracing::info!(peer = %from, "{what}");
        }
    }

    fn tell(&mut self, event: PeerEvent) {
        match &event {
            PeerEvent::Lacking { content, runs } => {
                self.standings.entry(*content).or_default().lacking = runs.clone();
            }
            PeerEvent::Completed { content, .. }
            | PeerEvent::Failed { content, .. }
            | PeerEvent::Withdrawn { content, .. } => {
                self.standings.entry(*content).or_default().turns.push(event.clone());
            }
            _ => {}
        }
        // Nobody may be watching.
        let _ = self.events.send(event);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Track { tracker, reply } => {
                let (transport, listeners) = (self.setup.transport.clone(), self.setup.listeners.subscribe());
                let (dialled, reports) = ((self.setup.dialled.clone(), self.setup.book.clone()), self.reports.clone());
                let client = tracker::start(transport, tracker, listeners, dialled, reports, reply);
                self.tracker = Some(client);
                self.tracker_lost = false;
                let contents: Vec<_> = self.items.keys().copied().collect();
                contents.into_iter().for_each(|content| self.announce(content));
            }
            Command::AddPeer { content, peer, reply } => {
                self.event(Event::Found { content, peers: vec![peer] });
                let _ = reply.send(());
            }
            Command::Find { query, reply } => self.ask_tracker(ToClient::Find { query, reply }),
            Command::List { before, reply } => self.ask_tracker(ToClient::List { before, reply }),
            Command::Manifest { content, reply } => self.await_manifest(content, reply),
            Command::Share { path, options, reply } => {
                let (storage, hashes, reports) =
                    (self.setup.storage.clone(), self.setup.downloads.hashes.clone(), self.reports.clone());
                let (events, mut scan) = (self.events.clone(), self.setup.scan.clone());
                scan.own.push(hashes.clone());
                tokio::spawn(async move {
                    let work = move || ContentStore::share(&path, &options, &scan, &*storage, &hashes, &events);
                    let result = tokio::task::spawn_blocking(work).await.unwrap_or(Err(PeerError::ShutDown));
                    let _ = reports.send(Report::Shared { result, reply }).await;
                });
            }
            Command::Get { content, options, reply } => {
                let _ = reply.send(self.get(content, options));
            }
            Command::Read { content, first, reply } => self.read(content, first, reply),
            Command::Progress { content, reply } => {
                let _ = reply.send(self.progress(content));
            }
            Command::Standing { content, reply } => {
                let _ = reply.send(self.standings.get(&content).cloned().unwrap_or_default());
            }
            Command::WaitingFor { content, reply } => {
                let _ = reply.send(self.waiting_for(content));
            }
            Command::Shutdown { reply } => drop(reply),
        }
    }

    fn ask_tracker(&self, question: ToClient) {
        match &self.tracker {
            Some(tracker) => {
                if let Err(error) = tracker.try_send(question) {
                    error.into_inner().unheard();
                }
            }
            None => question.unheard(),
        }
    }

    fn connected(&mut self, connection: Arc<dyn Connection>, dialled: bool) {
        let conn = self.next_conn;
        self.next_conn += 1;
        let (peer, remote) = (connection.peer_id(), connection.remote_addr());
        self.setup.book.connected(peer);
        self.tell(PeerEvent::Connected { peer, address: remote, transport: connection.transport() });
        let (outbox, messages) = mpsc::channel(link::OUTBOX);
        let link = Link { connection: connection.clone(), outbox, received: 0, heard: Instant::now(), proven: false };
        self.links.insert(conn, link);
        let talk = link::run(conn, connection.clone(), dialled, messages, self.reports.clone());
        connection.spawn(Box::pin(talk));
        self.event(Event::Connected { conn, peer, remote, dialled });
    }

    fn question(&mut self, conn: ConnId, question: Question) {
        // It may have waited in the inbox while we closed the connection.
        let Some(link) = self.links.get(&conn) else { return };
        match question {
            Question::Manifest { content, stream } => match self.items.get(&content).and_then(|i| i.store.as_ref()) {
                Some(store) => {
                    let (bytes, cap) = (store.manifest().bytes().clone(), self.setup.up.clone());
                    drop(tokio::spawn(serve::manifest(link.connection.clone(), stream, bytes, cap)))
                }
                None => drop(tokio::spawn(link::refuse(stream, RefusalReason::NotHeld))),
            },
            Question::Pieces { content, run, stream } => {
                let serve = self.next_serve;
                self.next_serve += 1;
                self.questions.insert(serve, Asked { conn, content, run, stream });
                self.event(Event::Requested { conn, serve, content, run });
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { peer } => {
                let (transport, limiter) = (self.setup.transport.clone(), self.setup.dial_limiter.clone());
                drop(tokio::spawn(dial::dial(transport, limiter, self.setup.book.clone(), peer, self.reports.clone())))
            }
            Action::Close { conn, reason } => {
                if let Some(link) = self.links.get(&conn) {
                    tracing::info!(peer = %link.connection.peer_id(), reason, "closes a connection");
                    link.connection.close(1, reason);
                }
                self.forget_link(conn);
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
                    let progress = Arc::<ManifestProgress>::default();
                    let fetch = fetch::ManifestFetch {
                        conn,
                        connection: link.connection.clone(),
                        content,
                        progress: progress.clone(),
                        memory: self.setup.manifest_memory.clone(),
                        reports: self.reports.clone(),
                    };
                    let task = link.connection.spawn(Box::pin(fetch.run()));
                    let before = self.manifests.insert((conn, content), (task.abort_handle(), progress));
                    if let Some((before, _)) = before {
                        before.abort();
                    }
                }
            }
            Action::CancelManifest { conn, content } => {
                if let Some((task, _)) = self.manifests.remove(&(conn, content)) {
                    task.abort();
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
                let store = self.items.get(&asked.content).and_then(|item| item.store.clone());
                if let (Some(store), Some(link)) = (store, self.links.get(&asked.conn)) {
                    let (workers, cap) = (self.setup.workers.clone(), self.setup.up.clone());
                    let (Asked { run, stream, .. }, reports) = (asked, self.reports.clone());
                    let connection = link.connection.clone();
                    let work = PieceServe { serve, connection, store, run, stream, workers, cap, reports };
                    link.connection.spawn(Box::pin(work.run()));
                } else {
                    self.event(Event::Served { serve });
                }
            }
            Action::Refuse { serve, reason } => {
                if let Some(asked) = self.questions.remove(&serve) {
                    tokio::spawn(link::refuse(asked.stream, reason));
                }
            }
            Action::Completed { content } => self.finish(content),
            Action::FindMore { content } => self.announce(content),
            Action::Lacking { content, runs } => self.tell(PeerEvent::Lacking { content, runs }),
            Action::Banned { peer } => self.tell(PeerEvent::Banned { peer }),
        }
    }

    fn fetch(&mut self, conn: ConnId, request: RequestId, content: ContentId, run: protocol::PieceRange) {
        let (Some(link), Some(item)) = (self.links.get(&conn), self.items.get(&content)) else { return };
        let Some(store) = item.store.clone() else { return };
        let came = Arc::new(AtomicU64::new(0));
        let fetch = PieceFetch {
            request,
            connection: link.connection.clone(),
            store,
            run,
            proven: link.proven,
            came: came.clone(),
            buffers: self.setup.buffers.clone(),
            workers: self.setup.workers.clone(),
            waits: self.setup.waits.clone(),
            cap: self.setup.down.clone(),
            reports: self.reports.clone(),
        };
        let task = link.connection.spawn(Box::pin(fetch.run()));
        let reports = self.reports.clone();
        let from = link.connection.peer_id();
        self.requests
            .insert(request, Fetching { conn, from, task: task.abort_handle(), came, told: 0, content, stored: 0 });
        // A request that is given up ends like any other, so that the engine's stats are right.
        tokio::spawn(async move {
            if task.await.is_err() {
                let event = Event::Finished { request, failure: Some(swarm::Failure::Broken) };
                let _ = reports.send(Report::Event(event)).await;
            }
        });
    }

    /// Claims what is verified and lets go of the output, away from here.
    fn close_store(&mut self, store: Arc<ContentStore>) {
        self.closing.retain(|closing| !closing.is_finished());
        self.closing.push(tokio::task::spawn_blocking(move || {
            if let Err(error) = store.close() {
                tracing::warn!(%error, "the last verified pieces are not claimed");
            }
        }));
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
        let stores: Vec<_> = self.items.drain().filter_map(|(_, mut item)| item.store.take()).collect();
        stores.into_iter().for_each(|store| self.close_store(store));
        let closing = std::mem::take(&mut self.closing);
        let all = async {
            for store in closing {
                let _ = store.await;
            }
        };
        let _ = timeout(Duration::from_secs(30), all).await;
        let _ = timeout(Duration::from_secs(3), self.setup.transport.close()).await;
    }
}
