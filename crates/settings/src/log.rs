//! Where a program's log goes: to standard error, with colours and without the time if that is a terminal, or to a file. A
//! program that draws on its terminal has the lines of the log drawn, too.
//!
//! Much of what is logged others have said: why a peer closed its connection, what a tracker refused, names. So every field
//! of every event is escaped where it is written: none of them ends a line or moves a cursor, in JSON neither.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer, debug_fn};

use crate::recent::Kept;

/// What may be given as a filter: levels, and levels of parts. A word alone would be taken for the name of a part, so a
/// mistyped level would silence everything; it is refused, unless it stands in `RUST_LOG`, which other programs read, too.
/// An error is a sentence.
pub fn log_filter(text: &str) -> Result<String, String> {
    if std::env::var("RUST_LOG").is_ok_and(|shared| shared == text) {
        return Ok(text.to_owned());
    }
    let is_filter = |part: &str| part.contains(['=', '[']) || part.parse::<LevelFilter>().is_ok();
    let wrong = text.split(',').map(str::trim).find(|part| !is_filter(part));
    if wrong.is_none() && EnvFilter::try_new(text).is_ok() {
        return Ok(text.to_owned());
    }
    let wrong = wrong.unwrap_or(text);
    Err(format!(
        "{wrong:?} is no level: choose off, error, warn, info, debug or trace, or give one to a part, as in peer=debug"
    ))
}

/// The parts of the project, as filters name them, with what their log lines begin with: the names of their packages.
const PARTS: [(&str, &str); 7] = [
    ("daemon", "p2p_fileshare_daemon"),
    ("peer", "p2p_fileshare::"),
    ("storage", "p2p_fileshare_storage"),
    ("swarm", "p2p_fileshare_swarm"),
    ("settings", "p2p_fileshare_settings"),
    ("tracker", "p2p_fileshare_tracker"),
    ("transport", "p2p_fileshare_transport"),
];

/// A filter that means the parts of the project by their short names, too: `peer=debug` is what `p2p_fileshare::=debug` is.
fn with_packages(filter: &str) -> String {
    let long = |part: &str| {
        let (name, rest) = part.split_at(part.find(['=', ':'])?);
        let (_, package) = PARTS.iter().find(|(short, _)| *short == name)?;
        // Within spans, which are written in brackets, a word is the name of a field.
        let plain = !part.contains(['[', ']', '{', '}']);
        plain.then(|| format!("{}{rest}", if rest.starts_with(':') { package.trim_end_matches(':') } else { package }))
    };
    let more: Vec<_> = filter.split(',').filter_map(|part| long(part.trim())).collect();
    [filter].into_iter().chain(more.iter().map(String::as_str)).collect::<Vec<_>>().join(",")
}

/// Where the log goes, if it goes to a file.
static FILE: OnceLock<LogFile> = OnceLock::new();

/// The file that the log of this process is written to.
pub fn log_file() -> Option<PathBuf> {
    FILE.get().map(|log| log.path.clone())
}

/// Opens the file that the log is written to anew, by its path: what was there may be called something else by now, as `logrotate`
/// does it. An error is a sentence, and the log goes on where it went.
pub fn reopen_log() -> Result<(), String> {
    FILE.get().map_or(Ok(()), LogFile::reopen)
}

/// A file of log lines.
struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, String> {
        // As it was when it was opened first, wherever the process is later.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let file = Mutex::new(open_log(&path)?);
        Ok(LogFile { path, file })
    }

    fn reopen(&self) -> Result<(), String> {
        let file = open_log(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

impl io::Write for &LogFile {
    /// Each event is written at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_log(path: &Path) -> Result<File, String> {
    let file = File::options().create(true).append(true).open(path);
    file.map_err(|error| format!("the log cannot be written to {}: {error}", path.display()))
}

/// Takes a line of the log; false if it does not draw now.
type DrawLine = fn(&str) -> bool;

/// What draws on the terminal, if anything does.
static DRAWS: OnceLock<DrawLine> = OnceLock::new();

/// Has lines of the log that are for standard error drawn where the program draws: a line that is written beside it would be
/// drawn over.
pub fn draw_log_with(draw: DrawLine) {
    let _ = DRAWS.set(draw);
}

/// Standard error, or what draws on it. Each event is written at once.
struct Errors;

impl io::Write for Errors {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let drawn = DRAWS.get().is_some_and(|draw| draw(&String::from_utf8_lossy(line)));
        if drawn { Ok(line.len()) } else { io::stderr().write_all(line).map(|()| line.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line, for programs.
    Json,
}

/// A writer of JSON lines in which nothing moves a cursor: JSON itself escapes only some of that.
struct EscapedJson<W>(W);

impl<W: io::Write> io::Write for EscapedJson<W> {
    /// Each event is written at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if !text.chars().any(|c| c != '\n' && protocol::is_unprintable(c)) {
            return self.0.write_all(line).map(|()| line.len());
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if c == '\n' || !protocol::is_unprintable(c) {
                escaped.push(c);
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = fmt::Write::write_fmt(&mut escaped, format_args!("\\u{unit:04x}"));
            }
        }
        self.0.write_all(escaped.as_bytes()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Begins to log what `filter` lets through (`warn` if it is no filter); behind what is in `file`, if there is one. An
/// error is a sentence.
pub fn start_log(filter: &str, file: Option<&Path>, format: LogFormat) -> Result<(), String> {
    // These crates log every packet that cannot be sent while a network is down; our own messages report that once.
    let filter =
        if filter == "warn" { "warn,quinn=error,quinn_proto=error,quinn_udp=off,rustls=error" } else { filter };
    let filter = EnvFilter::try_new(with_packages(filter)).unwrap_or_else(|_| EnvFilter::new("warn"));
    // A log that cannot be written, as on a full disk, is no reason to crash, which is what complaining of it there would do.
    let log = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter).fmt_fields(escaped());
    match file {
        Some(path) => {
            let file = LogFile::open(path)?;
            let file = FILE.get_or_init(|| file);
            match format {
                LogFormat::Text => log.with_writer(move || Kept(file)).with_ansi(false).init(),
                LogFormat::Json => as_json(log).with_writer(move || EscapedJson(Kept(file))).init(),
            }
        }
        None if format == LogFormat::Json => as_json(log).with_writer(|| EscapedJson(Kept(Errors))).init(),
        None => {
            let watched = std::io::stderr().is_terminal();
            let log = log.with_writer(|| Kept(Errors)).with_ansi(watched && crate::terminal::takes_codes());
            // On a terminal the time is known.
            if watched { log.without_time().init() } else { log.init() }
        }
    }
    Ok(())
}

type Log<F> = SubscriberBuilder<F, Format, EnvFilter>;

/// A JSON object a line, with the fields of the event beside its time, level and target.
fn as_json<F>(log: Log<F>) -> SubscriberBuilder<JsonFields, Format<Json>, EnvFilter>
where
    F: for<'writer> FormatFields<'writer> + 'static,
{
    log.json().flatten_event(true).with_current_span(false).with_span_list(false).with_ansi(false)
}

/// Fields as they are written by default, and escaped.
fn escaped() -> impl for<'writer> FormatFields<'writer> + 'static {
    debug_fn(field).delimited(" ")
}

fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = protocol::printable(&format!("{value:?}"));
    match field.name() {
        "message" => write!(writer, "{value}"),
        name if writer.has_ansi_escapes() => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
        name => write!(writer, "{name}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    /// Whether a filter lets through what a part says for debugging.
    fn lets(filter: &str, part: &str) -> bool {
        use tracing::{Level, enabled};
        let filter = EnvFilter::new(with_packages(filter));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::sink).finish();
        tracing::subscriber::with_default(log, || match part {
            "peer" => enabled!(target: "p2p_fileshare::net::dial", Level::DEBUG),
            "transport" => enabled!(target: "p2p_fileshare_transport::quic", Level::DEBUG),
            _ => enabled!(target: "p2p_fileshare_tracker::session", Level::DEBUG),
        })
    }

    #[test]
    fn filters_name_parts_by_their_short_names() {
        for (filter, yes, no) in [
            ("peer=debug", "peer", "transport"),
            ("warn, transport=debug", "transport", "peer"),
            ("tracker=debug,peer=info", "tracker", "peer"),
            ("peer::net=debug", "peer", "tracker"),
            ("p2p_fileshare_transport=debug", "transport", "peer"),
        ] {
            assert!(lets(filter, yes), "{filter}");
            assert!(!lets(filter, no), "{filter}");
        }
        assert!(!lets("peer::disk=debug", "peer"));
        // The names of packages begin alike: that of the library alone means all of the project.
        assert!(lets("p2p_fileshare=debug", "transport"));
        for odd in ["off", "x[of{a=1,peer=2}]=debug", "debug,hyper=off", ""] {
            assert_eq!(with_packages(odd), odd);
        }
    }

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = LogFile::open(&path).unwrap();
        writeln!(&log, "one").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        writeln!(&log, "two").unwrap();
        log.reopen().unwrap();
        writeln!(&log, "three").unwrap();
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&moved), read(&path)), ("one\ntwo\n".to_owned(), "three\n".to_owned()));
        // Not removed: on Windows a name may stay until what has it open is closed.
        std::fs::rename(&path, folder.path().join("log.2")).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(log.reopen().is_err());
        writeln!(&log, "four").expect("it goes on where it went");
    }

    #[test]
    fn a_line_of_json_is_read_back_and_moves_no_cursor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = Mutex::new(EscapedJson(File::create(&path).unwrap()));
        let log = as_json(tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info"))).with_writer(file).finish();
        let reason = "x\n\u{1b}[2J\u{9b}2J\u{202e}\u{e0001}\"";
        tracing::subscriber::with_default(log, || tracing::warn!(reason, number = 7, "it ended"));
        let log = std::fs::read_to_string(&path).unwrap();
        assert!(!log.chars().any(|c| c != '\n' && protocol::is_unprintable(c)), "{log:?}");
        assert_eq!(log.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!((&line["reason"], &line["level"]), (&reason.into(), &"WARN".into()));
        assert_eq!((&line["message"], &line["number"]), (&"it ended".into(), &7.into()));
    }

    #[test]
    fn a_line_of_the_log_stays_one_line_whatever_stands_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = Arc::new(File::create(&path).unwrap());
        let log = tracing_subscriber::fmt().fmt_fields(escaped()).with_ansi(false).with_writer(file).finish();
        let reason = "x\nssh-ed25519 AAAA\r\u{1b}[2J\u{9b}2J\u{202e}";
        tracing::subscriber::with_default(log, || {
            let _span = tracing::info_span!("of", name = reason).entered();
            tracing::warn!(%reason, quoted = reason, also = ?reason, "it ended: {reason}");
            tracing::warn!("{reason}");
        });
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(!log.chars().any(|c| c != '\n' && protocol::is_unprintable(c)), "{log:?}");
        let shown = r"x\u{a}ssh-ed25519 AAAA\u{d}\u{1b}[2J\u{9b}2J\u{202e}";
        assert!(log.contains(&format!("it ended: {shown} reason={shown} quoted=\"x")), "{log}");
    }
}
