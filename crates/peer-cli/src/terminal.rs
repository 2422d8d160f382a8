//! The terminal as it was before the line editor took it: put back at the end, whatever the editor is waiting for.

use std::io::Write;

/// How the terminal was before the line editor took it; put back at the end, since the editor may be waiting for a
/// line then.
pub struct TerminalState {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl TerminalState {
    /// How it is now.
    #[cfg(unix)]
    pub fn save() -> Self {
        TerminalState { before: rustix::termios::tcgetattr(std::io::stdin()).ok() }
    }

    /// Nothing to know: the console keeps its own state.
    #[cfg(not(unix))]
    pub fn save() -> Self {
        TerminalState {}
    }

    /// Puts it back, at the beginning of a line, without the prompt and the editor's bracketed paste.
    pub fn restore(&self) {
        #[cfg(unix)]
        if let Some(before) = &self.before {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(b"\x1b[?2004l\r\x1b[K");
        let _ = out.flush();
    }
}
