//! `cargo xtask …`: a tool's name is the first argument, and all others are the tool's own.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (tool, arguments) = launcher::choose(&words);
    launcher::run(tool, &arguments)
}
