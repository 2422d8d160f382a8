//! `cargo xtask chaos`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tool::main("chaos", chaos::run)
}
