//! `cargo xtask swarm`.

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::tool::main("swarm", testbed::swarm::run)
}
