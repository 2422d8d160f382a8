//! Downloads of what no peer has, from where it was made: verified as anything else, and tried again while it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use p2p_fileshare::{Fallback, ORIGIN, OriginUrl, PeerEvent, State, WaitingFor};
use protocol::{ContentId, Manifest, PeerAddress};
use storage::{FallbackRead, FindingManifest, NextBytes, StorageError};

use super::world::{LONG, World};

/// An origin of one file.
struct File {
    bytes: Bytes,
    manifest: Option<Arc<Manifest>>,
    /// So many reads fail, and then none.
    outage: AtomicU32,
    read: AtomicU64,
}

impl File {
    fn new(bytes: &[u8], manifest: Option<&Arc<Manifest>>, outage: u32) -> Arc<Self> {
        let (bytes, outage) = (Bytes::copy_from_slice(bytes), AtomicU32::new(outage));
        Arc::new(File { bytes, manifest: manifest.cloned(), outage, read: AtomicU64::new(0) })
    }
}

/// A range of it, in parts of odd sizes.
struct Part {
    rest: Bytes,
    down: bool,
}

impl FallbackRead for Part {
    fn next(&mut self) -> NextBytes<'_> {
        Box::pin(async move {
            match self.down {
                true => Err(StorageError::Unreachable("the file is down".into())),
                false => Ok(self.rest.split_to(self.rest.len().min(1001))),
            }
        })
    }
}

impl Fallback for File {
    fn shown(&self) -> &str {
        "the file"
    }

    fn rate(&self) -> Option<std::num::NonZeroU64> {
        None
    }

    fn is_spare(&self) -> bool {
        false
    }

    fn manifest(&self, _: ContentId) -> FindingManifest {
        let bytes = self.manifest.as_ref().map(|manifest| manifest.bytes().clone());
        Box::pin(async move { Ok(bytes) })
    }

    fn read(&self, _: &Arc<Manifest>, _: usize, offset: u64, len: u64) -> Box<dyn FallbackRead> {
        let down = self.outage.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        self.read.fetch_add(len, Ordering::Relaxed);
        Box::new(Part { rest: self.bytes.slice(offset as usize..(offset + len) as usize), down })
    }
}

fn pattern(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn with_no_peer_all_of_it_comes_from_the_origin_each_byte_once() {
    let (world, bytes) = (World::new(), pattern(300_001));
    let manifest = world.manifest(&bytes);
    let (origin, node) = (File::new(&bytes, Some(&manifest), 2), world.node("one"));
    let mut events = node.events();
    let download = node.download(manifest.id()).origin(origin.clone()).start().await.unwrap();
    let done = tokio::time::timeout(LONG, download).await.expect("it ends").expect("it completes");
    assert!(std::fs::read(&done.path).unwrap() == bytes);
    assert_eq!(done.stats.sources.get(&ORIGIN), Some(&300_001));
    assert_eq!(node.counters().received, [0, 0, 300_001]);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let PeerEvent::Origin { origin, failure, .. } = event {
            told.push((origin, failure));
        }
    }
    let down = ("the file".to_owned(), Some("the file is down".to_owned()));
    assert_eq!(told, [down, ("the file".to_owned(), None)]);
}

#[tokio::test]
async fn a_manifest_that_no_peer_has_comes_from_the_origin() {
    let (world, bytes) = (World::new(), pattern(5000));
    let manifest = world.manifest(&bytes);
    let (origin, node) = (File::new(&bytes, Some(&manifest), 0), world.node("one"));
    let coming = node.manifest_with(manifest.id(), None, Some(origin.clone()));
    let came = tokio::time::timeout(LONG, coming).await.expect("it comes").unwrap();
    assert_eq!(came.id(), manifest.id());
    assert_eq!(origin.read.load(Ordering::Relaxed), 0, "no piece is read for that");
}

/// Answers nothing until it is gone.
struct Silent(Arc<Manifest>);

impl FallbackRead for Silent {
    fn next(&mut self) -> NextBytes<'_> {
        Box::pin(std::future::pending())
    }
}

impl Fallback for Silent {
    fn shown(&self) -> &str {
        "the silent one"
    }

    fn rate(&self) -> Option<std::num::NonZeroU64> {
        None
    }

    fn is_spare(&self) -> bool {
        false
    }

    fn manifest(&self, _: ContentId) -> FindingManifest {
        let bytes = self.0.bytes().clone();
        Box::pin(async move { Ok(Some(bytes)) })
    }

    fn read(&self, manifest: &Arc<Manifest>, _: usize, _: u64, _: u64) -> Box<dyn FallbackRead> {
        Box::new(Silent(manifest.clone()))
    }
}

#[tokio::test]
async fn an_origin_that_has_not_answered_yet_is_what_a_download_waits_for() {
    let world = World::new();
    let (manifest, node) = (world.manifest(&pattern(5000)), world.node("one"));
    let download = node.download(manifest.id()).origin(Arc::new(Silent(manifest.clone()))).start().await.unwrap();
    let waits = WaitingFor::Origin { origin: "the silent one".to_owned() };
    assert_eq!(download.waiting_for().await, Some(waits.clone()), "for the manifest");
    let mut status = download.status();
    let opened = status.wait_for(|status| matches!(status.state, State::Fetching));
    tokio::time::timeout(LONG, opened).await.expect("the manifest comes").unwrap();
    assert_eq!(download.waiting_for().await, Some(waits), "for pieces");
}

#[tokio::test]
async fn wrong_bytes_of_an_origin_are_not_stored_and_peers_bring_the_rest() {
    let (world, bytes) = (World::new(), pattern(100_000));
    let manifest = world.manifest(&bytes);
    let (origin, node) = (File::new(&[7; 100_000], Some(&manifest), 0), world.node("one"));
    let mut events = node.events();
    let download = node.download(manifest.id()).origin(origin.clone()).start().await.unwrap();
    let failure = loop {
        let event = tokio::time::timeout(LONG, events.recv()).await.expect("it is told").unwrap();
        if let PeerEvent::Origin { failure: Some(failure), .. } = event {
            break failure;
        }
    };
    assert!(failure.contains("other bytes"), "{failure}");
    assert_eq!(download.status().borrow().have, 0);
    let other = world.node("other");
    std::fs::create_dir_all(world.folder.path().join("share")).unwrap();
    let path = world.folder.path().join("share/far.bin");
    std::fs::write(&path, &bytes).unwrap();
    let share = other.share(&path).piece_size(Some(1024)).await.unwrap();
    assert_eq!(share.content(), manifest.id());
    let peer = PeerAddress { id: other.id(), addresses: other.listeners().to_vec() };
    node.add_peer(manifest.id(), peer).await.unwrap();
    let done = tokio::time::timeout(LONG, download).await.expect("it ends").expect("it completes");
    assert!(std::fs::read(&done.path).unwrap() == bytes);
    assert_eq!(done.stats.sources.get(&ORIGIN), None);
    assert_eq!(node.counters().received, [bytes.len() as u64, 0, 0]);
}

#[tokio::test]
async fn an_origin_that_the_manifest_names_is_opened_by_the_embedder_alone() {
    let (world, bytes) = (World::new(), pattern(50_000));
    let manifest = world.manifest(&bytes);
    let url: OriginUrl = "https://host/far.bin".parse().unwrap();
    let named = Arc::new(manifest.with_origin(url.clone()).unwrap());
    let origin = File::new(&bytes, None, 0);
    let opened = origin.clone();
    let reads = move |found: &OriginUrl| (*found == url).then(|| opened.clone() as Arc<dyn Fallback>);
    let node = world.builder("one").named_origins(reads).start();
    // The manifest came before: from somebody who is gone.
    let hashes = world.folder.path().join("one/hashes/by-id");
    std::fs::create_dir_all(&hashes).unwrap();
    std::fs::write(hashes.join(format!("{}.manifest", named.id())), named.bytes()).unwrap();
    let done = node.download(named.id()).start().await.unwrap();
    let done = tokio::time::timeout(LONG, done).await.expect("it ends").expect("it completes");
    assert!(std::fs::read(&done.path).unwrap() == bytes);
    assert_eq!(origin.read.load(Ordering::Relaxed), 50_000);
}
