//! The tracker: the registry that the real one runs, a latency away. It stands on the side of those whom no cut keeps apart.

use std::sync::Arc;

use protocol::{ContentId, PeerId, Role};
use swarm::{Addresses, Event, Push, Registry};

use super::{PeerIx, SimEvent, World, number};

pub(super) struct Tracker {
    /// One for each content; none while it is dead.
    registries: Vec<Registry>,
    seed: u64,
}

/// What the tracker hears of a peer.
pub(super) struct Announcement {
    peer: PeerIx,
    content: usize,
    role: Role,
}

impl Tracker {
    pub(super) fn new(contents: usize, seed: u64) -> Self {
        let mut tracker = Tracker { registries: Vec::new(), seed };
        tracker.start(contents);
        tracker
    }

    /// It runs, and knows nobody.
    pub(super) fn start(&mut self, contents: usize) {
        let registry = |content| Registry::new(self.seed.wrapping_add(content as u64));
        self.registries = (0..contents).map(registry).collect();
    }

    pub(super) fn stop(&mut self) {
        self.registries.clear();
    }
}

impl World {
    pub(super) fn announce(&mut self, peer: PeerIx, content: usize) {
        let holding = &self.peers[peer as usize].holdings[content];
        let role = match (holding.have.is_full(), holding.wanted) {
            (true, _) => Role::Seeder,
            (false, true) => Role::Downloader,
            (false, false) => Role::Partial,
        };
        let announcement = Announcement { peer, content, role };
        self.after(self.latency_of(peer), SimEvent::Announced(announcement));
    }

    /// A peer that was without the tracker announces everything again.
    pub(super) fn come_back_to_tracker(&mut self, peer: PeerIx) {
        if self.peers[peer as usize].brain.is_none() {
            return;
        }
        for content in 0..self.contents.len() {
            let holding = &self.peers[peer as usize].holdings[content];
            if holding.wanted || holding.manifest {
                self.announce(peer, content);
            }
        }
    }

    pub(super) fn announced(&mut self, Announcement { peer, content, role }: Announcement) {
        if !self.talks_to_tracker(peer) {
            return;
        }
        let (id, from) = (self.peers[peer as usize].id, self.peers[peer as usize].address);
        let Some(registry) = self.tracker.registries.get_mut(content) else { return };
        let addresses = Arc::new(Addresses::new(from.ip(), None, &[from]));
        let introductions = registry.announce(id, &addresses, role, None);
        let content = self.contents[content].id;
        let found = Event::Found { content, peers: introductions.sample };
        self.after(self.latency_of(peer), SimEvent::Tell(peer, found));
        self.push(content, introductions.pushes);
    }

    /// The tracker has lost a peer: those who were told of it are told.
    pub(super) fn forgotten(&mut self, peer: PeerIx) {
        let state = &self.peers[peer as usize];
        if state.brain.is_some() && state.cuts == 0 {
            return;
        }
        let id = state.id;
        self.leave_tracker(id);
    }

    /// The tracker knows this id no more: those who were told of it are told.
    pub(super) fn leave_tracker(&mut self, id: PeerId) {
        for at in 0..self.tracker.registries.len() {
            let pushes = self.tracker.registries[at].leave(id);
            self.push(self.contents[at].id, pushes);
        }
    }

    fn push(&mut self, content: ContentId, pushes: Vec<Push>) {
        for push in pushes {
            let to = number(push.to);
            if !self.talks_to_tracker(to) {
                continue;
            }
            let wait = self.latency_of(to);
            self.after(wait, SimEvent::Tell(to, Event::Found { content, peers: push.joined }));
            if !push.gone.is_empty() {
                self.after(wait, SimEvent::Tell(to, Event::Gone { content, peers: push.gone }));
            }
        }
    }

    fn talks_to_tracker(&self, peer: PeerIx) -> bool {
        self.peers[peer as usize].cuts == 0
    }
}
