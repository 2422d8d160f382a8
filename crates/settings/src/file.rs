//! The file `p2p-fileshare.toml`: a table a program, with the long names of its flags as keys.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Command;
use toml::de::{DeTable, DeValue};

use crate::{CONFIG, Found, Names, given, nearest, value};

/// Longest file that is read: settings are short, and a wrong path may name anything.
const LONGEST: u64 = 1 << 20;

/// The text of a file.
pub(crate) struct File {
    path: PathBuf,
    text: String,
    /// Whether it is the one of the working folder.
    working: bool,
}

impl File {
    /// Reads a file that must be there. Errors are sentences.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        if is_nothing(path, cfg!(windows)) {
            return Ok(File { path: path.to_owned(), text: String::new(), working: false });
        }
        let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
        Ok(File { path: path.to_owned(), text: text(path, file)?, working: false })
    }

    /// Reads the first of these files that is there.
    pub(crate) fn first(paths: &[PathBuf]) -> Result<Option<Self>, String> {
        paths.iter().find(|path| path.is_file()).map(|path| Self::read(path)).transpose()
    }

    /// Reads the file of the working folder, if one is there that nobody else can have written. An error is a sentence that
    /// says why it is left alone.
    pub(crate) fn working(path: &Path) -> Result<Option<Self>, String> {
        let left = |why: &str| Err(format!("{} in the working folder is not read: {why}", path.display()));
        match std::fs::symlink_metadata(path) {
            Ok(seen) if seen.is_symlink() => return left("it is a link"),
            Ok(seen) if seen.is_file() => {}
            _ => return Ok(None),
        }
        let file = match open_no_link(path) {
            Ok(file) => file,
            Err(error) => return left(&error.to_string()),
        };
        // What was opened is asked, not what has the name by now.
        let seen = file.metadata().map_err(|error| unreadable(path, &error))?;
        match foreign(&seen) {
            _ if !seen.is_file() => Ok(None),
            Some(why) => left(why),
            None => Ok(Some(File { path: path.to_owned(), text: text(path, file)?, working: true })),
        }
    }

    /// Whether a setting counts: in the working folder a harmless flag that is given once, with no path in what it is set to.
    pub(crate) fn may_say(&self, names: &Names, long: &str, words: &[OsString]) -> bool {
        let names_a_path = |word: &OsString| {
            let word = word.to_string_lossy();
            word.contains(['/', '\\']) || word.contains("..")
        };
        !self.working || self.is_judged(names, long) && words.len() == 1 && !words.iter().any(names_a_path)
    }

    /// What cannot count is not even looked at: to judge some values is to open a file.
    fn is_judged(&self, names: &Names, long: &str) -> bool {
        !self.working || names.harmless.contains(&long)
    }

    /// Words for every setting of this program. An unknown name or a value that does not fit is an error that says where.
    pub(crate) fn settings(&self, names: &Names, command: &Command) -> Result<Found, String> {
        let document = DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.sentence(at, error.message())
        })?;
        let mut known = Vec::new();
        every_flag(command, &mut known);
        let tables = || std::iter::once(names.table).chain(names.others.iter().copied());
        let mut found = Vec::new();
        for (key, value) in document.get_ref() {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let DeValue::Table(table) = value.get_ref() else {
                let all: Vec<_> = tables().map(|table| format!("[{table}]")).collect();
                let sentence = format!("`{name}` belongs to a program: put it below a line {}", all.join(" or "));
                return Err(self.sentence(at, &sentence));
            };
            if !tables().any(|table| table == name) {
                return Err(self.sentence(at, &unknown("program", name, tables())));
            }
            // The rest is for the other program to judge.
            if name == names.table {
                for (key, value) in table {
                    let (name, at) = (key.get_ref().as_ref(), key.span().start);
                    if !known.iter().any(|long| long == name) || name == CONFIG {
                        let candidates = known.iter().map(String::as_str).filter(|long| *long != CONFIG);
                        return Err(self.sentence(at, &unknown("setting", name, candidates)));
                    }
                    let words = match self.is_judged(names, name) {
                        true => value::of_value(command, name, value.get_ref())
                            .map_err(|reason| self.sentence(at, &format!("`{name}`: {reason}")))?,
                        false => Vec::new(),
                    };
                    found.push((name.to_owned(), words));
                }
            }
        }
        Ok(found)
    }

    /// How it is called in sentences.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn sentence(&self, at: usize, what: &str) -> String {
        let line = self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("{}, line {line}: {what}", self.path.display())
    }
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("there is no {kind} `{name}`; did you mean `{near}`?"),
        None if kind == "program" => {
            format!("there is no {kind} `{name}`, only {}", known.collect::<Vec<_>>().join(" and "))
        }
        None => format!("there is no {kind} `{name}`; --help names them all"),
    }
}

/// Long names of all flags, of subcommands too.
fn every_flag(command: &Command, known: &mut Vec<String>) {
    known.extend(command.get_arguments().filter_map(given::long));
    command.get_subcommands().for_each(|subcommand| every_flag(subcommand, known));
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("the settings in {} cannot be read: {error}", path.display())
}

/// Whether a path is how one says that there are no settings: the null device, which Windows spells
/// in any case, and may refuse to read. Users who come from Unix, or type in its shells, say `/dev/null` there as well.
fn is_nothing(path: &Path, windows: bool) -> bool {
    let text = path.to_string_lossy();
    let device = text.trim_start_matches(r"\\.\");
    text == "/dev/null" || windows && device.trim_end_matches(':').eq_ignore_ascii_case("NUL")
}

fn text(path: &Path, file: std::fs::File) -> Result<String, String> {
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        // What `>` and `Out-File` of PowerShell before 6 write.
        io::ErrorKind::InvalidData => {
            format!("the settings in {} are no UTF-8: save the file as UTF-8", path.display())
        }
        _ => unreadable(path, &error),
    })?;
    if text.len() as u64 > LONGEST {
        return Err(format!("{} is too long to be a file of settings", path.display()));
    }
    Ok(text)
}

/// Opens a file to read, but not through a link that has just been put there.
#[cfg(unix)]
fn open_no_link(path: &Path) -> io::Result<std::fs::File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    // A pipe would be waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    std::fs::File::options().read(true).custom_flags(flags.bits() as i32).open(path)
}

#[cfg(not(unix))]
fn open_no_link(path: &Path) -> io::Result<std::fs::File> {
    std::fs::File::open(path)
}

/// Why someone else may have written a file.
#[cfg(unix)]
fn foreign(seen: &std::fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    if seen.uid() != rustix::process::geteuid().as_raw() {
        return Some("it belongs to another user");
    }
    // Bits for the group and for others.
    (seen.mode() & 0o022 != 0).then_some("others than its owner may write to it (chmod go-w mends that)")
}

/// Metadata does not tell here which users may write to a file.
#[cfg(not(unix))]
fn foreign(_: &std::fs::Metadata) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_in_front_is_no_setting_and_another_encoding_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, b"\xef\xbb\xbf[peer-cli]\r\nup-rate = '1MiB'\r\n").unwrap();
        let file = File::read(&path).unwrap();
        assert!(DeTable::parse(&file.text).unwrap().get_ref().contains_key("peer-cli"));
        std::fs::write(&path, b"\xff\xfe[\0p\0]\0").unwrap();
        let error = File::read(&path).map(drop).unwrap_err();
        assert!(error.contains("save the file as UTF-8"), "{error}");
    }

    #[test]
    fn the_null_device_is_no_settings_and_is_not_opened() {
        let is = |path: &str, windows| is_nothing(Path::new(path), windows);
        assert!(["NUL", "nul", "NUL:", r"\\.\NUL", "/dev/null"].iter().all(|path| is(path, true)));
        assert!(is("/dev/null", false) && !is("NUL", false));
        assert!(!is("NUL.toml", true) && !is(r"C:\NUL-settings\x.toml", true));
        assert!(File::read(Path::new("/dev/null")).is_ok_and(|file| file.text.is_empty()));
    }
}
