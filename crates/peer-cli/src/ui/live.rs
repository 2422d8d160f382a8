//! A table that is shown again and again: in place on a terminal, as wide as that is, and elsewhere a line for each row that has
//! changed. On a narrow terminal columns are left out; no line is ever wrapped.

use std::io::IsTerminal;

use protocol::printable;
use settings::terminal::{in_background, takes_codes};

use crate::error::Failure;
use crate::ui::columns::{beginning, columns, shortened};
use crate::ui::{letters, paint, standard_output};

/// Cells between two columns.
const GAP: usize = 2;
/// A column that may be shortened keeps so many cells.
const SHORTEST: usize = 12;

/// What stands in the cells of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, which end at the same place and are never shortened.
    Number,
    /// Names, of which the middle is left out.
    Name,
    /// Several things, of which the last are left out.
    List,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub title: &'static str,
    pub kind: Kind,
    /// Columns of the lowest rank are left out first where there is no room.
    pub rank: u8,
}

impl Column {
    pub fn new(title: &'static str, kind: Kind, rank: u8) -> Self {
        Column { title, kind, rank }
    }
}

/// Rows of cells, one for each column.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The head and a line a row, none of them wider than `width` cells.
    pub fn lines(&self, width: usize) -> Vec<String> {
        let head = self.columns.iter().map(|column| column.title.to_owned()).collect();
        let cells: Vec<Vec<String>> = std::iter::once(head)
            .chain(self.rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()))
            .collect();
        let widest = |column: usize| cells.iter().filter_map(|row| Some(columns(row.get(column)?))).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let total = |shown: &[usize], widths: &[usize]| {
            shown.iter().map(|&column| widths[column]).sum::<usize>() + GAP * shown.len().saturating_sub(1)
        };
        // What is text is shortened first, then columns go, then what is left is shortened further.
        for least in [SHORTEST, 1] {
            while total(&shown, &widths) > width {
                let is_text = |column: &&usize| self.columns[**column].kind != Kind::Number && widths[**column] > least;
                if let Some(&column) = shown.iter().filter(is_text).max_by_key(|&&column| widths[column]) {
                    let over = total(&shown, &widths) - width;
                    widths[column] = widths[column].saturating_sub(over).max(least);
                } else if let Some(at) =
                    (0..shown.len()).min_by_key(|&at| self.columns[shown[at]].rank).filter(|_| shown.len() > 1)
                {
                    shown.remove(at);
                    if least == SHORTEST {
                        shown.iter().for_each(|&column| widths[column] = widest(column));
                    }
                } else {
                    break;
                }
            }
        }
        let line = |row: &Vec<String>| {
            let cells = shown.iter().map(|&column| {
                let cell = match self.columns[column].kind {
                    Kind::List => ended(&row[column], widths[column]),
                    Kind::Number | Kind::Name => shortened(&row[column], widths[column]),
                };
                let room = " ".repeat(widths[column].saturating_sub(columns(&cell)));
                if self.columns[column].kind == Kind::Number { room + &cell } else { cell + &room }
            });
            beginning(cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end(), width)
        };
        cells.iter().map(line).collect()
    }
}

/// A text of at most so many cells, with its end left out if it is longer.
fn ended(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    beginning(&format!("{}…", beginning(text, width.saturating_sub(1))), width)
}

/// Where a table is shown again and again.
pub struct Live {
    in_place: bool,
    /// What was drawn last, in place; or all that was said.
    drawn: Vec<String>,
}

impl Live {
    pub fn new() -> Self {
        let in_place = std::io::stdout().is_terminal() && takes_codes();
        Live { in_place, drawn: Vec::new() }
    }

    /// Shows a table as it is now, and on a terminal a line below it.
    pub fn show(&mut self, table: &Table, foot: &str) -> Result<(), Failure> {
        if self.in_place { self.draw(table, foot) } else { self.add(table) }
    }

    fn draw(&mut self, table: &Table, foot: &str) -> Result<(), Failure> {
        // What is there is another job's.
        if in_background() {
            return Ok(());
        }
        let (width, height) = paint::size();
        // The last column is left free: some terminals wrap a line that is as wide as they are.
        let (width, height) = (width.max(2) - 1, height.max(4));
        let mut lines = table.lines(width);
        let most = height - 2;
        if lines.len() > most {
            let hidden = lines.len() - most + 1;
            lines.truncate(most - 1);
            lines.push(beginning(&format!("… and {hidden} more"), width));
        }
        lines.push(ended(foot, width));
        // A terminal that has become narrower has wrapped what was drawn.
        let rows: usize = self.drawn.iter().map(|line| columns(line).div_ceil(width + 1).max(1)).sum();
        let up = if rows > 0 { format!("\x1b[{}A", rows.min(height)) } else { String::new() };
        let text: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        self.drawn = lines;
        write(&letters::on_terminal(format!("\r{up}{text}\x1b[J")))
    }

    /// Adds the rows that have changed.
    fn add(&mut self, table: &Table) -> Result<(), Failure> {
        let lines = table.lines(usize::MAX / 2);
        let new: Vec<_> = lines.iter().filter(|line| !self.drawn.contains(line)).cloned().collect();
        self.drawn = lines;
        // The head alone says nothing.
        if table.rows.is_empty() {
            Ok(())
        } else {
            write(&new.iter().map(|line| line.clone() + "\n").collect::<String>())
        }
    }
}

fn write(text: &str) -> Result<(), Failure> {
    Ok(standard_output::write(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn table(rows: &[[&str; 4]]) -> Table {
        Table {
            columns: vec![
                Column::new("PEER", Kind::Name, 9),
                Column::new("%", Kind::Number, 8),
                Column::new("DOWN", Kind::Number, 5),
                Column::new("FROM", Kind::List, 3),
            ],
            rows: rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect(),
        }
    }

    #[test]
    fn columns_are_left_out_where_there_is_no_room_and_no_line_is_too_wide() {
        let all = table(&[
            ["10.77.0.2:9000", "58%", "20.1 MiB/s", "10.77.0.1:9000 12.0 MiB/s, 10.77.0.3:9000 8.1 MiB/s"],
            ["2001:db8::7777:1:9000", "100%", "", ""],
        ]);
        assert_eq!(all.lines(200)[1].split_whitespace().next(), Some("10.77.0.2:9000"));
        for width in 1..120 {
            let lines = all.lines(width);
            assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:?}");
        }
        assert!(all.lines(60)[0].contains("FROM") && all.lines(60)[1].contains('…'), "{:?}", all.lines(60));
        assert!(!all.lines(40)[0].contains("FROM") && all.lines(40)[0].contains("DOWN"), "{:?}", all.lines(40));
        assert!(!all.lines(24)[0].contains("DOWN") && all.lines(24)[1].contains("58%"), "{:?}", all.lines(24));
    }

    #[test]
    fn wide_characters_count_as_what_they_take_and_names_are_shortened_in_the_middle() {
        assert_eq!(shortened("abcdefghij", 5), "ab…ij");
        assert_eq!((ended("abcdefghij", 5), ended("abc", 3)), ("abcd…".to_owned(), "abc".to_owned()));
        assert_eq!(shortened("漢字漢字漢字", 7), "漢…字");
        assert_eq!((shortened("abc", 1).width(), shortened("abc", 0)), (1, String::new()));
        let wide = table(&[["漢字漢字漢字漢字漢字漢字", "1%", "", ""], ["ab\u{1b}[31m", "2%", "", ""]]);
        for width in 1..60 {
            assert!(wide.lines(width).iter().all(|line| line.width() <= width), "{width}");
        }
        assert!(wide.lines(80).iter().all(|line| !line.contains('\u{1b}')));
    }
}
