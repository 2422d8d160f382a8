//! Which contents know a peer. A connection comes and goes without a look at all contents, of which there may be thousands.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{ContentId, PeerId};

/// The contents that know each peer.
#[derive(Debug, Default)]
pub(crate) struct Knowers(BTreeMap<PeerId, BTreeSet<ContentId>>);

impl Knowers {
    pub(crate) fn add(&mut self, peer: PeerId, content: ContentId) {
        self.0.entry(peer).or_default().insert(content);
    }

    pub(crate) fn remove(&mut self, peer: &PeerId, content: &ContentId) {
        if let Some(contents) = self.0.get_mut(peer) {
            contents.remove(content);
            if contents.is_empty() {
                self.0.remove(peer);
            }
        }
    }

    /// The contents that know a peer, in their order.
    pub(crate) fn of<'a>(&'a self, peer: &PeerId) -> impl Iterator<Item = ContentId> + use<'a> {
        self.0.get(peer).into_iter().flatten().copied()
    }

    /// How many contents know any peer, each counted once for each.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }
}
