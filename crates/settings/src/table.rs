//! The tables of flags in the docs: made of what clap knows, so that no flag is described twice.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Command};

use crate::given::long;

/// Says that tables are to be written, not compared.
const UPDATE: &str = "UPDATE_DOCS";

/// A flag, and the commands that have it.
struct Row {
    heading: String,
    flag: String,
    commands: Vec<String>,
    meaning: String,
    default: String,
}

/// Compares the table of a program's flags in a page with what clap says, for the program's tests; writes it if `UPDATE_DOCS` is set,
/// as `cargo xtask docs` does. It stands between two comments, which name the program.
pub fn keep_table(page: &Path, program: Command) -> Result<(), String> {
    let name = program.get_name().to_owned();
    let text = std::fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let (begin, end) = (format!("<!-- flags of {name} -->\n"), format!("<!-- end of flags of {name} -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{} has no place for the flags of {name}", page.display()))?;
    let wanted = format!("{before}{begin}{}{end}{after}", table(program));
    if wanted == text {
        return Ok(());
    }
    if std::env::var_os(UPDATE).is_none() {
        return Err(format!("{} is not what clap says of {name}: `cargo xtask docs` writes it anew", page.display()));
    }
    std::fs::write(page, wanted).map_err(|error| format!("{}: {error}", page.display()))
}

/// A table a heading, in Markdown.
fn table(mut program: Command) -> String {
    program.build();
    let rows = rows(&program);
    let mut headings: Vec<&str> = Vec::new();
    for row in &rows {
        if !headings.contains(&row.heading.as_str()) {
            headings.push(&row.heading);
        }
    }
    let has_commands = program.has_subcommands();
    let mut text = String::new();
    for heading in headings {
        let (of, line) = if has_commands { (" of |", "---|") } else { ("", "") };
        let _ = write!(text, "\n### {heading}\n\n| flag |{of} meaning | default |\n|---|{line}---|---|\n");
        for row in rows.iter().filter(|row| row.heading == heading) {
            let of = if has_commands { format!(" {} |", row.commands.join(", ")) } else { String::new() };
            let _ = writeln!(text, "| {} |{of} {} | {} |", row.flag, row.meaning, row.default);
        }
    }
    text.push('\n');
    text
}

/// The flags of all commands, each meaning once, in their order. The program's own are those of its command of every day, if it
/// has one that is the same.
fn rows(program: &Command) -> Vec<Row> {
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<_> = if program.has_subcommands() { commands.collect() } else { vec![program] };
    let mut rows: Vec<Row> = Vec::new();
    for command in commands {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(name) = long(arg) else { continue };
            let row = row(command, arg, &name);
            match rows.iter_mut().find(|other| (&other.flag, &other.meaning) == (&row.flag, &row.meaning)) {
                Some(known) => known.commands.extend(row.commands),
                None => rows.push(row),
            }
        }
    }
    rows
}

fn row(command: &Command, arg: &Arg, name: &str) -> Row {
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let text = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (meaning, told) = match text.rsplit_once(" [default: ") {
        Some((meaning, default)) => (meaning.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (text, String::new()),
    };
    let defaults = arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy()));
    let switch = arg.get_num_args().is_some_and(|count| !count.takes_values());
    let default = if told.is_empty() && !switch { defaults.collect::<Vec<_>>().join(" ") } else { told };
    let plain = |text: String| text.replace('|', "\\|").replace('<', "\\<");
    Row {
        heading: arg.get_help_heading().unwrap_or_default().to_owned(),
        flag: format!("{short}`--{name}`"),
        commands: vec![command.get_name().to_owned()],
        meaning: plain(meaning),
        default: plain(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_means_the_same_to_two_commands_is_one_row() {
        let flag = |help: &'static str| Arg::new("rate").long("rate").short('r').help(help).help_heading("Tuning");
        let program = Command::new("program")
            .subcommand(Command::new("a").arg(flag("Most bytes | a second [default: all]")))
            .subcommand(Command::new("b").arg(flag("Most bytes | a second [default: all]")))
            .subcommand(Command::new("c").arg(flag("Another")));
        let table = table(program);
        assert!(table.contains("| `-r`, `--rate` | a, b | Most bytes \\| a second | all |\n"), "{table}");
        assert!(table.contains("### Tuning\n") && table.contains("| c | Another |  |\n"), "{table}");
    }

    #[test]
    fn a_page_that_is_not_up_to_date_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page.md");
        let program = || Command::new("program").arg(Arg::new("x").long("x").help("X").help_heading("Common"));
        std::fs::write(&page, "before\n").unwrap();
        assert!(keep_table(&page, program()).unwrap_err().contains("no place"));
        let made =
            format!("before\n<!-- flags of program -->\n{}<!-- end of flags of program -->\nafter\n", table(program()));
        std::fs::write(&page, &made).unwrap();
        assert_eq!(keep_table(&page, program()), Ok(()));
        std::fs::write(&page, made.replace("| X |", "| Y |")).unwrap();
        assert!(keep_table(&page, program()).unwrap_err().contains("cargo xtask docs"));
    }
}
