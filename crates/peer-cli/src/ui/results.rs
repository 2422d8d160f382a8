//! What is said of a download that is complete: what came, how fast and from whom, and where it is. The answer comes last.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use peer::{Participant, Status};
use protocol::{PeerId, printable};
use tokio::time::Instant;

use crate::ui::amounts::{amount, rate, took};
use crate::ui::columns::shortened;

/// Most peers that are named.
const NAMED: usize = 5;
/// Bytes from which on a rate says something.
const WORTH_A_RATE: u64 = 64 << 10;
/// Most columns of a name.
const NAME: usize = 40;

/// Lines about a content that is complete, the answer last; `name` is how a peer is called.
pub fn result_words(status: &Status, time: Duration, place: &str, name: impl Fn(PeerId) -> String) -> Vec<String> {
    let Status { size, had, pieces, received, sent, sources, participants, .. } = status;
    let what = shortened(&printable(&status.name), NAME);
    if received == &0 && had == pieces && *pieces > 0 {
        let elsewhere = if place == status.name { String::new() } else { format!(" → {place}") };
        return vec![format!("{what} is here already, and right{elsewhere}")];
    }
    let mut lines = Vec::new();
    let seen = |peer: &PeerId| participants.iter().find(|one| one.peer == *peer).map(Getter::of);
    let came = sources.iter().filter(|(_, bytes)| **bytes > 0);
    let sources = by_machine(came.map(|(peer, bytes)| (name(*peer), *bytes, seen(peer))));
    let gave = if *sent > 0 { format!("Gave {}.", given(*sent, participants)) } else { String::new() };
    if sources.len() > 1 {
        let named = sources.iter().take(NAMED).map(|(name, bytes)| format!("{} from {name}", amount(*bytes)));
        let more = sources.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and the rest from {more} more") } else { String::new() };
        lines.push(format!("Got {}{more}. {gave}", named.collect::<Vec<_>>().join(", ")).trim_end().to_owned());
    } else if !gave.is_empty() {
        lines.push(gave);
    }
    let before = size.saturating_sub(*received);
    let known = *had > 0 && before > 0;
    let resumed = if known { format!(", {} of it from before,", amount(before)) } else { String::new() };
    let speed = (*received as f64 / time.as_secs_f64().max(1e-3)) as u64;
    // Of so little it only says how long it takes to begin.
    let speed = if *received >= WORTH_A_RATE { format!(" ({})", rate(speed)) } else { String::new() };
    lines.push(format!("{what}: {}{resumed} in {}{speed}, every piece verified → {place}", amount(*size), took(time)));
    lines
}

/// From which machines how much came, most first. One that was stopped and has started again comes as another peer from the same address,
/// or from another one of its machine; two that were there at the same time are two.
fn by_machine<'a>(sources: impl Iterator<Item = (String, u64, Option<Getter<'a>>)>) -> Vec<(String, u64)> {
    let mut all: Vec<_> = sources.collect();
    all.sort_by_key(|(_, bytes, _)| std::cmp::Reverse(*bytes));
    let mut machines: Vec<(String, u64, Vec<Getter<'a>>)> = Vec::new();
    for (name, bytes, getter) in all {
        let came_back = |others: &[Getter<'_>]| {
            let is_it = |getter: &Getter<'_>| others.iter().all(|other| getter.is_at(other) && getter.was_apart(other));
            !others.is_empty() && getter.as_ref().is_some_and(is_it)
        };
        match machines.iter_mut().find(|(known, _, others)| *known == name || came_back(others)) {
            Some((_, sum, others)) => {
                *sum += bytes;
                others.extend(getter);
            }
            None => machines.push((name, bytes, Vec::from_iter(getter))),
        }
    }
    machines.sort_by_key(|(_, bytes, _)| std::cmp::Reverse(*bytes));
    machines.into_iter().map(|(name, bytes, _)| (name, bytes)).collect()
}

/// How much was sent, and to how many.
pub fn given(sent: u64, to: &[Participant]) -> String {
    let got = to.iter().filter(|peer| peer.sent > 0).map(Getter::of);
    match machines(got) {
        0 => amount(sent),
        1 => format!("{} to 1 machine", amount(sent)),
        count => format!("{} to {count} machines", amount(sent)),
    }
}

/// Whether somebody who has left came back as another one, who is here or has got all of it by now.
pub fn came_back(taker: &Participant, all: &[Participant]) -> bool {
    let left = Getter::of(taker);
    !taker.is_connected && all.iter().any(|other| Getter::of(other).continues(&left))
}

/// Those who take part, or did so. One that came back stands for its earlier visits, with what it got and gave in all; who only looked
/// is left out.
pub fn visits_joined(all: &[Participant]) -> Vec<Participant> {
    let counts = |one: &&Participant| one.is_connected || one.wanted || one.received > 0;
    let (earlier, mut joined): (Vec<_>, Vec<_>) =
        all.iter().filter(counts).cloned().partition(|one| came_back(one, all));
    for visit in &earlier {
        let later = joined.iter_mut().filter(|one| Getter::of(one).continues(&Getter::of(visit)));
        if let Some(last) = later.max_by_key(|one| one.came) {
            last.sent += visit.sent;
            last.received += visit.received;
        }
    }
    joined
}

/// Somebody who got something.
struct Getter<'a> {
    peer: PeerId,
    seen: IpAddr,
    also_at: &'a [IpAddr],
    has_all: bool,
    came: Instant,
    left: Option<Instant>,
}

impl<'a> Getter<'a> {
    fn of(peer: &'a Participant) -> Self {
        let Participant { peer, address, also_at, has_all, came, left, .. } = peer;
        let seen = address.ip().to_canonical();
        Getter { peer: *peer, seen, also_at, has_all: *has_all, came: *came, left: *left }
    }

    /// Whether it is at an address of the other one, as one that comes over IPv4 and again over IPv6 is. Addresses that both only
    /// name say nothing: those of bridges are the same on many machines.
    fn is_at(&self, other: &Getter<'_>) -> bool {
        self.seen == other.seen || self.also_at.contains(&other.seen) || other.also_at.contains(&self.seen)
    }

    /// Whether one of them left before the other came.
    fn was_apart(&self, other: &Getter<'_>) -> bool {
        let is_before = |first: &Getter<'_>, next: &Getter<'_>| first.left.is_some_and(|left| left <= next.came);
        is_before(self, other) || is_before(other, self)
    }

    /// Whether it may be the other one, started again: it came later, and is here or has got all of it.
    fn continues(&self, other: &Getter<'_>) -> bool {
        self.came > other.came && (self.has_all || self.left.is_none()) && self.is_at(other)
    }
}

/// On how many machines those are that got something. One that was stopped and has started again comes as another peer from the same
/// address, or from another one of its machine; two that have got all of it from one address are two behind it if they were here at the
/// same time.
fn machines<'a>(got: impl Iterator<Item = Getter<'a>>) -> usize {
    let mut machines: Vec<Vec<Getter<'a>>> = Vec::new();
    for getter in got {
        let is_there = |machine: &Vec<Getter<'_>>| machine.iter().any(|other| getter.is_at(other));
        match machines.iter().position(is_there) {
            Some(machine) => machines[machine].push(getter),
            None => machines.push(vec![getter]),
        }
    }
    machines.iter().map(|machine| most_at_once(machine).max(1)).sum()
}

/// How many of these were here at the same time and have got all of it. One that got several contents is one.
fn most_at_once(getters: &[Getter<'_>]) -> usize {
    let mut stays: BTreeMap<PeerId, (Instant, Option<Instant>)> = BTreeMap::new();
    for getter in getters.iter().filter(|getter| getter.has_all) {
        let (came, left) = stays.entry(getter.peer).or_insert((getter.came, getter.left));
        (*came, *left) = ((*came).min(getter.came), left.zip(getter.left).map(|(one, other)| one.max(other)));
    }
    let came = stays.values().map(|(came, _)| (*came, 1));
    let left = stays.values().filter_map(|(_, left)| Some(((*left)?, -1)));
    let mut steps: Vec<(Instant, i32)> = came.chain(left).collect();
    // Of those of one moment, leaving comes first.
    steps.sort_unstable();
    let here = steps.iter().scan(0, |here, (_, step)| {
        *here += step;
        Some(*here)
    });
    here.max().unwrap_or(0).max(0) as usize
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn status(size: u64, had: u32, sources: &[(u8, u64)]) -> Status {
        let mut status = Status::default();
        (status.name, status.size, status.had, status.pieces) = ("big.bin".to_owned(), size, had, 10);
        status.sources = sources.iter().map(|&(peer, bytes)| (PeerId(Digest([peer; 32])), bytes)).collect();
        status.received = sources.iter().map(|(_, bytes)| bytes).sum();
        status
    }

    fn words(status: &Status, milliseconds: u64) -> Vec<String> {
        let name = |peer: PeerId| format!("10.0.0.{}", peer.0.0[0]);
        result_words(status, Duration::from_millis(milliseconds), "output/big.bin", name)
    }

    #[test]
    fn a_result_says_what_came_how_fast_and_where_it_is() {
        let whole = words(&status(286 * MIB, 0, &[(1, 286 * MIB)]), 840);
        assert_eq!(whole, ["big.bin: 286 MiB in 0.8 s (340 MiB/s), every piece verified → output/big.bin"]);
        let resumed = words(&status(286 * MIB, 6, &[(1, 100 * MIB)]), 10_000);
        let line = "big.bin: 286 MiB, 186 MiB of it from before, in 10.0 s (10.0 MiB/s), every piece verified → output/big.bin";
        assert_eq!(resumed, [line]);
        let renamed =
            result_words(&status(286 * MIB, 0, &[(1, 286 * MIB)]), Duration::from_secs(1), "standard output", |_| {
                String::new()
            });
        assert!(
            renamed[0].starts_with("big.bin: 286 MiB in ") && renamed[0].ends_with("→ standard output"),
            "{renamed:?}"
        );
        let mut empty = status(0, 0, &[]);
        empty.pieces = 0;
        assert_eq!(words(&empty, 5), ["big.bin: 0 B in 0.1 s, every piece verified → output/big.bin"]);
    }

    #[test]
    fn what_is_here_already_is_said_to_be_right() {
        let here = status(286 * MIB, 10, &[]);
        assert_eq!(words(&here, 5), ["big.bin is here already, and right → output/big.bin"]);
        let lines = result_words(&here, Duration::ZERO, "big.bin", |_| String::new());
        assert_eq!(lines, ["big.bin is here already, and right"]);
    }

    #[test]
    fn a_source_that_came_back_at_its_address_is_one() {
        let back = status(286 * MIB, 0, &[(1, 86 * MIB), (2, 200 * MIB)]);
        let lines = result_words(&back, Duration::from_secs(1), "big.bin", |_| "10.0.0.1".to_owned());
        assert_eq!(lines, ["big.bin: 286 MiB in 1.0 s (286 MiB/s), every piece verified → big.bin"]);
    }

    #[test]
    fn a_source_that_came_back_at_another_of_its_addresses_is_one() {
        let began = Instant::now();
        let own: [&'static [IpAddr]; 2] = ["fe80::1", "10.0.0.1"].map(|ip| &*vec![ip.parse().unwrap()].leak());
        let from = |back: std::ops::Range<u64>| {
            let first = getter(("10.0.0.1", own[0]), false, 0..5, began);
            let second = getter(("fe80::1", own[1]), false, back, began);
            let sources = [("10.0.0.1", 3, first), ("fe80::1", 8, second)];
            by_machine(sources.into_iter().map(|(name, bytes, getter)| (name.to_owned(), bytes, Some(getter))))
        };
        assert_eq!(from(6..9), [("fe80::1".to_owned(), 11)]);
        assert_eq!(from(4..9).len(), 2, "both were there");
    }

    #[test]
    fn several_sources_are_named_most_first_and_the_answer_comes_last() {
        let mut several = status(286 * MIB, 0, &[(1, 86 * MIB), (2, 200 * MIB)]);
        several.sent = 12 * MIB;
        let lines = words(&several, 1000);
        assert_eq!(lines[0], "Got 200 MiB from 10.0.0.2, 86.0 MiB from 10.0.0.1. Gave 12.0 MiB.");
        assert!(lines[1].starts_with("big.bin: 286 MiB in 1.0 s"));
        let many: Vec<_> = (1..=9).map(|peer| (peer, u64::from(peer) * MIB)).collect();
        assert!(
            words(&status(45 * MIB, 0, &many), 1000)[0].ends_with("5.0 MiB from 10.0.0.5 and the rest from 4 more.")
        );
    }

    /// Somebody at this address of several, who was here from one second to another.
    fn getter(
        (seen, also_at): (&str, &'static [IpAddr]),
        has_all: bool,
        here: std::ops::Range<u64>,
        began: Instant,
    ) -> Getter<'static> {
        let at = |seconds| began + Duration::from_secs(seconds);
        let peer = PeerId(Digest([here.start as u8; 32]));
        Getter { peer, seen: seen.parse().unwrap(), also_at, has_all, came: at(here.start), left: Some(at(here.end)) }
    }

    #[test]
    fn a_machine_that_came_back_is_one_and_two_at_once_behind_one_address_are_two() {
        let began = Instant::now();
        let count = |got: &[(&str, bool, std::ops::Range<u64>)]| {
            let getter = |(seen, has_all, here): &(&str, bool, std::ops::Range<u64>)| {
                getter((seen, &[]), *has_all, here.clone(), began)
            };
            machines(got.iter().map(getter))
        };
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[("10.0.0.1", false, 0..5), ("10.0.0.1", true, 6..9)]), 1);
        assert_eq!(count(&[("10.0.0.1", false, 0..20), ("10.0.0.1", true, 6..9)]), 1, "nobody noticed its end");
        let both = [("10.0.0.1", true, 0..5), ("10.0.0.1", true, 4..9), ("10.0.0.2", false, 0..9)];
        assert_eq!(count(&both), 3);
        let again: Vec<_> = (0..8).map(|run| ("10.0.0.1", true, 10 * run..10 * run + 9)).collect();
        assert_eq!(count(&again), 1, "one after the other");
        assert_eq!(count(&[("10.0.0.1", true, 0..5), ("10.0.0.1", true, 0..5)]), 1, "one that got two contents");
    }

    #[test]
    fn who_has_left_and_is_here_again_has_come_back() {
        let began = Instant::now();
        let left = getter(("10.0.0.1", &[]), false, 1..5, began);
        let here = |seen, came| Getter { left: None, ..getter((seen, &[]), false, came..came + 1, began) };
        assert!(here("10.0.0.1", 6).continues(&left));
        assert!(!here("10.0.0.2", 6).continues(&left) && !here("10.0.0.1", 0).continues(&left));
        assert!(!getter(("10.0.0.1", &[]), false, 6..8, began).continues(&left), "it has left, too");
        assert!(getter(("10.0.0.1", &[]), true, 6..8, began).continues(&left));
    }

    #[test]
    fn a_machine_has_several_addresses_and_bridges_are_nobodys() {
        let began = Instant::now();
        let own: [&'static [IpAddr]; 3] =
            ["fe80::1", "10.0.0.1", "172.17.0.1"].map(|ip| &*vec![ip.parse().unwrap()].leak());
        let both = [getter(("10.0.0.1", own[0]), false, 0..5, began), getter(("fe80::1", own[1]), true, 6..9, began)];
        assert_eq!(machines(both.into_iter()), 1, "stopped, and started again over IPv6");
        let bridges =
            [getter(("10.0.0.1", own[2]), true, 0..5, began), getter(("10.0.0.2", own[2]), true, 6..9, began)];
        assert_eq!(machines(bridges.into_iter()), 2);
    }
}
