//! What the user types: `prog` and `exit`, through a line editor on a terminal and as plain lines otherwise.

use std::io::{BufRead, IsTerminal};

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::sync::mpsc;

use crate::arguments::PeerArguments;
use crate::screen::{Loudness, Outlet, Screen};
use crate::terminal::TerminalState;

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

/// The screen that fits, and what is typed from now on. The channel stays open at the end of input: that is no
/// reason to stop.
pub fn start(arguments: &PeerArguments, outlet: Outlet) -> (Screen, mpsc::Receiver<Typed>) {
    let json = arguments.json;
    let loudness = Loudness { words: !arguments.quiet, progress: !arguments.quiet && !arguments.no_progress };
    let (typed, receiver) = mpsc::channel(16);
    if !json
        && outlet == Outlet::Output
        && std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && let before = TerminalState::save()
        && let Ok(mut editor) = DefaultEditor::new()
        && let Ok(printer) = editor.create_external_printer()
    {
        std::thread::spawn(move || edit(&mut editor, &typed));
        return (Screen::terminal(Box::new(printer), before, loudness), receiver);
    }
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if parse(&line).is_some_and(|command| typed.blocking_send(command).is_err()) {
                return;
            }
        }
        keep_open(&typed);
    });
    (if json { Screen::json(outlet, loudness) } else { Screen::plain(outlet, loudness) }, receiver)
}

fn edit(editor: &mut DefaultEditor, typed: &mpsc::Sender<Typed>) {
    loop {
        let command = match editor.readline("> ") {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                parse(&line)
            }
            Err(ReadlineError::Interrupted) => Some(Typed::Interrupt),
            // Ctrl-D: whoever ends the input of a terminal wants to leave.
            Err(ReadlineError::Eof) => Some(Typed::Exit),
            Err(_) => return keep_open(typed),
        };
        if command.is_some_and(|command| typed.blocking_send(command).is_err()) {
            return;
        }
    }
}

fn keep_open(typed: &mpsc::Sender<Typed>) {
    // Until the program ends.
    std::mem::forget(typed.clone());
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
