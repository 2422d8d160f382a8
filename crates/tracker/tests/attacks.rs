//! Clients that want all the memory that a tracker has, beside others that want a file.

mod world;

use p2p_fileshare_tracker::{Pace, ServerConfig};
use protocol::{
    Announce, ContentId, Digest, LeaseEvent, LeaseRequest, OriginKey, Role, TrackerEvent, TrackerRequest, VERSION, Wire,
};
use transport::frame::frame;

use world::{Client, World, content};

/// Small, so that an attack reaches it soon: room for some sixty connections.
const MEMORY: u64 = 4 << 20;
/// A name as long as names may be.
const NAME: usize = 255;

fn small() -> World {
    // The attacker is not slowed down, so that what it can do is done at once.
    let pace = Pace { burst: u32::MAX, a_second: u32::MAX };
    World::with(ServerConfig::default().memory(MEMORY).pace(pace).seed(1))
}

fn numbered(number: u64) -> ContentId {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    ContentId(Digest(digest))
}

fn announcement(number: u64) -> bytes::Bytes {
    let about = Some((format!("{number:0>NAME$}.bin")[..NAME].to_owned(), 5));
    frame(
        &TrackerRequest::Announce(Announce { content: numbered(number), about, role: Role::Seeder }).encode().unwrap(),
    )
}

/// A connection that has said hello, with as many addresses as it may have, and reads nothing.
async fn attacker(world: &World, number: u32, address: &str) -> Option<Client> {
    let mut client = world.silent_at(number, address).await;
    let listeners = (1..=32).map(|port| ([10, 9, 8, 7], port).into()).collect();
    let hello = TrackerRequest::Hello { version: VERSION, listeners };
    let sent = client.send.send(frame(&hello.encode().unwrap())).await;
    sent.is_ok().then_some(client)
}

/// A seeder and a downloader of the same, at these addresses, from long before.
async fn honest(world: &World, seeder: &str, downloader: &str) -> (Client, Client) {
    let (mut seeder, mut downloader) = (world.client_at(seeder).await, world.client_at(downloader).await);
    assert_eq!(seeder.announce(content(1), Role::Seeder, "a").await, []);
    assert_eq!(downloader.announce(content(1), Role::Downloader, "a").await, [seeder.id()]);
    assert_eq!(seeder.joined().await, [downloader.id()]);
    (seeder, downloader)
}

/// Those who were there are served, and someone who comes is.
async fn served(world: &World, (seeder, downloader): &mut (Client, Client), newcomer: &str) {
    assert_eq!(downloader.find("a").await.len(), 1);
    assert_eq!(seeder.find(&content(1).to_string()).await.len(), 1);
    let mut newcomer = world.client_at(newcomer).await;
    assert_eq!(newcomer.find("a").await.len(), 1);
    let met = newcomer.announce(content(1), Role::Downloader, "a").await;
    assert!(met.contains(&seeder.id()) && met.contains(&downloader.id()));
    assert_eq!(seeder.joined().await, [newcomer.id()]);
    assert_eq!(downloader.joined().await, [newcomer.id()]);
    newcomer.say(TrackerRequest::Bye).await;
    assert_eq!(seeder.gone().await, [newcomer.id()]);
    assert_eq!(downloader.gone().await, [newcomer.id()]);
    assert!(world.server.bytes() <= MEMORY, "{} bytes", world.server.bytes());
}

/// Once it held a sample of fifty peers for each of them.
#[tokio::test]
async fn one_connection_that_announces_for_ever_has_one_sample_waiting() {
    let world = small();
    let mut honest = honest(&world, "127.0.0.1", "127.0.0.1").await;
    let mut attacker = attacker(&world, 1, "127.0.1.1").await.unwrap();
    let again = frame(
        &TrackerRequest::Announce(Announce { content: content(2), about: None, role: Role::Downloader })
            .encode()
            .unwrap(),
    );
    for _ in 0..20_000 {
        attacker.send.send(again.clone()).await.unwrap();
    }
    served(&world, &mut honest, "127.0.0.1").await;
    assert!(world.server.bytes() < 1 << 20, "{} bytes", world.server.bytes());
}

/// From one address, from all of a network, and from the address of the honest ones.
#[tokio::test]
async fn many_connections_with_as_many_contents_as_they_can_make_room_themselves() {
    let places: [fn(u32) -> String; 3] =
        [|_| "127.0.1.1".to_owned(), |number| format!("127.0.1.{}", number % 250 + 1), |_| "127.0.0.1".to_owned()];
    for (turn, place) in places.into_iter().enumerate() {
        let world = small();
        let mut honest = honest(&world, "127.0.0.1", "127.0.0.1").await;
        let (mut attackers, mut said) = (Vec::new(), 0);
        for number in 0..64 {
            attackers.extend(attacker(&world, number, &place(number)).await);
            for _ in 0..200 {
                said += 1;
                let last = attackers.len() - 1;
                // It may have been let go.
                let _ = attackers[last].send.send(announcement(said)).await;
            }
            if number % 16 == 0 {
                served(&world, &mut honest, "127.0.0.1").await;
            }
        }
        served(&world, &mut honest, "127.0.0.1").await;
        let (_, contents) = world.server.counts();
        assert!(contents < said as usize / 2, "place {turn}: {contents} of {said} contents");
    }
}

#[tokio::test]
async fn idle_connections_make_room_for_newcomers() {
    for address in ["127.0.1.1", "127.0.0.1"] {
        let world = small();
        let mut honest = honest(&world, "127.0.0.1", "127.0.0.1").await;
        let mut idle = Vec::new();
        for number in 0..300 {
            // Half of them have not even said hello.
            match number % 2 {
                0 => idle.extend(attacker(&world, number, address).await),
                _ => idle.push(world.silent_at(number, address).await),
            }
            if number % 60 == 59 {
                served(&world, &mut honest, "127.0.0.1").await;
            }
        }
    }
}

/// They want what is there, so nothing but their number and their address tells them from others.
#[tokio::test]
async fn strangers_that_take_part_by_the_thousand_leave_others_their_place() {
    let world = small();
    let mut honest = honest(&world, "127.0.0.1", "127.0.0.1").await;
    let mut strangers = Vec::new();
    for number in 0..300u32 {
        let mut stranger = world.silent_at(number, &format!("127.0.1.{}", number % 250 + 1)).await;
        let listeners = stranger.transport.listeners();
        for message in [
            TrackerRequest::Hello { version: VERSION, listeners },
            TrackerRequest::Announce(Announce { content: content(1), about: None, role: Role::Downloader }),
        ] {
            let _ = stranger.send.send(frame(&message.encode().unwrap())).await;
        }
        strangers.push(stranger);
    }
    drop(strangers);
    for client in [&mut honest.0, &mut honest.1] {
        client.say(TrackerRequest::Find("a".to_owned())).await;
        while !matches!(client.hear().await, protocol::TrackerEvent::Found { .. }) {}
    }
    world.settled(2, 1).await;
}

#[tokio::test]
async fn five_hundred_peers_of_one_address_with_many_files_are_all_there() {
    let world = World::new();
    let mut clients = Vec::new();
    for number in 0..500 {
        let mut client = world.client_at("127.0.0.1").await;
        client.announce(content(1), if number == 0 { Role::Seeder } else { Role::Downloader }, "a").await;
        clients.push(client);
    }
    // A thousand files are there at once, and what became of them is said in one go.
    let mut sharer = world.client_at("127.0.0.1").await;
    for role in [Role::Downloader, Role::Seeder] {
        for number in 0..1000 {
            let name = Some((number.to_string(), 5));
            sharer.say(TrackerRequest::Announce(Announce { content: numbered(number), about: name, role })).await;
        }
    }
    world.settled(501, 1001).await;
    drop(sharer);
    world.settled(500, 1).await;
    drop(clients);
    world.settled(0, 0).await;
    assert_eq!(world.server.bytes(), 0, "all is given back");
}

/// Connections that claim all that they may, and read nothing.
#[tokio::test]
async fn claims_without_end_make_room_for_others() {
    let world = small();
    let mut honest = honest(&world, "127.0.0.1", "127.0.0.1").await;
    let mut attackers = Vec::new();
    for number in 0..40u32 {
        let mut attacker = world.silent_at(number, "127.0.1.1").await;
        for key in 0..1200u32 {
            let key = OriginKey(Digest::of(&(u64::from(number % 2) << 32 | u64::from(key)).to_le_bytes()));
            let wrong = (0..4).map(content).collect();
            let claim = TrackerRequest::Lease(LeaseRequest::Claim { key, size: 1, wrong });
            if attacker.send.send(frame(&claim.encode().unwrap())).await.is_err() {
                break;
            }
        }
        attackers.push(attacker);
        assert!(world.server.bytes() <= MEMORY, "{} bytes", world.server.bytes());
    }
    let mut gateway = world.silent_at(1000, "127.0.0.1").await;
    let key = OriginKey(Digest([9; 32]));
    gateway.say(TrackerRequest::Lease(LeaseRequest::Claim { key, size: 1, wrong: vec![] })).await;
    assert_eq!(gateway.hear().await, TrackerEvent::Lease(LeaseEvent::Granted { key }));
    served(&world, &mut honest, "127.0.0.2").await;
}
