//! Notices when a file that is shared is changed, also while nobody reads it: then it is withdrawn before anyone asks for it.
//!
//! The system tells of changes (inotify and its like) in a bounded number of folders. It does not tell of everything: writes
//! through a map, other machines' writes on a network file system, and whatever did not fit its queue. So files are looked at
//! again and again as well: seldom where the system tells, more often where it does not, and for a bounded part of the time
//! either way. All of this happens on a thread of its own, which ends with the node.

mod desk;
mod doubt;
mod folders;
mod signs;

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use atomic_file::is_gone;
use protocol::ContentId;
use storage::StorageError;
use tokio::sync::mpsc;

use crate::disk::content::ContentStore;
use crate::disk::file_state::{Change, FileState, WatchedFile, removed_or};
use crate::lock::{POISONED, lock};
use crate::report::Report;
use desk::{Desk, Order};
use doubt::{Doubt, Verdict};
use folders::{Coverage, Folders};
use signs::Signs;

/// Time between two looks at a file, unless there are so many that it takes longer.
const PERIOD: Duration = Duration::from_secs(1);
/// Of the time, looking takes at most the part `1 / (1 + REST)`: where the system tells of changes, and where it does not.
const REST_IF_TOLD: u32 = 50;
const REST_IF_NOT_TOLD: u32 = 4;
/// Files that are looked at in one go.
const AT_ONCE: usize = 1000;
/// Time in which what the system tells is gathered before it is looked at.
const GATHER: Duration = Duration::from_millis(50);

/// Watches the files of all contents of a node.
pub(crate) struct Watch {
    desk: Arc<Desk>,
    reports: mpsc::Sender<Report>,
    running: bool,
}

impl Watch {
    /// Watches nothing yet; failures go to `reports`.
    pub(crate) fn new(reports: mpsc::Sender<Report>) -> Self {
        Watch { desk: Arc::default(), reports, running: false }
    }

    /// Watches the files of a content that is where it stays.
    pub(crate) fn add(&mut self, store: &Arc<ContentStore>) {
        let files = store.take_watched();
        if files.is_empty() {
            return;
        }
        if !self.running {
            let (desk, reports) = (self.desk.clone(), self.reports.clone());
            let started =
                std::thread::Builder::new().name("watch".to_owned()).spawn(move || Watcher::new(desk, reports).run());
            if let Err(error) = started {
                tracing::warn!(%error, "changes of shared files are noticed only when they are read");
                return;
            }
            self.running = true;
        }
        let order = Order::Add(Arc::downgrade(store), store.id(), files);
        self.desk.order(|orders| orders.queue.push_back(order));
    }

    /// Watches a content no longer.
    pub(crate) fn remove(&mut self, content: ContentId) {
        if self.running {
            self.desk.order(|orders| orders.queue.push_back(Order::Remove(content)));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.desk.order(|orders| orders.stop = true);
    }
}

/// A content whose files are looked at.
struct Watched {
    store: Weak<ContentStore>,
    files: Vec<WatchedFile>,
    /// The folders that the files lie in.
    folders: Vec<PathBuf>,
    /// Whether the system tells of every change.
    told: bool,
    /// The file that is looked at next, when that is, and when it may be at the earliest.
    next: usize,
    due: Instant,
    rested: Instant,
}

struct Watcher {
    desk: Arc<Desk>,
    reports: mpsc::Sender<Report>,
    contents: HashMap<ContentId, Watched>,
    /// The files of contents of whose changes the system tells.
    by_path: HashMap<PathBuf, Vec<(ContentId, usize)>>,
    told: Folders,
    doubts: VecDeque<Doubt>,
}

impl Watcher {
    fn new(desk: Arc<Desk>, reports: mpsc::Sender<Report>) -> Self {
        let told = Folders::new(Arc::downgrade(&desk));
        let (contents, by_path) = (HashMap::new(), HashMap::new());
        Watcher { desk, reports, contents, by_path, told, doubts: VecDeque::new() }
    }

    fn run(mut self) {
        while let Some((queue, signs)) = self.wait() {
            for order in queue {
                match order {
                    Order::Add(store, content, files) => self.add(store, content, files),
                    Order::Remove(content) => self.remove(content),
                }
            }
            self.look_at_signs(signs);
            self.look_at_due();
            self.resolve_doubts();
        }
    }

    /// Waits until there is something to do; nothing when the node has ended.
    fn wait(&self) -> Option<(VecDeque<Order>, Signs)> {
        let next = self.contents.values().map(|watched| watched.due).chain(self.doubts.front().map(Doubt::due)).min();
        let mut orders = lock(&self.desk.orders);
        while !orders.stop && orders.queue.is_empty() && orders.signs.is_empty() {
            let left = next.map(|next| next.saturating_duration_since(Instant::now()));
            orders = match left {
                Some(left) if left.is_zero() => break,
                Some(left) => self.desk.wake.wait_timeout(orders, left).expect(POISONED).0,
                None => self.desk.wake.wait(orders).expect(POISONED),
            };
        }
        if orders.stop {
            return None;
        }
        if !orders.signs.is_empty() {
            // A program that writes once writes more.
            drop(orders);
            std::thread::sleep(GATHER);
            orders = lock(&self.desk.orders);
        }
        Some((std::mem::take(&mut orders.queue), std::mem::take(&mut orders.signs)))
    }

    fn add(&mut self, store: Weak<ContentStore>, content: ContentId, mut files: Vec<WatchedFile>) {
        self.remove(content);
        let mut real: HashMap<PathBuf, PathBuf> = HashMap::new();
        for file in &mut files {
            let parent = file.at.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !real.contains_key(parent) {
                real.insert(parent.to_owned(), dunce::canonicalize(parent).unwrap_or_else(|_| parent.to_owned()));
            }
            // As the system calls it that tells of changes; a link that was shared itself is what it leads to. Where names are
            // folded, it may have been named in other letters than the system has.
            let at = real[parent].join(file.at.file_name().unwrap_or_default());
            file.at = match at.is_symlink() || !cfg!(target_os = "linux") {
                true => dunce::canonicalize(&at).unwrap_or(at),
                false => at,
            };
        }
        let mut folders: Vec<_> = files.iter().filter_map(|file| file.at.parent()).map(Path::to_owned).collect();
        folders.sort_unstable();
        folders.dedup();
        let told = self.told.add(&folders);
        if told == Coverage::Nothing {
            folders.clear();
        } else {
            for (index, file) in files.iter().enumerate() {
                self.by_path.entry(file.at.clone()).or_default().push((content, index));
            }
        }
        // What happened before the system was asked to tell shows at once.
        let now = Instant::now();
        let told = told == Coverage::All;
        self.contents.insert(content, Watched { store, files, folders, told, next: 0, due: now, rested: now });
    }

    fn remove(&mut self, content: ContentId) {
        let Some(watched) = self.contents.remove(&content) else { return };
        if !watched.folders.is_empty() {
            for file in &watched.files {
                if let Some(found) = self.by_path.get_mut(&file.at) {
                    found.retain(|(other, _)| *other != content);
                    if found.is_empty() {
                        self.by_path.remove(&file.at);
                    }
                }
            }
            self.told.remove(&watched.folders);
        }
        self.doubts.retain(|doubt| doubt.content != content);
    }

    fn look_at_signs(&mut self, signs: Signs) {
        if signs.anywhere() {
            for watched in self.contents.values_mut() {
                watched.due = watched.rested.min(watched.due);
            }
        }
        let found: Vec<_> = signs.paths().filter_map(|path| self.by_path.get(path)).flatten().copied().collect();
        for (content, index) in found {
            self.look(content, index);
        }
    }

    fn look_at_due(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.contents.iter().filter(|(_, watched)| watched.due <= now).map(|(id, _)| *id).collect();
        for content in due {
            let Some(watched) = self.contents.get(&content) else { continue };
            if watched.store.strong_count() == 0 {
                self.remove(content);
                continue;
            }
            let (first, count) = (watched.next, watched.files.len());
            let end = count.min(first + AT_ONCE);
            let began = Instant::now();
            let all_well = (first..end).all(|index| self.look(content, index));
            let Some(watched) = self.contents.get_mut(&content).filter(|_| all_well) else { continue };
            let took = began.elapsed();
            let rest = took * if watched.told { REST_IF_TOLD } else { REST_IF_NOT_TOLD };
            watched.next = if end == count { 0 } else { end };
            watched.rested = Instant::now() + took * REST_IF_NOT_TOLD;
            watched.due = Instant::now() + if end == count { rest.max(PERIOD) } else { rest };
        }
    }

    /// Looks at one file. False if its content is not shared any more.
    fn look(&mut self, content: ContentId, index: usize) -> bool {
        let Some(watched) = self.contents.get_mut(&content) else { return false };
        let file = &mut watched.files[index];
        let now = match fs::metadata(&file.at) {
            Ok(now) if now.is_file() => Some(FileState::of(&file.at, &now)),
            Ok(_) => None,
            Err(error) if is_gone(&error) => None,
            // It may be there again in a moment: a network may be down.
            Err(_) => return true,
        };
        let change = match (&file.state, &now) {
            (None, None) => return true,
            (Some(_), None) => {
                // What was moved away with its folder is read where it is now; what was removed is not.
                let Some(store) = watched.store.upgrade() else { return false };
                let gone = match store.look_at(file.number) {
                    Ok(()) | Err(StorageError::TooManyOpen(_)) => None,
                    Err(error) => Some(error),
                };
                file.state = None;
                return gone.is_none_or(|error| self.fail(content, error));
            }
            (None, Some(_)) => Change::Doubtful,
            (Some(then), Some(now)) => then.change(now),
        };
        match change {
            Change::None => file.state = now,
            Change::Certain => {
                let error = StorageError::Changed(file.at.clone());
                return self.fail(content, error);
            }
            Change::Doubtful => {
                if let (Some(now), Some(store)) = (now, watched.store.upgrade())
                    && !self.doubts.iter().any(|doubt| doubt.content == content && doubt.index == index)
                {
                    let (manifest, number) = (store.manifest().clone(), file.number);
                    self.doubts.push_back(Doubt::new(content, index, manifest, number, file.at.clone(), now));
                }
            }
        }
        true
    }

    /// Hashes some more of what is in doubt.
    fn resolve_doubts(&mut self) {
        let Some(mut doubt) = self.doubts.pop_front() else { return };
        if doubt.due() > Instant::now() {
            return self.doubts.push_front(doubt);
        }
        match doubt.go_on() {
            Verdict::Unknown => self.doubts.push_front(doubt),
            Verdict::Right(state) => {
                if let Some(watched) = self.contents.get_mut(&doubt.content) {
                    let file = &mut watched.files[doubt.index];
                    file.state = Some(state);
                    // What is open is another file, perhaps, that nobody is given any more: that is not left to the next peer that asks for it.
                    if let Some(store) = watched.store.upgrade()
                        && let Err(error) = store.look_at(file.number)
                        && !matches!(error, StorageError::TooManyOpen(_))
                    {
                        self.fail(doubt.content, error);
                        return;
                    }
                }
                // It may have changed while it was read.
                self.look(doubt.content, doubt.index);
            }
            // The next look says what has become of it.
            Verdict::Unread => {}
            Verdict::Wrong(path) => drop(self.fail(doubt.content, StorageError::Changed(path))),
        }
    }

    /// Says that a content is not what it was. Always false.
    fn fail(&mut self, content: ContentId, error: StorageError) -> bool {
        self.remove(content);
        let error = removed_or(error);
        // The node may have ended.
        let _ = self.reports.blocking_send(Report::SourceFailed { content, error });
        false
    }
}
