//! What a gateway serves, and to whom: what all answers share.

use std::time::Duration;

use crate::access::Access;
use crate::contents::Contents;
use crate::huggingface::Revisions;
use crate::lists::Lists;

/// What is served, to whom.
pub(crate) struct Served {
    pub(crate) access: Access,
    pub(crate) contents: Contents,
    pub(crate) lists: Lists,
    pub(crate) revisions: Revisions,
    /// How long what is not here is waited for.
    pub(crate) wait: Duration,
}

impl Served {
    pub(crate) fn new(access: Access, contents: Contents, wait: Duration) -> Self {
        let revisions = Revisions::new(contents.swarms.len());
        Served { access, contents, lists: Lists::new(), revisions, wait }
    }
}
