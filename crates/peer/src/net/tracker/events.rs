//! What a tracker says in a session: peers that it introduces, answers to what was asked, legs of its relay, and refusals.

use protocol::{
    ContentId, PeerAddress, PeerId, TrackerEvent, TrackerRequest, printable, relay_mark, report_mark,
    second_address_mark,
};
use transport::Connection;

use super::handshake::named;
use super::request::{Page, Passage, WatchedPage};
use super::second_address::{Given, Prover};
use super::{Client, Open, Over};
use crate::net::dial_filter::Source;
use crate::report::Report;

impl Client {
    /// Does what a message of the tracker calls for; why the session is over, if that ends it.
    pub(super) async fn tracker_event(&mut self, event: TrackerEvent, open: &mut Open) -> Option<Over> {
        match event {
            TrackerEvent::Peers { content, joined, gone } => return self.introduced(content, joined, gone, open).await,
            TrackerEvent::Found { query, matches } => {
                let matches = named(matches);
                for reply in self.waiting.finds.remove(&query).unwrap_or_default() {
                    let _ = reply.send(Ok(matches.clone()));
                }
            }
            TrackerEvent::Listed { before, contents, next } => {
                let page = Page { contents: named(contents), next };
                for reply in self.waiting.lists.remove(&before).unwrap_or_default() {
                    let _ = reply.send(Ok(page.clone()));
                }
            }
            TrackerEvent::Watched { content, after, peers, next } => {
                let page = WatchedPage { peers, next };
                for reply in self.waiting.watches.remove(&(content, after)).unwrap_or_default() {
                    let _ = reply.send(Ok(page.clone()));
                }
            }
            TrackerEvent::Relayed { peer, answer } => {
                if let Some(reply) = self.waiting.passages.remove(&peer) {
                    let passage = answer.map(|carried| Passage { relay: open.connection.remote_addr(), carried });
                    let _ = reply.send(passage.map_err(|sentence| Some(printable(&sentence).to_string())));
                }
            }
            TrackerEvent::AddressToken { token, at } => open.second.is_given(Given { token, at }),
            TrackerEvent::Leg { from, address, key } => {
                tracing::debug!(peer = %from, "comes through the relay");
                if let Some(over) = self.around.transport.over_relay() {
                    // Nowhere else but to the tracker itself.
                    over.accept_leg(open.connection.remote_addr(), address, key);
                }
            }
            TrackerEvent::Refused(reason) => {
                if let Some(reason) = self.refusals.one_more(reason) {
                    tracing::warn!(%reason, "the tracker refuses");
                }
                if self.refusals.are_too_many() {
                    return Some(Over::Lost);
                }
            }
            TrackerEvent::Welcome { .. }
            | TrackerEvent::Proven { .. }
            | TrackerEvent::Mailbox(_)
            | TrackerEvent::Instance(_)
            | TrackerEvent::Lease(_)
            | TrackerEvent::AlsoSeen { .. }
            | TrackerEvent::Probe(_) => {}
        }
        None
    }

    /// Peers of a content have come or gone. Among those that are gone are marks of what the tracker can do.
    async fn introduced(
        &self,
        content: ContentId,
        mut joined: Vec<PeerAddress>,
        mut gone: Vec<PeerId>,
        open: &mut Open,
    ) -> Option<Over> {
        // The tracker knows a private content only by its swarm id.
        let content = self.private.shares.content_of(content)?;
        let (reports, number) = (&self.around.reports, self.number);
        // An older tracker would end the session if it were asked.
        let mark = relay_mark();
        if gone.contains(&mark) {
            gone.retain(|peer| *peer != mark);
            if !open.is_relay && self.around.transport.over_relay().is_some() {
                open.is_relay = true;
                open.unsaid.push(TrackerRequest::TakesLegs);
            }
        }
        let mark = second_address_mark();
        if gone.contains(&mark) {
            gone.retain(|peer| *peer != mark);
            open.second.begin(self.prover(&*open.connection));
        }
        let mark = report_mark();
        if gone.contains(&mark) {
            gone.retain(|peer| *peer != mark);
            if reports.send(Report::Watched { number, content }).await.is_err() {
                return Some(Over::Left);
            }
        }
        let source = Source::Tracker(open.connection.remote_addr().ip());
        self.around.book.not_dialled(content, &self.around.dialled.keep(source, &mut joined));
        if !open.is_relay {
            // Others are reached through the relay at most.
            joined.retain(|peer| !peer.addresses.is_empty());
        }
        if reports.send(Report::Introduced { number, content, joined, gone }).await.is_err() {
            return Some(Over::Left);
        }
        None
    }

    /// What proves to the tracker of this session that this node is reached over the other family, too.
    fn prover(&self, connection: &dyn Connection) -> Prover {
        Prover {
            transport: self.around.transport.clone(),
            listeners: self.listeners.clone(),
            addresses: self.tracker.addresses.clone(),
            session: connection.remote_addr(),
            tracker: (connection.peer_id(), self.instance.nonce),
            claims: self.around.claims.clone(),
        }
    }
}
