//! The file `p2p-fileshare.toml`: a table a program, with the long names of its flags as keys.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Command;
use toml::de::{DeTable, DeValue};

use crate::{CONFIG, Found, Names, Surroundings, given, nearest, value};

/// Longest file that is read: settings are short, and a wrong path may name anything.
const LONGEST: u64 = 1 << 20;

/// The text of a file.
pub(crate) struct File {
    path: PathBuf,
    text: String,
}

impl File {
    /// Reads the chosen file, which must be there, or else the first of the surroundings that is. Errors are sentences.
    pub(crate) fn open(chosen: Option<OsString>, surroundings: &Surroundings) -> Result<Option<Self>, String> {
        if let Some(path) = chosen {
            return Self::read(Path::new(&path)).map(Some);
        }
        surroundings.files.iter().find(|path| path.is_file()).map(|path| Self::read(path)).transpose()
    }

    fn read(path: &Path) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("the settings in {} cannot be read: {error}", path.display());
        if std::fs::metadata(path).map_err(cannot)?.len() > LONGEST {
            return Err(format!("{} is too long to be a file of settings", path.display()));
        }
        Ok(File { path: path.to_owned(), text: std::fs::read_to_string(path).map_err(cannot)? })
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
                    let words = value::of_value(command, name, value.get_ref())
                        .map_err(|reason| self.sentence(at, &format!("`{name}`: {reason}")))?;
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
