//! Where a program's log goes: to standard error, with colours if that is a terminal, or to a file.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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

/// Begins to log what `filter` lets through (`warn` if it is no filter); behind what is in `file`, if there is one. An
/// error is a sentence.
pub fn start_log(filter: &str, file: Option<&Path>) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match file {
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(|error| format!("the log cannot be written to {}: {error}", path.display()))?;
            log.with_writer(Mutex::new(file)).with_ansi(false).init();
        }
        None => {
            // https://no-color.org: any value that is not empty.
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            log.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal() && !plain).init();
        }
    }
    Ok(())
}
