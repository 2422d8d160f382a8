//! `peer-cli add`, `rm`, `pause`, `resume`, `prioritise`, `limit` and `status`: tell a daemon what to do, and ask it how everything
//! stands.

mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use daemon::control::{
    Answer, Client, ContentStatus, ControlError, Doing, ErrorCode, Kind as ContentKind, Place, RateLimit, RateWord,
    Request, Which, line,
};
use protocol::{Ticket, TicketError, printable, redacted};
use settings::Signals;
use tokio::time::{MissedTickBehavior, interval};

use crate::error::{ExitCode, Failure};
use crate::flags::paths::must_exist;
use crate::flags::{origins, patterns, sizes, tickets};
use crate::ui::live::Live;
use crate::ui::screen::{complain, print, print_while_read};
use crate::ui::signals::{code, heard};
use crate::ui::{amounts, paint};
use table::table;

/// Time between two looks of `status --watch`.
const PERIOD: Duration = Duration::from_secs(1);

/// Where the daemon is.
#[derive(Debug, Clone, Args)]
pub struct SocketArguments {
    /// The daemon's socket
    ///
    /// The daemon's socket [default: in the user's runtime folder, or in the one of the service; on Windows the name of a pipe]
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
}

impl SocketArguments {
    /// The path, if one was named.
    pub fn path(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let place = Place::of_client(self.path()).map_err(|error| control_failure(&error))?;
        Client::connect(&place).await.map_err(|error| control_failure(&error))
    }
}

/// Where the daemon is, and how it is said what it answers.
#[derive(Debug, Args)]
pub struct ControlArguments {
    #[command(flatten)]
    socket: SocketArguments,
    /// Print what the daemon answers as JSON, a line each
    #[arg(long)]
    pub json: bool,
}

const ADD_EXAMPLES: &str = "\
Examples:
  peer-cli add model.bin          share it, and print its ticket
  peer-cli add p2p…               download what the ticket is of
  peer-cli add p2p… -o /data      download it into that folder";

/// What is added.
#[derive(Debug, Args)]
#[command(before_help = ADD_EXAMPLES)]
pub struct AddArguments {
    /// Paths and URLs to share, and tickets of what to download
    #[arg(required = true, value_name = "PATH|URL|TICKET")]
    what: Vec<String>,
    /// Folder to download into [default: the daemon's --output]
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Replace different files of the same names
    #[arg(long)]
    force: bool,
    /// Download only files that match, as '*.json'; several with several --only
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    #[command(flatten)]
    pub control: ControlArguments,
}

/// Contents that are meant.
#[derive(Debug, Args)]
pub struct WhichArguments {
    /// Contents: their numbers, names, paths, ids or tickets
    ///
    /// Contents, each by its number in `peer-cli status`, its name, path or ticket, or the beginning of its id
    #[arg(required_unless_present = "all", value_name = "CONTENT")]
    which: Vec<String>,
    /// All contents
    #[arg(long, conflicts_with = "which")]
    all: bool,
    #[command(flatten)]
    pub control: ControlArguments,
}

impl WhichArguments {
    fn which(&self) -> Result<Which, Failure> {
        if self.all {
            return Ok(Which::All);
        }
        self.which.iter().map(|name| meant(name)).collect::<Result<_, _>>().map(Which::These)
    }
}

/// Limits.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  peer-cli limit --up 50mbit --down 10MiB\n  peer-cli limit --up none --down default"
)]
pub struct LimitArguments {
    /// Most bytes a second to send, as 50mbit; none; or default
    ///
    /// Most bytes a second to send, as 10MiB or 50mbit; `none` for no limit; `default` for what the settings or the daemon's --up-rate say, now
    /// and whenever they change
    #[arg(long, value_name = "RATE", value_parser = rate_limit, required_unless_present = "down")]
    up: Option<RateLimit>,
    /// Most bytes a second to receive, likewise
    #[arg(long, value_name = "RATE", value_parser = rate_limit)]
    down: Option<RateLimit>,
    #[command(flatten)]
    pub control: ControlArguments,
}

/// How the state is shown.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Show it again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    pub control: ControlArguments,
}

/// A rate, `none` or `default`.
fn rate_limit(text: &str) -> Result<RateLimit, String> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Ok(RateLimit::Rate(0)),
        "default" => Ok(RateLimit::Word(RateWord::Default)),
        _ => sizes::rate(text).map(RateLimit::Rate),
    }
}

/// What of a content to do.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    Remove,
    Pause,
    Resume,
    Prioritise,
}

/// The failure behind an error of the control socket.
pub fn control_failure(error: &ControlError) -> Failure {
    let code = match error {
        ControlError::NoDaemon(_) | ControlError::NobodyListens(_) => ExitCode::NotFound,
        ControlError::MissingFolder(_) => ExitCode::CannotWrite,
        ControlError::NotOurs(_) | ControlError::Unsafe(_) => ExitCode::Refused,
        ControlError::InUse(_) => ExitCode::AddressInUse,
        ControlError::NoFolder(_)
        | ControlError::NoSocket(_)
        | ControlError::TooLong(_)
        | ControlError::MessageTooLong(_) => ExitCode::Usage,
        _ => ExitCode::Other,
    };
    Failure::new(code, error.to_string())
}

/// The status behind an error that the daemon answers.
fn exit_code(code: ErrorCode) -> ExitCode {
    match code {
        ErrorCode::Usage => ExitCode::Usage,
        ErrorCode::NotFound => ExitCode::NotFound,
        ErrorCode::Refused => ExitCode::Refused,
        ErrorCode::CannotWrite => ExitCode::CannotWrite,
        _ => ExitCode::Other,
    }
}

/// `peer-cli add`.
pub async fn add(arguments: AddArguments) -> Result<(), Failure> {
    let requests = requests(&arguments)?;
    let mut client = arguments.control.socket.connect().await?;
    let mut signals = Signals::listen();
    for request in requests {
        let (mut number, mut reason) = (None, String::new());
        let asking = ask_hearing(&mut client, &request, &arguments.control, print_line, |content| {
            number = Some(content.number);
            if content.reason != reason && content.state == Doing::Hashing && !arguments.control.json {
                content.reason.clone_into(&mut reason);
                if !reason.is_empty() {
                    complain(&reason);
                }
            }
        });
        let answered = tokio::select! {
            answered = asking => Ok(answered?),
            signal = heard(&mut signals) => Err(code(signal)),
        };
        let last = answered.map_err(|code| Failure::new(code, left_words(number)))?;
        let Some(content) = last.contents.last() else { continue };
        if let Some(sentence) = not_begun(content) {
            let code = content.code.map_or(ExitCode::Other, exit_code);
            return Err(Failure { told: arguments.control.json, ..Failure::new(code, sentence) });
        }
        if arguments.control.json {
            continue;
        }
        match content.kind {
            ContentKind::Share => print([sharing_words(content), format!("peer-cli get {}", content.ticket)])?,
            _ if content.state == Doing::Sharing => {
                print([format!("It is here already: {} (number {}).", content.path, content.number)])?;
            }
            _ => print([format!("Downloading into {} as number {}.", content.path, content.number)])?,
        }
        last.note.iter().for_each(|note| complain(note));
    }
    Ok(())
}

/// What is said where `add` ends by Ctrl-C, which the daemon hears nothing of.
fn left_words(number: Option<u64>) -> String {
    match number {
        Some(number) => format!("the daemon goes on with it as number {number}: `peer-cli rm {number}` forgets it"),
        None => "the daemon may have taken it: `peer-cli status` says so".to_owned(),
    }
}

/// Why what was added is not shared or downloaded, if it is not.
fn not_begun(content: &ContentStatus) -> Option<String> {
    let ContentStatus { number, reason, .. } = content;
    match (content.kind, content.state) {
        (ContentKind::Download, Doing::Failed) => {
            Some(format!("{reason}. `peer-cli resume {number}` tries it again, `peer-cli rm {number}` forgets it"))
        }
        (_, Doing::Failed) => Some(format!("{reason}. It is tried again; `peer-cli rm {number}` forgets it")),
        (ContentKind::Share, Doing::Paused) => Some(format!("number {number} is paused: `peer-cli resume {number}`")),
        (ContentKind::Share, _) if content.ticket.is_empty() => {
            let reason = if reason.is_empty() { "it is not shared yet" } else { reason };
            Some(format!("{reason}. `peer-cli status` says how it stands"))
        }
        _ => None,
    }
}

fn sharing_words(content: &ContentStatus) -> String {
    format!("Sharing {} ({}) as number {}:", content.name, amounts::amount(content.size), content.number)
}

/// What is asked of the daemon, one by one.
fn requests(arguments: &AddArguments) -> Result<Vec<Request>, Failure> {
    let mut requests = Vec::new();
    for what in &arguments.what {
        if let Some(ticket) = Ticket::find(what) {
            ticket.map_err(|error| tickets::failure(&error, "add"))?;
            requests.push(request(arguments, what.clone(), true)?);
            continue;
        }
        if origins::url(what.as_ref()).is_some() {
            requests.push(request(arguments, what.clone(), false)?);
            continue;
        }
        // A path is meant from where it is typed.
        if Ticket::is_shortened(what) && !Path::new(what).exists() {
            return Err(Failure::new(ExitCode::Usage, TicketError::Shortened.to_string()));
        }
        for path in patterns::meant(vec![what.into()])? {
            must_exist(&path)?;
            requests.push(request(arguments, absolute_text(&path)?, false)?);
        }
    }
    Ok(requests)
}

fn request(arguments: &AddArguments, what: String, is_ticket: bool) -> Result<Request, Failure> {
    let folder = arguments.output.as_deref().map(absolute_text).transpose()?;
    let (force, only) = (arguments.force, arguments.only.clone());
    if !is_ticket && (folder.is_some() || force || !only.is_empty()) {
        let what = printable(&redacted(&what));
        let sentence = format!("--output, --force and --only are for downloads, and {what} is shared: leave them out");
        return Err(Failure::new(ExitCode::Usage, sentence));
    }
    Ok(Request::Add { what, folder, force, only })
}

/// The path from the root, without a separator at its end, as text: that is how the daemon knows it.
fn absolute_text(path: &Path) -> Result<String, Failure> {
    let absolute: PathBuf = absolute(path)?.components().collect();
    let sentence = || format!("{} is not Unicode: rename it, or share its folder", path.display());
    absolute.to_str().map(str::to_owned).ok_or_else(|| Failure::new(ExitCode::Usage, sentence()))
}

/// The same path, wherever it is read.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::new(ExitCode::Usage, format!("{}: {error}", path.display())))
}

/// A name of a content as the daemon is told it: a path is meant from where it is typed.
fn meant(name: &str) -> Result<String, Failure> {
    let is_path = name.contains(std::path::is_separator) || matches!(name, "." | "..");
    if is_path && !Ticket::is_meant(name) && origins::url(name.as_ref()).is_none() {
        absolute_text(Path::new(name))
    } else {
        Ok(name.to_owned())
    }
}

/// `peer-cli rm`, `pause`, `resume` and `prioritise`.
pub async fn change(deed: Deed, arguments: WhichArguments) -> Result<(), Failure> {
    let which = arguments.which()?;
    let request = match deed {
        Deed::Remove => Request::Remove { which },
        Deed::Pause => Request::Pause { which },
        Deed::Resume => Request::Resume { which },
        Deed::Prioritise => Request::Prioritise { which },
    };
    let mut client = arguments.control.socket.connect().await?;
    let last = ask(&mut client, &request, &arguments.control, print_line).await?;
    if arguments.control.json {
        return Ok(());
    }
    let word = |content: &ContentStatus| match deed {
        Deed::Remove => format!("{} is forgotten; its files stay.", named(content)),
        Deed::Pause if content.state == Doing::Paused => format!("{} is paused.", named(content)),
        Deed::Pause => format!("{} will be paused.", named(content)),
        Deed::Resume => format!("{} goes on.", named(content)),
        Deed::Prioritise => format!("{} goes first.", named(content)),
    };
    print(last.contents.iter().map(word))?;
    last.note.iter().for_each(|note| complain(note));
    Ok(())
}

fn named(content: &ContentStatus) -> String {
    let name = if content.name.is_empty() { &content.path } else { &content.name };
    format!("{name} (number {})", content.number)
}

/// `peer-cli limit`.
pub async fn limit(arguments: LimitArguments) -> Result<(), Failure> {
    let request = Request::Limit { up: arguments.up, down: arguments.down };
    let mut client = arguments.control.socket.connect().await?;
    let last = ask(&mut client, &request, &arguments.control, print_line).await?;
    if arguments.control.json {
        return Ok(());
    }
    print([limits_words(last.limits)])
}

fn limits_words((up, down): (u64, u64)) -> String {
    let word = |rate: u64| if rate == 0 { "unlimited".to_owned() } else { amounts::rate(rate) };
    format!("Sending: {}. Receiving: {}.", word(up), word(down))
}

/// `peer-cli status`.
pub async fn status(arguments: StatusArguments) -> Result<(), Failure> {
    let mut client = arguments.control.socket.connect().await?;
    if !arguments.watch {
        let last = ask(&mut client, &Request::Status {}, &arguments.control, print_line).await?;
        if arguments.control.json {
            return Ok(());
        }
        if last.contents.is_empty() {
            return print(["Nothing is shared or downloaded. Add something with `peer-cli add`.".to_owned()]);
        }
        let lines = table(&last.contents).lines(paint::size().0.max(2) - 1);
        print(lines.into_iter().chain(reasons(&last.contents)).chain([limits_words(last.limits)]))?;
        last.note.iter().for_each(|note| complain(note));
        return Ok(());
    }
    let mut signals = Signals::listen();
    tokio::select! {
        result = watch(&mut client, &arguments.control) => result,
        _ = heard(&mut signals) => Ok(()),
    }
}

async fn watch(client: &mut Client, control: &ControlArguments) -> Result<(), Failure> {
    let (mut live, mut tick) = (Live::new(), interval(PERIOD));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let last = ask(client, &Request::Status {}, control, print_while_read).await?;
        if !control.json {
            live.show(&table(&last.contents), &format!("{} Ctrl-C ends this.", limits_words(last.limits)))?;
        }
    }
}

fn print_line(line: &str) -> Result<(), Failure> {
    print([line])
}

/// What a daemon has answered.
#[derive(Default)]
struct Answered {
    /// Each content as it was said last, in the order in which they were said.
    contents: Vec<ContentStatus>,
    limits: (u64, u64),
    note: Option<String>,
}

/// Asks, prints each answer as JSON if that is asked for, and fails if the daemon says that it cannot be done.
async fn ask(
    client: &mut Client,
    request: &Request,
    control: &ControlArguments,
    told: impl Fn(&str) -> Result<(), Failure>,
) -> Result<Answered, Failure> {
    ask_hearing(client, request, control, told, |_| {}).await
}

/// The same, and has each content heard as it is said.
async fn ask_hearing(
    client: &mut Client,
    request: &Request,
    control: &ControlArguments,
    told: impl Fn(&str) -> Result<(), Failure>,
    mut hear: impl FnMut(&ContentStatus),
) -> Result<Answered, Failure> {
    let failed = |error: ControlError| control_failure(&error);
    let mut answers = client.ask(request).await.map_err(failed)?;
    let mut answered = Answered::default();
    while let Some(answer) = answers.next().await.map_err(failed)? {
        if control.json {
            told(&line(&answer))?;
        }
        match answer {
            Answer::Content(content) => {
                hear(&content);
                // One that is followed is said again and again, with no other between.
                match answered.contents.last_mut() {
                    Some(last) if last.number == content.number => *last = content,
                    _ => answered.contents.push(content),
                }
            }
            Answer::Done { up, down, note, .. } => {
                (answered.limits, answered.note) = ((up, down), Some(note).filter(|note| !note.is_empty()));
            }
            Answer::Error { code, message } => {
                return Err(Failure { told: control.json, ..Failure::new(exit_code(code), message) });
            }
            _ => {}
        }
    }
    Ok(answered)
}

/// What is to be said of contents that do not go on by themselves.
fn reasons(contents: &[ContentStatus]) -> Vec<String> {
    let with_reason = contents.iter().filter(|content| !content.reason.is_empty());
    with_reason.map(|content| format!("{}: {}", content.number, content.reason)).collect()
}

#[cfg(test)]
mod tests;
