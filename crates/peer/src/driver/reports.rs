//! Hands the reports of tasks to the engine, and keeps what the driver itself must remember.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::{Answer, ContentId, PeerMessage, PieceRange, RefusalReason, VERSION};
use swarm::{ConnId, Event, RequestId};
use tokio::sync::mpsc;
use transport::{Connection, RELAY, TransportError};

use super::private::NOTHING;
use super::state::{Driver, Link, PendingServe};
use crate::config::MOST_ANNOUNCED;
use crate::error::PeerError;
use crate::event::PeerEvent;
use crate::net::dial_filter::Source;
use crate::net::let_in::LetIn;
use crate::net::link;
use crate::net::origin::ORIGIN;
use crate::net::serve::{self, Answering};
use crate::report::{Question, Report};

impl Driver {
    pub(super) fn handle(&mut self, report: Report) {
        match report {
            Report::Event(Event::Message { conn, message }) => self.message(conn, message),
            Report::Event(event) => {
                let found = match &event {
                    Event::Found { content, peers } if self.is_private(*content) => {
                        Some((*content, peers.iter().map(|peer| peer.id).collect::<Vec<_>>()))
                    }
                    _ => None,
                };
                match &event {
                    Event::Disconnected { conn } => {
                        self.look_before_it_leaves(*conn);
                        self.forget_link(*conn);
                    }
                    Event::DialFailed { peer } | Event::DialHeldBack { peer } => drop(self.dials.remove(peer)),
                    Event::Finished { request, failure } => {
                        if *failure == Some(swarm::Failure::Invalid) {
                            self.note_wrong(*request, "an answer of a wrong length");
                        }
                        self.progressed(*request);
                        self.requests.remove(request);
                        self.firsts.remove(request);
                    }
                    _ => {}
                }
                self.event(event);
                if let Some((content, peers)) = found {
                    self.prove_to(content, &peers);
                }
            }
            Report::LetIn(let_in) => self.let_in(*let_in),
            Report::Approached(approached) => self.approached(*approached),
            Report::ApproachOver => self.approach_over(),
            Report::NotLetIn { peer, reason } => {
                self.setup.book.failed(peer, Some(TransportError::Handshake(reason)));
                self.event(Event::DialFailed { peer });
            }
            Report::Left { conn } => self.leaves(conn),
            Report::ShareOver { conn, reason } => {
                let admitted = self.links.get(&conn).map(|link| link.admitted.clone()).unwrap_or_default();
                for content in admitted {
                    self.tell(PeerEvent::ShareOver { content, reason: reason.clone() });
                }
            }
            Report::Connected { connection, dialled } => self.connected(connection, dialled),
            Report::Question { conn, question } => self.question(conn, question),
            Report::Manifest { manifest } => self.manifest(manifest),
            Report::ManifestTooNew { content, version } => {
                self.give_up(content, PeerError::TooOld { content, version });
            }
            Report::ManifestLacks { content, attempt } => self.seek_manifest(content, attempt),
            Report::OriginFailed { content, reason } => self.origin_failed(content, reason),
            Report::Opened { content, attempt, result } => self.opened(content, attempt, result),
            Report::Shared { result, up, secret, reply } => {
                let result = result.map(|opened| self.shared(opened, up, secret));
                let _ = reply.send(result);
            }
            Report::Stored { request, content, verdicts } => self.stored(request, content, &verdicts),
            Report::DiskFailed { content, error } => self.give_up(content, error.into()),
            Report::SourceFailed { content, error } => self.source_failed(content, error),
            Report::Completed { content, result } => self.completed(content, result),
            Report::Watched { number, content } => self.is_watched(number, content),
            Report::Tracker { number, news } => {
                self.tracker_news(number, news);
                self.publish_trackers();
            }
            Report::Introduced { number, content, joined, gone } => self.introduced(number, content, joined, gone),
            Report::Resolved { place, found } => {
                self.resolved(place, &found);
                self.publish_trackers();
            }
            Report::Met(holder) => self.met_on_lan(holder),
            Report::Addresses { addresses } => {
                tracing::info!(?addresses, "this machine has other addresses than before");
                self.announced.0 = addresses;
                self.announce_addresses();
            }
        }
    }

    /// Tells others where this node is reached: at the addresses of this machine, and at those that were named beside them.
    pub(super) fn announce_addresses(&mut self) {
        let (own, also) = &self.announced;
        let mut addresses = own.clone();
        addresses.truncate(MOST_ANNOUNCED.saturating_sub(also.len()));
        addresses.extend(also.iter().filter(|address| !own.contains(address)));
        addresses.truncate(MOST_ANNOUNCED);
        let (listeners, site) = (addresses.clone(), self.setup.site.clone());
        self.engine.set_hello(PeerMessage::Hello { version: VERSION, listeners, site });
        // The task that announces them to the tracker is woken.
        self.setup.listeners.send_if_modified(|before| std::mem::replace(before, addresses.clone()) != addresses);
    }

    /// A connection has ended, and nobody waits for answers over it. The engine forgets its questions without a word; the
    /// streams that they came on would keep the connection, with all its buffers, for ever.
    pub(super) fn forget_link(&mut self, conn: ConnId) {
        self.receivers_left(conn);
        if let Some(link) = self.links.remove(&conn) {
            self.setup.counting.connection(link.connection.transport(), -1);
            let peer = link.connection.peer_id();
            if let Some(other) = self.links.values_mut().find(|other| other.connection.peer_id() == peer) {
                other.remembered.extend(link.remembered);
            } else {
                self.setup.book.lost(peer);
                for content in &link.remembered {
                    self.items.get_mut(content).into_iter().for_each(|item| item.participants.left(peer));
                }
            }
        }
        self.questions.retain(|_, asked| asked.conn != conn);
        for (_, (task, _)) in self.manifests.extract_if(|(from, _), _| *from == conn) {
            task.abort();
        }
    }

    /// Tells the engine what has come of a request since it was told last.
    pub(super) fn progressed(&mut self, request: RequestId) {
        let Some(fetching) = self.requests.get_mut(&request) else { return };
        let came = fetching.came.load(Ordering::Relaxed);
        let bytes = came - std::mem::replace(&mut fetching.told, came);
        if bytes > 0 {
            self.event(Event::Progress { request, bytes });
        }
    }

    pub(super) fn stored(&mut self, request: RequestId, content: ContentId, verdicts: &[(u32, bool)]) {
        self.progressed(request);
        let source = self.source_of(request);
        let counting = self.setup.counting.clone();
        for &(piece, right) in verdicts {
            match right {
                true if self.engine.have(content).is_some_and(|have| have.contains(piece)) => &counting.twice,
                true => &counting.verified,
                false => &counting.wrong,
            }
            .fetch_add(1, Ordering::Relaxed);
            if right
                && let (Some(item), Some(fetching)) = (self.items.get_mut(&content), self.requests.get_mut(&request))
            {
                let len = item.store.as_ref().and_then(|store| store.manifest().geometry().piece(piece));
                let len = len.map_or(0, |piece| piece.len as u64);
                if item.sources.is_empty() {
                    counting.first_piece.add(item.started.elapsed());
                }
                *item.sources.entry(fetching.from).or_default() += len;
                counting.received[source].fetch_add(len, Ordering::Relaxed);
                fetching.stored += len;
                if let Some(link) = self.links.get_mut(&fetching.conn) {
                    link.proven = true;
                }
            }
            if !right {
                self.note_wrong(request, "a wrong piece");
            }
            if self.requests.get(&request).is_some_and(|fetching| fetching.from == ORIGIN) {
                self.origin_brought(content, right);
            }
            self.event(if right {
                Event::Stored { content, request, piece }
            } else {
                Event::Corrupt { request, piece }
            });
        }
        self.serve_readers(content);
        self.keep_order(content);
    }

    /// Where what comes of a request is counted: as a peer's, as relayed, or as an origin's.
    fn source_of(&self, request: RequestId) -> usize {
        let Some(fetching) = self.requests.get(&request) else { return 0 };
        let is_relayed = || self.links.get(&fetching.conn).is_some_and(|link| link.connection.transport() == RELAY);
        if fetching.from == ORIGIN { 2 } else { usize::from(is_relayed()) }
    }

    /// For the log: what a peer did wrong while we still dealt with it.
    pub(super) fn note_wrong(&self, request: RequestId, what: &'static str) {
        let Some(from) = self.requests.get(&request).map(|fetching| fetching.from) else { return };
        if self.links.values().any(|link| link.connection.peer_id() == from) {
            tracing::info!(peer = %from, "{what}");
        }
    }

    /// A message of a peer goes into the engine. If it is of a private share that was not proven, the engine hears the same of a
    /// content that nobody has, so that its answer and what the message costs tell nothing.
    fn message(&mut self, conn: ConnId, mut message: PeerMessage) {
        match &mut message {
            PeerMessage::Prove { proofs } => {
                let proofs = std::mem::take(proofs);
                self.proofs_came(conn, &proofs);
            }
            PeerMessage::Proven { proofs } => {
                let proofs = std::mem::take(proofs);
                self.answers_came(conn, &proofs);
            }
            _ => {}
        }
        self.unproven = message.content().filter(|content| !self.may_pass(conn, *content));
        if self.unproven.is_some() {
            message = message.about(NOTHING);
        }
        let mut named = None;
        if let PeerMessage::Peers { content, peers } = &mut message
            && let Some(link) = self.links.get(&conn)
        {
            if self.items.contains_key(content) {
                let source = Source::Peer(link.connection.remote_addr().ip());
                self.setup.book.not_dialled(*content, &self.setup.dialled.keep(source, peers));
            } else {
                // Nobody is dialled for it.
                peers.iter_mut().for_each(|peer| peer.addresses.clear());
            }
            let somewhere = peers.iter().filter(|peer| !peer.addresses.is_empty());
            named = Some((*content, somewhere.map(|peer| peer.id).collect::<Vec<_>>()));
        }
        match message {
            PeerMessage::Interest { content, interested: false } => self.wants_no_more(conn, content),
            PeerMessage::Bye => {
                self.look_before_it_leaves(conn);
                self.leaves(conn);
            }
            _ => {}
        }
        self.note_receiver(conn, &message);
        self.event(Event::Message { conn, message });
        self.unproven = None;
        if let Some((content, peers)) = named {
            self.prove_to(content, &peers);
        }
    }

    /// A connection stands; what is said first on it is said away from here.
    fn connected(&mut self, connection: Arc<dyn Connection>, dialled: bool) {
        // While a relay carries a connection, the addresses of the peer are tried on.
        if dialled && connection.transport() != RELAY {
            self.dials.remove(&connection.peer_id());
        }
        // Who comes from behind a router shows that there are peers behind it.
        if !dialled && connection.transport() != RELAY {
            self.setup.dial_limiter.answered(connection.remote_addr());
        }
        let (gate, reports) = (self.setup.gate.clone(), self.reports.clone());
        if dialled {
            let (asked, open) = self.known_for(connection.peer_id());
            connection.spawn(Box::pin(gate.dialled(connection.clone(), asked, open, reports)));
        } else {
            connection.spawn(Box::pin(gate.accepted(connection.clone(), reports)));
        }
    }

    pub(super) fn let_in(&mut self, let_in: LetIn) {
        let LetIn { connection, dialled, control, proven, places } = let_in;
        let conn = self.next_conn;
        self.next_conn += 1;
        let (peer, remote) = (connection.peer_id(), connection.remote_addr());
        let relayed = connection.transport() == RELAY;
        if !relayed {
            // It came while it was dialled: there is no need any more.
            self.dials.remove(&peer);
        }
        self.setup.book.connected(peer);
        self.setup.counting.connection(connection.transport(), 1);
        self.tell(PeerEvent::Connected { peer, address: remote, transport: connection.transport(), dialled });
        let (outbox, messages) = mpsc::channel(link::OUTBOX);
        let mut link = Link::new(connection.clone(), outbox);
        link.places = places;
        // What both take part in is said by the engine as soon as it knows of the connection.
        link.admitted = proven.iter().copied().collect();
        self.links.insert(conn, link);
        let talk = link::run(conn, connection.clone(), control, messages, self.reports.clone());
        connection.spawn(Box::pin(talk));
        // Nobody is reached at a port from which one dials over TCP.
        let is_listener = !relayed && (dialled || connection.transport() != "tcp");
        let remote = SocketAddr::new(remote.ip(), if is_listener { remote.port() } else { 0 });
        self.event(Event::Connected { conn, peer, remote, dialled, relayed });
        for content in proven {
            self.event(Event::Admitted { conn, content, late: false });
            self.name_receivers(content, Some(conn));
        }
    }

    pub(super) fn question(&mut self, conn: ConnId, question: Question) {
        // It may have waited in the inbox while we closed the connection.
        if !self.links.contains_key(&conn) {
            return;
        }
        let known = |content| if self.may_pass(conn, content) { content } else { NOTHING };
        match question {
            Question::Manifest { content, stream } => {
                let store = self.items.get(&known(content)).and_then(|item| item.store.clone());
                let (Some(store), Some(link)) = (store, self.links.get_mut(&conn)) else {
                    return drop(tokio::spawn(link::refuse(stream, RefusalReason::NotHeld)));
                };
                let bytes = store.manifest().bytes().clone();
                let stores = self.items.values().filter_map(|item| item.store.as_ref());
                let all = || stores.map(|store| store.manifest().bytes().len() as u64).sum::<u64>();
                let Some(turn) = link.manifests.ask(bytes.len() as u64, all) else {
                    return drop(tokio::spawn(link::refuse(stream, RefusalReason::Busy)));
                };
                let (connection, cap) = (link.connection.clone(), self.setup.up.clone());
                drop(tokio::spawn(serve::manifest(connection, (stream, turn), bytes, cap)))
            }
            Question::UpRate { content, stream } => match self.items.get(&known(content)) {
                Some(item) => drop(tokio::spawn(link::answer(stream, Answer::UpRate(item.up.slowest())))),
                None => drop(tokio::spawn(link::refuse(stream, RefusalReason::NotHeld))),
            },
            Question::Receivers { content, list } => self.receivers_named(conn, known(content), list),
            Question::Pieces { content, run, awaited, stream } => {
                let content = known(content);
                let serve = self.next_serve;
                self.next_serve += 1;
                self.questions.insert(serve, PendingServe { conn, content, run, answering: Answering::Quiet(stream) });
                self.event(Event::Requested { conn, serve, content, run, awaited });
            }
            Question::FirstPieces { content, most, stream } => {
                let content = known(content);
                let serve = self.next_serve;
                self.next_serve += 1;
                // The engine chooses them.
                let (run, answering) = (PieceRange { first: 0, count: 0 }, Answering::Quiet(stream));
                self.questions.insert(serve, PendingServe { conn, content, run, answering });
                self.event(Event::RequestedFirst { conn, serve, content, most });
            }
        }
    }
}
