//! Brings in what an answer consists of, somewhat ahead of what is sent. Slices of a map cost no memory and come a MiB at a time. What has
//! to be copied comes in small parts, and the slower it is taken, the fewer of them wait: each of a hundred peers that take next to nothing
//! holds some.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::Block;
use storage::StorageError;
use tokio::task::JoinHandle;

use crate::disk::content::ContentStore;
use crate::disk::workers::Workers;

/// Most bytes of one copy, which is one part of an answer.
pub(super) const PART: usize = 128 << 10;
/// Most bytes of one slice of a map, and of all that is loaded ahead.
pub(super) const SLICE: usize = 1 << 20;
/// Whoever takes a part within this time has more of them loaded ahead.
const QUICK: Duration = Duration::from_millis(50);

/// What is left to be loaded of an answer.
pub(super) struct Loads {
    store: Arc<ContentStore>,
    workers: Arc<Workers>,
    /// In order; and those that are being loaded, which come before.
    units: VecDeque<Unit>,
    loading: VecDeque<(Unit, Load)>,
    /// So many bytes may be loaded before they can be sent.
    ahead: usize,
}

/// Bytes of a block that are loaded in one go.
struct Unit {
    block: Arc<Block>,
    bytes: Range<usize>,
    /// Whether it is a part of what is copied.
    is_part: bool,
}

/// Bytes that are being loaded. Nobody waits for them any more when this is dropped.
struct Load(JoinHandle<Result<Bytes, StorageError>>);

impl Drop for Load {
    fn drop(&mut self) {
        // Work that has begun on a disk is done to its end all the same.
        self.0.abort();
    }
}

impl Loads {
    pub(super) fn new(store: Arc<ContentStore>, workers: Arc<Workers>, blocks: impl Iterator<Item = Block>) -> Self {
        let whole = |block: Block| Unit { bytes: 0..block.len, block: Arc::new(block), is_part: false };
        Loads { store, workers, units: blocks.map(whole).collect(), loading: VecDeque::new(), ahead: PART }
    }

    /// What comes next; nothing at the end, or if the node ends.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, StorageError>> {
        self.load_ahead().await;
        let (_, mut load) = self.loading.pop_front()?;
        // A worker fails only when the node ends.
        let loaded = (&mut load.0).await.ok()?;
        // The disk works while the network does.
        self.load_ahead().await;
        Some(loaded)
    }

    /// The last one was taken within this time.
    pub(super) fn was_taken(&mut self, within: Duration) {
        if within <= QUICK {
            self.ahead = (self.ahead * 2).min(SLICE);
            return;
        }
        self.ahead = PART;
        while self.loading.len() > 1
            && let Some((unit, _)) = self.loading.pop_back()
        {
            self.units.push_front(unit);
        }
    }

    async fn load_ahead(&mut self) {
        while self.loading.iter().map(|(unit, _)| unit.bytes.len()).sum::<usize>() < self.ahead {
            let Some(unit) = self.next_unit().await else { return };
            let load = self.load(&unit).await;
            self.loading.push_back((unit, load));
        }
    }

    async fn next_unit(&mut self) -> Option<Unit> {
        let unit = self.units.pop_front()?;
        if unit.is_part || !self.is_copied(&unit.block).await {
            return Some(unit);
        }
        for start in (0..unit.block.len).step_by(PART).rev() {
            let bytes = start..unit.block.len.min(start + PART);
            self.units.push_front(Unit { block: unit.block.clone(), bytes, is_part: true });
        }
        self.units.pop_front()
    }

    /// Whether what is loaded of a block is no slice of a map.
    async fn is_copied(&self, block: &Block) -> bool {
        if self.store.remote().is_some() || block.stretches.len() > 1 {
            return true;
        }
        if block.len <= PART {
            return false;
        }
        match (self.store.known_to_be_mapped(), block.stretches.first().copied()) {
            (Some(mapped), _) => !mapped,
            (None, Some(stretch)) => {
                let store = self.store.clone();
                let looking = self.workers.start(move || store.is_mapped(&stretch)).await;
                !looking.await.unwrap_or(true)
            }
            (None, None) => false,
        }
    }

    async fn load(&self, unit: &Unit) -> Load {
        let (store, block, bytes) = (self.store.clone(), unit.block.clone(), unit.bytes.clone());
        if let Some(remote) = store.remote().cloned() {
            // No worker waits for a network. A slice would keep all that was read with it.
            return Load(tokio::spawn(async move {
                let fetched = ContentStore::fetch(&*remote, &block.part(bytes)).await?;
                Ok(Bytes::copy_from_slice(&fetched))
            }));
        }
        let is_part = unit.is_part;
        // Read, or for a map brought in, away from the packets, because it may wait for the disk.
        let work = move || if is_part { store.load_part(&block, bytes) } else { store.load(&block) };
        Load(self.workers.start(work).await)
    }
}

#[cfg(test)]
mod tests {
    use protocol::PieceRange;
    use tokio::sync::broadcast;

    use super::*;
    use crate::disk::scan::ScanOptions;
    use crate::disk::share::{ShareOptions, share};

    /// A folder of small files beside a large one, shared, and all of its bytes in their order.
    fn shared(folder: &std::path::Path, backend: &str) -> (Arc<ContentStore>, Vec<u8>) {
        let content = folder.join("content");
        std::fs::create_dir_all(&content).unwrap();
        let bytes = |len: usize, seed: usize| (0..len).map(|at| (at / 7 + seed) as u8).collect::<Vec<_>>();
        std::fs::write(content.join("large"), bytes(3 << 20, 1)).unwrap();
        (0..100).for_each(|n| std::fs::write(content.join(format!("small{n}")), bytes(20_000, n)).unwrap());
        let options = ShareOptions { piece_size: Some(64 << 10), ..ShareOptions::default() };
        let (backend, events) = (storage::backend(backend).unwrap(), broadcast::channel(16).0);
        let hashes = folder.join("hashes");
        let store = share(&content, &options, &ScanOptions::default(), &*backend, &hashes, &events).unwrap().store;
        let files = &store.manifest().header().files;
        let all = files.iter().flat_map(|file| std::fs::read(content.join(&file.path)).unwrap()).collect();
        (store, all)
    }

    #[tokio::test]
    async fn who_takes_copies_slowly_has_few_of_them_loaded() {
        let folder = tempfile::tempdir().unwrap();
        for within in [Duration::ZERO, QUICK * 2] {
            let (store, all) = shared(folder.path(), "file");
            let geometry = store.manifest().geometry();
            let run = PieceRange { first: 0, count: geometry.pieces() };
            let mut loads = Loads::new(store.clone(), Workers::new(), geometry.blocks(run, SLICE));
            let (mut got, mut most) = (Vec::new(), 0);
            while let Some(loaded) = loads.next().await {
                let loaded = loaded.unwrap();
                assert!(loaded.len() <= PART);
                got.extend_from_slice(&loaded);
                loads.was_taken(within);
                most = most.max(loads.loading.iter().map(|(unit, _)| unit.bytes.len()).sum::<usize>());
            }
            assert!(got == all, "{within:?}");
            if within.is_zero() {
                assert!(most > SLICE / 2 && most < SLICE + PART, "{most} bytes ahead");
            } else {
                assert!(most <= PART, "{most} bytes ahead");
            }
        }
    }

    #[tokio::test]
    async fn slices_of_a_map_come_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (store, all) = shared(folder.path(), "mmap");
        let geometry = store.manifest().geometry();
        let run = PieceRange { first: 0, count: geometry.pieces() };
        let mut loads = Loads::new(store.clone(), Workers::new(), geometry.blocks(run, SLICE));
        let (mut got, mut largest) = (Vec::new(), 0);
        while let Some(loaded) = loads.next().await {
            let loaded = loaded.unwrap();
            largest = largest.max(loaded.len());
            got.extend_from_slice(&loaded);
            loads.was_taken(Duration::ZERO);
        }
        assert!(got == all);
        // Where files are not mapped, they are copied.
        let is_mapped = store.known_to_be_mapped();
        assert!(is_mapped.is_some());
        assert_eq!(largest, if is_mapped == Some(true) { SLICE } else { PART });
    }
}
