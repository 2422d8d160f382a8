//! A panic ends a program as other errors do: with a sentence, and its own exit status.
//!
//! Some calls of libraries panic where a system grants nothing more, as when there is no descriptor left for the pipe by which
//! signals arrive. What is left is a fault of ours, and is to be reported.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Mutex;

use crate::granted::{system_error, with_limit_to_raise};

/// What the last panic of the thread that does the work was about.
static SENTENCE: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`. If it panics, the error is a sentence that says why. Other threads say so as they always do.
///
/// ```
/// let halved = p2p_fileshare_settings::catch_panic(|| 4 / 2);
/// assert_eq!(halved, Ok(2));
/// ```
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let (own, others) = (std::thread::current().id(), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() != own {
            return others(info);
        }
        if let Ok(mut sentence) = SENTENCE.lock() {
            *sentence = Some(describe(info));
        }
    }));
    // What was half done is dropped: only the sentence is used.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    result.map_err(|_| swallowed_panic().unwrap_or_default())
}

/// The sentence of a panic that ended a task of this work and not the work itself: what fails for want of the task fails because
/// of it.
pub fn swallowed_panic() -> Option<String> {
    SENTENCE.lock().ok()?.take()
}

fn describe(info: &PanicHookInfo) -> String {
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("no reason was given");
    if let Some(error) = system_error(message) {
        return with_limit_to_raise(format!("the system grants no more: {error}"));
    }
    let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
    format!("this is a fault of the program; please report it: {message}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_sentence() {
        let list: Vec<u8> = Vec::new();
        let sentence = catch_panic(|| list[std::hint::black_box(7)]).unwrap_err();
        assert!(sentence.starts_with("this is a fault of the program; please report it: index out of"), "{sentence}");
        assert!(sentence.contains("panics.rs:"), "{sentence}");
        let refused = std::io::Error::from_raw_os_error(24);
        let sentence = catch_panic::<()>(|| panic!("failed to create UnixStream: {refused:?}")).unwrap_err();
        assert!(sentence.starts_with("the system grants no more: ") && sentence.contains("ulimit -n"), "{sentence}");
        assert_eq!(catch_panic(|| 7), Ok(7));
        // The work goes on after a task of it has panicked.
        assert_eq!(catch_panic(|| panic::catch_unwind(|| list_of_none()[0]).is_err()), Ok(true));
        assert!(swallowed_panic().is_some_and(|sentence| sentence.contains("index out of")));
        assert_eq!(swallowed_panic(), None);
    }

    fn list_of_none() -> Vec<u8> {
        std::hint::black_box(Vec::new())
    }
}
