//! How the peers of a content stand, for a member that watches it and for the operator.

use std::net::{IpAddr, Ipv4Addr};

use protocol::{ContentId, MAX_WATCHED, PeerAddress, PeerId, PeerProgress, Role, WatchedPeer, report_mark};
use swarm::{Addresses, Push};
use tokio::time::Instant;

use super::State;
use crate::lock::lock;
use crate::news_load::Haste;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

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
        let from = after.and_then(|after| usize::try_from(after).ok()).unwrap_or(0);
        let (peers, next) = self.look_at(content, &addresses, from, MAX_WATCHED, Some(viewer));
        let peers = peers.into_iter().map(|(peer, _)| peer).collect();
        self.make_room();
        (peers, next.map(|next| next as u64))
    }

    /// The same for the tracker's own operator: at most so many, each with the network that it is seen in.
    pub(crate) fn observe(
        &self,
        content: ContentId,
        from: usize,
        most: usize,
    ) -> (Vec<(WatchedPeer, Option<IpAddr>)>, Option<usize>) {
        let (mut peers, next) = self.look_at(content, &Addresses::new(LOOPBACK, None, &[]), from, most, None);
        for (peer, network) in &mut peers {
            let Some(member) = self.members.get(&peer.peer) else { continue };
            // Where the peer itself would reach it.
            let addresses = member.addresses.for_viewer(&member.addresses);
            (peer.address, *network) = (addresses.first().copied(), Some(member.addresses.origin().network));
        }
        self.make_room();
        (peers, next)
    }

    /// Those who take part in a content, from a place on, and how they stand. Those who have not said it lately are asked to.
    fn look_at(
        &self,
        content: ContentId,
        addresses: &Addresses,
        from: usize,
        most: usize,
        viewer: Option<PeerId>,
    ) -> (Vec<(WatchedPeer, Option<IpAddr>)>, Option<usize>) {
        let Some(registry) = self.contents.get(&content) else { return (Vec::new(), None) };
        let (page, next) = registry.page(addresses, from, most);
        let now = Instant::now();
        let mut asked = Vec::new();
        let watched = |(seen, role): (PeerAddress, Role)| {
            let mut progress = None;
            if let Some(mut member) = self.members.get_mut(&seen.id)
                && let Some(membership) = member.contents.get_mut(&content)
            {
                progress = membership.watched.progress(now);
                let mut asking = lock(&self.asking);
                if Some(seen.id) != viewer && membership.watched.ask(now, &mut asking) {
                    asked.push(seen.id);
                }
            }
            (WatchedPeer { peer: seen.id, address: seen.addresses.first().copied(), role, progress }, None)
        };
        let peers = page.into_iter().map(watched).collect();
        let mark = |to| Push { to, joined: Vec::new(), gone: vec![report_mark()] };
        self.push(content, asked.into_iter().map(mark).collect(), Haste::Now);
        (peers, next)
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
