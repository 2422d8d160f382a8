//! A panic ends a program as other errors do: with a sentence, and its own exit status.
//!
//! Some calls of libraries panic where a system grants nothing more, as when there is no descriptor left for the pipe by which
//! signals arrive. What is left is a fault of ours, and is to be reported.

use std::io;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Mutex;

/// Runs `work`. If it panics, the error is a sentence that says why. Other threads say so as they always do.
///
/// ```
/// let halved = p2p_fileshare_settings::catch_panic(|| 4 / 2);
/// assert_eq!(halved, Ok(2));
/// ```
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static SENTENCE: Mutex<Option<String>> = Mutex::new(None);
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
    result.map_err(|_| SENTENCE.lock().ok().and_then(|mut sentence| sentence.take()).unwrap_or_default())
}

fn describe(info: &PanicHookInfo) -> String {
    let message = info.payload_as_str().unwrap_or("no reason was given");
    if let Some(error) = system_error(message) {
        return format!(
            "the system grants no more: {error}. Raise what this program may have (`ulimit -n`, `ulimit -u`)"
        );
    }
    let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
    format!("this is a fault of the program; please report it: {message}{place}")
}

/// The error of the system in a message, as `expect` and `unwrap` write it, or as it is shown.
fn system_error(message: &str) -> Option<io::Error> {
    let number = |start: &str| {
        let digits: String = message.split(start).nth(1)?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    number("Os { code: ").or_else(|| number("(os error ")).map(io::Error::from_raw_os_error)
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
        let refused = || Err::<(), _>(io::Error::from_raw_os_error(24)).expect("failed to create UnixStream");
        let sentence = catch_panic(refused).unwrap_err();
        assert!(sentence.starts_with("the system grants no more: ") && sentence.contains("ulimit -n"), "{sentence}");
        assert_eq!(catch_panic(|| 7), Ok(7));
    }

    #[test]
    fn errors_of_the_system_are_found_however_they_are_written() {
        for message in ["failed: Os { code: 11, kind: WouldBlock, message: \"\" }", "no thread: busy (os error 11)"] {
            assert_eq!(system_error(message).and_then(|error| error.raw_os_error()), Some(11), "{message}");
        }
        assert!(system_error("index out of bounds (os error x)").is_none());
    }
}
