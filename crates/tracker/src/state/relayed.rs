//! Which members are connected to each other through the relay.

use protocol::{Carried, ContentId, PeerId, relay_mark};
use transport::Leg;

use super::State;
use crate::relay::{Parties, Party, Relay, RelayLimits};

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
            relay.leg_came(leg, |asker, other, content| self.parties(asker, other, content));
        }
    }

    /// Forgets relayed connections that nobody uses.
    pub(crate) fn sweep_relay(&self) {
        if let Some(relay) = self.relay.get() {
            relay.sweep(|asker, other, content| self.parties(asker, other, content));
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
}
