//! `peer-cli get`: fetch what a ticket, an id or a name stands for, and end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use peer::{Glob, NamePolicy, received_manifest};
use protocol::{Code, Query, Ticket, printable};

use crate::error::{ExitCode, Failure};
use crate::flags::end::End;
use crate::flags::guess::quoted;
use crate::flags::names::NameArguments;
use crate::flags::output;
use crate::flags::peer::PeerArguments;
use crate::session::connect::{self, NamedBy};
use crate::session::find::{by_ticket, find};
use crate::session::patience::Patience;
use crate::session::query::complain;
use crate::session::temp_folder::{self, TempFolder};
use crate::session::{Session, SessionOptions, pipe, rendezvous, standstill, trust};
use crate::ui::prompt;
use crate::ui::screen::{self, OutputStream};

const EXAMPLES: &str = "\
Examples:
  peer-cli get p2p…                     what `peer-cli share` printed, into here
  peer-cli get p2p… -o /data            into another folder
  peer-cli get p2p… -o - | tar x        to standard output
  peer-cli get -i 192.168.1.5 7-violin-tadpole   by the code that it printed
  peer-cli get -i 192.168.1.5 a.bin     by name, from the tracker there";

const MORE_EXAMPLES: &str = "\
Examples:
  peer-cli get p2p…                     what `peer-cli share` printed; it ends up
                                        in this folder
  peer-cli get p2p… -o /data            into another folder
  peer-cli get p2p… --seed-for 1h       and shared on for an hour
  peer-cli get p2p… --force             only what has changed of a file or a
                                        folder that is there
  peer-cli get p2p… --only '*.json'     of a folder, only those files
  peer-cli get p2p… -o - | tar x        to standard output, in order
  peer-cli get -i 192.168.1.5 a.bin     by name, from the tracker that runs there";

const NOTES: &str = "\
It ends when the download is complete, unless it is told to share it on. One that was stopped goes on where it was, when it is \
started again in the same folder: until then what has come is in .NAME.part there.";

/// What PowerShell does to what a program writes is no fault that the program could see.
pub const BYTES: &str =
    "PowerShell before 7.4 changes bytes in pipes and behind `>`. With `-`, use PowerShell 7.4 or later, or cmd";

/// The notes that matter here.
fn notes() -> String {
    if cfg!(windows) { format!("{NOTES}\n\n{BYTES}.") } else { NOTES.to_owned() }
}

/// What is wanted, and what becomes of it.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, before_long_help = MORE_EXAMPLES, after_long_help = notes())]
pub struct GetArguments {
    /// A ticket; or, with -i, a code, an id or a name
    ///
    /// A ticket; or, with -i, a code that `peer-cli share` printed, a content's id, the first six or more characters of one, or a name
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
    /// Name or address of the tracker's machine; a ticket says that itself
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    tracker_ip: Option<String>,
    /// Port of the tracker
    #[arg(short = 'd', long, value_name = "PORT", default_value_t = 9999, value_parser = clap::value_parser!(u16).range(1..))]
    tracker_port: u16,
    /// First port to listen on, UDP and TCP; 0 takes a free one
    #[arg(short, long, default_value_t = 0)]
    port: u16,
    #[command(flatten)]
    pub peer: PeerArguments,
}

fn seed_time(text: &str) -> Result<Duration, String> {
    if text == "forever" {
        return Ok(Duration::MAX);
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
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
    let what = what(&arguments)?;
    if cfg!(windows) && arguments.to_stdout() && !arguments.peer.quiet && !arguments.peer.json {
        screen::complain(BYTES);
    }
    temp_folder::sweep_left();
    trust_tracker(&mut arguments, &what).await?;
    let node = connect::bind(&arguments.peer, arguments.port, 1)?.private(what.is_private());
    // Pieces come in any order, so what is to come in order waits in a file that goes away.
    let output_stream = arguments.output_stream();
    let temporary = if arguments.to_stdout() { Some(temporary_folder()?) } else { None };
    let (default, said) = if arguments.output.is_some() { Default::default() } else { output::default_folder() };
    let output = temporary.as_ref().map_or(arguments.output.as_deref().unwrap_or(&default), TempFolder::path);
    // Of what goes to standard output nobody sees a name.
    let names = if arguments.to_stdout() { NamePolicy::Rename } else { arguments.names.policy() };
    let node = node.output(output).overwrite(arguments.force).names(names).start();
    let folder = output.to_owned();
    let options = SessionOptions { folder, output_stream, ..SessionOptions::new(&arguments.peer, arguments.end()) };
    let face = prompt::start(&arguments.peer, output_stream, prompt::Source::Terminal, options.end);
    Session::run(node, options, face, async |session: &Session| {
        said.into_iter().for_each(|sentence| session.note(sentence));
        begin(session, &arguments, what).await
    })
    .await
}

/// Settles who the tracker is, while the terminal can be asked: later it is the prompt's.
async fn trust_tracker(arguments: &mut GetArguments, what: &What) -> Result<(), Failure> {
    let host = arguments.tracker_ip.as_deref().filter(|_| matches!(what, What::Text(_)));
    if let Some(host) = host {
        let patience = Patience::new(arguments.peer.wait);
        let (port, peer) = (arguments.tracker_port, &arguments.peer);
        let id = trust::tracker_id(host, port, peer, NamedBy::Flags, patience, &complain).await?;
        arguments.peer.tracker_id = Some(id);
    }
    Ok(())
}

fn temporary_folder() -> Result<TempFolder, Failure> {
    TempFolder::under(&std::env::temp_dir()).map_err(|error| {
        let variable = temp_folder::parent_variable();
        let sentence = format!("there is no temporary folder: {error}. {variable} says where one is made");
        Failure::new(ExitCode::CannotWrite, sentence)
    })
}

/// What is asked for.
enum What {
    Ticket(Ticket),
    /// A code, which becomes a ticket.
    Code(Code),
    /// An id or a name, which a tracker must be asked for.
    Text(String),
}

impl What {
    /// Whether it is nobody's business who has no ticket.
    fn is_private(&self) -> bool {
        match self {
            What::Ticket(ticket) => ticket.secret().is_some(),
            What::Code(_) => true,
            What::Text(_) => false,
        }
    }
}

/// A ticket, which may have come as several words and with some around it, or else one word.
fn what(arguments: &GetArguments) -> Result<What, Failure> {
    let usage = |sentence: String| Err(Failure::new(ExitCode::Usage, sentence));
    // A tracker may stand in the settings; the ticket knows better.
    match Ticket::find(&arguments.what.join(" ")) {
        Some(Ok(ticket)) => {
            return match behind_ticket(&arguments.what) {
                Some(other) => usage(format!(
                    "{other:?} is no part of the ticket before it. One ticket is taken at a time, and -o says into which folder"
                )),
                None => Ok(What::Ticket(ticket)),
            };
        }
        Some(Err(error)) => return usage(error.to_string()),
        None => {}
    }
    match Code::find(&arguments.what.join(" ")).filter(|_| !arguments.as_name) {
        Some(Ok(code)) => return Ok(What::Code(code)),
        // Nothing is sent: what is nearly the secret would be.
        Some(Err(error)) => return usage(format!("{error} For a file of that name, give -f before it")),
        None => {}
    }
    let [what] = &arguments.what[..] else {
        let what = arguments.what.join(" ");
        return usage(format!("{what:?} is no ticket. Put a name with spaces in quotes"));
    };
    match what.parse::<Query>() {
        Err(error) => usage(error.to_string()),
        Ok(_) if arguments.tracker_ip.is_none() && Path::new(what).exists() => {
            usage(format!("{what:?} is no ticket, and is here already. To send it: peer-cli share {}", quoted(what)))
        }
        Ok(_) if arguments.tracker_ip.is_none() => usage(format!(
            "{what:?} is no ticket. Paste the line that `peer-cli share` printed, or say with -i which tracker to ask for \
             that name"
        )),
        Ok(_) => Ok(What::Text(what.clone())),
    }
}

/// The first word behind the last one of a ticket, if it is more than a full stop: it means something that would not be done.
fn behind_ticket(words: &[String]) -> Option<&String> {
    let is_whole = |words: &[String]| matches!(Ticket::find(&words.join(" ")), Some(Ok(_)));
    let ticket = (1..=words.len()).find(|&taken| is_whole(&words[..taken]))?;
    words[ticket..].iter().find(|word| word.chars().any(char::is_alphanumeric))
}

async fn begin(session: &Session, arguments: &GetArguments, what: What) -> Result<(), Failure> {
    let (patience, tell) = (Patience::new(arguments.peer.wait), |sentence: String| session.waits(&sentence));
    // A tracker that knows nobody who has it says so at once, instead of us waiting for nothing.
    let found = match what {
        What::Code(code) => {
            let (host, port) = (arguments.tracker_ip.as_deref(), arguments.tracker_port);
            let places = rendezvous::places(&code, host, port, &arguments.peer, patience, &tell).await?;
            let (ticket, place) = rendezvous::redeem(&session.node, &places, &code, patience, &tell).await?;
            let joined = connect::join_by_code(&session.node, &ticket, place, patience, &tell).await?;
            session.joined(joined.tracker);
            by_ticket(&session.node, &ticket, joined.told, patience, &tell).await?
        }
        What::Ticket(ticket) => {
            let joined = connect::join_by_ticket(&session.node, &ticket, patience, &tell).await;
            let joined = joined.map_err(|failure| gone(failure, &ticket, arguments.peer.hashes()))?;
            session.joined(joined.tracker);
            by_ticket(&session.node, &ticket, joined.told, patience, &tell).await?
        }
        What::Text(what) => {
            let host = arguments.tracker_ip.as_deref().expect("a name without it was refused");
            let tracker = connect::tracker(host, arguments.tracker_port, &arguments.peer, patience, &tell).await?;
            let id = tracker.id;
            connect::join(&session.node, tracker, NamedBy::Flags, patience, &tell).await?;
            session.joined(id);
            find(&session.node, &what, patience, &tell).await?
        }
    };
    if !arguments.to_stdout() {
        return session.download(found, &arguments.only).await;
    }
    let content = found.content;
    let wait = arguments.peer.wait.map(|_| patience.bound(Duration::MAX));
    let late = (wait, ExitCode::NobodyHasAPiece);
    let manifest = standstill::manifest(&session.node, &found, late, arguments.peer.transport, &tell).await?;
    pipe::must_be_one_file(&manifest, &found, &arguments.only)?;
    session.download(found, &arguments.only).await?;
    let Some(reader) = session.read(content) else { return Ok(()) };
    if !pipe::write(reader, &tell).await? {
        session.unread();
    }
    Ok(())
}

/// Nobody answers where a ticket leads to: its sharer has gone, as far as can be seen from here. What it is for is known by name
/// if some of it has come before.
fn gone(failure: Failure, ticket: &Ticket, hashes: &Path) -> Failure {
    if failure.code != ExitCode::TrackerUnreachable {
        return failure;
    }
    let manifest = ticket.content().and_then(|content| received_manifest(hashes, content));
    let sharer = match manifest.map(|manifest| printable(&manifest.header().name)) {
        Some(name) => format!("the one who shares {name}"),
        None => "the one who gave you this line".to_owned(),
    };
    let message = format!("{sharer} is gone, or out of reach: {}", failure.message);
    Failure { message, ..failure }
}
