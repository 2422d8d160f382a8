//! `peer-cli -i TRACKER_IP`: shares or downloads as the original's flags say.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use peer::{Fallback, Held, PeerError};
use protocol::{ContentId, Query, default_piece_size};
use storage::is_withheld;

use crate::error::{ALLOW_ON_MACOS, ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::flags::end::End;
use crate::flags::fallback::FallbackArguments;
use crate::flags::gateway::GatewayArguments;
use crate::flags::links::LinkArguments;
use crate::flags::names::NameArguments;
use crate::flags::paths::must_exist;
use crate::flags::peer::PeerArguments;
use crate::session::ahead::Ahead;
use crate::session::audience::Audience;
use crate::session::connect::{self, NamedBy};
use crate::session::find::find_ahead;
use crate::session::gateway::{self, Source};
use crate::session::input::{Input, Look};
use crate::session::lan::{self, ByDefault};
use crate::session::origin::SilentTracker;
use crate::session::patience::Patience;
use crate::session::{Session, SessionOptions, bind, origin, resolve, site};
use crate::ui::prompt;
use crate::ui::screen::OutputStream;

/// Taking part in a swarm.
#[derive(Debug, Args)]
pub struct JoinArguments {
    /// The tracker's machine
    ///
    /// Name or address of the tracker's machine (IPv4, IPv6 or a name); several with commas between them
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP", required = true)]
    tracker_ip: Option<Vec<String>>,
    /// Be a seeder: share every file in input/
    ///
    /// Be a seeder: share every file in the input folder (or, with -f, only that one)
    #[arg(short = 'S', long)]
    pub seeder: bool,
    /// First port to listen on; 0 takes free ones
    ///
    /// First port to listen on, UDP and TCP; 0 takes free ones
    #[arg(short, long, default_value_t = 9000)]
    pub port: u16,
    /// Number of ports to listen on: P, P+1, …
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub listeners: u16,
    /// Port of the tracker
    #[arg(short = 'd', long, value_name = "PORT", default_value_t = 9999, value_parser = clap::value_parser!(u16).range(1..))]
    pub tracker_port: u16,
    /// The file wanted; several with several -f
    ///
    /// The file wanted: its name, its content id, or the first six or more characters of the id, or a ticket; several with several
    /// -f. Without it, a downloader asks for 0short_story.txt, as the original does
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    pub file: Vec<String>,
    /// Pieces that this seeder lacks, counted from 0
    #[arg(short, long, value_name = "N", num_args = 1.., requires = "seeder",
        value_parser = clap::value_parser!(u32).range(..i64::from(protocol::MAX_PIECES)))]
    pub missing: Vec<u32>,
    /// This seeder holds pieces from here on, 0 to 1
    ///
    /// This seeder holds pieces from this share of all, 0 to 1; also spelt -r1. -m wins
    #[arg(long, value_name = "F", value_parser = share, requires = "seeder")]
    pub r1: Option<f64>,
    /// This seeder holds pieces up to here, 0 to 1
    ///
    /// This seeder holds pieces up to this share of all, 0 to 1; also spelt -r2. -m wins
    #[arg(long, value_name = "F", value_parser = share, requires = "seeder")]
    pub r2: Option<f64>,
    /// Folder whose files are shared
    #[arg(long, value_name = "FOLDER", default_value = "input")]
    pub input: PathBuf,
    /// Folder for downloads
    #[arg(long, value_name = "FOLDER", default_value = "output")]
    pub output: PathBuf,
    #[command(flatten)]
    pub names: NameArguments,
    #[command(flatten)]
    pub cut: Cut,
    #[command(flatten)]
    pub links: LinkArguments,
    /// End when the download is complete
    ///
    /// End when the download is complete, instead of sharing it on
    #[arg(long)]
    pub exit_when_done: bool,
    #[command(flatten)]
    pub fallback: FallbackArguments,
    #[command(flatten)]
    pub gateway: GatewayArguments,
    #[command(flatten)]
    pub peer: PeerArguments,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

impl JoinArguments {
    pub fn tracker_hosts(&self) -> &[String] {
        self.tracker_ip.as_deref().expect("clap requires it unless there is a subcommand")
    }

    /// Where the one file that is wanted can be read that no peer has, if the user says so.
    fn origin(&self) -> Result<Option<Arc<dyn Fallback>>, Failure> {
        let reads = self.fallback.origin.is_some() || self.fallback.named.origin_fallback;
        if self.seeder && reads {
            let sentence = "a seeder has what it shares: --origin and --origin-fallback are for downloads";
            return Err(Failure::new(ExitCode::Usage, sentence));
        }
        if self.fallback.origin.is_some() && self.file.len() > 1 {
            let sentence = "--origin is the URL of one content: start a peer for each -f that has one";
            return Err(Failure::new(ExitCode::Usage, sentence));
        }
        origin::fallback(&self.fallback)
    }

    /// The files wanted.
    pub fn wanted(&self) -> Vec<&str> {
        if self.file.is_empty() { vec!["0short_story.txt"] } else { self.file.iter().map(String::as_str).collect() }
    }
}

/// Runs until it is told to stop, or is done.
pub async fn run(mut arguments: JoinArguments) -> Result<(), Failure> {
    let origin = arguments.origin()?;
    gateway::is_asked_for(&arguments.gateway)?;
    site::settle(&mut arguments.peer).await;
    let node = bind::bind(&arguments.peer, arguments.port, arguments.listeners)?;
    let node =
        node.lan(lan::start(&arguments.peer, ByDefault::Off)).output(&arguments.output).names(arguments.names.policy());
    let node = origin::with_named(node, &arguments.fallback.named).start();
    let gateway = gateway::beside(&arguments.gateway, || Source::of(&node, "what this peer has")).await?;
    let end = if arguments.exit_when_done && !arguments.seeder { End::Done } else { End::Never };
    let options = SessionOptions {
        seeder: arguments.seeder,
        original: true,
        strict: !arguments.file.is_empty(),
        folder: arguments.output.clone(),
        origin,
        named_origins: arguments.fallback.named.origin_fallback.then(|| arguments.peer.hashes().to_owned()),
        ..SessionOptions::new(&arguments.peer, end)
    };
    let face = prompt::start(&arguments.peer, OutputStream::Output, prompt::CommandSource::Anything, end);
    Session::run(node, options, face, async |session: &Session| {
        let input = begin(session, &arguments).await?;
        session.gateway(gateway.as_ref());
        if let Some(input) = input {
            session.watch_input(input).await;
        }
        Ok(())
    })
    .await
}

/// Joins the tracker, shares the input folder, or finds what is wanted. Gives what is to be watched from then on.
async fn begin(session: &Session, arguments: &JoinArguments) -> Result<Option<Input>, Failure> {
    // What is wrong here should be known before anything is sent.
    let look = if arguments.seeder { look_at_input(arguments)? } else { Look::default() };
    let (files, left_out) = (look.files(), look.words_of_left_out());
    let how = (arguments.cut.clone(), held(arguments), arguments.links.follow_links);
    let mut input = Input::new(&arguments.input, named(arguments), look, how);
    some_file_has(arguments, &files)?;
    if !arguments.seeder {
        arguments.wanted().iter().try_for_each(|wanted| wanted.parse::<Query>().map(drop)).map_err(PeerError::from)?;
    }
    let (patience, tell) = (Patience::new(arguments.peer.wait), |sentence: String| session.waits(&sentence));
    let (hosts, port) = (arguments.tracker_hosts(), arguments.tracker_port);
    let wanted = if arguments.seeder { Vec::new() } else { arguments.wanted() };
    let finding = match wanted[..] {
        [only] => session.patience_of(content_of(only), patience),
        _ => patience,
    };
    let ahead = wanted.first().map_or_else(Ahead::default, |first| Ahead::of_text(first));
    let mut later = None;
    let joining = async {
        later = Some(resolve::unresolved(hosts, port, &arguments.peer)?);
        let trackers = resolve::trackers(hosts, port, &arguments.peer, finding, &tell).await?;
        later = Some(trackers.clone());
        let join = connect::join(&session.node, trackers, NamedBy::Flags, finding, &tell);
        ahead.during(&session.node, join).await
    };
    // What has an origin needs no tracker.
    let silent = match joining.await {
        Ok(joined) => {
            session.joined(joined.tracker);
            None
        }
        Err(failure) if failure.code == ExitCode::TrackerUnreachable && !wanted.is_empty() => Some(failure),
        Err(failure) => return Err(failure),
    };
    left_out.iter().for_each(|sentence| session.note(sentence));
    let mut tracker = if silent.is_some() { SilentTracker::AskedAgain } else { SilentTracker::Joined };
    for wanted in wanted {
        let found = match &silent {
            Some(failure) => Err(Failure::new(failure.code, failure.message.clone())),
            None => find_ahead(&session.node, wanted, &ahead, finding, &tell).await,
        };
        let is_silent = found.as_ref().is_err_and(|failure| failure.code == ExitCode::TrackerUnreachable);
        let found = session.or_from_origin(found, content_of(wanted), None, tracker)?;
        if is_silent {
            tracker = SilentTracker::Told;
        }
        session.download(found, &[]).await?;
    }
    if let Some(trackers) = later.filter(|_| silent.is_some()) {
        lan::join_later(session.node.clone(), trackers);
    }
    if arguments.seeder && files.is_empty() {
        let folder = arguments.input.display();
        session.waits(&format!("There is no file to share in {folder} yet: what is put there will be shared."));
        session.waits_for_files();
    }
    for path in files {
        if let Some(content) = session.share(&path, &arguments.cut, held(arguments)).await? {
            input.is_shared(&path, content);
        }
    }
    session.begun()?;
    if arguments.seeder {
        Audience::of(&arguments.peer).warning().into_iter().for_each(|warning| session.note(warning));
    }
    Ok(arguments.seeder.then_some(input))
}

/// The content that a whole id or a ticket names.
fn content_of(wanted: &str) -> Option<ContentId> {
    match wanted.parse().ok()? {
        Query::Id(content) => Some(content),
        _ => None,
    }
}

fn held(arguments: &JoinArguments) -> Held {
    match (&arguments.missing[..], arguments.r1, arguments.r2) {
        ([], None, None) => Held::All,
        ([], from, to) => Held::Fraction(from.unwrap_or(0.0), to.unwrap_or(1.0)),
        (missing, ..) => Held::Without(missing.to_vec()),
    }
}

/// A number above those of all files is a slip: nothing would be missing for it.
fn some_file_has(arguments: &JoinArguments, files: &[PathBuf]) -> Result<(), Failure> {
    let Some(&last) = arguments.missing.iter().max().filter(|_| !files.is_empty()) else { return Ok(()) };
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

/// The files that are named, if any are.
fn named(arguments: &JoinArguments) -> Option<Vec<PathBuf>> {
    let named = || arguments.file.iter().map(|name| arguments.input.join(name)).collect();
    (!arguments.file.is_empty()).then(named)
}

/// What there is to share: all of the input folder, or the files that are named, which must be there.
fn look_at_input(arguments: &JoinArguments) -> Result<Look, Failure> {
    let (folder, named) = (&arguments.input, named(arguments));
    named.iter().flatten().try_for_each(|path| must_exist(path))?;
    if let Some(path) = named.iter().flatten().find(|path| !path.is_file()) {
        let sentence = format!("{} is no file: `peer-cli share` shares folders", path.display());
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    Look::at(folder, named.as_deref(), arguments.links.follow_links).map_err(|error| {
        let folder = folder.display();
        let advice = match error.kind() {
            ErrorKind::PermissionDenied if is_withheld(&error) => ALLOW_ON_MACOS,
            ErrorKind::PermissionDenied => "Change its permissions, or name another with --input",
            ErrorKind::NotADirectory => "Name a folder with --input",
            _ => "Make it and put files in, or name another with --input",
        };
        Failure::new(ExitCode::NotFound, format!("the input folder {folder} cannot be read: {error}. {advice}"))
    })
}
