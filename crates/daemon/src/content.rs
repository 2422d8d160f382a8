//! One content of a daemon: a task that shares or downloads it, does what it is told meanwhile, and says how it stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use peer::{ContentId, Download, Glob, PeerEvent, Share, State, Status, Ticket};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::control::{ContentStatus, Doing, Kind};
use crate::nodes::{NOBODY, Nodes, Told, Tracked};
use crate::state::SavedContent;

/// Time between two attempts to share what cannot be shared: doubled each time up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What to do about a download that is gone, or was changed.
const AGAIN: &str = "`peer-cli resume` gets it again, `peer-cli rm` forgets it";

/// What a content is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Run {
    /// Be shared or downloaded.
    #[default]
    Go,
    /// Wait for other downloads.
    Queue,
    /// Pause.
    Pause,
    /// End.
    Remove,
}

/// What a content is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) run: Run,
    /// How often it was told to look at its files anew.
    pub(crate) looks: u64,
    /// How often it was told to go on whatever went wrong before.
    pub(crate) resumes: u64,
    /// How often it was told to replace different files, which holds until it is complete.
    pub(crate) forces: u64,
}

/// What a content tells, for the next start.
#[derive(Debug)]
pub(crate) enum Note {
    /// It is known what a ticket stands for.
    Known { number: u64, content: String, name: String },
    /// A download lies there. It had been told so often to replace different files, and does so no more.
    Complete { number: u64, path: String, forces: u64 },
    /// It is to be downloaded again.
    Again { number: u64 },
}

/// The task of a content.
pub(crate) struct Task {
    pub(crate) saved: SavedContent,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) wish: watch::Receiver<Wish>,
    pub(crate) view: watch::Sender<ContentStatus>,
    pub(crate) notes: mpsc::Sender<Note>,
    /// What was received and sent before a pause, or before its files were looked at anew.
    before: (u64, u64),
    /// What has been since then.
    since: (u64, u64),
    /// How often it was told so far to replace different files.
    forces: u64,
}

/// What to do next.
enum Next {
    /// Look at the wish again.
    Again,
    /// It is over: the node has ended, if nobody has told it to.
    End,
}

impl Task {
    pub(crate) fn new(
        saved: SavedContent,
        nodes: Arc<Nodes>,
        (wish, view): (watch::Receiver<Wish>, watch::Sender<ContentStatus>),
        notes: mpsc::Sender<Note>,
    ) -> Self {
        Task { saved, nodes, wish, view, notes, before: (0, 0), since: (0, 0), forces: 0 }
    }

    /// How a content stands that was not begun.
    pub(crate) fn first_view(saved: &SavedContent) -> ContentStatus {
        let path = if saved.complete.is_empty() { &saved.path } else { &saved.complete };
        let name = match saved.kind {
            Kind::Share => Path::new(&saved.path).file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Kind::Download => saved.name.clone(),
        };
        ContentStatus {
            number: saved.number,
            kind: saved.kind,
            content: saved.content.clone(),
            name,
            path: path.clone(),
            ticket: saved.ticket.clone(),
            ..ContentStatus::default()
        }
    }

    /// Runs until it is told to end.
    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        while self.wish.has_changed().is_ok() {
            let wish = *self.wish.borrow_and_update();
            if std::mem::replace(&mut self.forces, wish.forces) != wish.forces {
                self.saved.replace_different();
            }
            let stopped = match wish.run {
                Run::Remove => break,
                Run::Pause => Some(Doing::Paused),
                Run::Queue => Some(Doing::Queued),
                Run::Go => None,
            };
            let next = match (stopped, self.saved.kind) {
                (Some(state), _) => {
                    self.say(state, "");
                    self.told().await
                }
                (None, Kind::Share) => self.share(wish, &mut failures).await,
                (None, Kind::Download) => self.download(wish).await,
            };
            if matches!(next, Next::End) {
                break;
            }
        }
        self.nodes.home().release(self.saved.number);
    }

    fn say(&self, state: Doing, reason: &str) {
        self.view.send_modify(|view| {
            view.state = state;
            reason.clone_into(&mut view.reason);
            (view.rate, view.peers, view.hashed) = (0, 0, [0, 0]);
        });
    }

    /// Waits until it is told something else.
    async fn told(&mut self) -> Next {
        if self.wish.changed().await.is_ok() { Next::Again } else { Next::End }
    }

    /// The same, and no longer than this.
    async fn told_within(&mut self, most: Duration) -> Next {
        tokio::select! {
            next = self.told() => next,
            () = sleep(most) => Next::Again,
        }
    }

    /// Brings the view up to date.
    fn show(&self, state: Doing, reason: &str, status: &Status) {
        self.view.send_if_modified(|view| {
            let mut now = view.clone();
            now.state = state;
            reason.clone_into(&mut now.reason);
            if !status.name.is_empty() {
                now.name.clone_from(&status.name);
            }
            (now.size, now.have, now.pieces) = (status.size, status.have, status.pieces);
            (now.rate, now.peers, now.hashed) = (status.rate, status.peers, [0, 0]);
            (now.received, now.sent) = (self.before.0 + status.received, self.before.1 + status.sent);
            if let Some(completed) = &status.completed {
                now.path = completed.path.display().to_string();
            }
            let is_new = *view != now;
            if is_new {
                *view = now;
            }
            is_new
        });
    }

    /// Counts on where the node begins anew, as it does with a share that it opens again.
    fn count(&mut self, status: &Status) {
        if status.received < self.since.0 || status.sent < self.since.1 {
            self.before = (self.before.0 + self.since.0, self.before.1 + self.since.1);
        }
        self.since = (status.received, status.sent);
    }

    /// What was counted up to here counts on.
    fn keep_counts(&mut self, status: &Status) {
        self.count(status);
        let (received, sent) = std::mem::take(&mut self.since);
        self.before = (self.before.0 + received, self.before.1 + sent);
    }
}

/// Sharing.
impl Task {
    async fn share(&mut self, wish: Wish, failures: &mut u32) -> Next {
        let home = self.nodes.home().clone();
        let share = match self.hash(&home).await {
            Ok(Some(share)) => share,
            Ok(None) => return Next::Again,
            Err(reason) => {
                self.say(Doing::Failed, &reason);
                let pause = (FIRST_PAUSE * 2u32.saturating_pow((*failures).min(8))).min(LONGEST_PAUSE);
                *failures += 1;
                return self.told_within(pause).await;
            }
        };
        if let Err(next) = self.claim(&home, share.content()).await {
            return next;
        }
        *failures = 0;
        self.serve(&home, share, wish).await
    }

    /// Takes a content, or says which entry has it, and waits until that lets go of it.
    async fn claim(&mut self, tracked: &Tracked, content: ContentId) -> Result<(), Next> {
        let mut released = tracked.released();
        match tracked.claim(content, self.saved.number) {
            Ok(()) => return Ok(()),
            Err(NOBODY) => self.say(Doing::Waiting, ""),
            Err(other) => {
                let reason =
                    format!("it is the same content as number {other}, and waits for that: remove one of them");
                match self.saved.kind {
                    // It is shared all the same.
                    Kind::Share => {
                        self.view.send_modify(|view| view.ticket.clear());
                        self.say(Doing::Waiting, &reason);
                    }
                    Kind::Download => self.say(Doing::Failed, &reason),
                }
            }
        }
        tokio::select! {
            next = self.told() => Err(next),
            _ = released.changed() => Err(Next::Again),
        }
    }

    /// Hashes what lies at the path; nothing if it is told to stop meanwhile. An error is a sentence.
    async fn hash(&mut self, home: &Arc<Tracked>) -> Result<Option<Share>, String> {
        self.say(Doing::Hashing, "");
        let path = PathBuf::from(&self.saved.path);
        let mut events = home.node.events();
        let mut share = home.node.share(&path);
        if let Some(secrets) = self.nodes.secrets.clone() {
            share = share.private(move |content| secrets(content));
        }
        let (mut hashing, mut told) = (share.into_future(), self.wish.clone());
        loop {
            tokio::select! {
                result = &mut hashing => return result.map(Some).map_err(|error| error.to_string()),
                // What it is told besides, as to look anew once more, is heard when it is hashed.
                changed = told.changed() => if changed.is_err() || told.borrow().run != Run::Go {
                    // The node shares it once it is hashed.
                    let home = home.clone();
                    tokio::spawn(async move {
                        if let Ok(share) = hashing.await {
                            home.stop_unclaimed(share).await;
                        }
                    });
                    return Ok(None);
                },
                event = events.recv() => match event {
                    Ok(PeerEvent::Hashing { path: of, done, total }) if of == path => {
                        self.view.send_modify(|view| view.hashed = [done, total]);
                    }
                    Ok(PeerEvent::StillWritten { path: of, .. }) if of.starts_with(&path) => {
                        self.view.send_modify(|view| view.reason = format!("{} is still being written to", of.display()));
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Err("the node has ended".to_owned()),
                    _ => {}
                },
            }
        }
    }

    /// Says how a share stands until it is told something else, or its files change.
    async fn serve(&mut self, home: &Arc<Tracked>, share: Share, mut wish: Wish) -> Next {
        let (content, mut status) = (share.content(), share.status());
        let (mut addresses, mut trackers) = (home.node.addresses(), home.node.watch_trackers());
        self.tell_ticket(content);
        loop {
            let told = *self.wish.borrow_and_update();
            let looks = told.looks != std::mem::replace(&mut wish.looks, told.looks);
            if told.run != Run::Go || (looks && self.is_other_content(home, content).await) {
                let last = status.borrow().clone();
                self.keep_counts(&last);
                // Another entry that takes it then is not stopped with it.
                let _ = share.stop().await;
                home.release(self.saved.number);
                return Next::Again;
            }
            let now = status.borrow_and_update().clone();
            self.count(&now);
            match &now.state {
                State::Withdrawn(reason) => {
                    self.show(Doing::Waiting, reason, &now);
                    self.keep_counts(&now);
                    home.release(self.saved.number);
                    // It may be in the middle of a change.
                    return self.told_within(FIRST_PAUSE).await;
                }
                State::Stopped | State::Failed(_) => {
                    self.keep_counts(&now);
                    home.release(self.saved.number);
                    self.say(Doing::Failed, "it was stopped");
                    return self.told_within(FIRST_PAUSE).await;
                }
                _ => self.show(Doing::Sharing, "", &now),
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return Next::End },
                changed = addresses.changed() => {
                    if changed.is_err() {
                        return Next::End;
                    }
                    self.tell_ticket(content);
                }
                changed = trackers.changed() => {
                    if changed.is_err() {
                        return Next::End;
                    }
                    self.tell_ticket(content);
                }
                changed = self.wish.changed() => if changed.is_err() { return Next::End },
            }
        }
    }

    /// Looks at the files anew, and whether they are of another content now.
    async fn is_other_content(&mut self, home: &Arc<Tracked>, content: ContentId) -> bool {
        match self.hash(home).await {
            // The node knows it as the same one.
            Ok(Some(share)) if share.content() == content => false,
            Ok(Some(share)) => {
                // Another entry may share that already.
                home.stop_unclaimed(share).await;
                true
            }
            Ok(None) => false,
            Err(reason) => {
                tracing::warn!(path = self.saved.path, reason, "it cannot be looked at anew");
                false
            }
        }
    }

    /// Says what a ticket of it is now: others reach the trackers elsewhere one day.
    fn tell_ticket(&self, content: ContentId) {
        let ticket = self.nodes.ticket(content).map(|ticket| ticket.to_string()).unwrap_or_default();
        let content = content.to_string();
        self.view.send_if_modified(|view| {
            let is_new = (&view.content, &view.ticket) != (&content, &ticket);
            (view.content, view.ticket) = (content, ticket);
            is_new
        });
    }
}

/// Downloading.
impl Task {
    async fn download(&mut self, wish: Wish) -> Next {
        if !self.saved.complete.is_empty() && !Path::new(&self.saved.complete).exists() {
            let gone = format!("{} is not there any more: {AGAIN}", self.saved.complete);
            self.say(Doing::Failed, &gone);
            // Its disk may be mounted later.
            return match timeout(LONGEST_PAUSE, self.told_to_get_it_again(wish)).await {
                Ok(next) => next,
                Err(_) => Next::Again,
            };
        }
        let ticket: Ticket = match self.saved.ticket.parse() {
            Ok(ticket) => ticket,
            Err(error) => return self.fails(&format!("{error}")).await,
        };
        let tracked = match self.nodes.of_ticket(&ticket) {
            Ok(tracked) => tracked,
            Err(reason) => {
                self.say(Doing::Waiting, &reason);
                return self.told_within(LONGEST_PAUSE).await;
            }
        };
        let content = match self.content_of(&ticket, &tracked).await {
            Ok(content) => content,
            Err(next) => return next,
        };
        if let Err(next) = self.claim(&tracked, content).await {
            return next;
        }
        let begun = self.begin(&ticket, &tracked, content).await;
        let next = match begun {
            Ok(download) => self.follow(&tracked, download, wish).await,
            Err(_) if tracked.node.has_ended() => Next::End,
            Err(reason) => self.fails(&reason).await,
        };
        tracked.release(self.saved.number);
        next
    }

    /// Waits until it is told something else. What was complete is downloaded again only if that was said.
    async fn told_to_get_it_again(&mut self, wish: Wish) -> Next {
        let next = self.told().await;
        if self.wish.borrow().resumes != wish.resumes {
            self.saved.complete.clear();
            self.note(Note::Again { number: self.saved.number }).await;
        }
        next
    }

    async fn fails(&mut self, reason: &str) -> Next {
        self.say(Doing::Failed, reason);
        self.told().await
    }

    /// The content that a ticket stands for, which only the tracker of a private share may know.
    async fn content_of(&mut self, ticket: &Ticket, tracked: &Tracked) -> Result<ContentId, Next> {
        let known = ticket.content().or_else(|| self.saved.content.parse().ok());
        if let Some(content) = known {
            return Ok(content);
        }
        let mut told = tracked.told.clone();
        loop {
            let reason = match &*told.borrow_and_update() {
                Told::Joined(Some(content)) => return Ok(*content),
                Told::Joined(None) => "the tracker does not say what the ticket stands for".to_owned(),
                Told::Asking(reason) => reason.clone(),
            };
            self.say(Doing::Waiting, &reason);
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return Err(Next::End) },
                changed = self.wish.changed() => {
                    return Err(if changed.is_err() { Next::End } else { Next::Again });
                }
            }
        }
    }

    async fn begin(&mut self, ticket: &Ticket, tracked: &Tracked, content: ContentId) -> Result<Download, String> {
        self.say(Doing::Waiting, "");
        self.view.send_modify(|view| view.content = content.to_string());
        let only: Result<Vec<Glob>, _> = self.saved.only.iter().map(|glob| glob.parse::<Glob>()).collect();
        let only = only.map_err(|error| error.to_string())?;
        let download = tracked.node.download(content).private(ticket.secret()).output(&self.saved.path);
        let download = download.overwrite(self.saved.force).only(only);
        download.start().await.map_err(|error| error.to_string())
    }

    /// Says how a download stands until it is told something else, or it fails.
    async fn follow(&mut self, tracked: &Tracked, download: Download, wish: Wish) -> Next {
        let (content, mut status, mut told) = (download.content(), download.status(), tracked.told.clone());
        loop {
            let now = status.borrow_and_update().clone();
            self.count(&now);
            if !now.name.is_empty() && now.name != self.saved.name {
                self.saved.name.clone_from(&now.name);
                self.saved.content = content.to_string();
                let (name, content) = (now.name.clone(), content.to_string());
                self.note(Note::Known { number: self.saved.number, content, name }).await;
            }
            if let Some(completed) = &now.completed
                && self.saved.complete.is_empty()
            {
                let path = completed.path.display().to_string();
                self.saved.completed_at(path.clone());
                self.note(Note::Complete { number: self.saved.number, path, forces: self.forces }).await;
            }
            let waits = match &*told.borrow_and_update() {
                Told::Asking(reason) => reason.clone(),
                Told::Joined(_) => String::new(),
            };
            match &now.state {
                State::Failed(error) => {
                    self.show(Doing::Failed, &error.to_string(), &now);
                    self.keep_counts(&now);
                    return self.told().await;
                }
                State::Withdrawn(reason) => {
                    self.show(Doing::Failed, &format!("{reason}: {AGAIN}"), &now);
                    self.keep_counts(&now);
                    return self.told_to_get_it_again(wish).await;
                }
                State::Stopped => {
                    self.keep_counts(&now);
                    return self.fails("it was stopped").await;
                }
                State::Starting => self.show(Doing::Waiting, &waits, &now),
                State::Opening => self.show(Doing::Checking, "", &now),
                State::Finishing => self.show(Doing::Finishing, "", &now),
                State::Complete => self.show(Doing::Sharing, "", &now),
                _ => self.show(Doing::Downloading, if now.peers == 0 { &waits } else { "" }, &now),
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return Next::End },
                changed = told.changed() => if changed.is_err() { return Next::End },
                changed = self.wish.changed() => {
                    let said = *self.wish.borrow_and_update();
                    if changed.is_ok() && (said.run, said.forces) == (wish.run, wish.forces) {
                        continue;
                    }
                    let last = status.borrow().clone();
                    self.keep_counts(&last);
                    // What is verified is kept, and its files are closed once this returns.
                    let _ = download.cancel().await;
                    return if changed.is_err() { Next::End } else { Next::Again };
                }
            }
        }
    }

    async fn note(&self, note: Note) {
        let _ = self.notes.send(note).await;
    }
}

/// For how long nothing has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stillness {
    received: u64,
    since: Instant,
}

/// A download that gets nothing for so long keeps no other one waiting.
const STILL: Duration = Duration::from_secs(60);

impl Stillness {
    pub(crate) fn new() -> Self {
        Stillness { received: 0, since: Instant::now() }
    }

    /// Whether nothing has come for long, given what has come in all. A download that waits for others is not still.
    pub(crate) fn is_still(&mut self, view: &ContentStatus) -> bool {
        if self.received != view.received || view.state == Doing::Queued {
            *self = Stillness { received: view.received, since: Instant::now() };
        }
        self.since.elapsed() >= STILL
    }
}
