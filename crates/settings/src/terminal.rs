//! A terminal that a shell shares out among its jobs: only the one in the foreground may read it or change its modes. A job
//! that does so from the background is stopped, so it is asked first, and the signals that stop are held off.

use std::io::{self, BufRead, IsTerminal, Read};
use std::time::Duration;

/// Time between two looks whether the job is in the foreground: a shell's `fg` need not say so.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Most bytes of a line that is typed; what is longer counts as several.
const MOST: u64 = 1 << 16;

/// Whose the terminal on standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Ours, now.
    Ours,
    /// Another job's, until the shell says otherwise.
    Others,
    /// Never ours again: it is closed, or this process was detached from it.
    Over,
}

/// Whose turn it is. Standard input must be a terminal.
#[cfg(unix)]
pub fn turn() -> Turn {
    turn_on(io::stdin())
}

#[cfg(unix)]
fn turn_on(terminal: impl std::os::fd::AsFd + IsTerminal) -> Turn {
    use nix::errno::Errno;
    use nix::unistd::{getpgrp, getpid, getsid, tcgetpgrp};
    match tcgetpgrp(&terminal) {
        Ok(group) if group == getpgrp() => Turn::Ours,
        Ok(_) => Turn::Others,
        // No terminal of this session. Handed over without job control, it is ours alone; what leads a session of its own
        // (setsid) has left it to others.
        Err(Errno::ENOTTY) if terminal.is_terminal() && getsid(None) != Ok(getpid()) => Turn::Ours,
        Err(_) => Turn::Over,
    }
}

/// Whether another job has the terminal that is written to: what is drawn now is drawn over what that one shows.
#[cfg(unix)]
pub fn in_background() -> bool {
    fn others(terminal: impl std::os::fd::AsFd + IsTerminal) -> bool {
        terminal.is_terminal() && turn_on(terminal) == Turn::Others
    }
    others(io::stdout()) || others(io::stderr())
}

/// Whether a terminal of this process does what escape codes say. Where it does not, they would be read as text.
#[cfg(windows)]
pub fn takes_codes() -> bool {
    static TAKES: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    // Windows 10 and later: asked of the console itself, wherever the standard streams lead.
    *TAKES.get_or_init(|| !wants_none() && enable_ansi_support::enable_ansi_support().is_ok())
}

/// Whether a terminal does what escape codes say. Where it does not, they would be read as text.
#[cfg(not(windows))]
pub fn takes_codes() -> bool {
    let knows_none = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !knows_none && !wants_none()
}

/// Whether the user wants none: <https://no-color.org>, any value that is not empty.
pub fn wants_none() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether the user's locale has letters beside ASCII: what is drawn with such would be garbled in others.
#[cfg(unix)]
pub fn draws_unicode() -> bool {
    static DRAWS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *DRAWS.get_or_init(|| {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // In the order in which they count. Where none is set, the locale is C.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        locale.is_some_and(|locale| is_utf8(&locale.to_string_lossy()))
    })
}

#[cfg(unix)]
fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The console takes Unicode whatever the language is.
#[cfg(not(unix))]
pub fn draws_unicode() -> bool {
    true
}

/// Whose turn it is: there are no jobs.
#[cfg(not(unix))]
pub fn turn() -> Turn {
    Turn::Ours
}

/// Whether another job has the terminal: there are none.
#[cfg(not(unix))]
pub fn in_background() -> bool {
    false
}

/// Waits until it is our turn. False if that will never be, or if `enough` says that nobody waits any more.
pub fn wait_for_turn(enough: impl Fn() -> bool) -> bool {
    loop {
        match turn() {
            Turn::Ours => return true,
            Turn::Over => return false,
            Turn::Others if enough() => return false,
            Turn::Others => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

/// From now on the current thread, and those that it starts, are not stopped for what they do in the background: it fails
/// instead.
#[cfg(unix)]
pub fn fail_in_background() {
    use nix::sys::signal::{SigSet, Signal};
    // Only signals that there are can be given, so it cannot fail.
    let _ = SigSet::from_iter([Signal::SIGTTIN, Signal::SIGTTOU]).thread_block();
}

/// Nothing is stopped.
#[cfg(not(unix))]
pub fn fail_in_background() {}

/// Reads lines from standard input, until it ends or `take` has had enough. On a terminal only while it is our turn. Blocks,
/// and belongs into a thread of its own. Returns whether a person has ended the input, by Ctrl-D on a terminal.
pub fn read_lines(mut take: impl FnMut(&str) -> bool) -> bool {
    let terminal = io::stdin().is_terminal();
    if terminal {
        fail_in_background();
    }
    loop {
        if terminal && !wait_for_turn(|| false) {
            return false;
        }
        let mut line = Vec::new();
        match io::stdin().lock().take(MOST).read_until(b'\n', &mut line) {
            Ok(0) => return terminal && turn() == Turn::Ours,
            Ok(_) if !take(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r'])) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Read after the shell has put us into the background; where it is ours, it is gone.
            Err(_) if terminal && turn() == Turn::Others => {}
            Err(_) => return false,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_locale_says_whether_it_is_of_unicode() {
        for locale in ["en_GB.UTF-8", "C.utf8", "UTF-8", "de_DE.utf8@euro"] {
            assert!(is_utf8(locale), "{locale}");
        }
        for locale in ["C", "POSIX", "en_US", "de_DE.ISO-8859-1", "ja_JP.eucJP"] {
            assert!(!is_utf8(locale), "{locale}");
        }
    }
}
