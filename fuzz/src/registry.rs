//! A tracker's registry, told anything by anyone.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::{PeerId, Role};
use swarm::{Addresses, MOST_KNOWN, Push, Registry, SAMPLE};

use crate::input::Input;

fn peer(number: usize) -> PeerId {
    PeerId::of_public_key(&[number as u8])
}

fn address(input: &mut Input) -> SocketAddr {
    let (kind, host, port) = (input.below(6), input.byte(), u16::from(input.byte()) << 8 | 80);
    let ip: std::net::IpAddr = match kind {
        0 => [127, 0, 0, host].into(),
        1 => [10, 0, 0, host].into(),
        2 => [93, 184, 216, host].into(),
        3 => [0, 0, 0, 0].into(),
        4 => [0x2001, 0xdb8, 0, u16::from(host), 0, 0, 0, 1].into(),
        _ => [0, 0, 0, 0, 0, 0, 0, u16::from(host) % 2].into(),
    };
    SocketAddr::new(ip, port)
}

/// Members hear of members, never of themselves, of few enough, and never of someone else's loopback addresses.
pub fn registry(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut registry = Registry::new(u64::from(input.byte()));
    let mut members: BTreeSet<PeerId> = BTreeSet::new();
    let mut from = std::collections::BTreeMap::new();
    while !input.is_empty() {
        let who = peer(input.below(32));
        let pushes = if input.below(4) == 0 {
            assert_eq!(registry.contains(who), members.remove(&who));
            registry.leave(who)
        } else {
            let came_from = address(&mut input);
            let listeners: Vec<_> = (0..input.below(5)).map(|_| address(&mut input)).collect();
            let role = [Role::Seeder, Role::Partial, Role::Downloader][input.below(3)];
            let about = input.flag().then(|| (String::from_utf8_lossy(&[input.byte(); 3]).into_owned(), 5));
            let addresses =
                Arc::new(Addresses::new(came_from.ip(), input.flag().then(|| came_from.port()), &listeners));
            let introductions = registry.announce(who, &addresses, role, about);
            members.insert(who);
            from.insert(who, came_from);
            assert!(introductions.sample.len() <= SAMPLE);
            for told in &introductions.sample {
                assert!(told.id != who && members.contains(&told.id) && !told.addresses.is_empty());
                let near = |id| from.get(&id).is_some_and(|from: &SocketAddr| from.ip().is_loopback());
                let loopback = told.addresses.iter().any(|address| address.ip().is_loopback());
                assert!(!loopback || (near(who) && near(told.id)), "{told:?} to {came_from}");
                // Nobody is pointed at a network that the tracker has not seen the other in.
                let (own, theirs) = (came_from.ip(), from[&told.id].ip());
                let private = |ip: std::net::IpAddr| matches!(ip, std::net::IpAddr::V4(ip) if ip.is_private());
                let elsewhere = told.addresses.iter().any(|address| private(address.ip()) && address.ip() != theirs);
                assert!(!elsewhere || own == theirs || theirs.is_loopback(), "{told:?} to {came_from}");
            }
            introductions.pushes
        };
        for Push { to, joined, gone } in pushes {
            assert!(members.contains(&to) && joined.len() + gone.len() <= MOST_KNOWN);
            assert!(joined.iter().all(|told| told.id != to && members.contains(&told.id)));
            assert!(gone.iter().all(|gone| *gone != to && joined.iter().all(|told| told.id != *gone)));
        }
        assert_eq!(registry.len(), members.len());
        assert_eq!(registry.seeders() + registry.others(), members.len() as u32);
    }
}
