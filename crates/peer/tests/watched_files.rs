//! Files that are changed while they are shared and nobody reads them: they are withdrawn before anyone asks.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use p2p_fileshare::{Node, PeerEvent, State};
use protocol::ContentId;
#[cfg(unix)]
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, broadcast};
use tokio::time::timeout;
use transport::{Identity, MemoryNetwork, Transport};

/// Long before it is over something is wrong.
const LONG: Duration = Duration::from_secs(30);
/// A process has so many files open and no more: one that reads thousands closes those of the other nodes, and a test that
/// depends on an open file does not run beside it.
static OPEN_FILES: Mutex<()> = Mutex::const_new(());

fn node(folder: &Path) -> Node {
    node_in(&MemoryNetwork::new(), folder)
}

fn node_in(network: &MemoryNetwork, folder: &Path) -> Node {
    let identity = Identity::generate().unwrap();
    let transport = network.bind(&identity, vec!["127.0.0.1:0".parse().unwrap()]).unwrap();
    let transport: Arc<dyn Transport> = Arc::new(transport);
    Node::builder(transport).hashes(folder.join("hashes")).output(folder.join("output")).start()
}

async fn share(node: &Node, path: &Path) -> ContentId {
    node.share(path).piece_size(4096).await.unwrap().content()
}

async fn withdrawn(events: &mut broadcast::Receiver<PeerEvent>) -> ContentId {
    withdrawn_because(events).await.0
}

async fn withdrawn_because(events: &mut broadcast::Receiver<PeerEvent>) -> (ContentId, String) {
    loop {
        if let PeerEvent::Withdrawn { content, reason } = timeout(LONG, events.recv()).await.unwrap().unwrap() {
            return (content, reason);
        }
    }
}

/// A file that has been there for a while.
fn old_file(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(path).unwrap().set_modified(hour_ago).unwrap();
}

type Edit = fn(&Path);

#[tokio::test]
async fn a_change_is_noticed_though_nobody_reads() {
    let edits: [(&str, Edit); 5] = [
        ("cut", |path| File::options().write(true).open(path).unwrap().set_len(10).unwrap()),
        ("grown", |path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap()),
        ("edited in place", |path| File::options().write(true).open(path).unwrap().write_all(b"other").unwrap()),
        ("replaced", |path| {
            fs::write(path.with_extension("new"), vec![8; 100_000]).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("removed", |path| fs::remove_file(path).unwrap()),
    ];
    for (how, edit) in edits {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        let mut events = node.events();
        for shared in ["alone", "in a folder"] {
            let path = folder.path().join(shared).join("file");
            old_file(&path, &vec![7; 100_000]);
            old_file(&path.with_file_name("other"), &[1; 100]);
            let content = share(&node, if shared == "alone" { &path } else { path.parent().unwrap() }).await;
            edit(&path);
            let (found, reason) = withdrawn_because(&mut events).await;
            assert_eq!(found, content, "{how}, {shared}");
            // Where a file goes at once though somebody has it open.
            if cfg!(unix) {
                let is_removed = how == "removed";
                assert_eq!(
                    (reason.contains("is not there"), reason.contains("was changed")),
                    (is_removed, !is_removed)
                );
            }
        }
        node.shutdown().await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_edit_that_puts_the_old_time_back_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path());
    let mut events = node.events();
    let path = folder.path().join("file");
    old_file(&path, &vec![7; 100_000]);
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let content = share(&node, &path).await;
    let mut file = File::options().write(true).open(&path).unwrap();
    file.write_all(b"other").unwrap();
    file.set_modified(time).unwrap();
    assert_eq!(withdrawn(&mut events).await, content);
    node.shutdown().await;
}

/// A download that has begun has opened the old file, and is given nothing of the new one: who comes next is not to wait in vain.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_replaced_by_an_equal_one_is_shared_still_or_withdrawn() {
    let _alone = OPEN_FILES.lock().await;
    for was_read in [false, true] {
        for keeps_time in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let node = node(folder.path());
            let mut events = node.events();
            let path = folder.path().join("file");
            old_file(&path, &vec![7; 100_000]);
            let shared = node.share(&path).piece_size(4096).await.unwrap();
            if was_read {
                shared.read_from(0).read_u8().await.unwrap();
            }
            let new = path.with_extension("new");
            fs::write(&new, vec![7; 100_000]).unwrap();
            if keeps_time {
                let time = fs::metadata(&path).unwrap().modified().unwrap();
                File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
            }
            fs::rename(&new, &path).unwrap();
            if was_read || !keeps_time {
                assert_eq!(withdrawn(&mut events).await, shared.content(), "{was_read} {keeps_time}");
            } else {
                let mut read = Vec::new();
                shared.read_from(0).read_to_end(&mut read).await.unwrap();
                assert!(read == [7; 100_000]);
            }
            node.shutdown().await;
        }
    }
}

/// More folders than the system is asked about: they are looked at.
#[tokio::test]
async fn a_change_among_thousands_of_folders_is_noticed() {
    let _alone = OPEN_FILES.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    (0..2000).for_each(|number| old_file(&root.join(format!("{number}/file")), &[7; 100]));
    let node = node(folder.path());
    let mut events = node.events();
    let content = share(&node, &root).await;
    fs::write(root.join("1234/file"), "other").unwrap();
    assert_eq!(withdrawn(&mut events).await, content);
    node.shutdown().await;
}

/// Rights, names and places of files are none of their bytes.
#[cfg(unix)]
#[tokio::test]
async fn what_leaves_the_bytes_as_they_are_withdraws_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path());
    let mut events = node.events();
    let root = folder.path().join("root");
    old_file(&root.join("file"), &vec![7; 100_000]);
    let kept = node.share(&root).piece_size(4096).await.unwrap();
    fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(root.join("file"), folder.path().join("link")).unwrap();
    fs::write(root.join("another"), "that came later").unwrap();
    let copy = folder.path().join("copy");
    fs::copy(root.join("file"), &copy).unwrap();
    let other = folder.path().join("other");
    old_file(&other, b"bytes");
    let edited = share(&node, &other).await;
    fs::write(&other, "other").unwrap();
    // What is seen after it would have been seen before.
    assert_eq!(withdrawn(&mut events).await, edited);
    fs::rename(&root, folder.path().join("moved")).unwrap();
    old_file(&other, b"bytes again");
    let edited = share(&node, &other).await;
    fs::remove_file(&other).unwrap();
    assert_eq!(withdrawn(&mut events).await, edited);
    let mut read = Vec::new();
    kept.read_from(0).read_to_end(&mut read).await.expect("it is shared still");
    assert_eq!(read, [7; 100_000]);
    node.shutdown().await;
}

/// What was downloaded is shared from then on.
#[tokio::test]
async fn a_download_that_is_edited_when_it_is_complete_is_withdrawn() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let [sharer, getter] = ["sharer", "getter"].map(|name| node_in(&network, &folder.path().join(name)));
    let path = folder.path().join("file");
    old_file(&path, &vec![7; 100_000]);
    let content = share(&sharer, &path).await;
    let mut events = getter.events();
    let download = getter.download(content).start().await.unwrap();
    let addresses = sharer.listeners().to_vec();
    getter.add_peer(content, protocol::PeerAddress { id: sharer.id(), addresses }).await.unwrap();
    let path = timeout(LONG, download.completed()).await.unwrap().unwrap().path;
    File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    assert_eq!(withdrawn(&mut events).await, content);
    let status =
        timeout(LONG, async { download.status().wait_for(|status| !status.is_complete()).await.unwrap().clone() });
    let status = status.await.unwrap();
    assert!(matches!(status.state, State::Withdrawn(_)) && status.completed.is_some(), "{status:?}");
    sharer.shutdown().await;
    getter.shutdown().await;
}
