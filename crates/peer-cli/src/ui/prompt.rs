//! What the user types while it runs, through a line editor on a terminal and as plain lines otherwise.

use std::io::IsTerminal;
use std::path::{PathBuf, is_separator};

use protocol::{Ticket, TicketError};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use settings::Signals;
use settings::prompt::unknown;
use settings::terminal::{Turn, fail_in_background, read_lines, takes_codes, turn, wait_for_turn};
use tokio::sync::mpsc;

use crate::flags::end::End;
use crate::flags::peer::PeerArguments;
use crate::flags::sizes;
use crate::ui::paint::Canvas;
use crate::ui::screen::{OutputStream, Screen, Verbosity};
use crate::ui::signals::end_when_stuck;
use crate::ui::{standard_output, terminal};

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// How it stands, in the original's words, and if it is to be said, what holds it up.
    Progress {
        verbose: bool,
    },
    /// How it stands.
    Status,
    /// What is shared and downloaded.
    List,
    /// Which peers take part.
    Peers,
    /// Share this, too.
    Add(PathBuf),
    /// Neither share nor download the content of this name any more.
    Stop(String),
    /// So many bytes a second at most; without a number there is no cap any more.
    Rate(Option<u64>),
    Help,
    Exit,
    /// An empty line: nothing is wanted, but the cursor is elsewhere.
    Nothing,
    /// Ctrl-C, which the line editor takes for itself.
    Interrupt,
    /// What was typed is no command, or lacks something: the sentence says so.
    Wrong(String),
}

/// The commands, and what they do.
pub const COMMANDS: [(&str, &str); 9] = [
    ("status", "how everything stands"),
    ("ls", "what is shared and downloaded here, with its content id"),
    ("peers", "the peers, and how much was sent to and received from each"),
    ("add PATH", "share this file or folder, too"),
    ("stop NAME", "stop sharing or downloading it"),
    ("rate 10MiB", "limit the rate, in bytes a second; rate off removes the limit"),
    ("prog", "progress in pieces; prog --verbose names the bottleneck"),
    ("help", "this list"),
    ("quit", "end; so does exit, Ctrl-C or Ctrl-D"),
];

/// Names that commands are known by.
const NAMES: [&str; 10] = ["status", "ls", "peers", "add", "stop", "rate", "prog", "help", "quit", "exit"];

/// Commands are trimmed, and case does not matter; an empty line is nothing.
fn parse(line: &str) -> Option<Typed> {
    let (command, rest) = settings::prompt::command(line)?;
    let needs = |what: &str| Typed::Wrong(format!("{command} needs {what}, as in `{command} {}`.", example(&command)));
    Some(match (&*command, rest) {
        ("prog", "") => Typed::Progress { verbose: false },
        ("prog", verbose) if ["--verbose", "-v"].contains(&&*verbose.to_lowercase()) => {
            Typed::Progress { verbose: true }
        }
        ("status", "") => Typed::Status,
        ("ls", "") => Typed::List,
        ("peers", "") => Typed::Peers,
        ("help" | "?", _) => Typed::Help,
        ("quit" | "exit" | "q", "") => Typed::Exit,
        ("add", "") => needs("a file or a folder"),
        ("add", path) => Typed::Add(path.into()),
        ("stop", "") => needs("a name, which ls says"),
        ("stop", name) => Typed::Stop(name.to_owned()),
        ("rate", "off" | "none" | "unlimited") => Typed::Rate(None),
        ("rate", rate) => match sizes::rate(rate) {
            Ok(rate) => Typed::Rate(Some(rate)),
            Err(_) if rate.is_empty() => needs("a number of bytes a second, or off"),
            Err(sentence) => Typed::Wrong(format!("{sentence}.")),
        },
        (known, rest) if NAMES.contains(&known) => {
            Typed::Wrong(format!("{known} takes nothing behind it, and not {rest:?}."))
        }
        (word, _) => Typed::Wrong(unknown(word, &NAMES)),
    })
}

/// What was typed or pasted, line after line, as commands.
#[derive(Default)]
struct Lines {
    /// Whether the last command was to add something: of several paths that are pasted behind `add`, each is on a line of its own.
    adds: bool,
}

impl Lines {
    /// The commands of a text of one line or more.
    fn parse(&mut self, text: &str) -> Vec<Typed> {
        // A ticket that was sent by mail may be broken into lines.
        if let Some(ticket) =
            Ticket::find(text).filter(|_| parse(text).is_none_or(|typed| matches!(typed, Typed::Wrong(_))))
        {
            return vec![Typed::Wrong(about_ticket(ticket.err().as_ref()))];
        }
        text.lines().filter_map(|line| self.parse_line(line)).collect()
    }

    fn parse_line(&mut self, line: &str) -> Option<Typed> {
        let typed = parse(line)?;
        let path = settings::prompt::without_quotes(line.trim());
        let typed = match typed {
            Typed::Wrong(sentence) => match path_meant(path) {
                Some(meant) if self.adds => Typed::Add(meant),
                Some(_) => Typed::Wrong(format!("{path} is no command. To share it, too: add {path}")),
                None => Typed::Wrong(sentence),
            },
            typed => typed,
        };
        self.adds = matches!(typed, Typed::Add(_));
        Some(typed)
    }
}

/// The path that is meant by what was typed, or pasted as terminals paste a file that is dragged there: as it stands, or else as a shell
/// would read it. Nothing if nothing is there.
pub fn path_meant(typed: &str) -> Option<PathBuf> {
    let unescaped = without_escapes(typed);
    let in_home = unescaped.strip_prefix("~/").and_then(|path| Some(std::env::home_dir()?.join(path)));
    let paths = [Some(PathBuf::from(typed)), Some(PathBuf::from(&unescaped)), in_home];
    paths.into_iter().flatten().find(|path| path.exists())
}

/// A text without the backslashes by which a shell is told to take a character as it is.
fn without_escapes(text: &str) -> String {
    if is_separator('\\') {
        return text.to_owned();
    }
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

/// What is said of a ticket that is typed here, with what is wrong with it.
fn about_ticket(error: Option<&TicketError>) -> String {
    match error {
        None => "That is a ticket: give it to `peer-cli get`, in another terminal.".to_owned(),
        Some(TicketError::Several(count)) => {
            format!("Those are {count} tickets: give each to a `peer-cli get` of its own, in another terminal.")
        }
        Some(_) => {
            "That looks like a ticket that was damaged on its way: paste it whole behind `peer-cli get`, in another terminal."
                .to_owned()
        }
    }
}

/// What stands behind a command.
fn example(command: &str) -> &'static str {
    let of = |(usage, _): &(&'static str, &str)| usage.split_once(' ').filter(|(name, _)| *name == command);
    COMMANDS.iter().find_map(of).map_or("", |(_, rest)| rest)
}

/// Where commands are read from without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandSource {
    /// A terminal only: what else standard input is may be meant for others, such as the list that a script reads line by line.
    Terminal,
    /// Whatever standard input is, as the original does.
    Anything,
}

/// What a run hears and says.
pub struct Face {
    /// Where lines go.
    pub screen: Screen,
    /// What is typed.
    pub typed: mpsc::Receiver<Typed>,
    /// What the system wants.
    pub signals: Signals,
}

/// The screen that fits a session that ends so, and what is typed from now on. The end of input is no reason to stop, unless a
/// person ends it.
pub fn start(arguments: &PeerArguments, output_stream: OutputStream, source: CommandSource, end: End) -> Face {
    // Before the line editor, which puts back what it finds.
    let signals = Signals::listen();
    end_when_stuck(end);
    let json = arguments.json;
    let verbosity = Verbosity { words: !arguments.quiet, progress: !arguments.quiet && !arguments.no_progress };
    let (typed, receiver) = mpsc::channel(16);
    let terminal = std::io::stdin().is_terminal();
    let draws = !json && takes_codes();
    if draws
        && output_stream == OutputStream::Output
        && terminal
        && std::io::stdout().is_terminal()
        && turn() != Turn::Over
        && let Ok(mut editor) = DefaultEditor::new()
        && let Ok(printer) = editor.create_external_printer()
    {
        // What ends by itself is only looked at: who types all the same sees what.
        let ends = matches!(end, End::Done | End::Shared { .. }) && source == CommandSource::Terminal;
        let prompt = if ends { "" } else { "> " };
        terminal::keep_modes();
        std::thread::spawn(move || edit(&mut editor, prompt, &typed));
        terminal::wait_until_lent();
        let mut screen = Screen::terminal(Canvas::AbovePrompt(Box::new(printer)), output_stream, verbosity);
        screen.takes_commands = true;
        return Face { screen, typed: receiver, signals };
    }
    // The program that reads the content from a pipe may need the terminal's keys.
    let asked =
        arguments.commands || source == CommandSource::Anything || (terminal && output_stream == OutputStream::Output);
    if asked {
        std::thread::spawn(move || {
            let mut lines = Lines::default();
            let ended =
                read_lines(|line| lines.parse(line).into_iter().all(|command| typed.blocking_send(command).is_ok()));
            if ended {
                let _ = typed.blocking_send(Typed::Exit);
            }
        });
    }
    // What the program behind a pipe prints of our words would be drawn over.
    let is_alone = output_stream == OutputStream::Errors || !standard_output::is_piped();
    let mut screen = if json {
        Screen::json(output_stream, verbosity)
    } else if draws && verbosity.progress && std::io::stderr().is_terminal() && is_alone {
        Screen::terminal(Canvas::Errors, output_stream, verbosity)
    } else {
        Screen::plain(output_stream, verbosity)
    };
    screen.takes_commands = asked && terminal;
    Face { screen, typed: receiver, signals }
}

fn edit(editor: &mut DefaultEditor, prompt: &str, typed: &mpsc::Sender<Typed>) {
    fail_in_background();
    let mut lines = Lines::default();
    while !terminal::is_closed() && wait_for_turn(terminal::is_closed) {
        // While it is lent the signal is still marked.
        let lent = terminal::lend(|| (editor.readline(prompt), terminal::is_sending_out()));
        let Some((read, sent_out)) = lent else { continue };
        let commands = match read {
            // What is pasted is one text, of several lines perhaps.
            Ok(text) => {
                let _ = editor.add_history_entry(&text);
                let commands = lines.parse(&text);
                if commands == [Typed::Exit] {
                    terminal::clear_prompt();
                }
                if commands.is_empty() { vec![Typed::Nothing] } else { commands }
            }
            // The editor takes `SIGINT` for itself, as it takes the key.
            Err(ReadlineError::Interrupted) if sent_out => Vec::new(),
            Err(ReadlineError::Interrupted) => {
                terminal::clear_prompt();
                vec![Typed::Interrupt]
            }
            // Ctrl-D: a person who ends the input of a terminal wants to leave. A terminal that is gone has an end, too.
            Err(ReadlineError::Eof) if turn() == Turn::Ours => {
                terminal::clear_prompt();
                vec![Typed::Exit]
            }
            // Read after the shell has put us into the background.
            Err(_) if turn() == Turn::Others => Vec::new(),
            Err(_) => return,
        };
        for command in commands {
            let is_last = matches!(command, Typed::Exit | Typed::Interrupt);
            if typed.blocking_send(command).is_err() || is_last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> String {
        match parse(line) {
            Some(Typed::Wrong(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_are_trimmed_and_case_does_not_matter() {
        assert_eq!(parse("  PrOg \r"), Some(Typed::Progress { verbose: false }));
        assert_eq!(parse("prog --Verbose"), Some(Typed::Progress { verbose: true }));
        assert_eq!(["EXIT", "quit", "q"].map(parse), [0; 3].map(|_| Some(Typed::Exit)));
        assert_eq!(parse("  "), None);
        assert_eq!([" Help ", "help add", "?"].map(parse), [0; 3].map(|_| Some(Typed::Help)));
        assert_eq!(parse("add My File"), Some(Typed::Add("My File".into())));
        assert_eq!(parse("RATE 10MiB"), Some(Typed::Rate(Some(10 << 20))));
        assert_eq!(parse("rate off"), Some(Typed::Rate(None)));
    }

    #[test]
    fn every_line_of_a_paste_counts() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b c", "d"].map(|name| folder.path().join(name));
        paths.iter().for_each(|path| std::fs::write(path, "x").unwrap());
        let added = |path: &PathBuf| Typed::Add(path.clone());
        let shown = paths.each_ref().map(|path| path.display().to_string());
        let mut lines = Lines::default();
        let commands = lines.parse(&format!("add {}\nadd {}\r\nstatus\n", shown[0], shown[1]));
        assert_eq!(commands, [added(&paths[0]), added(&paths[1]), Typed::Status]);
        let pasted = lines.parse(&format!("add {}\n'{}'\n\n{}", shown[0], shown[1], shown[2]));
        assert_eq!(pasted, [added(&paths[0]), added(&paths[1]), added(&paths[2])], "paths, each on a line of its own");
        let one = Lines::default().parse(&shown[0]);
        assert!(
            matches!(&one[..], [Typed::Wrong(sentence)] if sentence.ends_with(&format!("add {}", shown[0]))),
            "{one:?}"
        );
    }

    #[test]
    fn a_path_is_found_as_a_terminal_pastes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("My Film (1).mp4");
        std::fs::write(&path, "x").unwrap();
        let plain = path.display().to_string();
        assert_eq!(path_meant(&plain), Some(path.clone()));
        assert_eq!(path_meant(&format!("{plain}.part")), None);
        if !is_separator('\\') {
            let escaped = plain.replace(' ', r"\ ").replace('(', r"\(").replace(')', r"\)");
            assert_eq!(path_meant(&escaped), Some(path.clone()));
            let pasted = Lines::default().parse(&format!("add x\n{escaped}"));
            assert_eq!(pasted, [Typed::Add("x".into()), Typed::Add(path)]);
        }
        assert_eq!(path_meant("~/"), std::env::home_dir().filter(|home| home.exists()).map(|home| home.join("")));
    }

    #[test]
    fn a_ticket_is_answered_once_however_mail_has_broken_it() {
        let digest = |byte| protocol::Digest([byte; 32]);
        let ticket_of = |content| {
            let (tracker, addresses) = (protocol::PeerId(digest(1)), vec![([10, 0, 0, 1], 9).into()]);
            Ticket::new(tracker, addresses, protocol::ContentId(digest(content))).unwrap().to_string()
        };
        let (ticket, other) = (ticket_of(2), ticket_of(3));
        let broken = format!("peer-cli get {}\n{}\n{}", &ticket[..40], &ticket[40..80], &ticket[80..]);
        for text in [&ticket, &broken] {
            let said = Lines::default().parse(text);
            assert!(
                matches!(&said[..], [Typed::Wrong(sentence)] if sentence.contains("in another terminal")),
                "{said:?}"
            );
        }
        for text in [format!("{ticket}\n{other}"), format!("{ticket},{other}")] {
            let said = Lines::default().parse(&text);
            assert!(matches!(&said[..], [Typed::Wrong(sentence)] if sentence.starts_with("Those are 2")), "{said:?}");
        }
        let damaged = Lines::default().parse(&ticket[..60]);
        assert!(matches!(&damaged[..], [Typed::Wrong(sentence)] if sentence.contains("damaged")), "{damaged:?}");
    }

    #[test]
    fn what_is_no_command_is_answered_in_one_sentence() {
        assert_eq!(wrong("peer"), "\"peer\" is no command. Did you mean peers? help lists all of them.");
        assert_eq!(wrong("add"), "add needs a file or a folder, as in `add PATH`.");
        assert_eq!(wrong("rate"), "rate needs a number of bytes a second, or off, as in `rate 10MiB`.");
        assert!(wrong("rate fast").contains("write it like 10MiB"));
        assert_eq!(wrong("quit now"), "quit takes nothing behind it, and not \"now\".");
    }

    #[test]
    fn every_command_that_is_listed_is_one() {
        for (usage, _) in COMMANDS {
            assert!(!matches!(parse(usage), None | Some(Typed::Wrong(_))), "{usage}");
            assert!(NAMES.contains(&usage.split(' ').next().unwrap()));
        }
    }
}
