//! Whom to know, dial, keep and shut out.
//!
//! [`Peers`] holds what outlives a connection: who is connected or being dialled, who is shut out, and what is remembered of
//! peers by their id, and of strangers by their address, so that a new connection or a new id gains nothing. A peer that has
//! delivered is judged by that alone, whatever its address. `known` is the address book of a content, `knowers` says which contents know
//! a peer, `connection` is what
//! belongs to one connection, `lifecycle` makes and ends them, `dialling` decides whom to dial,
//! `dial_backs` whom of those that the tracker has just introduced, `exchange` tells peers of each
//! other, `conduct` counts what a peer sends wrong, and `flood` how much work it makes.

pub(crate) mod conduct;
pub(crate) mod connection;
pub(crate) mod dial_backs;
mod dialling;
mod exchange;
pub(crate) mod flood;
pub(crate) mod knowers;
pub(crate) mod known;
mod lifecycle;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use protocol::PeerId;

use super::bounded_map::BoundedMap;
use super::download::credit::{Credit, rest};
use crate::event::ConnId;

/// Dials under way at once: of those that have not taken longer than a dial takes that succeeds, and in all. Peers that have
/// crashed are still named for a while, and must not keep us from those that are there.
const DIALS: usize = 16;
const ALL_DIALS: usize = 64;
const DIALLED_SOON: Duration = Duration::from_secs(1);
/// How often a peer is forgiven that withdraws what it sent wrong.
const PARDONS: u32 = 3;
/// Strikes from one address after which its strangers are asked for one piece at first.
const SUSPECT: u32 = 3;

/// What is known of peers, connected or not.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    connected: BTreeMap<PeerId, ConnId>,
    dialling: BTreeMap<PeerId, Dialling>,
    banned: BoundedMap<PeerId, ()>,
    /// How often peers were forgiven what they sent wrong.
    pardons: BoundedMap<PeerId, u32>,
    records: BoundedMap<PeerId, Record>,
    /// How often strangers of an address let us wait.
    offences: BoundedMap<IpAddr, u32>,
    /// Bytes that strangers of an address have to give or take before their word about their site counts.
    doubts: BoundedMap<IpAddr, u64>,
    /// Work that strangers of an address have had us do, and how many of them are connected.
    work: BoundedMap<IpAddr, Work>,
    strangers: BTreeMap<IpAddr, u64>,
    /// Whether the last tick had no time for all exchanges of peers that were due.
    exchanges_late: bool,
}

/// Work that strangers of an address have had us do, beyond what they might by then.
#[derive(Debug, Default)]
struct Work {
    units: u64,
    since: Duration,
}

/// A peer that is being dialled.
#[derive(Debug, Clone, Copy)]
struct Dialling {
    since: Duration,
    /// Whether the tracker has named it, or it gave us something. Others may be made up.
    vouched: bool,
    /// Whether it is dialled at addresses that were named meanwhile.
    also: bool,
}

/// What is remembered of a peer that is not connected.
#[derive(Debug, Default)]
struct Record {
    strikes: u32,
    rests_until: Duration,
    delivered: bool,
    /// It flooded: no connection with it before.
    shunned_until: Duration,
    floods: u32,
}

impl Peers {
    /// The connection with a peer.
    pub(crate) fn connection(&self, peer: &PeerId) -> Option<ConnId> {
        self.connected.get(peer).copied()
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    /// Whether a peer is neither connected nor being dialled.
    pub(crate) fn is_free(&self, peer: &PeerId) -> bool {
        !self.is_connected(peer) && !self.dialling.contains_key(peer)
    }

    pub(crate) fn connect(&mut self, peer: PeerId, conn: ConnId) {
        self.connected.insert(peer, conn);
    }

    /// A connection has ended. Whether it was the one with that peer, and not one that another had replaced.
    pub(crate) fn disconnect(&mut self, peer: &PeerId, conn: ConnId) -> bool {
        let current = self.connection(peer) == Some(conn);
        if current {
            self.connected.remove(peer);
        }
        current
    }

    /// Peers that are being dialled.
    pub(crate) fn dials(&self) -> usize {
        self.dialling.len()
    }

    /// Peers that are being dialled and that only other peers have named.
    pub(crate) fn hearsay_dials(&self) -> usize {
        self.dialling.values().filter(|dialling| !dialling.vouched).count()
    }

    /// How many more peers may be dialled now.
    pub(crate) fn free_dials(&self, now: Duration) -> usize {
        free(DIALS, ALL_DIALS, now, self.dialling.values())
    }

    /// How many more may be that only other peers have named: half of all.
    pub(crate) fn free_hearsay_dials(&self, now: Duration) -> usize {
        let hearsay = self.dialling.values().filter(|dialling| !dialling.vouched);
        free(DIALS / 2, ALL_DIALS / 2, now, hearsay)
    }

    /// A peer is dialled, for which the tracker vouches, or what it gave us, or neither. False if it is being dialled already.
    #[must_use]
    pub(crate) fn dial(&mut self, peer: PeerId, now: Duration, vouched: bool) -> bool {
        let free = !self.dialling.contains_key(&peer);
        if free {
            self.dialling.insert(peer, Dialling { since: now, vouched, also: false });
        }
        free
    }

    /// A peer is to be dialled at further addresses, too. False if it is not being dialled, or if this dial had some already: who
    /// names address after address has few of them dialled.
    #[must_use]
    pub(crate) fn dial_also(&mut self, peer: &PeerId) -> bool {
        self.dialling.get_mut(peer).is_some_and(|dialling| !std::mem::replace(&mut dialling.also, true))
    }

    /// Whether a peer is being dialled for which the tracker vouches, or what it gave us.
    pub(crate) fn is_dialled_vouched(&self, peer: &PeerId) -> bool {
        self.dialling.get(peer).is_some_and(|dialling| dialling.vouched)
    }

    /// A dial is over. Whether only other peers had named that peer.
    pub(crate) fn dial_ended(&mut self, peer: &PeerId) -> bool {
        self.dialling.remove(peer).is_some_and(|dialling| !dialling.vouched)
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.banned.contains(peer)
    }

    /// Shuts a peer out for good. False if it was already.
    pub(crate) fn ban(&mut self, peer: PeerId) -> bool {
        let new = !self.is_banned(&peer);
        if new {
            self.banned.get_or_default(peer);
        }
        new
    }

    /// Whether a peer was forgiven as often as it may be.
    pub(crate) fn was_pardoned_enough(&self, peer: &PeerId) -> bool {
        self.pardons.get(peer).is_some_and(|&pardons| pardons >= PARDONS)
    }

    pub(crate) fn pardon(&mut self, peer: PeerId) {
        *self.pardons.get_or_default(peer) += 1;
    }

    /// Credit for a connection that has just been made: none, but with what is remembered against it.
    pub(crate) fn first_credit(&self, peer: &PeerId, address: IpAddr, now: Duration) -> Credit {
        match self.records.get(peer) {
            Some(record) => Credit::new(now, record.strikes, record.rests_until),
            None => Credit::new(now, u32::from(self.is_suspect(peer, address)), now),
        }
    }

    /// Whether a peer has ever delivered, as far as is remembered from former connections.
    pub(crate) fn has_delivered(&self, peer: &PeerId) -> bool {
        self.records.get(peer).is_some_and(|record| record.delivered)
    }

    /// Whether a stranger comes from an address whose strangers misbehaved.
    pub(crate) fn is_suspect(&self, peer: &PeerId, address: IpAddr) -> bool {
        !self.has_delivered(peer) && self.offences.get(&address_group(address)).is_some_and(|&count| count >= SUSPECT)
    }

    /// Whether a peer is not to come back yet.
    pub(crate) fn is_shunned(&self, peer: &PeerId, now: Duration) -> bool {
        self.records.get(peer).is_some_and(|record| now < record.shunned_until)
    }

    /// A peer flooded: it is to stay away for a while, and strangers of its address are suspect.
    pub(crate) fn shun(&mut self, peer: PeerId, address: IpAddr, now: Duration) {
        let record = self.records.get_or_default(peer);
        record.floods += 1;
        record.shunned_until = now + rest(record.floods);
        self.suspect(address);
    }

    /// The site that a stranger of this address says it is in does not count, until so many bytes have gone either way.
    pub(crate) fn doubt(&mut self, address: IpAddr, bytes: u64) {
        let doubt = self.doubts.get_or_default(address_group(address));
        *doubt = bytes.max(*doubt);
    }

    /// How much a peer has to give or take before its word about its site counts, if others of its address were wrong.
    pub(crate) fn doubt_about(&self, peer: &PeerId, address: IpAddr) -> Option<u64> {
        self.doubts.get(&address_group(address)).copied().filter(|_| !self.has_delivered(peer))
    }

    /// A stranger has gone that has had us do so much work beyond what it might.
    pub(crate) fn owe_work(&mut self, peer: &PeerId, address: IpAddr, units: u64, now: Duration) {
        if !self.has_delivered(peer) && units > self.work_owed(peer, address, now) {
            *self.work.get_or_default(address_group(address)) = Work { units, since: now };
        }
    }

    /// The work that strangers of an address have had us do and that the next one begins with: a new connection is no new budget.
    pub(crate) fn work_owed(&self, peer: &PeerId, address: IpAddr, now: Duration) -> u64 {
        let work = self.work.get(&address_group(address)).filter(|_| !self.has_delivered(peer));
        work.map_or(0, |work| work.units.saturating_sub(flood::earned(now.saturating_sub(work.since), flood::OTHERS)))
    }

    /// Somebody has come who may be a stranger.
    pub(crate) fn meet_stranger(&mut self, address: IpAddr) {
        *self.strangers.entry(address_group(address)).or_default() += 1;
    }

    /// These are the addresses of all strangers that are connected.
    pub(crate) fn count_strangers(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        self.strangers.clear();
        addresses.for_each(|address| self.meet_stranger(address));
    }

    /// How many strangers of an address are connected.
    pub(crate) fn strangers_of(&self, address: IpAddr) -> u64 {
        self.strangers.get(&address_group(address)).copied().unwrap_or(0)
    }

    /// Strangers of an address are to be looked at closely.
    fn suspect(&mut self, address: IpAddr) {
        *self.offences.get_or_default(address_group(address)) += SUSPECT;
    }

    /// A stranger of this address let us wait.
    pub(crate) fn offended(&mut self, address: IpAddr) {
        *self.offences.get_or_default(address_group(address)) += 1;
    }

    /// A connection has ended: what is to be remembered of it.
    pub(crate) fn remember(&mut self, peer: PeerId, credit: &Credit) {
        if credit.verified == 0 && credit.strikes == 0 {
            return;
        }
        let record = self.records.get_or_default(peer);
        record.delivered |= credit.verified > 0;
        // A peer that delivers enough has no strikes any more.
        record.strikes = if credit.verified > 0 { credit.strikes } else { record.strikes.max(credit.strikes) };
        record.rests_until = credit.rests_until;
    }
}

/// How many more dials there may be of these: so many that have not taken long, and so many in all.
fn free<'a>(fresh: usize, all: usize, now: Duration, dials: impl Iterator<Item = &'a Dialling>) -> usize {
    let (mut young, mut count) = (0, 0);
    for dialling in dials {
        count += 1;
        young += usize::from(now.saturating_sub(dialling.since) < DIALLED_SOON);
    }
    fresh.saturating_sub(young).min(all.saturating_sub(count))
}

/// What strangers are counted by: an IPv4 address, or the /64 in which each can have as many IPv6 addresses as it likes.
fn address_group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        address => network(address),
    }
}

/// The network that an address counts with where room is short: an IPv4 /24, or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) & 0xffff_ff00).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn peer(number: u8) -> PeerId {
        PeerId(Digest([number; 32]))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn slow_dials_make_room_for_others_up_to_a_bound() {
        let mut peers = Peers::default();
        for number in 0..DIALS as u8 {
            assert!(peers.dial(peer(number), NOW, true));
        }
        assert!(!peers.dial(peer(0), NOW, true), "it is being dialled");
        assert_eq!(peers.free_dials(NOW), 0);
        assert_eq!(peers.free_dials(NOW + DIALLED_SOON), DIALS);
        let dialled = (0..ALL_DIALS as u8).filter(|&number| peers.dial(peer(number), NOW, true)).count();
        assert_eq!(dialled, ALL_DIALS - DIALS);
        assert_eq!(peers.free_dials(NOW + DIALLED_SOON), 0);
        peers.dial_ended(&peer(3));
        assert_eq!((peers.free_dials(NOW + DIALLED_SOON), peers.is_free(&peer(3))), (1, true));
    }

    #[test]
    fn half_of_all_dials_are_for_peers_that_somebody_vouches_for() {
        let mut peers = Peers::default();
        let dialled =
            (0..100).filter(|&number| peers.free_hearsay_dials(NOW) > 0 && peers.dial(peer(number), NOW, false));
        assert_eq!(dialled.count(), DIALS / 2);
        assert_eq!((peers.free_dials(NOW), peers.hearsay_dials()), (DIALS / 2, DIALS / 2));
        let later = NOW + DIALLED_SOON;
        let more = (100..200).filter(|&number| {
            let at = later + DIALLED_SOON * u32::from(number);
            peers.free_hearsay_dials(at) > 0 && peers.dial(peer(number), at, false)
        });
        assert_eq!(more.count() + DIALS / 2, ALL_DIALS / 2);
        assert!(peers.free_dials(later + DIALLED_SOON * 200) >= DIALS && peers.dial_ended(&peer(0)));
        assert_eq!(peers.free_hearsay_dials(later + DIALLED_SOON * 200), 1);
    }

    #[test]
    fn a_replaced_connection_ends_without_a_trace() {
        let mut peers = Peers::default();
        peers.connect(peer(1), 7);
        peers.connect(peer(1), 8);
        assert!(!peers.disconnect(&peer(1), 7));
        assert_eq!(peers.connection(&peer(1)), Some(8));
        assert!(peers.disconnect(&peer(1), 8));
        assert!(peers.is_free(&peer(1)));
    }

    #[test]
    fn strikes_outlast_a_connection_and_a_delivery_clears_the_address() {
        let (mut peers, home) = (Peers::default(), ip("10.0.0.1"));
        (0..SUSPECT).for_each(|_| peers.offended(home));
        assert!(peers.is_suspect(&peer(1), home) && !peers.is_suspect(&peer(1), ip("10.0.0.2")));
        assert_eq!(peers.first_credit(&peer(1), home, NOW).strikes, 1);
        let mut credit = Credit::new(NOW, 2, NOW + DIALLED_SOON);
        peers.remember(peer(1), &credit);
        let remembered = peers.first_credit(&peer(1), home, NOW);
        assert_eq!((remembered.strikes, remembered.rests_until), (2, NOW + DIALLED_SOON));
        credit.verify(1);
        peers.remember(peer(1), &credit);
        assert!(peers.has_delivered(&peer(1)) && !peers.is_suspect(&peer(1), home));
    }

    #[test]
    fn work_for_strangers_of_an_address_outlasts_their_connections() {
        let (mut peers, home) = (Peers::default(), ip("10.0.0.1"));
        let second = flood::earned(DIALLED_SOON, flood::OTHERS);
        peers.owe_work(&peer(1), home, 3 * second, NOW);
        peers.owe_work(&peer(2), home, second, NOW);
        let owed = |peers: &Peers, number, at| peers.work_owed(&peer(number), home, at);
        assert_eq!(owed(&peers, 3, NOW), 3 * second);
        assert_eq!(owed(&peers, 3, NOW + DIALLED_SOON * 2), second);
        assert_eq!(owed(&peers, 3, NOW + DIALLED_SOON * 9), 0);
        assert_eq!(peers.work_owed(&peer(3), ip("10.0.0.2"), NOW), 0);
        let mut credit = Credit::new(NOW, 0, NOW);
        credit.verify(1);
        peers.remember(peer(4), &credit);
        assert_eq!(owed(&peers, 4, NOW), 0, "it has delivered");
    }

    #[test]
    fn floods_shun_for_twice_as_long_each_time() {
        let (mut peers, home) = (Peers::default(), ip("::1"));
        for seconds in [2, 4, 8] {
            peers.shun(peer(1), home, NOW);
            assert!(peers.is_shunned(&peer(1), NOW + Duration::from_secs(seconds) - Duration::from_millis(1)));
            assert!(!peers.is_shunned(&peer(1), NOW + Duration::from_secs(seconds)));
        }
        assert!(peers.is_suspect(&peer(2), ip("::2")), "strangers of one /64 are counted together");
    }

    #[test]
    fn a_ban_is_new_once_and_pardons_run_out() {
        let mut peers = Peers::default();
        assert!(peers.ban(peer(1)) && !peers.ban(peer(1)) && peers.is_banned(&peer(1)));
        (0..PARDONS).for_each(|_| {
            assert!(!peers.was_pardoned_enough(&peer(2)));
            peers.pardon(peer(2));
        });
        assert!(peers.was_pardoned_enough(&peer(2)));
    }

    #[test]
    fn networks_are_a_24_of_ipv4_and_a_64_of_ipv6() {
        assert_eq!(network(ip("::ffff:10.1.2.3")), ip("10.1.2.0"));
        assert_eq!(network(ip("2001:db8:1:2:3::4")), ip("2001:db8:1:2::"));
        assert_eq!(address_group(ip("10.1.2.3")), ip("10.1.2.3"));
    }
}
