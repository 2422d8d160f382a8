//! Other peers and the tracker: who is dialled, what is asked for and answered, and how fast.

pub(crate) mod approach;
pub(crate) mod asked_manifests;
pub(crate) mod block_size;
pub(crate) mod buffers;
pub(crate) mod dial;
pub(crate) mod dial_book;
pub(crate) mod dial_filter;
pub(crate) mod dial_limiter;
pub(crate) mod fetch;
pub(crate) mod gate;
pub(crate) mod intake;
pub(crate) mod let_in;
pub(crate) mod link;
pub(crate) mod listen;
mod loads;
pub(crate) mod manifest_memory;
pub(crate) mod origin;
pub(crate) mod rate;
pub(crate) mod relay;
pub(crate) mod serve;
pub(crate) mod tracker;
