//! Runs everything that a change must pass, in order. Most parts are cargo commands; the dependencies between crates and the import
//! cycles between modules are checked here.

mod optional;
mod packages;
mod room;
mod stories;
mod tests;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::cross::{self, Skipped};
use crate::{names, rings};

/// What a change must pass, part by part. Cheap ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// rustfmt finds nothing to change
    Format,
    /// clippy has nothing to say of the workspace
    Clippy,
    /// Crates depend along the arrows, modules import each other in no rings, and a name stands for one type of a crate
    Arrows,
    /// The libraries build from what would be published
    Packed,
    /// Tests of the workspace
    Tests,
    /// Every plan made small, and many seeds of those where somebody could be stuck
    Simulation,
    /// Backends written outside the crates pass the same suites
    Examples,
    /// Every item has its documentation, and every link leads somewhere
    Docs,
    /// What is fuzzed, with seeded random bytes, by any compiler
    Fuzzed,
    /// Parts that a usual build does not have
    Optional,
    /// What readers paste of the pages about gateways, hubs, mirrors and origins
    Stories,
    /// Packages, the chart and the image's recipe
    Packages,
    /// Windows and macOS
    Platforms,
    /// Every fuzz target for some seconds, with a nightly compiler
    Fuzzing,
}

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these parts, in their usual order; if none is given, all but the stories
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,
    /// Remove each program of tests once it has run: where everything is built once, they only fill the disk
    #[arg(long)]
    once: bool,
}

/// Each is fuzzed for this long: enough to see that it still runs.
const FUZZING: &str = "-max_total_time=10";

/// Bytes that compilers for other platforms, Wine, and what is built with them take.
const PLATFORMS_TAKE: u64 = 5 << 30;

/// What each crate may use of the others, by the names of their folders: ARCHITECTURE.md draws it. Chores and tests stand outside.
const ARROWS: [(&str, &[&str]); 27] = [
    ("atomic-file", &[]),
    ("integrity", &[]),
    ("protocol", &["integrity"]),
    ("swarm", &["protocol"]),
    ("storage", &["protocol", "atomic-file"]),
    ("transport", &["protocol", "atomic-file"]),
    ("lan", &["transport"]),
    ("origins", &["storage"]),
    ("peer", &["swarm", "storage", "transport", "lan"]),
    ("http-access", &[]),
    ("gateway", &["peer", "origins", "http-access"]),
    ("page", &["http-access"]),
    ("daemon", &["peer", "page"]),
    ("monitor", &["http-access"]),
    ("settings", &["protocol"]),
    ("tracker", &["swarm", "transport"]),
    ("tracker-cli", &["tracker", "settings", "monitor", "page"]),
    ("sim", &["swarm"]),
    ("peer-cli", &["peer", "daemon", "tracker", "settings", "gateway", "origins", "monitor"]),
    // What runs the programs, and none of the programs uses.
    ("launcher", &[]),
    ("tool", &["launcher"]),
    ("testbed", &["launcher", "tool", "peer", "sim"]),
    ("hostile", &["peer"]),
    ("bench", &["testbed", "peer"]),
    ("chaos", &["testbed", "hostile"]),
    ("nat", &["testbed"]),
    ("simulate", &["tool", "sim"]),
];
const OUTSIDE: [&str; 2] = ["xtask", "tests"];

/// Runs the parts that are asked for, or all. A failure is kept for the end, so that one run shows all of them.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Stories take minutes of their own, and every client that the pages talk of.
    let is_usual = |part: &Part| arguments.parts.is_empty() && *part != Part::Stories;
    let is_asked = |part: &Part| is_usual(part) || arguments.parts.contains(part);
    let mut took = Took::default();
    let mut skipped = Skipped::default();
    let mut failed = Vec::new();
    for part in Part::value_variants().iter().filter(|part| is_asked(part)) {
        let name = part.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        if let Err(error) = took.step(&name, || part.run(arguments.once, &mut skipped)) {
            eprintln!("failed: {name}: {error:#}");
            failed.push(format!("{name}: {error:#}"));
        }
    }
    took.sum_up();
    skipped.sum_up();
    // What they said may be far above, or not kept.
    failed.iter().for_each(|failed| eprintln!("failed: {failed}"));
    ensure!(failed.is_empty(), "{} failed; what each said stands above", failed.len());
    Ok(())
}

impl Part {
    fn run(self, once: bool, skipped: &mut Skipped) -> anyhow::Result<()> {
        match self {
            Part::Format => {
                cargo(&["fmt", "--all", "--check"])?;
                cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
            }
            Part::Clippy => cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            Part::Arrows => {
                let packages = packages()?;
                check_arrows(&uses(&packages)?)?;
                check_modules(&packages)
            }
            Part::Packed => pack(&packages()?),
            Part::Tests => tests::run(&["--workspace"], once, |_| {}),
            Part::Simulation => cargo(&["run", "--quiet", "--release", "-p", "simulate", "--", "--smoke"]),
            Part::Examples => examples(&["own_storage", "own_transport"]),
            Part::Docs => cargo(&["doc", "--workspace", "--no-deps"]),
            Part::Fuzzed => cargo(&["test", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz"]),
            Part::Optional => optional::run(once, skipped),
            Part::Stories => stories::run(skipped),
            Part::Packages => packages::run(skipped),
            Part::Platforms if room::is_enough("Windows and macOS", PLATFORMS_TAKE, skipped) => {
                cross::run_in_ci(skipped)
            }
            Part::Platforms => Ok(()),
            Part::Fuzzing => fuzz(skipped),
        }
    }
}

/// Where the minutes go, and the disk: what each step took, and what was free on the disk after it.
#[derive(Default)]
struct Took(Vec<(String, Duration, String)>);

impl Took {
    fn step<T>(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        eprintln!("{name}");
        let began = Instant::now();
        let result = step();
        self.0.push((name.to_owned(), began.elapsed(), room::said()));
        result
    }

    fn sum_up(&self) {
        let seconds = |took: &Duration| took.as_secs();
        for (name, took, free) in &self.0 {
            eprintln!("{:>6} s  {name:<10}  {free}", seconds(took));
        }
        eprintln!("{:>6} s  in all", seconds(&self.0.iter().map(|(_, took, _)| *took).sum()));
    }
}

/// Builds examples with the features that the tests were built with, so that nothing they use is built once more, and runs them.
fn examples(names: &[&str]) -> anyhow::Result<()> {
    let mut build = vec!["build", "--workspace"];
    build.extend(names.iter().flat_map(|name| ["--example", name]));
    cargo(&build)?;
    let programs = env::current_exe()?.with_file_name("examples");
    for name in names {
        let status = Command::new(programs.join(name)).status().with_context(|| format!("{name} does not start"))?;
        ensure!(status.success(), "the example {name} failed");
    }
    Ok(())
}

/// A short run of every fuzz target, where a nightly compiler and cargo-fuzz are there.
fn fuzz(skipped: &mut Skipped) -> anyhow::Result<()> {
    // Ours was chosen for us; the one that is found by name chooses anew.
    let nightly = || {
        let mut command = Command::new("cargo");
        command.env("RUSTUP_TOOLCHAIN", "nightly").arg("fuzz");
        command
    };
    if !nightly().arg("--version").output().is_ok_and(|output| output.status.success()) {
        skipped.say("no fuzzing: it needs a nightly compiler and cargo-fuzz");
        return Ok(());
    }
    let files = std::fs::read_dir("fuzz/fuzz_targets").context("fuzz/ has no targets")?;
    let mut targets = files.map(|file| Ok(file?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    targets.sort();
    for target in targets.iter().filter_map(|path| path.file_stem()?.to_str()) {
        eprintln!("cargo fuzz run {target}");
        let status = nightly().args(["run", "--features", "targets", target, "--", FUZZING]).status()?;
        ensure!(status.success(), "fuzzing {target} found something: it lies in fuzz/artifacts/{target}");
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let status = command().args(arguments).env("RUSTDOCFLAGS", "-D warnings").status()?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Which crates of the workspace each one uses, but for its tests.
type Uses = BTreeMap<String, Vec<String>>;

/// What cargo says of each package of the workspace.
fn packages() -> anyhow::Result<Vec<Value>> {
    let output = command().args(["metadata", "--no-deps", "--format-version=1"]).output()?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    metadata["packages"].as_array().cloned().context("cargo metadata lists no packages")
}

fn uses(packages: &[Value]) -> anyhow::Result<Uses> {
    let used = |package: &Value| {
        let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
        // A path marks a crate of the workspace; a kind, that only tests or the build use it.
        let ours = dependencies.iter().filter(|found| found["kind"].is_null());
        ours.filter_map(|found| folder(found["path"].as_str()?)).collect()
    };
    let user = |package: &Value| folder(Path::new(package["manifest_path"].as_str()?).parent()?.to_str()?);
    packages
        .iter()
        .map(|package| Some((user(package)?, used(package))))
        .collect::<Option<Uses>>()
        .context("a crate has no folder")
}

/// The name of a crate's folder, which is what other crates call it by, whatever its package is called.
fn folder(path: &str) -> Option<String> {
    Some(Path::new(path).file_name()?.to_str()?.to_owned())
}

/// Packs all libraries together, as they would be published (names, versions, READMEs and what is in each), and builds each from
/// what was packed: a file that is left out, or a feature that only the workspace turns on, is found here. What they need of a
/// registry is there since clippy ran.
fn pack(packages: &[Value]) -> anyhow::Result<()> {
    let libraries: Vec<_> = packages
        .iter()
        .filter(|package| package["publish"].is_null())
        .filter_map(|package| package["name"].as_str())
        .collect();
    forget_packed(&libraries)?;
    let mut arguments = vec!["package", "--quiet", "--offline", "--no-metadata", "--allow-dirty"];
    // Each is built with features of its own, and nothing of it runs.
    arguments.extend(["--config", "profile.dev.package.\"*\".opt-level=0"]);
    arguments.extend(libraries.iter().flat_map(|name| ["-p", name]));
    cargo(&arguments)
}

/// cargo unpacks and builds packed crates once for each folder and version, and would take those of before they were changed. What
/// it unpacks is in registries without a name.
fn forget_packed(libraries: &[&str]) -> anyhow::Result<()> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let Some(registries) = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok()) else {
        return Ok(());
    };
    let unnamed = registries.flatten().filter(|registry| registry.file_name().as_encoded_bytes().starts_with(b"-"));
    let mut is_packed = false;
    for entry in unnamed.filter_map(|registry| std::fs::read_dir(registry.path()).ok()).flatten().flatten() {
        let is_ours = |name: &str| libraries.iter().any(|library| name.starts_with(&format!("{library}-")));
        if entry.file_name().to_str().is_some_and(is_ours) {
            std::fs::remove_dir_all(entry.path()).context("what was packed before cannot be removed")?;
            is_packed = true;
        }
    }
    let packages = libraries.iter().flat_map(|name| ["-p", name]);
    if is_packed { cargo(&["clean", "--quiet"].into_iter().chain(packages).collect::<Vec<_>>()) } else { Ok(()) }
}

/// No modules of a crate import each other, and no two of its types have the same name.
fn check_modules(packages: &[Value]) -> anyhow::Result<()> {
    for manifest in packages.iter().filter_map(|package| package["manifest_path"].as_str()) {
        let sources = Path::new(manifest).with_file_name("src");
        rings::check(&sources)?;
        names::check(&sources)?;
    }
    Ok(())
}

/// A crate may use what stands behind its arrow, and what can be reached from there: types come through unchanged.
fn check_arrows(uses: &Uses) -> anyhow::Result<()> {
    for (user, used) in uses {
        if OUTSIDE.contains(&user.as_str()) {
            continue;
        }
        let Some(allowed) = reachable(user) else { bail!("crate {user} has no arrows: add it to xtask/src/ci.rs") };
        for name in used {
            ensure!(allowed.contains(&name.as_str()), "{user} may not use {name}: the arrows run one way");
        }
    }
    Ok(())
}

fn reachable(user: &str) -> Option<Vec<&'static str>> {
    let direct = |user: &str| ARROWS.iter().find(|(name, _)| *name == user).map(|(_, uses)| *uses);
    let mut found = direct(user)?.to_vec();
    let mut at = 0;
    while at < found.len() {
        found.extend(direct(found[at])?);
        at += 1;
    }
    Some(found)
}

#[cfg(test)]
mod of_arrows {
    use super::*;

    fn one(user: &str, used: &str) -> Uses {
        Uses::from([(user.to_owned(), vec![used.to_owned()])])
    }

    #[test]
    fn arrows_run_one_way() {
        assert!(check_arrows(&one("peer-cli", "protocol")).is_ok());
        assert!(check_arrows(&one("protocol", "swarm")).is_err());
        assert!(check_arrows(&one("swarm", "transport")).is_err());
        assert!(check_arrows(&one("tracker", "storage")).is_err());
        assert!(check_arrows(&one("newcomer", "protocol")).is_err());
    }

    #[test]
    fn libraries_have_what_a_registry_asks_for() {
        let of = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
        for package in packages().unwrap().iter().filter(|package| package["publish"].is_null()) {
            let name = of(package, "name");
            assert!(name.starts_with("p2p-fileshare") && name.len() <= 64, "{name}");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{name}"
            );
            assert!(!of(package, "description").is_empty() && !of(package, "license").is_empty(), "{name}");
            let readme = Path::new(&of(package, "manifest_path")).with_file_name(of(package, "readme"));
            let readme =
                std::fs::read_to_string(&readme).unwrap_or_else(|error| panic!("{}: {error}", readme.display()));
            assert!(readme.starts_with(&format!("# {name}\n")), "{name}'s README has another title");
            assert!(!readme.contains("](.."), "{name}'s README leads out of the package");
            for (key, longest) in [("keywords", 20), ("categories", 64)] {
                let words: Vec<_> = package[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                assert!((1..=5).contains(&words.len()), "{name}: {key}");
                assert!(words.iter().all(|word| word.len() <= longest && word.is_ascii()), "{name}: {words:?}");
            }
            for dependency in package["dependencies"].as_array().into_iter().flatten() {
                assert_ne!(dependency["req"], "*", "{name} uses {} without a version", dependency["name"]);
            }
        }
    }

    #[test]
    fn every_crate_has_a_readme_and_every_library_an_example() {
        for package in packages().unwrap() {
            let manifest = Path::new(package["manifest_path"].as_str().unwrap()).to_owned();
            assert!(manifest.with_file_name("README.md").is_file(), "{} has no README.md", manifest.display());
            let front = std::fs::read_to_string(manifest.with_file_name("src").join("lib.rs")).unwrap_or_default();
            let is_outside = OUTSIDE.iter().any(|name| package["name"] == *name);
            let has_example = front.lines().any(|line| line.starts_with("//! ```"));
            assert!(front.is_empty() || is_outside || has_example, "{}: no example in src/lib.rs", manifest.display());
        }
    }

    #[test]
    fn this_workspace_keeps_to_its_arrows() {
        let packages = packages().unwrap();
        check_arrows(&uses(&packages).unwrap()).unwrap();
        check_modules(&packages).unwrap();
    }
}
