//! The task of one content: it shares or downloads it, follows the requests of users, and publishes its state.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use peer::{
    ContentId, Download, Glob, PeerError, PeerEvent, Share, State, Status, StorageError, Ticket, TrackerStatus,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::control::{ContentStatus, Doing, Kind};
use crate::nodes::{Nodes, Owner, Told, Tracked, is_told_by_tracker};
use crate::state::SavedContent;

/// Time between two attempts to share what cannot be shared: doubled each time up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Time between two attempts to download what there is no room for, likewise, and spread.
const FIRST_ROOM: Duration = Duration::from_secs(60);
const LONGEST_ROOM: Duration = Duration::from_secs(3600);
/// How long a download that is tried again leaves the queue to say whether it is its turn: it looks each second.
const TURN: Duration = Duration::from_secs(2);
/// A complete download of which neither the sharer's own tracker nor any peer was there for so long gives its node's room to others, and
/// earlier where that is scarce.
const ABANDONED: Duration = Duration::from_secs(3600);
const ABANDONED_WHERE_SCARCE: Duration = Duration::from_secs(300);
/// Its tracker is looked for again after this time, more or less, for so long.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
const LOOKS: Duration = Duration::from_secs(30);
const TRACKER_GONE: &str =
    "it is complete, and shared again when the tracker of its ticket is back, which is looked for once an hour";
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
    /// How often it was told so far to replace different files, and to go on.
    forces: u64,
    resumes: u64,
    /// How often in a row there was no room for it.
    roomless: u32,
    /// Whether it is complete, and not shared until its tracker is back.
    rests: bool,
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
        let (before, since) = ((0, 0), (0, 0));
        Task { saved, nodes, wish, view, notes, before, since, forces: 0, resumes: 0, roomless: 0, rests: false }
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
            if std::mem::replace(&mut self.resumes, wish.resumes) != wish.resumes {
                (self.roomless, self.rests) = (0, false);
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
        match self.claim(&home, share.content()).await {
            Ok(Claimed::AtOnce) => {}
            Ok(Claimed::Later) => {
                // The other entry has stopped it.
                home.release(self.saved.number);
                return Next::Again;
            }
            Err(next) => return next,
        }
        *failures = 0;
        self.serve(&home, share, wish).await
    }

    /// Takes a content, or says which entry has it, and waits until that lets go of it.
    async fn claim(&mut self, tracked: &Tracked, content: ContentId) -> Result<Claimed, Next> {
        let (mut released, mut claimed) = (tracked.released(), Claimed::AtOnce);
        let own = Owner { number: self.saved.number, view: self.view.subscribe(), only: self.saved.only.clone() };
        loop {
            let Err(mut other) = tracked.claim(content, &own) else { return Ok(claimed) };
            claimed = Claimed::Later;
            self.say_who_has_it(content, other.as_mut());
            let stands_otherwise = async {
                if let Some(other) = &mut other
                    && other.view.changed().await.is_ok()
                {
                    return;
                }
                std::future::pending().await
            };
            tokio::select! {
                next = self.told() => return Err(next),
                _ = released.changed() => {}
                () = stands_otherwise => {}
            }
        }
    }

    /// Says which other entry has its content, and what comes of that: what that has downloaded is here.
    fn say_who_has_it(&self, content: ContentId, other: Option<&mut Owner>) {
        let Some(other) = other else { return self.say(Doing::Waiting, "") };
        let (number, there) = (other.number, other.view.borrow_and_update().clone());
        let has_the_files = other.only.is_empty() || other.only == self.saved.only;
        self.view.send_if_modified(|view| {
            let before = view.clone();
            view.content = content.to_string();
            (view.rate, view.peers, view.hashed) = (0, 0, [0, 0]);
            (view.state, view.reason) = match self.saved.kind {
                Kind::Download if has_the_files && there.state == Doing::Sharing => {
                    (view.size, view.have, view.pieces) = (there.size, there.have, there.pieces);
                    (view.name, view.path) = (there.name, there.path);
                    (Doing::Sharing, format!("it is here already: it is the same content as number {number}"))
                }
                Kind::Download if has_the_files => {
                    (Doing::Waiting, format!("it is the same content as number {number}, and waits for that"))
                }
                kind => {
                    if kind == Kind::Share {
                        // It is shared all the same.
                        view.ticket.clear();
                    }
                    let reason = "and waits for that: remove one of them";
                    (Doing::Waiting, format!("it is the same content as number {number}, {reason}"))
                }
            };
            *view != before
        });
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
                // Other requests, such as another reload, wait until hashing is done.
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
        let only: Result<Vec<Glob>, _> = self.saved.only.iter().map(|glob| glob.parse::<Glob>()).collect();
        let only = match only {
            Ok(only) => only,
            Err(error) => return self.fails(&error.to_string()).await,
        };
        if self.rests {
            return self.rest(&ticket).await;
        }
        let tracked = match self.nodes.of_ticket(&ticket) {
            Ok(tracked) => tracked,
            Err(reason) => {
                self.nodes.ask_for_room();
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
        let begun = self.begin(&ticket, &tracked, content, only).await;
        let next = match begun {
            Ok(download) => self.follow(&tracked, download, wish, is_told_by_tracker(&ticket)).await,
            Err(_) if tracked.node.has_ended() => Next::End,
            Err(error) => {
                let (reason, pause) = self.failure(&error);
                self.say(Doing::Failed, &reason);
                tracked.release(self.saved.number);
                self.tried_again(pause).await
            }
        };
        tracked.release(self.saved.number);
        next
    }

    /// Waits until the tracker of a private share is back, which is looked for now and then, or it is told something else.
    async fn rest(&mut self, ticket: &Ticket) -> Next {
        self.say(Doing::Waiting, TRACKER_GONE);
        let nodes = self.nodes.clone();
        let is_back = async {
            loop {
                sleep(LOOK_AGAIN.mul_f64(0.5 + fastrand::f64())).await;
                // Where there is no room, others go first.
                let Ok(tracked) = nodes.of_ticket(ticket) else { continue };
                let mut told = tracked.told.clone();
                let joined = told.wait_for(|told| matches!(told, Told::Joined(_)));
                if matches!(timeout(LOOKS, joined).await, Ok(Ok(_))) {
                    return;
                }
            }
        };
        tokio::select! {
            next = self.told() => next,
            () = is_back => {
                self.rests = false;
                Next::Again
            }
        }
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

    /// Why a download has failed, and after what time it is tried again by itself.
    fn failure(&mut self, error: &PeerError) -> (String, Option<Duration>) {
        let pause = pause_after(error, self.roomless);
        if pause.is_none() {
            return (error.to_string(), None);
        }
        self.roomless += 1;
        (format!("{error}; it is tried again until there is room"), pause)
    }

    /// Waits until it is told something else, or it is tried again and it is its turn.
    async fn tried_again(&mut self, pause: Option<Duration>) -> Next {
        let Some(pause) = pause else { return self.told().await };
        tokio::select! {
            next = self.told() => return next,
            () = sleep(pause) => {}
        }
        self.say(Doing::Queued, "");
        self.told_within(TURN).await
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

    async fn begin(
        &mut self,
        ticket: &Ticket,
        tracked: &Tracked,
        content: ContentId,
        only: Vec<Glob>,
    ) -> Result<Download, PeerError> {
        self.say(Doing::Waiting, "");
        self.view.send_modify(|view| view.content = content.to_string());
        let download = tracked.node.download(content).private(ticket.secret()).output(&self.saved.path);
        download.overwrite(self.saved.force).only(only).start().await
    }

    /// Says how a download stands until it is told something else, it fails, or it is complete and nobody is there, where it has a node
    /// of its own.
    async fn follow(&mut self, tracked: &Tracked, download: Download, wish: Wish, has_own_node: bool) -> Next {
        let (content, mut status, mut told) = (download.content(), download.status(), tracked.told.clone());
        let (mut trackers, mut scarcity) = (tracked.node.watch_trackers(), self.nodes.watch_scarcity());
        let mut alone_since = None;
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
                    let (reason, pause) = self.failure(error);
                    self.show(Doing::Failed, &reason, &now);
                    self.keep_counts(&now);
                    tracked.release(self.saved.number);
                    return self.tried_again(pause).await;
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
                _ => {
                    // There was room for it.
                    self.roomless = 0;
                    self.show(Doing::Downloading, if now.peers == 0 { &waits } else { "" }, &now);
                }
            }
            let [up, _] = TrackerStatus::up_and_lost(&trackers.borrow_and_update());
            let is_alone = has_own_node && matches!(now.state, State::Complete) && now.peers == 0 && up == 0;
            alone_since = is_alone.then(|| alone_since.unwrap_or_else(Instant::now));
            let patience = if *scarcity.borrow_and_update() { ABANDONED_WHERE_SCARCE } else { ABANDONED };
            let is_abandoned = async {
                match alone_since {
                    Some(since) => sleep_until(since + patience).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return Next::End },
                changed = trackers.changed(), if has_own_node => if changed.is_err() { return Next::End },
                Ok(()) = scarcity.changed(), if is_alone => {}
                () = is_abandoned => {
                    self.keep_counts(&now);
                    let _ = download.cancel().await;
                    self.rests = true;
                    return Next::Again;
                }
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

/// After what time a download is tried again that has failed so often before: only where room is all that it lacked, which comes back
/// without anyone doing something here.
fn pause_after(error: &PeerError, before: u32) -> Option<Duration> {
    match error {
        // No file of such a size can ever be there.
        PeerError::Storage(StorageError::TooLarge { .. }) => None,
        PeerError::Storage(storage) if storage.is_no_room() => {
            let pause = (FIRST_ROOM * 2u32.saturating_pow(before.min(8))).min(LONGEST_ROOM);
            Some(pause.mul_f64(0.75 + fastrand::f64() / 2.0))
        }
        _ => None,
    }
}

/// How a content was taken.
enum Claimed {
    AtOnce,
    /// Another entry had it before.
    Later,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_room_is_tried_again_less_and_less_often() {
        let after = |error: StorageError, before| pause_after(&error.into(), before);
        let full = || StorageError::Full("file".into());
        let near = |pause: Option<Duration>, expected: Duration| {
            (expected.mul_f64(0.75)..=expected.mul_f64(1.25)).contains(&pause.unwrap())
        };
        assert!(near(after(full(), 0), FIRST_ROOM) && near(after(full(), 2), FIRST_ROOM * 4));
        assert!(near(after(full(), u32::MAX), LONGEST_ROOM));
        assert_eq!(after(StorageError::TooLarge { path: "file".into(), limit: None }, 0), None);
        assert_eq!(after(StorageError::Denied("file".into()), 0), None);
        assert_eq!(pause_after(&PeerError::Cancelled, 0), None);
    }
}
