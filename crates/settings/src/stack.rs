//! The stack of a program: where the system grants the first thread too little (`ulimit -s`), the work is done on another, whose
//! stack we choose. A stack that overflows ends a process without a word of ours.

/// What a command line and a runtime need at most, with much to spare: so much is usual.
#[cfg(unix)]
const ENOUGH: u64 = 1 << 20;
#[cfg(unix)]
const OWN: usize = 8 << 20;

/// Runs `work` where there is enough stack for it. It is given back what `work` gives; `name` is what the thread is called.
pub fn on_enough_stack<T: Send + 'static>(name: &str, work: fn() -> T) -> T {
    #[cfg(unix)]
    if rustix::process::getrlimit(rustix::process::Resource::Stack).current.is_some_and(|limit| limit < ENOUGH)
        && let Ok(thread) = std::thread::Builder::new().name(name.to_owned()).stack_size(OWN).spawn(work)
    {
        return thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    let _ = name;
    work()
}
