//! A panic ends a program as other errors do: with a sentence, and its own exit status.
//!
//! Some calls of libraries panic where a system grants nothing more, as when there is no descriptor left for the pipe by which
//! signals arrive. What is left is a fault of ours, and is to be reported: of a task, in the log, since a runtime goes on
//! without it.

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
        let described = describe(info);
        if tokio::task::try_id().is_some() {
            log(described.clone());
        }
        if let Ok(mut sentence) = SENTENCE.lock() {
            *sentence = Some(described);
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

/// Says in the log that a task has ended. From another thread: what panics may hold what the log is written with.
fn log(sentence: String) {
    let _ = std::thread::Builder::new().spawn(move || tracing::error!("a task has ended: {sentence}"));
}

fn describe(info: &PanicHookInfo) -> String {
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("no reason was given");
    if let Some(error) = system_error(message) {
        return with_limit_to_raise(format!("out of system resources: {error}"));
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
        assert!(sentence.starts_with("out of system resources: "), "{sentence}");
        assert_eq!(sentence.contains("ulimit -n"), cfg!(unix), "{sentence}");
        assert_eq!(catch_panic(|| 7), Ok(7));
        // The work goes on after a task of it has panicked.
        assert_eq!(catch_panic(|| panic::catch_unwind(|| list_of_none()[0]).is_err()), Ok(true));
        assert!(swallowed_panic().is_some_and(|sentence| sentence.contains("index out of")));
        assert_eq!(swallowed_panic(), None);
        // Not a test of its own: hooks are the whole process's.
        a_panic_of_a_task_is_logged();
    }

    fn a_panic_of_a_task_is_logged() {
        let (lines, logged) = std::sync::mpsc::channel();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Line(lines.clone())).finish();
        tracing::subscriber::set_global_default(log).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let has_ended =
            catch_panic(|| runtime.block_on(async { tokio::spawn(async { list_of_none()[0] }).await.is_err() }));
        assert_eq!(has_ended, Ok(true));
        let line = logged.iter().find(|line| line.contains("a task has ended")).unwrap();
        assert!(line.contains("ERROR") && line.contains("index out of") && line.contains("panics.rs:"), "{line}");
        swallowed_panic();
    }

    /// Passes on what is logged.
    struct Line(std::sync::mpsc::Sender<String>);

    impl std::io::Write for Line {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn list_of_none() -> Vec<u8> {
        std::hint::black_box(Vec::new())
    }
}
