//! The stack of a program: where the system grants the first thread too little (`ulimit -s`, or a program for Windows), the work is done on
//! another, whose stack we choose. A stack that overflows ends a process without a word of ours.

/// Bytes of the stack that we choose.
const OWN: usize = 8 << 20;

/// Runs `work` where there is enough stack for it. It is given back what `work` gives; `name` is what the thread is called.
pub fn on_enough_stack<T: Send + 'static>(name: &str, work: fn() -> T) -> T {
    if has_too_little()
        && let Ok(thread) = std::thread::Builder::new().name(name.to_owned()).stack_size(OWN).spawn(work)
    {
        return thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    work()
}

/// Whether the first thread has less than a command line and a runtime need at most, with much to spare: that is less than usual.
#[cfg(unix)]
fn has_too_little() -> bool {
    const ENOUGH: u64 = 1 << 20;
    rustix::process::getrlimit(rustix::process::Resource::Stack).current.is_some_and(|limit| limit < ENOUGH)
}

/// The linker says how large it is, and says 1 MiB if it is not asked for more.
#[cfg(not(unix))]
fn has_too_little() -> bool {
    true
}
