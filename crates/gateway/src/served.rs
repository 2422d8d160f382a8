//! What a gateway serves, and to whom: what all answers share.

use std::sync::Arc;
use std::time::Duration;

use peer::ReadMemory;

use crate::access::Access;
use crate::contents::Contents;
use crate::files::SendOptions;
use crate::kept::Kept;
use crate::lists::Lists;
use crate::origin::RunningOrigins;
use crate::s3::buckets::Buckets;

/// What is served, to whom.
pub(crate) struct Served {
    pub(crate) access: Access,
    pub(crate) contents: Arc<Contents>,
    pub(crate) lists: Lists,
    /// Where what nobody has comes from, if anywhere.
    pub(crate) origins: Option<RunningOrigins>,
    /// Where contents are to be found in buckets, beside those of their own names.
    pub(crate) buckets: Buckets,
    /// What is read and not yet sent takes a part of this.
    pub(crate) memory: ReadMemory,
    /// How long what is not here is waited for.
    pub(crate) wait: Duration,
    /// What is kept on the disk of what was brought.
    pub(crate) kept: Arc<Kept>,
}

impl Served {
    pub(crate) fn new(access: Access, contents: Contents, wait: Duration, memory: ReadMemory) -> Self {
        let kept = contents.kept.clone();
        Served {
            access,
            contents: Arc::new(contents),
            lists: Lists::new(memory.clone(), wait),
            origins: None,
            buckets: Buckets::new(Vec::new()),
            memory,
            wait,
            kept,
        }
    }

    /// How files are answered, and what is said of keeping them.
    pub(crate) fn manner(&self, cache: &'static str) -> SendOptions<'_> {
        SendOptions { wait: self.wait, memory: &self.memory, kept: &self.kept, cache }
    }
}
