//! What a tracker counts is what it takes.

mod world;

use peak_alloc::PeakAlloc;
use protocol::{Announce, ContentId, Digest, Stake, ToTracker};

use world::World;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

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

    /// No less than what is allocated is counted, and not much more.
    fn agrees(&self, what: &str) {
        let counted = self.world.server.bytes() - self.counted;
        let allocated = (ALLOCATED.current_usage() - self.allocated) as u64;
        println!("{what}: {counted} counted, {allocated} allocated");
        assert!(counted >= allocated, "{what}: {counted} counted, {allocated} allocated");
        assert!(counted < 3 * allocated, "{what}: {counted} counted, {allocated} allocated");
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
    let names: [(&str, fn(u64) -> Option<String>); 4] = [
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
            let announce = Announce { content: numbered(number), about, stake: Stake::Seeder };
            client.say(ToTracker::Announce(announce)).await;
            client.joined().await;
        }
        taken.agrees(what);
    }

    // Peers that know each other, in several contents: what is counted for a connection itself is left out.
    let world = World::new();
    let mut clients = Vec::new();
    for host in 0..200u32 {
        clients.push(world.client_at(&format!("10.0.{}.{}", host / 100, host % 100 + 1)).await);
    }
    let taken = Taken::of(world);
    for number in 0..20 {
        for client in &mut clients {
            let announce = Announce { content: numbered(number), about: None, stake: Stake::Downloader };
            client.say(ToTracker::Announce(announce)).await;
        }
    }
    taken.world.settled(200, 20).await;
    // Nobody has read a word, so that all news wait, in the outboxes or on their way.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    taken.agrees("news that nobody reads");
}
