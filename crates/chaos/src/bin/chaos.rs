//! `cargo xtask chaos`.

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::tool::main("chaos", chaos::run)
}
