//! One line that says how far something is, in as many columns as there are: name, percent, bar, bytes, rate, peers, time left.
//!
//! What a narrow terminal has no room for goes in the order of how little it is missed: the bar, the peers, the time that is left,
//! the rate, the bytes. The name and the percentage stay. Which fields there are, and how wide, is decided here; `indicatif` draws
//! the bar and puts them together.

use std::io;
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::lock::lock;
use crate::ui::amounts::{clock, part, rate};
use crate::ui::columns::{columns, shortened};
use crate::ui::pace::Pace;

/// Steps of a bar: it is not full, and says not 100 %, before everything is here.
const STEPS: u64 = 10_000;
/// Columns of ` 58%`, of the least bar, and of the least that a name is shortened to.
const PERCENT: usize = 4;
const LEAST_BAR: usize = 10;
const LEAST_LABEL: usize = 10;
/// Columns between two fields.
const APART: usize = 2;
/// Full cells, the one that is being filled, and empty ones.
const CELLS: &str = "━╸ ";
/// The console of Linux has no letters for these.
const PLAIN_CELLS: &str = "=> ";

/// A line that says how things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Words alone.
    Text(String),
    /// How far something is.
    Bar(Bar),
}

/// How far something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    pub label: Label,
    /// Bytes that are done, and of how many.
    pub done: u64,
    pub size: u64,
    pub pace: Pace,
    /// Stands where the rate would, if there is something else to say.
    pub note: Option<&'static str>,
    pub peers: Option<u32>,
    /// Whether a bar is drawn where there is room.
    pub drawn: bool,
}

/// What a bar is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// A name.
    Name(String),
    /// Somebody gets something: where there is no room for both, who it is.
    Taker { who: String, what: String },
}

impl Label {
    /// The same with other texts.
    pub fn map(self, change: impl Fn(String) -> String) -> Self {
        match self {
            Label::Name(name) => Label::Name(change(name)),
            Label::Taker { who, what } => Label::Taker { who: change(who), what: change(what) },
        }
    }

    /// In so many columns at most.
    fn within(&self, most: usize) -> String {
        match self {
            Label::Name(name) => shortened(name, most),
            Label::Taker { who, what } => {
                let whole = format!("  {who} is getting ");
                match most.checked_sub(columns(&whole)) {
                    Some(room) if room >= columns(what).min(LEAST_LABEL) => whole + &shortened(what, room),
                    _ => shortened(&format!("  {who}"), most),
                }
            }
        }
    }

    fn columns(&self) -> usize {
        columns(&self.within(usize::MAX))
    }
}

impl Row {
    /// In a terminal of so many columns: never wider, and the last column is left free, which some terminals need.
    pub fn line(&self, width: usize) -> String {
        let most = width.saturating_sub(1);
        match self {
            Row::Text(text) => shortened(text, most),
            Row::Bar(bar) => bar.line(most),
        }
    }

    /// In a log: whole, and without what is only there to be looked at.
    pub fn plain(&self) -> String {
        match self {
            Row::Text(text) => text.clone(),
            Row::Bar(bar) => {
                let fields = [bar.label.within(usize::MAX), format!("{}%", bar.steps() * 100 / STEPS)];
                let rest = bar.fields().into_iter().map(|field| field.text).filter(|text| !text.is_empty());
                fields.into_iter().chain(rest).collect::<Vec<_>>().join("  ")
            }
        }
    }
}

/// A field to the right of the bar.
struct Field {
    text: String,
    /// Columns that it takes, so that what is beside it does not jump.
    width: usize,
}

impl Field {
    fn new(text: String, width: usize) -> Self {
        Field { width: width.max(columns(&text)), text }
    }
}

/// Which of the fields bytes, rate, peers and time left there are, and whether there is a bar.
const CHOICES: [(&[usize], bool); 6] =
    [(&[0, 1, 2, 3], true), (&[0, 1, 2, 3], false), (&[0, 1, 3], false), (&[0, 1], false), (&[0], false), (&[], false)];

impl Bar {
    fn steps(&self) -> u64 {
        let steps = u128::from(self.done.min(self.size)) * u128::from(STEPS);
        // Nothing out of nothing is all there is.
        steps.checked_div(self.size.into()).map_or(STEPS, |steps| steps as u64)
    }

    fn fields(&self) -> [Field; 4] {
        let bytes = part(self.done, self.size);
        let widest = columns(&part(self.size, self.size));
        let (speed, left) = match self.pace {
            _ if self.note.is_some() => (self.note.unwrap_or_default().to_owned(), None),
            Pace::Starting => (String::new(), None),
            Pace::Stalled => ("stalled".to_owned(), None),
            Pace::Flowing { rate: bytes, left } => (rate(bytes), left),
        };
        let peers = match self.peers {
            None => String::new(),
            Some(1) => "1 peer".to_owned(),
            Some(count) => format!("{count} peers"),
        };
        let peers_width = if self.peers.is_some() { 7 } else { 0 };
        // What is done has no time left, and never will.
        let left_width = if self.done < self.size { 4 } else { 0 };
        [
            Field::new(bytes, widest),
            Field::new(speed, 10),
            Field::new(peers, peers_width),
            Field::new(left.map(clock).unwrap_or_default(), left_width),
        ]
    }

    fn line(&self, most: usize) -> String {
        let (fields, label) = (self.fields(), self.label.columns());
        let least = label.min(LEAST_LABEL.max(most / 4));
        // Beside a bar nothing may jump; where there is none, there is no room to keep free.
        let width = |field: &Field, bar: bool| if bar { field.width } else { columns(&field.text) };
        let taken = |chosen: &[usize], bar: bool| -> usize {
            let widths = chosen.iter().map(|&field| width(&fields[field], bar)).filter(|&width| width > 0);
            APART + PERCENT + widths.map(|width| APART + width).sum::<usize>()
        };
        let choices = CHOICES.iter().filter(|(_, bar)| self.drawn || !bar);
        let fits = |&&(chosen, bar): &&(&[usize], bool)| {
            let room = if bar { APART + LEAST_BAR } else { 0 };
            least + taken(chosen, bar) + room <= most
        };
        let &(chosen, has_bar) = choices.clone().find(fits).unwrap_or(&(&[], false));
        let room = most.saturating_sub(taken(chosen, has_bar));
        let room_for_label = if has_bar { (most / 3).min(room - APART - LEAST_BAR) } else { room };
        let label = self.label.within(room_for_label);
        let bar = if has_bar { room - columns(&label) - APART } else { 0 };
        let right: Vec<String> = chosen
            .iter()
            .map(|&field| (&fields[field].text, width(&fields[field], has_bar)))
            .filter(|&(_, width)| width > 0)
            .map(|(text, width)| format!("{}{text}", " ".repeat(width - columns(text))))
            .collect();
        let line = self.drawn_with(&label, bar, &right.join("  "));
        // Less room than a percentage takes.
        if columns(&line) > most { shortened(line.trim(), most) } else { line }
    }

    /// Has the fields put together.
    fn drawn_with(&self, label: &str, bar: usize, right: &str) -> String {
        // Its own percentage is rounded: 99.99 % would be 100.
        let percent = self.steps() * 100 / STEPS;
        let prefix = if label.is_empty() { format!("{percent:>3}%") } else { format!("{label}  {percent:>3}%") };
        let bar_part = if bar > 0 { format!("  {{bar:{bar}}}") } else { String::new() };
        let template = format!("{{prefix}}{bar_part}  {{msg}}");
        let cells = if std::env::var_os("TERM").is_some_and(|term| term == "linux") { PLAIN_CELLS } else { CELLS };
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let page = Page::default();
        let target = ProgressDrawTarget::term_like(Box::new(page.clone()));
        let drawing = ProgressBar::with_draw_target(Some(STEPS), target).with_style(style.progress_chars(cells));
        drawing.set_prefix(prefix);
        drawing.set_message(right.to_owned());
        drawing.set_position(self.steps());
        drawing.force_draw();
        let line = page.line();
        drawing.abandon();
        line.trim_end().to_owned()
    }
}

/// Takes the one line that `indicatif` draws, instead of a terminal: where it goes is decided by the screen.
#[derive(Debug, Clone, Default)]
struct Page(Arc<Mutex<Vec<String>>>);

impl Page {
    fn line(&self) -> String {
        let parts = lock(&self.0);
        // What fills the rest of the line comes behind it.
        parts.first().cloned().unwrap_or_default()
    }
}

impl TermLike for Page {
    /// Wider than any line, so that none is broken here.
    fn width(&self) -> u16 {
        4096
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        lock(&self.0).push(text.to_owned());
        Ok(())
    }

    /// Each drawing begins with it.
    fn clear_line(&self) -> io::Result<()> {
        lock(&self.0).clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The rows that a terminal has room for: all of them, or their sum, or the first of those that have none.
pub fn lines(rows: &[Row], sum: Option<&Row>, (width, height): (usize, usize)) -> Vec<String> {
    // What was said before should not be pushed out of sight: a prompt and half of the terminal are left alone.
    let most = (height / 2).max(1);
    if rows.len() <= most {
        return rows.iter().map(|row| row.line(width)).collect();
    }
    match sum {
        Some(sum) => vec![sum.line(width)],
        None => rows.iter().take(most).map(|row| row.line(width)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: u64 = 1 << 20;
    const LONG: &str = "Meta-Llama-3.1-70B-Instruct-of-the-people-by-the-people-for-the-people-Q4_K_M-imatrix-00001-of-00002-abcdefghijklmn.gguf";

    fn bar(name: &str, done: u64, pace: Pace) -> Bar {
        let label = Label::Name(name.to_owned());
        Bar { label, done: done * MIB, size: 286 * MIB, pace, note: None, peers: Some(2), drawn: true }
    }

    fn flowing() -> Pace {
        Pace::Flowing { rate: 21_076_377, left: Some(Duration::from_secs(6)) }
    }

    fn line(bar: &Bar, width: usize) -> String {
        let line = Row::Bar(bar.clone()).line(width);
        assert!(columns(&line) < width.max(1), "{line:?} in {width}");
        line
    }

    #[test]
    fn what_a_narrow_terminal_has_no_room_for_is_left_out() {
        let bar = bar("big.bin", 166, flowing());
        let wide = "big.bin   58%  ━━━━━━━━━━━━━━━━━━━━━━━━╸                    166/286 MiB  20.1 MiB/s  2 peers  0:06";
        assert_eq!(line(&bar, 99), wide);
        assert_eq!(line(&bar, 80), "big.bin   58%  ━━━━━━━━━━━━━╸            166/286 MiB  20.1 MiB/s  2 peers  0:06");
        assert_eq!(line(&bar, 60), "big.bin   58%  166/286 MiB  20.1 MiB/s  2 peers  0:06");
        assert_eq!(line(&bar, 50), "big.bin   58%  166/286 MiB  20.1 MiB/s  0:06");
        assert_eq!(line(&bar, 40), "big.bin   58%  166/286 MiB  20.1 MiB/s");
        assert_eq!(line(&bar, 30), "big.bin   58%  166/286 MiB");
        assert_eq!(line(&bar, 20), "big.bin   58%");
        assert_eq!(
            [10, 8, 5, 3, 2, 1, 0].map(|width| line(&bar, width)),
            ["b…n   58%", "…   58%", " 58%", "5…", "…", "", ""]
        );
    }

    #[test]
    fn no_name_makes_a_line_wider_than_the_terminal() {
        let names = [
            LONG,
            "日本語のとても長いファイル名です日本語のとても長いファイル名です.bin",
            "👩🏽‍🚀🚀👩🏽‍🚀🚀👩🏽‍🚀🚀👩🏽‍🚀🚀👩🏽‍🚀🚀👩🏽‍🚀🚀.tar",
            "",
            "{msg}",
        ];
        let paces = [Pace::Starting, Pace::Stalled, flowing()];
        for name in names {
            for pace in paces {
                for width in 0..200 {
                    line(&bar(name, 166, pace), width);
                    let who = "[2001:db8:1111:2222:3333:4444:5555:6666]".to_owned();
                    let label = Label::Taker { who, what: name.to_owned() };
                    line(&Bar { label, drawn: false, peers: None, ..bar("", 166, pace) }, width);
                }
            }
        }
        let shown = [80, 20].map(|width| line(&bar(LONG, 166, flowing()), width));
        assert!(shown[0].starts_with("Meta-Llama…jklmn.gguf   58%  ━"), "{shown:?}");
        assert_eq!(shown[1], "Meta-L…n.gguf   58%");
    }

    #[test]
    fn a_bar_is_full_when_everything_is_here_and_not_before() {
        let almost = Bar { done: 286 * MIB - 1, ..bar("a", 0, flowing()) };
        let shown = line(&almost, 120);
        assert!(shown.contains(" 99%") && shown.contains('╸'), "{shown}");
        let done = Bar { done: 286 * MIB, ..almost };
        let shown = line(&done, 120);
        assert!(shown.contains("100%") && !shown.contains('╸') && shown.contains("━  286"), "{shown}");
        let empty = Bar { done: 0, size: 0, ..bar("a", 0, Pace::Starting) };
        assert!(line(&empty, 120).contains("100%"), "there is nothing that could be missing");
    }

    #[test]
    fn a_stalled_download_says_so_keeps_its_bar_and_loses_its_rate() {
        let shown = line(&bar("big.bin", 166, Pace::Stalled), 80);
        assert_eq!(shown, "big.bin   58%  ━━━━━━━━━━━━━╸            166/286 MiB     stalled  2 peers");
    }

    #[test]
    fn nothing_jumps_when_a_rate_or_a_digit_comes_or_goes() {
        let cells = |done, pace| {
            let shown = line(&bar("big.bin", done, pace), 90);
            let at = shown.find('%').unwrap();
            (at, columns(&shown[..shown.find(" MiB").unwrap()]))
        };
        let places: Vec<_> = [cells(1, Pace::Starting), cells(50, flowing()), cells(250, Pace::Stalled)].into();
        assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{places:?}");
    }

    #[test]
    fn a_taker_is_named_with_what_it_gets_where_there_is_room() {
        let label = Label::Taker { who: "10.77.0.2".to_owned(), what: "big.bin".to_owned() };
        let bar =
            Bar { label, drawn: false, peers: None, ..bar("", 166, Pace::Flowing { rate: 21_076_377, left: None }) };
        assert_eq!(line(&bar, 80), "  10.77.0.2 is getting big.bin   58%  166/286 MiB  20.1 MiB/s");
        assert_eq!(line(&bar, 40), "  10.77.0.2   58%  166/286 MiB");
        assert_eq!(line(&bar, 20), "  10.77.0.2   58%");
    }

    #[test]
    fn a_log_gets_whole_lines_without_a_bar() {
        assert_eq!(
            Row::Bar(bar("big.bin", 166, flowing())).plain(),
            "big.bin  58%  166/286 MiB  20.1 MiB/s  2 peers  0:06"
        );
        assert_eq!(Row::Bar(bar("big.bin", 0, Pace::Starting)).plain(), "big.bin  0%  0/286 MiB  2 peers");
    }

    #[test]
    fn more_rows_than_fit_become_their_sum() {
        let rows: Vec<_> = (0..20).map(|n| Row::Text(format!("row {n}"))).collect();
        let sum = Row::Text("the sum".to_owned());
        assert_eq!(lines(&rows, Some(&sum), (80, 24)), ["the sum"]);
        assert_eq!(lines(&rows[..12], Some(&sum), (80, 24)).len(), 12);
        assert_eq!(lines(&rows, None, (80, 24)).len(), 12);
        assert_eq!(lines(&rows, None, (5, 1)), ["ro…0"]);
    }
}
