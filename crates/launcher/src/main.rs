//! `cargo xtask …`: the first argument is a tool's name, and the others are the tool's arguments.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (tool, arguments) = launcher::choose(&words);
    launcher::run(tool, &arguments)
}
