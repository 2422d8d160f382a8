//! How much memory a piece of work holds at most. The allocator counts for the whole process, and the threads of the test
//! harness allocate, too: one test measures at a time, and the least of several tries is what the work itself takes.

use std::sync::Mutex;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Held by a test for as long as it measures.
pub static ALONE: Mutex<()> = Mutex::new(());

const TRIES: u32 = 3;

/// What `work` gives, and the bytes that it held at most.
pub fn measured<T>(mut work: impl FnMut() -> T) -> (T, usize) {
    let mut once = || {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let result = work();
        (result, MEMORY.peak_usage().saturating_sub(before))
    };
    let mut least = once();
    for _ in 1..TRIES {
        let again = once();
        if again.1 < least.1 {
            least = again;
        }
    }
    least
}
