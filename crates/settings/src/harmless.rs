//! Which flags a file of the working folder may set: those that do no harm, no matter who put the file there.

use clap::{ArgAction, Command, ValueHint};

use crate::Names;

/// Values that name a file, a host, an identity or a way to deal with them.
const HARMFUL: [&str; 10] =
    ["FILE", "FOLDER", "NAME", "TRACKER_IP", "ADDRESS", "ADDRESS:PORT", "ID", "PEER", "POLICY", "SHELL"];

/// What is wrong with the flags that a program lists as harmless, a sentence each, for its tests: each is given once and takes
/// a number, a size, a rate, a level or the like. `names_no_file` are those whose NAME is that of something else than a file.
pub fn harm_in_working_folder(names: &Names, command: &Command, names_no_file: &[&str]) -> Vec<String> {
    let wrong = |long: &str| {
        let Some(flag) = command.get_arguments().find(|flag| flag.get_long() == Some(long)) else {
            return Some(format!("there is no --{long}"));
        };
        if !matches!(flag.get_action(), ArgAction::Set | ArgAction::SetTrue) {
            return Some(format!("--{long} may be given more than once"));
        }
        if flag.get_value_hint() == ValueHint::AnyPath {
            return Some(format!("--{long} takes a path"));
        }
        let values = flag.get_value_names().unwrap_or_default().iter().map(|name| name.as_str());
        let harmful = |name: &str| HARMFUL.contains(&name) && !(name == "NAME" && names_no_file.contains(&long));
        values.into_iter().find(|name| harmful(name)).map(|name| format!("--{long} takes a {name}"))
    };
    names.harmless.iter().filter_map(|long| wrong(long)).collect()
}
