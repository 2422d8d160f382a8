//! How large this process may make a file, if that is limited (`ulimit -f`).

#[cfg(unix)]
pub(crate) fn file_size_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

#[cfg(not(unix))]
pub(crate) fn file_size_limit() -> Option<u64> {
    None
}
