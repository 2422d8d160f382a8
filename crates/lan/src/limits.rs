//! How much of what is heard is taken: anyone on the network may say anything, as often as they like.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::PeerId;

use crate::key::Salt;

/// Packets that are looked at in a second, of all senders and of one.
const PACKETS: u32 = 128;
const OF_ONE: u32 = 24;
/// Senders that are told apart in a second.
const SENDERS: usize = 64;

/// How many packets are looked at.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    second: u64,
    taken: u32,
    of: BTreeMap<IpAddr, u32>,
}

impl Intake {
    /// Whether one more packet of this sender is processed; a single sender cannot use up the limit for all.
    pub(crate) fn takes(&mut self, now: Duration, from: IpAddr) -> bool {
        if self.second != now.as_secs() {
            *self = Intake { second: now.as_secs(), ..Intake::default() };
        }
        if self.taken >= PACKETS || (self.of.len() >= SENDERS && !self.of.contains_key(&from)) {
            return false;
        }
        let of = self.of.entry(from).or_default();
        if *of >= OF_ONE {
            return false;
        }
        *of += 1;
        self.taken += 1;
        true
    }
}

/// What passes at most `rate` times a second, but for `burst` at once.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: f64,
    burst: f64,
    left: f64,
    at: Duration,
}

impl Pace {
    pub(crate) fn new(rate: f64, burst: f64) -> Self {
        Pace { rate, burst, left: burst, at: Duration::ZERO }
    }

    /// Whether one more may pass now.
    pub(crate) fn passes(&mut self, now: Duration) -> bool {
        self.left = self.burst.min(self.left + now.saturating_sub(self.at).as_secs_f64() * self.rate);
        self.at = self.at.max(now);
        let passes = self.left >= 1.0;
        if passes {
            self.left -= 1.0;
        }
        passes
    }

    /// How long until one may pass.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        let left = self.left + now.saturating_sub(self.at).as_secs_f64() * self.rate;
        Duration::from_secs_f64(((1.0 - left) / self.rate).max(0.0))
    }
}

/// Packets that are remembered. Only those that were made by somebody who knows one of this process's contents are, so nobody else can make
/// it forget one.
const REMEMBERED_PACKETS: usize = 2048;
/// The same packet comes over several interfaces, and over IPv4 and IPv6, within this time.
const SAME_PACKET: Duration = Duration::from_secs(2);

/// Which packets were heard. Anyone can record what others say, and say it again.
#[derive(Debug, Default)]
pub(crate) struct HeardPackets {
    heard: HashMap<Salt, Duration>,
    order: VecDeque<Salt>,
}

impl HeardPackets {
    /// Whether a packet of this salt was heard.
    pub(crate) fn has(&self, salt: &Salt) -> bool {
        self.heard.contains_key(salt)
    }

    /// Whether one was heard so long ago that it is said again.
    pub(crate) fn is_old(&self, now: Duration, salt: &Salt) -> bool {
        self.heard.get(salt).is_some_and(|&at| now.saturating_sub(at) > SAME_PACKET)
    }

    /// A packet of somebody who knows a content is heard.
    pub(crate) fn hear(&mut self, now: Duration, salt: Salt) {
        if self.has(&salt) {
            return;
        }
        if self.order.len() >= REMEMBERED_PACKETS
            && let Some(oldest) = self.order.pop_front()
        {
            self.heard.remove(&oldest);
        }
        self.order.push_back(salt);
        self.heard.insert(salt, now);
    }
}

/// Peers that are remembered as introduced, in all and at one address; and for how long.
const INTRODUCED: usize = 256;
const AT_ONE: usize = 24;
const REMEMBERED: Duration = Duration::from_secs(600);
/// The same peer is introduced again after this long at the earliest.
const AGAIN: Duration = Duration::from_secs(10);
/// Introductions of peers that are new, a second and at once. Each leads to a dial.
const A_SECOND: f64 = 4.0;
const AT_ONCE: f64 = 16.0;

/// Which peers were introduced lately: each may be made up, and is dialled.
#[derive(Debug)]
pub(crate) struct Introductions {
    known: BTreeMap<(SocketAddr, PeerId), Duration>,
    pace: Pace,
}

impl Introductions {
    pub(crate) fn new() -> Self {
        Introductions { known: BTreeMap::new(), pace: Pace::new(A_SECOND, AT_ONCE) }
    }

    /// Whether this peer is introduced now.
    pub(crate) fn may(&mut self, now: Duration, address: SocketAddr, peer: PeerId) -> bool {
        if let Some(last) = self.known.get_mut(&(address, peer)) {
            let may = now.saturating_sub(*last) >= AGAIN && self.pace.passes(now);
            if may {
                *last = now;
            }
            return may;
        }
        self.known.retain(|_, last| now.saturating_sub(*last) < REMEMBERED);
        let there = self.known.keys().filter(|(other, _)| other.ip() == address.ip()).count();
        if there >= AT_ONE || !self.pace.passes(now) {
            return false;
        }
        if self.known.len() >= INTRODUCED {
            let oldest = self.known.iter().min_by_key(|(_, last)| **last).map(|(known, _)| *known);
            oldest.and_then(|oldest| self.known.remove(&oldest));
        }
        self.known.insert((address, peer), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn one_sender_never_takes_the_turns_of_others() {
        let mut intake = Intake::default();
        let taken = (0..10_000).filter(|_| intake.takes(Duration::ZERO, ip(1))).count();
        assert_eq!(taken, OF_ONE as usize);
        assert!(intake.takes(Duration::ZERO, ip(2)));
        assert!(intake.takes(Duration::from_secs(1), ip(1)));
    }

    #[test]
    fn packets_of_many_made_up_senders_are_bounded() {
        let mut intake = Intake::default();
        let taken = (0..100_000).filter(|number| intake.takes(Duration::ZERO, ip(number % 50_000))).count();
        assert!(taken <= PACKETS as usize && intake.of.len() <= SENDERS);
    }

    #[test]
    fn introductions_are_few_a_second_and_remembered_up_to_a_bound() {
        let mut introductions = Introductions::new();
        let peer = |number: u32| PeerId::of_public_key(&number.to_be_bytes());
        let address = |number: u32| SocketAddr::new(ip(number), 9000);
        for second in 0..90 {
            let now = Duration::from_secs(second);
            let made = (0..50).filter(|n| introductions.may(now, address(second as u32 * 50 + n), peer(*n))).count();
            assert!(made <= AT_ONCE as usize && (second == 0 || made <= A_SECOND as usize), "{second}: {made}");
            assert!(introductions.known.len() <= INTRODUCED);
        }
        // Of one machine only so many.
        let mut introductions = Introductions::new();
        let times = (0..600).map(Duration::from_secs);
        let made = times.filter(|now| introductions.may(*now, address(1), peer(now.as_secs() as u32))).count();
        assert_eq!(made, AT_ONE);
    }

    #[test]
    fn a_known_peer_is_introduced_again_after_a_while() {
        let mut introductions = Introductions::new();
        let (address, peer) = (SocketAddr::new(ip(1), 9000), PeerId::of_public_key(b"peer"));
        assert!(introductions.may(Duration::ZERO, address, peer));
        assert!(!introductions.may(Duration::from_secs(9), address, peer));
        assert!(introductions.may(Duration::from_secs(10), address, peer));
    }

    #[test]
    fn packets_are_remembered_up_to_a_bound() {
        let mut packets = HeardPackets::default();
        let salt = |number: u32| -> Salt { std::array::from_fn(|byte| number.to_be_bytes()[byte % 4]) };
        for number in 0..3 * REMEMBERED_PACKETS as u32 {
            packets.hear(Duration::ZERO, salt(number));
            packets.hear(SAME_PACKET, salt(number));
        }
        assert_eq!((packets.heard.len(), packets.order.len()), (REMEMBERED_PACKETS, REMEMBERED_PACKETS));
        let last = salt(3 * REMEMBERED_PACKETS as u32 - 1);
        assert!(packets.has(&last) && !packets.has(&salt(0)));
        assert!(!packets.is_old(SAME_PACKET, &last) && packets.is_old(SAME_PACKET * 2, &last));
    }
}
