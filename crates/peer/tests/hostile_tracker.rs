//! What a node believes of its tracker, for those who embed it: nothing that it did not ask for.

use std::sync::Arc;
use std::time::Duration;

use p2p_fileshare::{DownloadBuilder, Node, PeerError, TrackerAddress};
use protocol::{ContentId, ContentMatch, Digest, MAX_FRAME, PeerAddress, PeerId, TrackerEvent, TrackerRequest, Wire};
use transport::frame::{frame, read_frame};
use transport::{Connection, MemoryNetwork, Transport};

fn id(first: u8) -> ContentId {
    let mut digest = [7; 32];
    digest[0] = first;
    ContentId(Digest(digest))
}

fn found(content: ContentId, name: &str) -> ContentMatch {
    ContentMatch { content, name: name.to_owned(), size: 5, seeders: 1, others: 0, downloaders: 0 }
}

fn node(network: &MemoryNetwork, folder: &std::path::Path, name: &[u8]) -> Node {
    let transport = network.bind(PeerId::of_public_key(name), vec!["127.0.0.1:0".parse().unwrap()]).unwrap();
    Node::builder(Arc::new(transport)).hashes(folder.join("hashes")).output(folder.join("output")).start()
}

/// A tracker that finds these, whatever it is asked for.
fn tracker(network: &MemoryNetwork, matches: Vec<ContentMatch>) -> TrackerAddress {
    let transport = network.bind(PeerId::of_public_key(b"tracker"), vec!["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = TrackerAddress { addresses: transport.listeners(), id: transport.peer_id(), name: None };
    tokio::spawn(async move {
        while let Some(connection) = transport.accept().await {
            tokio::spawn(answer(connection, matches.clone()));
        }
    });
    address
}

async fn answer(connection: Arc<dyn Connection>, matches: Vec<ContentMatch>) {
    let (mut send, mut recv) = connection.accept().await.unwrap();
    while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
        let message = match TrackerRequest::decode(&bytes).unwrap() {
            TrackerRequest::Hello { .. } => TrackerEvent::Welcome { seen: connection.remote_addr() },
            TrackerRequest::Find(query) => TrackerEvent::Found { query, matches: matches.clone() },
            TrackerRequest::List { before } => TrackerEvent::Listed { before, contents: matches.clone(), next: None },
            _ => continue,
        };
        send.send(frame(&message.encode().unwrap())).await.unwrap();
    }
}

#[tokio::test]
async fn answers_that_were_not_asked_for_are_dropped() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let node = node(&network, folder.path(), b"node");
    let (wanted, other) = (id(0xab), id(0xcd));
    let digits = wanted.to_string();
    let all = [(other, &digits[..]), (wanted, "a"), (other, "b"), (wanted, "b"), (other, &digits[..8]), (other, "")];
    node.join(tracker(&network, all.map(|(content, name)| found(content, name)).into())).await.unwrap();
    let finds = async |query: &str| {
        let found = node.find(query).await.unwrap();
        found.into_iter().map(|found| (found.content, found.name)).collect::<Vec<_>>()
    };
    let first = vec![(wanted, "a".to_owned())];
    for query in [&digits[..], &digits.to_uppercase(), &format!("{digits}\n"), &digits[..6], &digits[..63]] {
        assert_eq!(finds(query).await, first, "{query:?}");
    }
    assert_eq!(finds("a").await, first);
    assert_eq!(finds("b").await, [(other, "b".to_owned()), (wanted, "b".to_owned())]);
    assert_eq!(finds("c").await, []);
    assert_eq!(finds(&id(0xef).to_string()).await, []);
    assert!(matches!(node.find("").await, Err(PeerError::Query(_))));
    node.shutdown().await;
}

#[tokio::test]
async fn a_name_that_no_manifest_may_have_is_none() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let node = node(&network, folder.path(), b"node");
    let names = ["../evil", "a/b", &"x".repeat(256), "."].map(|name| found(id(1), name));
    node.join(tracker(&network, names.into())).await.unwrap();
    assert!(node.list(None).await.unwrap().contents.iter().all(|found| found.name.is_empty()));
    node.shutdown().await;
}

#[tokio::test]
async fn a_content_of_another_name_is_given_up_before_anything_is_written() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let (there, here) = (folder.path().join("there"), folder.path().join("here"));
    let (seeder, getter) = (node(&network, &there, b"seeder"), node(&network, &here, b"getter"));
    let file = folder.path().join("evil.sh");
    std::fs::write(&file, vec![7; 5000]).unwrap();
    let content = seeder.share(&file).await.unwrap().content();
    let ends = async |download: DownloadBuilder| {
        let download = download.start().await.unwrap();
        let peer = PeerAddress { id: seeder.id(), addresses: seeder.listeners().to_vec() };
        getter.add_peer(content, peer).await.unwrap();
        tokio::time::timeout(Duration::from_secs(60), download).await.expect("it ends").err()
    };
    let error = ends(getter.download(content).expect_name("model.bin")).await.unwrap();
    assert!(matches!(&*error, PeerError::OtherName { found, .. } if found == "evil.sh"), "{error}");
    assert!(!here.exists());
    // Looked at by its id first, it is still held to its name.
    getter.manifest(content).await.unwrap();
    assert!(ends(getter.download(content).expect_name("model.bin")).await.is_some());
    assert!(!here.exists());
    assert!(ends(getter.download(content).expect_name("evil.sh")).await.is_none());
    assert!(here.join("output/evil.sh").exists());
    seeder.shutdown().await;
    getter.shutdown().await;
}
