//! Contents whose files are somewhere else: they are served without blocking a worker, an outage is no end of the share, and a change
//! is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use p2p_fileshare::{Node, Remote, State};
use protocol::ContentId;
use storage::{Changing, Fetching, Storage, StorageError};
use tokio::sync::watch;

use super::world::{LONG, World, address};

/// Bytes that are far away, and what is wrong with the way there.
struct Far {
    bytes: Bytes,
    /// So many reads fail, and then none.
    outage: AtomicU32,
    changed: watch::Sender<bool>,
}

impl Far {
    fn new(bytes: &[u8], outage: u32) -> Arc<Self> {
        let (outage, changed) = (AtomicU32::new(outage), watch::Sender::new(false));
        Arc::new(Far { bytes: Bytes::copy_from_slice(bytes), outage, changed })
    }
}

impl Storage for Far {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        tokio::runtime::Handle::current().block_on(self.fetch(file, offset, len))
    }

    fn write(&self, _: usize, _: u64, _: &[u8]) -> Result<(), StorageError> {
        Err(StorageError::Denied("far".into()))
    }

    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        Ok(Vec::new())
    }

    fn release(&self) {}
}

impl Remote for Far {
    fn fetch(&self, _: usize, offset: u64, len: usize) -> Fetching {
        let down = self.outage.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let bytes = self.bytes.clone();
        Box::pin(async move {
            if down {
                return Err(StorageError::Unreachable("far is down".into()));
            }
            // A name is looked up, or a cache is read: that needs a thread of those that block.
            let reading = tokio::task::spawn_blocking(move || bytes.slice(offset as usize..offset as usize + len));
            Ok(reading.await.expect("it does not panic"))
        })
    }

    fn part_size(&self) -> u64 {
        128 << 10
    }

    fn changed(&self) -> Changing {
        let mut changed = self.changed.subscribe();
        Box::pin(async move {
            let _ = changed.wait_for(|changed| *changed).await;
            StorageError::Changed("far".into())
        })
    }
}

async fn get(node: &Node, content: ContentId, from: &Node) {
    let download = node.download(content).start().await.unwrap();
    node.add_peer(content, address(from)).await.unwrap();
    tokio::time::timeout(LONG, download).await.expect("it ends").expect("it completes");
}

fn pattern(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn a_content_is_served_from_elsewhere_through_an_outage() {
    let (world, bytes) = (World::new(), pattern(300_000));
    let (seeder, downloader) = (world.node("s"), world.node("d"));
    let share = seeder.share("far://far.bin").remote(world.manifest(&bytes), Far::new(&bytes, 3)).await.unwrap();
    assert_eq!(share.status().borrow().name, "far.bin");
    get(&downloader, share.content(), &seeder).await;
    assert_eq!(std::fs::read(world.folder.path().join("d/output/far.bin")).unwrap(), bytes);
    assert!(matches!(share.status().borrow().state, State::Complete), "an outage is no end of the share");
}

#[tokio::test]
async fn a_change_elsewhere_withdraws_the_content() {
    let (world, bytes) = (World::new(), pattern(5_000));
    let seeder = world.node("s");
    let far = Far::new(&bytes, 0);
    let share = seeder.share("far://far.bin").remote(world.manifest(&bytes), far.clone()).await.unwrap();
    far.changed.send_replace(true);
    let mut status = share.status();
    let withdrawn = status.wait_for(|status| matches!(status.state, State::Withdrawn(_)));
    tokio::time::timeout(LONG, withdrawn).await.expect("it is withdrawn").expect("somebody says so");
}

#[tokio::test]
async fn a_content_elsewhere_can_be_read_in_order_here() {
    use tokio::io::AsyncReadExt;

    let (world, bytes) = (World::new(), pattern(50_000));
    let seeder = world.node("s");
    let share = seeder.share("far://far.bin").remote(world.manifest(&bytes), Far::new(&bytes, 0)).await.unwrap();
    let mut read = Vec::new();
    tokio::time::timeout(LONG, share.read_from(1_000).read_to_end(&mut read)).await.expect("it ends").unwrap();
    assert!(read == bytes[1_000..]);
}

#[test]
fn many_readers_of_a_content_elsewhere_do_not_take_the_threads_that_it_needs() {
    use tokio::io::AsyncReadExt;

    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let (world, bytes) = (World::new(), pattern(50_000));
        let seeder = world.node("s");
        let share = seeder.share("far://far.bin").remote(world.manifest(&bytes), Far::new(&bytes, 0)).await.unwrap();
        let readers: Vec<_> = (0..64)
            .map(|_| {
                let mut reader = share.read_from(0);
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    reader.read_to_end(&mut read).await.map(|_| read)
                })
            })
            .collect();
        for reader in readers {
            let read = tokio::time::timeout(LONG, reader).await.expect("it ends").unwrap().unwrap();
            assert!(read == bytes);
        }
    });
    // Where it fails, threads are stuck.
    runtime.shutdown_background();
}
