//! Shares a file and downloads it with another node in the same process: `cargo run -p p2p-fileshare --example embed`.

use p2p_fileshare::{Identity, MemoryNetwork, Node, PeerAddress};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("model.bin"), vec![7; 1_000_000])?;
    let network = MemoryNetwork::new(); // or `TransportKind::Auto.bind(config)?` for QUIC and TCP
    let node = |name: &str| -> Result<Node, Box<dyn std::error::Error>> {
        let transport = network.bind(&Identity::generate()?, vec!["127.0.0.1:0".parse()?])?;
        let home = folder.path().join(name);
        Ok(Node::builder(std::sync::Arc::new(transport)).hashes(home.join("hashes")).output(home.join("out")).start())
    };
    let (sender, receiver) = (node("sender")?, node("receiver")?);
    let share = sender.share(folder.path().join("model.bin")).await?;

    let download = receiver.download(share.content()).start().await?;
    // A tracker would introduce them: `receiver.join(tracker).await?`.
    let address = PeerAddress { id: sender.id(), addresses: sender.listeners().to_vec() };
    receiver.add_peer(share.content(), address).await?;
    let done = download.await?;
    println!("{} is here after {:?}", done.path.display(), done.stats.durable);

    share.stop().await?;
    receiver.shutdown().await;
    sender.shutdown().await;
    Ok(())
}
