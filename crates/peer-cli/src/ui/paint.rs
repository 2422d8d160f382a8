//! What is at the bottom of a terminal: rows that say how things stand, drawn over and over, with lines that stay above them and
//! the prompt below. One thread does that, since a terminal may keep it waiting.
//!
//! Each frame goes up to where the last one began. A terminal that was made narrower meanwhile may have broken its lines, and then
//! they are more of them: most terminals do so, others cut lines off, and none can be asked without its answer being taken for
//! keys. So it is known of those that say who they are.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender};

use rustyline::ExternalPrinter;
use settings::terminal::in_background;

use crate::ui::columns::columns;
use crate::ui::letters;
use crate::ui::row::{Row, lines};
use crate::ui::terminal;

/// What happens at the bottom of the terminal.
pub enum Draw {
    /// A line that stays.
    Line(String),
    /// How things stand now, and their sum for where there is no room for all.
    Rows(Vec<Row>, Option<Row>),
    /// A row as it is in the end: it stays.
    Keep(Row),
    /// The rows that say how far something is stay as they are.
    KeepAll,
    /// Something was typed: what is above the prompt now is not ours.
    Typed,
    /// All before it was drawn.
    Drawn(SyncSender<()>),
}

/// Where it is drawn.
pub enum Canvas {
    /// Above the line editor's prompt.
    AbovePrompt(Box<dyn ExternalPrinter + Send>),
    /// On standard error, with the cursor below.
    Errors,
}

impl Canvas {
    fn put(&mut self, text: String) {
        let text = letters::on_terminal(text);
        match self {
            Canvas::AbovePrompt(printer) => drop(printer.print(text)),
            Canvas::Errors => {
                let mut errors = std::io::stderr().lock();
                let _ = errors.write_all(text.as_bytes()).and_then(|()| errors.flush());
            }
        }
    }
}

/// Columns and rows of the terminal; of one that does not say, as many as there always were.
pub fn size() -> (usize, usize) {
    let size = console::Term::stdout().size_checked().or_else(|| console::Term::stderr().size_checked());
    let (rows, columns) = size.filter(|&(rows, columns)| rows > 0 && columns > 0).unwrap_or((24, 80));
    (columns.into(), rows.into())
}

/// Whether the terminal breaks lines anew when it is made narrower.
fn breaks_lines_anew() -> bool {
    const SIGNS: [&str; 10] = [
        "LC_TERMINAL",
        "VTE_VERSION",
        "KONSOLE_VERSION",
        "KITTY_WINDOW_ID",
        "ALACRITTY_WINDOW_ID",
        "WT_SESSION",
        "TERM_PROGRAM",
        "TMUX",
        "WEZTERM_PANE",
        "GHOSTTY_RESOURCES_DIR",
    ];
    let is_called_so = std::env::var("TERM").is_ok_and(|term| is_of_those_that_break_anew(&term));
    cfg!(windows)
        || is_called_so
        || SIGNS.iter().any(|sign| std::env::var_os(sign).is_some_and(|value| !value.is_empty()))
}

/// Whether a terminal with this name breaks lines anew. `ssh` and `sudo` hand on nothing else, but that many servers take `LC_TERMINAL`.
/// Most terminals say no more than that they are like `xterm`, which does not.
fn is_of_those_that_break_anew(term: &str) -> bool {
    const NAMES: [&str; 11] = [
        "alacritty",
        "contour",
        "foot",
        "gnome",
        "iterm2",
        "konsole",
        "tmux",
        "vte",
        "wezterm",
        "xterm-ghostty",
        "xterm-kitty",
    ];
    NAMES.iter().any(|name| term.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
}

/// Clears what is below, and ends a line where it began.
const GONE: &str = "\x1b[J\x1b[1A\n";

/// The text that replaces the rows of which `drawn` has the columns, in a terminal of `width` columns, with lines that stay and
/// rows below them.
///
/// The line editor ends a line wherever it has to print something, so what has no line of its own goes back up before. At the top
/// of a terminal that leads nowhere: where nothing is `above`, rows that are gone stay blank until something takes their place.
fn frame(drawn: &[usize], breaks: bool, width: usize, above: bool, staying: &[String], rows: &[String]) -> String {
    let height = |&columns: &usize| if breaks { columns.div_ceil(width.max(1)).max(1) } else { 1 };
    let up: usize = drawn.iter().map(height).sum();
    let mut text = String::new();
    if up > 0 {
        text += &format!("\x1b[{up}A\r");
    }
    if staying.is_empty() && rows.is_empty() {
        return if above { text + GONE } else { text + &"\x1b[K\n".repeat(up) };
    }
    // Rows that take the place of rows do not flicker if each is only cleared to its end.
    if staying.is_empty() && up == drawn.len() {
        rows.iter().for_each(|row| text += &format!("{row}\x1b[K\n"));
        if rows.len() < drawn.len() {
            text += GONE;
        }
        return text;
    }
    if up > 0 {
        text += "\x1b[J";
    }
    staying.iter().chain(rows).for_each(|line| text += &format!("{line}\n"));
    text
}

/// Most events that are drawn at once.
const AT_ONCE: usize = 256;

/// Draws until nobody has anything more to draw. What waits is drawn at once: each frame takes its time.
pub fn draw_all(canvas: Canvas, events: &Receiver<Draw>) {
    let mut bottom = Bottom::new(canvas);
    for first in events {
        let mut staying = Vec::new();
        bottom.take(first, &mut staying);
        for event in events.try_iter().take(AT_ONCE) {
            bottom.take(event, &mut staying);
        }
        bottom.draw(&mut staying);
    }
}

/// The bottom of a terminal.
struct Bottom {
    canvas: Canvas,
    /// Whether the terminal breaks lines anew.
    breaks: bool,
    rows: Vec<Row>,
    sum: Option<Row>,
    /// Whether the rows are to be drawn, again or no more.
    changed: bool,
    /// The columns of each row on the terminal, and since which stop of the program they are there.
    drawn: Vec<usize>,
    stops: u32,
    /// Whether a line of ours is above the rows.
    above: bool,
}

impl Bottom {
    fn new(canvas: Canvas) -> Self {
        Bottom {
            canvas,
            breaks: breaks_lines_anew(),
            rows: Vec::new(),
            sum: None,
            changed: false,
            drawn: Vec::new(),
            stops: terminal::stops(),
            above: false,
        }
    }

    /// Takes in what happens; lines that stay are collected.
    fn take(&mut self, event: Draw, staying: &mut Vec<String>) {
        match event {
            Draw::Line(line) => staying.push(line),
            Draw::Rows(rows, sum) => (self.rows, self.sum, self.changed) = (rows, sum, true),
            // In the background nothing was drawn that could stay.
            Draw::Keep(row) => staying.extend((!in_background()).then(|| row.line(size().0))),
            Draw::KeepAll => {
                self.draw(staying);
                // Blank ones are none, and words alone say what was under way, which has ended.
                let only_words = self.rows.iter().all(|row| matches!(row, Row::Text(_)));
                if !self.drawn.is_empty() && (self.is_blank() || only_words) && !in_background() {
                    self.canvas.put(format!("\x1b[{}A\r{GONE}", self.drawn.len()));
                }
                self.rows.clear();
                self.drawn.clear();
            }
            // The cursor has moved already: what was not drawn yet is drawn below.
            Draw::Typed => self.drawn.clear(),
            Draw::Drawn(done) => {
                self.draw(staying);
                let _ = done.send(());
            }
        }
    }

    /// Draws what was taken in.
    fn draw(&mut self, staying: &mut Vec<String>) {
        let changed = std::mem::take(&mut self.changed);
        let staying = std::mem::take(staying);
        // Another job has the terminal, or had it: what is there is not ours to replace.
        let away = in_background();
        if away || self.stops != terminal::stops() {
            self.stops = terminal::stops();
            self.drawn.clear();
        }
        if staying.is_empty() && (away || !changed) {
            return;
        }
        let (width, height) = size();
        let shown = if away { Vec::new() } else { lines(&self.rows, self.sum.as_ref(), (width, height)) };
        if staying.is_empty() && shown.is_empty() && self.is_blank() {
            return;
        }
        self.canvas.put(frame(&self.drawn, self.breaks, width, self.above, &staying, &shown));
        self.drawn = match (staying.is_empty(), shown.is_empty()) {
            (true, true) if !self.above => vec![0; self.drawn.len()],
            _ => shown.iter().map(|line| columns(line)).collect(),
        };
        self.above |= !staying.is_empty();
    }

    fn is_blank(&self) -> bool {
        self.drawn.iter().all(|&columns| columns == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(texts: [&str; N]) -> [String; N] {
        texts.map(str::to_owned)
    }

    #[test]
    fn rows_replace_rows_without_flicker() {
        assert_eq!(frame(&[], false, 80, true, &[], &texts(["a", "b"])), "a\x1b[K\nb\x1b[K\n");
        assert_eq!(frame(&[1, 1], false, 80, true, &[], &texts(["c", "d"])), "\x1b[2A\rc\x1b[K\nd\x1b[K\n");
        assert_eq!(frame(&[1, 1], false, 80, true, &[], &texts(["c"])), "\x1b[2A\rc\x1b[K\n\x1b[J\x1b[1A\n");
        assert_eq!(frame(&[1, 1], false, 80, true, &[], &[]), "\x1b[2A\r\x1b[J\x1b[1A\n");
        assert_eq!(frame(&[1, 1], false, 80, false, &[], &[]), "\x1b[2A\r\x1b[K\n\x1b[K\n");
    }

    #[test]
    fn what_stays_comes_above_the_rows() {
        assert_eq!(frame(&[1], false, 80, true, &texts(["said"]), &texts(["b"])), "\x1b[1A\r\x1b[Jsaid\nb\n");
        assert_eq!(frame(&[], false, 80, true, &texts(["said"]), &[]), "said\n");
    }

    #[test]
    fn words_of_what_was_under_way_do_not_stay() {
        struct Printer(std::sync::mpsc::Sender<String>);
        impl ExternalPrinter for Printer {
            fn print(&mut self, text: String) -> rustyline::Result<()> {
                let _ = self.0.send(text);
                Ok(())
            }
        }
        let (texts, printed) = std::sync::mpsc::channel();
        let mut bottom = Bottom::new(Canvas::AbovePrompt(Box::new(Printer(texts))));
        bottom.take(Draw::Rows(vec![Row::Text("Connecting".to_owned())], None), &mut Vec::new());
        bottom.take(Draw::KeepAll, &mut Vec::new());
        assert_eq!(
            printed.try_iter().collect::<Vec<_>>(),
            ["Connecting\x1b[K\n".to_owned(), format!("\x1b[1A\r{GONE}")]
        );
    }

    #[test]
    fn a_name_may_say_that_lines_are_broken_anew() {
        assert!(
            ["foot", "xterm-kitty", "tmux-256color", "alacritty-direct"]
                .iter()
                .all(|term| is_of_those_that_break_anew(term))
        );
        assert!(
            !["xterm-256color", "screen-256color", "rxvt", "linux", "footage", ""]
                .iter()
                .any(|term| is_of_those_that_break_anew(term))
        );
    }

    #[test]
    fn rows_that_a_narrower_terminal_has_broken_are_gone_over_whole() {
        assert_eq!(frame(&[79], true, 40, true, &[], &texts(["a"])), "\x1b[2A\r\x1b[Ja\n");
        assert_eq!(frame(&[79], false, 40, true, &[], &texts(["a"])), "\x1b[1A\ra\x1b[K\n");
    }
}
