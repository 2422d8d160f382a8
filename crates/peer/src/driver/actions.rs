//! Carries out the engine's actions: connections, requests and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{ContentId, PeerId, PieceRange};
use swarm::{Action, ConnId, Event, RequestId};
use tokio::task::JoinHandle;
use transport::RELAY;

use super::item::Item;
use super::participants::room;
use super::private::NOTHING;
use super::state::{Driver, Fetching, PendingServe};
use crate::event::PeerEvent;
use crate::net::dial::{self, DialRoute, Dialler};
use crate::net::fetch::{ManifestFetch, ManifestProgress, PieceFetch};
use crate::net::intake::Intake;
use crate::net::link;
use crate::net::rate::{Lane, Turn};
use crate::net::relay::Through;
use crate::net::serve::{Answering, PieceServe};
use crate::report::Report;

impl Driver {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Dial { peer } => {
                let manner = self.manner(peer.id);
                let (dial, under_way) = dial::pending();
                self.dials.insert(peer.id, dial);
                let dialler = Dialler {
                    transport: self.setup.transport.clone(),
                    limiter: self.setup.dial_limiter.clone(),
                    book: self.setup.book.clone(),
                    vouched: self.engine.is_vouched_for(peer.id),
                };
                drop(tokio::spawn(dialler.dial((peer, manner), under_way, self.reports.clone())))
            }
            Action::DialAlso { peer } => {
                if let Some(dial) = self.dials.get_mut(&peer.id) {
                    dial.also_at(peer.addresses);
                }
            }
            Action::Close { conn, reason } => {
                if let Some(link) = self.links.get(&conn) {
                    tracing::info!(peer = %link.connection.peer_id(), reason, "closes a connection");
                    link.connection.close(1, reason);
                }
                self.forget_link(conn);
            }
            Action::Send { conn, message } => {
                let message = match (message.content(), self.unproven) {
                    (Some(NOTHING), Some(content)) => message.about(content),
                    (Some(content), _) if !self.may_pass(conn, content) => return,
                    _ => message,
                };
                if let Some(link) = self.links.get(&conn)
                    && link.outbox.try_send(message).is_err()
                {
                    link.connection.close(1, "it does not read");
                }
            }
            Action::FetchManifest { conn, content } => {
                if !self.may_pass(conn, content) {
                    // Once it is proven there, it is asked for anew.
                    self.event(Event::ManifestFailed { content, conn, lied: false });
                } else if let Some(link) = self.links.get(&conn) {
                    let progress = Arc::<ManifestProgress>::default();
                    let fetch = ManifestFetch {
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
            Action::Fetch { conn, request, content, run, awaited } => {
                self.fetch(conn, request, content, (run, awaited))
            }
            Action::FetchFirst { conn, request, content, most } => self.fetch_first(conn, request, content, most),
            Action::TakeFirst { request, content, run } => self.take_first(request, content, run),
            Action::FetchFromOrigin { request, content, run } => self.fetch_from_origin(request, content, run),
            Action::Cancel { request } => {
                if let Some(fetching) = self.requests.get(&request) {
                    fetching.task.abort();
                }
            }
            Action::Serve { serve } => {
                let Some(asked) = self.questions.remove(&serve) else { return };
                if !self.may_receive(asked.conn, asked.content) {
                    return self.event(Event::Served { serve, pieces: 0 });
                }
                let room = room(self.items.len());
                let item = self.items.get_mut(&asked.content);
                let held = item.and_then(|item| Some((item.store.clone()?, item.up.clone(), &mut item.participants)));
                if let (Some((store, cap, participants)), Some(link)) = (held, self.links.get_mut(&asked.conn)) {
                    link.remembered.insert(asked.content);
                    let workers = self.setup.workers.clone();
                    let connection = link.connection.clone();
                    // Counted at one place for all who ask how much was sent.
                    let sent = match link.receivers.get(&asked.content) {
                        Some(receiving) => receiving.bytes.clone(),
                        None => participants.sent_to(connection.peer_id(), connection.remote_addr(), room),
                    };
                    let (PendingServe { run, answering, .. }, reports) = (asked, self.reports.clone());
                    let counting = self.setup.counting.clone();
                    let work = PieceServe { serve, connection, store, run, workers, cap, sent, counting, reports };
                    link.connection.spawn(Box::pin(work.run(answering)));
                } else {
                    self.event(Event::Served { serve, pieces: 0 });
                }
            }
            Action::Choose { serve, run } => self.choose(serve, run),
            Action::Refuse { serve, reason } => {
                // Where it was said already which pieces come, the stream just ends.
                if let Some(PendingServe { answering: Answering::Quiet(stream), .. }) = self.questions.remove(&serve) {
                    tokio::spawn(link::refuse(stream, reason));
                }
            }
            Action::Completed { content } => self.finish(content),
            Action::FindMore { content } => {
                self.announce(content);
                self.hurry_on_lan(content);
            }
            Action::Lacking { content, runs } => self.lacking(content, runs),
            Action::Banned { peer } => {
                self.setup.counting.banned.fetch_add(1, Ordering::Relaxed);
                self.tell(PeerEvent::Banned { peer });
            }
        }
    }

    /// The relay is for peers of which something is wanted, and of which no connection stands.
    fn manner(&self, peer: PeerId) -> DialRoute {
        let mut links = self.links.values().filter(|link| link.connection.peer_id() == peer).peekable();
        if links.peek().is_some() {
            let relayed = links.any(|link| link.connection.transport() == RELAY);
            return if relayed { DialRoute::BesideRelay } else { DialRoute::First(None) };
        }
        let mut wanted = self.items.iter().filter(|(_, item)| item.wanted || item.manifest_only);
        let content = wanted.find(|(content, _)| self.engine.knows(**content, peer)).map(|(&content, _)| content);
        let announced = content.map(|content| self.setup.gate.shares.announced_as(content));
        let through = announced.map(|announced| Through { trackers: self.trackers.of(announced), announced });
        DialRoute::First(through.filter(|through| !through.trackers.is_empty()))
    }

    pub(super) fn fetch(
        &mut self,
        conn: ConnId,
        request: RequestId,
        content: ContentId,
        (run, awaited): (PieceRange, bool),
    ) {
        let (Some(link), Some(item)) = (self.links.get(&conn), self.items.get(&content)) else { return };
        let Some(intake) = self.intake(request, item, run) else { return };
        let intake = Intake { blocks: link.blocks.clone(), turn: Turn::new(link.lane, awaited), ..intake };
        let (from, came) = (link.connection.peer_id(), intake.came.clone());
        let fetch = PieceFetch { connection: link.connection.clone(), awaited, proven: link.proven, intake };
        let task = link.connection.spawn(Box::pin(fetch.run()));
        self.note_request(request, content, (conn, from), came, task);
    }

    /// Where the pieces of a request go, if the content is open.
    pub(super) fn intake(&self, request: RequestId, item: &Item, run: PieceRange) -> Option<Intake> {
        Some(Intake {
            request,
            store: item.store.clone()?,
            run,
            came: Arc::default(),
            buffers: self.setup.buffers.clone(),
            workers: self.setup.workers.clone(),
            waits: item.waits.clone(),
            cap: item.down.clone(),
            turn: Turn::new(Lane::new(), false),
            blocks: Arc::default(),
            reports: self.reports.clone(),
        })
    }

    /// Notes a request that has begun, and hears of its end.
    pub(super) fn note_request(
        &mut self,
        request: RequestId,
        content: ContentId,
        (conn, from): (ConnId, PeerId),
        came: Arc<AtomicU64>,
        task: JoinHandle<()>,
    ) {
        let fetching = Fetching { conn, from, task: task.abort_handle(), came, told: 0, content, stored: 0 };
        self.requests.insert(request, fetching);
        let reports = self.reports.clone();
        // A request that is given up ends like any other, so that the engine's stats are right.
        tokio::spawn(async move {
            if task.await.is_err() {
                let event = Event::Finished { request, failure: Some(swarm::Failure::Broken) };
                let _ = reports.send(Report::Event(event)).await;
            }
        });
    }
}
