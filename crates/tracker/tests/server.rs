//! The server's promises, seen from its clients, over the in-process network.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use p2p_fileshare_tracker::ServerConfig;
use protocol::{
    Announce, ContentMatch, Digest, MAX_FRAME, MAX_MATCHES, PeerAddress, PeerId, Role, Ticket, TrackerEvent,
    TrackerRequest, VERSION, Wire, second_address_mark,
};
use transport::frame::{frame, read_frame};
use transport::{Identity, TransportError};

use world::{Client, World, content};

#[tokio::test]
async fn peers_are_introduced_told_of_changes_and_forgotten() {
    let world = World::new();
    let (mut seeder, mut downloader) = (world.client().await, world.client().await);
    assert_eq!(seeder.announce(content(1), Role::Seeder, "a").await, []);
    assert_eq!(downloader.announce(content(1), Role::Downloader, "a").await, [seeder.id()]);
    assert_eq!(seeder.joined().await, [downloader.id()]);
    // A clean leave.
    downloader.say(TrackerRequest::Leave(content(1))).await;
    assert_eq!(seeder.gone().await, [downloader.id()]);
    assert_eq!(downloader.announce(content(1), Role::Downloader, "a").await, [seeder.id()]);
    assert_eq!(seeder.joined().await, [downloader.id()]);
    // A goodbye.
    downloader.say(TrackerRequest::Bye).await;
    assert_eq!(seeder.gone().await, [downloader.id()]);
    // A crash.
    let mut other = world.client().await;
    assert_eq!(other.announce(content(1), Role::Downloader, "a").await, [seeder.id()]);
    seeder.connection.close(9, "crash");
    assert_eq!(other.gone().await, [seeder.id()]);
    drop(other);
    world.settled(0, 0).await;
}

#[tokio::test]
async fn a_leave_that_is_unknown_or_repeated_harms_nothing() {
    let world = World::new();
    let mut client = world.client().await;
    client.say(TrackerRequest::Leave(content(9))).await;
    client.announce(content(1), Role::Seeder, "a").await;
    client.say(TrackerRequest::Leave(content(1))).await;
    client.say(TrackerRequest::Leave(content(1))).await;
    assert_eq!(client.find("a").await, []);
    client.announce(content(1), Role::Seeder, "a").await;
    assert_eq!(client.find("a").await.len(), 1);
    world.settled(1, 1).await;
}

#[tokio::test]
async fn contents_are_found_by_name_by_id_and_by_the_beginning_of_an_id() {
    let world = World::new();
    let mut client = world.client().await;
    client.announce(content(1), Role::Seeder, "a").await;
    let mut other = world.client().await;
    other.announce(content(2), Role::Downloader, "a").await;
    assert_eq!(other.find("020202").await, [], "only the one that asks wants it");
    let found = client.find("a").await;
    let expected = |number, seeders, others| ContentMatch {
        content: content(number),
        name: "a".to_owned(),
        size: 5,
        seeders,
        others,
        downloaders: others,
    };
    assert_eq!(found, [expected(1, 1, 0), expected(2, 0, 1)]);
    assert_eq!(client.find(&content(1).to_string()).await, [expected(1, 1, 0)]);
    assert_eq!(client.find("020202").await, [expected(2, 0, 1)]);
    assert_eq!(client.find("b").await, []);
}

/// A file may be called like an id or a ticket: it has no name then, and a question for the id brings nothing else.
#[tokio::test]
async fn an_id_or_a_ticket_is_never_answered_with_a_name() {
    let world = World::new();
    let (mut honest, mut hostile) = (world.client().await, world.client().await);
    let id = content(1).to_string();
    let ticket = Ticket::new(world.tracker.peer_id(), world.tracker.listeners(), content(1)).unwrap().to_string();
    let likenesses = [id.clone(), id.to_uppercase(), format!(" {id}"), id[..20].to_owned(), ticket.clone()];
    for (number, name) in likenesses.iter().chain([&ticket[..30].to_owned(), &format!("{id}\n")]).enumerate() {
        hostile.announce(content(100 + number as u8), Role::Seeder, name).await;
    }
    for question in &likenesses {
        assert_eq!(honest.find(question).await, [], "{question}");
    }
    honest.announce(content(1), Role::Seeder, "a").await;
    for question in &likenesses {
        let found = honest.find(question).await;
        assert_eq!(found.iter().map(|found| found.content).collect::<Vec<_>>(), [content(1)], "{question}");
    }
    honest.say(TrackerRequest::List { before: None }).await;
    let TrackerEvent::Listed { contents, .. } = honest.hear().await else { panic!("a page") };
    assert!(contents.iter().all(|listed| listed.name.is_empty() || listed.content == content(1)));
}

#[tokio::test]
async fn a_flood_of_one_name_leaves_the_first_content_where_it_is_found() {
    let world = World::new();
    let mut honest = world.client_at("127.0.0.1").await;
    let mut hostile = world.client_at("127.0.1.1").await;
    let numbered = |number: u32| {
        let mut digest = [9; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        protocol::ContentId(Digest(digest))
    };
    for number in 0..500 {
        hostile.announce(numbered(number), Role::Seeder, "model.bin").await;
    }
    honest.announce(content(1), Role::Seeder, "model.bin").await;
    for number in 500..1000 {
        hostile.announce(numbered(number), Role::Seeder, "model.bin").await;
    }
    let found = honest.find("model.bin").await;
    assert_eq!(found.len(), MAX_MATCHES);
    assert!(found[..2].iter().any(|found| found.content == content(1)));
}

#[tokio::test]
async fn only_what_a_publisher_shares_has_a_name() {
    let publisher = Identity::generate().unwrap().peer_id();
    let world = World::with(ServerConfig::default().publishers([publisher]).seed(1));
    let mut other = world.client().await;
    other.announce(content(1), Role::Seeder, "model.bin").await;
    other.announce(content(2), Role::Seeder, "model.bin").await;
    other.announce(content(3), Role::Seeder, "model.bin").await;
    assert_eq!(other.find("model.bin").await, []);
    let mut publisher = world.client_as(publisher, "127.0.0.1").await;
    publisher.announce(content(2), Role::Seeder, "model.bin").await;
    // What it only wants, and what it has got here since, is not its own.
    publisher.announce(content(3), Role::Downloader, "model.bin").await;
    publisher.announce(content(3), Role::Seeder, "model.bin").await;
    let found = publisher.find("model.bin").await;
    assert_eq!(found.iter().map(|found| found.content).collect::<Vec<_>>(), [content(2)]);
    assert_eq!(publisher.find(&content(1).to_string()).await.len(), 1, "by its id it is found");
}

#[tokio::test]
async fn everything_is_listed_page_by_page() {
    let world = World::new();
    let mut client = world.client().await;
    for number in 0..=2 * MAX_MATCHES as u8 {
        client.announce(content(number), if number == 7 { Role::Partial } else { Role::Seeder }, "a").await;
    }
    let (mut listed, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        client.say(TrackerRequest::List { before }).await;
        let TrackerEvent::Listed { before: asked, contents, next } = client.hear().await else { panic!("a page") };
        assert_eq!(asked, before);
        listed.extend(contents);
        pages += 1;
        before = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert!(listed.iter().map(|found| found.content).eq((0..=2 * MAX_MATCHES as u8).rev().map(content)));
    let partial = listed.iter().find(|found| found.content == content(7)).unwrap();
    assert_eq!((partial.seeders, partial.others, partial.downloaders), (0, 1, 0));
    // A number that nobody was given is as good as any.
    client.say(TrackerRequest::List { before: Some(0) }).await;
    assert!(matches!(client.hear().await, TrackerEvent::Listed { contents, next: None, .. } if contents.is_empty()));
}

#[tokio::test]
async fn a_returning_peer_replaces_its_old_connection() {
    let world = World::new();
    let mut watcher = world.client().await;
    watcher.announce(content(1), Role::Downloader, "a").await;
    let mut old = world.client().await;
    old.announce(content(1), Role::Seeder, "a").await;
    assert_eq!(watcher.joined().await, [old.id()]);
    // The same peer over a new connection, while the old one seems to live.
    let connection = old.transport.dial(world.tracker.listeners()[0], world.tracker.peer_id()).await.unwrap();
    let (send, recv) = connection.open().await.unwrap();
    let mut new = Client { transport: old.transport.clone(), connection, send, recv };
    new.say(TrackerRequest::Hello { version: VERSION, listeners: new.transport.listeners() }).await;
    assert!(matches!(new.hear().await, TrackerEvent::Welcome { .. }));
    assert_eq!(watcher.gone().await, [new.id()]);
    new.announce(content(1), Role::Seeder, "a").await;
    assert_eq!(watcher.joined().await, [new.id()]);
    assert!(matches!(old.connection.closed().await, TransportError::ClosedByPeer { .. }));
    world.settled(2, 1).await;
}

/// A peer seen over IPv4 proves that it is reached over IPv6, too.
#[tokio::test]
async fn a_peer_of_both_families_is_told_at_both_once_it_has_proven_them() {
    let world = World::new();
    let id = Identity::generate().unwrap().peer_id();
    let mut peer = world.silent(world.bind_at(id, "10.0.0.2")).await;
    let four = peer.connection_address();
    let six = SocketAddr::new("2001:db8::2".parse().unwrap(), four.port());
    peer.say(TrackerRequest::Hello { version: VERSION, listeners: vec![four, six] }).await;
    assert!(matches!(peer.hear().await, TrackerEvent::Welcome { .. }));
    let announce = |name: &str| {
        let about = Some((name.to_owned(), 5));
        TrackerRequest::Announce(Announce { content: content(1), about, role: Role::Seeder })
    };
    for gone in [vec![second_address_mark()], vec![]] {
        peer.say(announce("a")).await;
        let news = TrackerEvent::Peers { content: content(1), joined: vec![], gone };
        assert_eq!(peer.hear().await, news, "that it may is said once");
    }
    let mut getter = world.client_at("10.0.0.3").await;
    assert_eq!(getter.announce(content(1), Role::Downloader, "a").await, [id], "who has one family hears of no proof");
    peer.joined().await;
    peer.say(TrackerRequest::SecondAddress).await;
    let TrackerEvent::AddressToken { token, .. } = peer.hear().await else { panic!("it was given none") };

    // Nobody else can show it, nor is it good after that.
    let also_at = || TrackerRequest::AlsoAt { token, listeners: vec![four, six] };
    let mut thief = world.silent_at(7, "2001:db8::7").await;
    thief.say(also_at()).await;
    assert!(matches!(thief.hear().await, TrackerEvent::Refused(_)));
    let mut second = world.silent(world.bind_at(id, "2001:db8::2")).await;
    second.say(also_at()).await;
    assert_eq!(second.hear().await, TrackerEvent::AlsoSeen { seen: second.connection_address() });
    let TrackerEvent::Peers { joined, .. } = getter.hear().await else { panic!("it was told nothing") };
    assert_eq!(joined, [PeerAddress { id, addresses: vec![four, six] }]);
    let mut again = world.silent(world.bind_at(id, "2001:db8::2")).await;
    again.say(also_at()).await;
    assert!(matches!(again.hear().await, TrackerEvent::Refused(_)));

    // What is finished in good order is believed for a while.
    second.send.finish().unwrap();
    assert_eq!(read_frame(&mut *second.recv, MAX_FRAME).await, Ok(None));
    second.connection.close(0, "done");
    let mut other = world.client_at("10.0.0.4").await;
    let announce = Announce { content: content(1), about: None, role: Role::Downloader };
    other.say(TrackerRequest::Announce(announce)).await;
    let TrackerEvent::Peers { joined, .. } = other.hear().await else { panic!("it was told nothing") };
    assert!(joined.contains(&PeerAddress { id, addresses: vec![four, six] }), "{joined:?}");
    drop((peer, second, again, thief, getter, other));
    world.settled(0, 0).await;
}

#[tokio::test]
async fn another_version_is_told_so() {
    let world = World::new();
    let mut client = world.silent(world.bind(Identity::generate().unwrap().peer_id())).await;
    client.say(TrackerRequest::Hello { version: 99, listeners: vec![] }).await;
    let TrackerEvent::Refused(sentence) = client.hear().await else { panic!("it is welcome") };
    assert!(sentence.contains("99"), "{sentence}");
}

#[tokio::test]
async fn garbage_ends_only_its_own_connection() {
    let world = World::new();
    let mut honest = world.client().await;
    let mut liar = world.silent(world.bind(Identity::generate().unwrap().peer_id())).await;
    liar.send.send(frame(&[0xff; 100])).await.unwrap();
    assert!(matches!(liar.connection.closed().await, TransportError::ClosedByPeer { .. }));
    assert_eq!(honest.find("a").await, []);
}

#[tokio::test]
async fn a_protocol_violation_ends_that_connection_only() {
    let world = World::new();
    let mut honest = world.client().await;
    let hello = |version| frame(&TrackerRequest::Hello { version, listeners: vec![] }.encode().unwrap()).to_vec();
    let said = |message: TrackerRequest| frame(&message.encode().unwrap()).to_vec();
    let then = |more: Vec<u8>| [hello(VERSION), more].concat();
    let mut trailing = TrackerRequest::Bye.encode().unwrap();
    trailing.push(0);
    let rows = [
        ("a frame of 4 GiB", then(vec![0xff; 4])),
        ("a frame just over the limit", then((MAX_FRAME as u32 + 1).to_le_bytes().to_vec())),
        ("a cut frame", then([&100u32.to_le_bytes()[..], b"abc"].concat())),
        ("a cut length", then(vec![1, 0])),
        ("an unknown message", then(frame(&[200]).to_vec())),
        ("an empty message", then(frame(&[]).to_vec())),
        ("bytes behind a message", then(frame(&trailing).to_vec())),
        ("a text of 2^63 bytes", then(frame(&[3, 253, 255, 255, 255, 255, 255, 255, 255, 127]).to_vec())),
        ("hello twice", then(hello(VERSION))),
        ("no hello", said(TrackerRequest::Find("a".to_owned()))),
        ("another version", hello(VERSION + 1)),
    ];
    for (what, bytes) in rows {
        let mut hostile = world.silent(world.bind(Identity::generate().unwrap().peer_id())).await;
        hostile.send.send(bytes.into()).await.unwrap();
        let _ = hostile.send.finish();
        let end = tokio::time::timeout(Duration::from_secs(30), hostile.connection.closed()).await;
        assert!(matches!(end, Ok(TransportError::ClosedByPeer { .. })), "{what}: {end:?}");
        assert_eq!(honest.find("a").await, [], "{what}");
    }
    world.settled(1, 0).await;
}

#[tokio::test]
async fn two_thousand_peers_take_part_and_a_sample_stays_small() {
    let world = World::new();
    let mut clients = Vec::new();
    for number in 0..2000u32 {
        let id = PeerId::of_public_key(&number.to_le_bytes());
        let mut client = world.silent(world.bind(id)).await;
        let listeners = client.transport.listeners();
        client.say(TrackerRequest::Hello { version: VERSION, listeners }).await;
        assert!(matches!(client.hear().await, TrackerEvent::Welcome { .. }));
        let role = if number % 10 == 0 { Role::Seeder } else { Role::Downloader };
        let sample = client.announce(content(1), role, "a").await;
        assert!(sample.len() <= 50 && !sample.contains(&id));
        assert!(number < 100 || sample.len() == 50, "{number}: {}", sample.len());
        clients.push(client);
    }
    world.settled(2000, 1).await;
    drop(clients);
    world.settled(0, 0).await;
}

/// Each would otherwise be told of the others one by one.
#[tokio::test(start_paused = true)]
async fn a_crowd_that_comes_at_once_hears_of_itself_in_few_messages() {
    const CROWD: usize = 200;
    let (world, mut clients) = (World::new(), Vec::new());
    for number in 0..CROWD {
        clients.push(world.client_at(&format!("10.0.{number}.1")).await);
    }
    for client in &mut clients {
        let announce = Announce { content: content(1), about: None, role: Role::Downloader };
        client.say(TrackerRequest::Announce(announce)).await;
    }
    world.settled(CROWD, 1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (mut messages, mut named) = (0, 0);
    for client in &mut clients {
        let quiet = Duration::from_millis(20);
        while let Ok(bytes) = tokio::time::timeout(quiet, read_frame(&mut *client.recv, MAX_FRAME)).await {
            let TrackerEvent::Peers { joined, .. } = TrackerEvent::decode(&bytes.unwrap().unwrap()).unwrap() else {
                panic!("news")
            };
            (messages, named) = (messages + 1, named + joined.len());
        }
    }
    assert!(named > 70 * CROWD, "{named} are named");
    // What is told at once in a second, and of each its own answer and two batches.
    assert!(messages <= 2_000 + 3 * CROWD, "{named} are named in {messages} messages");
}
