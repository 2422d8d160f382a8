//! The second addresses of members: over the other IP family than their sessions, each proven by a handshake from there and by a token
//! that the member was given over its session.
//!
//! A member has one token at most, and one second address. That is believed while the connection stands over which it was proven,
//! and for an hour after the peer has finished that: whoever has it longer has to prove it again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{AddressToken, ContentId, PeerId, second_address_mark};
use swarm::Addresses;
use tokio::time::Instant;
use transport::Connection;

use super::{Member, State, port_seen};
use crate::cost;
use crate::own_addresses::OwnAddresses;

/// A token is good for this long: for a handshake over a long path.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// A member is given another one after this time.
const APART: Duration = Duration::from_secs(5);
/// An address is believed for this long after its connection was finished.
const BELIEVED: Duration = Duration::from_secs(60 * 60);

/// What is known of a member's second address.
#[derive(Default)]
pub(super) struct SecondAddress {
    /// Whether the member is to hear that it may prove one, and has not so far.
    untold: bool,
    token: Option<AddressToken>,
    /// When the last token was given.
    given: Option<Instant>,
    proof: Option<Proof>,
}

/// Why a second address is believed.
#[derive(Clone, Copy)]
enum Proof {
    /// The connection of this number stands.
    Stands(u64),
    /// Its connection was finished then.
    Finished(Instant),
}

impl SecondAddress {
    /// Of a member that has said hello.
    pub(super) fn of(addresses: &Addresses, listeners: &[SocketAddr]) -> Self {
        SecondAddress { untold: addresses.may_be_seen_twice(listeners), ..SecondAddress::default() }
    }

    /// The connection that stands for it.
    pub(super) fn connection(&self) -> Option<u64> {
        match self.proof? {
            Proof::Stands(session) => Some(session),
            Proof::Finished(_) => None,
        }
    }
}

impl State {
    /// The mark that says that second addresses can be proven, once for each session of a peer that may have one.
    pub(super) fn first_word_of_second_address(&self, peer: PeerId) -> Option<PeerId> {
        let mut member = self.members.get_mut(&peer)?;
        std::mem::take(&mut member.second.untold).then(second_address_mark)
    }

    /// A token for a member that asks for one; nothing if it was given one just now.
    pub(crate) fn address_token(&self, session: u64, peer: PeerId) -> Option<AddressToken> {
        let mut member = self.members.get_mut(&peer).filter(|member| member.session == session)?;
        if member.second.given.is_some_and(|given| given.elapsed() < APART) {
            return None;
        }
        let mut token = AddressToken([0; 16]);
        transport::random(&mut token.0);
        (member.second.token, member.second.given) = (Some(token), Some(Instant::now()));
        Some(token)
    }

    /// The tracker listens at these addresses.
    pub(crate) fn listens_at(&self, listeners: Vec<SocketAddr>) {
        let _ = self.own_addresses.set(OwnAddresses::new(listeners));
    }

    /// Where the tracker may be reached over the other family than a session's.
    pub(crate) fn also_reached_at(&self, session: u64) -> Vec<SocketAddr> {
        let seen = self.sessions.get(&session).map(|connection| connection.remote_addr().ip());
        let own = self.own_addresses.get().zip(seen);
        own.map(|(own, seen)| own.of_other_family(seen)).unwrap_or_default()
    }

    /// A token is shown over this connection. If it is right, the address is the member's second one from now on; gives the number
    /// of its session. Each token is good for one try.
    pub(crate) fn prove_second_address(
        &self,
        session: u64,
        connection: &dyn Connection,
        token: AddressToken,
        listeners: &[SocketAddr],
    ) -> Option<u64> {
        let seen = connection.remote_addr().ip();
        let mut member = self.members.get_mut(&connection.peer_id())?;
        let is_right = member.second.token.take() == Some(token);
        let is_late = member.second.given.is_none_or(|given| given.elapsed() >= GOOD_FOR);
        if !is_right || is_late || !member.addresses.takes_second(seen) {
            return None;
        }
        let addresses = member.addresses.also_seen(seen, port_seen(connection), listeners);
        self.set_addresses(&mut member, addresses);
        let before = member.second.connection();
        member.second.proof = Some(Proof::Stands(session));
        let main = member.session;
        drop(member);
        self.end_second(before);
        self.make_room();
        Some(main)
    }

    /// The peer needs the connection no more over which it has proven its second address.
    pub(crate) fn second_address_finished(&self, session: u64, peer: PeerId) {
        let member = self.members.get_mut(&peer).filter(|member| member.second.connection() == Some(session));
        if let Some(mut member) = member {
            member.second.proof = Some(Proof::Finished(Instant::now()));
        }
    }

    /// A connection has ended. If a second address was believed for it, that is not believed any more: gives the number of the member's
    /// session then.
    pub(crate) fn second_address_lost(&self, session: u64, peer: PeerId) -> Option<u64> {
        let stood_for = |member: &Member| member.second.connection() == Some(session);
        if !self.members.get(&peer).is_some_and(|member| stood_for(&member)) {
            return None;
        }
        let mut member = self.members.get_mut(&peer).filter(|member| stood_for(member))?;
        self.forget_second(&mut member);
        Some(member.session)
    }

    /// Forgets the second addresses that were not proven again in time. Gives the members whose they were, with their sessions.
    pub(crate) fn forget_old_second_addresses(&self) -> Vec<(u64, PeerId)> {
        let is_old = |member: &Member| match member.second.proof {
            Some(Proof::Finished(at)) => at.elapsed() >= BELIEVED,
            _ => false,
        };
        let old = self.members.iter().filter(|member| is_old(member));
        let old: Vec<_> = old.map(|member| (member.session, *member.key())).collect();
        for (_, peer) in &old {
            if let Some(mut member) = self.members.get_mut(peer).filter(|member| is_old(member)) {
                self.forget_second(&mut member);
            }
        }
        old
    }

    fn forget_second(&self, member: &mut Member) {
        member.second.proof = None;
        let addresses = member.addresses.seen_once();
        self.set_addresses(member, addresses);
    }

    fn set_addresses(&self, member: &mut Member, addresses: Addresses) {
        let more = cost::addresses(&addresses) as i64 - cost::addresses(&member.addresses) as i64;
        member.addresses = Arc::new(addresses);
        self.ledger().change(member.session, more);
    }

    /// Ends the connection that has stood for a second address: another one takes its place, or the session is over.
    pub(super) fn end_second(&self, connection: Option<u64>) {
        let connection = connection.and_then(|session| self.sessions.get(&session).map(|found| found.clone()));
        if let Some(connection) = connection {
            connection.close(0, "its session is over, or has another second address");
        }
    }

    /// The contents that a member takes part in.
    pub(crate) fn contents_of(&self, session: u64, peer: PeerId) -> Vec<ContentId> {
        let member = self.members.get(&peer).filter(|member| member.session == session);
        member.map(|member| member.contents.keys().copied().collect()).unwrap_or_default()
    }

    /// Has a content know the addresses of a member as they are now, and tells those who know the member, if they are to hear of it.
    pub(crate) fn readdress(&self, (session, peer): (u64, PeerId), content: ContentId, tells: bool) {
        let Some(mut registry) = self.contents.get_mut(&content) else { return };
        // Under the content's lock, as where it is announced.
        let member = self.members.get(&peer).filter(|member| member.session == session);
        let Some(addresses) = member.map(|member| member.addresses.clone()) else { return };
        let pushes = registry.readdress(peer, &addresses);
        if tells {
            self.push_others(content, pushes);
        }
    }
}
