//! What can be said on the command line: the flags of the original, and a long flag for everything else.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Component, Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use protocol::{ContentId, Query};
use settings::terminal::draws_unicode;
use settings::{Names, Parsed, Shell, Surroundings};

use crate::commands::control::{AddArguments, ControlArguments, LimitArguments, StatusArguments, WhichArguments};
use crate::commands::daemon::{DaemonArguments, Set};
use crate::commands::doctor::DoctorArguments;
use crate::commands::gateway::GatewayCommand;
use crate::commands::get::GetArguments;
use crate::commands::inspect::InspectArguments;
use crate::commands::join::JoinArguments;
use crate::commands::ls::LsArguments;
use crate::commands::publish::PublishArguments;
use crate::commands::share::ShareArguments;
use crate::commands::watch::WatchArguments;
use crate::error::{ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::flags::help::LAYOUT;
use crate::flags::links::LinkArguments;
use crate::flags::peer::HASHES;
use crate::flags::{guess, range};
use crate::ui::letters;
use crate::ui::screen::{self, OutputStream};

/// How flags are called elsewhere: `P2P_UP_RATE`, or `up-rate` below `[peer-cli]`.
pub const NAMES: Names = Names {
    prefix: "P2P_",
    table: "peer-cli",
    others: &["tracker"],
    harmless: &[
        "port",
        "listeners",
        "tracker-port",
        "hash",
        "piece-size",
        "keep-free",
        "verify-on-disk",
        "up-rate",
        "down-rate",
        "budget",
        "site",
        "fair",
        "no-lan",
        "transport",
        "mtu",
        "congestion",
        "wait",
        "json",
        "quiet",
        "no-progress",
        "log-level",
    ],
    plain: &["join"],
};

const EXAMPLES: &str = "\
Examples:
  peer-cli share a.bin        share it, and print the line that gets it
  peer-cli get p2p…           get it into this folder: paste that line";

const MORE_EXAMPLES: &str = "\
Examples:
  peer-cli share a.bin        share it, and print the line that gets it
  peer-cli get p2p…           get it into this folder: paste that line
  peer-cli ls localhost       list what a tracker knows

As the original, which is also `peer-cli join`:
  tracker                                   introduces the peers to each other
  peer-cli -i localhost -S                  share every file in input/
  peer-cli -i localhost -p 9100 -f a.bin    download a.bin into output/, then
                                            share it on
  peer-cli -i localhost -S -m 1 2 3         share, but pretend to lack pieces 1,
                                            2 and 3
  peer-cli -i localhost -S -r1 0.2 -r2 0.4  share only the pieces from 20 % to
                                            40 %

While it runs, type `prog` for progress and `exit` to say goodbye.

`peer-cli completions bash` prints what a shell needs to complete commands and flags.";

const NOTES: &str = "\
Every flag may also be an environment variable (--up-rate is P2P_UP_RATE), or stand in p2p-fileshare.toml.

Exit status: 0 done, 1 other error, 2 usage, 3 tracker unreachable, 4 not found, 5 nobody has a piece, 6 address in use, 7 cannot \
write, 8 disk full, 9 verification failed, 10 refused, 11 stopped before it was complete, 129 the same by SIGHUP, 130 interrupted, \
143 the same by SIGTERM.";

/// What the program says where it is started with nothing.
const BARE: &str = "\
peer-cli copies files and folders to other machines.

  peer-cli share a.bin    share it, and print the line that gets it elsewhere
  peer-cli get p2p…       get it: paste that line
  peer-cli ls HOST        list what a tracker knows
  peer-cli doctor         find out what is wrong

peer-cli -h says more, peer-cli --help says everything.";

/// Copies files and folders from a few machines to many, every piece verified
#[derive(Debug, Parser)]
#[command(
    version,
    before_help = EXAMPLES,
    before_long_help = MORE_EXAMPLES,
    after_long_help = NOTES,
    override_usage = "peer-cli <COMMAND>, or as the original: peer-cli -i <TRACKER_IP>",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub join: JoinArguments,
    /// What to log, from off to trace
    ///
    /// What to log to standard error: off, error, warn, info, debug, trace, or a filter like `peer=debug`
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", hide_env = true, default_value = "warn", global = true,
        value_parser = settings::log_filter)]
    pub log_level: String,
    /// Write the log to this file
    ///
    /// Write the log to this file, behind what it has, instead of to standard error
    #[arg(long, value_name = "FILE", global = true)]
    pub log_file: Option<PathBuf>,
    /// How the log is written: text, or JSON lines
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = settings::LogFormat::Text, global = true)]
    pub log_format: settings::LogFormat,
    /// File of settings
    ///
    /// File of settings, instead of p2p-fileshare.toml in the folder for configuration or, without a command, here
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Share files and folders, and print the line that gets them
    #[command(alias = "send")]
    Share(Box<ShareArguments>),
    /// Get what someone shares: paste the line that they were given
    #[command(aliases = ["receive", "download"])]
    Get(Box<GetArguments>),
    /// Serve what a swarm has over HTTP
    Gateway(Box<GatewayCommand>),
    /// Share or download as the original; the same without `join`
    #[command(before_help = JOIN_EXAMPLES)]
    Join(Box<JoinArguments>),
    /// List what a tracker knows
    Ls(Box<LsArguments>),
    /// Show how far each peer of a swarm is
    Watch(Box<WatchArguments>),
    /// Say what a manifest says, of a file here or of a content
    Inspect(Box<InspectArguments>),
    /// Look at what transfers depend on, and say what to do
    Doctor(Box<DoctorArguments>),
    /// Run as a service, which add, rm, status and others control
    Daemon(Box<DaemonArguments>),
    /// Tell the daemon to share a path, or to download what a ticket is of
    Add(AddArguments),
    /// Tell the daemon to share or download something no more; files stay
    #[command(alias = "remove", before_help = "Examples:\n  peer-cli rm 3\n  peer-cli rm model.bin")]
    Rm(WhichArguments),
    /// Tell the daemon to pause something
    #[command(before_help = "Examples:\n  peer-cli pause 3\n  peer-cli pause --all")]
    Pause(WhichArguments),
    /// Tell the daemon to go on with something
    #[command(before_help = "Examples:\n  peer-cli resume 3\n  peer-cli resume --all")]
    Resume(WhichArguments),
    /// Tell the daemon to download something first
    #[command(alias = "prioritize", before_help = "Example:\n  peer-cli prioritise 3")]
    Prioritise(WhichArguments),
    /// Tell the daemon how much it may send and receive
    Limit(LimitArguments),
    /// Show what the daemon shares and downloads
    #[command(before_help = "Examples:\n  peer-cli status\n  peer-cli status --watch")]
    Status(StatusArguments),
    /// Make the manifest of a file in the hashes folder, and print it
    #[command(before_help = "Example:\n  peer-cli hash a.bin    prints its id, and keeps hashes/a.bin.manifest")]
    Hash {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        cut: Cut,
        #[command(flatten)]
        links: LinkArguments,
        /// Folder for manifests
        #[arg(long, value_name = "FOLDER", default_value = HASHES)]
        hashes: PathBuf,
    },
    /// Make the manifest of what is in a bucket, or at a URL
    Publish(Box<PublishArguments>),
    /// Check a file against its manifest, and name what differs
    #[command(before_help = VERIFY_EXAMPLES)]
    Verify {
        /// The file
        file: PathBuf,
        /// The manifest; if not given, the one that was made here
        ///
        /// The manifest; if not given, the one that was made here of a file of that name, by `hash` or by sharing it
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
        /// Check against the content of this id
        ///
        /// Check against the content of this id, all 64 digits or a ticket, that was downloaded or hashed here
        #[arg(long, value_name = "CONTENT_ID", value_parser = content_id, conflicts_with = "manifest")]
        id: Option<ContentId>,
        /// Folder for manifests
        ///
        /// Folder for manifests [default: hashes/, and then the folder where get and share keep them]
        #[arg(long, value_name = "FOLDER")]
        hashes: Option<PathBuf>,
    },
    /// Print what a shell needs to complete commands and flags
    #[command(before_help = "Example:\n  peer-cli completions bash > peer-cli.bash", hide = true)]
    Completions {
        /// bash, zsh, fish, powershell or elvish
        #[arg(hide_possible_values = true)]
        shell: Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// A folder that is there
        folder: PathBuf,
    },
}

const JOIN_EXAMPLES: &str = "\
Examples:
  tracker                                   introduces the peers to each other
  peer-cli -i localhost -S                  share every file in input/
  peer-cli -i localhost -p 9100 -f a.bin    download a.bin into output/
  peer-cli -i localhost -S -r1 0.2 -r2 0.4  share only some of the pieces";

const VERIFY_EXAMPLES: &str = "\
Examples:
  peer-cli verify a.bin                       against what was shared or hashed
  peer-cli verify a.bin --id 5dbeebd2…        against what was downloaded
  peer-cli verify a.bin --manifest a.manifest against a manifest from elsewhere";

/// The program's command line, with its help in order.
pub fn command() -> clap::Command {
    LAYOUT.arrange(Cli::command())
}

fn content_id(text: &str) -> Result<ContentId, String> {
    match text.parse() {
        Ok(Query::Id(id)) => Ok(id),
        Ok(Query::Private(ticket)) => {
            ticket.content().ok_or_else(|| "this ticket does not say the content id: give the id".to_owned())
        }
        Ok(_) => Err("a content id has 64 hexadecimal digits".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Command {
    /// What a daemon is told or asked, which it answers in its own way.
    fn control(&self) -> Option<&ControlArguments> {
        match self {
            Command::Add(arguments) => Some(&arguments.control),
            Command::Rm(arguments) | Command::Pause(arguments) | Command::Resume(arguments) => Some(&arguments.control),
            Command::Prioritise(arguments) => Some(&arguments.control),
            Command::Limit(arguments) => Some(&arguments.control),
            Command::Status(arguments) => Some(&arguments.control),
            _ => None,
        }
    }
}

impl Cli {
    /// Where events go, if they are asked for.
    pub fn events(&self) -> Option<OutputStream> {
        let (peer, output_stream) = match &self.command {
            None => (&self.join.peer, OutputStream::Output),
            Some(Command::Share(arguments)) => (&arguments.peer, OutputStream::Output),
            Some(Command::Get(arguments)) => (&arguments.peer, arguments.output_stream()),
            Some(Command::Gateway(arguments)) => (&arguments.peer, OutputStream::Output),
            Some(Command::Ls(arguments)) => (&arguments.query.peer, OutputStream::Output),
            Some(Command::Watch(arguments)) => (&arguments.query.peer, OutputStream::Output),
            Some(Command::Doctor(arguments)) => (&arguments.query.peer, OutputStream::Output),
            Some(Command::Inspect(arguments)) => (&arguments.query.peer, OutputStream::Output),
            Some(Command::Publish(arguments)) => (&arguments.query.peer, OutputStream::Output),
            Some(Command::Join(join)) => (&join.peer, OutputStream::Output),
            Some(command) => return command.control().filter(|control| control.json).map(|_| OutputStream::Output),
        };
        peer.json.then_some(output_stream)
    }
}

impl Cli {
    /// What standard output is needed for, where a command is of no use without it: its words are what it is for.
    pub fn needs_output(&self) -> Option<&'static str> {
        match &self.command {
            Some(Command::Get(arguments)) if arguments.to_stdout() => Some("the file"),
            _ if self.events() == Some(OutputStream::Output) => Some("what --json says"),
            // Shared openly, it is had by its name as well.
            Some(Command::Share(arguments)) if !arguments.open => Some("the ticket"),
            Some(Command::Ls(_) | Command::Watch(_) | Command::Status(_)) => Some("the list"),
            Some(Command::Inspect(_) | Command::Doctor(_) | Command::Hash { .. } | Command::Publish(_)) => {
                Some("the answer")
            }
            Some(Command::Completions { .. }) => Some("the script"),
            _ => None,
        }
    }
}

/// Parses the program's arguments; on an error, or for `--help`, says so and ends the program.
pub fn parse() -> Parsed<Cli> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let parsed = try_parse(words.clone(), &Surroundings::of_this_process());
    parsed.unwrap_or_else(|error| refuse(&words, &error))
}

/// Reads the command line of a daemon and the files of settings again, and says what those set. An error is a sentence.
pub fn daemon_again() -> Result<(DaemonArguments, Set), String> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let parsed = try_parse(words, &Surroundings::of_this_process()).map_err(|error| settings::sentence(&error))?;
    match parsed.arguments.command {
        Some(Command::Daemon(arguments)) => Ok((*arguments, parsed.set)),
        _ => Err("the command line is not that of a daemon any more".to_owned()),
    }
}

/// Says what is wrong, in one sentence, or the help that was asked for.
fn refuse(words: &[OsString], error: &clap::Error) -> ! {
    if error.exit_code() == 0 {
        if std::io::stdout().is_terminal() && !draws_unicode() {
            let _ = screen::print_script(&letters::on_terminal(error.to_string()));
            std::process::exit(0);
        }
        settings::exit(error);
    }
    if words.len() < 2 && error.kind() == ErrorKind::MissingRequiredArgument {
        let text = error.to_string();
        let notes = text.lines().filter_map(|line| line.strip_prefix("note: "));
        notes.for_each(screen::complain);
        screen::explain(BARE);
    } else {
        let failure = Failure::new(ExitCode::Usage, guess::sentence(&command(), words, error));
        if let Some(output_stream) = events_wanted(words) {
            screen::tell(output_stream, &failure.event());
        }
        screen::complain(&failure.message);
    }
    std::process::exit(error.exit_code())
}

/// Where events go that a command line asks for which cannot be understood: with `-o -` standard output is for a file.
fn events_wanted(words: &[OsString]) -> Option<OutputStream> {
    let words: Vec<_> =
        words.iter().skip(1).take_while(|word| *word != "--").filter_map(|word| word.to_str()).collect();
    let is_one = words.iter().any(|word| matches!(*word, "-o-" | "-o=-" | "--output=-"));
    let to_output = is_one || words.windows(2).any(|pair| matches!(pair, ["-o" | "--output", "-"]));
    words.contains(&"--json").then_some(if to_output { OutputStream::Errors } else { OutputStream::Output })
}

/// Whether it names something in a folder, whichever system's separators it has.
fn is_single_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && !name.contains(['/', '\\', ':'])
}

fn try_parse(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings,
) -> Result<Parsed<Cli>, clap::Error> {
    let words = range::rewrite(guess::as_meant(&command(), arguments), &Cli::command());
    let is_brief = words.iter().any(|word| word == "-h");
    let command = if is_brief { LAYOUT.brief(command()) } else { command() };
    let mut parsed: Parsed<Cli> = settings::parse_as(&NAMES, command, words, surroundings)?;
    if let Some(sentence) = does_nothing(&parsed) {
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, sentence));
    }
    parsed.arguments.command = match parsed.arguments.command {
        Some(Command::Join(join)) => {
            parsed.arguments.join = *join;
            None
        }
        Some(Command::Publish(mut publish)) => {
            publish.tracker_is_typed = parsed.typed.iter().any(|typed| typed == "tracker-ip");
            Some(Command::Publish(publish))
        }
        command => command,
    };
    let JoinArguments { r1, r2, ref file, port, listeners, seeder, .. } = parsed.arguments.join;
    let fail = |kind, sentence: &str| Err(Cli::command().error(kind, sentence));
    if r1.unwrap_or(0.0) > r2.unwrap_or(1.0) {
        return fail(ErrorKind::ValueValidation, "-r1 is greater than -r2");
    }
    if port != 0 && port.checked_add(listeners - 1).is_none() {
        return fail(ErrorKind::ValueValidation, "the last listener's port would be above 65535");
    }
    if file.iter().any(String::is_empty) {
        return fail(ErrorKind::ValueValidation, "-f needs a name");
    }
    // Typed, it may lie anywhere below or beside the input folder; a file of settings shares nothing from elsewhere.
    if let Some((_, source)) = parsed.in_files.iter().find(|(long, _)| seeder && long == "file")
        && let Some(path) = file.iter().find(|name| !is_single_name(name))
    {
        let path = settings::in_quotes(path);
        let sentence =
            format!("{source}: `file`: a seeder shares files of its input folder, and {path} is no name of one");
        return fail(ErrorKind::ValueValidation, &sentence);
    }
    Ok(parsed)
}

/// What to say of a flag that was typed and does nothing.
fn does_nothing(parsed: &Parsed<Cli>) -> Option<String> {
    let command = parsed.command.as_deref()?;
    let idle = parsed.typed.iter().find_map(|long| Some((long, LAYOUT.why_idle(command, long)?)));
    if let Some((long, why)) = idle {
        return Some(format!("{command} takes no --{long}: {why}"));
    }
    let typed = |long: &str| parsed.typed.iter().any(|typed| typed == long);
    match &parsed.arguments.command {
        Some(Command::Share(share)) if share.has_own_tracker() && typed("tracker-id") => {
            Some("--tracker-id is the id of a tracker that runs elsewhere: name that with -i".to_owned())
        }
        Some(Command::Share(share)) if !share.has_own_tracker() && typed("tracker-memory") => {
            Some("--tracker-memory is for a tracker in this process, and -i names another".to_owned())
        }
        Some(Command::Get(get)) if get.is_of_ticket() => {
            let flag = ["tracker-ip", "tracker-port", "tracker-id"].into_iter().find(|long| typed(long))?;
            Some(format!("a ticket says itself where its tracker is, and who: leave out --{flag}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
