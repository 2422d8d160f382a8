//! What is typed at the tracker: what it knows, and that it is to end.

use bytesize::ByteSize;
use protocol::ContentMatch;
use settings::prompt::{command, unknown};
use tracker::{ConnectedPeer, Server};

/// Most contents, and most peers, that are listed.
const LISTED: usize = 100;

/// The commands, and what they do.
const COMMANDS: [(&str, &str); 5] = [
    ("status", "how many peers and contents there are, and how much memory they take"),
    ("ls", "what is shared or wanted, newest first"),
    ("peers", "who is connected"),
    ("help", "this list"),
    ("quit", "end; so does exit, Ctrl-C or Ctrl-D. Running downloads go on without a tracker"),
];

/// Names that commands are known by.
const NAMES: [&str; 6] = ["status", "ls", "peers", "help", "quit", "exit"];

/// What a line that was typed asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    Status,
    List,
    Peers,
    Help,
    Quit,
    /// No command: the sentence says so.
    Wrong(String),
}

/// Commands are trimmed, and case does not matter; an empty line is nothing.
pub fn parse(line: &str) -> Option<Typed> {
    let (word, rest) = command(line)?;
    Some(match (&*word, rest) {
        ("help" | "?", _) => Typed::Help,
        ("status", "") => Typed::Status,
        ("ls", "") => Typed::List,
        ("peers", "") => Typed::Peers,
        ("quit" | "exit" | "q", "") => Typed::Quit,
        (known, rest) if NAMES.contains(&known) => {
            Typed::Wrong(format!("{known} takes nothing behind it, and not {rest:?}."))
        }
        (word, _) => Typed::Wrong(unknown(word, &NAMES)),
    })
}

/// The answer, a line each; nothing if it is to end.
pub fn answer(typed: Typed, server: &Server) -> Option<Vec<String>> {
    Some(match typed {
        Typed::Quit => return None,
        Typed::Wrong(sentence) => vec![sentence],
        Typed::Help => {
            let widest = COMMANDS.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            COMMANDS.iter().map(|(name, what)| format!("  {name:widest$}  {what}")).collect()
        }
        Typed::Status => {
            let ((peers, contents), bytes) = (server.counts(), ByteSize(server.bytes()).display().iec());
            let relayed = server.relayed().map(|count| format!(", {}", counted(count, "relayed connection")));
            let relayed = relayed.unwrap_or_default();
            vec![format!("{}, {}, {bytes} of memory{relayed}", counted(peers, "peer"), counted(contents, "content"))]
        }
        Typed::List => contents(server),
        Typed::Peers => peers(&server.peers()),
    })
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn contents(server: &Server) -> Vec<String> {
    let (mut lines, mut before) = (Vec::new(), None);
    while lines.len() < LISTED {
        let (page, next) = server.list(before);
        lines.extend(page.iter().map(content));
        before = next;
        if next.is_none() {
            break;
        }
    }
    if lines.is_empty() {
        lines.push("Nothing is shared or wanted now.".to_owned());
    }
    if before.is_some() {
        lines.push("  and more: `peer-cli ls` lists all of them".to_owned());
    }
    lines
}

fn content(found: &ContentMatch) -> String {
    let ContentMatch { content, name, size, seeders, downloaders, .. } = found;
    let name = if name.is_empty() { "(no name)" } else { name };
    let size = ByteSize(*size).display().iec();
    let (seeders, downloaders) = (counted(*seeders as usize, "seeder"), counted(*downloaders as usize, "downloader"));
    format!("  {name}  {size}  {seeders}, {downloaders}  content id {content}")
}

fn peers(all: &[ConnectedPeer]) -> Vec<String> {
    if all.is_empty() {
        return vec!["Nobody is connected.".to_owned()];
    }
    let line =
        |peer: &ConnectedPeer| format!("  {}  takes part in {}", peer.address, counted(peer.contents, "content"));
    let mut lines: Vec<_> = all.iter().take(LISTED).map(line).collect();
    if let Some(more) = all.len().checked_sub(LISTED).filter(|&more| more > 0) {
        lines.push(format!("  and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_listed_is_one() {
        for (name, _) in COMMANDS {
            assert!(!matches!(parse(name), None | Some(Typed::Wrong(_))) && NAMES.contains(&name), "{name}");
        }
        assert_eq!([" EXIT ", "quit", "q"].map(parse), [0; 3].map(|_| Some(Typed::Quit)));
        assert_eq!(parse(" "), None);
    }

    #[test]
    fn what_is_no_command_is_answered_in_one_sentence() {
        let said = parse("statsu");
        assert_eq!(
            said,
            Some(Typed::Wrong("\"statsu\" is no command. Did you mean status? help lists all of them.".into()))
        );
    }

    #[test]
    fn peers_are_listed_up_to_a_hundred() {
        let peer = |n: u16| ConnectedPeer { address: ([10, 0, 0, 1], n).into(), contents: usize::from(n) };
        let few: Vec<_> = (1..=2).map(peer).collect();
        assert_eq!(peers(&few), ["  10.0.0.1:1  takes part in 1 content", "  10.0.0.1:2  takes part in 2 contents"]);
        let many: Vec<_> = (0..150).map(peer).collect();
        assert_eq!((peers(&many).len(), peers(&many).pop().unwrap()), (LISTED + 1, "  and 50 more".to_owned()));
    }
}
