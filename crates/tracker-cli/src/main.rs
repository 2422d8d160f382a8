//! The program `tracker`: its command line, and what it does before and instead of serving.

mod certs;
mod exit_code;
mod label;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "web")]
mod page;
mod prompt;
mod room;
mod serve;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;

use bytesize::ByteSize;
use clap::{CommandFactory, Parser};
use protocol::{PeerId, printable};
use transport::{Kind, peer_id_of_certificate_pem};

use exit_code::ExitCode;
use settings::{Layout, Names, Parsed, Shell, Surroundings};

const EXAMPLES: &str = "\
Examples:
  tracker                  on port 9999; prints the lines that start peers
  tracker -p 0             on a free port
  tracker --init-closed    make the certificates of a closed swarm, and end";

/// Introduces peers to each other
///
/// Start one, then start peers with `peer-cli -i ADDRESS`. Type `help` for what it can be asked, and `exit` (or press Ctrl-C) to stop
/// it: running downloads go on without a tracker.
#[derive(Parser)]
#[command(
    version,
    before_help = EXAMPLES,
    after_long_help = "Every flag may also be an environment variable (--port is P2P_TRACKER_PORT), or stand in \
                  p2p-fileshare.toml.\n\nExit status: 0 stopped, 1 other error, 2 usage, 6 the port is in use, 7 the certs folder cannot be \
                  written, 9 a certificate is not what it should be."
)]
struct Arguments {
    /// Port to listen on, UDP and TCP
    #[arg(short, long, default_value_t = 9999)]
    port: u16,
    /// Address to listen on
    ///
    /// Address to listen on; every address of this machine if not given
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Folder of its key and certificate
    ///
    /// Folder of the tracker's key and certificate; made at the first start
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    certs: PathBuf,
    /// The swarm is closed: let in only those of this CA
    ///
    /// The swarm is closed: let in only who has a certificate of this CA, as in certs/ca.pem; several with several --ca,
    /// while one replaces another
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Most memory for connections and contents
    ///
    /// Most memory for connections and contents; where it is reached, those who are of least use to others make room
    #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "1GiB")]
    memory: u64,
    /// Names count only from this peer
    ///
    /// Contents are known by name only if this peer gave them the name: its id, or the file of its certificate; several
    /// with several --publisher. Others are known by their ids
    #[arg(long, value_name = "PEER", value_parser = publisher)]
    publisher: Vec<PeerId>,
    /// Carry what peers cannot send to each other directly
    ///
    /// Carry connections between peers of one content that cannot reach each other directly. What they say is encrypted from end
    /// to end: the tracker sees how much it is, and who sends it to whom
    #[arg(long)]
    relay: bool,
    /// Most bytes a second that are carried for a peer
    ///
    /// Most bytes a second that are carried for one peer, sent and received; no limit if not given
    #[arg(long, value_name = "SIZE", value_parser = carried, requires = "relay")]
    relay_rate: Option<u64>,
    /// Most bytes a day that are carried for a peer
    ///
    /// Most bytes a day that are carried for one peer, sent and received; all peers of one address together get four times as much
    #[arg(long, value_name = "SIZE", value_parser = carried, default_value = "100GiB")]
    relay_bytes: u64,
    /// Most connections that are carried at once
    ///
    /// Most connections that are carried at once; a peer may ask for 32 of them, and all peers of one address for half
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), default_value_t = 400)]
    relay_connections: u32,
    #[command(flatten)]
    init: certs::Arguments,
    /// How peers reach it: quic, tcp, or auto for both on the same port
    #[arg(long, value_name = "TRANSPORT", default_value = "auto")]
    transport: Kind,
    /// Serve metrics over HTTP, for Prometheus
    ///
    /// Answer /metrics, /livez and /readyz over HTTP at this address, or at this port of loopback. Everyone who reaches it may look
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = settings::loopback_unless_told)]
    metrics: Option<SocketAddr>,
    /// Show over HTTP what everyone does
    ///
    /// Show a page of all contents and peers over HTTP at this address, or at this port of loopback. Where others reach it, it needs
    /// --page-token
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = settings::loopback_unless_told)]
    page: Option<SocketAddr>,
    /// File with what those must know who look at the page
    ///
    /// File with what those must know who look at the page, 16 characters or more: they give it as the password
    #[arg(long, value_name = "FILE", requires = "page")]
    page_token: Option<PathBuf>,
    /// Read commands (help, status, ls, peers, exit) from standard input though it is no terminal
    #[arg(long)]
    commands: bool,
    /// What to log, from off to trace
    ///
    /// What to log to standard error: off, error, warn, info, debug, trace, or a filter like `tracker=debug`
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "warn", value_parser = settings::log_filter)]
    log_level: String,
    /// Write the log to this file, behind what it has, instead of to standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// How the log is written: text, or JSON lines
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = settings::LogFormat::Text)]
    log_format: settings::LogFormat,
    /// Print what a shell needs to complete flags, and end
    ///
    /// Print what a shell needs to complete flags (bash, zsh, fish, powershell, elvish), and end
    #[arg(long, value_name = "SHELL", hide_possible_values = true)]
    completions: Option<Shell>,
    /// Write the man page into a folder, and end
    #[arg(long, value_name = "FOLDER", hide = true)]
    man: Option<PathBuf>,
    /// File of settings, instead of p2p-fileshare.toml in the folder for configuration or here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How flags are called elsewhere. `P2P_TRACKER_PORT` is the port of the tracker for peers, too.
const NAMES: Names = Names {
    prefix: "P2P_TRACKER_",
    table: "tracker",
    others: &["peer-cli"],
    harmless: &["port", "memory", "transport", "log-level", "relay-rate", "relay-bytes", "relay-connections"],
    plain: &[],
};

/// What stands where in the help.
const LAYOUT: Layout = Layout {
    headings: &[
        ("Network", &["bind", "transport"]),
        ("Relay", &["relay", "relay-rate", "relay-bytes", "relay-connections"]),
        ("Closed swarms", &["ca", "publisher", "init-closed", "peers", "name", "days", "rotate"]),
        (
            "Tuning",
            &[
                "memory",
                "metrics",
                "page",
                "page-token",
                "commands",
                "log-level",
                "log-file",
                "log-format",
                "completions",
                "config",
            ],
        ),
    ],
    short: &[("tracker", &["port", "bind", "certs", "ca", "init-closed", "relay", "help"])],
    idle: &[],
    aside: &[],
};

/// The command line, with its help in order.
fn command() -> clap::Command {
    LAYOUT.arrange(Arguments::command())
}

/// The least address space with which it serves some peers, threads included.
const ADDRESS_SPACE: u64 = 64 << 20;

fn main() -> process::ExitCode {
    settings::on_enough_stack("tracker", start)
}

fn start() -> process::ExitCode {
    if let Err(sentence) = settings::spare_address_space(ADDRESS_SPACE) {
        complain(&sentence);
        return ExitCode::Other.into();
    }
    let words = std::env::args_os().collect();
    let parsed = settings::parse_as::<Arguments>(&NAMES, command(), words, &Surroundings::of_this_process());
    let Parsed { arguments, notes, .. } = parsed.unwrap_or_else(|error| {
        if error.exit_code() != 0 {
            complain(&settings::sentence(&error));
            process::exit(error.exit_code());
        }
        settings::exit(&error)
    });
    notes.iter().for_each(|note| complain(note));
    settings::raise_limit();
    if let Err(sentence) =
        settings::start_log(&arguments.log_level, arguments.log_file.as_deref(), arguments.log_format)
    {
        complain(&sentence);
        return ExitCode::CannotWrite.into();
    }
    let panicked = |sentence: String| Err((ExitCode::Other, anyhow::anyhow!(sentence)));
    match settings::catch_panic(|| run(&arguments)).unwrap_or_else(panicked) {
        Ok(()) => process::ExitCode::SUCCESS,
        Err((code, error)) => {
            complain(&settings::with_limit_to_raise(format!("{error:#}")));
            code.into()
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), (ExitCode, anyhow::Error)> {
    if let Some(shell) = arguments.completions {
        let script = settings::completions(command(), shell);
        // A reader that has seen enough is no reason to crash.
        return std::io::stdout().write_all(script.as_bytes()).or_else(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err((ExitCode::CannotWrite, anyhow::anyhow!("standard output takes no more: {error}"))),
        });
    }
    if let Some(folder) = &arguments.man {
        let cannot = |error| (ExitCode::CannotWrite, anyhow::anyhow!("{}: {error}", folder.display()));
        return settings::man_pages(&NAMES, command(), folder).map_err(cannot);
    }
    must_be_built(arguments)?;
    if arguments.init.init_closed {
        return certs::make(&arguments.init, &arguments.certs);
    }
    serve::serve(arguments)
}

/// Fails if something is asked for that this build lacks, before anything is begun.
fn must_be_built(arguments: &Arguments) -> Result<(), (ExitCode, anyhow::Error)> {
    let parts = [
        (arguments.metrics.is_some(), cfg!(feature = "metrics"), "metrics", "metrics"),
        (arguments.page.is_some(), cfg!(feature = "web"), "the page", "web"),
    ];
    match parts.into_iter().find(|(is_asked_for, is_built, ..)| *is_asked_for && !is_built) {
        Some((.., part, feature)) => {
            Err((ExitCode::Usage, anyhow::anyhow!(settings::not_built(part, "tracker", feature))))
        }
        None => Ok(()),
    }
}

/// Bytes, as `512MiB`. With less than a few mebibytes there is no room for the peers of one file.
fn memory(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.parse().map_err(|_| format!("{text:?} is no size: write it like 512MiB or 1GiB"))?;
    let range = 16 << 20..=1 << 44;
    Some(size.as_u64()).filter(|size| range.contains(size)).ok_or_else(|| "a tracker takes 16MiB to 16TiB".to_owned())
}

/// Bytes that are carried, as `10GiB`.
fn carried(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.parse().map_err(|_| format!("{text:?} is no size: write it like 10MiB or 100GiB"))?;
    Some(size.as_u64()).filter(|size| *size > 0).ok_or_else(|| "a relay carries more than nothing".to_owned())
}

/// A peer, by its id or its certificate.
fn publisher(text: &str) -> Result<PeerId, String> {
    text.parse().or_else(|_| {
        let typed = settings::in_quotes(text);
        let no = |error| format!("{typed} is neither the id of a peer nor the file of its certificate: {error}");
        peer_id_of_certificate_pem(Path::new(text)).map_err(no)
    })
}

/// Names and errors from elsewhere may stand in a sentence: it stays one line.
fn complain(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "tracker: {}", printable(sentence));
}

/// A standard output that takes nothing is no reason to stop, as peers still need the tracker; it is said once, elsewhere. A reader
/// that has seen enough is none to speak of.
fn say(line: std::fmt::Arguments) {
    static COMPLAINED: std::sync::Once = std::sync::Once::new();
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", printable(&line.to_string())).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            COMPLAINED.call_once(|| complain(&format!("standard output takes no more: {error}. It goes on without")));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_flags_in_the_docs_are_made_of_these() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/use/commands.md");
        settings::keep_table(page.as_ref(), command()).unwrap();
    }

    #[test]
    fn help_fits_a_screen_and_says_all_under_headings() {
        let flaws = LAYOUT.flaws(command());
        assert!(flaws.is_empty(), "{}", flaws.join("\n"));
    }

    #[test]
    fn flags_of_the_working_folder_are_given_once_and_name_nothing() {
        assert_eq!(settings::harm_in_working_folder(&NAMES, &Arguments::command(), &[]), Vec::<String>::new());
    }

    #[test]
    fn the_working_folders_file_makes_no_keys_and_chooses_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let working = folder.path().join("p2p-fileshare.toml");
        let surroundings = Surroundings { working: Some(working.clone()), ..Surroundings::default() };
        let settings = [
            ("init-closed", "true"),
            ("rotate", "true"),
            ("name", "[\"me\"]"),
            ("peers", "7"),
            ("days", "9999"),
            ("publisher", "\"x\""),
            ("ca", "\"x\""),
            ("certs", "\"x\""),
            ("bind", "\"127.0.0.1\""),
            ("completions", "\"bash\""),
            ("man", "\"x\""),
            ("log-file", "\"x\""),
        ];
        let lines: String = settings.iter().map(|(long, value)| format!("{long} = {value}\n")).collect();
        std::fs::write(&working, format!("[tracker]\nport = 7\n{lines}")).unwrap();
        let parsed = settings::parse::<Arguments>(&NAMES, vec!["tracker".into()], &surroundings).unwrap();
        let Parsed { arguments, notes, .. } = parsed;
        let Arguments { port, bind, ca, publisher, init, completions, man, log_file, certs, .. } = arguments;
        assert_eq!((port, bind, certs), (7, None, "certs".into()));
        assert!(ca.is_empty() && publisher.is_empty() && !init.init_closed);
        assert!(completions.is_none() && man.is_none() && log_file.is_none());
        for (long, _) in settings {
            assert!(notes.iter().any(|note| note.contains(&format!("`{long}` is not read"))), "{long}: {notes:?}");
        }
    }
}
