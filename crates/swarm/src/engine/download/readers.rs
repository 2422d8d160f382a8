//! Pieces with a deadline: somebody reads a content while it is downloaded. What readers wait for, and a window ahead of each,
//! is asked for before anything else, on our own account. Without readers nothing here does anything.

use std::time::Duration;

use protocol::{ContentId, PieceRange};

use super::Download;
use super::request::Cause;
use crate::engine::Engine;
use crate::engine::content::Content;
use crate::engine::peers::connection::Connection;
use crate::engine::upload::promises::ANSWER;
use crate::event::{ConnId, RequestId};

/// Most requests for readers that wait at one peer for their turn: more of them it refuses.
const UNBEGUN: usize = 2;
/// A request for a reader is as large as what comes in this time, and at least so many bytes.
const RUN: Duration = Duration::from_millis(50);
const LEAST_RUN: u64 = 512 << 10;
/// Pieces of a window that are looked at for one that somebody can bring now.
const TRIED: usize = 16;
/// Most requests for readers that are made in one go.
const AT_ONCE: usize = 32;
/// A peer that has refused to bring something for a reader is asked for nothing of that kind for so long.
const REFUSED: Duration = Duration::from_secs(5);

impl Engine {
    /// A reader wants these pieces next, or is gone.
    pub(crate) fn reading(&mut self, id: ContentId, reader: u64, window: Option<PieceRange>) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        let pieces = content.pieces();
        let Some(window) = window.filter(|window| window.lies_within(pieces)) else {
            content.readers.remove(reader);
            if content.readers.is_empty() {
                self.downloads.read.remove(&id);
            }
            return self.take_waiting_offers();
        };
        content.readers.insert(reader, window);
        self.downloads.read.insert(id);
        let waits = content.picker.is_open(window.first);
        if content.wanted && waits {
            self.make_way(id);
            self.take_waiting_offers();
        }
    }

    /// A reader waits: what no reader wants and nobody has begun to send is given up, and asked for again when it has its piece.
    fn make_way(&mut self, id: ContentId) {
        let Some(content) = self.contents.get(&id) else { return };
        let unneeded = |request: &RequestId| {
            self.downloads.requests.get(request).is_some_and(|outgoing| {
                let wanted = outgoing.content == id && outgoing.open.iter().any(|piece| content.readers.want(piece));
                !outgoing.began && !wanted
            })
        };
        let unneeded: Vec<RequestId> = self.downloads.requests.keys().copied().filter(unneeded).collect();
        self.give_up(unneeded);
    }

    /// Asks for what readers want, one after another, as far as there is room.
    pub(crate) fn ask_for_readers(&mut self) {
        let reads = |content: &Content| content.wanted && content.geometry.is_some() && !content.readers.is_empty();
        // There may be ten thousand contents, and each offer leads here.
        self.downloads.read.retain(|id| self.contents.contains_key(id));
        let read = self.downloads.read.iter().copied().filter(|id| self.contents.get(id).is_some_and(reads));
        let read: Vec<ContentId> = read.collect();
        for id in read {
            for _ in 0..AT_ONCE {
                let Some((conn, reader, run)) = self.next_for_readers(id) else { break };
                if let Some(content) = self.contents.get_mut(&id) {
                    content.readers.had_turn(reader);
                }
                self.request(conn, id, run, Cause::Awaited);
            }
        }
    }

    /// The reader whose turn it is, what it gets, and from whom.
    fn next_for_readers(&self, id: ContentId) -> Option<(ConnId, u64, PieceRange)> {
        let content = self.contents.get(&id)?;
        content.readers.in_turn().find_map(|(reader, window)| {
            // What nobody has, or can bring now, holds up nothing behind it.
            let open = |&piece: &u32| content.picker.is_open(piece) && content.picker.availability(piece) > 0;
            let mut tried = window.pieces().filter(open).take(TRIED);
            let (first, (conn, room)) = tried.find_map(|piece| Some((piece, self.who_brings(id, content, piece)?)))?;
            let state = self.conns.get(&conn)?;
            let most = content.within(first, room) as usize;
            let fits = |&piece: &u32| content.picker.is_open(piece) && state.has(&id, piece);
            let count = (first..window.pieces().end).take(most).take_while(fits).count() as u32;
            Some((conn, reader, PieceRange { first, count: count.max(1) }))
        })
    }

    /// Who is to bring a piece that a reader wants, and most bytes that it is asked for at once.
    fn who_brings(&self, id: ContentId, content: &Content, piece: u32) -> Option<(ConnId, u64)> {
        let (total, size) = (content.total(), content.piece_size());
        let able = |(&conn, state): (&ConnId, &Connection)| {
            if !state.has(&id, piece) || !self.may_bring_for_readers(state) {
                return None;
            }
            let room = self.room(state, total, size);
            let run = state.rate.bytes_in(RUN).unwrap_or(0).clamp(LEAST_RUN, self.config.request_bytes.max(LEAST_RUN));
            let debt = state.rate.time_for(state.download.owed);
            (room >= size).then_some(((!state.download.credit.proven, debt), conn, room.min(run).max(size)))
        };
        let best = self.conns.iter().filter_map(able).min_by_key(|(rank, ..)| *rank);
        best.map(|(_, conn, bytes)| (conn, bytes))
    }

    /// Whether a peer takes one more request for a reader.
    fn may_bring_for_readers(&self, state: &Connection) -> bool {
        let download = &state.download;
        let unbegun = |request: &&RequestId| {
            self.downloads
                .requests
                .get(request)
                .is_some_and(|outgoing| outgoing.cause == Cause::Awaited && !outgoing.began)
        };
        self.may_ask(state)
            && download.fits_request()
            && self.now >= download.readers_after
            && download.requests.iter().filter(unbegun).count() < UNBEGUN
    }

    /// Whether a peer has something for a reader that it is to be asked for before anything else.
    pub(super) fn is_kept_for_readers(&self, conn: ConnId, id: ContentId) -> bool {
        let (Some(content), Some(state)) = (self.contents.get(&id), self.conns.get(&conn)) else { return false };
        if content.readers.is_empty() || self.now < state.download.readers_after {
            return false;
        }
        let brings = |piece: u32| content.picker.is_open(piece) && state.has(&id, piece);
        content.readers.in_turn().any(|(_, window)| window.pieces().any(brings))
    }

    /// Whether an offer has waited for readers for so long that the other side may have taken it back.
    pub(super) fn is_stale_for_readers(&self, id: ContentId, at: Duration) -> bool {
        let is_read = self.contents.get(&id).is_some_and(|content| !content.readers.is_empty());
        is_read && self.now.saturating_sub(at) > ANSWER / 2
    }

    /// Whether somebody reads something that is downloaded.
    pub(super) fn somebody_reads(&self) -> bool {
        self.contents.values().any(|content| content.wanted && !content.readers.is_empty())
    }
}

impl Download {
    /// It refused to bring something for a reader: it is left alone with that for a while.
    pub(super) fn refuse_readers(&mut self, now: Duration) {
        self.readers_after = now + REFUSED;
    }
}
