//! Where lines go: above the prompt on a terminal, plainly to a pipe, or as JSON events.
//!
//! Everything that the program says passes here, so that the words of people and the lines of programs never mix.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use peer::json::Event;
use protocol::printable;
use rustyline::ExternalPrinter;
use settings::terminal::in_background;

use crate::error::{ExitCode, Failure};
use crate::ui::terminal;

type Printer = Box<dyn ExternalPrinter + Send>;

/// How much is said.
#[derive(Debug, Clone, Copy)]
pub struct Verbosity {
    /// Whether anything is said that was not asked for.
    pub words: bool,
    /// Whether progress is drawn.
    pub progress: bool,
}

/// Which stream takes what is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OutputStream {
    Output,
    /// Standard output is for the content itself.
    Errors,
}

/// Where lines go, and which.
pub struct Screen {
    mode: OutputMode,
    output_stream: OutputStream,
    verbosity: Verbosity,
}

/// How lines are said.
enum OutputMode {
    /// `--json`: events only; progress for who watches goes to standard error, if that is a terminal.
    Json,
    /// Input or output is no terminal: lines, and no escape codes. Progress goes to standard error.
    Plain,
    /// A line editor owns the last line of the terminal; a thread prints lines above it, since a terminal may keep it waiting.
    /// None once the prompt is gone.
    Terminal(Mutex<Option<SyncSender<Line>>>),
}

/// What happens above the prompt.
enum Line {
    /// It stays.
    Stays(String),
    /// The next line replaces it, if nothing else came between.
    Progress(String),
    /// Something was typed: what is above the prompt now is not ours.
    Typed,
    /// All before it was printed.
    Printed(SyncSender<()>),
}

/// Lines on their way to a terminal.
const WAITING: usize = 1024;
/// How long the last of them are waited for.
const PATIENCE: Duration = Duration::from_millis(200);

impl Screen {
    pub fn terminal(printer: Printer, verbosity: Verbosity) -> Self {
        let (lines, printed) = sync_channel(WAITING);
        std::thread::spawn(move || print_above(printer, &printed));
        Screen { mode: OutputMode::Terminal(Mutex::new(Some(lines))), output_stream: OutputStream::Output, verbosity }
    }

    pub fn json(output_stream: OutputStream, verbosity: Verbosity) -> Self {
        let watched = std::io::stderr().is_terminal();
        Screen {
            mode: OutputMode::Json,
            output_stream,
            verbosity: Verbosity { progress: verbosity.progress && watched, ..verbosity },
        }
    }

    pub fn plain(output_stream: OutputStream, verbosity: Verbosity) -> Self {
        Screen { mode: OutputMode::Plain, output_stream, verbosity }
    }

    /// The prompt goes, the terminal is as it was, and what is said from now on is printed as it is: the line editor
    /// may be waiting for a key, and would swallow the last words. True if it was.
    pub async fn leave(&self) -> bool {
        let Some(lines) = self.take_lines() else { return false };
        let (done, printed) = sync_channel(1);
        let until = Instant::now() + PATIENCE;
        if lines.try_send(Line::Printed(done)).is_ok() {
            while printed.try_recv().is_err() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        // The last one is still on its way through the editor.
        tokio::time::sleep(Duration::from_millis(20)).await;
        terminal::close()
    }

    fn take_lines(&self) -> Option<SyncSender<Line>> {
        let OutputMode::Terminal(lines) = &self.mode else { return None };
        lines.lock().expect("no panic holds it").take()
    }

    /// Hands a line to the thread that prints above the prompt; gives it back if there is no prompt any more.
    fn above(&self, lines: &Mutex<Option<SyncSender<Line>>>, line: Line) -> Option<Line> {
        let lines = lines.lock().expect("no panic holds it");
        let Some(lines) = &*lines else { return Some(line) };
        match lines.try_send(line) {
            // A terminal that stands still: what is replaced anyway may be left out.
            Err(TrySendError::Full(line @ Line::Stays(_))) => lines.send(line).err().map(|unsent| unsent.0),
            Err(TrySendError::Disconnected(line)) => Some(line),
            Err(TrySendError::Full(_)) | Ok(()) => None,
        }
    }

    pub fn is_json(&self) -> bool {
        matches!(self.mode, OutputMode::Json)
    }

    /// Whether progress lines stay where they are, so that few are enough.
    pub fn keeps_lines(&self) -> bool {
        !matches!(self.mode, OutputMode::Terminal(_))
    }

    /// A line for people that stays. Names of others stand in many lines: none of them moves the cursor, or looks like a
    /// line of its own.
    pub fn say(&self, line: &str) {
        if self.verbosity.words {
            self.answer(line);
        }
    }

    /// A line that was asked for: it is said whatever else is not.
    pub fn answer(&self, line: &str) {
        match &self.mode {
            OutputMode::Json => {}
            OutputMode::Plain => plain(self.output_stream, &printable(line)),
            OutputMode::Terminal(lines) => {
                if let Some(Line::Stays(line)) = self.above(lines, Line::Stays(printable(line))) {
                    plain(OutputStream::Output, &line);
                }
            }
        }
    }

    /// A line for people that the next one replaces, where that can be done.
    pub fn progress(&self, line: &str) {
        if !self.verbosity.progress {
            return;
        }
        let line = printable(line);
        match &self.mode {
            // Another job has the terminal.
            OutputMode::Json | OutputMode::Plain if std::io::stderr().is_terminal() && in_background() => {}
            OutputMode::Json | OutputMode::Plain => {
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            }
            OutputMode::Terminal(lines) => drop(self.above(lines, Line::Progress(line))),
        }
    }

    /// A line for programs.
    pub fn event(&self, event: &Event) {
        if self.is_json() {
            plain(self.output_stream, &event.line());
        }
    }

    /// Something was typed: what is above the prompt now is not ours.
    pub fn typed(&self) {
        if let OutputMode::Terminal(lines) = &self.mode {
            let _ = self.above(lines, Line::Typed);
        }
    }
}

/// Whatever ends the program, the terminal is given back.
impl Drop for Screen {
    fn drop(&mut self) {
        if self.take_lines().is_some() {
            terminal::close();
        }
    }
}

/// Prints what comes above the prompt. In the background there is none, and what is there is another job's.
fn print_above(mut printer: Printer, lines: &Receiver<Line>) {
    // Whether the line just above the prompt is a progress line, which the next one replaces, and since which stop.
    let mut ours = None;
    for line in lines {
        let (away, stops) = (in_background(), Some(terminal::stops()));
        let (text, progress) = match line {
            Line::Progress(_) if away => continue,
            Line::Progress(text) => (text, true),
            Line::Stays(text) => (text, false),
            Line::Typed => {
                ours = None;
                continue;
            }
            Line::Printed(done) => {
                let _ = done.send(());
                continue;
            }
        };
        // Up one line and clear it, if it is ours to replace.
        let replace = if !away && ours == stops { "\x1b[1A\x1b[2K" } else { "" };
        let _ = printer.print(format!("{replace}{text}\n"));
        ours = stops.filter(|_| progress && !away);
    }
}

/// A line for programs, from where there is no screen.
pub fn tell(output_stream: OutputStream, event: &Event) {
    plain(output_stream, &event.line());
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
fn plain(output_stream: OutputStream, line: &str) {
    let mut out: Box<dyn Write> = match output_stream {
        OutputStream::Output => Box::new(std::io::stdout().lock()),
        OutputStream::Errors => Box::new(std::io::stderr().lock()),
    };
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
