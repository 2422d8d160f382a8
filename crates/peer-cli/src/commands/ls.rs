//! `peer-cli ls`: what can be had from a tracker's swarm.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use peer::json::{self, Event};
use peer::{Glob, Node, merged};
use protocol::{ContentId, ContentMatch, MAX_MATCHES, Query, Ticket};
use settings::Signals;

use crate::error::{ExitCode, Failure};
use crate::flags::tickets;
use crate::session::lan::{self, ByDefault};
use crate::session::query::{TrackerQuery, answer, complain, name_silent};
use crate::ui::amounts;
use crate::ui::live::{Column, Kind, Live, Table};
use crate::ui::screen::{print, print_while_read};
use crate::ui::signals::heard;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Limit on the pages requested: they hold as many contents as a tracker can know.
const PAGES: usize = (1 << 20) / MAX_MATCHES;

const EXAMPLES: &str = "\
Examples:
  peer-cli ls                          what is shared openly on this network
  peer-cli ls localhost                what the tracker on this machine knows
  peer-cli ls localhost --only '*.bin' names that fit
  peer-cli ls localhost --watch        again and again, until Ctrl-C
  peer-cli ls 192.168.1.5:9999 --json  one JSON object a content
  peer-cli ls p2p…                     what the ticket is of, and who takes part";

const NOTES: &str = "\
COPIES is the number of copies of the rarest piece; each seeder has one copy of every piece. `+` means that there may \
be more copies, because other peers hold pieces too, and the tracker does not know which.";

/// Lists what a swarm offers, newest first: names, sizes, ids, and how many peers have or want each.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub struct LsArguments {
    /// The tracker, as HOST or HOST:PORT; or a ticket
    ///
    /// The tracker, as HOST or HOST:PORT; or a ticket, of whose content alone something is said; if not given, sharers on this
    /// network
    #[arg(value_name = "TRACKER|TICKET")]
    tracker: Option<String>,
    /// Only what has this name or id, or fits this pattern
    ///
    /// Only contents of this name or content id, or whose name this pattern fits; several with several --only
    #[arg(long, value_name = "NAME|ID|GLOB", value_parser = str::parse::<Glob>)]
    only: Vec<Glob>,
    /// Go on, and list changes, until Ctrl-C
    ///
    /// Go on, and list them again whenever that has changed, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    pub query: TrackerQuery,
}

/// Lists everything.
pub async fn run(arguments: LsArguments) -> Result<(), Failure> {
    if let Some(ticket) = arguments.tracker.as_deref().and_then(Ticket::find) {
        let ticket = ticket.map_err(|error| tickets::failure(&error, "ls"))?;
        if arguments.watch || !arguments.only.is_empty() {
            let sentence = "a ticket is of one content: --only and --watch are for a tracker";
            return Err(Failure::new(ExitCode::Usage, sentence));
        }
        let found = one(&arguments.query, &ticket).await?;
        return match arguments.query.peer.json {
            true => print([event(&found).line()]),
            false => print(table(&[found]).lines(usize::MAX / 2)),
        };
    }
    if arguments.watch {
        let mut signals = Signals::listen();
        return tokio::select! {
            result = watch(&arguments) => result,
            _ = heard(&mut signals) => Ok(()),
        };
    }
    if arguments.tracker.is_none() && arguments.query.tracker_ip.is_none() {
        return on_this_network(&arguments).await;
    }
    let node = arguments.query.begin(arguments.tracker.as_deref()).await?;
    let listed = everything(&node).await;
    name_silent(&node, &complain);
    node.shutdown().await;
    let listed = listed?;
    nothing_unmatched(&arguments.only, &listed)?;
    let contents = wanted(listed, &arguments.only);
    if arguments.query.peer.json {
        return contents.iter().try_for_each(|content| print([event(content).line()]));
    }
    if contents.is_empty() { print(["Nobody shares anything."]) } else { print(table(&contents).lines(usize::MAX / 2)) }
}

/// Lists what is shared openly on this network, and by whom. These are unverified claims; `get` verifies them.
async fn on_this_network(arguments: &LsArguments) -> Result<(), Failure> {
    let Some(lan) = lan::start(&arguments.query.peer, ByDefault::On) else {
        // It says what is missing.
        return arguments.query.begin(None).await.map(drop);
    };
    let sharers = lan::sharers(&lan, &arguments.query.peer, everything).await?;
    let all = || sharers.iter().flat_map(|sharer| sharer.contents.iter().cloned()).collect::<Vec<_>>();
    nothing_unmatched(&arguments.only, &all())?;
    if arguments.query.peer.json {
        return wanted(all(), &arguments.only).iter().try_for_each(|content| print([event(content).line()]));
    }
    let mut rows = Vec::new();
    let mut listed = table(&[]);
    listed.columns.push(Column::new("SHARED BY", Kind::Name, 5));
    for sharer in &sharers {
        let by = sharer.address().ip().to_canonical().to_string();
        for mut row in table(&wanted(sharer.contents.clone(), &arguments.only)).rows {
            row.push(by.clone());
            rows.push(row);
        }
    }
    if rows.is_empty() {
        let sentence = "Nobody on this network shares anything openly. To see what a tracker knows: peer-cli ls HOST";
        return print([sentence]);
    }
    print(Table { rows, ..listed }.lines(usize::MAX / 2))
}

/// Fails if a pattern is of nothing that is there.
fn nothing_unmatched(only: &[Glob], listed: &[ContentMatch]) -> Result<(), Failure> {
    let matches_nothing = |glob: &&Glob| !listed.iter().any(|found| fits(found, glob));
    let unmatched: Vec<_> = only.iter().filter(matches_nothing).map(|glob| format!("{:?}", glob.text())).collect();
    if !unmatched.is_empty() {
        let sentence = format!("nobody shares anything that is matched by {}", unmatched.join(", "));
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    Ok(())
}

/// What a ticket stands for, as far as its tracker may know.
async fn one(query: &TrackerQuery, ticket: &Ticket) -> Result<ContentMatch, Failure> {
    let (node, told) = query.join_by_ticket(ticket).await?;
    let found = match told {
        Some(told) => Ok(told),
        None => match ticket.secret() {
            Some(secret) => answer(node.find(&secret.share_key().swarm().to_string())).await,
            None => answer(node.find(&ticket.content().map(|id| id.to_string()).unwrap_or_default())).await,
        }
        .and_then(|found| {
            let nobody = || Failure::new(ExitCode::NotFound, "nobody shares the content of this ticket");
            let found = found.into_iter().next().ok_or_else(nobody)?;
            Ok(ContentMatch { content: ticket.content().unwrap_or(found.content), ..found })
        }),
    };
    name_silent(&node, &complain);
    node.shutdown().await;
    found
}

/// Lists everything again and again.
async fn watch(arguments: &LsArguments) -> Result<(), Failure> {
    let node = arguments.query.begin(arguments.tracker.as_deref()).await?;
    let (mut live, mut told, mut lost) = (Live::new(), HashMap::<ContentId, ContentMatch>::new(), false);
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let listed = match everything(&node).await {
            Err(failure) if failure.code == ExitCode::TrackerUnreachable => {
                if !std::mem::replace(&mut lost, true) {
                    complain("the tracker is gone; waiting for it".to_owned());
                }
                continue;
            }
            listed => listed?,
        };
        lost = false;
        let contents = wanted(listed, &arguments.only);
        if arguments.query.peer.json {
            for found in contents.iter().filter(|found| told.get(&found.content) != Some(found)) {
                print_while_read(&event(found).line())?;
            }
            told = contents.into_iter().map(|found| (found.content, found)).collect();
            continue;
        }
        let foot = match contents.is_empty() {
            true => "Nobody shares anything. Ctrl-C ends this.",
            false => "Ctrl-C ends this.",
        };
        live.show(&table(&contents), foot)?;
    }
}

/// Whether a pattern is of its name or id, or an id that begins so.
pub fn fits(found: &ContentMatch, glob: &Glob) -> bool {
    let begins =
        matches!(glob.text().parse(), Ok(query @ (Query::Id(_) | Query::Prefix(_))) if query.fits(found.content, ""));
    glob.matches(&found.name) || glob.matches(&found.content.to_string()) || begins
}

/// Those that one of the patterns fits; all if there are none.
pub fn wanted(listed: Vec<ContentMatch>, only: &[Glob]) -> Vec<ContentMatch> {
    let is_wanted = |found: &ContentMatch| only.is_empty() || only.iter().any(|glob| fits(found, glob));
    listed.into_iter().filter(is_wanted).collect()
}

/// All pages.
pub async fn everything(node: &Node) -> Result<Vec<ContentMatch>, Failure> {
    pages_until(node, PAGES, |_| false).await
}

/// So many pages, or those until there is enough.
pub async fn pages_until(
    node: &Node,
    most: usize,
    is_enough: impl Fn(&[ContentMatch]) -> bool,
) -> Result<Vec<ContentMatch>, Failure> {
    let (mut all, mut before) = (Vec::new(), None);
    for _ in 0..most {
        let page = answer(node.list(before)).await?;
        all.extend(page.contents);
        if is_enough(&all) {
            break;
        }
        // A tracker that says the same again would never end.
        match page.next.filter(|next| before.is_none_or(|before| *next < before)) {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    Ok(merged(all))
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

fn table(contents: &[ContentMatch]) -> Table {
    let row = |found: &ContentMatch| {
        // Nobody who has the manifest has said what it is called.
        let known = !found.name.is_empty();
        let name = if known { found.name.clone() } else { "(no name yet)".to_owned() };
        let size = if known { amounts::amount(found.size) } else { "?".to_owned() };
        let more = if found.others > 0 { "+" } else { "" };
        let copies = format!("{}{more}", found.seeders);
        let [seeders, partial, downloaders] = [found.seeders, partial(found), found.downloaders].map(|n| n.to_string());
        // Enough to tell it from every other.
        let id = found.content.to_string()[..16].to_owned();
        vec![name, size, seeders, partial, downloaders, copies, id]
    };
    Table {
        columns: vec![
            Column::new("NAME", Kind::Name, 9),
            Column::new("SIZE", Kind::Number, 7),
            Column::new("SEEDERS", Kind::Number, 8),
            Column::new("PARTIAL", Kind::Number, 2),
            Column::new("DOWNLOADERS", Kind::Number, 6),
            Column::new("COPIES", Kind::Number, 3),
            Column::new("CONTENT ID", Kind::List, 4),
        ],
        rows: contents.iter().map(row).collect(),
    }
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
        let listed = table(&[found(0xab, "a\u{1b}[31m.bin", 2, 0, 0), found(1, "b", 1, 5, 3), found(2, "", 0, 1, 1)]);
        let lines = listed.lines(200);
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
        assert!(!listed.lines(60)[0].contains("PARTIAL") && listed.lines(60)[0].contains("SEEDERS"));
    }
}
