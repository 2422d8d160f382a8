//! The project's own tools, run as `cargo xtask …`: kept in Rust, so that a fresh machine needs nothing else.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Run a whole swarm on this machine: a tracker, seeders and downloaders as processes, real files, compared bytes
    Swarm(Box<xtask::swarm::Arguments>),
    /// Measure throughput, start and memory over loopback, beside the floors of the machine and other programs
    Bench(xtask::bench::Arguments),
    /// Run a swarm under one fault after another (liars, crashes, lossy links, floods, …), and judge each by its figures
    Chaos(xtask::chaos::Arguments),
    /// Run a swarm of 20 peers for a while with crashes, liars and bad links from a seed, and watch its memory
    Soak(xtask::soak::Arguments),
    /// Run a swarm of thousands in virtual time, with modelled links
    Simulate(xtask::simulate::Arguments),
    /// Make a CA and certificates for a closed swarm in certs/, as `tracker --init-closed` does; --help lists its flags
    #[command(disable_help_flag = true)]
    Certs(xtask::certs::Arguments),
    /// Make what is handed out: stripped programs, completions, man pages, an archive, a Debian package, the same for Windows, macOS and any
    /// Linux, checksums
    Dist(xtask::dist::Arguments),
    /// Check that everything compiles for Windows and macOS, build the programs for Windows, and run them under Wine
    Cross(xtask::cross::Arguments),
    /// Run all that CI runs: format, clippy, arrows between crates, tests, docs, other platforms
    Ci,
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Swarm(arguments) => xtask::swarm::run(&arguments),
        Task::Bench(arguments) => xtask::bench::run(&arguments),
        Task::Chaos(arguments) => xtask::chaos::run(&arguments),
        Task::Soak(arguments) => xtask::soak::run(&arguments),
        Task::Simulate(arguments) => xtask::simulate::run(&arguments),
        Task::Certs(arguments) => xtask::certs::run(&arguments),
        Task::Dist(arguments) => xtask::dist::run(&arguments),
        Task::Cross(arguments) => xtask::cross::run(&arguments),
        Task::Ci => xtask::ci::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let interrupted = error.is::<xtask::swarm::Interrupted>();
            if interrupted { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}
