//! `cargo xtask dist`: release files. Archives for Linux, macOS, Windows and any Linux (musl) with stripped programs, completions, man
//! pages and documents; Debian packages; wheels; a bill of materials for each; and the SHA-256 of all.
//!
//! Each archive is unpacked into an empty folder, checked for completeness, and run where this machine can run it.

mod archive;
mod contents;
mod deb;
mod documents;
mod mach_o;
mod machine;
mod sbom;
mod trial;
mod units;
mod wheel;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use testbed::programs::{self, Programs};

use crate::cross::{self, Compiler, Skipped};
use archive::files_in;
use contents::Kind;

/// What can be left out.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder for what is made; what was there before is replaced
    #[arg(long, value_name = "FOLDER", default_value = "target/distribution")]
    output: PathBuf,
    /// Only for this platform: no Windows, no macOS, no static programs for Linux
    #[arg(long)]
    only_here: bool,
    /// Pack for these targets beside this platform, instead of for all
    #[arg(long, value_name = "TARGET", conflicts_with = "only_here")]
    target: Vec<String>,
    /// Programs that are built in less time and are slower: to try this out, and not to be handed out
    #[arg(long)]
    quick: bool,
    /// Folder for what has to be fetched to build for other platforms
    #[arg(long, value_name = "FOLDER", default_value = "target/cross")]
    tools: PathBuf,
}

/// For what it is packed beside this platform.
const TARGETS: [&str; 5] = [cross::WINDOWS, cross::MUSL, cross::MUSL_ARM, cross::MACOS[0], cross::MACOS[1]];

/// Builds, gathers, packs and checks. What cannot be built for another platform is skipped, loudly.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let profile = if arguments.quick { "quick" } else { programs::FOR_PEOPLE };
    let here = programs::build_for_people(profile)?;
    let output = &arguments.output;
    if output.exists() {
        fs::remove_dir_all(output).with_context(|| format!("{} cannot be replaced", output.display()))?;
    }
    let (triple, tools, mut skipped) = (triple()?, cross::tools(&arguments.tools)?, Skipped::default());
    let made = pack(&here, &here, output, &triple)?;
    trial::run(&made.archive, &triple, &triple, &tools, &mut skipped)?;
    if units::are_sound(&here)? {
        eprintln!("systemd finds the units sound");
    }
    let mut all = vec![made.archive.clone(), sbom::write(&triple, output)?];
    all.extend(debian(&made, output, &triple, &mut skipped)?);
    for target in targets(arguments).filter(|target| *target != triple) {
        let Some(compiler) = skipped.unless(target, Compiler::for_target(target, &tools, cross::From::Anywhere)) else {
            continue;
        };
        let programs = compiler.build(profile, &programs::FEATURES_FOR_PEOPLE)?;
        let made = pack(&programs, &here, output, target)?;
        trial::run(&made.archive, target, &triple, &tools, &mut skipped)?;
        let bill = sbom::write(target, output)?;
        all.extend(wheel(&programs, target, &bill, output, &mut skipped)?);
        if target == cross::MUSL_ARM {
            let build = deb::Build { output, files: &made.folder, target, runs: false };
            all.extend(deb::build(&build, &mut skipped)?);
        }
        all.extend([made.archive, bill]);
    }
    all.push(chart(Path::new("packaging/helm"), output)?);
    let sums = checksums(&all)?;
    fs::write(output.join("SHA256SUMS"), &sums)?;
    print!("{sums}");
    eprintln!("They are in {}; `sha256sum -c SHA256SUMS` checks them there.", output.display());
    if arguments.quick {
        eprintln!("They were built with --quick: do not hand them out.");
    }
    skipped.sum_up();
    Ok(())
}

fn targets(arguments: &Arguments) -> impl Iterator<Item = &str> {
    let all = if arguments.only_here || !arguments.target.is_empty() { &[][..] } else { &TARGETS[..] };
    arguments.target.iter().map(String::as_str).chain(all.iter().copied())
}

/// What was made for a platform: the archive, and the folder that was packed.
struct Made {
    archive: PathBuf,
    folder: PathBuf,
}

/// Packs programs for a platform as it unpacks archives without further ado.
fn pack(programs: &Programs, here: &Programs, output: &Path, triple: &str) -> anyhow::Result<Made> {
    let folder = output.join(format!("p2p-fileshare-{}-{triple}", env!("CARGO_PKG_VERSION")));
    let kind = Kind::of(triple);
    contents::gather(Path::new("."), &folder, programs, here, kind)
        .with_context(|| format!("the files for {triple}"))?;
    let archive = if kind == Kind::Windows { archive::zip(&folder)? } else { archive::tar(&folder)? };
    Ok(Made { archive, folder })
}

/// The chart for Kubernetes, as `helm install` takes it.
fn chart(chart: &Path, output: &Path) -> anyhow::Result<PathBuf> {
    let stage = tempfile::tempdir()?;
    let folder = stage.path().join("p2p-fileshare");
    for file in files_in(chart)? {
        let target = folder.join(file.strip_prefix(chart)?);
        fs::create_dir_all(target.parent().context("it lies in the chart")?)?;
        fs::copy(&file, target)?;
    }
    let path = output.join(format!("p2p-fileshare-chart-{}.tgz", env!("CARGO_PKG_VERSION")));
    fs::copy(archive::tar(&folder)?, &path)?;
    Ok(path)
}

/// The Debian package of programs that run here; installed, upgraded and purged on a machine of its own where that can be made.
fn debian(made: &Made, output: &Path, triple: &str, skipped: &mut Skipped) -> anyhow::Result<Option<PathBuf>> {
    let build = deb::Build { output, files: &made.folder, target: triple, runs: true };
    let Some(package) = deb::build(&build, skipped)? else { return Ok(None) };
    if let Some(why) = machine::hindrance() {
        skipped.say(&format!("installing {}: {why}", package.display()));
        return Ok(Some(package));
    }
    let older = tempfile::tempdir()?;
    let older = deb::pack(&build, "0.0.1-1", older.path())?;
    if !machine::try_out(&older, &package)? {
        skipped.say(&format!("installing {}: systemd does not boot here", package.display()));
    }
    Ok(Some(package))
}

/// The wheel for a target; what pip says of it where that can be asked.
fn wheel(
    programs: &Programs,
    target: &str,
    bill: &Path,
    output: &Path,
    skipped: &mut Skipped,
) -> anyhow::Result<Option<PathBuf>> {
    let Some(tag) = wheel::tag(target) else { return Ok(None) };
    let wheel = wheel::build(Path::new("."), programs, tag, bill, output)?;
    let name = wheel.display();
    if let Some(why) = wheel::hindrance() {
        skipped.say(&format!("{name} is packed, and was not installed: {why}"));
    } else if Kind::of(target) != Kind::of(&triple()?) || !target.starts_with(std::env::consts::ARCH) {
        wheel::lay_out(&wheel, tag, programs)?;
        skipped.say(&format!("{name} is packed, and pip takes it for its platform; its programs were not run from it"));
    } else {
        wheel::try_out(&wheel)?;
        eprintln!("{name} is good: installed, a swarm was run from it, and uninstalled");
    }
    Ok(Some(wheel))
}

/// Packs programs that were built already in every way into a folder, and tries what comes of that: what all checks can have of this
/// in little time. Packages are made twice, and must be the same.
pub(crate) fn try_packing(programs: &Programs, output: &Path, skipped: &mut Skipped) -> anyhow::Result<()> {
    if output.exists() {
        fs::remove_dir_all(output)?;
    }
    let triple = triple()?;
    let made = pack(programs, programs, output, &triple)?;
    if !units::are_sound(programs)? {
        skipped.say("the units: there is no systemd-analyze");
    }
    let bill = sbom::write(&triple, output)?;
    let packages = [debian(&made, output, &triple, skipped)?, wheel(programs, &triple, &bill, output, skipped)?];
    let again = tempfile::tempdir_in(output)?;
    for package in packages.into_iter().flatten() {
        let second = if package.extension().is_some_and(|end| end == "deb") {
            let build = deb::Build { output, files: &made.folder, target: &triple, runs: true };
            deb::pack(&build, &deb::version(), again.path())?
        } else {
            let tag = wheel::tag(&triple).context("it has a wheel")?;
            wheel::build(Path::new("."), programs, tag, &bill, again.path())?
        };
        ensure!(fs::read(&package)? == fs::read(second)?, "{} has other bytes each time", package.display());
        eprintln!("{} has the same bytes each time", package.display());
    }
    Ok(())
}

/// The bill of materials that [`try_packing`] has put there.
pub(crate) fn bill_in(output: &Path) -> anyhow::Result<PathBuf> {
    let bills = files_in(output)?.into_iter().find(|file| file.to_string_lossy().ends_with(".cdx.json"));
    bills.with_context(|| format!("{} has no bill of materials", output.display()))
}

fn checksums(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut sums = Vec::new();
    for file in files {
        let digest = Sha256::digest(fs::read(file)?);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(sums, "{hex}  {}", file.file_name().context("it has a name")?.to_string_lossy())?;
    }
    Ok(String::from_utf8(sums)?)
}

/// The platform that the compiler builds for.
fn triple() -> anyhow::Result<String> {
    let said = cross::output_of(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// What a program prints; an error if it fails.
pub(crate) fn output_of(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    programs::without_settings(command);
    let output = command.output().with_context(|| format!("{command:?} does not run"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} fails: {}", errors.trim());
    Ok(output.stdout)
}

/// Whether there is such a program in the search path. Not all of them can be asked for their version.
pub(crate) fn there_is(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).any(|folder| folder.join(&file).is_file())
}
