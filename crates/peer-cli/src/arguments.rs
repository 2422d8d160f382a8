//! What can be said on the command line: the flags of the original, and a long flag for everything else.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use protocol::{Algorithm, ContentId, Query};
use settings::{Names, Parsed, Shell, Surroundings};
use transport::{Congestion, Kind};

use crate::left_out::LinkArguments;
use crate::names::NameArguments;
use crate::screen::Outlet;
use crate::{range_flags, sizes};

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
        "transport",
        "mtu",
        "congestion",
        "wait",
        "json",
        "quiet",
        "no-progress",
        "log-level",
    ],
};

const EXAMPLES: &str = "\
Examples:
  tracker                                   introduces the peers to each other
  peer-cli -i localhost -S                  share every file in input/
  peer-cli -i localhost -p 9100 -f a.bin    download a.bin into output/, then share it on
  peer-cli -i localhost -S -m 1 2 3         share, but pretend to lack pieces 1, 2 and 3
  peer-cli -i localhost -S -r1 0.2 -r2 0.4  share only the pieces from 20 % to 40 %
  peer-cli share a.bin                      share a.bin without a tracker elsewhere, and print its ticket
  peer-cli get TICKET                       get what the ticket stands for

While it runs, type `prog` for progress and `exit` to say goodbye.

Every flag may also be an environment variable (--up-rate is P2P_UP_RATE), or stand in p2p-fileshare.toml.

Exit status: 0 done, 1 other error, 2 usage, 3 tracker unreachable, 4 not found, 5 nobody has a piece, 6 address in
use, 7 cannot write, 8 disk full, 9 verification failed, 10 refused, 11 stopped before it was complete, 129 the same by
SIGHUP, 130 interrupted, 143 the same by SIGTERM.";

/// A peer: downloads a file from everyone who has pieces of it, and shares what it has.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub swarm: SwarmArguments,
    /// What to log to standard error: off, error, warn, info, debug, trace, or a filter like `peer=debug`
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "warn", global = true,
        value_parser = settings::log_filter)]
    pub log_level: String,
    /// Write the log to this file, behind what it has, instead of to standard error
    #[arg(long, value_name = "FILE", global = true)]
    pub log_file: Option<PathBuf>,
    /// File of settings, instead of p2p-fileshare.toml in the folder for configuration or, without a subcommand, here
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Share files and folders, and print for each the line that gets it on another machine
    Share(crate::share::Arguments),
    /// Get what someone shares: paste the line that `peer-cli share` printed
    Get(crate::get::Arguments),
    /// List what a swarm offers
    Ls(Box<crate::ls::Arguments>),
    /// Look at what transfers depend on: sockets, disk, hashing, and with -i the way to a tracker
    Doctor(Box<crate::doctor::Arguments>),
    /// Say what a manifest says, of a file here or of a content in the swarm
    Inspect(Box<crate::inspect::Arguments>),
    /// Make the manifest of a file in the hashes folder, and print it
    Hash {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        cut: Cut,
        #[command(flatten)]
        links: LinkArguments,
        /// Folder for manifests
        #[arg(long, value_name = "FOLDER", default_value = "hashes")]
        hashes: PathBuf,
    },
    /// Check a file against its manifest, and name the byte ranges that differ
    Verify {
        /// The file
        file: PathBuf,
        /// The manifest; if not given, the one that was made here of a file of that name, by `hash` or by sharing it
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
        /// Check against the content of this id, all 64 digits or a ticket, that was downloaded or hashed here
        #[arg(long, value_name = "CONTENT_ID", value_parser = content_id, conflicts_with = "manifest")]
        id: Option<ContentId>,
        /// Folder for manifests
        #[arg(long, value_name = "FOLDER", default_value = "hashes")]
        hashes: PathBuf,
    },
    /// Print what a shell needs to complete commands and flags, as in `peer-cli completions bash > FILE`
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

/// How files are cut and digested.
#[derive(Debug, Clone, Args)]
pub struct Cut {
    /// Hash of pieces: `blake3` (the root is what b3sum prints) or `sha256` (pieces are what sha256sum prints for
    /// them; the root is the SHA-256 of all piece digests, not what sha256sum prints for the file)
    #[arg(long, value_name = "HASH", default_value_t = Algorithm::Blake3)]
    pub hash: Algorithm,
    /// Bytes of a piece, a power of two from 1KiB to 16MiB; if not given, the smallest that makes at most 2,048
    /// pieces, up to 4MiB
    #[arg(long, value_name = "SIZE", value_parser = sizes::piece_size)]
    pub piece_size: Option<u32>,
}

/// Taking part in a swarm.
#[derive(Debug, Args)]
pub struct SwarmArguments {
    /// Name or address of the tracker's machine (IPv4, IPv6 or a name)
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP", required = true)]
    tracker_ip: Option<String>,
    /// Be a seeder: share every file in the input folder (or, with -f, only that one)
    #[arg(short = 'S', long)]
    pub seeder: bool,
    /// First port to listen on, UDP and TCP; 0 takes free ones
    #[arg(short, long, default_value_t = 9000)]
    pub port: u16,
    /// Number of ports to listen on: P, P+1, …
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub listeners: u16,
    /// Port of the tracker
    #[arg(short = 'd', long, value_name = "PORT", default_value_t = 9999, value_parser = clap::value_parser!(u16).range(1..))]
    pub tracker_port: u16,
    /// The file wanted: its name, its content id, or the first six or more characters of the id; several with several
    /// -f [default for a downloader: 0short_story.txt]
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    pub file: Vec<String>,
    /// Pieces that this seeder lacks, counted from 0
    #[arg(short, long, value_name = "N", num_args = 1.., requires = "seeder",
        value_parser = clap::value_parser!(u32).range(..i64::from(protocol::MAX_PIECES)))]
    pub missing: Vec<u32>,
    /// This seeder holds pieces from this share of all, 0 to 1; also spelt -r1
    #[arg(long, value_name = "F", value_parser = share, requires = "seeder")]
    pub r1: Option<f64>,
    /// This seeder holds pieces up to this share of all, 0 to 1; also spelt -r2
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
    /// End when the download is complete, instead of sharing it on
    #[arg(long)]
    pub exit_when_done: bool,
    #[command(flatten)]
    pub peer: PeerArguments,
}

/// What every kind of peer may be told.
#[derive(Debug, Args)]
pub struct PeerArguments {
    /// Address to listen on; every address of this machine if not given
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// Where others reach this peer, instead of the addresses of its listeners: the port that a router forwards to it.
    /// With 0.0.0.0 only the port counts, at the address that the tracker sees; several with several --announce
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = with_port)]
    pub announce: Vec<SocketAddr>,
    /// Dial private addresses, loopback and those of links no matter who names them, and not only where they lead to the network or
    /// the machine of the one that names them
    #[arg(long)]
    pub dial_private: bool,
    /// The tracker's id, which it prints at start; if not given, it is read from its certificate in the certs folder
    #[arg(long, value_name = "FINGERPRINT")]
    pub tracker_id: Option<protocol::PeerId>,
    /// Folder with the tracker's certificate, and in a closed swarm with those of peers
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    pub certs: PathBuf,
    /// Folder for manifests
    #[arg(long, value_name = "FOLDER", default_value = "hashes")]
    pub hashes: PathBuf,
    /// Bytes that downloads leave free on the disk, as 5GiB or 0: one that would not is refused before anything is written
    /// [default: 1 % of the file system, at most 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = sizes::bytes)]
    pub keep_free: Option<u64>,
    /// Read downloads back from the disk, and verify them, before they are called complete. Otherwise only what somebody else
    /// may have changed meanwhile is
    #[arg(long)]
    pub verify_on_disk: bool,
    /// Most bytes a second to send, as 10MiB or in bits as 80mbit; unlimited if not given
    #[arg(long, visible_alias = "rate", value_name = "RATE", value_parser = sizes::rate)]
    pub up_rate: Option<u64>,
    /// Most bytes a second to receive; unlimited if not given
    #[arg(long, value_name = "RATE", value_parser = sizes::rate)]
    pub down_rate: Option<u64>,
    /// Bytes of pieces in flight over all connections, 1MiB or more
    #[arg(long, value_name = "SIZE", value_parser = sizes::budget, default_value = "32MiB")]
    pub budget: u64,
    /// Name of the place that this peer is in, as berlin or rack-7: what a peer of the same place has, or is about to get,
    /// is not fetched from afar
    #[arg(long, value_name = "NAME", value_parser = site)]
    pub site: Option<String>,
    /// Give first to those who give (tit for tat), instead of to everyone alike
    #[arg(long)]
    pub fair: bool,
    /// How pieces are kept: mapped files, plain files, or memory until the download is complete
    #[arg(long, value_enum, default_value_t = StorageName::Mmap)]
    pub storage: StorageName,
    /// How peers are reached: quic, tcp, or auto for QUIC and, where that gets no answer, TCP
    #[arg(long, value_name = "TRANSPORT", default_value = "auto")]
    pub transport: Kind,
    /// Largest datagram to try, in bytes; if not given, what the route to each peer has
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1200..=65_507))]
    pub mtu: Option<u16>,
    /// How QUIC decides how fast to send: delivery (by what the path delivers; some loss is taken for chance), cubic or
    /// newreno (slower with every loss), bbr (quinn's, experimental), or auto: cubic where round trips are short, delivery
    /// from 10 ms on
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub congestion: Congestion,
    /// File of this peer's key, made if it is missing; if not given, the key is fresh at each start
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The swarm is closed: deal only with those who have a certificate of this CA, as in certs/ca.pem; several with
    /// several --ca, while one replaces another
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    pub ca: Vec<PathBuf>,
    /// This peer's certificate in a closed swarm; if not given, the first in the certs folder that no running peer uses
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    pub cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// How long to wait, from the start on, for the tracker, someone who shares the file, a connection to them, the manifest and
    /// the first bytes, all together; and after that, each time that no bytes come. As 30s or 5m [default: the tracker and
    /// someone who shares it must be there, the rest is waited for as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
    /// Read commands (prog, exit) from standard input though it is no terminal; without a subcommand that is always done
    #[arg(long)]
    pub commands: bool,
    /// Write events as JSON, one a line, and nothing else to standard output
    #[arg(long)]
    pub json: bool,
    /// Say nothing but what was asked for, and errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Draw no progress lines
    #[arg(long)]
    pub no_progress: bool,
}

fn site(name: &str) -> Result<String, String> {
    let most = protocol::MAX_SITE;
    if name.len() > most { Err(format!("at most {most} bytes")) } else { Ok(name.to_owned()) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StorageName {
    Mmap,
    File,
    Memory,
}

impl StorageName {
    pub fn name(self) -> &'static str {
        match self {
            StorageName::Mmap => "mmap",
            StorageName::File => "file",
            StorageName::Memory => "memory",
        }
    }
}

/// An address with a port that someone can be reached at.
pub fn with_port(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err("nobody is reached at port 0: name the port that is forwarded".to_owned()),
        Err(_) => Err("an address is written like 203.0.113.7:9999 or [2001:db8::7]:9999".to_owned()),
    }
}

fn content_id(text: &str) -> Result<ContentId, String> {
    match text.parse() {
        Ok(Query::Id(id)) => Ok(id),
        Ok(_) => Err("a content id has 64 hexadecimal digits".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

impl Arguments {
    /// Where events go, if they are asked for.
    pub fn events(&self) -> Option<Outlet> {
        let (peer, outlet) = match &self.command {
            None => (&self.swarm.peer, Outlet::Output),
            Some(Command::Share(arguments)) => (&arguments.peer, Outlet::Output),
            Some(Command::Get(arguments)) => (&arguments.peer, arguments.outlet()),
            Some(Command::Ls(arguments)) => (&arguments.visit.peer, Outlet::Output),
            Some(Command::Doctor(arguments)) => (&arguments.visit.peer, Outlet::Output),
            Some(Command::Inspect(arguments)) => (&arguments.visit.peer, Outlet::Output),
            Some(Command::Hash { .. } | Command::Verify { .. } | Command::Completions { .. } | Command::Man { .. }) => {
                return None;
            }
        };
        peer.json.then_some(outlet)
    }
}

impl SwarmArguments {
    pub fn tracker_host(&self) -> &str {
        self.tracker_ip.as_deref().expect("clap requires it unless there is a subcommand")
    }

    /// The files wanted.
    pub fn wanted(&self) -> Vec<&str> {
        if self.file.is_empty() { vec!["0short_story.txt"] } else { self.file.iter().map(String::as_str).collect() }
    }
}

/// Parses the program's arguments; on an error, or for `--help`, says so and ends the program.
pub fn parse() -> Parsed<Arguments> {
    match try_parse(std::env::args_os(), &Surroundings::of_this_process()) {
        Ok(parsed) => parsed,
        Err(error) => settings::exit(&error),
    }
}

/// Whether it names something in a folder, whichever system's separators it has.
fn is_single_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && !name.contains(['/', '\\', ':'])
}

fn try_parse(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings,
) -> Result<Parsed<Arguments>, clap::Error> {
    let words = range_flags::rewrite(arguments, &Arguments::command());
    let parsed: Parsed<Arguments> = settings::parse(&NAMES, words, surroundings)?;
    let SwarmArguments { r1, r2, ref file, port, listeners, seeder, .. } = parsed.arguments.swarm;
    let fail = |kind, sentence: &str| Err(Arguments::command().error(kind, sentence));
    if r1.unwrap_or(0.0) > r2.unwrap_or(1.0) {
        return fail(clap::error::ErrorKind::ValueValidation, "-r1 is greater than -r2");
    }
    if port != 0 && port.checked_add(listeners - 1).is_none() {
        return fail(clap::error::ErrorKind::ValueValidation, "the last listener's port would be above 65535");
    }
    if file.iter().any(String::is_empty) {
        return fail(clap::error::ErrorKind::ValueValidation, "-f needs a name");
    }
    // Typed, it may lie anywhere below or beside the input folder; a file of settings shares nothing from elsewhere.
    if let Some((_, source)) = parsed.in_files.iter().find(|(long, _)| seeder && long == "file")
        && let Some(path) = file.iter().find(|name| !is_single_name(name))
    {
        let sentence =
            format!("{source}: `file`: a seeder shares files of its input folder, and {path:?} is no name of one");
        return fail(clap::error::ErrorKind::ValueValidation, &sentence);
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<SwarmArguments, clap::Error> {
        let words = std::iter::once("peer-cli").chain(line.split(' ')).map(OsString::from);
        try_parse(words, &Surroundings::default()).map(|parsed| parsed.arguments.swarm)
    }

    #[test]
    fn the_manifest_of_flags_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// What a file of the working folder sets comes from whoever put it there. A new flag is none of these until it is listed.
    #[test]
    fn flags_of_the_working_folder_are_given_once_and_name_nothing() {
        let command = Arguments::command();
        for long in NAMES.harmless {
            let flag = command.get_arguments().find(|flag| flag.get_long() == Some(long));
            let flag = flag.unwrap_or_else(|| panic!("there is no --{long}"));
            assert!(matches!(flag.get_action(), clap::ArgAction::Set | clap::ArgAction::SetTrue), "--{long}");
            assert_ne!(flag.get_value_hint(), clap::ValueHint::AnyPath, "--{long}");
            let names: Vec<_> = flag.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
            let harmful = ["FILE", "FOLDER", "TRACKER_IP", "ADDRESS", "ADDRESS:PORT", "FINGERPRINT", "PEER", "POLICY"];
            assert!(!names.iter().any(|name| harmful.contains(name)), "--{long} takes {names:?}");
            // Names of files have the value's name of sites and congestion controls.
            let may_name = ["site", "congestion"].contains(long);
            assert!(may_name || !names.contains(&"NAME"), "--{long} takes {names:?}");
        }
    }

    #[test]
    fn no_other_flag_is_taken_from_the_working_folder() {
        let folder = tempfile::tempdir().unwrap();
        let working = folder.path().join("p2p-fileshare.toml");
        let surroundings = Surroundings { working: Some(working.clone()), ..Surroundings::default() };
        let plain = |words: &[&str], surroundings: &Surroundings| {
            let words = ["peer-cli", "-i", "host"].iter().chain(words).map(OsString::from).collect::<Vec<_>>();
            try_parse(words, surroundings).unwrap()
        };
        let expected = format!("{:?}", plain(&[], &Surroundings::default()).arguments);
        let mut left = Vec::new();
        for flag in Arguments::command().get_arguments() {
            let Some(long) = flag.get_long().filter(|long| !["config", "tracker-ip"].contains(long)) else { continue };
            if NAMES.harmless.contains(&long) {
                continue;
            }
            std::fs::write(&working, format!("[peer-cli]\n{long} = \"/elsewhere\"\n")).unwrap();
            let Parsed { arguments, notes, .. } = plain(&[], &surroundings);
            assert_eq!(format!("{arguments:?}"), expected, "--{long}");
            assert!(notes.len() == 1 && notes[0].contains(&format!("`{long}` is not read in the")), "{notes:?}");
            left.push(long.to_owned());
        }
        for long in
            ["file", "seeder", "tracker-id", "bind", "announce", "dial-private", "identity", "ca", "exit-when-done"]
        {
            assert!(left.iter().any(|other| other == long), "--{long}: {left:?}");
        }
    }

    /// A new flag for a path is named like one, wherever it is.
    #[test]
    fn flags_for_paths_are_named_like_some() {
        fn look(command: &clap::Command) {
            for flag in command.get_arguments().filter(|flag| flag.get_long().is_some()) {
                let names = flag.get_value_names().unwrap_or_default();
                let is_named = names.iter().any(|name| ["FILE", "FOLDER", "DIR", "PATH"].contains(&name.as_str()));
                assert_eq!(is_named, flag.get_value_hint() == clap::ValueHint::AnyPath, "{flag}");
            }
            command.get_subcommands().for_each(look);
        }
        let mut command = Arguments::command();
        command.build();
        look(&command);
    }

    #[test]
    fn a_file_of_settings_shares_nothing_from_outside_the_input_folder() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own.toml");
        let surroundings = Surroundings { files: vec![own.clone()], ..Surroundings::default() };
        let files = |text: &str, words: &[&str]| {
            std::fs::write(&own, format!("[peer-cli]\ntracker-ip = \"h\"\n{text}")).unwrap();
            let words = std::iter::once(&"peer-cli").chain(words).map(OsString::from).collect::<Vec<_>>();
            try_parse(words, &surroundings).map(|parsed| parsed.arguments.swarm.file).map_err(|error| error.to_string())
        };
        for path in ["/etc/passwd", "../key", "a/b", ".", "..", "C:\\\\x", "a\\\\b", "a/"] {
            let text = format!("seeder = true\nfile = [\"a.bin\", \"{path}\"]\n");
            assert!(files(&text, &[]).unwrap_err().contains("is no name of one"), "{path}");
            assert!(files(&format!("file = \"{path}\"\n"), &["-S"]).is_err(), "{path}");
            assert_eq!(files(&text, &["-f", "../b"]).unwrap(), ["../b"], "what is typed is meant");
        }
        assert_eq!(files("seeder = true\nfile = [\"a.bin\", \"..b\"]\n", &[]).unwrap(), ["a.bin", "..b"]);
    }

    #[test]
    fn the_originals_spellings_work() {
        let seeder = parse("-i localhost -S -p 9010 -d 9998 -m 1 2 3 -r1 0.2 -r2=0.4").unwrap();
        assert_eq!((seeder.port, seeder.tracker_port, seeder.missing), (9010, 9998, vec![1, 2, 3]));
        assert_eq!((seeder.r1, seeder.r2), (Some(0.2), Some(0.4)));
        let long = parse("-i ::1 -S --r1=0.2 --r2 0.4").unwrap();
        assert_eq!((long.r1, long.r2, long.port, long.tracker_port), (Some(0.2), Some(0.4), 9000, 9999));
        assert_eq!(parse("-i localhost").unwrap().wanted(), ["0short_story.txt"]);
    }

    #[test]
    fn a_name_may_look_like_a_flag() {
        assert_eq!(parse("-i h -f=-r1").unwrap().file, ["-r1"]);
        assert_eq!(parse("-i h -f -r1").unwrap().file, ["-r1"]);
        assert_eq!(parse("-i h --file -S").unwrap().file, ["-S"]);
        assert_eq!(parse("-i h --file=-r1=0.3").unwrap().file, ["-r1=0.3"]);
        assert_eq!(parse("-i h -f a -f -r1 -S -r1 0.3").unwrap().file, ["a", "-r1"]);
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for line in [
            "-S",
            "-i h -S -r1 1.5",
            "-i h -S -r1 NaN",
            "-i h -S -r1 0.8 -r2 0.2",
            "-i h -r1 0.8",
            "-i h --piece-size 1000",
            "-i h --up-rate fast",
            "-i h --listeners 0",
            "-i h -p 65535 --listeners 2",
            "-i h --transport memory",
            "-i h --hash md5",
            "-i h --announce 9000",
            "-i h --announce 10.0.0.1:0",
            "-i h --up-rate 0",
            "-i h --down-rate 1e30mbit",
            "-i h --budget 0",
            "-i h -S -m 1048576",
            "-i h -d 0",
            "-i h --log-level nonsense",
            "-i h --log-level warn,peer=nonsense",
            "-i h --cert a.pem --key a.key",
            "-i h --ca ca.pem --cert a.pem",
            "-i h --ca ca.pem --key a.key",
            "-i h --ca ca.pem --identity a.key",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
