//! Whoever shares and whoever gets, in one process, over the in-process network and without a tracker.
//!
//! `cargo run -p peer --example memory`

use std::sync::Arc;

use peer::{Held, Node, PeerEvent, ShareOptions};
use protocol::{Algorithm, PeerAddress};
use transport::{Identity, MemoryNetwork};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (folder, network) = (tempfile::tempdir()?, MemoryNetwork::new());
    std::fs::write(folder.path().join("file"), vec![7; 1_000_000])?;
    let node = |name: &str| -> Result<Node, Box<dyn std::error::Error>> {
        let transport = network.bind(&Identity::generate()?, vec!["127.0.0.1:0".parse()?])?;
        let home = folder.path().join(name);
        let builder = Node::builder(Arc::new(transport), storage::backend("mmap").ok_or("it is built in")?);
        Ok(builder.hashes(home.join("hashes")).output(home.join("output")).start())
    };
    let (sender, receiver) = (node("sender")?, node("receiver")?);
    let options = ShareOptions { algorithm: Algorithm::Blake3, piece_size: None, held: Held::All };
    let content = sender.share(&folder.path().join("file"), options).await?;
    let mut events = receiver.events();
    receiver.get(content).await?;
    receiver.add_peer(content, PeerAddress { id: sender.id(), addresses: sender.listeners().to_vec() }).await?;
    loop {
        match events.recv().await? {
            PeerEvent::Completed { path, summary, .. } => {
                println!("{} after {:?}", path.display(), summary.durable);
                break;
            }
            PeerEvent::Failed { error, .. } => return Err(error.to_string().into()),
            event => println!("{event:?}"),
        }
    }
    receiver.shutdown().await;
    sender.shutdown().await;
    Ok(())
}
