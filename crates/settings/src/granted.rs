//! What the system grants a process no more of: found in a sentence by the error that the system gave, and what to do about it.

use std::io;

/// A sentence that ends a program, with what to raise if it says that the system grants no more.
///
/// ```
/// let refused = std::io::Error::from_raw_os_error(24);
/// let sentence = p2p_fileshare_settings::with_limit_to_raise(format!("127.0.0.1:0: {refused}"));
/// assert_eq!(sentence.contains("(ulimit -n)"), cfg!(unix));
/// ```
pub fn with_limit_to_raise(sentence: String) -> String {
    let advice = system_error(&sentence).and_then(|error| advice(&error));
    match advice.filter(|_| !sentence.contains("ulimit")) {
        Some(advice) => format!("{}. {advice}", sentence.trim_end_matches('.')),
        None => sentence,
    }
}

/// What to raise after this error. Windows has no such limits.
fn advice(error: &io::Error) -> Option<&'static str> {
    if !cfg!(unix) {
        return None;
    }
    // Of all processes together, of one, and what a thread or process that cannot be started ends with.
    const ALL_FILES: i32 = 23;
    const FILES: i32 = 24;
    match error.raw_os_error()? {
        ALL_FILES => Some("End other programs: they have all the files open that this machine allows"),
        FILES => Some("Raise the limit of open files (ulimit -n)"),
        _ if error.kind() == io::ErrorKind::WouldBlock => {
            Some("If no thread could be started, raise the limit of processes (ulimit -u)")
        }
        _ => None,
    }
}

/// The error of the system in a sentence, as `expect` and `unwrap` write it, or as it is shown.
pub(crate) fn system_error(sentence: &str) -> Option<io::Error> {
    let number = |start: &str| {
        let digits: String = sentence.split(start).nth(1)?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    number("Os { code: ").or_else(|| number("(os error ")).map(io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_are_found_however_they_are_written() {
        for message in ["failed: Os { code: 11, kind: WouldBlock, message: \"\" }", "no thread: busy (os error 11)"] {
            assert_eq!(system_error(message).and_then(|error| error.raw_os_error()), Some(11), "{message}");
        }
        assert!(system_error("index out of bounds (os error x)").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_limit_to_raise_is_named_once() {
        let busy = io::Error::from(io::ErrorKind::WouldBlock).kind();
        let thread = (1..200).map(io::Error::from_raw_os_error).find(|error| error.kind() == busy).unwrap();
        let sentence = with_limit_to_raise(format!("127.0.0.1:0: {thread}"));
        assert!(sentence.contains("(ulimit -u)"), "{sentence}");
        assert_eq!(with_limit_to_raise(sentence.clone()), sentence);
        assert_eq!(with_limit_to_raise("no such file (os error 2)".to_owned()), "no such file (os error 2)");
    }
}
