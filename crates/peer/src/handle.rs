//! What a download and a share have in common: a content in the node, which goes on without its handle.

use std::ops::Range;

use tokio::sync::watch;

use crate::command::{Command, Commands};
use crate::error::PeerError;
use crate::reader::Reader;
use crate::report::{Begun, ContentKey};
use crate::status::Status;

/// A content that a node takes part in.
pub(crate) struct Handle {
    pub(crate) commands: Commands,
    pub(crate) key: ContentKey,
    pub(crate) status: watch::Receiver<Status>,
}

impl Handle {
    pub(crate) fn new(commands: Commands, begun: Begun) -> Self {
        let Begun { key, status } = begun;
        Handle { commands, key, status }
    }

    pub(crate) fn read_from(&self, offset: u64) -> Reader {
        self.read_range(offset..u64::MAX)
    }

    pub(crate) fn read_range(&self, range: Range<u64>) -> Reader {
        Reader::new(self.commands.clone(), self.key, self.status.clone(), range)
    }

    pub(crate) async fn stop(&self) -> Result<(), PeerError> {
        let key = self.key;
        self.commands.ask(|reply| Command::Stop { key, reply }).await
    }
}
