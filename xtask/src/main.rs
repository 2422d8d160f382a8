//! The project's own tools, run as `cargo xtask …`: kept in Rust, so that a fresh machine needs nothing else.

use std::env;
use std::process::{Command, ExitCode};

/// What CI runs, in order: each is a cargo command.
const CHECKS: [&[&str]; 4] = [
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    &["test", "--workspace"],
    &["doc", "--workspace", "--no-deps"],
];

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("ci") => ci(),
        _ => {
            eprintln!("usage: cargo xtask ci");
            ExitCode::from(2)
        }
    }
}

fn ci() -> ExitCode {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for check in CHECKS {
        eprintln!("cargo {}", check.join(" "));
        let status = Command::new(&cargo).args(check).env("RUSTDOCFLAGS", "-D warnings").status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("failed: cargo {}", check.join(" "));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
