//! Where a process may use little address space (`ulimit -v`): the allocator of Linux takes 64 MiB of it for each thread, whatever
//! the thread allocates, and there is none left for what is needed.

/// Makes do with the address space that this process may use: starts the program again with an allocator that takes little, if
/// that is needed. A sentence if it may use less than `least` bytes, with which it does its work. Where not even the program itself
/// fits, the system ends it (`SIGSEGV`, status 139) before any of it runs.
#[cfg(target_os = "linux")]
pub fn spare_address_space(least: u64) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    let Some(limit) = limit() else { return Ok(()) };
    if limit < least {
        return Err(format!(
            "this process may use {} MiB of address space, and needs {} MiB at least. Raise the limit (ulimit -v)",
            limit >> 20,
            least >> 20
        ));
    }
    if std::env::var_os(ARENAS).is_some() {
        return Ok(());
    }
    let Ok(program) = std::env::current_exe() else { return Ok(()) };
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only if it fails; then it goes on as it is.
    let error = again.args(arguments).env(ARENAS, "1").exec();
    tracing::debug!(%error, "the allocator takes what it takes");
    Ok(())
}

/// Nothing has to be done here.
#[cfg(not(target_os = "linux"))]
pub fn spare_address_space(_: u64) -> Result<(), String> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}
