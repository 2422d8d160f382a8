//! Where lines go: above the prompt on a terminal, plainly to a pipe, or as JSON events.
//!
//! Everything that the program says passes here, so that the words of people and the lines of programs never mix.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use rustyline::ExternalPrinter;

use crate::events::Event;
use crate::exit_code::{ExitCode, Failure};
use crate::names::printable;
use crate::terminal::TerminalState;

type Printer = Box<dyn ExternalPrinter + Send>;

/// How much is said.
#[derive(Debug, Clone, Copy)]
pub struct Loudness {
    /// Whether anything is said that was not asked for.
    pub words: bool,
    /// Whether progress is drawn.
    pub progress: bool,
}

/// Which stream takes what is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outlet {
    Output,
    /// Standard output is for the content itself.
    Errors,
}

/// Where lines go, and which.
pub struct Screen {
    way: Way,
    outlet: Outlet,
    loudness: Loudness,
}

/// One of three ways to say something.
enum Way {
    /// `--json`: events only; progress for who watches goes to standard error, if that is a terminal.
    Json,
    /// Input or output is no terminal: lines, and no escape codes. Progress goes to standard error.
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
    pub fn terminal(printer: Printer, before: TerminalState, loudness: Loudness) -> Self {
        let above = Above { printer: Some(printer), before, progress: false };
        Screen { way: Way::Terminal(Mutex::new(above)), outlet: Outlet::Output, loudness }
    }

    pub fn json(outlet: Outlet, loudness: Loudness) -> Self {
        let watched = std::io::stderr().is_terminal();
        Screen { way: Way::Json, outlet, loudness: Loudness { progress: loudness.progress && watched, ..loudness } }
    }

    pub fn plain(outlet: Outlet, loudness: Loudness) -> Self {
        Screen { way: Way::Plain, outlet, loudness }
    }

    /// The prompt goes, the terminal is as it was, and what is said from now on is printed as it is: the line editor
    /// may be waiting for a key, and would swallow the last words.
    pub async fn leave(&self) {
        let Way::Terminal(above) = &self.way else { return };
        // What was said just now is still on its way through the editor.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut above = above.lock().expect("no panic holds it");
        if above.printer.take().is_some() {
            above.before.restore();
        }
    }

    pub fn is_json(&self) -> bool {
        matches!(self.way, Way::Json)
    }

    /// Whether progress lines stay where they are, so that few are enough.
    pub fn keeps_lines(&self) -> bool {
        !matches!(self.way, Way::Terminal(_))
    }

    /// A line for people that stays. Names of others stand in many lines: none of them moves the cursor, or looks like a
    /// line of its own.
    pub fn say(&self, line: &str) {
        if self.loudness.words {
            self.answer(line);
        }
    }

    /// A line that was asked for: it is said whatever else is not.
    pub fn answer(&self, line: &str) {
        match &self.way {
            Way::Json => {}
            Way::Plain => plain(self.outlet, &printable(line)),
            Way::Terminal(above) => above.lock().expect("no panic holds it").print(&printable(line), false),
        }
    }

    /// A line for people that the next one replaces, where that can be done.
    pub fn progress(&self, line: &str) {
        if !self.loudness.progress {
            return;
        }
        let line = printable(line);
        match &self.way {
            Way::Json | Way::Plain => {
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            }
            Way::Terminal(above) => above.lock().expect("no panic holds it").print(&line, true),
        }
    }

    /// A line for programs.
    pub fn event(&self, event: &Event) {
        if self.is_json() {
            plain(self.outlet, &event.line());
        }
    }

    /// Something was typed: what is above the prompt now is not ours.
    pub fn typed(&self) {
        if let Way::Terminal(above) = &self.way {
            above.lock().expect("no panic holds it").progress = false;
        }
    }
}

impl Above {
    fn print(&mut self, line: &str, progress: bool) {
        let Some(printer) = &mut self.printer else { return plain(Outlet::Output, line) };
        // Up one line and clear it, if it is ours to replace.
        let replace = if self.progress { "\x1b[1A\x1b[2K" } else { "" };
        let _ = printer.print(format!("{replace}{line}\n"));
        self.progress = progress;
    }
}

/// A line for programs, from where there is no screen.
pub fn tell(outlet: Outlet, event: &Event) {
    plain(outlet, &event.line());
}

/// What was asked for, on standard output: each line stays one, whatever stands in it.
pub fn print(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), Failure> {
    let lines = lines.into_iter().map(|line| printable(line.as_ref()) + "\n");
    print_script(&lines.collect::<String>())
}

/// A text of our own, as it is, on standard output. If whoever reads it has seen enough and has closed the pipe that is the
/// end and no error.
pub fn print_script(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitCode::CannotWrite, format!("standard output takes no more: {error}")))
        }
        _ => Ok(()),
    }
}

/// The sentence that the program ends with, or a note. Names of others may stand in it.
pub fn complain(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "peer-cli: {}", printable(message));
}

/// The same, with lines below it.
pub fn complain_at_length(message: &str, lines: &[String]) {
    complain(message);
    lines.iter().for_each(|line| drop(writeln!(std::io::stderr().lock(), "{}", printable(line))));
}

/// A closed pipe is no reason to crash: there is nobody left to tell.
fn plain(outlet: Outlet, line: &str) {
    let mut out: Box<dyn Write> = match outlet {
        Outlet::Output => Box::new(std::io::stdout().lock()),
        Outlet::Errors => Box::new(std::io::stderr().lock()),
    };
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
