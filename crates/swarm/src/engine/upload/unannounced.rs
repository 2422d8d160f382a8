//! What takers were sent and have not said to have.
//!
//! Buffers take an answer for a peer that does not read it, so that it has left says nothing of its receiver. While others are kept waiting, who
//! owes word of a piece, and of as much as it ever took, comes after those who do not; and peers that have said nothing for longer than slow links
//! take, which *swallow*, get a small part of the uplink together.

use std::time::Duration;

use super::Upload;
use crate::event::ConnId;

/// As much is sent to anyone without a word, or one piece if that is larger.
const LEAST: u64 = 128 << 10;
/// A piece of that size arrives, and is announced, at no fewer bytes a second than this.
const SLOWEST: u64 = 25 << 10;
/// What was not announced within this time, or within so many times as long as that takes, was lost on its way.
const LOST: Duration = Duration::from_secs(30);
const LOST_TIMES: u32 = 3;
/// Those who swallow get this part of what others get, and so many bytes beyond it.
const PART: u64 = 32;
const BEYOND: u64 = 2 << 20;
/// What both got counts half once others have got so many bytes since.
const REMEMBERED: u64 = 64 << 20;
/// Others were kept waiting if that is no longer ago than this, since between two of their questions there is always a moment; and less long ago
/// for one that only owes word, since the uplink may be idle meanwhile.
const CONTENDED: Duration = Duration::from_millis(500);
const A_MOMENT: Duration = Duration::from_millis(100);

/// What one taker was sent, and has not said to have.
#[derive(Debug, Default)]
pub(super) struct Unannounced {
    bytes: u64,
    /// The size of the largest pieces among them.
    piece: u64,
    /// Since when something has left of which it says nothing.
    since: Option<Duration>,
    swallows: bool,
}

impl Unannounced {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Those of them that buffers on the way may still hold: a little more than what is sent without a word.
    pub(super) fn on_the_way(&self) -> u64 {
        self.bytes.min(2 * self.piece.max(LEAST))
    }

    /// Whether it let us wait for its word for too long, and has not taken anything in time since.
    pub(super) fn swallows(&self) -> bool {
        self.swallows
    }

    /// An answer of so many bytes begins, in pieces of that size.
    fn begins(&mut self, bytes: u64, piece: u64) {
        self.piece = if self.bytes == 0 { piece } else { self.piece.max(piece) };
        self.bytes += bytes;
    }

    /// An answer of so many bytes is over, of which so many were sent.
    pub(super) fn has_left(&mut self, now: Duration, bytes: u64, sent: u64) {
        self.bytes = self.bytes.saturating_sub(bytes - sent.min(bytes));
        if sent > 0 && self.bytes > 0 {
            self.since.get_or_insert(now);
        }
    }

    /// It says that it has a piece that it did not have before, wherever that came from.
    pub(super) fn announces(&mut self, now: Duration, bytes: u64) {
        if bytes == 0 {
            // It is not known yet how its content is cut: nothing of that was sent.
            return;
        }
        let Some(since) = self.since else { return self.bytes = self.bytes.saturating_sub(bytes) };
        self.swallows &= now.saturating_sub(since) > self.longest();
        self.bytes = self.bytes.saturating_sub(bytes);
        self.since = (self.bytes > 0).then_some(now);
    }

    /// How long a slow link takes for a piece.
    fn longest(&self) -> Duration {
        Duration::from_secs_f64(self.piece.max(LEAST) as f64 / SLOWEST as f64)
    }

    /// Looks whether it says too little; so much longer than its own link the rest may take. Whether that is news.
    fn review(&mut self, now: Duration, rest: Duration) -> bool {
        let Some(since) = self.since else { return false };
        let (silent, longest) = (now.saturating_sub(since), self.longest().saturating_add(rest));
        let found = !self.swallows && silent > longest;
        self.swallows |= silent > longest;
        if silent > LOST.max(longest.saturating_mul(LOST_TIMES)) {
            (self.bytes, self.since) = (0, None);
        }
        found
    }
}

impl Upload {
    /// Bytes that it may have on their way to it while others wait: as many as it ever said to have got, as a link that is used for the
    /// first time shows only by and by what it can.
    pub(super) fn most_unannounced(&self, piece: u64) -> u64 {
        self.taken.max(LEAST).max(piece)
    }

    /// Bytes of which it owes word before it is sent more, if others wait.
    pub(super) fn owed_word(&self) -> Option<u64> {
        let Unannounced { bytes, piece, swallows, .. } = self.unannounced;
        (swallows || bytes >= self.most_unannounced(piece)).then_some(bytes)
    }

    /// An answer of so many bytes begins, in pieces of that size.
    pub(super) fn begins(&mut self, bytes: u64, piece: u64) {
        self.unannounced.begins(bytes, piece);
    }

    /// Looks whether it says too little of what it is sent: the bytes that it has swallowed, if that is news.
    pub(super) fn review_word(&mut self, now: Duration, rest: Duration) -> Option<u64> {
        let bytes = self.unannounced.bytes;
        self.unannounced.review(now, rest).then_some(bytes)
    }
}

/// What those who swallow got, and the others.
#[derive(Debug, Default)]
pub(super) struct UplinkShares {
    swallowed: u64,
    others: u64,
    /// When somebody who owes no word was last kept waiting, and who; and whether that was a short time ago.
    waited: Option<(Duration, ConnId)>,
    contended: bool,
}

impl UplinkShares {
    /// Whether somebody who owes no word is kept waiting.
    pub(super) fn is_contended(&self) -> bool {
        self.contended
    }

    /// This one is.
    pub(super) fn contend(&mut self, now: Duration, conn: ConnId) {
        (self.waited, self.contended) = (Some((now, conn)), true);
    }

    /// Whether one that is not this one was kept waiting a moment ago.
    pub(super) fn others_wait(&self, now: Duration, conn: ConnId) -> bool {
        self.waited.is_some_and(|(at, other)| other != conn && now.saturating_sub(at) <= A_MOMENT)
    }

    /// Time has passed.
    pub(super) fn review(&mut self, now: Duration) {
        self.contended = self.waited.is_some_and(|(at, _)| now.saturating_sub(at) <= CONTENDED);
    }

    /// An answer of so many bytes begins.
    pub(super) fn count(&mut self, bytes: u64, swallows: bool) {
        match swallows {
            true => self.swallowed += bytes,
            false => self.others += bytes,
        }
        if self.others > REMEMBERED {
            (self.swallowed, self.others) = (self.swallowed / 2, self.others / 2);
        }
    }

    /// Whether those who swallow have had their part.
    pub(super) fn is_spent(&self) -> bool {
        self.swallowed > self.others / PART + BEYOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn taker(bytes: u64, piece: u64) -> Upload {
        let mut upload = Upload::default();
        upload.begins(bytes, piece);
        upload.unannounced.has_left(Duration::ZERO, bytes, bytes);
        upload
    }

    #[test]
    fn who_says_nothing_for_longer_than_a_slow_link_takes_swallows_until_it_takes_in_time() {
        let mut upload = taker(LEAST, 1024);
        assert_eq!(upload.review_word(second(5), Duration::ZERO), None);
        assert_eq!(upload.review_word(second(6), second(1)), None, "our own uplink is slow");
        assert_eq!(upload.review_word(second(6), Duration::ZERO), Some(LEAST));
        assert_eq!(upload.review_word(second(7), Duration::ZERO), None, "that is found once");
        upload.unannounced.announces(second(8), LEAST);
        assert!(upload.unannounced.swallows() && upload.unannounced.bytes() == 0, "it was late");
        upload.begins(LEAST, 1024);
        upload.unannounced.has_left(second(8), LEAST, LEAST);
        upload.unannounced.announces(second(12), LEAST);
        assert!(!upload.unannounced.swallows());
        // A large piece takes longer.
        let mut upload = taker(4 << 20, 4 << 20);
        assert_eq!(upload.review_word(second(160), Duration::ZERO), None);
        assert_eq!(upload.review_word(second(170), Duration::ZERO), Some(4 << 20));
    }

    #[test]
    fn what_was_lost_is_owed_no_word() {
        let mut upload = taker(LEAST, 1024);
        assert!(upload.owed_word().is_some());
        upload.review_word(second(31), Duration::ZERO);
        assert_eq!((upload.owed_word(), upload.unannounced.swallows()), (Some(0), true));
        let mut stopped = Upload::default();
        stopped.begins(LEAST, 1024);
        stopped.unannounced.has_left(second(1), LEAST, 0);
        assert_eq!((stopped.owed_word(), stopped.review_word(second(99), Duration::ZERO)), (None, None));
    }

    #[test]
    fn as_much_may_be_on_its_way_as_a_peer_has_taken() {
        let mut upload = taker(LEAST - 1, 1024);
        assert_eq!(upload.owed_word(), None);
        upload.begins(1, 1024);
        assert_eq!(upload.owed_word(), Some(LEAST));
        upload.taken = LEAST + 1;
        assert_eq!(upload.owed_word(), None);
        assert_eq!(taker(1 << 20, 4 << 20).owed_word(), None, "not one piece");
    }

    #[test]
    fn those_who_swallow_get_a_part_of_what_others_get() {
        let mut shares = UplinkShares::default();
        shares.count(BEYOND, true);
        assert!(!shares.is_spent());
        shares.count(1 << 20, true);
        assert!(shares.is_spent());
        (0..32).for_each(|_| shares.count(1 << 20, false));
        assert!(!shares.is_spent());
        (0..33).for_each(|_| shares.count(1 << 20, false));
        assert_eq!((shares.swallowed, shares.others), (3 << 19, 65 << 19), "what was long ago counts less");
    }
}
