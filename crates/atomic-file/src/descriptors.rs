//! How many files and sockets this process may have open: storage and transports each take their share of that.

/// The most that this process may have open at once; `usize::MAX` where there is no limit, or none that could be asked for.
pub fn descriptor_limit() -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }
    #[cfg(not(unix))]
    usize::MAX
}
