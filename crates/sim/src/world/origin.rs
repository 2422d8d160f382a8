//! The origin: a server that holds the first content, and that engines read from as they see fit. All reads share its uplink.

use protocol::{ContentId, PieceRange};
use swarm::{Event, Failure, RequestId};

use super::transfers::{Transfer, TransferId};
use super::{ORIGIN_CONN, ORIGIN_PEER, PeerIx, SECOND, SimEvent, World};
use crate::network::LinkId;
use crate::plan::Origin;
use crate::queue::Time;

/// The origin of the first content.
pub(super) struct OriginServer {
    pub(super) up: LinkId,
    latency: Time,
    /// From when until when it answers nothing but errors.
    fails: Option<(Time, Time)>,
    /// Bytes that it has sent.
    pub(super) sent: f64,
}

impl OriginServer {
    pub(super) fn new(origin: &Origin, up: LinkId) -> Self {
        let at = |seconds: f64| (seconds * SECOND as f64) as Time;
        OriginServer {
            up,
            latency: (origin.latency_ms * 1e6) as Time,
            fails: origin.fails.map(|[from, to]| (at(from), at(to))),
            sent: 0.0,
        }
    }

    fn fails_at(&self, now: Time) -> bool {
        self.fails.is_some_and(|(from, to)| (from..to).contains(&now))
    }
}

impl World {
    /// An engine reads from the origin.
    pub(super) fn ask_origin(&mut self, peer: PeerIx, request: RequestId, content: ContentId, run: PieceRange) {
        let content = self.content(content);
        let bytes = self.bytes_of(content, run);
        let transfer = Transfer::new((ORIGIN_CONN, request), (peer, ORIGIN_PEER), content, (run, bytes));
        let transfer = self.transfers.add(transfer);
        self.begin_asking(peer, request, transfer, bytes);
        // A connection, TLS and the request itself.
        let wait = 2 * self.latency_of_origin(peer);
        self.after(wait, SimEvent::OriginAsked(transfer));
    }

    /// One way between a peer and the origin.
    pub(super) fn latency_of_origin(&self, peer: PeerIx) -> Time {
        self.latency_of(peer) + self.origin.as_ref().map_or(0, |origin| origin.latency)
    }

    pub(super) fn origin_asked(&mut self, id: TransferId) {
        let now = self.now;
        let Some((asker, run, content)) = self.transfers.waiting(id) else { return };
        let Some(origin) = &self.origin else { return };
        if origin.fails_at(now) {
            return self.fail_origin(id);
        }
        let links = [origin.up, self.peers[asker as usize].down];
        let first = self.bytes_of(content, PieceRange { first: run.first, count: 1 });
        let flow = self.network.start(now, links.into_iter().chain(None), self.peers[asker as usize].goodput);
        self.transfers.flows(id, flow, first, now);
        self.rates_changed(links[0]);
    }

    /// A peer is gone, and with it what it reads.
    pub(super) fn end_reads(&mut self, peer: PeerIx) {
        let of_peer: Vec<TransferId> = self.peers[peer as usize].requests.values().copied().collect();
        let reads = |&id: &TransferId| self.transfers.asked_for(id).is_some_and(|(conn, ..)| conn == ORIGIN_CONN);
        for id in of_peer.into_iter().filter(reads).collect::<Vec<_>>() {
            self.stop_serving(id);
            self.stop_asking(id);
        }
    }

    /// It answers with an error, or breaks off.
    fn fail_origin(&mut self, id: TransferId) {
        self.stop_serving(id);
        if let Some((peer, request)) = self.stop_asking(id) {
            let event = Event::Finished { request, failure: Some(Failure::Broken) };
            self.after(0, SimEvent::Tell(peer, event));
        }
    }
}
