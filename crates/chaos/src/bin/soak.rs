//! `cargo xtask soak`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tool::main("soak", chaos::soak::run)
}
