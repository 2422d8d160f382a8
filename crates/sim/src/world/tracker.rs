//! The tracker: the registry that the real one runs, a latency away.

use protocol::{ContentId, Stake};
use swarm::{Event, Push, Registry, RegistryLimits};

use super::peers::{address, number};
use super::{Happening, PeerIx, World};

pub(super) struct Tracker {
    registries: Vec<Registry>,
}

/// What the tracker hears of a peer.
pub(super) struct Announcement {
    peer: PeerIx,
    content: usize,
    stake: Stake,
}

impl Tracker {
    pub(super) fn new(contents: usize, seed: u64) -> Self {
        let registry = |content| Registry::new(RegistryLimits::default(), seed.wrapping_add(content as u64));
        Tracker { registries: (0..contents).map(registry).collect() }
    }
}

impl World {
    pub(super) fn send_announcement(&mut self, peer: PeerIx, content: usize, stake: Stake) {
        self.after(self.latency, Happening::Announced(Announcement { peer, content, stake }));
    }

    pub(super) fn announced(&mut self, Announcement { peer, content, stake }: Announcement) {
        let (id, from) = (self.peers[peer as usize].id, address(peer));
        let registry = &mut self.tracker.registries[content];
        let Ok(introductions) = registry.announce(id, from, &[from], stake, None) else { return };
        let content = self.contents[content].id;
        self.after(self.latency, Happening::Tell(peer, Event::Found { content, peers: introductions.sample }));
        self.push(content, introductions.pushes);
    }

    /// The tracker has lost a peer: those who were told of it are told.
    pub(super) fn forgotten(&mut self, peer: PeerIx) {
        for at in 0..self.contents.len() {
            let pushes = self.tracker.registries[at].leave(self.peers[peer as usize].id);
            self.push(self.contents[at].id, pushes);
        }
    }

    fn push(&mut self, content: ContentId, pushes: Vec<Push>) {
        for push in pushes {
            let to = number(push.to);
            self.after(self.latency, Happening::Tell(to, Event::Found { content, peers: push.joined }));
            if !push.gone.is_empty() {
                self.after(self.latency, Happening::Tell(to, Event::Gone { content, peers: push.gone }));
            }
        }
    }
}
