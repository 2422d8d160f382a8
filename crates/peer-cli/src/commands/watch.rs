//! `peer-cli watch`: how those who take part in a tracker's swarm stand, a row a peer, until all have it or Ctrl-C.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use peer::json::{self, Event};
use peer::{Glob, Node};
use protocol::{ContentId, ContentMatch, PeerId, PeerProgress, Role, WatchedPeer};
use settings::Signals;

use crate::commands::ls;
use crate::error::{ExitCode, Failure};
use crate::session::query::{TrackerQuery, answer, complain};
use crate::ui::amounts;
use crate::ui::live::{Column, Kind, Live, Table};
use crate::ui::screen::print_while_read;
use crate::ui::signals::heard;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Most contents that are watched, and most peers in all: of more, nobody sees anything.
const MOST_CONTENTS: usize = 64;
const MOST_PEERS: usize = 1024;
/// How often in a row a tracker may be gone before that is said.
const TRIES: u32 = 2;

const EXAMPLES: &str = "\
Examples:
  peer-cli watch localhost                  all that the tracker knows
  peer-cli watch 192.168.1.5 --only '*.bin' only files that fit
  peer-cli watch localhost --until-complete for scripts: 0 once all have it
  peer-cli watch localhost --json           a line whenever a peer got further";

const NOTES: &str = "\
Peers report their progress only while somebody watches. Older versions never report it: of them it is known only \
whether they are complete.";

/// Shows how far each peer of a swarm is, how fast, and from whom.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub struct WatchArguments {
    /// The tracker, as HOST or HOST:PORT
    #[arg(value_name = "TRACKER")]
    tracker: Option<String>,
    /// Only what has this name or id, or fits this pattern
    ///
    /// Only contents of this name or content id, or whose name this pattern fits; several with several --only
    #[arg(long, value_name = "NAME|ID|GLOB", value_parser = str::parse::<Glob>)]
    only: Vec<Glob>,
    /// End with 0 once all who want it have it
    ///
    /// End with status 0 once somebody has all of it and nobody wants more
    #[arg(long)]
    until_complete: bool,
    /// And at least so many have all of it
    ///
    /// With --until-complete: and at least so many peers have all of it
    #[arg(long, value_name = "N", default_value_t = 1, requires = "until_complete")]
    copies: usize,
    #[command(flatten)]
    pub query: TrackerQuery,
}

/// A peer of a content.
#[derive(Debug, Clone, PartialEq)]
struct PeerRow {
    content: ContentId,
    name: String,
    peer: WatchedPeer,
}

/// Watches until it is told to stop, or all is complete.
pub async fn run(arguments: WatchArguments) -> Result<(), Failure> {
    let mut signals = Signals::listen();
    tokio::select! {
        result = watch(&arguments) => result,
        signal = heard(&mut signals) => match arguments.until_complete {
            true => Err(Failure::new(crate::ui::signals::code(signal), "stopped before all have it")),
            false => Ok(()),
        },
    }
}

async fn watch(arguments: &WatchArguments) -> Result<(), Failure> {
    let node = arguments.query.begin(arguments.tracker.as_deref()).await?;
    let mut shown = Shown { json: arguments.query.peer.json, live: Live::new(), told: HashMap::new() };
    let (mut tick, mut losses) = (tokio::time::interval(PERIOD), Losses::default());
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match look(&node, &arguments.only).await {
            Ok((listed, rows)) => {
                losses.seen(!listed.is_empty());
                shown.show(&rows)?;
                if arguments.until_complete && are_complete(&listed, &arguments.only, arguments.copies) {
                    node.shutdown().await;
                    return Ok(());
                }
            }
            Err(Unseen { failure, was_listed }) if failure.code == ExitCode::TrackerUnreachable => {
                losses.lost(was_listed);
                if losses.are_of_age() {
                    let sentence = "the tracker ends the connection when it is asked how peers stand: it is older than this \
                                    program. `peer-cli ls --watch` needs nothing new of it";
                    return Err(Failure::new(ExitCode::TrackerUnreachable, sentence));
                }
                if losses.in_a_row == TRIES + 1 {
                    complain("the tracker is gone; waiting for it".to_owned());
                }
            }
            Err(Unseen { failure, .. }) => return Err(failure),
        }
    }
}

/// Why a look has failed.
struct Unseen {
    failure: Failure,
    /// Whether the tracker had listed its contents before.
    was_listed: bool,
}

/// How often nothing was seen since something was.
#[derive(Default)]
struct Losses {
    in_a_row: u32,
    /// How often of these the connection was lost when the tracker was asked how peers stand.
    at_question: u32,
    /// Whether it has ever said how they stand.
    has_answered: bool,
}

impl Losses {
    fn seen(&mut self, has_answered: bool) {
        *self = Losses { has_answered: self.has_answered || has_answered, ..Losses::default() };
    }

    fn lost(&mut self, was_listed: bool) {
        self.in_a_row += 1;
        self.at_question += u32::from(was_listed);
    }

    /// Whether the tracker is too old for the question: it ends the connection each time that it hears it.
    fn are_of_age(&self) -> bool {
        !self.has_answered && self.at_question > TRIES
    }
}

/// Whether somebody has all of each content, so many peers at least, and nobody wants more of it. This is asked of everything that
/// is listed, also of what has no row because there is too much, and each pattern must fit something.
fn are_complete(listed: &[ContentMatch], only: &[Glob], copies: usize) -> bool {
    let is_complete = |found: &ContentMatch| found.seeders as usize >= copies && found.downloaders == 0;
    let is_there = |glob: &Glob| listed.iter().any(|found| ls::fits(found, glob));
    !listed.is_empty() && only.iter().all(is_there) && listed.iter().all(is_complete)
}

/// The contents that are watched, and peers of as many of them as are shown.
async fn look(node: &Node, only: &[Glob]) -> Result<(Vec<ContentMatch>, Vec<PeerRow>), Unseen> {
    let all = ls::everything(node).await.map_err(|failure| Unseen { failure, was_listed: false })?;
    let listed = ls::wanted(all, only);
    let mut rows = Vec::new();
    for ContentMatch { content, name, .. } in listed.iter().take(MOST_CONTENTS) {
        let content = *content;
        let mut after = None;
        loop {
            let page = answer(node.watch(content, after)).await;
            let page = page.map_err(|failure| Unseen { failure, was_listed: true })?;
            let row = |peer| PeerRow { content, name: name.clone(), peer: settled(peer) };
            rows.extend(page.peers.into_iter().map(row));
            // A tracker that goes back would never end.
            match page.next.filter(|next| after.is_none_or(|after| *next > after) && rows.len() < MOST_PEERS) {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    rows.sort_by_key(|row| (row.name.clone(), row.content, row.peer.address, row.peer.peer));
    Ok((listed, rows))
}

/// A peer that has all of it by now may have said before that it has less.
fn settled(mut peer: WatchedPeer) -> WatchedPeer {
    if let (Role::Seeder, Some(progress)) = (peer.role, &mut peer.progress) {
        (progress.have, progress.down) = (progress.pieces, 0);
        progress.from.clear();
    }
    peer
}

/// Where rows are shown, and what was.
struct Shown {
    json: bool,
    live: Live,
    told: HashMap<(ContentId, PeerId), WatchedPeer>,
}

impl Shown {
    fn show(&mut self, rows: &[PeerRow]) -> Result<(), Failure> {
        if !self.json {
            return self.live.show(&table(rows), &foot(rows));
        }
        let key = |row: &PeerRow| (row.content, row.peer.peer);
        for row in rows {
            if self.told.get(&key(row)) != Some(&row.peer) {
                print_while_read(&event(row).line())?;
            }
        }
        self.told = rows.iter().map(|row| (key(row), row.peer.clone())).collect();
        Ok(())
    }
}

fn event(PeerRow { content, name, peer }: &PeerRow) -> Event {
    let WatchedPeer { peer, address, role, progress } = peer;
    let role = match role {
        Role::Seeder => "seeder",
        Role::Partial => "partial",
        Role::Downloader => "downloader",
    };
    let reports = progress.is_some();
    let PeerProgress { have, pieces, size, down, up, from } = progress.clone().unwrap_or_default();
    Event::Watched(json::Watched {
        content: content.to_string(),
        name: name.clone(),
        peer: peer.to_string(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        role: role.into(),
        reports,
        have,
        pieces,
        size,
        down,
        up,
        from: from.iter().map(|source| (source.peer.to_string(), source.rate)).collect(),
    })
}

/// How much of it a peer has. Not all before all is there.
fn percent(peer: &WatchedPeer) -> String {
    match &peer.progress {
        _ if peer.role == Role::Seeder => "100%".to_owned(),
        Some(PeerProgress { have, pieces, .. }) if *pieces > 0 => {
            let percent = u64::from(*have.min(pieces)) * 100 / u64::from(*pieces);
            format!("{}%", if peer.role == Role::Downloader { percent.min(99) } else { percent })
        }
        _ => "?".to_owned(),
    }
}

fn rate(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!("{}/s", amounts::amount(bytes)) }
}

/// What peers are called: by their IP addresses where these tell them apart, and with the beginning of their ids where nobody
/// reaches them.
fn names(rows: &[PeerRow]) -> HashMap<PeerId, String> {
    let addresses: BTreeMap<PeerId, SocketAddr> =
        rows.iter().filter_map(|row| Some((row.peer.peer, row.peer.address?))).collect();
    let mut count = HashMap::new();
    addresses.values().for_each(|address| *count.entry(address.ip()).or_insert(0) += 1);
    let name = |row: &PeerRow| match addresses.get(&row.peer.peer) {
        Some(address) if count[&address.ip()] == 1 => address.ip().to_string(),
        Some(address) => address.to_string(),
        None => short(row.peer.peer),
    };
    rows.iter().map(|row| (row.peer.peer, name(row))).collect()
}

fn short(peer: PeerId) -> String {
    peer.to_string()[..12].to_owned()
}

fn table(rows: &[PeerRow]) -> Table {
    let names = names(rows);
    let called = |peer| names.get(&peer).cloned().unwrap_or_else(|| short(peer));
    let several = rows.iter().any(|row| row.content != rows[0].content);
    let cells = |row: &PeerRow| {
        let progress = row.peer.progress.clone().unwrap_or_default();
        let from = progress.from.iter().map(|source| format!("{} {}", called(source.peer), rate(source.rate)));
        let name = several.then(|| if row.name.is_empty() { "(no name yet)".to_owned() } else { row.name.clone() });
        let (down, up) = (rate(progress.down), rate(progress.up));
        let rest = [percent(&row.peer), down, up, from.collect::<Vec<_>>().join(", ")];
        std::iter::once(called(row.peer.peer)).chain(name).chain(rest).collect()
    };
    let name = several.then(|| Column::new("NAME", Kind::Name, 6));
    let rest = [
        Column::new("%", Kind::Number, 8),
        Column::new("DOWN", Kind::Number, 5),
        Column::new("UP", Kind::Number, 2),
        Column::new("FROM", Kind::List, 3),
    ];
    let columns = std::iter::once(Column::new("PEER", Kind::Name, 9)).chain(name).chain(rest).collect();
    Table { columns, rows: rows.iter().map(cells).collect() }
}

/// A line below the table.
fn foot(rows: &[PeerRow]) -> String {
    let count = |role| rows.iter().filter(|row| row.peer.role == role).count();
    let down: u64 = rows.iter().filter_map(|row| Some(row.peer.progress.as_ref()?.down)).sum();
    let (all, getting) = (count(Role::Seeder), count(Role::Downloader));
    let rate = if down > 0 { format!(", {}/s in all", amounts::amount(down)) } else { String::new() };
    match rows.is_empty() {
        true => "Nobody shares anything that is watched. Ctrl-C ends this.".to_owned(),
        false => {
            let (has, is) = (if all == 1 { "has" } else { "have" }, if getting == 1 { "is" } else { "are" });
            format!("{all} {has} all of it, {getting} {is} getting it{rate}. Ctrl-C ends this.")
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, WatchedSource};

    use super::*;

    fn id(n: u8) -> PeerId {
        PeerId::of_public_key(&[n])
    }

    fn row(content: u8, n: u8, address: &str, role: Role, progress: Option<PeerProgress>) -> PeerRow {
        let peer = WatchedPeer { peer: id(n), address: address.parse().ok(), role, progress };
        PeerRow { content: ContentId(Digest([content; 32])), name: format!("{content}.bin"), peer }
    }

    fn progress(have: u32, down: u64, from: &[(u8, u64)]) -> PeerProgress {
        let from = from.iter().map(|&(n, rate)| WatchedSource { peer: id(n), rate }).collect();
        PeerProgress { have, pieces: 200, size: 1 << 20, down, up: 0, from }
    }

    #[test]
    fn a_row_says_who_how_far_how_fast_and_from_whom() {
        let rows = [
            row(1, 1, "10.0.0.1:9000", Role::Seeder, None),
            row(1, 2, "10.0.0.2:9000", Role::Downloader, Some(progress(116, 3 << 20, &[(1, 2 << 20), (9, 1 << 20)]))),
            row(1, 3, "10.0.0.2:9001", Role::Downloader, None),
            row(1, 4, "", Role::Downloader, Some(progress(200, 0, &[]))),
        ];
        let lines = table(&rows).lines(120);
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["PEER", "%", "DOWN", "UP", "FROM"]);
        assert!(lines[1].starts_with("10.0.0.1 ") && lines[1].contains("100%"), "{}", lines[1]);
        let expected = format!("10.0.0.1 2.0 MiB/s, {} 1.0 MiB/s", short(id(9)));
        assert!(lines[2].starts_with("10.0.0.2:9000 ") && lines[2].ends_with(&expected), "{}", lines[2]);
        assert!(lines[2].contains("58%") && lines[2].contains("3.0 MiB/s"), "{}", lines[2]);
        assert!(lines[3].contains('?'), "an older version: {}", lines[3]);
        assert!(
            lines[4].starts_with(&short(id(4))) && lines[4].contains("99%"),
            "not complete before it is: {}",
            lines[4]
        );
        assert_eq!(foot(&rows), "1 has all of it, 3 are getting it, 3.0 MiB/s in all. Ctrl-C ends this.");
        let two = [rows[0].clone(), row(2, 1, "10.0.0.1:9000", Role::Seeder, None)];
        assert!(table(&two).lines(120)[0].contains("NAME"), "of several contents");
    }

    #[test]
    fn an_outage_is_not_taken_for_an_old_tracker() {
        let mut losses = Losses::default();
        losses.seen(false);
        (0..10).for_each(|_| losses.lost(false));
        assert!(!losses.are_of_age(), "nothing was shared, and nothing was asked");
        losses.seen(false);
        for lost in 1..=3 {
            losses.lost(true);
            assert_eq!(losses.are_of_age(), lost == 3);
        }
        losses.seen(true);
        (0..10).for_each(|_| losses.lost(true));
        assert!(!losses.are_of_age(), "it has answered before");
    }

    #[test]
    fn it_is_complete_when_enough_have_all_of_everything_and_nobody_wants_more() {
        let found = |content: u8, seeders, downloaders| ContentMatch {
            content: ContentId(Digest([content; 32])),
            name: format!("{content}.bin"),
            size: 1,
            seeders,
            others: downloaders + 1,
            downloaders,
        };
        assert!(!are_complete(&[], &[], 1));
        assert!(are_complete(&[found(1, 1, 0), found(2, 3, 0)], &[], 1));
        assert!(!are_complete(&[found(1, 1, 1)], &[], 1));
        assert!(!are_complete(&[found(1, 2, 0), found(2, 1, 0)], &[], 2));
        let mut many: Vec<_> = (0..=MOST_CONTENTS as u8).map(|n| found(n, 1, 0)).collect();
        assert!(are_complete(&many, &[], 1));
        many[MOST_CONTENTS].downloaders = 1;
        assert!(!are_complete(&many, &[], 1), "what has no row counts too");
        let only: Vec<Glob> = ["1.bin", "2.bin"].iter().map(|glob| glob.parse().unwrap()).collect();
        assert!(are_complete(&[found(1, 1, 0), found(2, 1, 0)], &only, 1));
        assert!(!are_complete(&[found(1, 1, 0)], &only, 1), "2.bin is not shared yet");
    }
}
