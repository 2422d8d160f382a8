//! A folder that is kept: how large it is, who uses it, and whether it may go.

use std::time::{Duration, SystemTime};

use peer::{ContentId, Node, Status};
use tokio::sync::watch;
use tokio::time::Instant;

/// What peers are sent stays for no longer than this after the last use here: anyone may ask for a piece of everything now and then.
pub(super) const SENT: Duration = Duration::from_secs(60 * 60);

pub(super) struct KeptFolder {
    pub(super) bytes: u64,
    pub(super) used: SystemTime,
    /// The same by a clock that nobody sets, if it was in this run.
    used_here: Option<Instant>,
    /// Whether it is still on its way from an origin.
    pub(super) is_coming: bool,
    pub(super) readers: usize,
    /// Who has it open, and as which content.
    pub(super) open: Vec<Open>,
    /// When it was last seen that peers are sent some of it.
    sent: Option<Instant>,
}

/// A content that a node has open.
pub(super) struct Open {
    pub(super) node: Node,
    pub(super) content: ContentId,
    pub(super) status: watch::Receiver<Status>,
    /// Bytes that peers had been sent at the last look.
    pub(super) sent: u64,
}

impl Open {
    pub(super) fn is_of(&self, node: &Node, content: ContentId) -> bool {
        self.content == content && self.node.id() == node.id() && self.node.listeners() == node.listeners()
    }
}

impl KeptFolder {
    pub(super) fn new(bytes: u64, used: SystemTime) -> Self {
        KeptFolder { bytes, used, used_here: None, is_coming: false, readers: 0, open: Vec::new(), sent: None }
    }

    /// Looks whether peers are being sent some of it.
    pub(super) fn look(&mut self) {
        for open in &mut self.open {
            let sent = open.status.borrow().sent;
            if std::mem::replace(&mut open.sent, sent) < sent {
                self.sent = Some(Instant::now());
            }
        }
    }

    pub(super) fn is_used(&mut self) {
        (self.used, self.used_here) = (SystemTime::now(), Some(Instant::now()));
    }

    pub(super) fn may_go(&self, now: SystemTime, recent: Duration) -> bool {
        // What seems to be of the future was used before the clock was set back.
        let is_recent = match self.used_here {
            Some(used) => used.elapsed() < recent,
            None => now.duration_since(self.used).is_ok_and(|since| since < recent),
        };
        let is_within = |time: Option<Instant>, within| time.is_some_and(|time| time.elapsed() < within);
        let is_sent = is_within(self.sent, recent) && is_within(self.used_here, SENT);
        self.readers == 0 && !self.is_coming && !is_recent && !is_sent
    }
}
