//! The registry's promises, one test each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::*;
use protocol::Role::{Downloader, Partial, Seeder};

fn peer(n: u32) -> PeerId {
    PeerId::of_public_key(&n.to_le_bytes())
}

fn address(n: u32) -> SocketAddr {
    SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 9000))
}

fn registry() -> Registry {
    Registry::new(1)
}

/// A peer that is seen at this address, and listens there.
fn at(address: SocketAddr) -> Arc<Addresses> {
    Arc::new(Addresses::new(address.ip(), None, &[address]))
}

fn join(registry: &mut Registry, n: u32, role: Role) -> Introductions {
    registry.announce(peer(n), &at(address(n)), role, None)
}

fn ids(peers: &[PeerAddress]) -> BTreeSet<PeerId> {
    peers.iter().map(|peer| peer.id).collect()
}

/// Acquaintance is symmetric, bounded, and names members only; everyone stands where it says.
fn check(registry: &Registry) {
    assert_eq!(registry.givers.len() + registry.takers.len(), registry.len());
    for &slot in registry.index.values() {
        let member = registry.member(slot);
        let group = if member.role == Downloader { &registry.takers } else { &registry.givers };
        assert!(group.stands(slot, member.place));
    }
    for &slot in registry.index.values() {
        let known = &registry.member(slot).known;
        assert!(known.len() <= MOST_KNOWN && !known.contains(&slot));
        assert_eq!(known.iter().collect::<BTreeSet<_>>().len(), known.len());
        for &other in known {
            assert!(registry.member(other).known.contains(&slot));
        }
    }
}

#[test]
fn a_leave_with_an_unknown_id_harms_nothing() {
    let mut registry = registry();
    assert_eq!(registry.leave(peer(1)), []);
    join(&mut registry, 1, Seeder);
    assert_eq!(registry.leave(peer(2)), []);
    assert_eq!((registry.len(), registry.seeders()), (1, 1));
    assert_eq!(ids(&join(&mut registry, 3, Downloader).sample), [peer(1)].into());
}

#[test]
fn a_repeated_leave_is_said_once() {
    let mut registry = registry();
    join(&mut registry, 1, Seeder);
    join(&mut registry, 2, Downloader);
    let told = registry.leave(peer(1));
    assert_eq!(told, [Push { to: peer(2), joined: vec![], gone: vec![peer(1)] }]);
    assert_eq!(registry.leave(peer(1)), []);
    assert_eq!((registry.seeders(), registry.others()), (0, 1));
}

#[test]
fn both_sides_of_an_introduction_are_told() {
    let mut registry = registry();
    join(&mut registry, 1, Seeder);
    let second = join(&mut registry, 2, Downloader);
    assert_eq!(second.sample, [PeerAddress { id: peer(1), addresses: vec![address(1)] }]);
    let joined = vec![PeerAddress { id: peer(2), addresses: vec![address(2)] }];
    assert_eq!(second.pushes, [Push { to: peer(1), joined, gone: vec![] }]);
}

#[test]
fn a_downloader_that_announces_again_is_told_of_everyone_in_time() {
    let mut registry = registry();
    (0..120).for_each(|n| drop(join(&mut registry, n, Seeder)));
    let mut told = ids(&join(&mut registry, 500, Downloader).sample);
    assert_eq!(told.len(), SAMPLE);
    for _ in 0..3 {
        told.extend(ids(&join(&mut registry, 500, Downloader).sample));
    }
    assert_eq!(told.len(), 120);
}

#[test]
fn a_sample_never_exceeds_50_and_never_includes_oneself() {
    let mut registry = registry();
    for n in 0..2000 {
        let role = [Seeder, Partial, Downloader][n as usize % 3];
        let told = join(&mut registry, n, role);
        assert!(told.sample.len() <= SAMPLE && !ids(&told.sample).contains(&peer(n)));
        assert_eq!(ids(&told.sample).len(), told.sample.len(), "nobody twice");
        assert!(told.pushes.len() <= SAMPLE && told.pushes.iter().all(|push| push.to != peer(n)));
        if n > 200 {
            assert_eq!(told.sample.len(), SAMPLE);
        }
        if role != Downloader {
            let again = join(&mut registry, n, role);
            assert!(again.sample.len() <= SAMPLE && again.pushes.is_empty());
        }
    }
    check(&registry);
}

#[test]
fn the_only_member_is_told_of_nobody() {
    let mut registry = registry();
    for _ in 0..3 {
        let Introductions { sample, pushes, .. } = join(&mut registry, 1, Downloader);
        assert_eq!((sample, pushes), (vec![], vec![]));
    }
}

#[test]
fn a_seeder_is_not_told_of_seeders() {
    let mut registry = registry();
    for n in 0..10 {
        let Introductions { sample, pushes, .. } = join(&mut registry, n, [Seeder, Partial][n as usize % 2]);
        assert_eq!((sample, pushes), (vec![], vec![]));
    }
    let downloader = join(&mut registry, 10, Downloader);
    assert_eq!((downloader.sample.len(), downloader.pushes.len()), (10, 10));
    // Once it is done it matters to those who want something, and to nobody else.
    join(&mut registry, 11, Downloader);
    assert_eq!(ids(&join(&mut registry, 10, Seeder).sample), [peer(11)].into());
    assert_eq!(registry.leave(peer(10)).iter().map(|push| push.to).collect::<Vec<_>>(), [peer(11)]);
    check(&registry);
}

#[test]
fn a_downloader_hears_of_seeders_among_thousands() {
    let mut registry = registry();
    for n in 0..1000 {
        join(&mut registry, n, Downloader);
    }
    for n in 1000..1030 {
        join(&mut registry, n, Seeder);
    }
    let sample = ids(&join(&mut registry, 2000, Downloader).sample);
    let seeders = (1000..1030).filter(|&n| sample.contains(&peer(n))).count();
    assert_eq!(seeders, SAMPLE / 2);
}

#[test]
fn nobody_hears_of_more_than_a_bounded_number() {
    let mut registry = registry();
    let mut heard: BTreeMap<PeerId, usize> = BTreeMap::new();
    join(&mut registry, 0, Seeder);
    for n in 1..5000 {
        let told = join(&mut registry, n, Downloader);
        assert!(n < 10 || told.sample.len() >= FEWEST_KNOWN);
        for push in told.pushes {
            *heard.entry(push.to).or_default() += push.joined.len();
        }
    }
    check(&registry);
    assert!(heard.values().all(|&count| count <= MOST_KNOWN), "{:?}", heard.values().max());
}

#[test]
fn who_was_told_of_a_peer_hears_that_it_is_gone() {
    let mut registry = registry();
    let mut knows: BTreeMap<PeerId, BTreeSet<PeerId>> = BTreeMap::new();
    for n in 0..300 {
        let told = join(&mut registry, n, if n % 7 == 0 { Seeder } else { Downloader });
        knows.insert(peer(n), ids(&told.sample));
        for push in told.pushes {
            knows.get_mut(&push.to).unwrap().extend(ids(&push.joined));
        }
    }
    for n in 0..290 {
        knows.remove(&peer(n));
        for push in registry.leave(peer(n)) {
            let known = knows.get_mut(&push.to).unwrap();
            known.extend(ids(&push.joined));
            push.gone.iter().for_each(|gone| assert!(known.remove(gone), "told of a stranger's end"));
        }
        assert!(knows.values().all(|known| !known.contains(&peer(n))), "someone believes that {n} is still there");
    }
    check(&registry);
    // Those who are left have been introduced to each other meanwhile.
    assert!(knows.values().all(|known| known.len() >= FEWEST_KNOWN.min(8)), "{knows:?}");
}

#[test]
fn a_full_swarm_still_opens_to_a_newcomer() {
    let mut registry = registry();
    for n in 0..=MOST_KNOWN as u32 {
        join(&mut registry, n, Downloader);
    }
    // Everyone knows everyone, so nobody has room.
    let slots: Vec<u32> = registry.index.values().copied().collect();
    for &slot in &slots {
        registry.member_mut(slot).known = slots.iter().copied().filter(|&other| other != slot).collect();
    }
    assert_eq!(join(&mut registry, 9999, Downloader).sample.len(), FEWEST_KNOWN);
    check(&registry);
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let play = |seed| {
        let mut registry = Registry::new(seed);
        let mut answers = Vec::new();
        for n in 0..600 {
            answers.push(join(&mut registry, n, if n % 5 == 0 { Seeder } else { Downloader }));
            if n % 3 == 0 {
                answers.push(Introductions { pushes: registry.leave(peer(n / 2)), ..Introductions::default() });
            }
        }
        answers
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}

#[test]
fn a_peer_that_moves_is_told_anew_to_those_who_know_it() {
    let mut registry = registry();
    join(&mut registry, 1, Seeder);
    join(&mut registry, 2, Downloader);
    let moved = registry.announce(peer(1), &at(address(77)), Seeder, None);
    let joined = vec![PeerAddress { id: peer(1), addresses: vec![address(77)] }];
    assert_eq!(moved.pushes, [Push { to: peer(2), joined, gone: vec![] }]);
    assert_eq!(registry.len(), 1 + 1);
}

#[test]
fn a_second_address_is_told_to_those_who_know_the_peer_and_to_newcomers() {
    let mut registry = registry();
    let second = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9000));
    let both = Arc::new(at(address(1)).also_seen(second.ip(), None, &[second]));
    assert_eq!(registry.readdress(peer(1), &both), [], "it takes no part");
    join(&mut registry, 1, Seeder);
    join(&mut registry, 2, Downloader);
    let joined = vec![PeerAddress { id: peer(1), addresses: vec![address(1), second] }];
    assert_eq!(registry.readdress(peer(1), &both), [Push { to: peer(2), joined: joined.clone(), gone: vec![] }]);
    assert_eq!(registry.readdress(peer(1), &both), [], "that is no news");
    assert_eq!(join(&mut registry, 3, Downloader).sample.iter().find(|told| told.id == peer(1)), joined.first());
    // What it announces with the addresses that it has changes nothing of them.
    assert_eq!(registry.announce(peer(1), &both, Seeder, None).pushes, []);
    let once = registry.readdress(peer(1), &Arc::new(both.seen_once()));
    assert!(once.iter().all(|push| push.joined[0].addresses == [address(1)]) && once.len() == 2, "{once:?}");
    check(&registry);
}

#[test]
fn five_hundred_peers_behind_one_address_take_part() {
    for ip in [[10, 0, 0, 1], [127, 0, 0, 1]] {
        let mut registry = registry();
        for n in 0..500 {
            let found = registry.announce(peer(n), &at(SocketAddr::from((ip, 9000))), Downloader, None);
            assert!(n < 8 || found.sample.len() >= FEWEST_KNOWN, "{n}: {}", found.sample.len());
        }
        assert_eq!(registry.len(), 500);
        check(&registry);
    }
}

/// Ten thousand, from one address and from all addresses of a network: more than a draw looks at.
#[test]
fn ten_thousand_ids_of_one_network_hide_nobody() {
    for role in [Seeder, Downloader] {
        for addresses in [1, 254] {
            let mut registry = registry();
            for n in 0..10_000 {
                registry.announce(peer(n), &at(address(256 + n % addresses)), role, None);
            }
            (20_000..20_003).for_each(|n| drop(join(&mut registry, n, Seeder)));
            let sample = ids(&join(&mut registry, 30_000, Downloader).sample);
            assert!((20_000..20_003).all(|n| sample.contains(&peer(n))), "among {addresses} with a role as {role:?}");
            assert_eq!(sample.len(), SAMPLE, "where nobody else is, a crowd is as good as any");
            check(&registry);
        }
    }
}

#[test]
fn a_name_stays_while_someone_who_gives_it_takes_part() {
    let mut registry = registry();
    let mut say = |n, name: &str| {
        registry.announce(peer(n), &at(address(n)), Seeder, Some((name.to_owned(), 5)));
        registry.about().map(|(name, size)| (name.to_owned(), size))
    };
    assert_eq!(say(1, "../evil"), None);
    for id_like in ["ab".repeat(32), "AB".repeat(32), "ababab".to_owned(), format!("p2paeb{}", "a".repeat(120))] {
        assert_eq!(say(1, &id_like), None, "{id_like} is no name");
    }
    assert_eq!(say(2, "model.bin"), Some(("model.bin".to_owned(), 5)));
    assert_eq!(say(3, "other"), Some(("model.bin".to_owned(), 5)));
    assert_eq!(registry.about_as("other"), Some(("other", 5)), "it is found by either");
    registry.leave(peer(2));
    assert_eq!(registry.about(), Some(("other", 5)));
    assert_eq!(registry.about_as("model.bin"), None);
    registry.leave(peer(3));
    assert_eq!((registry.about(), registry.claims().len()), (None, 0));
}

/// A stranger that announces an id first under a name of its own.
#[test]
fn a_first_claim_yields_to_what_seeders_of_more_networks_say() {
    let mut registry = registry();
    let mut say = |n: u32, name: &str| {
        registry.announce(peer(n), &at(address(n * 256)), Seeder, Some((name.to_owned(), 5)));
        registry.about().map(|(name, _)| name.to_owned()).unwrap()
    };
    assert_eq!(say(1, "evil"), "evil");
    assert_eq!(say(2, "model.bin"), "evil", "as many say so");
    assert_eq!(say(3, "model.bin"), "model.bin");
    let claims: Vec<_> = registry.claims().into_iter().map(|(claim, spread)| (claim.name.clone(), spread)).collect();
    assert_eq!(claims, [("evil".to_owned(), 1), ("model.bin".to_owned(), 2)]);
    // A peer that says so again, or thinks better of it, is counted once.
    (0..3).for_each(|_| drop(registry.announce(peer(1), &at(address(256)), Seeder, Some(("model.bin".to_owned(), 5)))));
    assert_eq!(registry.claims().len(), 1);
    (1..4).for_each(|n| drop(registry.leave(peer(n))));
    assert_eq!(registry.claims().len(), 0);
}

/// Any sequence of announcements and leaves: nobody hears of itself, of strangers, or of too many, and the books agree.
#[test]
fn whatever_members_do_the_books_agree() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut registry = Registry::new(seed);
        let mut members = BTreeMap::new();
        for _ in 0..400 {
            let (n, role) = (random.u32(..90), [Seeder, Partial, Downloader][random.usize(..3)]);
            let pushes = if random.u8(..3) == 0 {
                assert_eq!(registry.contains(peer(n)), members.remove(&peer(n)).is_some(), "seed {seed}");
                registry.leave(peer(n))
            } else {
                let from = address(random.u32(..20));
                let found = registry.announce(peer(n), &at(from), role, None);
                members.insert(peer(n), role);
                let told = ids(&found.sample);
                assert!(found.sample.len() <= SAMPLE && told.len() == found.sample.len(), "seed {seed}");
                assert!(!told.contains(&peer(n)) && told.iter().all(|id| members.contains_key(id)), "seed {seed}");
                found.pushes
            };
            for push in pushes {
                assert!(members.contains_key(&push.to), "seed {seed}: {push:?}");
                assert!(ids(&push.joined).iter().all(|id| *id != push.to && members.contains_key(id)), "seed {seed}");
                assert!(push.gone.iter().all(|id| !ids(&push.joined).contains(id)), "seed {seed}: {push:?}");
            }
            check(&registry);
            let seeders = members.values().filter(|role| **role == Seeder).count() as u32;
            assert_eq!((registry.len(), registry.seeders()), (members.len(), seeders), "seed {seed}");
        }
    }
}

#[test]
fn what_a_content_is_called_is_looked_at_only_after_news_of_it() {
    let mut registry = registry();
    let mut say =
        |role, name: &str| registry.announce(peer(1), &at(address(1)), role, Some((name.to_owned(), 5))).renamed;
    assert!(say(Downloader, "a"));
    assert!(!say(Downloader, "a") && !say(Downloader, "a"));
    assert!(say(Seeder, "a"));
    assert!(say(Seeder, "b") && !say(Seeder, "b"));
}
