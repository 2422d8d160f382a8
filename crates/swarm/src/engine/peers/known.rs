//! The peers of a content that were heard of: where they are, and when to dial them next.
//!
//! A tracker says what it has seen. A peer may make up others, so what it says counts for less: it names few whom nobody has
//! met, changes nothing that the tracker has said, and has nobody dialled again sooner.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::PeerId;

use crate::event::ConnId;

/// Most peers that are remembered for one content, and of those that were named over one connection and never met.
const MOST_KNOWN: usize = 400;
const MOST_OF_ONE: usize = 32;
/// A peer that gave us something is looked for this long after it was lost, with pauses of no more than this: a link that was
/// dark should not stay so for us.
const LOOKED_FOR: Duration = Duration::from_secs(60);
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two dials of a peer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// News of a peer shortens its pause to this.
const NEWS: Duration = Duration::from_secs(1);
/// A peer that was not dialled, because others there were in vain too often, is dialled after this.
const HELD_BACK: Duration = Duration::from_secs(1);

/// Where the address of a peer is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerSource {
    /// The tracker, which has seen it.
    Tracker,
    /// Another peer, over this connection. It may make it up.
    Peer(ConnId),
}

/// What came of it that a peer was named.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Whether it is new, or may be dialled sooner than before.
    pub(crate) is_news: bool,
    /// The one that made room for it.
    pub(crate) forgotten: Option<PeerId>,
}

/// The peers of one content.
#[derive(Debug, Default)]
pub(crate) struct KnownPeers(BTreeMap<PeerId, Known>);

/// A peer that was heard of.
#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// Whether the tracker has named it.
    named: bool,
    /// The connection over which another peer has named it, until it is met.
    hearsay: Option<ConnId>,
    failures: u32,
    next_try: Duration,
    /// When a connection was lost over which it gave us something.
    lost: Option<Duration>,
}

impl KnownPeers {
    /// A peer was heard of. If there is no room, one that is `free` (neither connected nor being dialled) and hard to reach
    /// makes some.
    pub(crate) fn learn(
        &mut self,
        peer: PeerId,
        addresses: Vec<SocketAddr>,
        source: PeerSource,
        now: Duration,
        free: impl Fn(&PeerId) -> bool,
    ) -> Learned {
        if let Some(known) = self.0.get_mut(&peer) {
            let before = (known.next_try, known.named);
            match source {
                PeerSource::Tracker => {
                    (known.addresses, known.named, known.hearsay) = (addresses, true, None);
                    // News of a peer that was hard to reach is worth another try.
                    known.next_try = known.next_try.min(now + NEWS);
                }
                // Addresses from the tracker, and addresses that have not been tried yet, are not replaced by what a
                // peer says. Otherwise the new addresses are used at the next regular dial, so repeating them does not
                // make it earlier.
                PeerSource::Peer(_) if known.named || known.failures == 0 => {}
                PeerSource::Peer(_) => known.addresses = addresses,
            }
            return Learned { is_news: (known.next_try, known.named) != before, forgotten: None };
        }
        let is_vain = |known: &Known| match source {
            // Peers may be made up: those that never answer make room, and for the tracker's all that it did not name.
            PeerSource::Tracker => known.failures > 0 || !known.named,
            PeerSource::Peer(_) => known.failures > 0 && !known.named,
        };
        let hearsay = match source {
            PeerSource::Tracker => None,
            PeerSource::Peer(conn) => Some(conn),
        };
        let of_one = |known: &Known| hearsay.is_some() && known.hearsay == hearsay;
        let mut forgotten = None;
        let too_many = self.0.values().filter(|known| of_one(known)).count() >= MOST_OF_ONE;
        if too_many || self.0.len() >= MOST_KNOWN {
            let vain =
                self.0.iter().filter(|(peer, known)| (!too_many || of_one(known)) && is_vain(known) && free(peer));
            let vainest = vain.max_by_key(|(_, known)| (!known.named, known.failures)).map(|(&peer, _)| peer);
            let Some(vainest) = vainest else { return Learned::default() };
            self.0.remove(&vainest);
            forgotten = Some(vainest);
        }
        let named = source == PeerSource::Tracker;
        self.0.insert(peer, Known { addresses, named, hearsay, failures: 0, next_try: now, lost: None });
        Learned { is_news: true, forgotten }
    }

    /// A connection with a peer stands: nobody has made it up.
    pub(crate) fn met(&mut self, peer: &PeerId) {
        if let Some(known) = self.0.get_mut(peer) {
            known.hearsay = None;
        }
    }

    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.0.keys().copied()
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> Option<&[SocketAddr]> {
        self.0.get(peer).map(|known| &known.addresses[..])
    }

    /// Those of these addresses that are new of a peer that was heard of already.
    pub(crate) fn further(&self, peer: &PeerId, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let Some(known) = self.addresses(peer) else { return Vec::new() };
        addresses.iter().copied().filter(|address| !known.contains(address)).collect()
    }

    /// Where a peer is as the tracker says; nowhere if it has not named it.
    pub(crate) fn named(&self, peer: &PeerId) -> &[SocketAddr] {
        self.0.get(peer).filter(|known| known.named).map_or(&[][..], |known| &known.addresses[..])
    }

    /// Whether the tracker has named a peer.
    pub(crate) fn is_named(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|known| known.named)
    }

    /// The peers whose pause is over: where they are, and whether the tracker vouches for them, or what they gave us.
    pub(crate) fn due(&self, now: Duration) -> impl Iterator<Item = (PeerId, &[SocketAddr], bool)> + '_ {
        let due = self.0.iter().filter(move |(_, known)| known.next_try <= now);
        due.map(|(&peer, known)| (peer, &known.addresses[..], known.named || known.lost.is_some()))
    }

    /// A connection with a peer was lost over which it gave us something.
    pub(crate) fn lost(&mut self, peer: &PeerId, now: Duration) {
        if let Some(known) = self.0.get_mut(peer) {
            known.lost = Some(now);
        }
    }

    /// It was not dialled, though it was its turn, which says nothing of it.
    pub(crate) fn hold_back(&mut self, peer: &PeerId, now: Duration) {
        if let Some(known) = self.0.get_mut(peer) {
            known.next_try = now + HELD_BACK;
        }
    }

    /// The next try waits twice as long as the last, up to a minute, with jitter against stampedes.
    pub(crate) fn back_off(&mut self, peer: &PeerId, now: Duration, random: &mut fastrand::Rng) {
        let Some(known) = self.0.get_mut(peer) else { return };
        known.failures = (known.failures + 1).min(7);
        let wait = Duration::from_millis(500 << known.failures).mul_f64(0.5 + random.f64());
        let missed = known.lost.is_some_and(|lost| now.saturating_sub(lost) < LOOKED_FOR);
        let most = if missed { SHORT_PAUSE } else { LONGEST_PAUSE };
        known.next_try = now + wait.min(most);
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn peer(number: usize) -> PeerId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        PeerId(Digest(id))
    }

    fn address(port: u16) -> Vec<SocketAddr> {
        vec![([10, 0, 0, 1], port).into()]
    }

    fn learn(known: &mut KnownPeers, number: usize, source: PeerSource) {
        known.learn(peer(number), address(1), source, Duration::ZERO, |_| true);
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_stay_short_for_a_lost_source() {
        let (mut known, mut random) = (KnownPeers::default(), fastrand::Rng::with_seed(1));
        learn(&mut known, 1, PeerSource::Tracker);
        let is_due = |known: &KnownPeers, now| known.due(now).next().is_some();
        for failures in 1..12u32 {
            known.back_off(&peer(1), Duration::ZERO, &mut random);
            let longest = Duration::from_millis(750 << failures.min(7)).min(LONGEST_PAUSE);
            let shortest = Duration::from_millis(250 << failures.min(7)).min(Duration::from_secs(32));
            assert!(!is_due(&known, shortest - Duration::from_millis(1)), "{failures}");
            assert!(is_due(&known, longest), "{failures}");
        }
        known.lost(&peer(1), Duration::ZERO);
        known.back_off(&peer(1), Duration::ZERO, &mut random);
        assert!(is_due(&known, SHORT_PAUSE));
    }

    #[test]
    fn a_peer_does_not_overrule_the_tracker() {
        let mut known = KnownPeers::default();
        learn(&mut known, 1, PeerSource::Tracker);
        known.learn(peer(1), address(2), PeerSource::Peer(7), Duration::ZERO, |_| true);
        assert_eq!(known.addresses(&peer(1)), Some(&address(1)[..]));
        assert_eq!(known.named(&peer(1)), address(1));
        known.learn(peer(2), address(2), PeerSource::Peer(7), Duration::ZERO, |_| true);
        assert!(known.named(&peer(2)).is_empty(), "that a peer has named it says nothing");
        known.learn(peer(1), address(3), PeerSource::Tracker, Duration::ZERO, |_| true);
        assert_eq!(known.addresses(&peer(1)), Some(&address(3)[..]));
    }

    #[test]
    fn one_peer_names_few_whom_nobody_has_met() {
        let (mut known, mut random) = (KnownPeers::default(), fastrand::Rng::with_seed(1));
        let (liar, other) = (PeerSource::Peer(7), PeerSource::Peer(8));
        (0..100).for_each(|number| learn(&mut known, number, liar));
        assert_eq!(known.ids().count(), MOST_OF_ONE);
        learn(&mut known, 200, other);
        assert!(known.addresses(&peer(200)).is_some(), "others are heard");
        known.met(&peer(0));
        learn(&mut known, 201, liar);
        assert!(known.addresses(&peer(201)).is_some(), "one of them is there");
        known.back_off(&peer(1), Duration::ZERO, &mut random);
        learn(&mut known, 202, liar);
        assert!(
            known.addresses(&peer(1)).is_none() && known.addresses(&peer(202)).is_some(),
            "one that failed makes room"
        );
        learn(&mut known, 203, liar);
        assert!(known.addresses(&peer(203)).is_none());
        learn(&mut known, 203, PeerSource::Tracker);
        assert!(known.is_named(&peer(203)));
    }

    #[test]
    fn to_name_a_peer_again_has_it_dialled_no_sooner() {
        let (mut known, mut random) = (KnownPeers::default(), fastrand::Rng::with_seed(1));
        let tell = |known: &mut KnownPeers, port, source| {
            known.learn(peer(1), address(port), source, Duration::ZERO, |_| true);
            known.addresses(&peer(1)).map(<[_]>::to_vec)
        };
        tell(&mut known, 1, PeerSource::Peer(7));
        assert_eq!(tell(&mut known, 2, PeerSource::Peer(8)), Some(address(1)), "the first was not tried");
        (0..5).for_each(|_| known.back_off(&peer(1), Duration::ZERO, &mut random));
        assert_eq!(tell(&mut known, 2, PeerSource::Peer(8)), Some(address(2)), "it was in vain");
        let is_due = |known: &KnownPeers| known.due(Duration::from_secs(2)).next().is_some();
        assert!(!is_due(&known));
        tell(&mut known, 3, PeerSource::Tracker);
        assert!(is_due(&known), "the tracker has seen it");
    }

    #[test]
    fn what_is_no_news_is_said_to_be_none() {
        let mut known = KnownPeers::default();
        let mut tell = |number, source| known.learn(peer(number), address(1), source, Duration::ZERO, |_| true);
        assert!(tell(1, PeerSource::Peer(7)).is_news && !tell(1, PeerSource::Peer(7)).is_news);
        assert!(tell(1, PeerSource::Tracker).is_news, "now somebody vouches for it");
        assert!(!tell(1, PeerSource::Tracker).is_news);
        assert!((2..=1 + MOST_OF_ONE).all(|number| tell(number, PeerSource::Peer(8)).is_news));
        assert!(!tell(99, PeerSource::Peer(8)).is_news, "there is no room for it");
    }

    #[test]
    fn one_that_was_not_dialled_has_not_failed() {
        let mut known = KnownPeers::default();
        learn(&mut known, 1, PeerSource::Peer(7));
        for second in 0..100 {
            let now = Duration::from_secs(second);
            assert_eq!(known.due(now).count(), 1, "second {second}");
            known.hold_back(&peer(1), now);
            assert_eq!(known.due(now).count(), 0);
        }
        assert_eq!(known.0[&peer(1)].failures, 0);
    }

    #[test]
    fn peers_that_others_named_make_room_for_the_trackers() {
        let mut known = KnownPeers::default();
        (0..MOST_KNOWN).for_each(|number| learn(&mut known, number, PeerSource::Peer(number as ConnId / 20)));
        learn(&mut known, MOST_KNOWN, PeerSource::Peer(99));
        assert!(known.addresses(&peer(MOST_KNOWN)).is_none(), "none of them has failed");
        known.learn(peer(MOST_KNOWN), address(1), PeerSource::Tracker, Duration::ZERO, |_| false);
        assert!(known.addresses(&peer(MOST_KNOWN)).is_none(), "none of them is free");
        learn(&mut known, MOST_KNOWN, PeerSource::Tracker);
        assert!(known.addresses(&peer(MOST_KNOWN)).is_some());
        assert_eq!(known.ids().count(), MOST_KNOWN);
    }
}
