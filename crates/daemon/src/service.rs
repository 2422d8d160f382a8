//! The service: what is shared and downloaded, and what is done when somebody asks for something.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peer::{Counters, Node, TrackerStatus, Waits};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, timeout};

use crate::content::{Note, Run, Task, Wish};
use crate::control::{ContentStatus, ControlError, Listener, Place};
use crate::nodes::{Home, NewNode, Nodes};
use crate::queue::{self, StallTimer};
use crate::running::Running;
use crate::state::{Saved, SavedContent, StateError, Store};

/// Time between two looks at the queue.
const QUEUE: Duration = Duration::from_secs(1);
/// Notes of contents that may wait.
const NOTES: usize = 256;
/// Where the state cannot be written, that is said this often.
const SAY_AGAIN: Duration = Duration::from_secs(3600);
/// How long all nodes together may take to say goodbye and to claim what is verified.
const GOODBYE: Duration = Duration::from_secs(4);

/// Reads the settings again. An error is a sentence.
type ReadSettings = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Settings that may change while a daemon runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes a second to send at most, where nothing else was asked for; none for no limit.
    pub up: Option<u64>,
    /// Bytes a second to receive at most, likewise.
    pub down: Option<u64>,
    /// Downloads at once.
    pub at_once: usize,
}

/// What a service is started with.
pub struct ServiceConfig {
    /// The folder of its state.
    pub state: PathBuf,
    /// Where downloads go unless a folder is named: an absolute path.
    pub downloads: PathBuf,
    /// The node for what it shares.
    pub home: Home,
    /// Makes the others.
    pub new_node: NewNode,
    /// Its settings.
    pub settings: Settings,
    /// Reads them again.
    pub read_settings: ReadSettings,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no state.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no socket.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// A running daemon.
pub struct Service {
    inner: Mutex<Inner>,
    store: Arc<Store>,
    /// One write at a time, each of what is true when it begins.
    saving: tokio::sync::Mutex<()>,
    /// Whether something has changed since the state was written: set before a write, and again when it fails.
    unsaved: AtomicBool,
    /// Why it could not be written last.
    unwritten: Mutex<Option<String>>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) downloads: PathBuf,
    read_settings: ReadSettings,
    notes: mpsc::Sender<Note>,
}

pub(crate) struct Inner {
    /// In the order in which they are downloaded.
    pub(crate) contents: Vec<Running>,
    pub(crate) next: u64,
    /// Limits that were asked for, with 0 for none.
    pub(crate) up: Option<u64>,
    pub(crate) down: Option<u64>,
    settings: Settings,
}

impl Service {
    /// Takes the state, starts the nodes, and goes on with everything that was shared and wanted. Listens at the place from then
    /// on; what is asked for is answered while [`ServiceRun::run`] runs.
    pub async fn start(config: ServiceConfig, place: &Place) -> Result<ServiceRun, StartError> {
        let ServiceConfig { state, downloads, home, new_node, settings, read_settings } = config;
        let store = Store::open(&state)?;
        let saved = store.load()?;
        let listener = Listener::bind(place)?;
        let nodes = Arc::new(Nodes::start(home, new_node));
        let (notes, inbox) = mpsc::channel(NOTES);
        let inner = Inner { contents: Vec::new(), next: saved.next, up: saved.up, down: saved.down, settings };
        let service = Arc::new(Service {
            inner: Mutex::new(inner),
            store: Arc::new(store),
            saving: tokio::sync::Mutex::default(),
            unsaved: AtomicBool::new(false),
            unwritten: Mutex::default(),
            nodes,
            downloads,
            read_settings,
            notes,
        });
        service.apply_limits().await;
        {
            let mut inner = service.inner();
            for content in saved.contents {
                inner.next = inner.next.max(content.number + 1);
                let running = service.begin(content);
                inner.contents.push(running);
            }
            inner.look_at_queue();
        }
        Ok(ServiceRun { service, listener, inbox })
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all nodes together have done, those included that have ended, and what their requests have waited for.
    pub fn counters(&self) -> (Counters, Waits) {
        self.nodes.counters()
    }

    /// The node for what it shares.
    pub fn home(&self) -> Node {
        self.nodes.home().node.clone()
    }

    /// How every content stands, in the order in which they are downloaded.
    pub fn contents(&self) -> Vec<ContentStatus> {
        self.inner().contents.iter().map(|content| content.view.borrow().clone()).collect()
    }

    /// How many trackers of its shares are up, and how many are lost.
    pub fn trackers(&self) -> [usize; 2] {
        TrackerStatus::up_and_lost(&self.nodes.home().node.watch_trackers().borrow())
    }

    /// Whether the tracker of its shares has answered.
    pub fn has_joined(&self) -> bool {
        matches!(*self.nodes.home().told.borrow(), crate::nodes::Told::Joined(_))
    }

    pub(crate) fn begin(&self, saved: SavedContent) -> Running {
        let run = if saved.paused { Run::Pause } else { Run::Go };
        let (wish, told) = watch::channel(Wish { run, ..Wish::default() });
        let (show, view) = watch::channel(Task::first_view(&saved));
        let task = Task::new(saved.clone(), self.nodes.clone(), (told, show), self.notes.clone());
        Running { saved, wish, view, stall_timer: StallTimer::new(), task: tokio::spawn(task.run()) }
    }

    /// Writes what has changed.
    pub(crate) async fn save(&self) -> Result<(), StateError> {
        self.unsaved.store(true, Ordering::SeqCst);
        self.save_what_is_left().await
    }

    /// Writes what could not be written before, if there is any.
    pub(crate) async fn save_what_is_left(&self) -> Result<(), StateError> {
        let _turn = self.saving.lock().await;
        if !self.unsaved.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let saved = self.inner().saved();
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || store.save(&saved)).await;
        let result = written.unwrap_or_else(|error| Err(self.store.failed(error.into())));
        if result.is_err() {
            self.unsaved.store(true, Ordering::SeqCst);
        }
        let reason = result.as_ref().err().map(StateError::to_string);
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        result
    }

    /// The same, and warns where that fails, once in a while.
    async fn save_or_say(&self, said: &mut Option<Instant>) {
        match self.save_what_is_left().await {
            Err(error) if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) => {
                tracing::warn!(%error, "the state cannot be written: a restart would forget what has changed");
                *said = Some(Instant::now());
            }
            Err(_) => {}
            Ok(()) => *said = None,
        }
    }

    /// Why what has changed could not be written, so that a restart would forget it.
    pub fn unwritten(&self) -> Option<String> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn apply_limits(&self) {
        let (up, down) = self.inner().limits();
        // All nodes share the limits of this one.
        let home = &self.nodes.home().node;
        home.set_up_rate(up).await;
        home.set_down_rate(down).await;
    }

    /// Reads the settings again, and looks at its own shares anew.
    pub async fn reload(&self) -> Result<(), String> {
        let read = (self.read_settings)();
        {
            let mut inner = self.inner();
            if let Ok(settings) = &read {
                inner.say_what_hides(settings);
                inner.settings = settings.clone();
            }
            for content in &inner.contents {
                content.wish.send_modify(|wish| wish.looks += 1);
            }
            inner.look_at_queue();
        }
        self.apply_limits().await;
        read.map(drop)
    }

    /// Says goodbye to everyone, and claims what is verified, within a few seconds.
    pub async fn shut_down(&self) {
        let nodes = self.nodes.all();
        let all = nodes.iter().map(|node| {
            let node = node.clone();
            tokio::spawn(async move { node.shutdown().await })
        });
        let all: Vec<_> = all.collect();
        let ended = async {
            for node in all {
                let _ = node.await;
            }
        };
        let (ended, saved) = tokio::join!(timeout(GOODBYE, ended), timeout(GOODBYE, self.save_what_is_left()));
        if ended.is_err() {
            tracing::warn!("ended before the last verified pieces were recorded in the journal: the disk is slow");
        }
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "what has changed lately is forgotten: the state cannot be written");
        }
        for content in &self.inner().contents {
            content.task.abort();
        }
    }

    /// Takes down what a content has told.
    fn noted(&self, note: Note) {
        let mut inner = self.inner();
        let number = match &note {
            Note::Known { number, .. } | Note::Complete { number, .. } | Note::Again { number } => *number,
        };
        let Some(content) = inner.contents.iter_mut().find(|content| content.saved.number == number) else {
            return;
        };
        match note {
            Note::Known { content: id, name, .. } => (content.saved.content, content.saved.name) = (id, name),
            // It was told so once more meanwhile, and begins anew.
            Note::Complete { forces, .. } if content.wish.borrow().forces != forces => {}
            Note::Complete { path, .. } => content.saved.completed_at(path),
            Note::Again { .. } => content.saved.complete.clear(),
        }
        drop(inner);
        self.unsaved.store(true, Ordering::SeqCst);
    }
}

/// Why a service ends by itself: it is to be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is shared any more.
    #[error("the node for the daemon's own shares has ended")]
    Home,
    /// A content, by its number, stands as it stood last.
    #[error("the task of content number {0} has ended")]
    Content(u64),
    /// No request is answered any more.
    #[error("the task that answers requests has ended")]
    Control,
}

/// A service with what it hears.
#[must_use = "it answers while `run` runs"]
pub struct ServiceRun {
    service: Arc<Service>,
    listener: Listener,
    inbox: mpsc::Receiver<Note>,
}

impl ServiceRun {
    /// The service.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Answers for as long as it is polled, unless a part of it ends that nobody has told to.
    pub async fn run(self) -> Fault {
        let ServiceRun { service, listener, mut inbox } = self;
        let mut queue = interval(QUEUE);
        queue.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (serving, home) = (crate::control::serve(listener, service.clone()), service.home());
        tokio::pin!(serving);
        let (mut notes, mut said) = (Vec::new(), None);
        loop {
            tokio::select! {
                () = &mut serving => return Fault::Control,
                () = home.ended() => return Fault::Home,
                _ = inbox.recv_many(&mut notes, NOTES) => {
                    // What a ticket stands for is found out again at a start, and is written with the next look at the queue.
                    let is_urgent = notes.iter().any(|note| !matches!(note, Note::Known { .. }));
                    notes.drain(..).for_each(|note| service.noted(note));
                    if is_urgent {
                        service.save_or_say(&mut said).await;
                    }
                }
                _ = queue.tick() => {
                    if let Some(number) = service.inner().ended() {
                        return Fault::Content(number);
                    }
                    service.inner().look_at_queue();
                    service.save_or_say(&mut said).await;
                }
            }
        }
    }
}

impl Inner {
    fn saved(&self) -> Saved {
        let contents = self.contents.iter().map(|content| content.saved.clone()).collect();
        Saved { up: self.up, down: self.down, next: self.next, contents, ..Saved::default() }
    }

    /// The number of a content whose task has ended: those that were told to are not here any more.
    fn ended(&self) -> Option<u64> {
        self.contents.iter().find(|content| content.task.is_finished()).map(|content| content.saved.number)
    }

    /// The limits that hold.
    pub(crate) fn limits(&self) -> (Option<u64>, Option<u64>) {
        let holds = |asked: Option<u64>, set| asked.map_or(set, |rate| (rate > 0).then_some(rate));
        (holds(self.up, self.settings.up), holds(self.down, self.settings.down))
    }

    /// Says which of these settings are new and come to nothing, since somebody has asked for another limit.
    fn say_what_hides(&self, settings: &Settings) {
        let limits =
            [("up", self.up, self.settings.up, settings.up), ("down", self.down, self.settings.down, settings.down)];
        for (name, asked, before, now) in limits {
            if asked.is_some() && now != before {
                tracing::warn!(
                    "--{name}-rate has changed, but what `peer-cli limit` set holds: `peer-cli limit --{name} default` ends that"
                );
            }
        }
    }

    /// Lets the first downloads run, and the others wait.
    pub(crate) fn look_at_queue(&mut self) {
        let candidates: Vec<_> = self.contents.iter_mut().map(Running::candidate).collect();
        let plan = queue::plan(candidates, self.settings.at_once);
        for (content, runs) in self.contents.iter().zip(plan) {
            let run = match (content.saved.paused, runs) {
                (true, _) => Run::Pause,
                (false, true) => Run::Go,
                (false, false) => Run::Queue,
            };
            content.wish.send_if_modified(|wish| {
                let is_new = wish.run != run;
                wish.run = run;
                is_new
            });
        }
    }
}

#[cfg(test)]
mod tests;
