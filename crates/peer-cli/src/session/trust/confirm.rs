//! The question on the terminal whether to trust an id: nothing but a clear yes is one.

use std::io::{BufRead, IsTerminal, Read, Write};

use protocol::{PeerId, printable};
use settings::terminal::{Turn, turn};

use crate::flags::peer::PeerArguments;
use crate::ui::columns::wrapped;
use crate::ui::paint::size;

/// Longest answer that is read.
const LONGEST: u64 = 4096;

/// Whether a person can be asked: both ways, and not in the background, where the question would stop the job.
pub(super) fn may_ask(arguments: &PeerArguments) -> bool {
    !arguments.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && turn() == Turn::Ours
}

/// Asks whether to trust a tracker.
pub(super) async fn confirm(place: &str, id: PeerId, elsewhere: &str) -> bool {
    let before = match elsewhere {
        "" => String::new(),
        places => format!("You have trusted this id before, as {}.\n", printable(places)),
    };
    let question = format!(
        "The tracker at {} is not known here. What answers there has this id:\n\n    {id}\n\n{before}Compare it with the id that the \
         tracker printed when it was started. Trust it from now on (yes or no)? ",
        printable(place)
    );
    confirm_with(question, id).await
}

/// Asks on the terminal, without keeping other tasks waiting. An answer that is neither yes nor no is asked for again, once; then it is
/// a no.
pub(super) async fn confirm_with(question: String, id: PeerId) -> bool {
    let open = OpenLine;
    let agreed = tokio::task::spawn_blocking(move || ask(&question, id)).await;
    std::mem::forget(open);
    agreed.unwrap_or(false)
}

/// The cursor's line while a question waits for its answer. A command that hears Ctrl-C itself drops the question: what is said next,
/// by it or by the shell, begins on a line of its own.
struct OpenLine;

impl Drop for OpenLine {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stderr());
    }
}

fn ask(question: &str, id: PeerId) -> bool {
    put(question);
    let answer = read_reply(id);
    if answer != Some(Reply::Unclear) {
        return answer == Some(Reply::Yes);
    }
    put("Please type yes, or no, or the id that the tracker printed: ");
    read_reply(id) == Some(Reply::Yes)
}

/// Each line of it broken between words, as the terminal's width wants it.
fn put(question: &str) {
    let width = size().0;
    let lines: Vec<_> = question.split('\n').flat_map(|line| wrapped(line, width)).collect();
    let mut errors = std::io::stderr().lock();
    let _ = write!(errors, "{}", lines.join("\n")).and_then(|()| errors.flush());
}

/// What is answered to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Yes,
    No,
    Unclear,
}

/// Reads an answer. Nothing if there is none: the input has ended.
fn read_reply(id: PeerId) -> Option<Reply> {
    let mut answer = Vec::new();
    let read = std::io::stdin().lock().take(LONGEST).read_until(b'\n', &mut answer);
    if !answer.ends_with(b"\n") {
        // Ctrl-D leaves the cursor behind the question.
        let _ = writeln!(std::io::stderr());
    }
    let is_over = read.is_err() || answer.is_empty();
    (!is_over).then(|| understood(&String::from_utf8_lossy(&answer), id))
}

/// Somebody who pastes the id that the tracker printed has compared it.
fn understood(answer: &str, id: PeerId) -> Reply {
    let answer = answer.trim().to_lowercase();
    match &*answer {
        "y" | "yes" => Reply::Yes,
        "n" | "no" => Reply::No,
        answer if answer == id.to_string() => Reply::Yes,
        // Another id than this one is a no, as somebody meant to compare them.
        answer if answer.parse::<PeerId>().is_ok() => Reply::No,
        _ => Reply::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn id(byte: u8) -> PeerId {
        PeerId(Digest([byte; 32]))
    }

    #[test]
    fn only_a_yes_is_one_and_what_is_unclear_is_asked_again() {
        assert!(["y\n", "YES\r\n", " yes "].iter().all(|answer| understood(answer, id(1)) == Reply::Yes));
        assert_eq!(understood(&format!("{}\n", id(1)), id(1)), Reply::Yes);
        assert_eq!(understood(&id(2).to_string(), id(1)), Reply::No);
        assert!(["n", "NO\n"].iter().all(|answer| understood(answer, id(1)) == Reply::No));
        assert!(["\n", "maybe", "yesterday"].iter().all(|answer| understood(answer, id(1)) == Reply::Unclear));
    }
}
