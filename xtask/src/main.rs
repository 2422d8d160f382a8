//! The project's tools, run as `cargo xtask …`. They are written in Rust, so that a fresh machine needs nothing else. Tools that run
//! swarms are separate programs: `launcher` starts them, and they are listed here for `--help`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, FromArgMatches, Subcommand, value_parser};

#[derive(Subcommand)]
enum Chore {
    /// Make a CA and certificates for a closed swarm in certs/, as `tracker --init-closed` does; --help lists its flags
    #[command(disable_help_flag = true)]
    Certs(xtask::certs::Arguments),
    /// Make what is handed out: stripped programs, completions, man pages, an archive, a Debian package, the same for Windows, macOS and any
    /// Linux, checksums
    Dist(xtask::dist::Arguments),
    /// Check that everything compiles for Windows and macOS, build the programs for Windows, and run them under Wine
    Cross(xtask::cross::Arguments),
    /// Write the tables of flags in docs/use/commands.md anew, as the programs have them
    Docs,
    /// Run all that CI runs, or some parts of it: format, clippy, arrows between crates, tests, docs, other platforms
    Ci(xtask::ci::Arguments),
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    if let Some((name, passed)) = matches.subcommand()
        && let Some(tool) = launcher::tool(name)
    {
        let arguments: Vec<OsString> = passed.get_many(ARGUMENTS).unwrap_or_default().cloned().collect();
        return launcher::run(tool, &arguments);
    }
    let chore = Chore::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    tool::exit_code(match chore {
        Chore::Certs(arguments) => xtask::certs::run(&arguments),
        Chore::Dist(arguments) => xtask::dist::run(&arguments),
        Chore::Cross(arguments) => xtask::cross::run(&arguments),
        Chore::Docs => xtask::docs::run(),
        Chore::Ci(arguments) => xtask::ci::run(&arguments),
    })
}

/// What a tool that is started is given.
const ARGUMENTS: &str = "arguments";

fn command() -> Command {
    let command = Command::new("cargo xtask").bin_name("cargo xtask").subcommand_required(true);
    let tools = launcher::TOOLS.iter().map(|tool| {
        let passed = Arg::new(ARGUMENTS).action(ArgAction::Append).num_args(0..).value_parser(value_parser!(OsString));
        let passed = passed.trailing_var_arg(true).allow_hyphen_values(true);
        Command::new(tool.name).about(tool.about).disable_help_flag(true).arg(passed)
    });
    Chore::augment_subcommands(command.arg_required_else_help(true).subcommands(tools))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_and_chores_are_listed_together() {
        command().debug_assert();
        let help = command().render_help().to_string();
        let names = ["swarm", "bench", "chaos", "soak", "nat", "simulate", "certs", "dist", "cross", "docs", "ci"];
        let at: Vec<_> = names.iter().map(|name| help.find(&format!("\n  {name} ")).expect(name)).collect();
        assert!(at.is_sorted(), "{help}");
    }
}
