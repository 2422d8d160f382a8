//! A peer inside this process: a real one, over a storage or at a rate that a process of its own could not be given.

use std::sync::Arc;

use peer::{Held, Node, ShareOptions};
use protocol::{Algorithm, PeerId};
use storage::Backend;
use tokio::runtime::Runtime;
use transport::{Config, Identity, Quic};

use super::stage::Stage;

/// A seeder of the stage's file. It ends when it is dropped.
pub struct OwnNode {
    runtime: Option<Runtime>,
    /// Who it is.
    pub id: PeerId,
    _node: Node,
}

impl OwnNode {
    /// Shares the file, as `storage` gives it back, with so many bytes a second at most.
    pub fn seeder(stage: &Stage<'_>, name: &str, storage: Arc<dyn Backend>, up: Option<u64>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (hashes, tracker) = (stage.folder(name)?.join("hashes"), stage.tracker()?);
        let node = runtime.block_on(async {
            let transport = Quic::bind(Config::new(Identity::generate()?, vec![([127, 0, 0, 1], 0).into()]))?;
            let node = Node::builder(Arc::new(transport), storage).hashes(hashes).rates(up, None).start();
            node.join(tracker).await?;
            let options = ShareOptions { algorithm: Algorithm::Blake3, piece_size: Some(1 << 20), held: Held::All };
            node.share(&stage.ground.file, options).await?;
            anyhow::Ok(node)
        })?;
        Ok(OwnNode { runtime: Some(runtime), id: node.id(), _node: node })
    }
}

impl Drop for OwnNode {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
