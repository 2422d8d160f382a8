//! `peer-cli get`: fetch what a ticket, an id or a name stands for, and end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lan::Lan;
use peer::{Glob, NamePolicy, TrackerAddress, content_of_ticket, note_ticket, received_manifest};
use protocol::{Code, ContentId, ContentMatch, Query, QueryError, Secret, Ticket, TicketError, printable};

use crate::error::{ExitCode, Failure};
use crate::flags::durations::duration;
use crate::flags::end::End;
use crate::flags::fallback::FallbackArguments;
use crate::flags::guess::quoted;
use crate::flags::named;
use crate::flags::names::NameArguments;
use crate::flags::output;
use crate::flags::peer::PeerArguments;
use crate::session::ahead::Ahead;
use crate::session::connect::{self, NamedBy};
use crate::session::find::{Found, by_ticket, find_ahead};
use crate::session::lan::{self as network, ByDefault, Holders, Raced};
use crate::session::origin::SilentTracker;
use crate::session::patience::Patience;
use crate::session::query::complain;
use crate::session::temp_folder::{self, TempFolder};
use crate::session::{Session, SessionOptions, origin, pipe, rendezvous, site, standstill, trust};
use crate::ui::prompt;
use crate::ui::screen::{self, OutputStream};

const EXAMPLES: &str = "\
Examples:
  peer-cli get p2p…                     what `peer-cli share` printed, into here
  peer-cli get p2p… -o /data            into another folder
  peer-cli get p2p… -o - | tar x        to standard output
  peer-cli get 7-violin-tadpole         by a code, on this network
  peer-cli get -i 192.168.1.5 a.bin     by name, from the tracker there";

const MORE_EXAMPLES: &str = "\
Examples:
  peer-cli get p2p…                     what `peer-cli share` printed; it ends
                                        up in this folder
  peer-cli get p2p… -o /data            into another folder
  peer-cli get p2p… --seed-for 1h       and shared on for an hour
  peer-cli get p2p… --force             only what has changed of a file or a
                                        folder that is there
  peer-cli get p2p… --only '*.json'     of a folder, only those files
  peer-cli get p2p… -o - | tar x        to standard output, in order
  peer-cli get a.bin                    by name, if somebody on this network
                                        shares it openly
  peer-cli get -i 192.168.1.5 a.bin     by name, from the tracker that runs there";

const NOTES: &str = "\
`get` ends when the download is complete, unless --seed-for or --seed-ratio is given. An interrupted download resumes \
when the same line is run again in the same folder; until then its data is in .NAME.part there.";

/// The notes that matter here.
fn notes() -> String {
    if cfg!(windows) { format!("{NOTES}\n\n{}.", pipe::BYTES) } else { NOTES.to_owned() }
}

/// Most places where the tracker of a ticket is looked for on this network.
const MOVED: usize = 8;

/// What is wanted, and what becomes of it.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, before_long_help = MORE_EXAMPLES, after_long_help = notes())]
pub struct GetArguments {
    /// A ticket, a code, an id or a name
    ///
    /// A ticket; or a code that `peer-cli share` printed, a content's id, the first six or more characters of one, or a name, for which
    /// the tracker of -i is asked, or else this network
    #[arg(value_name = "TICKET|CODE|ID|NAME", required = true, num_args = 1..)]
    what: Vec<String>,
    /// Take it as a name, whatever it looks like
    ///
    /// Take what is given as a name, even if it could be read as a code
    #[arg(short = 'f', long, alias = "name")]
    as_name: bool,
    /// Folder to download into; - is standard output
    ///
    /// Folder to download into; `-` writes a file to standard output, and words to standard error [default: this folder; or output/,
    /// if these programs have downloaded into that before]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Of a folder, fetch only files that fit
    ///
    /// Of a folder, fetch only files that this pattern fits: *.json by name, wherever it is, or data/* by path; several with
    /// several --only. The rest can come later, into the same folder
    #[arg(long, value_name = "GLOB", value_parser = str::parse::<Glob>)]
    only: Vec<Glob>,
    /// Replace files that differ
    ///
    /// Replace files that differ from those that come, once the download is complete; pieces that are equal at the same place
    /// are taken from them. Other files of a folder stay as they are
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    names: NameArguments,
    /// End when the download is complete, as it does anyway
    ///
    /// End when the download is complete; this is how it is unless one of the next two is given
    #[arg(long, conflicts_with_all = ["seed_for", "seed_ratio"])]
    exit_when_done: bool,
    /// Share it on for this long, as 1h or forever
    ///
    /// Share it on for this long when it is complete, as 30m or 1h; `forever` until told to stop
    #[arg(long, value_name = "DURATION", value_parser = seed_time)]
    seed_for: Option<Duration>,
    /// Share it on until so many times its size was given, as 1.5
    ///
    /// Share it on until as many times its size was given to others, as 2 or 1.5
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    seed_ratio: Option<f64>,
    /// The tracker's machine; a ticket says that
    ///
    /// Name or address of the tracker's machine, several with commas between them; a ticket says that itself
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    tracker_ip: Option<Vec<String>>,
    /// Port of the tracker
    #[arg(short = 'd', long, value_name = "PORT", default_value_t = 9999, value_parser = clap::value_parser!(u16).range(1..))]
    tracker_port: u16,
    /// First port to listen on, UDP and TCP; 0 takes a free one
    #[arg(short, long, default_value_t = 0)]
    port: u16,
    #[command(flatten)]
    fallback: FallbackArguments,
    #[command(flatten)]
    pub peer: PeerArguments,
}

fn seed_time(text: &str) -> Result<Duration, String> {
    if text == "forever" {
        return Ok(Duration::MAX);
    }
    duration(text)
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio > 0.0 && ratio.is_finite() => Ok(ratio),
        _ => Err("a ratio is a number above 0".to_owned()),
    }
}

impl GetArguments {
    /// Whether the content goes to standard output.
    pub fn to_stdout(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.as_os_str() == "-")
    }

    /// Whether a ticket says what is wanted.
    pub fn is_of_ticket(&self) -> bool {
        matches!(Ticket::find(&self.what.join(" ")), Some(Ok(_)))
    }

    /// Where words go.
    pub fn output_stream(&self) -> OutputStream {
        if self.to_stdout() { OutputStream::Errors } else { OutputStream::Output }
    }

    fn end(&self) -> End {
        match (self.seed_for, self.seed_ratio) {
            (None, None) => End::Done,
            (time, ratio) => End::Shared { time, ratio },
        }
    }
}

/// Downloads until it is done, or was shared on as asked.
pub async fn run(mut arguments: GetArguments) -> Result<(), Failure> {
    // What is wrong with the ticket should be known before anything is bound.
    let mut asked = asked(&arguments)?;
    let origin = origin::fallback(&arguments.fallback)?;
    if cfg!(windows) && arguments.to_stdout() && !arguments.peer.quiet && !arguments.peer.json {
        screen::complain(pipe::BYTES);
    }
    temp_folder::sweep_left();
    site::settle(&mut arguments.peer).await;
    trust_tracker(&mut arguments, &mut asked).await?;
    let lan = network::start(&arguments.peer, ByDefault::On);
    let what = match asked {
        Asked::Placed(what) => what,
        Asked::Unplaced(query) => nearby(lan.as_ref(), &arguments, query).await?,
    };
    let node = connect::bind(&arguments.peer, arguments.port, 1)?.private(what.is_private()).lan(lan.clone());
    // Pieces come in any order, so what is to come in order waits in a file that goes away.
    let output_stream = arguments.output_stream();
    let temporary = if arguments.to_stdout() { Some(temporary_folder()?) } else { None };
    let (default, said) = if arguments.output.is_some() { Default::default() } else { output::default_folder() };
    let output = temporary.as_ref().map_or(arguments.output.as_deref().unwrap_or(&default), TempFolder::path);
    // A file for standard output never appears under its name, so any name is accepted.
    let names = if arguments.to_stdout() { NamePolicy::Rename } else { arguments.names.policy() };
    let node = origin::with_named(node, &arguments.fallback);
    let node = node.output(output).overwrite(arguments.force).names(names).start();
    let folder = output.to_owned();
    let named_origins = arguments.fallback.origin_fallback.then(|| arguments.peer.hashes().to_owned());
    let mut options = SessionOptions {
        folder,
        output_stream,
        origin,
        named_origins,
        ..SessionOptions::new(&arguments.peer, arguments.end())
    };
    let is_unplaced = matches!(what, What::Id(_)) || (matches!(what, What::Code(_)) && arguments.tracker_ip.is_none());
    if is_unplaced && lan.is_some() {
        options.first = "Looking for it on this network …";
    }
    let face = prompt::start(&arguments.peer, output_stream, prompt::Source::Terminal, options.end);
    let result = Session::run(node, options, face, async |session: &Session| {
        said.into_iter().for_each(|sentence| session.note(sentence));
        begin(session, &arguments, what, lan.as_ref()).await
    });
    let result = result.await;
    if temporary.is_some() {
        drop(temporary);
        temp_folder::forget_parent();
    }
    result
}

/// Settles who the tracker is, while the terminal can be asked: later it is the prompt's.
async fn trust_tracker(arguments: &mut GetArguments, asked: &mut Asked) -> Result<(), Failure> {
    if let (Some(given), Asked::Placed(What::Text(_, silent))) = (&arguments.tracker_ip, asked) {
        let has_origin = arguments.fallback.origin.is_some();
        let patience = Patience::new(arguments.peer.wait.filter(|_| !has_origin));
        let named = named::trackers(given, arguments.tracker_port)?;
        match trust::trackers(named, &arguments.peer, NamedBy::Flags, patience, &complain).await {
            Ok(trusted) => arguments.peer.trusted = trusted,
            Err(failure) if has_origin && failure.code == ExitCode::TrackerUnreachable => *silent = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn temporary_folder() -> Result<TempFolder, Failure> {
    TempFolder::for_spool().map_err(|error| {
        let variable = temp_folder::parent_variable();
        let sentence = format!("there is no temporary folder: {error}. {variable} says where one is made");
        Failure::new(ExitCode::CannotWrite, sentence)
    })
}

/// What is asked for on the command line.
enum Asked {
    Placed(What),
    /// An id or a name, and no tracker to ask for it.
    Unplaced(Query),
}

/// What is to be had, and where that is known.
enum What {
    Ticket(Ticket),
    /// A code, which becomes a ticket.
    Code(Code),
    /// An id or a name, which the tracker that is named must be asked for; or why that cannot be.
    Text(String, Option<Failure>),
    /// What a tracker on this network knows of it.
    Nearby(TrackerAddress, ContentMatch, Query),
    /// An id, which nobody needs to be asked for.
    Id(ContentId),
}

impl What {
    /// Which content it is, as far as that is known without asking anybody.
    fn content(&self) -> Option<ContentId> {
        match self {
            What::Ticket(ticket) => ticket.content(),
            What::Text(what, _) => what.parse().ok().and_then(|query| content_of(&query)),
            What::Nearby(_, found, _) => Some(found.content),
            What::Id(content) => Some(*content),
            What::Code(_) => None,
        }
    }

    /// Whether it is a private share.
    fn is_private(&self) -> bool {
        match self {
            What::Ticket(ticket) => ticket.secret().is_some(),
            What::Code(_) => true,
            What::Text(..) | What::Nearby(..) | What::Id(_) => false,
        }
    }
}

/// A ticket, which may have come as several words and with some around it, or else one word.
fn asked(arguments: &GetArguments) -> Result<Asked, Failure> {
    let usage = |sentence: String| Err(Failure::new(ExitCode::Usage, sentence));
    // A tracker may stand in the settings; the ticket knows better.
    match Ticket::find(&arguments.what.join(" ")) {
        Some(Ok(ticket)) => {
            return match behind_ticket(&arguments.what) {
                Some(other) => {
                    let advice = match Ticket::find(&other) {
                        Some(Ok(_)) => "It is another ticket: get one after the other",
                        _ => "One ticket is taken at a time, and -o says into which folder",
                    };
                    usage(format!("{other:?} is no part of the ticket before it. {advice}"))
                }
                None => Ok(Asked::Placed(What::Ticket(ticket))),
            };
        }
        Some(Err(error)) => return usage(error.to_string()),
        None => {}
    }
    match Code::find(&arguments.what.join(" ")).filter(|_| !arguments.as_name) {
        Some(Ok(code)) => return Ok(Asked::Placed(What::Code(code))),
        // Nothing is sent: what is nearly the secret would be.
        Some(Err(error)) => return usage(format!("{error} For a file of that name, give -f before it")),
        None => {}
    }
    let line = arguments.what.join(" ");
    let is_code = |word: &str| word.len() < line.trim().len() && matches!(Code::find(word), Some(Ok(_)));
    if !arguments.as_name && line.split_whitespace().any(is_code) {
        return usage("That line has a code: paste only what follows its colon".to_owned());
    }
    let [what] = &arguments.what[..] else {
        return usage(match Ticket::damage(&line) {
            Some(error) => format!("{error}. If it is a name with spaces, put it in quotes"),
            None => format!("{line:?} is no ticket. Put a name with spaces in quotes"),
        });
    };
    match what.parse::<Query>() {
        _ if what.trim().is_empty() => usage(QueryError::Empty.to_string()),
        Err(error) => usage(error.to_string()),
        Ok(_) if arguments.tracker_ip.is_none() && Path::new(what).exists() => {
            usage(format!("{what:?} is no ticket, and is here already. To send it: peer-cli share {}", quoted(what)))
        }
        Ok(_) if Ticket::is_shortened(what) && !arguments.as_name => {
            usage(format!("{}. For a file of that name, give -f before it", TicketError::Shortened))
        }
        Ok(query) if arguments.tracker_ip.is_none() => Ok(Asked::Unplaced(query)),
        Ok(_) => Ok(Asked::Placed(What::Text(what.clone(), None))),
    }
}

/// What stands behind a ticket and means something that would not be done: a word that is more than a full stop, or, in a text that was
/// pasted as one word and may have the rest of a mail, another ticket.
fn behind_ticket(words: &[String]) -> Option<String> {
    let ticket_in = |words: &[&str]| Ticket::find(&words.join(" ")).and_then(Result::ok);
    let end_of_ticket = |words: &[&str]| (1..=words.len()).find(|&taken| ticket_in(&words[..taken]).is_some());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (own, other) = words.split_at(end_of_ticket(&words)?);
    if let Some(word) = other.iter().find(|word| word.chars().any(char::is_alphanumeric)) {
        return Some((*word).to_owned());
    }
    let parts: Vec<&str> = own.iter().flat_map(|word| word.split_whitespace()).collect();
    let (own, rest) = parts.split_at(end_of_ticket(&parts)?);
    let second = ticket_in(rest).filter(|second| Some(second) != ticket_in(own).as_ref());
    second.map(|_| rest.join(" "))
}

/// Looks on this network for what has no ticket and no tracker.
async fn nearby(lan: Option<&Lan>, arguments: &GetArguments, query: Query) -> Result<What, Failure> {
    let wanted = query.to_string();
    let advice = if Code::looks_like_one(&wanted) {
        "If it is meant as a code, its words are not those that codes are made of: ask for it once more"
    } else {
        "Paste the line that `peer-cli share` printed, or say with -i which tracker to ask for that name"
    };
    let may_be_here = lan.is_some() || arguments.fallback.origin.is_some() || arguments.fallback.origin_fallback;
    if let Some(id) = content_of(&query).filter(|_| may_be_here) {
        return Ok(What::Id(id));
    }
    let Some(lan) = lan else {
        let sentence = format!("{wanted:?} is no ticket. {advice}");
        return Err(Failure::new(ExitCode::Usage, sentence));
    };
    let ask = async |node: &peer::Node| Ok(node.find(&wanted).await?);
    let sharers = network::sharers(lan, &arguments.peer, ask).await?;
    let sharers: Vec<_> = sharers.into_iter().filter(|sharer| !sharer.contents.is_empty()).collect();
    if sharers.is_empty() {
        let sentence = format!("{wanted:?} is no ticket, and nobody on this network shares it openly. {advice}");
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    let sharer = trust::sharer(sharers, &wanted, &arguments.peer).await?;
    let found = sharer.contents.into_iter().next().expect("who shares nothing was left out");
    Ok(What::Nearby(sharer.tracker, found, query))
}

/// What a ticket is of. A tracker that is silent or elsewhere is no obstacle where a holder is on this network.
async fn of_ticket(
    session: &Session,
    arguments: &GetArguments,
    ticket: &Ticket,
    lan: Option<&Lan>,
    (patience, tell): (Patience, &dyn Fn(String)),
) -> Result<Found, Failure> {
    let gone = |failure| gone(failure, ticket, arguments.peer.hashes());
    let ahead = Ahead::of_ticket(ticket);
    let Some(mut holders) = lan.and_then(|lan| Holders::of_ticket(lan, ticket)) else {
        let join = connect::join_by_ticket(&session.node, ticket, patience, tell);
        let joined = ahead.during(&session.node, join).await.map_err(gone)?;
        session.joined(joined.tracker);
        return by_ticket(&session.node, ticket, joined.told, &ahead, patience, tell).await;
    };
    let mut also_at = Vec::new();
    let joined = loop {
        let join = connect::join_by_ticket_at(&session.node, ticket, &also_at, patience, tell);
        let join = ahead.during(&session.node, join);
        // Only the sharer may tell the content of such a ticket.
        let is_of_use = |holder: &lan::Holder| match (ticket.content(), holder.tracker) {
            (Some(_), _) => true,
            (None, Some(tracker)) => !also_at.contains(&tracker) && also_at.len() < MOVED,
            (None, None) => false,
        };
        match (holders.race(join, is_of_use).await, ticket.content()) {
            (Raced::Tracker(joined), _) => break joined,
            (Raced::Neither(failure), _) => return Err(gone(failure)),
            (Raced::Holder(holder), Some(content)) => {
                session.without_tracker();
                let address = holder.address;
                session.note(&format!("The tracker does not answer: going on with {address}, on this network."));
                network::join_later(session.node.clone(), TrackerAddress::all_of(ticket));
                return Ok(found_without_tracker(content, ticket.secret()));
            }
            (Raced::Holder(holder), None) => also_at.extend(holder.tracker),
        }
    };
    session.joined(joined.tracker);
    match (by_ticket(&session.node, ticket, joined.told, &ahead, patience, tell).await, ticket.content()) {
        (Err(failure), Some(content)) if failure.code == ExitCode::NotFound => match holders.soon(|_| true).await {
            Some(_) => Ok(found_without_tracker(content, ticket.secret())),
            None => Err(failure),
        },
        (found, _) => found,
    }
}

/// The content that a whole id names.
fn content_of(query: &Query) -> Option<ContentId> {
    if let Query::Id(content) = query { Some(*content) } else { None }
}

/// A content of which nobody has said more than its id.
fn found_without_tracker(content: ContentId, secret: Option<Secret>) -> Found {
    Found { content, name: String::new(), size: 0, asked: None, seeders: None, secret }
}

async fn begin(session: &Session, arguments: &GetArguments, what: What, lan: Option<&Lan>) -> Result<(), Failure> {
    let (patience, tell) = (Patience::new(arguments.peer.wait), |sentence: String| session.waits(&sentence));
    // A tracker that knows nobody who has it says so at once, instead of us waiting for nothing; and where there is an origin, nobody
    // need be waited for.
    let finding = session.patience_of(what.content(), patience);
    let found = match what {
        What::Code(code) => {
            let (given, port) = (arguments.tracker_ip.as_deref(), arguments.tracker_port);
            let named = given.map(|given| named::trackers(given, port)).transpose()?;
            let places = rendezvous::places(&code, named, lan, &arguments.peer, patience, &tell).await?;
            session.connects();
            let (ticket, place) = rendezvous::redeem(&session.node, &places, &code, patience, &tell).await?;
            session.redeemed(&ticket);
            session.of_ticket(&ticket);
            let ahead = Ahead::of_ticket(&ticket);
            let join = connect::join_by_code(&session.node, &ticket, &place, patience, &tell);
            let joined = ahead.during(&session.node, join).await?;
            session.joined(joined.tracker);
            let found = by_ticket(&session.node, &ticket, joined.told, &ahead, patience, &tell).await?;
            note(&ticket, &found, arguments.peer.hashes());
            found
        }
        What::Ticket(ticket) => {
            session.of_ticket(&ticket);
            let found = of_ticket(session, arguments, &ticket, lan, (finding, &tell)).await;
            let is_silent = found.as_ref().is_err_and(|failure| failure.code == ExitCode::TrackerUnreachable);
            let found = session.or_from_origin(found, ticket.content(), ticket.secret(), SilentTracker::AskedAgain)?;
            if is_silent {
                network::join_later(session.node.clone(), TrackerAddress::all_of(&ticket));
            }
            note(&ticket, &found, arguments.peer.hashes());
            found
        }
        What::Nearby(tracker, found, query) => {
            let (id, trackers) = (tracker.id, vec![tracker]);
            let joined = connect::join(&session.node, trackers.clone(), NamedBy::Lan, finding, &tell).await;
            let ContentMatch { content, name, size, seeders, others, .. } = found;
            let found = joined.map(|_| {
                session.joined(id);
                let asked = matches!(query, Query::Name(_)).then(|| name.clone());
                Found { content, name, size, asked, seeders: (others == 0).then_some(seeders), secret: None }
            });
            let is_silent = found.is_err();
            let found = session.or_from_origin(found, Some(content), None, SilentTracker::AskedAgain)?;
            if is_silent {
                network::join_later(session.node.clone(), trackers);
            }
            found
        }
        What::Id(content) => {
            let holder = match lan {
                Some(lan) => Holders::of(lan, &content.lan_key()).soon(|_| true).await,
                None => None,
            };
            session.without_tracker();
            match holder {
                Some(holder) => {
                    session.note(&format!("{} on this network has it.", holder.address));
                    found_without_tracker(content, None)
                }
                None => {
                    let sentence =
                        format!("nobody on this network shares {content}. Say with -i which tracker to ask for it");
                    let failure = Failure::new(ExitCode::NotFound, sentence);
                    session.or_from_origin(Err(failure), Some(content), None, SilentTracker::LeftAlone)?
                }
            }
        }
        What::Text(what, silent) => {
            let given = arguments.tracker_ip.as_deref().expect("a name without it was refused");
            let (mut later, mut tracker) = (None, SilentTracker::LeftAlone);
            let found = async {
                if let Some(failure) = silent {
                    return Err(failure);
                }
                let port = arguments.tracker_port;
                later = Some(connect::unresolved(given, port, &arguments.peer)?);
                tracker = SilentTracker::AskedAgain;
                let trackers = connect::trackers(given, port, &arguments.peer, finding, &tell).await?;
                later = Some(trackers.clone());
                let ahead = Ahead::of_text(&what);
                let join = connect::join(&session.node, trackers, NamedBy::Flags, finding, &tell);
                let joined = ahead.during(&session.node, join).await?;
                (later, tracker) = (None, SilentTracker::Joined);
                session.joined(joined.tracker);
                find_ahead(&session.node, &what, &ahead, finding, &tell).await
            };
            let found = found.await;
            let wanted = what.parse::<Query>();
            let content = wanted.ok().and_then(|query| content_of(&query));
            let found = session.or_from_origin(found, content, None, tracker)?;
            if let Some(trackers) = later {
                network::join_later(session.node.clone(), trackers);
            }
            found
        }
    };
    if !arguments.to_stdout() {
        return session.download(found, &arguments.only).await;
    }
    let content = found.content;
    // It would leave once the manifest is here, and come again.
    session.node.expect(content, found.secret).await?;
    let wait = arguments.peer.wait.map(|_| patience.bound(Duration::MAX));
    let late = (wait, ExitCode::NobodyHasAPiece);
    let wanted = (&found, session.origin());
    let manifest = standstill::manifest(&session.node, wanted, late, arguments.peer.transport, &tell).await?;
    pipe::must_be_one_file(&manifest, &found, &arguments.only)?;
    session.download(found, &arguments.only).await?;
    let Some(reader) = session.read(content) else { return Ok(()) };
    if !pipe::write(reader, &tell).await? {
        session.unread();
    }
    Ok(())
}

/// Notes what a ticket is for that does not say it itself: once its sharer is gone, nobody else does.
fn note(ticket: &Ticket, found: &Found, hashes: &Path) {
    if let (Some(secret), None) = (ticket.secret(), ticket.content()) {
        note_ticket(hashes, secret, found.content);
    }
}

/// The failure for a ticket whose tracker does not answer: the sharer is gone or unreachable. It names the content if
/// part of it was downloaded before.
fn gone(failure: Failure, ticket: &Ticket, hashes: &Path) -> Failure {
    if failure.code != ExitCode::TrackerUnreachable {
        return failure;
    }
    let content = ticket.content().or_else(|| content_of_ticket(hashes, ticket.secret()?));
    let manifest = content.and_then(|content| received_manifest(hashes, content));
    let sharer = match manifest.map(|manifest| printable(&manifest.header().name)) {
        Some(name) => format!("the one who shares {name}"),
        None => "the one who gave you this line".to_owned(),
    };
    let message = format!("{sharer} is gone, or out of reach: {}", failure.message);
    Failure { message, ..failure }
}
