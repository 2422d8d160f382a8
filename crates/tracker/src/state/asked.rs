//! What peers are told of contents that they ask for.

use protocol::{ContentId, ContentMatch, MAX_MATCHES, PeerId, ProvenShare, Query};
use swarm::Proof;

use super::State;
use crate::private::{Permitted, PrivateTracker};

impl State {
    /// What fits a question of this peer. It may have said already that it wants that itself, which makes it none of those who
    /// take part.
    pub(crate) fn find(&self, query: &str, asker: PeerId) -> Vec<ContentMatch> {
        let found = self.catalogue().find(query);
        self.describe(found, Some((query, asker)))
    }

    /// A page of everything, and how to ask for the next one.
    pub(crate) fn list(&self, before: Option<u64>) -> (Vec<ContentMatch>, Option<u64>) {
        let (page, next) = self.catalogue().page(before);
        (self.describe(page, None), next)
    }

    /// What is known of one content.
    pub(crate) fn about(&self, content: ContentId) -> Option<ContentMatch> {
        self.contents.contains_key(&content).then(|| self.describe(vec![content], None).pop()).flatten()
    }

    /// What a peer that has proven a private share is told of it.
    pub(crate) fn proven(&self, private: &PrivateTracker, proof: &Proof) -> ProvenShare {
        let (name, size) = private.shares.about(proof.content).unwrap_or_default();
        let registry = self.contents.get(&proof.swarm);
        let (seeders, others, downloaders) =
            registry.map_or((0, 0, 0), |registry| (registry.seeders(), registry.others(), registry.downloaders()));
        let found = ContentMatch { content: proof.content, name, size, seeders, others, downloaders };
        ProvenShare { proof: proof.answer, found }
    }

    /// The private shares that a peer has proven.
    pub(crate) fn list_of(&self, known: &Permitted) -> Vec<ContentMatch> {
        let (Permitted::Proven(proven), Some(private)) = (known, self.private()) else { return Vec::new() };
        proven.iter().map(|proof| self.proven(private, proof).found).take(MAX_MATCHES).collect()
    }

    /// Those of them that are asked for by their whole id.
    pub(crate) fn find_among(&self, query: &str, known: &Permitted) -> Vec<ContentMatch> {
        let Ok(Query::Id(id)) = query.parse() else { return Vec::new() };
        self.list_of(known).into_iter().filter(|found| found.content == id).collect()
    }

    /// What is known of contents, by the name that was asked for where they have it.
    fn describe(&self, contents: Vec<ContentId>, asked: Option<(&str, PeerId)>) -> Vec<ContentMatch> {
        let describe = |content: ContentId| {
            let registry = self.contents.get(&content)?;
            let so_called = asked.and_then(|(name, _)| registry.about_as(name));
            let (name, size) = so_called.or_else(|| registry.about()).unwrap_or_default();
            let own = u32::from(asked.is_some_and(|(_, asker)| registry.wants(asker)));
            let (seeders, others, downloaders) =
                (registry.seeders(), registry.others() - own, registry.downloaders() - own);
            if asked.is_some() && seeders + others == 0 {
                return None;
            }
            Some(ContentMatch { content, name: name.to_owned(), size, seeders, others, downloaders })
        };
        contents.into_iter().filter_map(describe).collect()
    }
}
