//! Who hears of a relay, and for whom it carries a connection.

mod world;

use p2p_fileshare_tracker::{RelayLimits, Server, ServerConfig};
use protocol::{Announce, Carried, ContentId, PeerId, Role, TrackerEvent, TrackerRequest, relay_mark};
use world::{Client, World, content};

fn relay() -> World {
    World::of(|transport| {
        let (_, arrivals) = transport::legs();
        Server::new(transport, ServerConfig::default().seed(1)).with_relay(RelayLimits::default(), arrivals)
    })
}

/// Announces a content, and says whether the tracker says that it is a relay.
async fn announce(client: &mut Client, content: ContentId) -> bool {
    client.say(TrackerRequest::Announce(Announce { content, about: None, role: Role::Seeder })).await;
    match client.hear().await {
        TrackerEvent::Peers { gone, .. } => gone == [relay_mark()],
        other => panic!("{other:?}"),
    }
}

async fn ask(client: &mut Client, of: PeerId, content: ContentId) -> Result<Carried, String> {
    client.say(TrackerRequest::Relay { peer: of, content }).await;
    loop {
        match client.hear().await {
            TrackerEvent::Relayed { peer, answer } => {
                assert_eq!(peer, of);
                return answer;
            }
            TrackerEvent::Peers { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn peers_of_one_content_are_carried_and_nobody_else() {
    let world = relay();
    let (mut one, mut other, mut stranger) = (world.client().await, world.client().await, world.client().await);
    assert!(announce(&mut one, content(1)).await, "a peer hears of the relay");
    assert!(!announce(&mut one, content(2)).await, "once");
    assert!(announce(&mut other, content(1)).await);
    let shared = "the relay carries only between peers that take part in the same content";
    assert!(ask(&mut one, other.id(), content(1)).await.unwrap_err().contains("its version is older"));
    other.say(TrackerRequest::TakesLegs).await;
    other.rest().await;
    let address = ask(&mut one, other.id(), content(1)).await.unwrap().address;
    assert_eq!(address, other.connection_address());
    for (who, of, content) in [
        ("a stranger", other.id(), content(1)),
        ("one of another content", other.id(), content(2)),
        ("of a peer that is not there", PeerId::of_public_key(b"nobody"), content(1)),
    ] {
        let asks = if who == "a stranger" { &mut stranger } else { &mut one };
        assert_eq!(ask(asks, of, content).await.unwrap_err(), shared, "{who}");
    }
    let own = one.id();
    assert_eq!(ask(&mut one, own, content(1)).await.unwrap_err(), shared, "to itself");
    other.say(TrackerRequest::Leave(content(1))).await;
    other.rest().await;
    assert_eq!(ask(&mut one, other.id(), content(1)).await.unwrap_err(), shared, "one that has left");
}

#[tokio::test]
async fn a_tracker_that_is_no_relay_says_nothing_of_one_and_refuses() {
    let world = World::new();
    let mut one = world.client().await;
    assert!(!announce(&mut one, content(1)).await);
    let refusal = ask(&mut one, PeerId::of_public_key(b"other"), content(1)).await.unwrap_err();
    assert!(refusal.contains("--relay"), "{refusal}");
}
