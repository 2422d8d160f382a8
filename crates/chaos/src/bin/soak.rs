//! `cargo xtask soak`.

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::tool::main("soak", chaos::soak::run)
}
