//! The program behind `cargo xtask`. It uses no other crate, so it is compiled in a second. It then has cargo build the requested
//! tool, and the programs that the tool runs, in one call: each dependency is compiled once, and nothing that the tool does not
//! need. Meanwhile it shows cargo's progress.
//!
//! ```
//! let (tool, arguments) = launcher::choose(&["swarm".into(), "--seeders".into(), "3".into()]);
//! assert_eq!((tool.name, arguments.len()), ("swarm", 2));
//! ```

mod build;
mod progress;

use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode};

pub use build::{cargo, without_cargo};

/// A tool that is a program of its own.
#[derive(Debug)]
pub struct Tool {
    /// As it is called on the command line.
    pub name: &'static str,
    /// What it does, for `--help`.
    pub about: &'static str,
    /// Its package.
    package: &'static str,
    /// Its program in that package.
    program: &'static str,
    /// The profile that it is built with.
    profile: &'static str,
    /// Whether it runs `tracker` and `peer-cli`, built with the same profile.
    runs_programs: bool,
    /// The beginning of arguments for which something is built with features, and those.
    feature: Option<(&'static str, &'static str)>,
}

/// What the programs have that are handed out, beside what every build has.
pub const FEATURES_FOR_PEOPLE: &str = "peer-cli/port-mapping,peer-cli/gateway,peer-cli/origins,metrics,web";

/// What is optimised, and quick to build.
const QUICK: &str = "quick";

/// All but the chores in `xtask`.
pub const TOOLS: [Tool; 6] = [
    Tool {
        name: "swarm",
        about: "Run a whole swarm on this machine: a tracker, seeders and downloaders as processes, real files, compared bytes",
        package: "testbed",
        program: "testbed",
        profile: QUICK,
        runs_programs: true,
        feature: Some(("--uplink", "testbed/optimum")),
    },
    Tool {
        name: "bench",
        about: "Measure throughput, start and memory over loopback, beside the floors of the machine and other programs",
        package: "bench",
        program: "bench",
        profile: "release",
        runs_programs: true,
        feature: Some(("reach", FEATURES_FOR_PEOPLE)),
    },
    Tool {
        name: "chaos",
        about: "Run a swarm under one fault after another (liars, crashes, lossy links, floods, …), and judge each by its figures",
        package: "chaos",
        program: "chaos",
        profile: QUICK,
        runs_programs: true,
        feature: None,
    },
    Tool {
        name: "soak",
        about: "Run a swarm of 20 peers for a while with crashes, liars and bad links from a seed, and watch its memory",
        package: "chaos",
        program: "soak",
        profile: QUICK,
        runs_programs: true,
        feature: None,
    },
    Tool {
        name: "nat",
        about: "Share and get between machines behind routers of several kinds (Linux: root, or namespaces for users; ip and nft)",
        package: "nat",
        program: "nat",
        profile: QUICK,
        runs_programs: true,
        feature: None,
    },
    Tool {
        name: "simulate",
        about: "Run a swarm of thousands in virtual time, with modelled links",
        package: "simulate",
        program: "simulate",
        profile: "release",
        runs_programs: false,
        feature: None,
    },
];

/// The project's own chores: whatever else `cargo xtask` is asked for, and `--help`.
const CHORES: Tool = Tool {
    name: "",
    about: "",
    package: "xtask",
    program: "xtask",
    profile: "dev",
    runs_programs: false,
    feature: None,
};

/// The tool of this name.
pub fn tool(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The tool that a command line names, and the arguments that are left for it.
pub fn choose(words: &[OsString]) -> (&'static Tool, Vec<OsString>) {
    let named = |word: &OsString| word.to_str().and_then(tool);
    match words {
        [help, name] if help == "help" && named(name).is_some() => {
            (named(name).unwrap_or(&CHORES), vec!["--help".into()])
        }
        [name, arguments @ ..] if named(name).is_some() => (named(name).unwrap_or(&CHORES), arguments.to_vec()),
        _ => (&CHORES, words.to_vec()),
    }
}

impl Tool {
    /// What cargo is told to build, for a run with these arguments.
    fn parts(&self, arguments: &[OsString]) -> Vec<&str> {
        let begins = |start: &str| arguments.iter().any(|word| word.to_string_lossy().starts_with(start));
        let mut parts = vec!["--profile", self.profile, "-p", self.package, "--bin", self.program];
        // Help needs no programs, nor what only they have.
        if asks_for_help(arguments) {
            return parts;
        }
        if self.runs_programs {
            parts.extend(["-p", "tracker", "--bin", "tracker", "-p", "peer-cli", "--bin", "peer-cli"]);
        }
        if let Some((_, feature)) = self.feature.filter(|(start, _)| begins(start)) {
            parts.extend(["--features", feature]);
        }
        parts
    }
}

fn asks_for_help(arguments: &[OsString]) -> bool {
    arguments.iter().any(|word| word == OsStr::new("--help") || word == OsStr::new("-h"))
}

/// Builds a tool, runs it with these arguments, and gives its exit status.
pub fn run(tool: &Tool, arguments: &[OsString]) -> ExitCode {
    let program = match build::build(&tool.parts(arguments), tool.profile, tool.program) {
        Ok(program) => program,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut command = Command::new(&program);
    match start(command.args(arguments)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {} does not start: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}

/// Becomes the program, so that signals and the terminal are its own.
#[cfg(unix)]
fn start(command: &mut Command) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

/// Runs the program to its end.
#[cfg(not(unix))]
fn start(command: &mut Command) -> std::io::Result<ExitCode> {
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn the_first_word_chooses_the_tool() {
        for (line, name, left) in [
            ("swarm --seeders 3", "swarm", "--seeders 3"),
            ("help chaos", "chaos", "--help"),
            ("ci", "", "ci"),
            ("--help", "", "--help"),
            ("help", "", "help"),
            ("dist swarm", "", "dist swarm"),
            ("", "", ""),
        ] {
            let (tool, arguments) = choose(&words(line));
            assert_eq!((tool.name, arguments), (name, words(left)), "{line}");
        }
    }

    #[test]
    fn a_swarm_needs_the_simulator_only_for_limited_uplinks() {
        let swarm = tool("swarm").unwrap();
        let parts = |line| swarm.parts(&words(line)).join(" ");
        assert!(!parts("--seeders 3").contains("--features"));
        assert!(parts("--netns --uplink=50mbit").ends_with("--features testbed/optimum"));
    }

    #[test]
    fn what_origins_and_gateways_reach_is_measured_with_those_built_in() {
        let bench = tool("bench").unwrap();
        assert!(!bench.parts(&words("--rounds 3")).contains(&"--features"));
        assert!(bench.parts(&words("reach nginx")).ends_with(&["--features", FEATURES_FOR_PEOPLE]));
        assert!(
            !bench.parts(&words("reach --help")).contains(&"--features"),
            "packages that are not built have no features"
        );
    }

    /// Crates by the features that they are built with, if these packages are built.
    fn crates(packages: &[&str]) -> BTreeSet<String> {
        let mut tree = cargo();
        tree.args(["tree", "--edges=normal,build", "--prefix=none", "--format={p} {f}"]);
        tree.args(packages.iter().map(|package| format!("-p{package}")));
        let output = tree.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    }

    /// A tool is built together with the programs, and then asks for the programs alone: what has other features then is
    /// built twice.
    #[test]
    fn what_tools_and_programs_share_is_built_once() {
        let alone = crates(&["tracker", "peer-cli"]);
        let names: BTreeSet<_> = alone.iter().map(|line| line.split(' ').next().unwrap()).collect();
        for tool in TOOLS.iter().filter(|tool| tool.runs_programs) {
            let mut together = crates(&[tool.package, "tracker", "peer-cli"]);
            together.retain(|line| names.contains(line.split(' ').next().unwrap()));
            assert_eq!(together, alone, "{}: its features belong in the root Cargo.toml", tool.package);
        }
    }

    /// What the optional parts need slows nobody down who does not have them.
    #[test]
    fn the_usual_build_speaks_no_http() {
        let usual = crates(&["tracker", "peer-cli"]);
        let name = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
        let names: BTreeSet<_> = usual.iter().map(name).collect();
        for optional in ["axum", "hyper", "object_store", "reqwest"] {
            assert!(!names.contains(optional), "{optional} is among {names:?}");
        }
    }

    #[test]
    fn help_needs_the_tool_alone() {
        let swarm = tool("swarm").unwrap();
        assert!(swarm.parts(&words("--size 1MiB")).contains(&"peer-cli"));
        assert!(!swarm.parts(&words("--help")).contains(&"peer-cli"));
    }
}
