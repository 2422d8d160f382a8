//! What a gateway has brought to its disk, and how much that may be: the least recently used goes first. What is being read, was read a
//! moment ago, or is being sent to peers stays. The times of last use are saved now and then, so that a restart knows them.
//!
//! Each content that was downloaded, and each file of an origin, has a folder of its own. That folder is what is counted and what goes.

mod entry;
mod found;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peer::{ContentId, Node, Status};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::error::{GatewayError, Refusal};
use crate::figures::{KeptFigures, is_running};
use crate::removal::remove_all;
use crate::root_lock;
use entry::{Entry, Open};
use found::{NOTES, found_in, read_notes, size_of};

/// How often the times of last use are saved.
const SAVED: Duration = Duration::from_secs(60);
/// How often, in the time in which something counts as just used, it is looked at what peers are sent; and the least time between.
const LOOKS: u32 = 4;
const LOOK: Duration = Duration::from_secs(1);

/// Closes the files of a folder.
type Close = Box<dyn Fn(&Path) + Send + Sync>;

/// All that a gateway keeps.
pub(crate) struct Kept {
    most: Option<u64>,
    /// What was used within this time stays: an answer with it may be about to begin.
    recent: Duration,
    /// Where the notes are, if anything is kept.
    root: Option<PathBuf>,
    state: Mutex<State>,
    /// Held while something goes.
    removing: Arc<tokio::sync::Mutex<()>>,
    /// Called before a folder goes, so that its files are closed.
    closes: OnceLock<Close>,
    /// Who else may keep files in the same folders.
    _locks: Vec<fs::File>,
}

#[derive(Default)]
struct State {
    folders: HashMap<PathBuf, Entry>,
    saved: Option<Instant>,
    removed: u64,
}

impl State {
    fn bytes(&self) -> u64 {
        self.folders.values().map(|entry| entry.bytes).sum()
    }

    fn look(&mut self) {
        self.folders.values_mut().for_each(Entry::look);
    }

    fn oldest(&mut self, besides: &[PathBuf], recent: Duration) -> Option<PathBuf> {
        self.look();
        let now = SystemTime::now();
        let may_go =
            self.folders.iter().filter(|(folder, entry)| !besides.contains(folder) && entry.may_go(now, recent));
        may_go.min_by_key(|(_, entry)| entry.used).map(|(folder, _)| folder.clone())
    }

    fn notes(&self, root: &Path) -> String {
        let line = |(folder, entry): (&PathBuf, &Entry)| {
            let used = entry.used.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            Some(format!("{used} {}\n", folder.strip_prefix(root).ok()?.to_str()?))
        };
        self.folders.iter().filter_map(line).collect()
    }
}

impl Kept {
    /// What is kept in these folders, of earlier runs too. At most so many bytes are, and what was used so recently stays. Fails if
    /// another gateway keeps something there, and either of them removes what is too much.
    pub(crate) fn open(roots: &BTreeSet<PathBuf>, most: Option<u64>, recent: Duration) -> Result<Self, GatewayError> {
        let locks = root_lock::lock(roots, most.is_some())?;
        let mut folders = HashMap::new();
        for root in roots {
            let noted = read_notes(root);
            for folder in found_in(root) {
                let used = noted.get(&folder).copied();
                let used = used.or_else(|| folder.metadata().ok()?.modified().ok()).unwrap_or(UNIX_EPOCH);
                folders.insert(folder.clone(), Entry::new(size_of(&folder), used));
            }
        }
        Ok(Kept {
            most,
            recent,
            root: roots.first().cloned(),
            state: Mutex::new(State { folders, ..State::default() }),
            removing: Arc::default(),
            closes: OnceLock::new(),
            _locks: locks,
        })
    }

    /// Before a folder goes, this is called.
    pub(crate) fn closes_with(&self, closes: impl Fn(&Path) + Send + Sync + 'static) {
        let _ = self.closes.set(Box::new(closes));
    }

    /// Looks now and then at what peers are sent, as long as something is kept.
    pub(crate) async fn watch(kept: Weak<Self>) {
        loop {
            let Some(recent) = kept.upgrade().filter(|kept| kept.most.is_some()).map(|kept| kept.recent) else {
                return;
            };
            sleep((recent / LOOKS).max(LOOK)).await;
            if let Some(kept) = kept.upgrade() {
                kept.lock().look();
            }
        }
    }

    /// How much that is.
    pub(crate) fn figures(&self) -> KeptFigures {
        let state = self.lock();
        let (mut downloading, mut sharing) = (0, 0);
        for open in state.folders.values().flat_map(|entry| &entry.open) {
            let status = open.status.borrow();
            downloading += u64::from(is_running(&status.state));
            sharing += u64::from(status.is_complete());
        }
        KeptFigures {
            bytes: state.bytes(),
            most: self.most,
            kept: state.folders.len() as u64,
            removed: state.removed,
            downloading,
            sharing,
        }
    }

    /// Something of a folder is about to be used: what is there does not go as long as this is held.
    pub(crate) async fn uses(self: &Arc<Self>, folder: &Path) -> Option<InUse> {
        // It may be going.
        let _removing = self.removing.lock().await;
        self.reads(folder.to_owned())
    }

    /// Fails for what is larger than all that may be kept.
    pub(crate) fn may_fit(&self, bytes: u64) -> Result<(), Refusal> {
        match self.most {
            Some(most) if bytes > most => {
                tracing::warn!(bytes, most, "larger than all that may be kept: raise --cache");
                Err(Refusal::TooLarge)
            }
            _ => Ok(()),
        }
    }

    /// Makes room for so many bytes in a folder, which count from now on. What is least recently used goes, also if who asks for room has
    /// gone meanwhile.
    pub(crate) async fn make_room(self: &Arc<Self>, folder: &Path, bytes: u64, is_coming: bool) -> Result<(), Refusal> {
        self.may_fit(bytes)?;
        let mut removing = self.removing.clone().lock_owned().await;
        let mut stay = vec![folder.to_owned()];
        loop {
            {
                let mut state = self.lock();
                let own = state.folders.get(folder).map_or(0, |entry| entry.bytes);
                let others = state.bytes() - own;
                if self.most.is_none_or(|most| others.saturating_add(bytes) <= most) {
                    let new = || Entry::new(bytes, SystemTime::now());
                    let entry = state.folders.entry(folder.to_owned()).or_insert_with(new);
                    (entry.bytes, entry.is_coming) = (bytes, is_coming);
                    entry.is_used();
                    return Ok(());
                }
            }
            removing = self.oldest_goes(removing, &mut stay).await.ok_or_else(|| self.is_full(bytes))?;
        }
    }

    /// Removes what is too much: an earlier run may have had a larger bound.
    pub(crate) async fn fit(self: &Arc<Self>) {
        let mut stay = Vec::new();
        loop {
            // Others have their turn in between.
            let removing = self.removing.clone().lock_owned().await;
            let fits = self.most.is_none_or(|most| self.lock().bytes() <= most);
            if fits || self.oldest_goes(removing, &mut stay).await.is_none() {
                return;
            }
        }
    }

    fn is_full(&self, bytes: u64) -> Refusal {
        tracing::warn!(bytes, most = self.most, "there is no room for more among what is kept");
        Refusal::Full
    }

    /// Removes the least recently used entry that is not in `stay`. An entry that cannot be removed is added to `stay`.
    /// Returns `None` if no entry may be removed.
    async fn oldest_goes(self: &Arc<Self>, removing: Removing, stay: &mut Vec<PathBuf>) -> Option<Removing> {
        let (oldest, mut entry) = {
            let mut state = self.lock();
            let oldest = state.oldest(stay, self.recent)?;
            let entry = state.folders.remove(&oldest)?;
            (oldest, entry)
        };
        stay.push(oldest.clone());
        let kept = self.clone();
        let going = tokio::spawn(async move {
            if let Some(closes) = kept.closes.get() {
                closes(&oldest);
            }
            let left = remove(oldest.clone(), std::mem::take(&mut entry.open)).await;
            let mut state = kept.lock();
            match left {
                None => state.removed += 1,
                Some(bytes) => {
                    entry.bytes = bytes;
                    entry.is_used();
                    state.folders.insert(oldest, entry);
                }
            }
            drop(state);
            removing
        });
        going.await.ok()
    }

    /// A content is open whose bytes are in this folder: all of them are here, or they come from peers.
    pub(crate) fn is_open(&self, folder: &Path, node: &Node, content: ContentId, status: watch::Receiver<Status>) {
        if let Some(entry) = self.lock().folders.get_mut(folder) {
            entry.is_coming = false;
            entry.is_used();
            entry.open.retain(|other| !other.is_of(node, content));
            let sent = status.borrow().sent;
            entry.open.push(Open { node: node.clone(), content, status, sent });
        }
    }

    /// Nothing of a folder is to come any more for now.
    pub(crate) fn rests(&self, folder: &Path) {
        if let Some(entry) = self.lock().folders.get_mut(folder) {
            entry.is_coming = false;
            entry.is_used();
        }
    }

    /// A folder is gone.
    pub(crate) fn forget(&self, folder: &Path) {
        self.lock().folders.remove(folder);
    }

    /// A content that is read does not go as long as this is held.
    pub(crate) fn reads_content(self: &Arc<Self>, content: ContentId) -> Option<InUse> {
        let folder = {
            let state = self.lock();
            let has = |entry: &Entry| entry.open.iter().any(|other| other.content == content);
            state.folders.iter().find(|(_, entry)| has(entry)).map(|(folder, _)| folder.clone())?
        };
        self.reads(folder)
    }

    /// The same of a folder.
    pub(crate) fn reads(self: &Arc<Self>, folder: PathBuf) -> Option<InUse> {
        let mut state = self.lock();
        let entry = state.folders.get_mut(&folder)?;
        entry.readers += 1;
        entry.is_used();
        self.save(&mut state);
        drop(state);
        Some(InUse { kept: self.clone(), folder })
    }

    /// Saves the times of last use, now and then.
    fn save(&self, state: &mut State) {
        let Some(root) = self.root.clone().filter(|_| state.saved.is_none_or(|saved| saved.elapsed() >= SAVED)) else {
            return;
        };
        state.saved = Some(Instant::now());
        let notes = state.notes(&root);
        spawn_blocking(move || {
            if let Err(error) = atomic_file::replace_cache(&root.join(NOTES), notes.as_bytes()) {
                tracing::debug!(%error, "the times of last use could not be saved");
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is being read.
pub(crate) struct InUse {
    kept: Arc<Kept>,
    folder: PathBuf,
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(entry) = self.kept.lock().folders.get_mut(&self.folder) {
            entry.readers = entry.readers.saturating_sub(1);
            entry.is_used();
        }
    }
}

/// Held while something goes.
type Removing = OwnedMutexGuard<()>;

/// Stops contents, and removes their folder. Gives the bytes that are left of it, if it cannot be removed.
async fn remove(folder: PathBuf, open: Vec<Open>) -> Option<u64> {
    tracing::info!(folder = %folder.display(), "removing it to make room");
    for Open { node, content, .. } in open {
        if let Some(open) = node.open(content).await
            && let Err(error) = open.stop().await
        {
            tracing::warn!(%content, %error, "a content could not be stopped before it is removed");
        }
    }
    let removing = spawn_blocking(move || match remove_all(&folder) {
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "could not be removed");
            Some(size_of(&folder))
        }
        Ok(()) => None,
    });
    removing.await.ok().flatten()
}

#[cfg(test)]
mod tests {
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
        assert_eq!((kept.figures().downloading, kept.figures().sharing), (2, 0));
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
        assert!(
            std::future::poll_fn(|context| std::task::Poll::Ready(making.as_mut().poll(context).is_pending())).await
        );
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
}
