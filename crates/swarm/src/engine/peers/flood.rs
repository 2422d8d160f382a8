//! What peers' messages cost us: each connection may have us work so much a second, and a connection that floods is closed.
//!
//! A message of a few bytes can make us look at every piece of a content. So what counts is the work that a message makes,
//! in units of a look at one piece (some 50 ns), and not its bytes. What an honest peer says of a content changes each
//! piece a few times in all; that much is always free. What a stranger has had us do, and has not earned since, the next stranger of its
//! address begins with: else each new connection would be a new budget. For the same reason strangers of one address, beyond a few, share
//! what these few may have us do. An office may be behind it: what they tell of other peers, which is most of what honest ones say and is lost
//! for nobody, is not heard then, and who says too much of the rest is let go without being remembered for it.

use std::time::Duration;

use protocol::{ContentId, PeerMessage, PieceRange};

use crate::engine::Engine;
use crate::event::ConnId;

/// Units for any message, for each run in it, and for each peer that is named.
const MESSAGE: u64 = 40;
const RUN: u64 = 2;
const PEER: u64 = 40;
/// Units a second of a connection over which pieces have travelled, and of others.
const USEFUL: u64 = 300_000;
pub(crate) const OTHERS: u64 = 60_000;
/// All strangers of an address together have the units a second of so many.
const FEW: u64 = 4;
/// Units to begin with; and of an address whose strangers flooded or stalled before.
const BURST: u64 = 300_000;
const SUSPECT_BURST: u64 = 30_000;
/// Times that each piece of the contents that both take part in may be spoken of for nothing.
const TIMES: u64 = 8;
/// Units that a piece earns which travels either way.
const EARNED: u64 = 400;

/// Most time of which units are saved up.
const SAVED: Duration = Duration::from_secs(60);

/// Units that are earned within this time.
pub(crate) fn earned(elapsed: Duration, rate: u64) -> u64 {
    (elapsed.as_micros() * u128::from(rate) / 1_000_000) as u64
}

/// Work that a connection may still make.
#[derive(Debug)]
pub(crate) struct MessageBudget {
    units: u64,
    since: Duration,
    /// Units that it would have begun with if strangers of its address owed nothing; what they owed; and the part of that which is still to
    /// be taken from what is granted.
    first: u64,
    inherited: u64,
    owed: u64,
    /// Pieces of the contents that both take part in, and as many as they ever were: for so many work was granted.
    pieces: u64,
    granted: u64,
}

/// Pieces of a content that count among those of a connection.
#[derive(Debug, Default)]
pub(crate) struct Granted(u64);

impl MessageBudget {
    /// Of a connection that has just been made; `inherited` is what strangers of its address owe. It has enough left to say what it is
    /// here for, since it may be another one.
    pub(crate) fn new(now: Duration, suspect: bool, inherited: u64) -> Self {
        let first = if suspect { SUSPECT_BURST } else { BURST };
        let paid = inherited.min(first - SUSPECT_BURST);
        let (units, owed) = (first - paid, inherited - paid);
        MessageBudget { units, since: now, first, inherited, owed, pieces: 0, granted: 0 }
    }

    /// Both take part in a content of so many pieces.
    pub(crate) fn grant_of(&mut self, granted: &mut Granted, pieces: u32) {
        let before = std::mem::replace(&mut granted.0, u64::from(pieces));
        self.pieces = self.pieces - before + granted.0;
        self.grant(self.pieces);
    }

    /// The other side takes part in it no more.
    pub(crate) fn forget(&mut self, granted: &Granted) {
        self.pieces -= granted.0;
    }

    /// Both take part in contents of so many pieces in all.
    fn grant(&mut self, pieces: u64) {
        let more = pieces.saturating_sub(self.granted) * TIMES;
        let paid = more.min(self.owed);
        (self.units, self.owed) = (self.units + more - paid, self.owed - paid);
        self.granted = self.granted.max(pieces);
    }

    /// Pieces for which work is granted, and as many as there ever were.
    #[cfg(test)]
    pub(crate) fn granted_pieces(&self) -> (u64, u64) {
        (self.pieces, self.granted)
    }

    pub(crate) fn earn(&mut self) {
        self.units = (self.units + EARNED).min(self.most());
    }

    fn most(&self) -> u64 {
        BURST + self.granted * TIMES
    }

    /// What it has earned since that was last added.
    fn earned(&self, now: Duration, rate: u64) -> u64 {
        earned(now.saturating_sub(self.since).min(SAVED), rate)
    }

    /// Whether there would be enough left for this much work.
    fn affords(&self, now: Duration, rate: u64, units: u64) -> bool {
        self.units + self.earned(now, rate) >= units
    }

    /// Whether there is enough left for this much work.
    fn spend(&mut self, now: Duration, rate: u64, units: u64) -> bool {
        let earned = self.earned(now, rate);
        if earned > 0 {
            self.units = (self.units + earned).min(self.most().max(self.units));
            self.since = now;
        }
        let enough = self.units >= units;
        self.units = self.units.saturating_sub(units);
        enough
    }

    /// The work that it, and strangers of its address before it, had us do beyond what they earned.
    pub(crate) fn debt(&self, now: Duration) -> u64 {
        let missing = (self.first + self.granted * TIMES).saturating_sub(self.units) + self.owed;
        missing.saturating_sub(earned(now.saturating_sub(self.since), OTHERS))
    }

    /// Whether it has made little of the work that is missing: others of its address did.
    fn is_of_others(&self, now: Duration) -> bool {
        self.inherited > 0 && self.debt(now) < self.inherited + SUSPECT_BURST
    }
}

impl Engine {
    /// Whether a connection may have us do what this message means. If not it is let go, and remembered.
    pub(crate) fn may_say(&mut self, conn: ConnId, message: &PeerMessage) -> bool {
        let cost = MESSAGE + self.work_of(conn, message);
        let rate = self.pace_of(conn);
        let Some(state) = self.conns.get_mut(&conn) else { return false };
        let ours = |id| self.contents.get(id).map_or(0, |content| content.pieces());
        let budget = &mut state.conduct.messages;
        if let Some(id) = message.content().as_ref() {
            match state.participations.get_mut(id) {
                // As many as either side says.
                Some(theirs) => budget.grant_of(&mut theirs.granted, theirs.have.len().max(ours(id))),
                // What it joins only now counts, too.
                None if matches!(message, PeerMessage::Join { .. }) => {
                    budget.grant(budget.pieces + u64::from(ours(id)))
                }
                None => {}
            }
        }
        // It has little only because of its neighbours.
        let is_crowded = rate < OTHERS;
        let is_gossip = matches!(message, PeerMessage::Peers { .. });
        if is_crowded && is_gossip && !state.conduct.messages.affords(self.now, rate, cost + SUSPECT_BURST) {
            return false;
        }
        let is_of_others = is_crowded || state.conduct.messages.is_of_others(self.now);
        if state.conduct.messages.spend(self.now, rate, cost) {
            return true;
        }
        if is_of_others {
            self.close(conn, "its address floods");
            return false;
        }
        self.peers.shun(state.peer.id, state.peer.address.ip(), self.now);
        self.close(conn, "it floods");
        false
    }

    /// Whether a connection's question is looked at: not while what it has said, and asked in vain, is more work than it may make.
    pub(crate) fn may_ask_us(&mut self, conn: ConnId) -> bool {
        self.works_for(conn, 1)
    }

    /// A question for these pieces was looked at in vain.
    pub(crate) fn asked_in_vain(&mut self, conn: ConnId, id: ContentId, run: PieceRange) {
        let looks = u64::from(run.count).min(self.pieces_of(&id));
        self.works_for(conn, MESSAGE + RUN + looks);
    }

    fn works_for(&mut self, conn: ConnId, units: u64) -> bool {
        let (now, rate) = (self.now, self.pace_of(conn));
        self.conns.get_mut(&conn).is_some_and(|state| state.conduct.messages.spend(now, rate, units))
    }

    /// Units a second that a connection earns.
    fn pace_of(&self, conn: ConnId) -> u64 {
        match self.conns.get(&conn) {
            Some(state) if state.was_of_use() => USEFUL,
            Some(state) => OTHERS * FEW / self.peers.strangers_of(state.peer.address.ip()).max(FEW),
            None => 0,
        }
    }

    /// Counts the strangers of each address. Many that have nothing to do with each other come from that of a relay.
    pub(crate) fn count_strangers(&mut self) {
        let strangers = self.conns.values().filter(|state| !state.was_of_use() && state.peer.relayed.is_none());
        self.peers.count_strangers(strangers.map(|state| state.peer.address.ip()));
    }

    fn pieces_of(&self, id: &ContentId) -> u64 {
        self.contents.get(id).map_or(0, |content| u64::from(content.pieces()))
    }

    /// Pieces, and what counts like them, that a message has us look at.
    fn work_of(&self, conn: ConnId, message: &PeerMessage) -> u64 {
        let looks = |runs: &[PieceRange]| runs.iter().map(|run| RUN + u64::from(run.count)).sum::<u64>();
        let theirs = |content| self.conns.get(&conn).and_then(|state| state.participation(content));
        let whole = |content| self.pieces_of(content);
        match message {
            PeerMessage::Hello { .. } | PeerMessage::Bye => 0,
            PeerMessage::Prove { .. } | PeerMessage::Proven { .. } => 0,
            PeerMessage::Peers { peers, .. } => peers.len() as u64 * PEER,
            PeerMessage::Join { content, wants, .. } => match theirs(content) {
                Some(theirs) if theirs.takes == *wants => 0,
                _ => whole(content),
            },
            PeerMessage::Interest { content, interested } => match theirs(content) {
                Some(theirs) if theirs.takes != *interested => whole(content),
                _ => 0,
            },
            PeerMessage::Withdraw { content } => theirs(content).map_or(0, |_| whole(content)),
            PeerMessage::Have { content, runs, in_flight } => match theirs(content) {
                Some(theirs) => looks(runs) + theirs.in_flight_changes(in_flight),
                None => 0,
            },
            PeerMessage::Skip { runs, .. } | PeerMessage::Decline { runs, .. } | PeerMessage::Offer { runs, .. } => {
                looks(runs)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_free_at_first_and_then_by_the_second() {
        let mut budget = MessageBudget::new(Duration::ZERO, false, 0);
        budget.grant(1000);
        assert!(budget.spend(Duration::ZERO, OTHERS, BURST + 1000 * TIMES));
        assert!(!budget.spend(Duration::ZERO, OTHERS, 1));
        budget.grant(1000);
        assert!(!budget.spend(Duration::ZERO, OTHERS, 1), "a content is granted once");
        assert!(budget.spend(Duration::from_secs(1), OTHERS, OTHERS));
        assert!(!budget.spend(Duration::from_secs(1), OTHERS, 1));
        budget.earn();
        assert!(budget.spend(Duration::from_secs(1), OTHERS, EARNED));
        assert!(!budget.spend(Duration::from_secs(9999), OTHERS, BURST + 1000 * TIMES + 1), "no more is saved up");
    }

    #[test]
    fn a_new_connection_is_no_new_budget() {
        let (mut budget, now) = (MessageBudget::new(Duration::ZERO, false, 0), Duration::from_secs(1));
        let all = BURST + 1000 * TIMES;
        budget.grant(1000);
        assert_eq!(budget.debt(Duration::ZERO), 0);
        assert!(budget.spend(Duration::ZERO, OTHERS, all));
        assert_eq!((budget.debt(Duration::ZERO), budget.debt(now)), (all, all - OTHERS));
        let mut next = MessageBudget::new(now, false, budget.debt(now));
        next.grant(1000);
        assert_eq!(next.debt(now), all - OTHERS);
        assert!(next.is_of_others(now) && !next.spend(now, OTHERS, OTHERS + 1));
        let mut next = MessageBudget::new(now, false, budget.debt(now));
        next.grant(1000);
        assert!(next.spend(now, OTHERS, OTHERS) && !next.is_of_others(now));
        // The next one is heard, since it may be another, and is granted what is left of what is owed.
        let mut other = MessageBudget::new(now, false, 10 * all);
        assert_eq!(other.debt(now), 10 * all);
        other.grant(100_000);
        assert!(other.spend(now, OTHERS, SUSPECT_BURST) && !other.spend(now, OTHERS, 1));
    }
}
