//! What members are told of others: put into their outboxes when it happens, and taken out by their sessions.

use protocol::{ContentId, PeerAddress, PeerId, TrackerEvent};
use swarm::Push;

use super::State;
use crate::ledger::Use;
use crate::lock::lock;
use crate::news_load::Haste;
use crate::outbox::Outbox;

impl State {
    /// Puts news into the outboxes of members. Where they live is looked up when the news are said.
    pub(super) fn push(&self, content: ContentId, pushes: Vec<Push>, haste: Haste) {
        for Push { to, joined, gone } in pushes {
            let Some(member) = self.members.get(&to) else { continue };
            let (session, met) = (member.session, !joined.is_empty());
            let joined = joined.into_iter().map(|peer| peer.id).collect();
            member.outbox.add(content, (joined, gone), haste, |more| {
                let mut ledger = self.ledger();
                if met {
                    ledger.raise_use(session, Use::Met);
                }
                ledger.change(session, more);
            });
        }
    }

    /// The same with news of others, for which nobody waits: under load they are told in batches.
    pub(super) fn push_others(&self, content: ContentId, pushes: Vec<Push>) {
        let haste = lock(&self.news_load).more(pushes.len());
        self.push(content, pushes, haste);
    }

    /// The next message of news for a member, if there are any.
    pub(crate) fn take(&self, session: u64, peer: PeerId, outbox: &Outbox) -> Option<TrackerEvent> {
        if let Some(said) = outbox.take_said() {
            return Some(said);
        }
        let (content, news) = outbox.take(|less| self.ledger().change(session, less))?;
        let registry = self.contents.get(&content);
        let joined: Vec<PeerAddress> =
            registry.map(|registry| registry.addresses_for(peer, &news.joined)).unwrap_or_default();
        Some(TrackerEvent::Peers { content, joined, gone: news.gone })
    }
}
