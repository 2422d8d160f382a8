//! `cargo xtask swarm`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tool::main("swarm", testbed::swarm::run)
}
