//! Work on many pieces, on all cores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Calls `work` with each number below `count`, from as many threads as there are cores. The first error ends the work.
pub fn on_all_cores<E: Send>(count: usize, work: impl Fn(usize) -> Result<(), E> + Sync) -> Result<(), E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let some = || {
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            work(at).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(count);
    std::thread::scope(|scope| {
        // The caller's thread works, too, and alone where the system grants no other.
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, some).ok();
        let others: Vec<_> = (1..threads).map_while(start).collect();
        let own = some();
        others.into_iter().map(|thread| thread.join().expect("a thread has panicked")).fold(own, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_number_is_worked_on_once() {
        let seen = Mutex::new(Vec::new());
        let note = |at| {
            seen.lock().unwrap().push(at);
            Ok::<_, ()>(())
        };
        on_all_cores(1000, note).unwrap();
        on_all_cores(0, |_| Err("there is none")).unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let done = AtomicUsize::new(0);
        let fail = |at| {
            done.fetch_add(1, Ordering::Relaxed);
            if at == 50 { Err("gone") } else { Ok(()) }
        };
        // A thread that has begun ends what it has.
        assert_eq!(on_all_cores(1_000_000, fail), Err("gone"));
        assert!(done.into_inner() < 1_000_000);
    }
}
