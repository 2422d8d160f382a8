//! The peers of a content that were heard of: where they are, and when to dial them next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::PeerId;

/// Most peers that are remembered for one content.
const MOST_KNOWN: usize = 400;
/// A peer that gave us something is looked for this long after it was lost, with pauses of no more than this: a link that was
/// dark should not stay so for us.
const LOOKED_FOR: Duration = Duration::from_secs(60);
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two dials of a peer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// News of a peer shortens its pause to this.
const NEWS: Duration = Duration::from_secs(1);

/// Where the address of a peer is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerSource {
    /// The tracker, which has seen it.
    Tracker,
    /// Another peer, which may make it up.
    Peer,
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
    ) {
        if let Some(known) = self.0.get_mut(&peer) {
            // No peer talks us out of what the tracker has said.
            if source == PeerSource::Peer && known.named {
                return;
            }
            (known.addresses, known.named) = (addresses, source == PeerSource::Tracker);
            // News of a peer that was hard to reach is worth another try.
            known.next_try = known.next_try.min(now + NEWS);
            return;
        }
        if self.0.len() >= MOST_KNOWN {
            // Peers may be made up: those that never answer make room, and for the tracker's all that it did not name.
            let vain = self.0.iter().filter(|(peer, known)| {
                (known.failures > 0 || (source == PeerSource::Tracker && !known.named)) && free(peer)
            });
            let vainest = vain.max_by_key(|(_, known)| (!known.named, known.failures)).map(|(&peer, _)| peer);
            vainest.and_then(|peer| self.0.remove(&peer));
        }
        if self.0.len() < MOST_KNOWN {
            let named = source == PeerSource::Tracker;
            self.0.insert(peer, Known { addresses, named, failures: 0, next_try: now, lost: None });
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

    /// Whether the tracker has named a peer.
    pub(crate) fn is_named(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|known| known.named)
    }

    /// The peers whose pause is over, and where they are.
    pub(crate) fn due(&self, now: Duration) -> impl Iterator<Item = (PeerId, &[SocketAddr])> + '_ {
        let due = self.0.iter().filter(move |(_, known)| known.next_try <= now);
        due.map(|(&peer, known)| (peer, &known.addresses[..]))
    }

    /// A connection with a peer was lost over which it gave us something.
    pub(crate) fn lost(&mut self, peer: &PeerId, now: Duration) {
        if let Some(known) = self.0.get_mut(peer) {
            known.lost = Some(now);
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
        known.learn(peer(1), address(2), PeerSource::Peer, Duration::ZERO, |_| true);
        assert_eq!(known.addresses(&peer(1)), Some(&address(1)[..]));
        known.learn(peer(1), address(3), PeerSource::Tracker, Duration::ZERO, |_| true);
        assert_eq!(known.addresses(&peer(1)), Some(&address(3)[..]));
    }

    #[test]
    fn peers_that_others_named_make_room_for_the_trackers() {
        let mut known = KnownPeers::default();
        (0..MOST_KNOWN).for_each(|number| learn(&mut known, number, PeerSource::Peer));
        learn(&mut known, MOST_KNOWN, PeerSource::Peer);
        assert!(known.addresses(&peer(MOST_KNOWN)).is_none(), "none of them has failed");
        known.learn(peer(MOST_KNOWN), address(1), PeerSource::Tracker, Duration::ZERO, |_| false);
        assert!(known.addresses(&peer(MOST_KNOWN)).is_none(), "none of them is free");
        learn(&mut known, MOST_KNOWN, PeerSource::Tracker);
        assert!(known.addresses(&peer(MOST_KNOWN)).is_some());
        assert_eq!(known.ids().count(), MOST_KNOWN);
    }
}
