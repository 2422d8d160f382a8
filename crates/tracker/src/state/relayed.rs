//! Which members are connected to each other through the relay.

use protocol::{Carried, ContentId, PeerId, relay_mark};
use transport::Leg;

use super::State;
use crate::relay::{Parties, Party, Relay, RelayLimits};

/// Contents of a peer that are looked at for one in which another takes part, too.
const LOOKED_AT: usize = 1024;

impl State {
    /// Carries connections from now on.
    pub(crate) fn carry(&self, limits: RelayLimits) {
        let _ = self.relay.set(Relay::new(limits));
    }

    /// The mark of the relay, once for each session.
    pub(super) fn first_word_of_relay(&self, peer: PeerId) -> Vec<PeerId> {
        let mut member = self.relay.get().and_then(|_| self.members.get_mut(&peer));
        let first = member.as_mut().is_some_and(|member| !std::mem::replace(&mut member.knows_relay, true));
        if first { vec![relay_mark()] } else { Vec::new() }
    }

    /// A peer opens legs when it is told to.
    pub(crate) fn takes_legs(&self, session: u64, peer: PeerId) {
        if let Some(mut member) = self.members.get_mut(&peer).filter(|member| member.session == session) {
            member.takes_legs = true;
        }
    }

    /// A peer asks for a relayed connection to another one.
    pub(crate) fn relay(&self, asker: PeerId, other: PeerId, content: ContentId) -> Result<Carried, String> {
        let relay = self.relay.get().ok_or("this tracker carries no connections: it was started without --relay")?;
        relay.ask(self.parties(asker, other, content), content)
    }

    /// A leg has come to the relay.
    pub(crate) fn leg_came(&self, leg: Leg) {
        if let Some(relay) = self.relay.get() {
            relay.leg_came(leg, |asker, other, content| self.parties_still(asker, other, content));
        }
    }

    /// Forgets relayed connections that nobody uses.
    pub(crate) fn sweep_relay(&self) {
        if let Some(relay) = self.relay.get() {
            relay.sweep(|asker, other, content| self.parties_still(asker, other, content));
        }
    }

    /// Relayed connections, if it is a relay.
    pub(crate) fn relayed(&self) -> Option<usize> {
        self.relay.get().map(Relay::connections)
    }

    /// Two different peers with sessions here, if both take part in a content.
    fn parties(&self, asker: PeerId, other: PeerId, content: ContentId) -> Parties {
        let party = |peer| {
            let member = self.members.get(&peer).filter(|member| member.contents.contains_key(&content))?;
            let (session, outbox, takes_legs) = (member.session, member.outbox.clone(), member.takes_legs);
            drop(member);
            let address = self.sessions.get(&session)?.remote_addr();
            Some(Party { peer, address, takes_legs, outbox })
        };
        Some((party(asker)?, party(other)?)).filter(|_| asker != other)
    }

    /// The same where they are connected already, for this content or for any other: one connection carries all of them.
    fn parties_still(&self, asker: PeerId, other: PeerId, content: ContentId) -> Parties {
        self.parties(asker, other, content).or_else(|| self.parties(asker, other, self.in_common(asker, other)?))
    }

    /// A content in which both take part, as far as they are looked at.
    fn in_common(&self, one: PeerId, other: PeerId) -> Option<ContentId> {
        let count = |peer| self.members.get(&peer).map(|member| member.contents.len());
        let (few, many) = if count(one)? <= count(other)? { (one, other) } else { (other, one) };
        // One lock at a time.
        let few: Vec<_> = self.members.get(&few)?.contents.keys().copied().take(LOOKED_AT).collect();
        let many = self.members.get(&many)?;
        few.into_iter().find(|content| many.contents.contains_key(content))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::{Announce, Digest, Role};
    use transport::{MemoryNetwork, Transport};

    use super::*;
    use crate::config::ServerConfig;

    #[tokio::test]
    async fn a_connection_is_carried_while_any_content_is_in_common() {
        let network = MemoryNetwork::new();
        let bind = |id: u8, at: &str| network.bind(PeerId(Digest([id; 32])), vec![at.parse().unwrap()]).unwrap();
        let (tracker, peers) = (bind(0, "10.0.0.1:9999"), [bind(1, "10.0.0.2:9000"), bind(2, "10.0.0.3:9000")]);
        let (state, contents) = (State::new(ServerConfig::default()), [7, 8].map(|byte| ContentId(Digest([byte; 32]))));
        let mut kept = Vec::new();
        for (session, peer) in (1..).zip(&peers) {
            let dialled = peer.dial(tracker.listeners()[0], tracker.peer_id());
            let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
            let accepted: Arc<dyn transport::Connection> = accepted.unwrap();
            assert!(state.open(session, &accepted));
            state.enter(session, &accepted, Arc::default(), &peer.listeners());
            for content in contents {
                state.announce(session, peer.peer_id(), Announce { content, about: None, role: Role::Seeder });
            }
            kept.push((dialled.unwrap(), accepted));
        }
        let [one, other] = peers.each_ref().map(|peer| peer.peer_id());
        let [first, second] = contents;
        assert!(state.parties(one, other, first).is_some() && state.parties(one, one, first).is_none());
        state.leave(1, one, first);
        assert!(state.parties(one, other, first).is_none(), "nothing is asked for of what it has left");
        assert!(state.parties_still(one, other, first).is_some());
        state.leave(2, other, second);
        assert!(state.parties_still(one, other, first).is_none());
    }
}
