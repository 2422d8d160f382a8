//! Somebody watches a content: who is asked how it stands, what is kept of the answers, and what older peers make of it.

mod world;

use protocol::{PeerProgress, Role, TrackerEvent, TrackerRequest, WatchedPeer, report_mark};
use world::{Client, World, content};

async fn watch(client: &mut Client) -> Vec<WatchedPeer> {
    client.say(TrackerRequest::Watch { content: content(1), after: None }).await;
    match client.hear().await {
        TrackerEvent::Watched { peers, next: None, .. } => peers,
        other => panic!("{other:?}"),
    }
}

fn progress(have: u32) -> PeerProgress {
    PeerProgress { have, pieces: 10, ..PeerProgress::default() }
}

#[tokio::test]
async fn peers_are_asked_once_somebody_watches_and_their_answers_are_shown() {
    let world = World::new();
    let (mut peer, mut watcher) = (world.client().await, world.client().await);
    peer.announce(content(1), Role::Downloader, "a").await;
    // What nobody asked for is not kept.
    peer.say(TrackerRequest::Progress { content: content(1), progress: progress(1) }).await;
    assert_eq!(peer.find("a").await, [], "what only the one that asks wants");
    assert_eq!(watcher.find("a").await.len(), 1, "and harms nothing");
    let seen = watch(&mut watcher).await;
    let [seen] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((seen.peer, seen.role, &seen.progress), (peer.id(), Role::Downloader, &None));
    assert!(seen.address.is_some());
    // As an older peer hears of one that is gone and that it never knew.
    assert_eq!(peer.gone().await, [report_mark()]);
    peer.say(TrackerRequest::Progress { content: content(1), progress: progress(3) }).await;
    peer.find("a").await;
    assert_eq!(watch(&mut watcher).await[0].progress, Some(progress(3)));
    // It is not asked again at each look: what comes next is the answer to a question.
    peer.find("a").await;
    let bytes = world.server.bytes();
    peer.say(TrackerRequest::Leave(content(1))).await;
    peer.find("a").await;
    assert!(watch(&mut watcher).await.is_empty());
    assert!(world.server.bytes() < bytes);
}

#[tokio::test]
async fn many_peers_are_told_of_in_pages() {
    let world = World::new();
    let mut clients = Vec::new();
    for _ in 0..70 {
        let mut client = world.client().await;
        client.announce(content(1), Role::Seeder, "a").await;
        clients.push(client);
    }
    let mut watcher = world.client().await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        watcher.say(TrackerRequest::Watch { content: content(1), after }).await;
        let TrackerEvent::Watched { peers, next, .. } = watcher.hear().await else { panic!("another answer") };
        assert!(peers.len() <= protocol::MAX_WATCHED);
        seen.extend(peers.into_iter().map(|peer| peer.peer));
        after = next;
        if after.is_none() {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 70);
}

#[tokio::test]
async fn where_somebody_is_that_no_announce_would_tell_is_not_told_to_who_watches() {
    let world = World::new();
    let (mut peer, mut watcher) = (world.client().await, world.client_at("203.0.113.7").await);
    peer.announce(content(1), Role::Seeder, "a").await;
    assert_eq!(watch(&mut watcher).await[0].address, None, "loopback of the tracker's machine");
    watcher.say(TrackerRequest::Watch { content: content(2), after: Some(u64::MAX) }).await;
    let answer = watcher.hear().await;
    assert!(
        matches!(answer, TrackerEvent::Watched { ref peers, .. } if peers.is_empty()),
        "nobody takes part: {answer:?}"
    );
}
