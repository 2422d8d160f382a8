//! Questions for whatever is offered first, of peers that do not have the manifest yet: they are answered with what they were offered, and
//! wait a moment for that.

use std::time::Duration;

use protocol::{ContentId, PieceRange, RefusalReason};

use super::FirstQuestion;
use super::promises::Stage;
use crate::engine::Engine;
use crate::event::{ConnId, ServeId};

/// A question waits so long for an offer.
const PARKED: Duration = Duration::from_secs(1);

impl Engine {
    /// The other side asks for as much of what it is offered first.
    pub(crate) fn requested_first(&mut self, conn: ConnId, serve: ServeId, content: ContentId, most: u64) {
        let known = self.contents.contains_key(&content) && self.conns.contains_key(&conn);
        let waits = self.uploads.firsts.iter().any(|question| question.conn == conn);
        if !known || waits {
            let reason = if known { RefusalReason::Busy } else { RefusalReason::NotHeld };
            return self.actions.refuse(serve, reason);
        }
        // It may not have been heard yet that it takes part.
        self.uploads.firsts.push(FirstQuestion { conn, serve, content, most, since: self.now });
        self.answer_firsts();
    }

    /// Answers those to whom something is offered by now, and refuses those who have waited for too long.
    pub(crate) fn answer_firsts(&mut self) {
        if self.uploads.firsts.is_empty() {
            return;
        }
        for question in std::mem::take(&mut self.uploads.firsts) {
            let FirstQuestion { conn, serve, content, most, since } = question;
            let Some(run) = self.offered_first(&question) else {
                let waits = self.contents.contains_key(&content) && self.now.saturating_sub(since) < PARKED;
                match waits {
                    true => self.uploads.firsts.push(question),
                    false => self.actions.refuse(serve, RefusalReason::Busy),
                }
                continue;
            };
            // Of a larger piece the rest would fill the connection while the manifest is still to come over it.
            if self.contents.get(&content).is_none_or(|content| content.bytes(run) > most) {
                self.actions.refuse(serve, RefusalReason::Busy);
                continue;
            }
            if let Some(state) = self.conns.get_mut(&conn) {
                state.upload.answers(self.now);
            }
            self.recount(conn);
            match self.admit(conn, serve, content, run, false) {
                Ok(()) => self.actions.choose(serve, run),
                Err(reason) => self.actions.refuse(serve, reason),
            }
        }
        self.serve_next();
    }

    /// The first pieces of what was offered, which are here.
    fn offered_first(&self, question: &FirstQuestion) -> Option<PieceRange> {
        let content = self.contents.get(&question.content)?;
        let theirs = self.conns.get(&question.conn)?.participation(&question.content)?;
        let is_offered = |piece: u32| {
            let promise = theirs.promised.get(&piece);
            promise.is_some_and(|promise| promise.stage == Stage::Offered) && content.have.contains(piece)
        };
        let first = theirs.promised.keys().copied().find(|&piece| is_offered(piece))?;
        let most = content.within(first, question.most);
        let count = (first..first.saturating_add(most)).take_while(|&piece| is_offered(piece)).count() as u32;
        Some(PieceRange { first, count })
    }
}
