//! Promises: pieces that were offered or asked for, until the other side says that it has them.

use std::time::Duration;

use protocol::{ContentId, PieceRange};

use crate::engine::Engine;
use crate::event::ConnId;

/// An offer must be answered, and a piece that was sent be announced, within this time and two round trips.
pub(crate) const ANSWER: Duration = Duration::from_secs(1);
/// What was declined is offered again sooner while nobody wants anything else of us: once so many bytes could have been sent, and not before
/// this. Those who were to bring it may have left, having all.
const SENT_SOON: f64 = (8 << 20) as f64;
const LEAST_REST: Duration = Duration::from_millis(100);
/// No further offers to a peer that has not answered one for this long and two round trips.
const PATIENCE: Duration = Duration::from_millis(250);
/// Longest pause in offers to someone who does not answer them.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A piece that was promised to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) since: Duration,
    pub(crate) stage: Stage,
}

/// How far a promise has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Offered, and neither asked for nor declined.
    Offered,
    /// Asked for: it waits or is being sent.
    Asked,
    /// Handed to the transport; the other side has not said that it has it.
    Sent,
    /// The other side gets it from elsewhere, or did not take all of the answer: it is not offered again at once.
    Declined,
}

impl Promise {
    /// How many of the piece's bytes are still to be sent for it.
    pub(super) fn owed(self, bytes: u64) -> u64 {
        match self.stage {
            Stage::Offered | Stage::Asked => bytes,
            Stage::Sent | Stage::Declined => 0,
        }
    }
}

impl Engine {
    /// Writes a promise into the books, or how far it has come.
    pub(super) fn promise(&mut self, conn: ConnId, id: ContentId, piece: u32, stage: Stage) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let bytes = content.bytes(PieceRange { first: piece, count: 1 });
        let Some(theirs) = state.participations.get_mut(&id) else { return };
        if stage == Stage::Offered {
            content.spread.given(piece);
        }
        let promise = Promise { since: self.now, stage };
        let mut before = None;
        content.update(theirs, piece, |theirs| before = theirs.promised.insert(piece, promise));
        if let Some(before) = before {
            self.uploads.settle(&mut state.upload, before, bytes);
        }
        self.uploads.owe(&mut state.upload, promise, bytes);
    }

    /// Takes a promise back.
    pub(crate) fn break_promise(&mut self, conn: ConnId, id: ContentId, piece: u32) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let bytes = content.bytes(PieceRange { first: piece, count: 1 });
        let Some(theirs) = state.participations.get_mut(&id) else { return };
        let mut before = None;
        content.update(theirs, piece, |theirs| before = theirs.promised.remove(&piece));
        if let Some(before) = before {
            self.uploads.settle(&mut state.upload, before, bytes);
        }
    }

    /// The other side does not want what it was offered.
    pub(crate) fn declined(&mut self, conn: ConnId, id: ContentId, runs: &[PieceRange]) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let was_counted = state.upload.counted;
        state.upload.answers(self.now);
        let Some(theirs) = state.participation(&id) else { return };
        let offered = |run: &PieceRange| {
            let range = theirs.promised.range(run.first..run.first.saturating_add(run.count));
            range.filter(|(_, promise)| promise.stage == Stage::Offered).map(|(&piece, _)| piece).collect::<Vec<_>>()
        };
        let pieces: Vec<u32> = runs.iter().flat_map(offered).collect();
        let is_news = !pieces.is_empty();
        pieces.into_iter().for_each(|piece| self.promise(conn, id, piece, Stage::Declined));
        self.recount(conn);
        if is_news || self.conns.get(&conn).is_some_and(|state| state.upload.counted != was_counted) {
            self.offer_of(conn, id);
        }
    }

    /// Forgets promises that were not answered or not kept, and lets those rest who do not answer.
    pub(crate) fn review_promises(&mut self) {
        let (mut broken, mut ignoring) = (Vec::new(), Vec::new());
        self.uploads.longest_rtt = Duration::ZERO;
        let declined = self.uploads.rests_after_decline();
        for (&conn, state) in &mut self.conns {
            let rtt = state.round_trip();
            let patience = rtt * 2 + PATIENCE;
            // A peer that asks for one piece after another has more offers than it may ask for at once, and ignores none.
            let silent = self.now.saturating_sub(state.upload.answered);
            let mut late = false;
            for (&id, theirs) in &state.participations {
                if theirs.takes {
                    self.uploads.longest_rtt = self.uploads.longest_rtt.max(rtt.min(Duration::from_secs(1)));
                }
                for (&piece, promise) in &theirs.promised {
                    let age = self.now.saturating_sub(promise.since);
                    // A peer without the manifest cannot answer.
                    late |= theirs.manifest && promise.stage == Stage::Offered && age.min(silent) > patience;
                    let stranger = theirs.manifest && !state.upload.has_answered && promise.stage == Stage::Offered;
                    let answer = if promise.stage == Stage::Declined { declined } else { ANSWER };
                    let most = if stranger { patience } else { rtt * 2 + answer };
                    if promise.stage != Stage::Asked && age > most {
                        broken.push((conn, id, piece));
                    }
                }
            }
            if late && self.now >= state.upload.offer_after {
                state.upload.pause(self.now);
                ignoring.push(conn);
            }
        }
        ignoring.into_iter().for_each(|conn| self.recount(conn));
        broken.into_iter().for_each(|(conn, id, piece)| self.break_promise(conn, id, piece));
    }
}

impl super::Uploads {
    /// How long a piece that was declined is not offered again.
    fn rests_after_decline(&self) -> Duration {
        let rate = self.rate().filter(|_| self.promised == 0);
        let sent = rate.and_then(|rate| Duration::try_from_secs_f64(SENT_SOON / rate).ok());
        sent.map_or(ANSWER, |sent| sent.clamp(LEAST_REST, ANSWER))
    }
}

impl super::Upload {
    /// It did not answer: it is offered nothing for twice as long as the last time.
    fn pause(&mut self, now: Duration) {
        let pause = ANSWER * (1 << self.ignored.min(5));
        self.ignored += 1;
        self.offer_after = now + pause.min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Upload;
    use super::*;

    #[test]
    fn pauses_double_until_it_answers() {
        let mut upload = Upload::default();
        let mut pause = || {
            upload.pause(Duration::ZERO);
            upload.offer_after.as_secs()
        };
        assert_eq!((0..7).map(|_| pause()).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 30, 30]);
        upload.answers(Duration::from_secs(9));
        upload.pause(Duration::ZERO);
        assert_eq!(upload.offer_after.as_secs(), 1);
    }
}
