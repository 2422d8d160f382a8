//! Who holds the lease, whatever those say who want it.

use protocol::Digest;

use super::*;

const KEY: OriginKey = OriginKey(Digest([7; 32]));
const SIZE: u64 = 64 << 20;

fn content(number: u8) -> ContentId {
    ContentId(Digest([number; 32]))
}

/// Leases, their clock, and what each session takes.
#[derive(Default)]
struct World {
    leases: Leases,
    now: Duration,
    places: BTreeMap<u64, i64>,
}

impl World {
    /// Who is told what.
    fn told(&mut self, actions: Vec<LeaseAction>) -> Vec<(u64, LeaseEvent)> {
        let mut told = Vec::new();
        for action in actions {
            match action {
                LeaseAction::Tell { session, event } => told.push((session, event)),
                LeaseAction::Takes { session } => *self.places.entry(session).or_default() += 1,
                LeaseAction::Gives { session } => *self.places.entry(session).or_default() -= 1,
            }
        }
        told
    }

    fn say(&mut self, session: u64, request: LeaseRequest) -> Vec<(u64, LeaseEvent)> {
        let mut actions = Vec::new();
        // Those from 1,000 on are of another network each.
        let network = IpAddr::from(if session < 1000 { [10, 0, 0, 0] } else { [11, 0, (session - 1000) as u8, 0] });
        self.leases.handle(self.now, (session, network), request, &mut actions);
        self.told(actions)
    }

    fn claim(&mut self, session: u64) -> Vec<(u64, LeaseEvent)> {
        self.say(session, LeaseRequest::Claim { key: KEY, size: SIZE, wrong: vec![] })
    }

    fn end(&mut self, session: u64) -> Vec<(u64, LeaseEvent)> {
        let mut actions = Vec::new();
        self.leases.end(self.now, session, &mut actions);
        self.told(actions)
    }

    fn after(&mut self, time: Duration) -> Vec<(u64, LeaseEvent)> {
        self.now += time;
        let mut actions = Vec::new();
        self.leases.tick(self.now, &mut actions);
        self.told(actions)
    }
}

const GRANTED: LeaseEvent = LeaseEvent::Granted { key: KEY };
const HELD: LeaseEvent = LeaseEvent::Held { key: KEY };

fn published(number: u8) -> LeaseEvent {
    LeaseEvent::Published { key: KEY, content: content(number) }
}

#[test]
fn one_reads_and_all_others_hear_what_came_of_it() {
    let mut world = World::default();
    assert_eq!(world.claim(1), [(1, GRANTED)]);
    assert_eq!(world.claim(2), [(2, HELD)]);
    assert_eq!(world.claim(3), [(3, HELD)]);
    let told = world.say(1, LeaseRequest::Published { key: KEY, content: content(1) });
    assert_eq!(told, [(2, published(1)), (3, published(1))]);
    assert_eq!(world.claim(4), [(4, published(1))], "it is remembered while the publisher is here");
    assert_eq!(world.places, BTreeMap::from([(1, 1), (2, 0), (3, 0)]));
    world.end(1);
    assert!(world.leases.is_empty() && world.leases.awaited.is_empty() && world.leases.sessions.is_empty());
}

#[test]
fn the_next_in_line_reads_when_the_holder_dies() {
    let mut world = World::default();
    (1..=3).for_each(|session| drop(world.claim(session)));
    assert_eq!(world.end(1), [(2, GRANTED)]);
    assert_eq!(world.end(3), []);
    assert_eq!(world.end(2), []);
    assert!(world.leases.is_empty());
}

#[test]
fn failures_are_spread_out() {
    let mut world = World::default();
    (1..=5).for_each(|session| drop(world.claim(session)));
    let mut waits = Vec::new();
    for session in 1..=4 {
        assert_eq!(world.say(session, LeaseRequest::Release { key: KEY }), []);
        let began = world.now;
        let told = (0..100).find_map(|_| Some(world.after(Duration::from_millis(100))).filter(|told| !told.is_empty()));
        assert_eq!(told, Some(vec![(session + 1, GRANTED)]));
        waits.push((world.now - began).as_millis());
    }
    assert_eq!(waits, [500, 1000, 2000, 4000]);
}

#[test]
fn a_holder_that_makes_no_progress_is_passed_over_and_still_heard() {
    let mut world = World::default();
    world.claim(1);
    assert_eq!(world.after(SILENT * 10), [], "nobody waits");
    world.claim(2);
    assert_eq!(world.after(Duration::from_secs(1)), [(2, GRANTED)]);
    assert_eq!(world.after(SILENT * 2), [], "who was too slow is not given it again");
    let told = world.say(1, LeaseRequest::Published { key: KEY, content: content(1) });
    assert_eq!(told, [], "the second reads still");
    assert_eq!(world.claim(3), [(3, published(1))]);
}

#[test]
fn progress_must_be_made_and_come_to_an_end() {
    for (rate, most) in [(0, 30), (1 << 10, 31), (1 << 20, 95), (1 << 40, 32)] {
        let mut world = World::default();
        world.claim(1);
        world.claim(2);
        let lost = (1..4000).find(|&second: &u64| {
            world.say(1, LeaseRequest::Progress { key: KEY, bytes: second * rate });
            !world.after(Duration::from_secs(1)).is_empty()
        });
        assert!(lost.is_some_and(|lost| lost <= most), "{rate}: {lost:?}");
    }
    let mut world = World::default();
    world.claim(1);
    world.claim(2);
    for second in 1..=2000 {
        world.say(1, LeaseRequest::Progress { key: KEY, bytes: second * (33 << 10) });
        assert_eq!(world.after(Duration::from_secs(1)), [], "slow, and steady");
    }
}

#[test]
fn who_lies_about_the_size_takes_the_lease_from_nobody_where_others_wait() {
    let mut world = World::default();
    world.claim(1);
    world.claim(2);
    world.say(3, LeaseRequest::Claim { key: KEY, size: 1, wrong: vec![] });
    for second in 1..=100 {
        world.say(1, LeaseRequest::Progress { key: KEY, bytes: second << 20 >> 1 });
        assert_eq!(world.after(Duration::from_secs(1)), []);
    }
}

#[test]
fn a_wrong_content_costs_one_more_reading() {
    let mut world = World::default();
    (1..=4).for_each(|session| drop(world.claim(session)));
    world.say(1, LeaseRequest::Published { key: KEY, content: content(9) });
    let again = |world: &mut World, session| {
        world.say(session, LeaseRequest::Claim { key: KEY, size: SIZE, wrong: vec![content(9)] })
    };
    assert_eq!(again(&mut world, 2), [(2, GRANTED)]);
    assert_eq!(again(&mut world, 3), [(3, HELD)]);
    let told = world.say(2, LeaseRequest::Published { key: KEY, content: content(2) });
    assert_eq!(told, [(3, published(2))]);
    assert_eq!(again(&mut world, 4), [(4, published(2))]);
    assert_eq!(world.claim(5), [(5, published(2))], "the newest first");
}

#[test]
fn many_connections_of_one_network_hold_those_of_others_up_once() {
    let mut world = World::default();
    (1..=50).for_each(|session| drop(world.claim(session)));
    assert_eq!(world.claim(1001), [(1001, HELD)]);
    assert_eq!(world.after(SILENT), [(1001, GRANTED)], "the line of those who hold it for nothing comes after it");
    // They come again and again, and say that it failed.
    for session in 51..=60 {
        world.claim(session);
    }
    world.claim(1002);
    assert_eq!(world.end(1001), [(1002, GRANTED)]);
    assert_eq!(world.end(1002), [(2, GRANTED)], "and all of these, where nobody else waits");
}

#[test]
fn what_one_network_publishes_drives_out_and_hides_nothing_of_others() {
    let mut world = World::default();
    let claim = |world: &mut World, session, wrong: &[u8]| {
        let wrong = wrong.iter().copied().map(content).collect();
        world.say(session, LeaseRequest::Claim { key: KEY, size: SIZE, wrong })
    };
    claim(&mut world, 1001, &[]);
    world.say(1001, LeaseRequest::Published { key: KEY, content: content(1) });
    let mut said = vec![1];
    for lie in 100..150 {
        claim(&mut world, u64::from(lie), &said);
        world.say(lie.into(), LeaseRequest::Published { key: KEY, content: content(lie) });
        said.push(lie);
    }
    assert_eq!(world.leases.keys[&KEY].published.len(), MOST_CONTENTS);
    assert_eq!(claim(&mut world, 1002, &[]), [(1002, published(149))]);
    assert_eq!(claim(&mut world, 1002, &[149]), [(1002, published(1))], "one lie is enough to know the others");
}

#[test]
fn what_connections_have_is_bounded_and_counted() {
    let mut world = World::default();
    let key = |number: u64| OriginKey(Digest::of(&number.to_le_bytes()));
    let claim = |number| LeaseRequest::Claim { key: key(number), size: 1, wrong: vec![] };
    for number in 0..3000 {
        world.say(1, claim(number));
        world.say(1, LeaseRequest::Published { key: key(number), content: content(1) });
    }
    assert_eq!((world.places[&1], world.leases.len()), (MOST_KEYS as i64, MOST_KEYS));
    for number in 0..3000 {
        let (event, other) = (LeaseEvent::Refused { key: key(number + 9000) }, claim(number + 9000));
        assert_eq!(world.say(2, other).contains(&(2, event)), number >= MOST_KEYS as u64);
    }
    for session in 10..100 {
        world.say(session, LeaseRequest::Claim { key: KEY, size: 1, wrong: (0..90).map(content).collect() });
        world.say(session, LeaseRequest::Published { key: KEY, content: content(session as u8) });
    }
    assert_eq!(world.leases.keys[&KEY].published.len(), MOST_CONTENTS);
    (1..100).for_each(|session| drop(world.end(session)));
    assert!(world.leases.is_empty() && world.leases.sessions.is_empty() && world.leases.awaited.is_empty());
    assert!(world.places.values().all(|places| *places == 0));
}

#[test]
fn whatever_is_said_the_books_agree() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut world = World::default();
    for _ in 0..20_000 {
        let session = random.u64(..8);
        let key = OriginKey(Digest([random.u8(..3); 32]));
        let request = match random.u8(..8) {
            0..4 => LeaseRequest::Claim { key, size: 1, wrong: (0..random.u8(..3)).map(content).collect() },
            4 => LeaseRequest::Progress { key, bytes: random.u64(..9) },
            5 => LeaseRequest::Published { key, content: content(random.u8(..4)) },
            6 => LeaseRequest::Release { key },
            _ => {
                world.end(session);
                continue;
            }
        };
        world.say(session, request);
        world.after(Duration::from_millis(random.u64(..20_000)));
        for (session, places) in &world.places {
            let known = world.leases.sessions.get(session).map_or(0, |known| known.keys.len());
            assert_eq!(known as i64, *places);
        }
        for found in world.leases.keys.values() {
            assert!(!found.is_empty());
            let waits = found.line.iter().any(|waiting| !waiting.had_it);
            assert!(!waits || found.holder.is_some() || world.now < found.pause, "somebody reads, or is about to");
        }
    }
}
