//! The first pieces, asked for together with the manifest: what the other side offers first is taken before it is known how the
//! content is cut. That saves a round trip, and is little: it counts as what strangers owe, waits unverified where it was received
//! until the manifest is here, and is a request like any other from then on.

use std::time::Duration;

use protocol::{ContentId, PieceRange};

use super::first_pieces::{First, FirstPieces};
use super::request::Cause;
use crate::engine::Engine;
use crate::engine::peers::connection::Connection;
use crate::event::{ConnId, RequestId};

/// Less room than this is not worth the question.
const LEAST: u64 = 64 << 10;
/// Most bytes that are asked for, and held, of one content.
pub(crate) const MOST: u64 = super::room::FIRST;
/// So many peers are asked, one after another.
const TRIES: u32 = 3;
/// Which pieces they are is said within this time and four round trips.
const SAID: Duration = Duration::from_secs(1);
/// They wait for the manifest for so long.
const HELD: Duration = Duration::from_secs(10);

impl Engine {
    /// Asks for the first pieces of whom the manifest was just asked.
    pub(crate) fn ask_first(&mut self, conn: ConnId, id: ContentId) {
        let Some(state) = self.conns.get(&conn) else { return };
        // Where sites count, a peer is asked for nothing before it is known where it is.
        let fit = self.site.is_empty() && self.may_ask(state) && state.conduct.is_clean();
        let most = self.room_for_first();
        let Some(content) = self.contents.get_mut(&id).filter(|_| fit && most >= LEAST) else { return };
        if content.first.asked.is_some() || content.first.tries >= TRIES {
            return;
        }
        let request = self.downloads.hold(most);
        content.first.tries += 1;
        content.first.asked = Some(First { conn, request, most, since: self.now, run: None });
        self.actions.fetch_first(conn, request, id, most);
    }

    /// The other side says which pieces it sends.
    pub(crate) fn first_pieces(&mut self, request: RequestId, run: PieceRange) {
        let asked = |content: &FirstPieces| content.asked.is_some_and(|first| first.request == request);
        let mut all = self.contents.iter_mut().map(|(&id, content)| (id, &mut content.first));
        let Some((id, first)) = all.find(|(_, first)| asked(first)) else { return };
        if let Some(first) = &mut first.asked {
            first.run = Some(run);
        }
        self.adopt_first(id);
        // What else it offers has waited for this.
        if self.contents.get(&id).is_some_and(|content| content.geometry.is_some()) {
            self.take_waiting_offers();
        }
    }

    /// Takes them for a request like any other, if it is known by now how the content is cut and which they are.
    pub(crate) fn adopt_first(&mut self, id: ContentId) {
        let Some(content) = self.contents.get(&id) else { return };
        let Some((geometry, first)) = content.geometry.clone().zip(content.first.asked) else { return };
        let Some(run) = first.run else { return };
        let exists = run.count > 0 && run.lies_within(geometry.pieces());
        let fits = exists && geometry.bytes(run) <= first.most;
        let lacks = fits && content.wanted && run.pieces().all(|piece| content.picker.is_open(piece));
        self.release_first(id);
        if !fits {
            self.actions.cancel(first.request);
            return self.close(first.conn, "it sends pieces that nobody can have asked for");
        }
        if !lacks {
            // They were here, or are not wanted.
            return self.actions.cancel(first.request);
        }
        self.begin_request(first.request, (first.conn, id), run, Cause::Offered);
        self.actions.take_first(first.request, id, run);
    }

    /// Whether offers of this peer wait, because some of them are about to come.
    pub(super) fn awaits_first(&self, conn: ConnId, id: ContentId) -> bool {
        let asked = self.contents.get(&id).and_then(|content| content.first.asked);
        asked.is_some_and(|first| first.conn == conn && first.run.is_none())
    }

    /// A request has ended that may be for first pieces: then it was not more than that.
    pub(super) fn first_ended(&mut self, request: RequestId) -> bool {
        let of = |content: &FirstPieces| content.asked.is_some_and(|first| first.request == request);
        let id = self.contents.iter().find(|(_, content)| of(&content.first)).map(|(&id, _)| id);
        if let Some(id) = id {
            self.release_first(id);
            self.take_waiting_offers();
        }
        id.is_some()
    }

    /// Gives up what is not said, or held, for too long.
    pub(crate) fn review_first(&mut self) {
        let is_late = |first: &First| {
            let rtt = self.conns.get(&first.conn).map_or(Duration::ZERO, Connection::round_trip);
            let most = if first.run.is_some() { HELD } else { SAID + rtt * 4 };
            self.now.saturating_sub(first.since) > most
        };
        let asked = self.contents.iter().filter_map(|(&id, content)| Some((id, content.first.asked?)));
        let late: Vec<ContentId> = asked.filter(|(_, first)| is_late(first)).map(|(id, _)| id).collect();
        late.into_iter().for_each(|id| self.give_up_first(id));
    }

    /// The content is not wanted any more, or they do not come.
    pub(crate) fn give_up_first(&mut self, id: ContentId) {
        if let Some(first) = self.release_first(id) {
            self.actions.cancel(first.request);
        }
    }

    /// A connection has ended.
    pub(crate) fn forget_first(&mut self, conn: ConnId) {
        let of = |content: &FirstPieces| content.asked.is_some_and(|first| first.conn == conn);
        let ids = self.contents.iter().filter(|(_, content)| of(&content.first)).map(|(&id, _)| id);
        ids.collect::<Vec<_>>().into_iter().for_each(|id| self.give_up_first(id));
    }

    fn release_first(&mut self, id: ContentId) -> Option<First> {
        let first = self.contents.get_mut(&id)?.first.asked.take()?;
        self.downloads.release(first.most);
        Some(first)
    }

    /// Bytes that may be held of a content that is cut nobody knows how.
    fn room_for_first(&self) -> u64 {
        let memory = self.memory(1);
        self.downloads.free_for_strangers(memory).min(MOST)
    }
}
