//! What a session knows: its node, what it is to do, and what was said of each content so far.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer::{Download, Fallback, Node, Participant, PieceRange, Share, Status};
use protocol::{ContentId, PeerId};
use tokio::sync::{Notify, watch};
use transport::Kind;

use crate::flags::end::End;
use crate::flags::peer::PeerArguments;
use crate::session::find::Wanted;
use crate::session::own_tracker::Reach;
use crate::session::patience::{Stillness, now};
use crate::session::reached::{Newcomers, Reached};
use crate::session::repeats::Repeats;
use crate::session::sharer::Sharer;
use crate::ui::pace::Meter;
use crate::ui::progress::Progress;
use crate::ui::screen::{OutputStream, Screen};

/// What kind of session it is.
pub struct SessionOptions {
    /// Whether it is one of a seeder: whose words `prog` uses.
    pub seeder: bool,
    /// Whether it was started as the original is (`-i`): then it uses the original's words.
    pub original: bool,
    /// Whether its tracker runs in this process.
    pub own_tracker: bool,
    /// Whether something that cannot be shared ends it: it was asked for by name.
    pub strict: bool,
    /// When it ends by itself.
    pub end: End,
    /// How long pieces that nobody has are waited for.
    pub wait: Option<Duration>,
    pub transport: Kind,
    /// The folder for downloads.
    pub folder: PathBuf,
    /// Where its words go: to standard error where the content goes to standard output.
    pub output_stream: OutputStream,
    /// What it does first.
    pub first: &'static str,
    /// Where downloads can be read that no peer has, if the user says so.
    pub origin: Option<Arc<dyn Fallback>>,
    /// Where manifests are kept, if origins that they name may be read.
    pub named_origins: Option<PathBuf>,
}

/// What is done first where the tracker is known.
pub(super) const CONNECTING: &str = "Connecting to the tracker …";

impl SessionOptions {
    /// A downloader's, with words on standard output.
    pub fn new(peer: &PeerArguments, end: End) -> Self {
        SessionOptions {
            seeder: false,
            original: false,
            own_tracker: false,
            strict: true,
            end,
            wait: peer.wait,
            transport: peer.transport,
            folder: PathBuf::new(),
            output_stream: OutputStream::Output,
            first: CONNECTING,
            origin: None,
            named_origins: None,
        }
    }
}

/// A run of a peer. What a command starts and what happens meanwhile take turns on it, so its state is borrowed for a moment at
/// a time and never while something is waited for.
pub struct Session {
    pub node: Node,
    pub(super) options: SessionOptions,
    pub(super) screen: Screen,
    /// When it began.
    pub(super) began: Instant,
    /// Wakes who shares what was added.
    pub(super) added: Notify,
    /// Wakes who keeps tickets and codes of what is shared.
    pub(super) ended: Notify,
    pub(super) state: RefCell<State>,
}

/// What changes while it runs.
pub(super) struct State {
    /// Everything that is shared or downloaded.
    pub(super) contents: BTreeMap<ContentId, Content>,
    /// Whether everything that was asked for has begun.
    pub(super) begun: bool,
    /// Whether it is to end, whatever is not complete.
    pub(super) unread: bool,
    /// Whether a download was stopped that was not complete.
    pub(super) gave_up: bool,
    /// Since when every download is complete.
    pub(super) done_since: Option<Instant>,
    /// What it is doing before there is anything to show in figures.
    pub(super) doing: Option<String>,
    /// What is being hashed, as it is drawn.
    pub(super) hashing: Option<Hashing>,
    /// All that is being hashed: what is said of anything else comes late.
    pub(super) under_way: BTreeSet<PathBuf>,
    /// Where peers were when they connected, for what is said of them later.
    pub(super) addresses: BTreeMap<PeerId, SocketAddr>,
    /// Those of them that were reached through a relay when they connected last.
    pub(super) relayed: BTreeSet<PeerId>,
    /// What was said of how peers were reached, and of how many that dialled this one events may be told.
    pub(super) reached: Reached,
    pub(super) newcomers: Newcomers,
    /// What is to be shared as well, as typed.
    pub(super) additions: VecDeque<PathBuf>,
    /// What was sent of contents that are not shared any more, and to whom.
    pub(super) past: (u64, Vec<Participant>),
    /// Peers that sent wrong pieces and were shut out.
    pub(super) liars: u32,
    /// Since when nobody is connected who has some piece of a download.
    pub(super) lacking_since: BTreeMap<ContentId, Instant>,
    /// When the first download began.
    pub(super) wanted_since: Option<Instant>,
    /// Whether nothing need be shared at first.
    pub(super) waits_for_files: bool,
    /// Whether it was said that standard output takes no more.
    pub(super) said_loss: bool,
    /// Whether the tracker in this process is reached, if there is one.
    pub(super) own_tracker: Reach,
    /// What was said of downloads that stand still, where there are several.
    pub(super) repeats: Repeats,
    /// The sharer to whom a ticket leads, if its tracker is nobody else's.
    pub(super) sharer: Option<Sharer>,
    /// The ticket that a code stood for: the code is used up.
    pub(super) redeemed: Option<String>,
}

/// A content that is shared or downloaded.
pub(super) struct Content {
    pub(super) handle: Handle,
    pub(super) status: watch::Receiver<Status>,
    /// What to say of it while it is waited for.
    pub(super) wanted: Wanted,
    /// What was last shown of it.
    pub(super) shown: Option<Progress>,
    /// When programs were last told how it stands.
    pub(super) told: Option<Instant>,
    /// Whether it is a download that is not complete.
    pub(super) pending: bool,
    /// Why its origin is of no help at the moment.
    pub(super) origin_failure: Option<String>,
    /// Why its share is over, as its sharer says.
    pub(super) over: Option<String>,
    /// Whether it was said that it is not shared any more.
    pub(super) said_withdrawn: bool,
    /// The pieces that were said to be lacking.
    pub(super) lacking: Vec<PieceRange>,
    pub(super) meter: Meter,
    pub(super) still: Stillness,
    /// What was said of those who get it.
    pub(super) takers: BTreeMap<PeerId, Taker>,
}

/// What a sharer has said of somebody who gets something.
#[derive(Default)]
pub(super) struct Taker {
    pub(super) meter: Meter,
    /// Whether it was said that it has all.
    pub(super) said_all: bool,
    /// Since when it is gone without all, and whether that was said.
    pub(super) gone: Option<Instant>,
    pub(super) said_gone: bool,
}

/// A file or folder that is being hashed.
pub(super) struct Hashing {
    pub(super) path: PathBuf,
    /// When it was first and last heard of, and how many bytes were done then.
    pub(super) first: (Instant, u64),
    pub(super) last: (Instant, u64),
    pub(super) total: u64,
    pub(super) meter: Meter,
}

pub(super) enum Handle {
    Share(Share),
    Download(Download),
}

impl Content {
    pub(super) fn new(handle: Handle, wanted: Wanted, began: Instant) -> Self {
        let (status, pending) = match &handle {
            Handle::Share(share) => (share.status(), false),
            Handle::Download(download) => (download.status(), true),
        };
        Content {
            handle,
            status,
            wanted,
            shown: None,
            told: None,
            pending,
            origin_failure: None,
            over: None,
            said_withdrawn: false,
            lacking: Vec::new(),
            meter: Meter::default(),
            still: Stillness::since(began).begun(now()),
            takers: BTreeMap::new(),
        }
    }

    /// Whether every piece of it is verified.
    pub(super) fn has_all(&self) -> bool {
        matches!(self.status.borrow().state, peer::State::Finishing | peer::State::Complete)
    }
}

impl Session {
    pub(super) fn new(node: Node, options: SessionOptions, screen: Screen) -> Self {
        let state = State {
            contents: BTreeMap::new(),
            begun: false,
            unread: false,
            gave_up: false,
            done_since: None,
            doing: None,
            hashing: None,
            under_way: BTreeSet::new(),
            addresses: BTreeMap::new(),
            additions: VecDeque::new(),
            past: (0, Vec::new()),
            liars: 0,
            relayed: BTreeSet::new(),
            reached: Reached::default(),
            newcomers: Newcomers::default(),
            lacking_since: BTreeMap::new(),
            wanted_since: None,
            waits_for_files: false,
            said_loss: false,
            own_tracker: Reach::default(),
            repeats: Repeats::default(),
            sharer: None,
            redeemed: None,
        };
        let (added, ended) = (Notify::new(), Notify::new());
        Session { node, options, screen, began: now(), added, ended, state: RefCell::new(state) }
    }

    /// The downloads that are not complete.
    pub(super) fn pending(&self) -> Vec<ContentId> {
        let state = self.state.borrow();
        state.contents.iter().filter(|(_, content)| content.pending).map(|(&id, _)| id).collect()
    }

    pub(super) fn ids(&self) -> Vec<ContentId> {
        self.state.borrow().contents.keys().copied().collect()
    }
}
