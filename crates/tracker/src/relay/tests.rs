//! Who may have what carried, and which legs are coupled.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::*;

fn peer(number: u32) -> PeerId {
    PeerId::of_public_key(&number.to_le_bytes())
}

fn content() -> ContentId {
    ContentId(protocol::Digest([7; 32]))
}

fn party(number: u32) -> Party {
    let address = SocketAddr::from(((0x0a00_0000 + number).to_be_bytes(), 9000));
    Party { peer: peer(number), address, takes_legs: true, outbox: Arc::default() }
}

fn ask(relay: &Relay, asker: Party, other: Party) -> Result<Carried, String> {
    relay.ask(Some((asker, other)), content())
}

/// A leg with this key, and the peer's end of it.
async fn leg(key: LegKey) -> (TcpStream, Leg) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialling = TcpStream::connect(listener.local_addr().unwrap());
    let (dialled, accepted) = tokio::join!(dialling, listener.accept());
    let (socket, from) = accepted.unwrap();
    (dialled.unwrap(), Leg { key, socket, from, thread: Handle::current() })
}

async fn is_closed(socket: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut [0; 8])).await;
    matches!(read.expect("it is closed"), Ok(0) | Err(_))
}

#[tokio::test]
async fn strangers_and_peers_that_open_no_legs_are_refused_with_a_sentence() {
    let relay = Relay::new(RelayLimits::default());
    assert_eq!(relay.ask(None, content()).unwrap_err(), STRANGER);
    let old = Party { takes_legs: false, ..party(2) };
    assert_eq!(ask(&relay, party(1), old).unwrap_err(), NO_LEGS);
    assert_eq!(ask(&relay, party(1), party(2)).unwrap().address, party(2).address);
    assert_eq!(relay.connections(), 1);
}

#[tokio::test]
async fn connections_are_counted_for_a_peer_for_an_address_and_in_all() {
    let limits = RelayLimits { connections: 6, a_peer: 2, an_address: 4, ..RelayLimits::default() };
    let relay = Relay::new(limits);
    let at_one = |number| Party { address: party(1).address, ..party(number) };
    for other in [10, 11] {
        ask(&relay, at_one(1), party(other)).unwrap();
    }
    assert!(ask(&relay, at_one(1), party(12)).unwrap_err().contains("for one peer"));
    ask(&relay, at_one(1), party(11)).expect("instead of the one that it had");
    for other in [10, 11] {
        ask(&relay, at_one(2), party(other)).unwrap();
    }
    assert!(ask(&relay, at_one(3), party(10)).unwrap_err().contains("for one address"));
    for other in [10, 11] {
        ask(&relay, party(4), party(other)).unwrap();
    }
    assert!(ask(&relay, party(5), party(10)).unwrap_err().contains("at once"), "all of them are of its own network");
    assert_eq!(relay.connections(), 6);
}

/// A peer in a network of its own.
fn elsewhere(number: u32) -> Party {
    Party { address: SocketAddr::from(((0x0b00_0001 + (number << 8)).to_be_bytes(), 9000)), ..party(number) }
}

#[tokio::test]
async fn many_addresses_of_one_network_leave_room_for_those_of_others() {
    let relay = Relay::new(RelayLimits::default());
    let most = RelayLimits::default().connections as u32;
    for number in 1000..1000 + most {
        ask(&relay, party(number % 250), party(number)).unwrap();
    }
    for number in 1..=100 {
        ask(&relay, elsewhere(number), party(900)).expect("one of those makes room");
    }
    assert_eq!(relay.connections(), most as usize);
    let kept = |books: &Books| {
        let standing = books.carriages.values().map(|entry| entry.carriage.origin.network);
        standing.filter(|network| *network != AddressOrigin::of([10, 0, 0, 1].into()).network).count()
    };
    assert_eq!(kept(&relay.books()), 100, "nobody's is taken who has few");
    // What is asked for again and again takes nothing with it.
    let expected = relay.books().expected.len();
    assert_eq!(expected, most as usize * AHEAD as usize);
    for _ in 0..10 {
        ask(&relay, elsewhere(1), party(900)).unwrap();
    }
    assert_eq!(relay.books().expected.len(), expected);
}

#[tokio::test]
async fn peers_of_one_address_have_half_of_all_legs() {
    let mut relay = Relay::new(RelayLimits::default());
    relay.most_legs = 64;
    let mut places = Vec::new();
    for number in 0..2 {
        for other in 100..110 {
            ask(&relay, Party { address: party(1).address, ..party(number) }, party(other)).unwrap();
        }
    }
    ask(&relay, elsewhere(7), party(100)).unwrap();
    let carriages: Vec<_> = relay.books().carriages.values().map(|entry| entry.carriage.clone()).collect();
    for carriage in &carriages {
        places.extend((0..LEGS).map_while(|_| LegPlace::take(carriage, &relay.legs, relay.most_legs)));
    }
    let of = |number: usize| carriages[number].legs_of_address.load(Ordering::Relaxed);
    assert_eq!((of(0), of(20)), (32, 32));
    drop(places);
    assert_eq!((of(0), of(20), relay.legs.load(Ordering::Relaxed)), (0, 0, 0));
    relay.books().forget(|_| true);
    drop(carriages);
    relay.sweep(|_, _, _| None);
    assert!(relay.books().legs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_is_forgotten_and_absent_peers_are_cut() {
    let relay = Relay::new(RelayLimits::default());
    let here = |asker, other, _| Some((Party { peer: asker, ..party(1) }, Party { peer: other, ..party(2) }));
    ask(&relay, party(1), party(2)).unwrap();
    tokio::time::advance(UNUSED / 2).await;
    relay.sweep(here);
    assert_eq!(relay.connections(), 1);
    tokio::time::advance(UNUSED).await;
    relay.sweep(here);
    assert_eq!(relay.connections(), 0, "it has no legs");
    assert!(relay.books().expected.is_empty());
    ask(&relay, party(1), party(2)).unwrap();
    let (leg, ended) = {
        let books = relay.books();
        let carriage = &books.carriages.values().next().unwrap().carriage;
        (LegPlace::take(carriage, &relay.legs, relay.most_legs), carriage.ended.subscribe())
    };
    tokio::time::advance(UNUSED * 2).await;
    relay.sweep(here);
    assert_eq!(relay.connections(), 1, "it has a leg");
    for _ in 0..2 {
        tokio::time::advance(UNUSED).await;
        relay.sweep(|_, _, _| None);
    }
    assert!(relay.connections() == 0 && *ended.borrow());
    drop(leg);
    assert_eq!(relay.legs.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn both_legs_are_coupled_and_each_key_counts_once() {
    let relay = Relay::new(RelayLimits::default());
    let (asker, other) = (party(1), party(2));
    let outbox = other.outbox.clone();
    let here = |_, _, _| Some((party(1), Party { outbox: outbox.clone(), ..party(2) }));
    let key = ask(&relay, asker, other).unwrap().key;
    for number in [0, 5, 1, AHEAD, AHEAD + 1] {
        let (mut one, first) = leg(key.leg(number)).await;
        relay.leg_came(first, here);
        let Some(TrackerEvent::Leg { from, address, key: told }) = outbox.take_said() else { panic!("{number}") };
        assert_eq!((from, address), (peer(1), party(1).address));
        let (mut two, second) = leg(told).await;
        relay.leg_came(second, here);
        one.write_all(b"to the other").await.unwrap();
        let mut came = [0; 12];
        two.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"to the other");
        // The key of a leg that was used, of either side, opens nothing.
        for used in [key.leg(number), told] {
            let (mut replayed, again) = leg(used).await;
            relay.leg_came(again, here);
            assert!(is_closed(&mut replayed).await && outbox.take_said().is_none());
        }
    }
    let (mut far, ahead) = leg(key.leg(3 * AHEAD)).await;
    relay.leg_came(ahead, here);
    assert!(is_closed(&mut far).await);
}

#[tokio::test]
async fn a_leg_of_peers_that_have_left_the_content_is_cut() {
    let relay = Relay::new(RelayLimits::default());
    let key = ask(&relay, party(1), party(2)).unwrap().key;
    let (mut one, first) = leg(key.leg(0)).await;
    relay.leg_came(first, |_, _, _| None);
    assert!(is_closed(&mut one).await);
}

#[tokio::test]
async fn a_peer_that_has_spent_its_bytes_is_cut_and_told_so() {
    let limits = RelayLimits::default().bytes(Some(1 << 20));
    let relay = Relay::new(limits);
    let other = party(2);
    let outbox = other.outbox.clone();
    let here = |_, _, _| Some((party(1), Party { outbox: outbox.clone(), ..party(2) }));
    let key = ask(&relay, party(1), other).unwrap().key;
    let (mut one, first) = leg(key.leg(0)).await;
    relay.leg_came(first, here);
    let Some(TrackerEvent::Leg { key: told, .. }) = outbox.take_said() else { panic!() };
    let (mut two, second) = leg(told).await;
    relay.leg_came(second, here);
    // What the other side sends is at the expense of both.
    let sending = tokio::spawn(async move {
        let chunk = vec![1; 64 << 10];
        while two.write_all(&chunk).await.is_ok() {}
    });
    let mut came = 0;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = one.read(&mut buffer).await {
        came += count;
    }
    sending.await.unwrap();
    assert!((1 << 20..=(1 << 20) + BUFFERED).contains(&came), "{came}");
    assert!(ask(&relay, party(1), party(3)).unwrap_err().starts_with("your daily limit"));
    assert!(ask(&relay, party(4), party(2)).unwrap_err().starts_with("that peer's daily limit"));
    assert!(ask(&relay, party(4), party(3)).is_ok());
}

/// The cap is looked at before each buffer.
const BUFFERED: usize = 64 << 10;
