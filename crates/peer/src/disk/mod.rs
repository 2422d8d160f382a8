//! Contents on this peer's disk: what lies there, where a download goes, and how it survives.

pub(crate) mod content;
pub(crate) mod doubt;
pub(crate) mod existing;
pub(crate) mod file_state;
pub(crate) mod hash;
pub(crate) mod hash_cache;
pub(crate) mod left_out;
pub(crate) mod left_over;
pub(crate) mod made_when_read;
pub(crate) mod manifests;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod own_state;
pub(crate) mod plan;
pub(crate) mod reuse;
pub(crate) mod scan;
pub(crate) mod settled;
pub(crate) mod share;
pub(crate) mod spool;
pub(crate) mod watch;
pub(crate) mod workers;
pub(crate) mod zeros;
