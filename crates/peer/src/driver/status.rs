//! How contents stand, for those who watch them.

use std::sync::atomic::Ordering;

use protocol::{ContentId, PieceRange};
use swarm::ConnId;
use tokio::time::Instant;

use super::item::{Item, OriginTold};
use super::state::Driver;
use crate::event::PeerEvent;
use crate::net::dial_book::WaitingFor;
use crate::stats::Bottleneck;
use crate::status::{State, Status};

impl Driver {
    /// Takes a look at everything that is watched. Thousands of contents that nobody asks for cost next to nothing.
    pub(super) fn publish_all(&mut self) {
        let watched = self.items.iter().filter(|(_, item)| item.status.receiver_count() > 0);
        let moving = watched.filter(|(content, item)| !self.is_still(**content, item));
        let moving: Vec<_> = moving.map(|(&content, _)| content).collect();
        for content in moving {
            self.publish(content);
        }
    }

    /// Whether nothing has changed since the last look: nothing is fetched, nobody is here, and that is known.
    fn is_still(&self, content: ContentId, item: &Item) -> bool {
        let is_fetched = item.wanted && !item.finished && !item.paused;
        let last = item.status.borrow();
        let said = self
            .engine
            .view(content)
            .is_none_or(|view| (view.have, view.pieces, view.peers) == (last.have, last.pieces, last.peers));
        let kept = item.store.as_ref().is_none_or(|store| {
            let name = &store.manifest().header().name;
            (store.wanted(), store.sent(), name) == (last.size, last.sent, &last.name)
        });
        !is_fetched && last.peers == 0 && last.rate == 0 && said && kept
    }

    /// How a content stands now. Those who watch are woken if its figures have changed.
    pub(super) fn publish(&mut self, content: ContentId) -> Option<Status> {
        let now = self.status(content)?;
        let item = self.items.get(&content)?;
        let figures = |status: &Status| {
            let Status { have, pieces, peers, received, sent, rate, .. } = *status;
            (have, pieces, peers, received, sent, rate)
        };
        item.status.send_if_modified(|status| {
            let changed = figures(status) != figures(&now);
            status.clone_from(&now);
            changed
        });
        Some(now)
    }

    /// A content is in another state, with the figures of this moment.
    pub(super) fn set_state(&mut self, content: ContentId, state: State) {
        let Some(mut now) = self.status(content) else { return };
        now.state = state;
        if let Some(item) = self.items.get(&content) {
            item.status.send_replace(now);
        }
    }

    fn status(&mut self, content: ContentId) -> Option<Status> {
        let view = self.engine.view(content);
        let participants = self.participants(content);
        let item = self.items.get_mut(&content)?;
        let mut status = item.status.borrow().clone();
        // What is not stored yet is here all the same: on a slow link a block takes seconds.
        let of_content = self.requests.values().filter(|fetching| fetching.content == content);
        let in_flight: u64 = of_content.map(|one| one.came.load(Ordering::Relaxed).saturating_sub(one.stored)).sum();
        if let Some(view) = view {
            (status.have, status.pieces, status.peers) = (view.have, view.pieces, view.peers);
        } else {
            status.peers = 0;
        }
        if let Some(store) = &item.store {
            status.name = store.manifest().header().name.clone();
            (status.size, status.sent, status.left_out) = (store.wanted(), store.sent(), store.left_out());
        }
        status.sources = item.sources.clone();
        status.participants = participants;
        status.received = item.sources.values().sum::<u64>() + in_flight;
        status.rate = item.meter.rate(Instant::now(), status.received);
        if item.wanted && !item.finished {
            status.bottleneck = Some(Bottleneck::of(&item.waits.so_far(), item.started.elapsed()));
        }
        Some(status)
    }

    /// Nobody who is connected has these pieces.
    pub(super) fn lacking(&mut self, content: ContentId, runs: Vec<PieceRange>) {
        if let Some(item) = self.items.get(&content) {
            item.status.send_modify(|status| status.lacking.clone_from(&runs));
        }
        self.tell(PeerEvent::Lacking { content, runs });
    }

    /// What a download waits for; nothing if it is complete, or none.
    pub(super) fn waiting_for(&self, content: ContentId) -> Option<WaitingFor> {
        let item = self.items.get(&content).filter(|item| item.wanted && !item.finished && !item.paused)?;
        let view = self.engine.view(content)?;
        let whole = item.store.is_some() && view.have == view.pieces;
        if whole || (item.opening && item.store.is_none()) || item.waits.is_storing() {
            return Some(WaitingFor::Disk);
        }
        let (connected, heard_of) = self.engine.participants(content);
        let at = |conn: &ConnId| self.links.get(conn).map(|link| link.connection.remote_addr());
        let from: Vec<_> = connected.iter().filter_map(at).collect();
        let book = &self.setup.book;
        let origin = if item.store.is_some() { &item.origin } else { &item.options.origin };
        if let Some(origin) = origin.as_ref().filter(|_| from.is_empty() && item.origin_told != OriginTold::Failed) {
            return Some(WaitingFor::Origin { origin: origin.shown().to_owned() });
        }
        Some(match (from.is_empty(), item.store.is_some()) {
            (true, _) if heard_of.is_empty() && self.trackers.are_lost() => WaitingFor::Tracker,
            (true, _) if heard_of.is_empty() => WaitingFor::Peers { not_dialled: book.left_out(content) },
            (true, _) => WaitingFor::Answers { unanswered: book.unanswered(&heard_of) },
            (false, false) => {
                let fetches = self.manifests.iter().filter(|((_, of), _)| *of == content);
                WaitingFor::Manifest { from, came: fetches.map(|(_, (_, progress))| progress.read().0).sum() }
            }
            (false, true) => WaitingFor::Pieces { from, unanswered: book.unanswered(&heard_of) },
        })
    }
}
