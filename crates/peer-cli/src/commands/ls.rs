//! `peer-cli ls`: what can be had from a tracker's swarm.

use clap::Args;
use peer::Node;
use peer::json::{self, Event};
use protocol::{ContentMatch, MAX_MATCHES, printable};

use crate::error::Failure;
use crate::flags::sizes;
use crate::session::query::{TrackerQuery, answer};
use crate::ui::screen::print;

/// Most pages that are asked for: as many contents as a tracker can know. One that goes on is not heard out.
const PAGES: usize = (1 << 20) / MAX_MATCHES;

const EXAMPLES: &str = "\
Examples:
  peer-cli ls localhost                what the tracker on this machine knows
  peer-cli ls 192.168.1.5:9999 --json  one JSON object a content";

const NOTES: &str = "\
COPIES is how often even the rarest piece is there: each seeder has a copy of all. A `+` says that other peers hold pieces, too, \
so that there may be more; which ones, only they know.";

/// Lists what a swarm offers, newest first: names, sizes, ids, and how many peers have or want each.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub struct LsArguments {
    /// The tracker, as HOST or HOST:PORT
    #[arg(value_name = "TRACKER")]
    tracker: Option<String>,
    #[command(flatten)]
    pub query: TrackerQuery,
}

/// Lists everything.
pub async fn run(arguments: LsArguments) -> Result<(), Failure> {
    let json = arguments.query.peer.json;
    let node = arguments.query.begin(arguments.tracker.as_deref()).await?;
    let listed = everything(&node, json).await;
    node.shutdown().await;
    let contents = listed?;
    if !json {
        print(table(&contents))?;
    }
    Ok(())
}

/// All pages; as events, they are told as they come.
async fn everything(node: &Node, json: bool) -> Result<Vec<ContentMatch>, Failure> {
    let (mut all, mut before) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = answer(node.list(before)).await?;
        if json {
            page.contents.iter().try_for_each(|content| print([event(content).line()]))?;
        } else {
            all.extend(page.contents);
        }
        // A tracker that says the same again would never end.
        match page.next.filter(|next| before.is_none_or(|before| *next < before)) {
            Some(next) => before = Some(next),
            None => return Ok(all),
        }
    }
    Ok(all)
}

fn event(found: &ContentMatch) -> Event {
    Event::Listed(json::Listed {
        content: found.content.to_string(),
        name: found.name.clone(),
        size: found.size,
        seeders: found.seeders,
        partial: partial(found),
        downloaders: found.downloaders,
        copies_at_least: found.seeders,
        copies_exact: found.others == 0,
    })
}

/// Peers that hold some pieces and want no more.
fn partial(found: &ContentMatch) -> u32 {
    found.others.saturating_sub(found.downloaders)
}

fn table(contents: &[ContentMatch]) -> Vec<String> {
    if contents.is_empty() {
        return vec!["Nobody shares anything.".to_owned()];
    }
    let head = ["NAME", "SIZE", "SEEDERS", "PARTIAL", "DOWNLOADERS", "COPIES", "CONTENT ID"].map(str::to_owned);
    let row = |found: &ContentMatch| {
        // Nobody who has the manifest has said what it is called.
        let known = !found.name.is_empty();
        let name = if known { printable(&found.name) } else { "(no name yet)".to_owned() };
        let size = if known { sizes::show(found.size) } else { "?".to_owned() };
        let more = if found.others > 0 { "+" } else { "" };
        let copies = format!("{}{more}", found.seeders);
        let [seeders, partial, downloaders] = [found.seeders, partial(found), found.downloaders].map(|n| n.to_string());
        // Enough to tell it from every other.
        let id = found.content.to_string()[..16].to_owned();
        [name, size, seeders, partial, downloaders, copies, id]
    };
    let rows: Vec<_> = std::iter::once(head).chain(contents.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..7).map(width).collect();
    let line = |[name, numbers @ .., id]: &[String; 7]| {
        let numbers = numbers.iter().zip(&widths[1..]).map(|(number, width)| format!("  {number:>width$}"));
        format!("{name:width$}{}  {id}", numbers.collect::<String>(), width = widths[0])
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{ContentId, Digest};

    #[test]
    fn the_table_says_what_is_known_and_no_more() {
        let found = |first, name: &str, seeders, others, downloaders| ContentMatch {
            content: ContentId(Digest([first; 32])),
            name: name.to_owned(),
            size: 2048,
            seeders,
            others,
            downloaders,
        };
        let lines = table(&[found(0xab, "a\u{1b}[31m.bin", 2, 0, 0), found(1, "b", 1, 5, 3), found(2, "", 0, 1, 1)]);
        let expected = [
            "NAME              SIZE  SEEDERS  PARTIAL  DOWNLOADERS  COPIES  CONTENT ID",
            r"a\u{1b}[31m.bin  2.0 KiB        2        0            0       2  abababababababab",
            "b                2.0 KiB        1        2            3      1+  0101010101010101",
            "(no name yet)          ?        0        0            1      0+  0202020202020202",
        ];
        for (line, expected) in lines.iter().zip(expected) {
            assert_eq!(
                line.split_whitespace().collect::<Vec<_>>(),
                expected.split_whitespace().collect::<Vec<_>>(),
                "\n{lines:?}"
            );
        }
        assert_eq!(table(&[]), ["Nobody shares anything."]);
    }
}
