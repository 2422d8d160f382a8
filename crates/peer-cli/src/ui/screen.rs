//! Where lines go: above the prompt on a terminal, plainly to a pipe, or as JSON events.
//!
//! Everything that the program says passes here, so that the words of people and the lines of programs never mix.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use peer::json::Event;
use protocol::printable;
use settings::terminal::{draws_unicode, in_background, takes_codes};

use crate::error::Failure;
use crate::lock::lock;
use crate::ui::columns::{wrapped, wrapped_around_commands};
use crate::ui::letters;
use crate::ui::paint::{Canvas, Draw, draw_all, size};
use crate::ui::row::{Bar, Row};
use crate::ui::standard_output::{self, Loss};
use crate::ui::terminal;

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
    /// Whether commands are read, so that it makes sense to speak of them.
    pub takes_commands: bool,
    log: Mutex<PlainProgress>,
}

/// How lines are said.
enum OutputMode {
    /// `--json`: events only; progress for a person goes to standard error, if that is a terminal.
    Json,
    /// Lines, and no escape codes. Progress goes to standard error.
    Plain,
    /// A thread draws on the terminal: lines, and rows below them. None once what is below them, a prompt or nothing, is given
    /// back.
    Terminal { draws: Mutex<Option<SyncSender<Draw>>>, says_words: bool, above_prompt: bool },
}

/// Lines on their way to a terminal.
const WAITING: usize = 1024;
/// White on black, whatever the terminal has otherwise.
const LIGHT_ON_DARK: (&str, &str) = ("\u{1b}[97;40m", "\u{1b}[0m");
/// How long the last of them are waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// Time between two lines of progress where they stay: few are enough, and of what takes long even fewer.
const PLAIN_LINE: Duration = Duration::from_secs(1);
const PLAIN_LINE_LATER: Duration = Duration::from_secs(10);
const LATER: Duration = Duration::from_secs(10);

/// What was said of progress where lines stay.
struct PlainProgress {
    began: Instant,
    said: Option<Instant>,
    lines: Vec<String>,
    /// What was said last to be under way: its end is to be said, too.
    unfinished: bool,
}

impl PlainProgress {
    fn new() -> Self {
        PlainProgress { began: Instant::now(), said: None, lines: Vec::new(), unfinished: false }
    }

    /// The lines that are due.
    fn due(&mut self, now: Instant, rows: &[Row]) -> Vec<String> {
        let lines: Vec<_> = rows.iter().map(Row::plain).collect();
        let was_said = |before| self.lines.iter().any(|said| before_figure(said) == Some(before));
        let goes_on = lines.iter().filter_map(|line| before_figure(line)).any(was_said);
        // Words are said at once, unless they only bring another figure.
        let words = rows.iter().all(|row| matches!(row, Row::Text(_))) && !goes_on;
        let pause = if now - self.began < LATER { PLAIN_LINE } else { PLAIN_LINE_LATER };
        if !words && self.said.is_some_and(|said| now - said < pause) {
            return Vec::new();
        }
        let new: Vec<_> = lines.iter().filter(|line| !self.lines.contains(line)).cloned().collect();
        self.lines = lines;
        if !words {
            self.said = Some(now);
            self.unfinished = rows.iter().any(|row| matches!(row, Row::Bar(bar) if bar.done < bar.size));
        }
        new
    }

    /// The line that says how something stands in the end, if it was said before that it was under way.
    fn last(&mut self, row: &Row) -> Option<String> {
        std::mem::take(&mut self.unfinished).then(|| row.plain())
    }
}

/// What a line says before its figure, as in `Reading: 3 MiB`.
fn before_figure(line: &str) -> Option<&str> {
    line.rsplit_once(':').map(|(before, _)| before)
}

/// Takes the log of a program whose screen is a terminal.
static LOG: Mutex<Option<SyncSender<Draw>>> = Mutex::new(None);

/// Has a line of the log drawn where lines of the screen are, if there is one. False if there is none.
pub fn log_line(line: &str) -> bool {
    let draws = lock(&LOG).clone();
    draws.is_some_and(|draws| draws.send(Draw::Line(line.trim_end_matches('\n').to_owned())).is_ok())
}

impl Screen {
    /// Draws on a terminal. Words go elsewhere if their stream is none.
    pub fn terminal(canvas: Canvas, output_stream: OutputStream, verbosity: Verbosity) -> Self {
        let (draws, events) = sync_channel(WAITING);
        let above_prompt = matches!(canvas, Canvas::AbovePrompt(_));
        let says_words = above_prompt || output_stream.is_terminal();
        std::thread::spawn(move || draw_all(canvas, &events));
        if std::io::stderr().is_terminal() {
            *lock(&LOG) = Some(draws.clone());
        }
        let draws = Mutex::new(Some(draws));
        Screen::new(OutputMode::Terminal { draws, says_words, above_prompt }, output_stream, verbosity)
    }

    pub fn json(output_stream: OutputStream, verbosity: Verbosity) -> Self {
        let watched = std::io::stderr().is_terminal();
        let verbosity = Verbosity { progress: verbosity.progress && watched, ..verbosity };
        Screen::new(OutputMode::Json, output_stream, verbosity)
    }

    pub fn plain(output_stream: OutputStream, verbosity: Verbosity) -> Self {
        Screen::new(OutputMode::Plain, output_stream, verbosity)
    }

    fn new(mode: OutputMode, output_stream: OutputStream, verbosity: Verbosity) -> Self {
        Screen { mode, output_stream, verbosity, takes_commands: false, log: Mutex::new(PlainProgress::new()) }
    }

    /// The prompt goes, the rows stay as they are, the terminal is as it was, and what is said from now on is printed as it is: the
    /// line editor may be waiting for a key, and would swallow the last words. True if it was.
    pub async fn leave(&self) -> bool {
        let Some(draws) = self.take_draws() else { return false };
        let (done, drawn) = sync_channel(1);
        let until = Instant::now() + PATIENCE;
        if draws.try_send(Draw::KeepAll).is_ok() && draws.try_send(Draw::Drawn(done)).is_ok() {
            while drawn.try_recv().is_err() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        // The last one is still on its way through the editor.
        tokio::time::sleep(Duration::from_millis(20)).await;
        terminal::close()
    }

    fn take_draws(&self) -> Option<SyncSender<Draw>> {
        let OutputMode::Terminal { draws, .. } = &self.mode else { return None };
        *lock(&LOG) = None;
        lock(draws).take()
    }

    /// Hands something to the thread that draws; gives it back if there is none any more.
    fn draw(&self, draw: Draw) -> Option<Draw> {
        let OutputMode::Terminal { draws, .. } = &self.mode else { return Some(draw) };
        let draws = lock(draws);
        let Some(draws) = &*draws else { return Some(draw) };
        match draws.try_send(draw) {
            // A terminal that stands still: what is replaced anyway may be left out.
            Err(TrySendError::Full(Draw::Rows(..))) | Ok(()) => None,
            Err(TrySendError::Full(draw)) => draws.send(draw).err().map(|unsent| unsent.0),
            Err(TrySendError::Disconnected(draw)) => Some(draw),
        }
    }

    pub fn is_json(&self) -> bool {
        matches!(self.mode, OutputMode::Json)
    }

    /// Whether a person reads the words on a terminal.
    pub fn is_terminal(&self) -> bool {
        matches!(self.mode, OutputMode::Terminal { says_words: true, .. })
    }

    /// Whether rows are drawn over and over, and not written one below the other.
    pub fn draws_rows(&self) -> bool {
        matches!(self.mode, OutputMode::Terminal { .. })
    }

    /// Whether the line editor's prompt is below what is drawn.
    pub fn is_above_prompt(&self) -> bool {
        matches!(self.mode, OutputMode::Terminal { above_prompt: true, .. })
    }

    /// Whether anything is said that was not asked for.
    pub fn says_words(&self) -> bool {
        self.verbosity.words
    }

    /// A line for people that stays. Names of others stand in many lines: none of them moves the cursor, or looks like a
    /// line of its own.
    pub fn say(&self, line: &str) {
        if !self.verbosity.words {
            return;
        }
        let line = printable(line);
        // What may be copied stays one line.
        let is_broken = self.is_terminal() && !line.contains("peer-cli ");
        let lines = if is_broken { wrapped(&line, size().0) } else { vec![line] };
        lines.into_iter().for_each(|line| self.put(line));
    }

    /// A line that was asked for: it is said whatever else is not.
    pub fn answer(&self, line: &str) {
        self.put(printable(line));
    }

    /// A picture of light blocks that was asked for, all of its lines equally wide. Broken lines would spoil it.
    pub fn picture(&self, lines: &[String]) {
        let is_terminal = self.output_stream.is_terminal();
        let (columns, room) = (lines.first().map_or(0, |line| line.chars().count()), size().0);
        if is_terminal && columns > 0 && !draws_unicode() {
            let sentence = "The QR code needs UTF-8: set LANG, or LC_ALL if that is set, to a locale that has it, as C.UTF-8, and \
                            start again.";
            return self.answer(sentence);
        }
        if is_terminal && columns > room {
            return self.answer(&format!(
                "The QR code needs {columns} columns, and this terminal has {room}: make it wider, and start again."
            ));
        }
        let (begin, end) = if is_terminal && takes_codes() { LIGHT_ON_DARK } else { ("", "") };
        lines.iter().for_each(|line| self.put(format!("{begin}{line}{end}")));
    }

    fn put(&self, line: String) {
        match &self.mode {
            OutputMode::Json => {}
            OutputMode::Terminal { says_words: true, .. } => {
                if let Some(Draw::Line(line)) = self.draw(Draw::Line(line)) {
                    plain(self.output_stream, &line);
                }
            }
            OutputMode::Plain | OutputMode::Terminal { .. } => plain(self.output_stream, &line),
        }
    }

    /// How things stand: the next call replaces it, where that can be done. The sum is for where there is no room for all rows.
    pub fn rows(&self, rows: Vec<Row>, sum: Option<Row>) {
        if !self.verbosity.progress {
            return;
        }
        let (rows, sum) = (rows.into_iter().map(printable_row).collect(), sum.map(printable_row));
        match &self.mode {
            OutputMode::Terminal { .. } => drop(self.draw(Draw::Rows(rows, sum))),
            OutputMode::Json | OutputMode::Plain => self.log_rows(&rows),
        }
    }

    /// The rows that stay when it ends, in place of those before. Where lines stay anyway, nothing is to be said.
    pub fn last_rows(&self, rows: Vec<Row>) {
        if self.verbosity.progress && matches!(self.mode, OutputMode::Terminal { .. }) {
            self.rows(rows, None);
        }
    }

    /// How something stands in the end: it stays.
    pub fn keep(&self, row: Row) {
        if !self.verbosity.progress {
            return;
        }
        let row = printable_row(row);
        match &self.mode {
            OutputMode::Terminal { .. } => drop(self.draw(Draw::Keep(row))),
            OutputMode::Json | OutputMode::Plain => {
                let last = lock(&self.log).last(&row);
                log_lines(last.as_slice());
            }
        }
    }

    fn log_rows(&self, rows: &[Row]) {
        let due = lock(&self.log).due(Instant::now(), rows);
        log_lines(&due);
    }

    /// A line for programs.
    pub fn event(&self, event: &Event) {
        if self.is_json() {
            plain(self.output_stream, &event.line());
        }
    }

    /// Something was typed: what is above the prompt now is not ours.
    pub fn typed(&self) {
        drop(self.draw(Draw::Typed));
    }
}

/// Whatever ends the program, the terminal is given back.
impl Drop for Screen {
    fn drop(&mut self) {
        if self.take_draws().is_some() {
            terminal::close();
        }
    }
}

impl OutputStream {
    fn is_terminal(self) -> bool {
        match self {
            OutputStream::Output => std::io::stdout().is_terminal(),
            OutputStream::Errors => std::io::stderr().is_terminal(),
        }
    }

    /// A text as this stream shows it.
    fn shown(self, text: String) -> String {
        if self.is_terminal() { letters::on_terminal(text) } else { text }
    }
}

/// Lines of progress on standard error, unless another job has the terminal.
fn log_lines(lines: &[String]) {
    if std::io::stderr().is_terminal() && in_background() {
        return;
    }
    lines.iter().for_each(|line| to_errors(line));
}

/// Names of others stand in rows, too.
fn printable_row(row: Row) -> Row {
    match row {
        Row::Text(text) => Row::Text(printable(&text)),
        Row::Bar(bar) => Row::Bar(Bar { label: bar.label.map(|name| printable(&name)), ..bar }),
    }
}

/// A line for programs, from where there is no screen.
pub fn tell(output_stream: OutputStream, event: &Event) {
    plain(output_stream, &event.line());
}

/// What was asked for, on standard output: each line stays one, whatever stands in it.
pub fn print(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), Failure> {
    let lines = lines.into_iter().map(|line| printable(line.as_ref()) + "\n");
    print_script(&OutputStream::Output.shown(lines.collect()))
}

/// The same of a command that goes on until it is stopped: it ends when nobody reads any more.
pub fn print_while_read(line: &str) -> Result<(), Failure> {
    Ok(standard_output::write(OutputStream::Output.shown(format!("{}\n", printable(line))).as_bytes())?)
}

/// A text of our own, as it is, on standard output. A reader that has seen enough and has closed the pipe is no error.
pub fn print_script(text: &str) -> Result<(), Failure> {
    match standard_output::write(text.as_bytes()) {
        Err(loss @ Loss::Refused(_)) => Err(loss.into()),
        Err(Loss::ReaderGone) | Ok(()) => Ok(()),
    }
}

/// The sentence that the program ends with, or a note, broken between words on a terminal. Names of others may stand in it.
pub fn complain(message: &str) {
    let line = format!("peer-cli: {}", printable(message));
    let is_terminal = OutputStream::Errors.is_terminal();
    let lines = if is_terminal { wrapped_around_commands(&line, size().0) } else { vec![line] };
    lines.iter().for_each(|line| to_errors(line));
}

/// A text of our own, as it is, on standard error.
pub fn explain(text: &str) {
    to_errors(text);
}

/// The columns of the terminal on which answers are read, if they go to one.
pub fn answer_columns() -> Option<usize> {
    OutputStream::Output.is_terminal().then(|| size().0)
}

/// The same, with lines below it.
pub fn complain_at_length(message: &str, lines: &[String]) {
    complain(message);
    lines.iter().for_each(|line| to_errors(&printable(line)));
}

/// A line on standard error. Where that takes no more, nobody can be told.
fn to_errors(line: &str) {
    plain(OutputStream::Errors, line);
}

/// What is lost on standard output is noted there: its command knows what that means.
fn plain(output_stream: OutputStream, line: &str) {
    let line = output_stream.shown(format!("{line}\n"));
    match output_stream {
        OutputStream::Output => drop(standard_output::write(line.as_bytes())),
        OutputStream::Errors => drop(std::io::stderr().lock().write_all(line.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::pace::Pace;
    use crate::ui::row::Label;

    #[test]
    fn a_log_gets_a_line_of_progress_a_second_and_later_every_ten() {
        let row = |done| {
            let label = Label::Name("a".to_owned());
            let (done, size) = (done << 20, 900 << 20);
            vec![Row::Bar(Bar { label, done, size, pace: Pace::Starting, note: None, peers: None, drawn: true })]
        };
        let mut log = PlainProgress::new();
        let began = log.began;
        let connecting = [Row::Text("Connecting".to_owned())];
        assert_eq!([log.due(began, &connecting).len(), log.due(began, &connecting).len()], [1, 0]);
        let at = |quarters: u32| began + Duration::from_millis(250) * quarters;
        let lines: Vec<_> = (1..=160).filter(|&n| !log.due(at(n), &row(u64::from(n))).is_empty()).collect();
        assert!(lines[..10].windows(2).all(|pair| pair[1] - pair[0] == 4), "{lines:?}");
        assert!(lines.len() <= 14, "{lines:?}");
        assert_eq!(log.due(at(400), &row(161)).len(), 1);
        assert!(log.due(at(800), &row(161)).is_empty(), "nothing has changed");
        let mut read = PlainProgress::new();
        let words = |n: u32| [Row::Text(format!("Reading: {n} MiB"))];
        let lines: Vec<_> = (1..=160)
            .filter(|&n| !read.due(read.began + Duration::from_millis(250) * n, &words(n)).is_empty())
            .collect();
        assert!(lines.len() <= 15, "{lines:?}");
        let end = &row(900)[0];
        assert_eq!(log.last(end), Some(end.plain()), "the last line is the end");
        assert_eq!(log.last(end), None, "once");
    }
}
