//! A real peer inside this process, with a storage or a rate that a separate process could not be given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peer::Node;
use protocol::PeerId;
use storage::wrappers::Rotten;
use storage::{Backend, MmapBackend};
use tokio::runtime::Runtime;
use transport::{Config, Identity, Quic};

use super::stage::Stage;

/// Changes what was read at an offset of the file.
pub type Spoil = fn(u64, &mut [u8]);

/// A seeder of the stage's file. It ends when it is dropped.
pub struct OwnNode {
    runtime: Option<Runtime>,
    /// Who it is.
    pub id: PeerId,
    _node: Node,
}

impl OwnNode {
    /// Shares the file with so many bytes a second at most.
    pub fn seeder(stage: &Stage<'_>, name: &str, up: Option<u64>) -> anyhow::Result<Self> {
        Self::start(stage, name, Arc::new(MmapBackend), up)
    }

    /// The same, but what it reads once it shares is spoilt first.
    pub fn liar(stage: &Stage<'_>, name: &str, spoil: Spoil, up: Option<u64>) -> anyhow::Result<Self> {
        let lies = Arc::new(AtomicBool::new(false));
        let begun = lies.clone();
        let spoil = move |offset, bytes: &mut [u8]| {
            if begun.load(Ordering::Relaxed) {
                spoil(offset, bytes);
            }
        };
        let liar = Self::start(stage, name, Arc::new(Rotten::new(Arc::new(MmapBackend), spoil)), up)?;
        lies.store(true, Ordering::Relaxed);
        Ok(liar)
    }

    fn start(stage: &Stage<'_>, name: &str, storage: Arc<dyn Backend>, up: Option<u64>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (hashes, tracker) = (stage.folder(name)?.join("hashes"), stage.tracker()?);
        let node = runtime.block_on(async {
            let transport = Quic::bind(Config::new(Identity::generate()?, vec![([127, 0, 0, 1], 0).into()]))?;
            let node = Node::builder(Arc::new(transport)).storage(storage).hashes(hashes).up_rate(up).start();
            node.join(tracker).await?;
            node.share(&stage.ground.file).piece_size(1 << 20).await?;
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
