//! A sender and a receiver in one process, over QUIC on loopback and without a tracker.
//!
//! `cargo run -p p2p-fileshare --example quic`

use p2p_fileshare::{Identity, Node, PeerAddress, TransportConfig, TransportKind};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("file"), vec![7; 1_000_000])?;
    let node = |name: &str| -> Result<Node, Box<dyn std::error::Error>> {
        let config = TransportConfig::new(Identity::generate()?, vec!["127.0.0.1:0".parse()?]);
        let home = folder.path().join(name);
        let builder = Node::builder(TransportKind::Quic.bind(config)?);
        Ok(builder.hashes(home.join("hashes")).output(home.join("output")).start())
    };
    let (sender, receiver) = (node("sender")?, node("receiver")?);
    let share = sender.share(folder.path().join("file")).await?;
    let download = receiver.download(share.content()).start().await?;
    let address = PeerAddress { id: sender.id(), addresses: sender.listeners().to_vec() };
    receiver.add_peer(share.content(), address).await?;
    let completed = download.await?;
    println!("{} after {:?}", completed.path.display(), completed.stats.durable);
    receiver.shutdown().await;
    sender.shutdown().await;
    Ok(())
}
