//! The node's one task: it tells the engine what happens, and carries out the engine's actions.
//!
//! Everything that waits (streams, disks, the tracker) is a task of its own that reports through one bounded
//! channel; this one never waits for any of them, so nothing can hold it up.

mod actions;
mod approached;
mod commands;
mod contents;
mod first;
mod in_order;
mod introduced;
mod item;
mod joining;
mod keeping_order;
mod lan;
mod origin;
mod participants;
mod private;
mod progress;
mod reader;
mod reading;
mod receiving;
mod reports;
mod state;
mod status;
mod trackers;
mod watched;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{PeerMessage, VERSION};
use swarm::{Engine, Event};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::command::Command;
use crate::config::NodeBuilder;
use crate::counters::Counting;
use crate::disk::watch::Watch;
use crate::disk::workers::Workers;
use crate::event::PeerEvent;
use crate::net::buffers::Buffers;
use crate::net::dial_book::DialBook;
use crate::net::dial_filter::DialFilter;
use crate::net::gate::Gate;
use crate::net::listen;
use crate::net::tracker::ToClient;
use crate::report::Report;
use crate::stats::WaitStats;
use crate::tracker_status::TrackerStatus;
use state::{Driver, Setup, Sharer};
use trackers::Trackers;

/// Reports that may wait.
const INBOX: usize = 1024;
/// Time between two looks at how contents stand, for those who watch.
const STATUS: Duration = Duration::from_millis(200);

/// Runs a node until it is shut down or every handle is gone.
pub(crate) async fn run(
    builder: NodeBuilder,
    mut commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<PeerEvent>,
    (waits, book, counting): (Arc<WaitStats>, Arc<DialBook>, Arc<Counting>),
    (listeners, tracker_statuses): (watch::Sender<Vec<SocketAddr>>, watch::Sender<Vec<TrackerStatus>>),
) {
    let (reports, mut inbox) = mpsc::channel(INBOX);
    let transport = builder.transport.clone();
    let accepting = tokio::spawn(listen::accept(transport.clone(), reports.clone()));
    // What it was told to announce does not depend on this machine.
    let watching = builder.announce.is_empty().then(|| {
        let known = listeners.borrow().clone();
        listen::watch_addresses(transport, known, reports.clone())
    });
    let watching = watching.map(|watching| tokio::spawn(watching));
    let mut driver = Driver::new(builder, reports, events, (waits, book, counting), (listeners, tracker_statuses));
    let mut statuses = tokio::time::interval(STATUS);
    statuses.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
            _ = statuses.tick(), if !driver.items.is_empty() => {
                driver.publish_all();
                driver.sweep_readers();
                driver.report_progress();
                driver.look_for_lonely();
                driver.review_receivers();
            }
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
    fn new(
        builder: NodeBuilder,
        reports: mpsc::Sender<Report>,
        events: broadcast::Sender<PeerEvent>,
        (waits, book, counting): (Arc<WaitStats>, Arc<DialBook>, Arc<Counting>),
        (listeners, tracker_statuses): (watch::Sender<Vec<SocketAddr>>, watch::Sender<Vec<TrackerStatus>>),
    ) -> Self {
        let NodeBuilder {
            transport,
            storage,
            downloads,
            scan,
            manifests_by_place,
            site,
            up,
            down,
            dial_private,
            shares,
            private,
            lan,
            named_origins,
            resolver,
            seed,
            ..
        } = builder;
        let hello = PeerMessage::Hello { version: VERSION, listeners: listeners.borrow().clone(), site: site.clone() };
        let buffers = Buffers::new(builder.engine.budget);
        // What is asked for can all be on loan at once. Otherwise connections fill with what waits for a buffer, and what has one cannot
        // come: everybody waits for everybody.
        let mut config = builder.engine;
        config.budget = buffers.most_on_loan();
        let engine = Engine::new(config, transport.peer_id(), hello, seed);
        let dialled = Arc::new(DialFilter::new(dial_private, &transport.listeners()));
        let gate = Arc::new(Gate::new(transport.peer_id(), shares));
        let announced = (listeners.borrow().clone(), Vec::new());
        let setup = Setup {
            transport,
            storage,
            downloads,
            scan,
            manifests_by_place,
            announces_own: builder.announce.is_empty(),
            listeners,
            site,
            up,
            down,
            buffers,
            manifest_memory: Arc::default(),
            workers: Workers::new(),
            waits,
            counting,
            dial_limiter: Arc::default(),
            dialled,
            book,
            gate,
            private,
            lan,
            named_origins,
            resolver,
        };
        let driver = Driver {
            setup,
            engine,
            began: Instant::now(),
            actions: Vec::new(),
            links: HashMap::new(),
            next_conn: 0,
            dials: HashMap::new(),
            requests: HashMap::new(),
            firsts: HashMap::new(),
            manifests: HashMap::new(),
            questions: HashMap::new(),
            next_serve: 0,
            items: HashMap::new(),
            next_instance: 0,
            next_attempt: 0,
            abandoned: HashMap::new(),
            closing: Vec::new(),
            manifest_waiters: HashMap::new(),
            unproven: None,
            trackers: Trackers::default(),
            tracker_statuses,
            around: None,
            sharer: Sharer::default(),
            announced,
            watch: Watch::new(reports.clone()),
            reports,
            events,
        };
        driver.look_for_strangers();
        driver.begin_on_lan();
        driver
    }

    fn event(&mut self, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.engine.handle(self.began.elapsed(), event, &mut actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        self.actions = actions;
    }

    /// Tells who watches. Nobody may be watching.
    fn tell(&self, event: PeerEvent) {
        let _ = self.events.send(event);
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

    /// Goodbye to everyone, then the disk, then the sockets; each within a bounded time.
    async fn shut_down(&mut self) {
        for fetching in self.requests.values() {
            fetching.task.abort();
        }
        for link in self.links.values() {
            let _ = link.outbox.try_send(PeerMessage::Bye);
        }
        let mut leaving = Vec::new();
        for tracker in self.trackers.take_all() {
            let (done, gone) = oneshot::channel();
            if tracker.try_send(ToClient::Bye { done }).is_ok() {
                leaving.push(gone);
            }
        }
        let left = async {
            for gone in leaving {
                let _ = gone.await;
            }
        };
        let _ = timeout(Duration::from_secs(1), left).await;
        let stores: Vec<_> = self.items.drain().filter_map(|(_, mut item)| item.store.take()).collect();
        for store in stores {
            self.close_store(store);
        }
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
