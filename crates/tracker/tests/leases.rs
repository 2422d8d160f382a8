//! Peers that would read the same from an origin: one does, the others hear what came of it.

mod world;

use std::time::Duration;

use protocol::{Digest, LeaseEvent, LeaseRequest, OriginKey, TrackerEvent, TrackerRequest};
use world::{Client, World, content};

const KEY: OriginKey = OriginKey(Digest([7; 32]));

async fn say(client: &mut Client, request: LeaseRequest) {
    client.say(TrackerRequest::Lease(request)).await;
}

async fn hear(client: &mut Client) -> LeaseEvent {
    match client.hear().await {
        TrackerEvent::Lease(event) => event,
        other => panic!("{other:?}"),
    }
}

async fn claim(world: &World, number: u32) -> (Client, LeaseEvent) {
    let mut client = world.silent_at(number, "10.0.0.1").await;
    say(&mut client, LeaseRequest::Claim { key: KEY, size: 1 << 20, wrong: vec![] }).await;
    let heard = hear(&mut client).await;
    (client, heard)
}

#[tokio::test]
async fn one_peer_reads_and_the_next_does_when_its_connection_ends() {
    let world = World::new();
    let (first, granted) = claim(&world, 1).await;
    assert_eq!(granted, LeaseEvent::Granted { key: KEY });
    let (mut second, held) = claim(&world, 2).await;
    assert_eq!(held, LeaseEvent::Held { key: KEY });
    let (mut third, held) = claim(&world, 3).await;
    assert_eq!(held, LeaseEvent::Held { key: KEY });
    first.connection.close(0, "dies");
    assert_eq!(hear(&mut second).await, LeaseEvent::Granted { key: KEY });
    say(&mut second, LeaseRequest::Published { key: KEY, content: content(1) }).await;
    assert_eq!(hear(&mut third).await, LeaseEvent::Published { key: KEY, content: content(1) });
    let (_fourth, published) = claim(&world, 4).await;
    assert_eq!(published, LeaseEvent::Published { key: KEY, content: content(1) });
}

#[tokio::test]
async fn an_origin_that_fails_is_tried_by_the_next_after_a_pause() {
    let world = World::new();
    let (mut first, _) = claim(&world, 1).await;
    let (mut second, _) = claim(&world, 2).await;
    say(&mut first, LeaseRequest::Release { key: KEY }).await;
    assert_eq!(hear(&mut second).await, LeaseEvent::Granted { key: KEY });
}

#[tokio::test]
async fn what_connections_take_is_counted_and_given_back() {
    let world = World::new();
    let (mut first, _) = claim(&world, 1).await;
    let before = world.server.bytes();
    for number in 0..500u32 {
        let key = OriginKey(Digest::of(&number.to_le_bytes()));
        say(&mut first, LeaseRequest::Claim { key, size: 1, wrong: vec![] }).await;
        assert_eq!(hear(&mut first).await, LeaseEvent::Granted { key });
    }
    let taken = world.server.bytes() - before;
    assert!(taken >= 500 * 200, "{taken}");
    first.connection.close(0, "done");
    for _ in 0..2000 {
        if world.server.bytes() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} bytes are left", world.server.bytes());
}

#[tokio::test]
async fn a_connection_for_leases_is_for_nothing_else() {
    let world = World::new();
    let (mut client, _) = claim(&world, 1).await;
    client.say(TrackerRequest::Find("a".to_owned())).await;
    client.connection.closed().await;
    let mut member = world.client().await;
    say(&mut member, LeaseRequest::Release { key: KEY }).await;
    member.connection.closed().await;
}
