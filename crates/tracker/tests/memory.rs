//! A tracker's own count of its memory agrees with the allocator's.

mod world;

use peak_alloc::PeakAlloc;
use protocol::{Announce, ContentId, Digest, LeaseRequest, OriginKey, Role, TrackerRequest};

use world::World;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// How contents are called, by number.
type Naming = fn(u64) -> Option<String>;

/// What is counted, and what is allocated, since there were so many of each.
struct Taken {
    world: World,
    counted: u64,
    allocated: usize,
}

impl Taken {
    fn of(world: World) -> Self {
        let (counted, allocated) = (world.server.bytes(), ALLOCATED.current_usage());
        Taken { world, counted, allocated }
    }

    /// No less than what is allocated is counted, and no more than so many times that.
    fn agrees(&self, what: &str, times: u64) {
        let counted = self.world.server.bytes() - self.counted;
        let allocated = (ALLOCATED.current_usage() - self.allocated) as u64;
        println!("{what}: {counted} counted, {allocated} allocated");
        assert!(counted >= allocated, "{what}: {counted} counted, {allocated} allocated");
        assert!(counted <= times * allocated, "{what}: {counted} counted, {allocated} allocated");
    }
}

fn numbered(number: u64) -> ContentId {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&(number << 40 | number).to_be_bytes());
    ContentId(Digest(digest))
}

/// One test, as there is one allocator.
#[tokio::test]
async fn what_is_counted_is_what_is_allocated() {
    // Contents without a name, with one of their own, and with one that all have.
    let names: [(&str, Naming); 4] = [
        ("contents without a name", |_| None),
        ("contents with short names", |number| Some(format!("{number}.bin"))),
        ("contents with long names", |number| Some(format!("{number:0>250}"))),
        ("contents of one name", |_| Some("model.bin".to_owned())),
    ];
    for (what, name) in names {
        let world = World::new();
        let mut client = world.client_at("10.0.0.1").await;
        let taken = Taken::of(world);
        for number in 0..5_000 {
            let about = name(number).map(|name| (name, 5));
            let announce = Announce { content: numbered(number), about, role: Role::Seeder };
            client.say(TrackerRequest::Announce(announce)).await;
            client.joined().await;
        }
        taken.agrees(what, 3);
    }

    // Peers that know each other, in several contents. What is counted for the connections is left out.
    let world = World::new();
    let mut clients = Vec::new();
    for host in 0..60 {
        clients.push(world.client_at(&format!("10.0.0.{host}")).await);
    }
    let taken = Taken::of(world);
    for number in 0..20 {
        for client in &mut clients {
            let announce = Announce { content: numbered(number), about: None, role: Role::Downloader };
            client.say(TrackerRequest::Announce(announce)).await;
        }
    }
    taken.world.settled(60, 20).await;
    for client in &mut clients {
        client.rest().await;
    }
    taken.agrees("peers that know each other", 4);

    // A peer that does not read what it is told.
    let world = World::new();
    let (mut seeder, mut silent) = (world.client_at("10.0.0.1").await, world.client_at("10.0.0.2").await);
    for number in 0..3_000 {
        let announce = Announce { content: numbered(number), about: None, role: Role::Seeder };
        seeder.say(TrackerRequest::Announce(announce)).await;
        seeder.joined().await;
    }
    let taken = Taken::of(world);
    for number in 0..3_000 {
        let announce = Announce { content: numbered(number), about: None, role: Role::Downloader };
        silent.say(TrackerRequest::Announce(announce)).await;
        seeder.joined().await;
    }
    taken.agrees("news that wait", 3);

    // Who reads from origins: keys that one has each, and keys that many stand in line for. A place there takes less, and is counted as one
    // at a key of its own, which remembers networks that held its lease in vain.
    for (what, connections, shared, times) in [("leases of one each", 2u32, false, 3), ("lines", 10, true, 10)] {
        let world = World::new();
        let mut clients = Vec::new();
        for number in 0..connections {
            let mut client = world.silent_at(number, "10.0.0.1").await;
            client.say(TrackerRequest::Lease(LeaseRequest::Release { key: OriginKey(Digest([0; 32])) })).await;
            clients.push(client);
        }
        let taken = Taken::of(world);
        for (number, client) in (0..connections).zip(&mut clients) {
            for key in 0..500u32 {
                let key = OriginKey(Digest::of(&[key, if shared { 0 } else { number }].map(u32::to_le_bytes).concat()));
                let wrong = (0..4).map(numbered).collect();
                client.say(TrackerRequest::Lease(LeaseRequest::Claim { key, size: 1, wrong })).await;
                client.hear().await;
            }
        }
        taken.agrees(what, times);
    }
}
