//! Who takes part in a content, how far they are and what became of that: for those who watch, and remembered after they have
//! left.
//!
//! What a peer has is what it says (`Have`, `Interest`), and what was sent to it is counted here. A peer that leaves right after
//! its last piece is looked at once more before the engine forgets it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::PeerId;
use swarm::ParticipantView;
use tokio::time::Instant;

use crate::status::Participant;

/// Most that are remembered of one content; of many contents fewer of each, but some.
const MOST: usize = 1024;
const IN_ALL: usize = 16 * 1024;
const LEAST: usize = 16;
/// Most addresses of one that are remembered.
const ADDRESSES: usize = 8;

/// Those who take part in one content, or did so.
#[derive(Default)]
pub(super) struct Participants(BTreeMap<PeerId, ParticipantEntry>);

/// How many are remembered of each of so many contents.
pub(super) fn room(contents: usize) -> usize {
    (IN_ALL / contents.max(1)).clamp(LEAST, MOST)
}

struct ParticipantEntry {
    participant: Participant,
    since: Instant,
    /// Bytes that it has as it says, and what had been sent to it when it said so.
    said: u64,
    sent_then: u64,
    sent: Arc<AtomicU64>,
}

impl ParticipantEntry {
    /// It is not connected any more; if it was not before, it left then.
    fn left(&mut self) {
        self.participant.is_connected = false;
        self.participant.left.get_or_insert_with(Instant::now);
    }
}

impl Participants {
    fn entry(&mut self, peer: PeerId, address: SocketAddr, room: usize) -> Option<&mut ParticipantEntry> {
        if self.0.len() >= room && !self.0.contains_key(&peer) {
            // When the list is full, the departed peer that got the fewest bytes is forgotten, so that many short
            // visits cannot push out a receiver that got everything.
            let gone = self.0.iter().filter(|(_, entry)| !entry.participant.is_connected);
            let least = gone.min_by_key(|(_, entry)| entry.sent.load(Ordering::Relaxed)).map(|(&least, _)| least)?;
            self.0.remove(&least);
        }
        let entry = self.0.entry(peer).or_insert_with(|| ParticipantEntry {
            participant: Participant {
                peer,
                address,
                also_at: Vec::new(),
                is_connected: true,
                wanted: false,
                has_all: false,
                came_whole: false,
                have: 0,
                size: 0,
                sent: 0,
                received: 0,
                time: Default::default(),
                came: Instant::now(),
                left: None,
            },
            since: Instant::now(),
            said: 0,
            sent_then: 0,
            sent: Arc::default(),
        });
        let ParticipantEntry { participant, .. } = &mut *entry;
        (participant.address, participant.is_connected, participant.left) = (address, true, None);
        Some(entry)
    }

    /// Where bytes are counted that are sent to a peer.
    pub(super) fn sent_to(&mut self, peer: PeerId, address: SocketAddr, room: usize) -> Arc<AtomicU64> {
        self.entry(peer, address, room).map(|entry| entry.sent.clone()).unwrap_or_default()
    }

    /// The last connection with a peer has ended.
    pub(super) fn left(&mut self, peer: PeerId) {
        self.0.get_mut(&peer).into_iter().for_each(ParticipantEntry::left);
    }

    /// Marks all as disconnected; the caller then marks those that are connected.
    pub(super) fn disconnect_all(&mut self) {
        self.0.values_mut().for_each(ParticipantEntry::left);
    }

    /// How a peer stands now, of a content of so many bytes and pieces; `own` are addresses that it says are its own.
    pub(super) fn look(
        &mut self,
        (peer, address): (PeerId, SocketAddr),
        own: impl Iterator<Item = IpAddr>,
        view: &ParticipantView,
        (total, pieces): (u64, u32),
        room: usize,
    ) {
        let Some(ParticipantEntry { participant, since, said, sent_then, sent }) = self.entry(peer, address, room)
        else {
            return;
        };
        if participant.also_at.is_empty() {
            let others: BTreeSet<IpAddr> = own.filter(|own| *own != address.ip().to_canonical()).collect();
            participant.also_at = others.into_iter().take(ADDRESSES).collect();
        }
        let bytes = |count: u32| (u128::from(total) * u128::from(count) / u128::from(pieces.max(1))) as u64;
        if view.wants && !participant.wanted {
            (participant.wanted, *since) = (true, Instant::now());
        }
        participant.size = bytes(view.pieces);
        participant.sent = sent.load(Ordering::Relaxed);
        if participant.has_all {
            return;
        }
        if bytes(view.have) != *said {
            (*said, *sent_then) = (bytes(view.have), participant.sent);
        }
        // A large piece takes a while to come: what was sent of it is as good for people.
        let piece = bytes(1).min((participant.sent - *sent_then).min(participant.size.saturating_sub(*said + 1)));
        participant.have = (*said + piece).max(participant.have);
        participant.time = since.elapsed();
        participant.has_all = participant.wanted && view.pieces > 0 && view.have >= view.pieces;
        // A small content may come in one go: most of it was sent from here then.
        participant.came_whole = view.came_whole && participant.sent < participant.size / 2;
    }

    /// A peer wants no more: it has all that it wanted.
    pub(super) fn has_all(&mut self, peer: PeerId) {
        let wants = |entry: &&mut ParticipantEntry| entry.participant.wanted && !entry.participant.has_all;
        if let Some(ParticipantEntry { participant, since, sent, .. }) = self.0.get_mut(&peer).filter(wants) {
            participant.sent = sent.load(Ordering::Relaxed);
            (participant.has_all, participant.have, participant.time) = (true, participant.size, since.elapsed());
        }
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(&self, sources: &BTreeMap<PeerId, u64>) -> Vec<Participant> {
        let mut all: Vec<_> = self.0.values().collect();
        all.sort_by_key(|entry| entry.since);
        let participant = |ParticipantEntry { participant, said, sent, .. }: &ParticipantEntry| Participant {
            sent: sent.load(Ordering::Relaxed),
            received: sources.get(&participant.peer).copied().unwrap_or(0),
            // A peer that has left has what it announced; what was on its way does not count.
            have: if participant.is_connected || participant.has_all { participant.have } else { *said },
            ..participant.clone()
        };
        all.into_iter().map(participant).collect()
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    const PEER: PeerId = PeerId(Digest([1; 32]));

    fn view(have: u32, wants: bool) -> ParticipantView {
        ParticipantView { conn: 1, have, pieces: 10, wants, came_whole: false }
    }

    fn look(participants: &mut Participants, view: &ParticipantView) -> Participant {
        participants.look((PEER, "10.0.0.1:9".parse().unwrap()), std::iter::empty(), view, (1000, 10), MOST);
        participants.all(&BTreeMap::from([(PEER, 7)])).remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_taker_has_all_when_it_says_so_and_its_clock_stops_then() {
        let mut participants = Participants::default();
        let resumed = look(&mut participants, &view(5, true));
        assert_eq!((resumed.have, resumed.size, resumed.wanted, resumed.has_all), (500, 1000, true, false));
        participants.sent_to(PEER, "10.0.0.1:9".parse().unwrap(), MOST).fetch_add(230, Ordering::Relaxed);
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        let half = look(&mut participants, &view(6, true));
        assert_eq!((half.have, half.sent, half.received, half.time.as_secs()), (600, 230, 7, 2));
        participants.sent_to(PEER, "10.0.0.1:9".parse().unwrap(), MOST).fetch_add(40, Ordering::Relaxed);
        assert_eq!(look(&mut participants, &view(6, true)).have, 640, "a part of the next piece");
        participants.has_all(PEER);
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        let done = look(&mut participants, &view(9, false));
        assert!(done.has_all && done.time.as_secs() == 2, "{done:?}");
    }

    /// Some pieces are sent beside the manifest, before it is known what is there.
    #[test]
    fn a_peer_that_has_all_when_it_comes_is_told_from_one_that_gets_it_in_one_go() {
        for (sent, came_whole) in [(16, true), (900, false)] {
            let mut participants = Participants::default();
            look(&mut participants, &view(0, true));
            participants.sent_to(PEER, "10.0.0.1:9".parse().unwrap(), MOST).fetch_add(sent, Ordering::Relaxed);
            let whole = look(&mut participants, &ParticipantView { came_whole: true, ..view(10, true) });
            assert_eq!((whole.has_all, whole.came_whole), (true, came_whole), "{sent}");
        }
    }

    #[test]
    fn it_is_known_when_a_peer_was_there() {
        let mut participants = Participants::default();
        let there = look(&mut participants, &view(1, true));
        assert_eq!(there.left, None);
        participants.left(PEER);
        let gone = participants.all(&BTreeMap::new()).remove(0);
        assert!(gone.came == there.came && gone.left.is_some_and(|left| left >= gone.came));
        participants.disconnect_all();
        assert_eq!(participants.all(&BTreeMap::new()).remove(0).left, gone.left, "it left then");
        assert_eq!(look(&mut participants, &view(1, true)).left, None, "it is back");
    }

    #[test]
    fn sent_bytes_alone_make_nobody_complete() {
        let mut participants = Participants::default();
        participants.sent_to(PEER, "10.0.0.1:9".parse().unwrap(), MOST).fetch_add(5000, Ordering::Relaxed);
        let taker = look(&mut participants, &view(0, true));
        assert_eq!((taker.have, taker.has_all), (100, false), "one piece, until it says so");
        participants.0.values_mut().for_each(|entry| entry.participant.is_connected = false);
        assert_eq!(participants.all(&BTreeMap::new())[0].have, 0, "it has left, and has not said that it has anything");
    }

    /// A stranger may come under as many ids as it likes.
    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        assert_eq!([0, 1, 100, 100_000].map(room), [MOST, MOST, 163, LEAST]);
        let (mut participants, address) = (Participants::default(), "10.0.0.1:9".parse().unwrap());
        let peer = |number| PeerId(Digest([number; 32]));
        (0..20).for_each(|number| {
            participants.look((peer(number), address), std::iter::empty(), &view(1, true), (1000, 10), LEAST)
        });
        assert_eq!(participants.0.len(), LEAST);
        let comes = |participants: &mut Participants, number| {
            participants.look((peer(number), address), std::iter::empty(), &view(1, true), (1000, 10), LEAST);
            participants.0.len() == LEAST && participants.0.contains_key(&peer(number))
        };
        assert!(!comes(&mut participants, 98), "all of them are there");
        (0..LEAST as u8).for_each(|number| {
            let sent = participants.sent_to(peer(number), address, LEAST);
            sent.fetch_add(100 - u64::from(number), Ordering::Relaxed);
            participants.left(peer(number));
        });
        for number in 50..200 {
            assert!(comes(&mut participants, number));
            participants.sent_to(peer(number), address, LEAST).fetch_add(1, Ordering::Relaxed);
            participants.left(peer(number));
        }
        assert!((0..LEAST as u8 - 1).all(|number| participants.0.contains_key(&peer(number))), "those that got most");
    }

    #[test]
    fn a_seeder_is_no_taker() {
        let mut participants = Participants::default();
        let seeder = look(&mut participants, &view(10, false));
        assert!(!seeder.wanted && !seeder.has_all && seeder.have == 1000);
        participants.has_all(PEER);
        assert!(!look(&mut participants, &view(10, false)).has_all);
    }
}
