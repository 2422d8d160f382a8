//! Whom to serve: few at a time, so that pieces finish one after another, and everyone in turn.

use std::collections::{BTreeMap, VecDeque};

use protocol::{ContentId, RefusalReason, Run};

use super::Engine;
use crate::event::{Action, ConnId, ServeId};

/// Questions that wait and serves that are under way.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    waiting: BTreeMap<ConnId, VecDeque<Question>>,
    active: BTreeMap<ServeId, ConnId>,
    /// Payload bytes sent to each connection: who got least goes first.
    sent: BTreeMap<ConnId, u64>,
}

#[derive(Debug)]
struct Question {
    serve: ServeId,
    content: ContentId,
    bytes: u64,
}

/// Most bytes that one question may ask for, however small its pieces.
const MOST_BYTES: u64 = 32 << 20;

impl Engine {
    pub(super) fn asked(&mut self, conn: ConnId, serve: ServeId, id: ContentId, run: Run, actions: &mut Vec<Action>) {
        let refuse = |reason| Action::Refuse { serve, reason };
        if !self.conns.contains_key(&conn) {
            return actions.push(refuse(RefusalReason::Busy));
        }
        let Some(content) = self.contents.get(&id) else { return actions.push(refuse(RefusalReason::NotHeld)) };
        let fits = run.count > 0 && run.end().is_some_and(|end| end <= content.pieces());
        if !fits || content.bytes(run) > MOST_BYTES {
            return actions.push(refuse(RefusalReason::Invalid));
        }
        if !run.pieces().all(|piece| content.have.contains(piece)) {
            return actions.push(refuse(RefusalReason::NotHeld));
        }
        let queue = self.uploads.waiting.entry(conn).or_default();
        if queue.len() >= self.config.questions_per_connection {
            return actions.push(refuse(RefusalReason::Busy));
        }
        let bytes = content.bytes(run);
        // A newcomer starts even with whoever got least, or it would shut the others out until it caught up.
        let least = self.uploads.sent.values().min().copied().unwrap_or(0);
        self.uploads.sent.entry(conn).or_insert(least);
        queue.push_back(Question { serve, content: id, bytes });
        self.serve_next(actions);
    }

    pub(super) fn served(&mut self, serve: ServeId, actions: &mut Vec<Action>) {
        self.uploads.active.remove(&serve);
        self.serve_next(actions);
    }

    /// Fills the free slots, each with the next question of the connection that got least so far.
    fn serve_next(&mut self, actions: &mut Vec<Action>) {
        while self.uploads.active.len() < self.config.upload_slots {
            let free = |conn: &ConnId| {
                let active = self.uploads.active.values().filter(|other| *other == conn).count();
                active < self.config.slots_per_connection
            };
            let candidates = self.uploads.waiting.iter().filter(|(conn, queue)| !queue.is_empty() && free(conn));
            let Some((&conn, _)) =
                candidates.min_by_key(|(conn, _)| (self.uploads.sent.get(conn).copied().unwrap_or(0), **conn))
            else {
                return;
            };
            let Some(next) = self.uploads.waiting.get_mut(&conn).and_then(VecDeque::pop_front) else { return };
            self.uploads.active.insert(next.serve, conn);
            *self.uploads.sent.entry(conn).or_default() += next.bytes;
            actions.push(Action::Serve { serve: next.serve });
        }
    }

    /// A connection is gone: nobody waits for its answers any more.
    pub(super) fn forget_questions(&mut self, conn: ConnId) {
        self.uploads.waiting.remove(&conn);
        self.uploads.sent.remove(&conn);
        self.uploads.active.retain(|_, other| *other != conn);
    }

    /// A content is withdrawn: what waits for it is refused.
    pub(super) fn refuse_content(&mut self, id: ContentId, actions: &mut Vec<Action>) {
        for queue in self.uploads.waiting.values_mut() {
            queue.retain(|question| {
                let keep = question.content != id;
                if !keep {
                    actions.push(Action::Refuse { serve: question.serve, reason: RefusalReason::NotHeld });
                }
                keep
            });
        }
    }
}
