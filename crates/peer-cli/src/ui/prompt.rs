//! What the user types: `prog` and `exit`, through a line editor on a terminal and as plain lines otherwise.

use std::io::IsTerminal;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use settings::Signals;
use settings::terminal::{Turn, fail_in_background, read_lines, takes_codes, turn, wait_for_turn};
use tokio::sync::mpsc;

use crate::flags::end::End;
use crate::flags::peer::PeerArguments;
use crate::ui::screen::{OutputStream, Screen, Verbosity};
use crate::ui::signals::end_when_stuck;
use crate::ui::terminal;

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// How it stands, and if it is to be said, what holds it up.
    Progress {
        verbose: bool,
    },
    Exit,
    /// Ctrl-C, which the line editor takes for itself.
    Interrupt,
    Unknown(String),
}

/// Commands are trimmed, and case does not matter; an empty line is nothing.
fn parse(line: &str) -> Option<Typed> {
    match line.trim().to_lowercase().as_str() {
        "" => None,
        "prog" => Some(Typed::Progress { verbose: false }),
        "prog --verbose" | "prog -v" => Some(Typed::Progress { verbose: true }),
        "exit" => Some(Typed::Exit),
        _ => Some(Typed::Unknown(line.trim().to_owned())),
    }
}

/// Where commands are read from without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
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
pub fn start(arguments: &PeerArguments, output_stream: OutputStream, source: Source, end: End) -> Face {
    // Before the line editor, which puts back what it finds.
    let signals = Signals::listen();
    end_when_stuck(end);
    let json = arguments.json;
    let verbosity = Verbosity { words: !arguments.quiet, progress: !arguments.quiet && !arguments.no_progress };
    let (typed, receiver) = mpsc::channel(16);
    let terminal = std::io::stdin().is_terminal();
    if !json
        && output_stream == OutputStream::Output
        && terminal
        && std::io::stdout().is_terminal()
        && takes_codes()
        && turn() != Turn::Over
        && let Ok(mut editor) = DefaultEditor::new()
        && let Ok(printer) = editor.create_external_printer()
    {
        std::thread::spawn(move || edit(&mut editor, &typed));
        return Face { screen: Screen::terminal(Box::new(printer), verbosity), typed: receiver, signals };
    }
    // Whoever reads the content from a pipe may have the terminal's keys.
    let asked = arguments.commands || source == Source::Anything || (terminal && output_stream == OutputStream::Output);
    if asked {
        std::thread::spawn(move || {
            let ended = read_lines(|line| parse(line).is_none_or(|command| typed.blocking_send(command).is_ok()));
            if ended {
                let _ = typed.blocking_send(Typed::Exit);
            }
        });
    }
    let screen = if json { Screen::json(output_stream, verbosity) } else { Screen::plain(output_stream, verbosity) };
    Face { screen, typed: receiver, signals }
}

fn edit(editor: &mut DefaultEditor, typed: &mpsc::Sender<Typed>) {
    fail_in_background();
    while !terminal::is_closed() && wait_for_turn(terminal::is_closed) {
        // While it is lent the signal is still marked.
        let lent = terminal::lend(|| (editor.readline("> "), terminal::is_sending_out()));
        let Some((read, sent_out)) = lent else { continue };
        let command = match read {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                parse(&line)
            }
            // The editor takes `SIGINT` for itself, as it takes the key.
            Err(ReadlineError::Interrupted) => (!sent_out).then_some(Typed::Interrupt),
            // Ctrl-D: whoever ends the input of a terminal wants to leave. One that is gone has an end, too.
            Err(ReadlineError::Eof) if turn() == Turn::Ours => Some(Typed::Exit),
            // Read after the shell has put us into the background.
            Err(_) if turn() == Turn::Others => None,
            Err(_) => return,
        };
        let last = matches!(command, Some(Typed::Exit | Typed::Interrupt));
        if command.is_some_and(|command| typed.blocking_send(command).is_err()) || last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_trimmed_and_case_does_not_matter() {
        assert_eq!(parse("  PrOg \r"), Some(Typed::Progress { verbose: false }));
        assert_eq!(parse("prog --Verbose"), Some(Typed::Progress { verbose: true }));
        assert_eq!(parse("EXIT"), Some(Typed::Exit));
        assert_eq!(parse("  "), None);
        assert_eq!(parse(" Help "), Some(Typed::Unknown("Help".to_owned())));
    }
}
