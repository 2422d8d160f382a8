//! Where lines go: above the prompt on a terminal, plainly to a pipe, or as JSON events.
//!
//! Everything that the program says passes here, so that the words of people and the lines of programs never mix.

use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use rustyline::ExternalPrinter;

use crate::events::Event;
use crate::terminal::TerminalState;

type Printer = Box<dyn ExternalPrinter + Send>;

/// One of three ways to say something.
pub enum Screen {
    /// `--json`: events only.
    Json,
    /// Input or output is no terminal: lines, and no escape codes.
    Plain,
    /// A line editor owns the last line of the terminal; lines are printed above it.
    Terminal(Mutex<Above>),
}

/// What is printed above the prompt.
pub struct Above {
    /// Prints above the prompt; none once the prompt is gone.
    printer: Option<Printer>,
    before: TerminalState,
    /// Whether the line just above the prompt is a progress line, which the next one replaces.
    progress: bool,
}

impl Screen {
    pub fn terminal(printer: Printer, before: TerminalState) -> Self {
        Screen::Terminal(Mutex::new(Above { printer: Some(printer), before, progress: false }))
    }

    /// The prompt goes, the terminal is as it was, and what is said from now on is printed as it is: the line editor
    /// may be waiting for a key, and would swallow the last words.
    pub async fn leave(&self) {
        let Screen::Terminal(above) = self else { return };
        // What was said just now is still on its way through the editor.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut above = above.lock().expect("no panic holds it");
        if above.printer.take().is_some() {
            above.before.restore();
        }
    }

    pub fn is_json(&self) -> bool {
        matches!(self, Screen::Json)
    }

    /// A line for people that stays.
    pub fn say(&self, line: &str) {
        match self {
            Screen::Json => {}
            Screen::Plain => plain(line),
            Screen::Terminal(above) => above.lock().expect("no panic holds it").print(line, false),
        }
    }

    /// A line for people that the next one replaces, where that can be done.
    pub fn progress(&self, line: &str) {
        match self {
            Screen::Json => {}
            Screen::Plain => plain(line),
            Screen::Terminal(above) => above.lock().expect("no panic holds it").print(line, true),
        }
    }

    /// A line for programs.
    pub fn event(&self, event: &Event) {
        if self.is_json() {
            plain(&event.line());
        }
    }

    /// Something was typed: what is above the prompt now is not ours.
    pub fn typed(&self) {
        if let Screen::Terminal(above) = self {
            above.lock().expect("no panic holds it").progress = false;
        }
    }
}

impl Above {
    fn print(&mut self, line: &str, progress: bool) {
        let Some(printer) = &mut self.printer else { return plain(line) };
        // Up one line and clear it, if it is ours to replace.
        let replace = if self.progress { "\x1b[1A\x1b[2K" } else { "" };
        let _ = printer.print(format!("{replace}{line}\n"));
        self.progress = progress;
    }
}

/// A closed pipe is no reason to crash: there is nobody left to tell.
fn plain(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
