//! How the peers of a content stand, for a member that watches it.

use protocol::{ContentId, MAX_WATCHED, PeerAddress, PeerId, PeerProgress, Role, WatchedPeer, report_mark};
use swarm::Push;
use tokio::time::Instant;

use super::State;

impl State {
    /// A page of those who take part in a content, for the member that watches it, and how to ask for the next one. Those who have
    /// not said lately how they stand are asked to.
    pub(crate) fn watch(
        &self,
        viewer: PeerId,
        content: ContentId,
        after: Option<u64>,
    ) -> (Vec<WatchedPeer>, Option<u64>) {
        let Some(addresses) = self.members.get(&viewer).map(|member| member.addresses.clone()) else {
            return (Vec::new(), None);
        };
        let Some(registry) = self.contents.get(&content) else { return (Vec::new(), None) };
        let from = after.and_then(|after| usize::try_from(after).ok()).unwrap_or(0);
        let (page, next) = registry.page(&addresses, from, MAX_WATCHED);
        let now = Instant::now();
        let mut asked = Vec::new();
        let watched = |(seen, role): (PeerAddress, Role)| {
            let mut progress = None;
            if let Some(mut member) = self.members.get_mut(&seen.id)
                && let Some(membership) = member.contents.get_mut(&content)
            {
                progress = membership.watched.progress(now);
                let mut asking = self.asking.lock().expect("no panic holds it");
                if seen.id != viewer && membership.watched.ask(now, &mut asking) {
                    asked.push(seen.id);
                }
            }
            WatchedPeer { peer: seen.id, address: seen.addresses.first().copied(), role, progress }
        };
        let peers = page.into_iter().map(watched).collect();
        let mark = |to| Push { to, joined: Vec::new(), gone: vec![report_mark()] };
        self.push(content, asked.into_iter().map(mark).collect());
        drop(registry);
        self.make_room();
        (peers, next.map(|next| next as u64))
    }

    /// A member says how it stands with a content.
    pub(crate) fn progress(&self, session: u64, peer: PeerId, content: ContentId, progress: PeerProgress) {
        {
            let Some(mut member) = self.members.get_mut(&peer).filter(|member| member.session == session) else {
                return;
            };
            let Some(membership) = member.contents.get_mut(&content) else { return };
            let before = membership.progress_bytes();
            membership.watched.say(Instant::now(), progress);
            let after = membership.progress_bytes();
            self.ledger().change(session, after as i64 - before as i64);
        }
        self.make_room();
    }
}
