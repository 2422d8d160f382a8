//! The task of one content: it shares or downloads it, follows the requests of users, and publishes its state.

mod alone;
mod claim;
mod downloading;
mod sharing;
mod total;
mod trouble;
mod waiting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peer::{Status, redacted};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::control::{ContentStatus, Doing, ErrorCode, Kind};
use crate::nodes::Nodes;
use crate::origin::is_url;
use crate::state::SavedContent;
use total::Total;
use trouble::TroubleLog;

/// Time between two attempts to share what cannot be shared: doubled each time up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause where a URL was read in vain, or before a new version of what lies there is read: reading may cost money.
const URL_PAUSE: Duration = Duration::from_secs(600);

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
    /// What was received and sent, also before a pause, or before its files were looked at anew.
    received: Total,
    sent: Total,
    /// How often it was told so far to replace different files, and to go on.
    forces: u64,
    resumes: u64,
    /// How often in a row there was no room for it.
    roomless: u32,
    /// Whether it is complete, and not shared until its tracker is back.
    rests: bool,
    trouble: TroubleLog,
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
        let (received, sent, trouble) = (Total::default(), Total::default(), TroubleLog::default());
        Task {
            saved,
            nodes,
            wish,
            view,
            notes,
            received,
            sent,
            forces: 0,
            resumes: 0,
            roomless: 0,
            rests: false,
            trouble,
        }
    }

    /// How a content stands that was not begun.
    pub(crate) fn first_view(saved: &SavedContent) -> ContentStatus {
        let path = if saved.complete.is_empty() { &saved.path } else { &saved.complete };
        // A URL may be signed.
        let path = if is_url(path) { redacted(path) } else { path.clone() };
        let name = match saved.kind {
            Kind::Share => Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Kind::Download => saved.name.clone(),
        };
        ContentStatus {
            number: saved.number,
            kind: saved.kind,
            content: saved.content.clone(),
            name,
            path,
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

    fn say(&mut self, state: Doing, reason: &str) {
        self.say_with_code(state, reason, None);
    }

    fn say_with_code(&mut self, state: Doing, reason: &str, code: Option<ErrorCode>) {
        self.view.send_modify(|view| {
            (view.state, view.code) = (state, code);
            reason.clone_into(&mut view.reason);
            (view.rate, view.peers, view.hashed) = (0, 0, [0, 0]);
        });
        self.trouble.log(&self.view.borrow());
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
    fn show(&mut self, state: Doing, reason: &str, status: &Status) {
        self.view.send_if_modified(|view| {
            let mut now = view.clone();
            (now.state, now.code) = (state, None);
            reason.clone_into(&mut now.reason);
            if !status.name.is_empty() {
                now.name.clone_from(&status.name);
            }
            (now.size, now.have, now.pieces) = (status.size, status.have, status.pieces);
            (now.rate, now.peers, now.hashed) = (status.rate, status.peers, [0, 0]);
            let coming = status.received - came_from_sources(status);
            (now.received, now.sent) = (self.received.all() + coming, self.sent.all());
            if let Some(completed) = &status.completed {
                now.path = completed.path.display().to_string();
            }
            let is_new = *view != now;
            if is_new {
                *view = now;
            }
            is_new
        });
        self.trouble.log(&self.view.borrow());
    }

    /// What has come and gone by now.
    fn count(&mut self, status: &Status) {
        self.received.count(came_from_sources(status));
        self.sent.count(status.sent);
    }

    /// What was counted up to here counts on.
    fn keep_counts(&mut self, status: &Status) {
        self.count(status);
        self.received.keep();
        self.sent.keep();
    }
}

/// Bytes that have come. Those that are on their way may be given up, and would look like a new beginning.
fn came_from_sources(status: &Status) -> u64 {
    status.sources.values().sum()
}
