//! What a gateway has brought to its disk, and how much that may be: the least recently used goes first, and never what is being read or
//! was a moment ago. When something was used is written down now and then, so that a restart knows it.
//!
//! Each content that was downloaded, and each file of an origin, has a folder of its own. That folder is what is counted and what goes.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peer::{ContentId, Node};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::error::Refusal;

/// What was used within this time stays: an answer with it may be about to begin.
const RECENT: Duration = Duration::from_secs(60);
/// How often it is written down when what was used.
const WRITTEN: Duration = Duration::from_secs(60);
/// Where that is.
const NOTES: &str = ".kept";
/// Most bytes of it.
const LONGEST: u64 = 16 << 20;
/// What folders of origins' files are in begins so.
const ORIGINS: &str = "origins-";

/// How much a gateway keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptFigures {
    /// Bytes that are kept, or for which there is room already.
    pub bytes: u64,
    /// How many there may be, if there is a bound.
    pub most: Option<u64>,
    /// Contents and files that are kept.
    pub kept: u64,
    /// How many had to go so far.
    pub removed: u64,
}

/// All that a gateway keeps.
pub(crate) struct Kept {
    most: Option<u64>,
    /// Where the notes are, if anything is kept.
    root: Option<PathBuf>,
    state: Mutex<State>,
    /// Held while something goes.
    removing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    folders: HashMap<PathBuf, Entry>,
    noted: Option<Instant>,
    removed: u64,
}

struct Entry {
    bytes: u64,
    used: SystemTime,
    /// Whether it is still on its way from an origin.
    is_coming: bool,
    readers: usize,
    /// Who has it open, and as which content.
    open: Vec<(Node, ContentId)>,
}

impl Entry {
    fn new(bytes: u64, used: SystemTime) -> Self {
        Entry { bytes, used, is_coming: false, readers: 0, open: Vec::new() }
    }

    fn may_go(&self, now: SystemTime) -> bool {
        let is_recent = now.duration_since(self.used).unwrap_or_default() < RECENT;
        self.readers == 0 && !self.is_coming && !is_recent
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.folders.values().map(|entry| entry.bytes).sum()
    }

    fn oldest(&self, besides: &Path, now: SystemTime) -> Option<PathBuf> {
        let may_go = self.folders.iter().filter(|(folder, entry)| *folder != besides && entry.may_go(now));
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
    /// What is kept in these folders, of earlier runs too. At most so many bytes are.
    pub(crate) fn open(roots: &BTreeSet<PathBuf>, most: Option<u64>) -> Self {
        let mut folders = HashMap::new();
        for root in roots {
            let noted = read_notes(root);
            for folder in found_in(root) {
                let used = noted.get(&folder).copied();
                let used = used.or_else(|| folder.metadata().ok()?.modified().ok()).unwrap_or(UNIX_EPOCH);
                folders.insert(folder.clone(), Entry::new(size_of(&folder), used));
            }
        }
        let state = Mutex::new(State { folders, ..State::default() });
        Kept { most, root: roots.first().cloned(), state, removing: tokio::sync::Mutex::default() }
    }

    /// How much that is.
    pub(crate) fn figures(&self) -> KeptFigures {
        let state = self.lock();
        KeptFigures { bytes: state.bytes(), most: self.most, kept: state.folders.len() as u64, removed: state.removed }
    }

    /// Something of a folder is about to be used: it does not go now.
    pub(crate) async fn uses(&self, folder: &Path) {
        if let Some(entry) = self.lock().folders.get_mut(folder) {
            entry.used = SystemTime::now();
        }
        // It may be going.
        drop(self.removing.lock().await);
    }

    /// Makes room for so many bytes in a folder, which count from now on. What is least recently used goes.
    pub(crate) async fn make_room(&self, folder: &Path, bytes: u64, is_coming: bool) -> Result<(), Refusal> {
        let _removing = self.removing.lock().await;
        loop {
            let (oldest, open) = {
                let (now, mut state) = (SystemTime::now(), self.lock());
                let own = state.folders.get(folder).map_or(0, |entry| entry.bytes);
                let others = state.bytes() - own;
                if self.most.is_none_or(|most| others.saturating_add(bytes) <= most) {
                    let entry = state.folders.entry(folder.to_owned()).or_insert_with(|| Entry::new(bytes, now));
                    (entry.bytes, entry.used, entry.is_coming) = (bytes, now, is_coming);
                    return Ok(());
                }
                let is_hopeless = self.most.is_some_and(|most| bytes > most);
                let Some(oldest) = state.oldest(folder, now).filter(|_| !is_hopeless) else {
                    tracing::warn!(bytes, most = self.most, "there is no room for more among what is kept");
                    return Err(Refusal::Full);
                };
                state.removed += 1;
                let open = state.folders.remove(&oldest).map(|entry| entry.open).unwrap_or_default();
                (oldest, open)
            };
            remove(oldest, open).await;
        }
    }

    /// A content is open whose bytes are in this folder: all of them are here, or they come from peers.
    pub(crate) fn is_open(&self, folder: &Path, node: &Node, content: ContentId) {
        if let Some(entry) = self.lock().folders.get_mut(folder) {
            entry.is_coming = false;
            entry.open.retain(|(_, other)| *other != content);
            entry.open.push((node.clone(), content));
        }
    }

    /// Nothing of a folder is to come any more for now.
    pub(crate) fn rests(&self, folder: &Path) {
        if let Some(entry) = self.lock().folders.get_mut(folder) {
            entry.is_coming = false;
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
            let has = |entry: &Entry| entry.open.iter().any(|(_, other)| *other == content);
            state.folders.iter().find(|(_, entry)| has(entry)).map(|(folder, _)| folder.clone())?
        };
        self.reads(folder)
    }

    /// The same of a folder.
    pub(crate) fn reads(self: &Arc<Self>, folder: PathBuf) -> Option<InUse> {
        let mut state = self.lock();
        let entry = state.folders.get_mut(&folder)?;
        entry.readers += 1;
        entry.used = SystemTime::now();
        self.note(&mut state);
        drop(state);
        Some(InUse { kept: self.clone(), folder })
    }

    /// Writes down when what was used, now and then.
    fn note(&self, state: &mut State) {
        let Some(root) = self.root.clone().filter(|_| state.noted.is_none_or(|noted| noted.elapsed() >= WRITTEN))
        else {
            return;
        };
        state.noted = Some(Instant::now());
        let notes = state.notes(&root);
        spawn_blocking(move || {
            if let Err(error) = atomic_file::replace_cache(&root.join(NOTES), notes.as_bytes()) {
                tracing::debug!(%error, "it is not written down what was used");
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
            (entry.readers, entry.used) = (entry.readers.saturating_sub(1), SystemTime::now());
        }
    }
}

async fn remove(folder: PathBuf, open: Vec<(Node, ContentId)>) {
    tracing::info!(folder = %folder.display(), "it goes: something else needs the room");
    for (node, content) in open {
        if let Some(open) = node.open(content).await
            && let Err(error) = open.stop().await
        {
            tracing::warn!(%content, %error, "a content that is to go is not stopped");
        }
    }
    let removing = spawn_blocking(move || fs::remove_dir_all(&folder));
    if let Ok(Err(error)) = removing.await {
        tracing::warn!(%error, "what is to go stays on the disk");
    }
}

/// The folders of contents and of origins' files.
fn found_in(root: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
    };
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for folder in folders(root) {
        let called = name(&folder);
        if called.starts_with(ORIGINS) {
            found.extend(folders(&folder));
        } else if called.len() == 16 && called.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.push(folder);
        }
    }
    found
}

/// Bytes of all files below a folder.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

fn read_notes(root: &Path) -> HashMap<PathBuf, SystemTime> {
    let path = root.join(NOTES);
    let is_fine = path.metadata().is_ok_and(|found| found.is_file() && found.len() <= LONGEST);
    let text = if is_fine { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    let line = |line: &str| {
        let (used, folder) = line.split_once(' ')?;
        Some((root.join(folder), UNIX_EPOCH.checked_add(Duration::from_secs(used.parse().ok()?))?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(root: &Path, most: u64) -> Arc<Kept> {
        Arc::new(Kept::open(&BTreeSet::from([root.to_owned()]), Some(most)))
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
        // What is too large in any case costs nobody anything.
        assert_eq!(kept.make_room(&root.path().join("x"), 4000, true).await, Err(Refusal::Full));
        assert!(folders[0].exists());
    }

    #[tokio::test]
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
        kept.lock().folders.values_mut().for_each(|entry| entry.used -= RECENT);
        kept.make_room(&root.path().join("other"), 500, true).await.unwrap();
        assert!(!folders[0].exists());
        kept.forget(&new);
        assert_eq!(kept.figures().bytes, 500);
    }
}
