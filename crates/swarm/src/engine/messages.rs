//! What the two ends of a connection tell each other of a content: that they take part, what they have, what is on its
//! way to them, and whether they want more.

use protocol::{ContentId, MAX_IN_FLIGHT, MAX_PIECES, MAX_RUNS, MAX_SITE, PeerMessage, PieceRange, PieceSet, VERSION};

use super::Engine;
use super::content::Content;
use super::in_flight::InFlight;
use super::participation::Participation;
use super::peers::known::PeerSource;
use super::upload::promises::Stage;
use crate::event::ConnId;

impl Engine {
    /// Says on one connection that we take part in a content, and what we have of it.
    pub(crate) fn join(&mut self, conn: ConnId, id: ContentId) {
        let content = &self.contents[&id];
        let pieces = content.geometry.as_ref().map(|geometry| geometry.pieces());
        let (wants, in_flight) = (content.wanted, self.downloads.in_flight(id, MAX_IN_FLIGHT));
        self.actions.send(conn, PeerMessage::Join { content: id, pieces, wants });
        if !content.have.is_empty() {
            for message in haves(id, &content.have.runs(), &in_flight) {
                self.actions.send(conn, message);
            }
        }
        if wants && pieces.is_some() {
            for runs in content.unwanted().chunks(MAX_RUNS) {
                self.actions.send(conn, PeerMessage::Skip { content: id, runs: runs.to_vec() });
            }
        }
    }

    /// The other side takes part, and need not ask before it is told that we do.
    pub(super) fn admitted(&mut self, conn: ConnId, id: ContentId, late: bool) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if late {
            state.peer.told.remove(&id);
        }
        // Peers that were dialled for this content, or are known to take part in it, were told when the connection was
        // made.
        if self.contents.contains_key(&id) && !state.peer.told.contains(&id) && !state.takes_part_in(&id) {
            state.peer.told.insert(id);
            self.join(conn, id);
            self.ask_early(conn, id);
        }
    }

    /// Says so to everyone.
    pub(super) fn join_everyone(&mut self, id: ContentId) {
        let conns: Vec<_> = self.conns.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.join(conn, id));
    }

    pub(super) fn message(&mut self, conn: ConnId, message: PeerMessage) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if let PeerMessage::Hello { version, listeners, site } = message {
            if state.peer.greeted || version != VERSION || site.len() > MAX_SITE {
                return self.close(conn, "another version of the protocol");
            }
            state.peer.greeted = true;
            state.peer.listeners = listeners;
            state.peer.site = site;
            return;
        }
        if !state.peer.greeted {
            return self.close(conn, "it did not say hello");
        }
        if !self.may_say(conn, &message) {
            return;
        }
        match message {
            PeerMessage::Hello { .. } => {}
            PeerMessage::Join { content, pieces, wants } => self.joined(conn, content, pieces, wants),
            PeerMessage::Have { content, runs, in_flight } => self.has(conn, content, &runs, &in_flight),
            PeerMessage::Skip { content, runs } => self.skips(conn, content, &runs),
            PeerMessage::Interest { content, interested } => self.set_interest(conn, content, interested),
            PeerMessage::Offer { content, runs } => self.offered(conn, content, &runs),
            PeerMessage::Decline { content, runs } => self.declined(conn, content, &runs),
            PeerMessage::Peers { content, peers } => self.found(content, peers, PeerSource::Peer(conn)),
            PeerMessage::Withdraw { content } => self.withdrawn(conn, content),
            PeerMessage::Bye => self.close(conn, "goodbye"),
            // The driver of the engine checks proofs.
            PeerMessage::Prove { .. } | PeerMessage::Proven { .. } => {}
        }
    }

    fn joined(&mut self, conn: ConnId, id: ContentId, pieces: Option<u32>, wants: bool) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        let ours = content.geometry.as_ref().map(|geometry| geometry.pieces());
        if pieces.is_some_and(|theirs| theirs > MAX_PIECES || ours.is_some_and(|ours| ours != theirs)) {
            return self.close(conn, "it counts other pieces than the manifest");
        }
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let new = !state.takes_part_in(&id);
        let (now, turns) = (self.now, &mut self.turns);
        let theirs = state.participations.entry(id).or_insert_with(|| {
            *turns += 1;
            content.newest = *turns;
            Participation { grew: now, joined: *turns, ..Participation::default() }
        });
        let is_news = new || theirs.takes != wants || (pieces.is_some() && !theirs.manifest);
        if pieces.is_some() {
            theirs.has_manifest(now);
        }
        if let Some(len) = ours.or(pieces).filter(|_| matches!(theirs.have.len(), 0)) {
            theirs.have.resize(len);
        }
        state.conduct.messages.grant_of(&mut theirs.granted, theirs.have.len().max(ours.unwrap_or(0)));
        // Peers that were not told yet are told now.
        let told = state.peer.told.remove(&id);
        let tell = new && !told && !(state.peer.dialled && content.wanted);
        content.count(theirs, wants);
        if is_news {
            self.offer_of(conn, id);
            self.tick_soon();
        }
        if tell {
            self.join(conn, id);
        }
    }

    fn has(&mut self, conn: ConnId, id: ContentId, runs: &[PieceRange], in_flight: &[PieceRange]) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let Some(theirs) = state.participations.get_mut(&id) else { return };
        let len = theirs.have.len();
        let said = || runs.iter().chain(in_flight);
        if !said().all(|run| run.lies_within(len)) {
            return self.close(conn, "it has pieces that do not exist");
        }
        // A small message can name a million pieces thousands of times; each costs us a look.
        if said().map(|run| u64::from(run.count)).sum::<u64>() > 2 * u64::from(len) {
            return self.close(conn, "it says the same pieces again and again");
        }
        let in_flight = InFlight::new(in_flight);
        let lacks = |run: &PieceRange| run.pieces().any(|piece| !theirs.have.contains(piece));
        let grows = runs.iter().any(lacks);
        if grows {
            theirs.grew = self.now;
        }
        let is_news = !theirs.manifest || theirs.in_flight != in_flight || grows;
        if !is_news {
            return;
        }
        let whole = matches!(runs, [PieceRange { first: 0, count }] if *count == len);
        let known = content.geometry.is_some();
        let mut delivered = 0;
        if whole && known && theirs.promised.is_empty() {
            let takes = theirs.takes;
            self.uploads.announced(&mut state.upload, self.now, content.total());
            content.count(theirs, false);
            content.picker.left(&theirs.have, theirs.complete);
            theirs.have = PieceSet::full(len);
            theirs.complete = content.picker.joined(&theirs.have);
            content.count(theirs, takes);
        } else {
            for piece in runs.iter().flat_map(|run| run.pieces()) {
                if theirs.have.contains(piece) {
                    continue;
                }
                if known && !theirs.complete {
                    content.picker.gained(piece);
                }
                let mut kept = None;
                content.update(theirs, piece, |theirs| {
                    theirs.have.insert(piece);
                    kept = theirs.promised.remove(&piece);
                });
                let bytes = content.bytes(PieceRange { first: piece, count: 1 });
                self.uploads.announced(&mut state.upload, self.now, bytes);
                if let Some(promise) = kept {
                    if promise.stage == Stage::Sent {
                        delivered += bytes;
                        let took = self.now.saturating_sub(promise.since);
                        self.uploads.has_taken(&mut state.upload, state.rate.rtt, bytes, took);
                        state.upload.taken += bytes;
                        state.conduct.messages.earn();
                    }
                    self.uploads.settle(&mut state.upload, promise, bytes);
                }
            }
        }
        // What it declined because it was on its way, and is not any more, it would take after all.
        let declined = |piece: &u32| theirs.promised.get(piece).is_some_and(|promise| promise.stage == Stage::Declined);
        let lost: Vec<u32> = theirs.in_flight.without(&in_flight).into_iter().filter(declined).collect();
        content.expect(theirs, in_flight);
        theirs.has_manifest(self.now);
        if !runs.is_empty() {
            theirs.came_with.get_or_insert_with(|| theirs.have.count());
        }
        lost.into_iter().for_each(|piece| self.break_promise(conn, id, piece));
        self.uploads.delivered(self.now, delivered);
        self.yield_reads(conn, id);
        if !known {
            self.fetch_manifests();
        }
        self.offer_of(conn, id);
    }

    /// The other side will never ask for these pieces.
    fn skips(&mut self, conn: ConnId, id: ContentId, runs: &[PieceRange]) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let Some(theirs) = state.participations.get_mut(&id) else { return };
        let len = theirs.have.len();
        if !runs.iter().all(|run| run.lies_within(len)) {
            return self.close(conn, "it skips pieces that do not exist");
        }
        if runs.iter().map(|run| u64::from(run.count)).sum::<u64>() > u64::from(len) {
            return self.close(conn, "it says the same pieces again and again");
        }
        theirs.skipped.resize(len);
        let new = |run: &PieceRange| run.pieces().any(|piece| !theirs.skipped.contains(piece));
        if !runs.iter().any(new) {
            return;
        }
        for piece in runs.iter().flat_map(|run| run.pieces()) {
            content.update(theirs, piece, |theirs| {
                theirs.skipped.insert(piece);
            });
        }
        self.offer_of(conn, id);
    }

    /// The other side wants pieces, or does not want them any more.
    fn set_interest(&mut self, conn: ConnId, id: ContentId, takes: bool) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let Some(theirs) = state.participations.get_mut(&id).filter(|theirs| theirs.takes != takes) else { return };
        content.count(theirs, takes);
        self.offer_of(conn, id);
    }

    /// Says to everyone who takes part that we want no more of a content.
    pub(super) fn lose_interest(&mut self, id: ContentId) {
        for (&conn, _) in self.conns.iter().filter(|(_, state)| state.takes_part_in(&id)) {
            self.actions.send(conn, PeerMessage::Interest { content: id, interested: false });
        }
    }

    fn withdrawn(&mut self, conn: ConnId, id: ContentId) {
        self.forget_participation(conn, id);
        self.pardon(conn);
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.download.offers.retain(|offer| offer.content != id);
        let requests = state.download.requests.iter().copied();
        let owed: Vec<_> = requests.filter(|&request| self.downloads.is_of(request, id)).collect();
        if !owed.is_empty() {
            // What it offered a moment ago.
            self.give_up(owed);
            self.strike(conn);
        }
    }

    /// Takes the other side's part in a content out of all books: it takes no part any more.
    pub(crate) fn forget_participation(&mut self, conn: ConnId, id: ContentId) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let Some(mut theirs) = state.participations.remove(&id) else { return };
        state.conduct.messages.forget(&theirs.granted);
        let Some(content) = self.contents.get_mut(&id) else { return };
        if content.geometry.is_some() {
            content.picker.left(&theirs.have, theirs.complete);
        }
        content.count(&mut theirs, false);
        for (piece, promise) in theirs.promised {
            let bytes = content.bytes(PieceRange { first: piece, count: 1 });
            self.uploads.settle(&mut state.upload, promise, bytes);
        }
    }

    /// Tells everyone who takes part which pieces are new here, and which are on their way.
    pub(super) fn announce_pieces(&mut self) {
        if self.announce_at.is_none_or(|at| self.now < at) {
            return;
        }
        let due = |content: &Content| content.announce_at.is_some_and(|at| self.now >= at);
        let due: Vec<ContentId> = self.contents.iter().filter(|(_, c)| due(c)).map(|(&id, _)| id).collect();
        for id in due {
            let in_flight = self.downloads.in_flight(id, MAX_IN_FLIGHT);
            let Some(content) = self.contents.get_mut(&id) else { continue };
            content.announce_at = None;
            let new = std::mem::take(&mut content.unannounced);
            let messages = haves(id, &new.into_iter().collect::<PieceSet>().runs(), &in_flight);
            for (&conn, _) in self.conns.iter().filter(|(_, state)| state.takes_part_in(&id)) {
                messages.iter().for_each(|message| self.actions.send(conn, message.clone()));
            }
        }
        self.announce_at = self.contents.values().filter_map(|content| content.announce_at).min();
    }
}

/// Says what is here and what is on its way, in as few messages as may be: one at least, as the latter may be all.
fn haves(content: ContentId, runs: &[PieceRange], in_flight: &[PieceRange]) -> Vec<PeerMessage> {
    let message =
        |runs: &[PieceRange]| PeerMessage::Have { content, runs: runs.to_vec(), in_flight: in_flight.to_vec() };
    if runs.is_empty() { vec![message(runs)] } else { runs.chunks(MAX_RUNS).map(message).collect() }
}
