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
use crate::removal::{remove_all, remove_outside};
use crate::root_lock;
use entry::{KeptFolder, Open};
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
    folders: HashMap<PathBuf, KeptFolder>,
    saved: Option<Instant>,
    removed: u64,
}

impl State {
    fn bytes(&self) -> u64 {
        self.folders.values().map(|entry| entry.bytes).sum()
    }

    fn look(&mut self) {
        self.folders.values_mut().for_each(KeptFolder::look);
    }

    fn oldest(&mut self, besides: &[PathBuf], recent: Duration) -> Option<PathBuf> {
        self.look();
        let now = SystemTime::now();
        let may_go =
            self.folders.iter().filter(|(folder, entry)| !besides.contains(folder) && entry.may_go(now, recent));
        may_go.min_by_key(|(_, entry)| entry.used).map(|(folder, _)| folder.clone())
    }

    fn notes(&self, root: &Path) -> String {
        let line = |(folder, entry): (&PathBuf, &KeptFolder)| {
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
                folders.insert(folder.clone(), KeptFolder::new(size_of(&folder), used));
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
        // Several nodes may have one content open, one for each swarm.
        let (mut downloading, mut sharing) = (BTreeSet::new(), BTreeSet::new());
        for open in state.folders.values().flat_map(|entry| &entry.open) {
            let status = open.status.borrow();
            if is_running(&status.state) {
                downloading.insert(open.content);
            }
            if status.is_complete() {
                sharing.insert(open.content);
            }
        }
        KeptFigures {
            bytes: state.bytes(),
            most: self.most,
            kept: state.folders.len() as u64,
            removed: state.removed,
            downloading: downloading.len() as u64,
            sharing: sharing.len() as u64,
            from_origins: origins::bytes_from_origins(),
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
                    let new = || KeptFolder::new(bytes, SystemTime::now());
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

    /// Removes the folder of a file that came in part, unless its rest is coming by now. `closes` closes the file, and says whether it
    /// was still there in part.
    pub(crate) async fn give_up(&self, folder: &Path, closes: impl FnOnce() -> bool) {
        // Room for the rest is only made after this.
        let _removing = self.removing.lock().await;
        let is_coming = self.lock().folders.get(folder).is_some_and(|entry| entry.is_coming);
        if !is_coming && closes() {
            self.forget(folder);
            remove_outside(folder.to_owned()).await;
        }
    }

    /// A content that is read does not go as long as this is held.
    pub(crate) fn reads_content(self: &Arc<Self>, content: ContentId) -> Option<InUse> {
        let folder = {
            let state = self.lock();
            let has = |entry: &KeptFolder| entry.open.iter().any(|other| other.content == content);
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
mod tests;
