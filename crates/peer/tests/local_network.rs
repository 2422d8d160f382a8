//! Peers that no tracker introduces meet on the local network: one that tests make up, with packets that anyone can read and send.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lan::{FakeNetwork, Lan, Link, Received};
use p2p_fileshare::{Node, Secret};
use transport::{Identity, MemoryNetwork, Transport};

fn secret() -> Secret {
    Secret::new([7; 16])
}

struct World {
    network: MemoryNetwork,
    lan: FakeNetwork,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world =
            World { network: MemoryNetwork::new(), lan: FakeNetwork::new(), folder: tempfile::tempdir().unwrap() };
        std::fs::write(world.folder.path().join("file"), vec![7; 300_000]).unwrap();
        world
    }

    /// A node of a machine that is on the local network.
    fn node(&self, machine: u8, private: bool) -> Node {
        let ip = IpAddr::from([10, 0, 0, machine]);
        let transport = self.network.bind(&Identity::generate().unwrap(), vec![(ip, 9000).into()]).unwrap();
        let folder = self.folder.path().join(machine.to_string());
        Node::builder(Arc::new(transport) as Arc<dyn Transport>)
            .hashes(folder.join("hashes"))
            .output(folder.join("output"))
            .keep_free(Some(0))
            .private(private)
            .lan(Some(Lan::start(self.lan.link(ip))))
            .start()
    }
}

async fn within<T>(work: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work.into_future()).await.expect("it ends")
}

#[tokio::test]
async fn peers_of_an_open_content_meet_without_a_tracker() {
    let world = World::new();
    let (one, two, three) = (world.node(1, false), world.node(2, false), world.node(3, false));
    let content = one.share(world.folder.path().join("file")).await.unwrap().content();
    within(two.download(content).start().await.unwrap()).await.unwrap();
    // A peer that has received it is found as well.
    one.shutdown().await;
    within(three.download(content).start().await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn holders_of_a_secret_meet_and_others_do_not() {
    let world = World::new();
    let (one, two, other) = (world.node(1, true), world.node(2, true), world.node(3, true));
    let content = one.share(world.folder.path().join("file")).private(|_| secret()).await.unwrap().content();
    let wrong = other.download(content).private(Some(Secret::new([8; 16]))).start().await.unwrap();
    within(two.download(content).private(Some(secret())).start().await.unwrap()).await.unwrap();
    assert!(other.dialled().is_empty(), "it is told of nobody");
    drop(wrong);
}

#[tokio::test]
async fn a_share_that_is_over_is_answered_for_no_more() {
    let world = World::new();
    let (one, two) = (world.node(1, true), world.node(2, true));
    let content = one.share(world.folder.path().join("file")).private(|_| secret()).await.unwrap().content();
    one.end_share(content, "over").await.unwrap();
    let mut ear = world.lan.link([10, 0, 0, 9].into());
    let _asks = two.download(content).private(Some(secret())).start().await.unwrap();
    let mut asked = 0;
    // Three questions, and no answer.
    while asked < 3 {
        match within(ear.receive()).await {
            Received::Packet(_, from) if from.ip() == IpAddr::from([10, 0, 0, 2]) => asked += 1,
            Received::Packet(_, from) => panic!("{from} answers"),
            other => panic!("{other:?}"),
        }
    }
}
