//! What goes when there is too much, and what stays.

use peer::{Identity, MemoryNetwork};

use super::entry::SENT;
use super::*;
use crate::blobs::folder;

const RECENT: Duration = Duration::from_secs(60);

fn kept(root: &Path, most: u64) -> Arc<Kept> {
    Arc::new(Kept::open(&BTreeSet::from([root.to_owned()]), Some(most), RECENT).unwrap())
}

fn file(root: &Path, name: &str, bytes: usize, used: u64) -> PathBuf {
    let folder = root.join("origins-0").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), vec![1; bytes]).unwrap();
    let notes = fs::read_to_string(root.join(NOTES)).unwrap_or_default();
    fs::write(root.join(NOTES), format!("{notes}{used} origins-0/{name}\n")).unwrap();
    folder
}

#[tokio::test]
async fn the_least_recently_used_goes_first_and_a_restart_knows_it() {
    let root = tempfile::tempdir().unwrap();
    let folders = [("a", 300), ("b", 100), ("c", 200)].map(|(name, used)| file(root.path(), name, 1000, used));
    fs::create_dir(root.path().join("origins-0").join("empty")).unwrap();
    fs::create_dir(root.path().join("origins-0").join(folder::ANSWERS)).unwrap();
    fs::create_dir(root.path().join("of the user")).unwrap();
    let kept = kept(root.path(), 3500);
    assert_eq!((kept.figures().bytes, kept.figures().kept), (3000, 4));
    let new = root.path().join("origins-0").join("new");
    kept.make_room(&new, 1000, true).await.unwrap();
    assert_eq!(folders.each_ref().map(|folder| folder.exists()), [true, false, true]);
    kept.make_room(&new, 2000, true).await.unwrap();
    assert_eq!(folders.each_ref().map(|folder| folder.exists()), [true, false, false]);
    assert_eq!((kept.figures().bytes, kept.figures().removed), (3000, 2));
    assert!(root.path().join("of the user").exists());
    assert!(root.path().join("origins-0").join(folder::ANSWERS).exists());
    // What is too large in any case costs nobody anything.
    assert_eq!(kept.make_room(&root.path().join("x"), 4000, true).await, Err(Refusal::TooLarge));
    assert!(folders[0].exists());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_or_on_its_way_or_was_just_used_stays() {
    let root = tempfile::tempdir().unwrap();
    let folders = [("a", 100), ("b", 200)].map(|(name, used)| file(root.path(), name, 1000, used));
    let kept = kept(root.path(), 2000);
    let reading = kept.reads(folders[0].clone()).unwrap();
    let new = root.path().join("new");
    kept.make_room(&new, 1000, true).await.unwrap();
    assert_eq!(folders.each_ref().map(|folder| folder.exists()), [true, false], "the older one is read");
    drop(reading);
    let refused = kept.make_room(&root.path().join("other"), 500, true).await;
    assert_eq!(refused, Err(Refusal::Full), "one was used a moment ago, and one is on its way");
    // A second later it may be asked again; a minute later there is room.
    tokio::time::advance(RECENT).await;
    kept.make_room(&root.path().join("other"), 500, true).await.unwrap();
    assert!(!folders[0].exists());
    kept.forget(&new);
    assert_eq!(kept.figures().bytes, 500);
}

fn node(hashes: &Path) -> Node {
    let any = vec!["127.0.0.1:0".parse().unwrap()];
    let transport = MemoryNetwork::new().bind(&Identity::generate().unwrap(), any).unwrap();
    Node::builder(Arc::new(transport)).hashes(hashes).start()
}

#[tokio::test(start_paused = true)]
async fn what_peers_are_sent_stays_for_an_hour_after_its_last_use() {
    let root = tempfile::tempdir().unwrap();
    let folder = file(root.path(), "a", 1000, 100);
    let kept = kept(root.path(), 1000);
    let node = node(&root.path().join("hashes"));
    let (say, status) = watch::channel(Status::default());
    kept.is_open(&folder, &node, "01".repeat(32).parse().unwrap(), status);
    let new = root.path().join("new");
    for _ in 0..3 {
        tokio::time::advance(RECENT).await;
        say.send_modify(|status| status.sent += 1);
        assert_eq!(kept.make_room(&new, 500, true).await, Err(Refusal::Full), "a peer gets it");
    }
    tokio::time::advance(SENT).await;
    say.send_modify(|status| status.sent += 1);
    kept.make_room(&new, 500, true).await.unwrap();
    assert!(!folder.exists(), "nobody here has used it for an hour");
}

#[tokio::test(start_paused = true)]
async fn what_has_just_become_open_stays_and_goes_when_nobody_wants_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = file(root.path(), "a", 1000, 100);
    let kept = kept(root.path(), 1000);
    let nodes = ["one", "other"].map(|name| node(&root.path().join(name)));
    let content = "01".repeat(32).parse().unwrap();
    for node in [&nodes[0], &nodes[1], &nodes[1]] {
        kept.is_open(&folder, node, content, watch::channel(Status::default()).1);
    }
    assert_eq!(kept.lock().folders[&folder].open.len(), 2, "once for each node");
    assert_eq!((kept.figures().downloading, kept.figures().sharing), (1, 0), "it is one content");
    let new = root.path().join("new");
    assert_eq!(kept.make_room(&new, 500, true).await, Err(Refusal::Full));
    tokio::time::advance(RECENT).await;
    kept.make_room(&new, 500, true).await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn files_are_closed_before_their_folder_goes() {
    let root = tempfile::tempdir().unwrap();
    let folder = file(root.path(), "a", 1000, 100);
    let kept = kept(root.path(), 1000);
    let (say, said) = std::sync::mpsc::channel();
    kept.closes_with(move |folder| say.send((folder.to_owned(), folder.exists())).unwrap());
    kept.make_room(&root.path().join("new"), 500, true).await.unwrap();
    assert_eq!(said.try_iter().collect::<Vec<_>>(), [(folder, true)]);
}

#[tokio::test]
async fn a_file_that_came_in_part_is_given_up_unless_its_rest_is_coming() {
    let root = tempfile::tempdir().unwrap();
    let folder = file(root.path(), "a", 1000, 100);
    let kept = kept(root.path(), 2000);
    kept.make_room(&folder, 1000, true).await.unwrap();
    kept.give_up(&folder, || panic!("its rest is coming")).await;
    assert!(folder.exists());
    kept.rests(&folder);
    kept.give_up(&folder, || false).await;
    assert!(folder.exists(), "it has become complete meanwhile");
    kept.give_up(&folder, || folder.exists()).await;
    assert!(!folder.exists(), "it was closed, and then removed");
    assert_eq!(kept.figures().bytes, 0);
}

#[tokio::test]
async fn what_is_more_than_may_be_goes_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let folders = [("a", 300), ("b", 100), ("c", 200)].map(|(name, used)| file(root.path(), name, 1000, used));
    let kept = kept(root.path(), 1500);
    kept.fit().await;
    assert_eq!(folders.each_ref().map(|folder| folder.exists()), [true, false, false]);
    assert_eq!((kept.figures().bytes, kept.figures().removed), (1000, 2));
}

#[tokio::test]
async fn what_goes_is_gone_or_still_counted_even_if_nobody_waits() {
    let root = tempfile::tempdir().unwrap();
    let folder = file(root.path(), "a", 1000, 100);
    let kept = kept(root.path(), 1000);
    let new = root.path().join("new");
    let mut making = Box::pin(kept.make_room(&new, 500, true));
    // Whoever asks for room leaves as soon as something goes.
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(making.as_mut().poll(context).is_pending())).await);
    drop(making);
    assert!(kept.uses(&folder).await.is_none(), "this waits until it is gone");
    assert_eq!((folder.exists(), kept.figures().bytes), (false, 0));
}

#[tokio::test]
async fn what_cannot_be_removed_still_counts() {
    let root = tempfile::tempdir().unwrap();
    let [first, second] = [("a", 100), ("b", 200)].map(|(name, used)| file(root.path(), name, 1000, used));
    let kept = kept(root.path(), 2000);
    // A file is not removed as a folder is.
    fs::remove_dir_all(&first).unwrap();
    fs::write(&first, []).unwrap();
    kept.make_room(&root.path().join("new"), 1500, true).await.unwrap();
    assert!(first.exists() && !second.exists(), "the next one went");
    assert_eq!((kept.figures().bytes, kept.figures().kept, kept.figures().removed), (1500, 2, 1));
}

#[test]
fn what_another_gateway_has_is_not_counted() {
    let root = tempfile::tempdir().unwrap();
    file(root.path(), "a", 1000, 100);
    let other = folder::Folder::open(root.path()).unwrap();
    assert_eq!(kept(root.path(), 1000).figures().kept, 0);
    drop(other);
    assert_eq!(kept(root.path(), 1000).figures().kept, 1);
}
