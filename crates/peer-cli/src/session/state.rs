//! What a session knows: its node, what it is to do, and what was said of each content so far.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use peer::{Download, Node, PieceRange, Share, Status};
use protocol::ContentId;
use tokio::sync::watch;
use transport::Kind;

use crate::flags::end::End;
use crate::flags::peer::PeerArguments;
use crate::session::find::Wanted;
use crate::session::patience::{Stillness, now};
use crate::ui::progress::{Meter, Progress};
use crate::ui::screen::{OutputStream, Screen};

/// What kind of session it is.
pub struct SessionOptions {
    /// Whether it is one of a seeder: whose words `prog` uses.
    pub seeder: bool,
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
}

impl SessionOptions {
    /// A downloader's, with words on standard output.
    pub fn new(peer: &PeerArguments, end: End) -> Self {
        SessionOptions {
            seeder: false,
            strict: true,
            end,
            wait: peer.wait,
            transport: peer.transport,
            folder: PathBuf::new(),
            output_stream: OutputStream::Output,
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
    /// Since when every download is complete.
    pub(super) done_since: Option<Instant>,
    /// When a progress line was last drawn.
    pub(super) drawn: Option<Instant>,
    /// Since when nobody is connected who has some piece of a download.
    pub(super) lacking_since: BTreeMap<ContentId, Instant>,
    /// When the first download began.
    pub(super) wanted_since: Option<Instant>,
}

/// A content that is shared or downloaded.
pub(super) struct Content {
    pub(super) handle: Handle,
    pub(super) status: watch::Receiver<Status>,
    /// What to say of it while it is waited for.
    pub(super) wanted: Wanted,
    /// What was last shown of it.
    pub(super) shown: Option<Progress>,
    /// Whether it is a download that is not complete.
    pub(super) pending: bool,
    /// Whether it was said that it is not shared any more.
    pub(super) said_withdrawn: bool,
    /// The pieces that were said to be lacking.
    pub(super) lacking: Vec<PieceRange>,
    pub(super) meter: Meter,
    pub(super) still: Stillness,
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
            pending,
            said_withdrawn: false,
            lacking: Vec::new(),
            meter: Meter::new(),
            still: Stillness::since(began),
        }
    }
}

impl Session {
    pub(super) fn new(node: Node, options: SessionOptions, screen: Screen) -> Self {
        let state = State {
            contents: BTreeMap::new(),
            begun: false,
            unread: false,
            done_since: None,
            drawn: None,
            lacking_since: BTreeMap::new(),
            wanted_since: None,
        };
        Session { node, options, screen, began: now(), state: RefCell::new(state) }
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
