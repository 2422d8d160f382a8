//! From the command line to the first bytes: join the tracker, share the input folder, find what is wanted.
//!
//! It runs beside the prompt and reports each step, so that the user is heard while a large file is still hashed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use peer::{Held, Node, PeerError, ShareOptions};
use protocol::{ContentId, ContentMatch, Manifest, PeerId, Query, Ticket, default_piece_size};
use tokio::sync::mpsc;

use crate::arguments::SwarmArguments;
use crate::connect::{self, Said, Speech};
use crate::exit_code::{ExitCode, Failure};
use crate::missing::must_exist;
use crate::names::{self, printable};
use crate::only::Only;
use crate::patience::Patience;
use crate::sizes;
use crate::standstill::Wanted;
use crate::visit::{ANSWER, silent};

/// Time between two questions for a file that nobody shares yet.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// At the end of `--wait`, an answer may still take so long.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// A step that is done.
pub enum Step {
    /// The tracker with this id has said welcome.
    Joined(PeerId),
    /// Something that people should know, and programs see by what follows.
    Note(&'static str),
    /// Something is waited for, as the sentence says.
    Waiting(String),
    /// A file is shared, or could not be.
    Shared(PathBuf, Result<ContentId, PeerError>),
    /// It is known what to download.
    Wanted { found: Found, only: Vec<Only> },
    /// What is shared can be had with this ticket.
    Ticket(Ticket),
    /// Something in the input folder is no file.
    Skipped(PathBuf),
    /// Nobody reads any more what is written to standard output.
    Unread,
    /// It cannot go on.
    Failed(Failure),
    /// Nothing is left to start.
    Started,
}

/// A content that answers to what was asked for.
pub struct Found {
    pub content: ContentId,
    /// What the tracker says it is called, or nothing, and how large it is; others may have said so who lie.
    pub name: String,
    pub size: u64,
    /// What it must be called: it was asked for by this name.
    pub asked: Option<String>,
    /// Peers that have all of it, if nobody else takes part in it.
    pub seeders: Option<u32>,
}

impl Found {
    /// What to call it in a sentence.
    pub fn called(&self) -> String {
        if self.name.is_empty() {
            format!("content {}", &self.content.to_string()[..16])
        } else {
            printable(&self.name)
        }
    }

    /// What is to be said of it while it is waited for.
    pub fn wanted(&self) -> Wanted {
        Wanted { name: self.called(), seeders: self.seeders }
    }

    /// A name led to it, and what came has another one.
    pub fn must_be_called_so(&self, manifest: &Manifest) -> Result<(), Failure> {
        let found = &manifest.header().name;
        match &self.asked {
            Some(asked) if asked != found => {
                Err(PeerError::OtherName { content: self.content, asked: asked.clone(), found: found.clone() }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Reports sentences about what is waited for. Where the reports before are not read, nobody waits for this one either.
pub fn teller(steps: &mpsc::Sender<Step>) -> impl Fn(String) + Sync + '_ {
    |sentence| drop(steps.try_send(Step::Waiting(sentence)))
}

/// Does all steps, reporting each.
pub async fn start(node: Node, arguments: SwarmArguments, steps: mpsc::Sender<Step>) {
    end(begin(&node, &arguments, &steps).await, &steps).await;
}

/// Reports how it went.
pub async fn end(result: Result<(), Failure>, steps: &mpsc::Sender<Step>) {
    let last = match result {
        Ok(()) => Step::Started,
        Err(failure) => Step::Failed(failure),
    };
    // A closed channel: the user has left meanwhile.
    let _ = steps.send(last).await;
}

async fn begin(node: &Node, arguments: &SwarmArguments, steps: &mpsc::Sender<Step>) -> Result<(), Failure> {
    let report = async |step| drop(steps.send(step).await);
    // What is wrong here should be known before anything is sent.
    let (files, skipped) = if arguments.seeder { files_to_share(arguments)? } else { (Vec::new(), Vec::new()) };
    some_file_has(arguments, &files)?;
    if !arguments.seeder {
        arguments.wanted().iter().try_for_each(|wanted| wanted.parse::<Query>().map(drop)).map_err(PeerError::from)?;
    }
    let (patience, tell) = (Patience::new(arguments.peer.wait), teller(steps));
    let (host, port) = (arguments.tracker_host(), arguments.tracker_port);
    let tracker = connect::tracker(host, port, &arguments.peer, patience, &tell).await?;
    let id = tracker.id;
    connect::join(node, tracker, Said::Flags, patience, &tell).await?;
    report(Step::Joined(id)).await;
    for path in skipped {
        report(Step::Skipped(path)).await;
    }
    if !arguments.seeder {
        for wanted in arguments.wanted() {
            let found = find(node, wanted, patience, steps).await?;
            report(Step::Wanted { found, only: Vec::new() }).await;
        }
    }
    for path in files {
        let options =
            ShareOptions { algorithm: arguments.cut.hash, piece_size: arguments.cut.piece_size, held: held(arguments) };
        let result = node.share(&path, options).await;
        report(Step::Shared(path, result)).await;
    }
    Ok(())
}

/// The one content that the user means. With an id or a ticket, which one it is is known, and the tracker is asked only whether
/// anyone takes part in it.
pub async fn find(node: &Node, wanted: &str, patience: Patience, steps: &mpsc::Sender<Step>) -> Result<Found, Failure> {
    let query: Query = wanted.parse().map_err(PeerError::from)?;
    let tell = teller(steps);
    let most = patience.at_most(ANSWER);
    let mut speech = Speech::new(&tell, format!("The tracker has not answered yet; waiting for it, {most}."));
    let mut said = false;
    loop {
        // The last answer, too, takes its time.
        let asked = tokio::time::timeout(patience.bound(ANSWER).max(LAST_ANSWER), node.find(wanted));
        speech.restart();
        let mut found = match speech.during(asked).await {
            Ok(Ok(found)) => found,
            // It may come back while we wait anyway.
            Ok(Err(PeerError::NoTracker)) | Err(_) if patience.waits() => Vec::new(),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(silent()),
        };
        match found.len() {
            1 => {
                let ContentMatch { content, name, size, seeders, others, .. } = found.remove(0);
                let asked = matches!(query, Query::Name(_)).then(|| wanted.to_owned());
                let seeders = (others == 0).then_some(seeders);
                return Ok(Found { content, name, size, asked, seeders });
            }
            0 if patience.waits() => {
                if !said {
                    let most = patience.at_most(LAST_ANSWER);
                    let sentence = format!("Nobody shares {wanted} yet; waiting for it, {most}.");
                    let _ = steps.send(Step::Waiting(sentence)).await;
                    said = true;
                }
                tokio::time::sleep(patience.pause(ASK_AGAIN)).await;
            }
            0 => return Err(nobody(node, wanted, &query).await),
            _ => return Err(choose(wanted, &found)),
        }
    }
}

/// Nobody shares it; what comes near is named.
async fn nobody(node: &Node, wanted: &str, query: &Query) -> Failure {
    let (near, what) = match query {
        Query::Name(_) => (names::did_you_mean(node, wanted).await, "name"),
        Query::Id(_) | Query::Prefix(_) => (String::new(), "id"),
    };
    let near = match query {
        Query::Id(_) | Query::Prefix(_) if wanted.parse::<Ticket>().is_err() => {
            " A name that reads as an id is never looked up: use the ticket or the whole id.".to_owned()
        }
        _ => near,
    };
    let advice = format!("Start its seeder first, check the {what}, or wait for it with --wait 5m");
    Failure::new(ExitCode::NotFound, format!("nobody shares {wanted:?}.{near} {advice}"))
}

fn choose(wanted: &str, found: &[ContentMatch]) -> Failure {
    let line = |found: &ContentMatch| {
        let ContentMatch { content, name, size, seeders, others, .. } = found;
        format!("  {content}  {}  {seeders} seeders, {others} others  {name}", sizes::show(*size))
    };
    let prefix: String = found[0].content.to_string().chars().take(12).collect();
    let last = format!("Choose one by its id or the beginning of it, as {prefix}");
    let message = format!("{} contents answer to {wanted:?}:", found.len());
    let lines = found.iter().map(line).chain([last]).collect();
    Failure { lines, ..Failure::new(ExitCode::Usage, message) }
}

fn held(arguments: &SwarmArguments) -> Held {
    match (&arguments.missing[..], arguments.r1, arguments.r2) {
        ([], None, None) => Held::All,
        ([], from, to) => Held::Fraction(from.unwrap_or(0.0), to.unwrap_or(1.0)),
        (missing, ..) => Held::Without(missing.to_vec()),
    }
}

/// A number above those of all files is a slip: nothing would be missing for it.
fn some_file_has(arguments: &SwarmArguments, files: &[PathBuf]) -> Result<(), Failure> {
    let Some(&last) = arguments.missing.iter().max() else { return Ok(()) };
    let pieces = |path: &PathBuf| {
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        size.div_ceil(arguments.cut.piece_size.unwrap_or_else(|| default_piece_size(&[size])).into())
    };
    match files.iter().map(pieces).max().unwrap_or(0) {
        most if u64::from(last) < most => Ok(()),
        0 => Err(Failure::new(ExitCode::Usage, "-m names pieces, and the files are empty: they have none")),
        most => {
            let sentence =
                format!("no file has a piece {last}: they have {most} at most, which -m counts from 0 to {}", most - 1);
            Err(Failure::new(ExitCode::Usage, sentence))
        }
    }
}

type Paths = Vec<PathBuf>;

/// The files of the input folder in the order of their names, or those that are named; and what is no file.
fn files_to_share(arguments: &SwarmArguments) -> Result<(Paths, Paths), Failure> {
    let folder = &arguments.input;
    if !arguments.file.is_empty() {
        let named: Paths = arguments.file.iter().map(|name| folder.join(name)).collect();
        named.iter().try_for_each(|path| must_exist(path))?;
        return match named.iter().find(|path| !path.is_file()) {
            Some(path) => {
                let sentence = format!("{} is no file: `peer-cli share` shares folders", path.display());
                Err(Failure::new(ExitCode::NotFound, sentence))
            }
            None => Ok((named, Vec::new())),
        };
    }
    let (files, others) = entries(folder).map_err(|error| {
        let sentence = format!(
            "the input folder {} cannot be read: {error}. Make it and put files in, or name another with --input",
            folder.display()
        );
        Failure::new(ExitCode::NotFound, sentence)
    })?;
    if files.is_empty() {
        let sentence = format!("there is no file in {}: nothing to share", folder.display());
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    Ok((files, others))
}

fn entries(folder: &Path) -> std::io::Result<(Paths, Paths)> {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Follows links: whoever puts one there means the file.
        if path.is_file() { files.push(path) } else { others.push(path) }
    }
    files.sort();
    others.sort();
    Ok((files, others))
}
