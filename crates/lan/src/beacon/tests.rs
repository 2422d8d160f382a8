//! What beacons say to each other, with the time and the network in the test's hands.

use protocol::{ContentId, Digest, Secret};

use super::*;
use crate::key::SEALED;

const SECOND: Duration = Duration::from_secs(1);

fn key(byte: u8) -> ContentKey {
    ContentKey::new(&ContentId(Digest([byte; 32])).lan_key())
}

fn address(machine: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, machine], 9779))
}

fn peer(machine: u8) -> PeerId {
    PeerId::of_public_key(&[machine])
}

fn beacon(seed: u64) -> Beacon {
    let mut random = fastrand::Rng::with_seed(seed);
    Beacon::new(Box::new(move |bytes| random.fill(bytes)))
}

/// A machine that takes part in contents, and what it has met.
struct Machine {
    number: u8,
    beacon: Beacon,
    met: mpsc::Receiver<Holder>,
    sent: usize,
}

impl Machine {
    fn new(number: u8) -> Self {
        let (met, receiver) = mpsc::channel(256);
        let mut beacon = beacon(u64::from(number));
        beacon.node(peer(number), 9000 + u16::from(number), met);
        Machine { number, beacon, met: receiver, sent: 0 }
    }

    fn met(&mut self) -> Vec<SocketAddr> {
        std::iter::from_fn(|| self.met.try_recv().ok()).map(|holder| holder.address).collect()
    }
}

/// Lets everything happen that is due until then. Everyone hears everything at once.
fn run(machines: &mut [Machine], from: Duration, until: Duration) {
    let mut now = from;
    loop {
        loop {
            let mut said = Vec::new();
            for machine in machines.iter_mut() {
                let packets = machine.beacon.packets(now);
                machine.sent += packets.len();
                said.extend(packets.into_iter().map(|packet| (packet, machine.number)));
            }
            if said.is_empty() {
                break;
            }
            for machine in machines.iter_mut() {
                for (packet, number) in &said {
                    machine.beacon.heard(now, packet, address(*number));
                }
            }
        }
        match machines.iter().filter_map(|machine| machine.beacon.next(now)).min() {
            Some(next) if next < until => now = next.max(now + Duration::from_millis(1)),
            _ => return,
        }
    }
}

#[test]
fn who_wants_a_content_meets_who_has_it_within_half_a_second() {
    let mut machines = [Machine::new(1), Machine::new(2), Machine::new(3)];
    machines[0].beacon.take_part(Duration::ZERO, &key(1), false);
    machines[2].beacon.take_part(Duration::ZERO, &key(2), false);
    run(&mut machines, Duration::ZERO, SECOND * 10);
    machines[1].beacon.take_part(SECOND * 10, &key(1), true);
    run(&mut machines, SECOND * 10, SECOND * 10 + Duration::from_millis(500));
    assert_eq!(machines[1].met(), [SocketAddr::from(([10, 0, 0, 1], 9001))]);
    assert_eq!(machines[0].met(), []);
    // And who comes later says so without being asked.
    machines[2].beacon.take_part(SECOND * 11, &key(1), true);
    run(&mut machines, SECOND * 11, SECOND * 11 + Duration::from_millis(100));
    assert_eq!(machines[1].met(), [SocketAddr::from(([10, 0, 0, 3], 9003))]);
}

#[test]
fn an_idle_sharer_is_silent_and_who_waits_asks_once_a_minute() {
    let mut machines = [Machine::new(1), Machine::new(2)];
    for content in 0..10 {
        machines[0].beacon.take_part(Duration::ZERO, &key(content), false);
    }
    machines[1].beacon.take_part(Duration::ZERO, &key(99), true);
    run(&mut machines, Duration::ZERO, SECOND * 120);
    assert_eq!(machines[0].sent, usize::from(ANNOUNCED), "ten contents are announced together");
    let before = machines[1].sent;
    run(&mut machines, SECOND * 120, SECOND * 720);
    assert_eq!(machines[0].sent, usize::from(ANNOUNCED));
    assert!((8..=13).contains(&(machines[1].sent - before)), "{}", machines[1].sent - before);
}

#[test]
fn where_many_have_the_same_a_few_answer() {
    let mut machines: Vec<_> = (1..=100).map(Machine::new).collect();
    machines[1..].iter_mut().for_each(|machine| machine.beacon.take_part(Duration::ZERO, &key(1), false));
    run(&mut machines, Duration::ZERO, SECOND * 10);
    let before: usize = machines.iter().map(|machine| machine.sent).sum();
    machines[0].beacon.take_part(SECOND * 10, &key(1), true);
    run(&mut machines, SECOND * 10, SECOND * 10 + Duration::from_millis(250));
    let said = machines.iter().map(|machine| machine.sent).sum::<usize>() - before;
    let met = machines[0].met().len();
    assert!((ENOUGH..=40).contains(&met), "{met}");
    assert!(said <= 45, "{said}");
}

#[test]
fn a_holder_is_found_by_key_alone_with_its_tracker() {
    let secret = ContentKey::new(&Secret::new([7; 16]).share_key().lan_key());
    let mut machines = [Machine::new(1), Machine::new(2)];
    machines[0].beacon.own_tracker(9999);
    machines[0].beacon.take_part(Duration::ZERO, &secret, false);
    let (found, mut receiver) = mpsc::channel(4);
    machines[1].beacon.holders(Duration::ZERO, &secret, found);
    run(&mut machines, Duration::ZERO, SECOND);
    let holder = receiver.try_recv().unwrap();
    assert_eq!((holder.peer, holder.tracker), (peer(1), Some(SocketAddr::from(([10, 0, 0, 1], 9999)))));
    // Nobody looks any more.
    drop(receiver);
    machines[1].sent = 0;
    run(&mut machines, SECOND, SECOND * 600);
    assert_eq!(machines[1].sent, 0);
}

#[test]
fn trackers_answer_for_what_they_offer() {
    let mut machines = [Machine::new(1), Machine::new(2), Machine::new(3)];
    machines[0].beacon.offer(Offers { port: 9999, open: true, codes: false });
    machines[1].beacon.offer(Offers { port: 9998, open: false, codes: true });
    for (wanted, expected) in [(Wanted::Open, "10.0.0.1:9999"), (Wanted::Codes, "10.0.0.2:9998")] {
        let (found, mut receiver) = mpsc::channel(4);
        machines[2].beacon.trackers(Duration::ZERO, wanted, found);
        run(&mut machines, Duration::ZERO, SECOND * 5);
        assert_eq!(receiver.try_recv().unwrap().address, expected.parse().unwrap());
        assert!(receiver.try_recv().is_err(), "once");
    }
    machines[0].beacon.offer(Offers::default());
    let (found, mut receiver) = mpsc::channel(4);
    machines[2].beacon.trackers(SECOND * 5, Wanted::Open, found);
    run(&mut machines, SECOND * 5, SECOND * 10);
    assert!(receiver.try_recv().is_err());
}

#[test]
fn nothing_of_a_content_is_twice_the_same_on_the_wire() {
    let mut machines = [Machine::new(1), Machine::new(2)];
    machines[0].beacon.take_part(Duration::ZERO, &key(1), false);
    machines[1].beacon.take_part(Duration::ZERO, &key(1), true);
    let mut said: Vec<Vec<u8>> = Vec::new();
    for millis in 0..20_000 {
        let now = Duration::from_millis(millis);
        let packets: Vec<_> = machines.iter_mut().flat_map(|machine| machine.beacon.packets(now)).collect();
        for (packet, machine) in packets.iter().flat_map(|packet| [(packet, 0), (packet, 1)]) {
            machines[machine].beacon.heard(now, packet, address(9));
        }
        said.extend(packets);
    }
    assert!(said.len() > 8);
    let (id, name) = (Digest([1; 32]), peer(1));
    for (number, packet) in said.iter().enumerate() {
        // Behind the mark, the kind and the label of the process everything is new.
        let windows: BTreeSet<_> =
            packet[14..].windows(6).filter(|window| window.iter().any(|byte| *byte != 0)).collect();
        for other in &said[..number] {
            assert!(!other[14..].windows(6).any(|window| windows.contains(window)));
        }
        for secret in [&id.0[..4], &name.0.0[..4]] {
            assert!(!packet.windows(4).any(|window| window == secret));
        }
    }
}

/// Somebody who knows an open content makes up peers for it.
fn forged(content: &ContentKey, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut salt = Salt::default();
    random.fill(&mut salt);
    let card = Card { peer: PeerId::of_public_key(&random.u64(..).to_be_bytes()), port: random.u16(1..), tracker: 0 };
    let record = Record { tag: content.tag(Use::Answer, &salt), sealed: content.seal(&salt, &card) };
    let trackers = Trackers { open: true, codes: true };
    let body = Body::Answer { port: random.u16(1..), records: vec![record; MOST] };
    Packet { label: random.u64(..), salt, trackers, body }.encode()
}

#[test]
fn made_up_peers_lead_to_few_dials_and_fill_nothing() {
    let mut machine = Machine::new(1);
    machine.beacon.take_part(Duration::ZERO, &key(1), true);
    let (found, mut trackers) = mpsc::channel(1000);
    machine.beacon.trackers(Duration::ZERO, Wanted::Open, found);
    let mut random = fastrand::Rng::with_seed(1);
    let mut dials = 0;
    for second in 0..30 {
        for number in 0..300u32 {
            let now = SECOND * second + Duration::from_millis(u64::from(number) * 3);
            let from = SocketAddr::from(([10, 1, (number / 5) as u8, second as u8], 9779));
            machine.beacon.heard(now, &forged(&key(1), &mut random), from);
            machine.beacon.heard(now, &forged(&key(2), &mut random), from);
        }
        dials += machine.met().len();
    }
    assert!(dials <= 16 + 4 * 30, "{dials}");
    let found = std::iter::from_fn(|| trackers.try_recv().ok()).count();
    assert!(found <= FOUND * ADDRESSES, "{found}");
}

#[test]
fn a_flood_of_questions_is_answered_a_few_times_a_second() {
    let mut machine = Machine::new(1);
    machine.beacon.take_part(Duration::ZERO, &key(1), false);
    machine.beacon.offer(Offers { port: 9999, open: true, codes: true });
    let mut asking = beacon(7);
    let mut random = fastrand::Rng::with_seed(2);
    let mut sent = 0;
    for millis in 0..10_000 {
        let now = Duration::from_millis(millis);
        let mut salt = Salt::default();
        random.fill(&mut salt);
        let mut tags: Vec<_> = (0..MOST).map(|_| std::array::from_fn(|_| random.u8(..))).collect();
        tags[0] = key(1).tag(Use::Question, &salt);
        let trackers = Trackers { open: true, codes: true };
        let packet = Packet { label: asking.label, salt, trackers, body: Body::Question { tags } };
        machine.beacon.heard(now, &packet.encode(), address(2));
        sent += machine.beacon.packets(now).len();
    }
    assert!(sent <= 90, "{sent}");
    assert!(asking.packets(Duration::ZERO).is_empty());
}

#[test]
fn contents_and_searches_are_bounded() {
    let mut machine = Machine::new(1);
    for number in 0..2 * MOST_CONTENTS as u32 {
        let key = ContentKey::new(&integrity::Key::derive("test", &number.to_be_bytes()));
        machine.beacon.take_part(Duration::ZERO, &key, true);
    }
    assert_eq!(machine.beacon.parts.len(), MOST_CONTENTS);
    assert_eq!(machine.beacon.parts.values().filter(|part| part.wants.is_some()).count(), MOST_WANTED);
    let mut receivers = Vec::new();
    for _ in 0..2 * MOST_SEARCHES {
        let (found, receiver) = mpsc::channel(1);
        machine.beacon.trackers(Duration::ZERO, Wanted::Open, found);
        receivers.push(receiver);
    }
    assert_eq!(machine.beacon.searches.len(), MOST_SEARCHES);
    // However much is due, little is sent.
    let mut sent = 0;
    for millis in 0..5000 {
        sent += machine.beacon.packets(Duration::from_millis(millis)).len();
    }
    assert!(sent <= BURST as usize + 5 * PACKETS as usize, "{sent}");
}

#[test]
fn the_own_packets_and_the_own_peer_are_nobody() {
    let mut machine = Machine::new(1);
    machine.beacon.take_part(Duration::ZERO, &key(1), true);
    let packets = machine.beacon.packets(Duration::ZERO);
    assert!(!packets.is_empty());
    for packet in &packets {
        machine.beacon.heard(Duration::ZERO, packet, address(1));
    }
    assert_eq!(machine.met(), []);
    // Repeated by another, as its own.
    let salt = [3; 12];
    let card = Card { peer: peer(1), port: 1, tracker: 0 };
    let record = Record { tag: key(1).tag(Use::Answer, &salt), sealed: [0; SEALED] };
    let own = Record { sealed: key(1).seal(&salt, &card), ..record.clone() };
    for records in [vec![record], vec![own]] {
        let packet = Packet { label: 1, salt, trackers: Trackers::default(), body: Body::Answer { port: 0, records } };
        machine.beacon.heard(Duration::ZERO, &packet.encode(), address(2));
        assert_eq!(machine.met(), []);
    }
}

#[test]
fn in_another_network_everything_is_asked_and_said_anew() {
    let mut machines = [Machine::new(1), Machine::new(2)];
    machines[0].beacon.take_part(Duration::ZERO, &key(1), false);
    // Nobody is there.
    run(&mut machines[..1], Duration::ZERO, SECOND * 100);
    machines[1].beacon.take_part(Duration::ZERO, &key(1), true);
    run(&mut machines[1..], Duration::ZERO, SECOND * 100);
    assert_eq!(machines[1].met(), []);
    machines[1].beacon.moved(SECOND * 100);
    run(&mut machines, SECOND * 100, SECOND * 101);
    assert_eq!(machines[1].met().len(), 1);
}

#[test]
fn the_address_is_the_one_that_the_packet_came_from() {
    let at = |from: &str| super::at(from.parse().unwrap(), 9000).to_string();
    assert_eq!(at("10.0.0.1:9779"), "10.0.0.1:9000");
    assert_eq!(at("[::ffff:10.0.0.1]:9779"), "10.0.0.1:9000");
    assert_eq!(at("[fe80::1%3]:9779"), "[fe80::1%3]:9000");
}

#[test]
fn a_question_that_somebody_repeats_is_answered_once() {
    let mut machines = [Machine::new(1), Machine::new(2)];
    machines[0].beacon.take_part(Duration::ZERO, &key(1), false);
    run(&mut machines, Duration::ZERO, SECOND * 10);
    machines[1].beacon.take_part(SECOND * 10, &key(1), true);
    let questions = machines[1].beacon.packets(SECOND * 10);
    let holder = &mut machines[0];
    holder.sent = 0;
    // From anywhere, and at any time.
    for (machine, second) in [(2, 10), (2, 11), (3, 12), (2, 700), (4, 100_000)] {
        for question in &questions {
            holder.beacon.heard(SECOND * second, question, address(machine));
        }
        run(std::slice::from_mut(holder), SECOND * second, SECOND * (second + 1));
    }
    assert_eq!(holder.sent, 1);
}

#[test]
fn answers_that_somebody_repeats_keep_nobody_from_answering() {
    let count = ENOUGH as u8 + 4;
    let mut machines: Vec<_> = (1..=count).map(Machine::new).collect();
    machines[1..].iter_mut().for_each(|machine| machine.beacon.take_part(Duration::ZERO, &key(1), false));
    // What all say at first, two answers each.
    let mut answers = Vec::new();
    for second in 0..4 {
        let packets = machines.iter_mut().map(|machine| machine.beacon.packets(SECOND * second));
        let said: Vec<_> = packets.collect();
        for machine in &mut machines {
            for (packet, number) in
                said.iter().zip(1..).flat_map(|(all, number)| all.iter().map(move |one| (one, number)))
            {
                machine.beacon.heard(SECOND * second, packet, address(number));
            }
        }
        answers.extend(said.into_iter().flatten());
    }
    assert!(answers.len() > ENOUGH);
    machines[0].beacon.take_part(SECOND * 10, &key(1), true);
    let questions = machines[0].beacon.packets(SECOND * 10);
    let holder = &mut machines[3];
    let repeated = answers.iter().map(|answer| (answer, address(99)));
    for (packet, from) in questions.iter().map(|question| (question, address(1))).chain(repeated) {
        holder.beacon.heard(SECOND * 10, packet, from);
    }
    run(&mut machines[3..4], SECOND * 10, SECOND * 11);
    assert_eq!(machines[3].sent, 1);
}

#[test]
fn one_that_answers_at_several_addresses_is_one_and_is_met_at_each() {
    let mut machines = [Machine::new(1), Machine::new(2)];
    machines[0].beacon.take_part(Duration::ZERO, &key(1), true);
    let mut random = fastrand::Rng::with_seed(3);
    let answer = forged(&key(1), &mut random);
    for (machine, millis) in [(5, 0), (6, 20), (5, 40), (7, 3000)] {
        machines[0].beacon.heard(Duration::from_millis(millis), &answer, address(machine));
    }
    let met: Vec<_> = machines[0].met().iter().map(SocketAddr::ip).collect();
    assert_eq!(met, [address(5).ip(), address(6).ip()]);
    let part = &machines[0].beacon.parts[&key(1).id()];
    assert_eq!(part.answer.heard.len(), 1);
}
