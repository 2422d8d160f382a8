//! What the two ends of a connection tell each other of a content: that they take part, what they have, what is on its
//! way to them, and whether they want more.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{ContentId, MAX_COMING, MAX_PIECES, MAX_RUNS, MAX_SITE, PeerMessage, PieceSet, Run, VERSION};

use super::coming::Coming;
use super::connections::Word;
use super::offers::{Promise, Stage};
use super::{Content, Engine};
use crate::event::{Action, ConnId, RequestId};

/// The other side's part in one content.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// What it has. Without a manifest on either end its length is 0.
    pub(super) have: PieceSet,
    /// Whether the picker counts it among those that have everything.
    pub(super) complete: bool,
    /// Whether it said that it has the manifest.
    pub(super) manifest: bool,
    /// Whether it wants what it lacks.
    pub(super) takes: bool,
    /// How often its manifest did not come.
    pub(super) manifest_failures: u32,
    /// What it said is on its way to it.
    coming: Coming,
    /// What it said that it will never ask for; of no length until it says so.
    skipped: PieceSet,
    /// What we have promised it, and it has not said that it has.
    pub(super) promised: BTreeMap<u32, Promise>,
    /// Whether `Content::spread` counts it.
    counted: bool,
    /// When it last said that it has something new.
    pub(super) grew: Duration,
    /// Its turn among all who ever took part, and the last turn of those that it was told of: a list of whom it knows
    /// would be the largest thing that an engine keeps.
    pub(super) joined: u64,
    pub(super) told: u64,
}

impl Side {
    /// It said that it has the manifest. What it was offered before it can only answer from now on.
    fn has_manifest(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.manifest, true) {
            let offered = self.promised.values_mut().filter(|promise| promise.stage == Stage::Offered);
            offered.for_each(|promise| promise.since = now);
        }
    }

    /// The content is gone, and with it what was counted of this side.
    pub(super) fn forget_counts(&mut self) {
        (self.counted, self.complete) = (false, false);
    }

    /// How many pieces change if it says that these are on their way to it.
    pub(super) fn coming_changes(&self, said: &[Run]) -> u64 {
        // What does not exist is refused anyway.
        let valid = said.iter().all(|run| run.lies_within(self.have.len()));
        if valid { self.coming.changes(&Coming::new(said)) } else { 0 }
    }

    /// Whether it has the piece or will have it, or does not want it: there is nothing to give.
    pub(super) fn gets(&self, piece: u32) -> bool {
        let (here, skipped) = (self.have.contains(piece), self.skipped.contains(piece));
        here || skipped || self.coming.contains(piece) || self.promised.contains_key(&piece)
    }
}

impl Content {
    /// Takes in what a side said before the manifest was known here; false if it cannot be true.
    pub(super) fn meet(&mut self, side: &mut Side, pieces: u32) -> bool {
        if ![0, pieces].contains(&side.have.len()) {
            return false;
        }
        side.have.resize(pieces);
        side.complete = self.picker.joined(&side.have);
        side.counted = false;
        let takes = side.takes;
        self.count(side, takes);
        true
    }

    /// Takes a side into the counts of who gets what, or out of them, as it wants pieces or not.
    pub(super) fn count(&mut self, side: &mut Side, takes: bool) {
        let known = self.geometry.is_some();
        side.takes = takes;
        let counts = known && takes;
        if counts == side.counted {
            return;
        }
        side.counted = counts;
        let by = if counts { 1 } else { -1 };
        self.takers = self.takers.saturating_add_signed(by);
        let (have, coming) = (side.have.iter(), side.coming.pieces());
        let coming = coming.filter(|&piece| !side.have.contains(piece));
        let promised = side.promised.keys().copied();
        let promised = promised.filter(|&piece| !side.have.contains(piece) && !side.coming.contains(piece));
        let gets =
            |piece| side.have.contains(piece) || side.coming.contains(piece) || side.promised.contains_key(&piece);
        let skipped = side.skipped.iter().filter(|&piece| !gets(piece));
        for piece in have.chain(coming).chain(promised).chain(skipped) {
            self.spread.change(piece, by);
        }
    }

    /// Changes what a side has, expects or was promised, and keeps the counts right: `change` is told of one piece.
    pub(super) fn update(&mut self, side: &mut Side, piece: u32, change: impl FnOnce(&mut Side)) {
        let before = side.gets(piece);
        change(side);
        let after = side.gets(piece);
        if side.counted && before != after {
            self.spread.change(piece, if after { 1 } else { -1 });
        }
    }

    /// Takes in what is on its way to a side, and keeps the counts right: a step for each piece that changes.
    fn expect(&mut self, side: &mut Side, coming: Coming) {
        let before = std::mem::replace(&mut side.coming, coming);
        if !side.counted {
            return;
        }
        let else_gets = |piece: &u32| {
            side.have.contains(*piece) || side.skipped.contains(*piece) || side.promised.contains_key(piece)
        };
        for piece in before.without(&side.coming).into_iter().filter(|piece| !else_gets(piece)) {
            self.spread.change(piece, -1);
        }
        for piece in side.coming.without(&before).into_iter().filter(|piece| !else_gets(piece)) {
            self.spread.change(piece, 1);
        }
    }
}

impl Engine {
    /// Says on one connection that we take part in a content, and what we have of it.
    pub(super) fn join(&mut self, conn: ConnId, id: ContentId, actions: &mut Vec<Action>) {
        let content = &self.contents[&id];
        let pieces = content.geometry.as_ref().map(|geometry| geometry.pieces());
        let (wants, coming) = (content.wanted, self.coming(id));
        actions.push(Action::Send { conn, message: PeerMessage::Join { content: id, pieces, wants } });
        if !content.have.is_empty() {
            let messages = haves(id, &content.have.runs(), &coming);
            actions.extend(messages.into_iter().map(|message| Action::Send { conn, message }));
        }
        if wants && pieces.is_some() {
            let skips = content.unwanted();
            let skips = skips.chunks(MAX_RUNS).map(|runs| PeerMessage::Skip { content: id, runs: runs.to_vec() });
            actions.extend(skips.map(|message| Action::Send { conn, message }));
        }
    }

    /// Says so to everyone.
    pub(super) fn join_everyone(&mut self, id: ContentId, actions: &mut Vec<Action>) {
        let conns: Vec<_> = self.conns.keys().copied().collect();
        for conn in conns {
            self.join(conn, id, actions);
        }
    }

    /// What is on its way here, in as many runs as may be said.
    fn coming(&self, id: ContentId) -> Vec<Run> {
        let requests = self.requests.values().filter(|request| request.content == id);
        let mut runs = requests.flat_map(|request| request.open.runs()).take(MAX_COMING).collect::<Vec<_>>();
        runs.sort_unstable_by_key(|run| run.first);
        runs
    }

    pub(super) fn message(&mut self, conn: ConnId, message: PeerMessage, actions: &mut Vec<Action>) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if let PeerMessage::Hello { version, listeners, site } = message {
            if state.greeted || version != VERSION || site.len() > MAX_SITE {
                return self.close(conn, "another version of the protocol", actions);
            }
            state.greeted = true;
            state.listeners = listeners;
            state.site = site;
            return;
        }
        if !state.greeted {
            return self.close(conn, "it did not say hello", actions);
        }
        if !self.may_say(conn, &message, actions) {
            return;
        }
        match message {
            PeerMessage::Hello { .. } => {}
            PeerMessage::Join { content, pieces, wants } => self.joined(conn, content, pieces, wants, actions),
            PeerMessage::Have { content, runs, coming } => self.has(conn, content, &runs, &coming, actions),
            PeerMessage::Skip { content, runs } => self.skips(conn, content, &runs, actions),
            PeerMessage::Interest { content, interested } => self.set_interest(conn, content, interested, actions),
            PeerMessage::Offer { content, runs } => self.offered(conn, content, &runs, actions),
            PeerMessage::Decline { content, runs } => self.declined(conn, content, &runs, actions),
            PeerMessage::Peers { content, peers } => self.found(content, peers, Word::Peer, actions),
            PeerMessage::Withdraw { content } => self.withdrawn(conn, content, actions),
            PeerMessage::Bye => self.close(conn, "goodbye", actions),
        }
    }

    fn joined(&mut self, conn: ConnId, id: ContentId, pieces: Option<u32>, wants: bool, actions: &mut Vec<Action>) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        let ours = content.geometry.as_ref().map(|geometry| geometry.pieces());
        if pieces.is_some_and(|theirs| theirs > MAX_PIECES || ours.is_some_and(|ours| ours != theirs)) {
            return self.close(conn, "it counts other pieces than the manifest", actions);
        }
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let (new, dialled) = (!state.sides.contains_key(&id), state.dialled);
        let (now, turns) = (self.now, &mut self.turns);
        let side = state.sides.entry(id).or_insert_with(|| {
            *turns += 1;
            Side { grew: now, joined: *turns, ..Side::default() }
        });
        if pieces.is_some() {
            side.has_manifest(now);
        }
        if let Some(len) = ours.or(pieces).filter(|_| matches!(side.have.len(), 0)) {
            side.have.resize(len);
        }
        // Who was not told yet is told now.
        let tell = new && !(dialled && content.wanted);
        self.set_interest(conn, id, wants, actions);
        if tell {
            self.join(conn, id, actions);
        }
        self.next_tick = self.now;
    }

    fn has(&mut self, conn: ConnId, id: ContentId, runs: &[Run], coming: &[Run], actions: &mut Vec<Action>) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let Some(side) = state.sides.get_mut(&id) else { return };
        let len = side.have.len();
        if !runs.iter().chain(coming).all(|run| run.lies_within(len)) {
            return self.close(conn, "it has pieces that do not exist", actions);
        }
        // A small message can name a million pieces thousands of times; each costs us a look.
        if runs.iter().chain(coming).map(|run| u64::from(run.count)).sum::<u64>() > 2 * u64::from(len) {
            return self.close(conn, "it says the same pieces again and again", actions);
        }
        if !runs.is_empty() {
            side.grew = self.now;
        }
        let whole = matches!(runs, [Run { first: 0, count }] if *count == len);
        let known = content.geometry.is_some();
        let mut delivered = 0;
        if whole && known && side.promised.is_empty() {
            let takes = side.takes;
            content.count(side, false);
            content.picker.left(&side.have, side.complete);
            side.have = PieceSet::full(len);
            side.complete = content.picker.joined(&side.have);
            content.count(side, takes);
        } else {
            for piece in runs.iter().flat_map(|run| run.pieces()) {
                if side.have.contains(piece) {
                    continue;
                }
                if known && !side.complete {
                    content.picker.gained(piece);
                }
                let mut kept = None;
                content.update(side, piece, |side| {
                    side.have.insert(piece);
                    kept = side.promised.remove(&piece);
                });
                if let Some(promise) = kept {
                    let bytes = content.bytes(Run { first: piece, count: 1 });
                    if promise.stage == Stage::Sent {
                        delivered += bytes;
                        state.taken += bytes;
                        state.messages.earn();
                    }
                    state.promised -= self.uploads.settle(promise, bytes, state.counted);
                }
            }
        }
        let coming = Coming::new(coming);
        // What it declined because it was on its way, and is not any more, it would take after all.
        let declined = |piece: &u32| side.promised.get(piece).is_some_and(|promise| promise.stage == Stage::Declined);
        let lost: Vec<u32> = side.coming.without(&coming).into_iter().filter(declined).collect();
        content.expect(side, coming);
        side.has_manifest(self.now);
        lost.into_iter().for_each(|piece| self.break_promise(conn, id, piece));
        self.uploads.delivered(self.now, delivered);
        self.fetch_manifests(actions);
        self.offer_more(actions);
    }

    /// The other side will never ask for these pieces.
    fn skips(&mut self, conn: ConnId, id: ContentId, runs: &[Run], actions: &mut Vec<Action>) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let Some(side) = state.sides.get_mut(&id) else { return };
        let len = side.have.len();
        if !runs.iter().all(|run| run.lies_within(len)) {
            return self.close(conn, "it skips pieces that do not exist", actions);
        }
        if runs.iter().map(|run| u64::from(run.count)).sum::<u64>() > u64::from(len) {
            return self.close(conn, "it says the same pieces again and again", actions);
        }
        side.skipped.resize(len);
        for piece in runs.iter().flat_map(|run| run.pieces()) {
            content.update(side, piece, |side| {
                side.skipped.insert(piece);
            });
        }
        self.offer_more(actions);
    }

    /// The other side wants pieces, or does not want them any more.
    fn set_interest(&mut self, conn: ConnId, id: ContentId, takes: bool, actions: &mut Vec<Action>) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let Some(side) = state.sides.get_mut(&id) else { return };
        content.count(side, takes);
        self.offer_more(actions);
    }

    /// Says to everyone who takes part that we want no more of a content.
    pub(super) fn lose_interest(&mut self, id: ContentId, actions: &mut Vec<Action>) {
        for (&conn, _) in self.conns.iter().filter(|(_, conn)| conn.sides.contains_key(&id)) {
            let message = PeerMessage::Interest { content: id, interested: false };
            actions.push(Action::Send { conn, message });
        }
    }

    fn withdrawn(&mut self, conn: ConnId, id: ContentId, actions: &mut Vec<Action>) {
        self.forget_side(conn, id);
        self.pardon(conn);
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.offers.retain(|&(content, _)| content != id);
        let of_it = |request: &&RequestId| self.requests.get(request).is_some_and(|request| request.content == id);
        let owed: Vec<RequestId> = state.requests.iter().filter(of_it).copied().collect();
        if !owed.is_empty() {
            // What it offered a moment ago.
            self.give_up(conn, &owed, actions);
            self.strike(conn, actions);
        }
    }

    /// Takes a side out of all books: it takes no part any more.
    pub(super) fn forget_side(&mut self, conn: ConnId, id: ContentId) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let Some(mut side) = state.sides.remove(&id) else { return };
        let Some(content) = self.contents.get_mut(&id) else { return };
        if content.geometry.is_some() {
            content.picker.left(&side.have, side.complete);
        }
        content.count(&mut side, false);
        for (piece, promise) in side.promised {
            let bytes = content.bytes(Run { first: piece, count: 1 });
            state.promised -= self.uploads.settle(promise, bytes, state.counted);
        }
    }

    /// Tells everyone who takes part which pieces are new here, and which are on their way.
    pub(super) fn announce_pieces(&mut self, actions: &mut Vec<Action>) {
        let due = |content: &Content| content.announce_at.is_some_and(|at| self.now >= at);
        let due: Vec<ContentId> = self.contents.iter().filter(|(_, c)| due(c)).map(|(&id, _)| id).collect();
        for id in due {
            let coming = self.coming(id);
            let Some(content) = self.contents.get_mut(&id) else { continue };
            content.announce_at = None;
            let new = std::mem::take(&mut content.unannounced);
            let messages = haves(id, &new.into_iter().collect::<PieceSet>().runs(), &coming);
            for (&conn, _) in self.conns.iter().filter(|(_, conn)| conn.sides.contains_key(&id)) {
                actions.extend(messages.iter().cloned().map(|message| Action::Send { conn, message }));
            }
        }
    }
}

/// Says what is here and what is on its way, in as few messages as may be: one at least, as the latter may be all.
fn haves(content: ContentId, runs: &[Run], coming: &[Run]) -> Vec<PeerMessage> {
    let message = |runs: &[Run]| PeerMessage::Have { content, runs: runs.to_vec(), coming: coming.to_vec() };
    if runs.is_empty() { vec![message(runs)] } else { runs.chunks(MAX_RUNS).map(message).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_and_said_to_be_coming_is_counted_once() {
        let (geometry, pieces) = (protocol::Geometry::new(1024, vec![4096]).unwrap(), 4);
        let mut content = Content::new(Some(geometry.into()), PieceSet::full(pieces), PieceSet::empty(0));
        let mut side = Side { have: PieceSet::empty(pieces), skipped: PieceSet::empty(pieces), ..Side::default() };
        content.count(&mut side, true);
        content.update(&mut side, 1, |side| {
            side.skipped.insert(1);
        });
        content.expect(&mut side, Coming::new(&[Run { first: 1, count: 1 }]));
        assert_eq!(content.spread.count(1), 1);
        content.expect(&mut side, Coming::default());
        assert_eq!(content.spread.count(1), 1);
        content.count(&mut side, false);
        assert_eq!(content.spread.count(1), 0);
    }
}
