//! What a gateway serves, and to whom: what all answers share.

use std::time::Duration;

use crate::access::Access;
use crate::contents::Contents;

/// What is served, to whom.
pub(crate) struct Served {
    pub(crate) access: Access,
    pub(crate) contents: Contents,
    /// How long what is not here is waited for.
    pub(crate) wait: Duration,
}
