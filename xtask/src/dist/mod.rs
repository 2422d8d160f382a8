//! `cargo xtask dist`: what is handed to people who do not build. Archives for Linux, macOS, Windows and any Linux (musl), with
//! stripped programs, completions, man pages and documents; Debian packages; and the SHA-256 of each.
//!
//! What was packed is unpacked into an empty folder, held against what it should have, and run, where this machine can.

mod contents;
mod deb;
mod documents;
mod mach_o;
mod trial;
mod units;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use testbed::programs::{self, Programs};
use zip::write::SimpleFileOptions;

use crate::cross::{self, Compiler, Skipped};
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
    let mut all = vec![made.archive];
    all.extend(deb::build(&deb::Build { output, files: &made.folder, profile, target: None }, &tools, &mut skipped)?);
    for target in targets(arguments).filter(|target| *target != triple) {
        let Some(compiler) = skipped.unless(target, Compiler::for_target(target, &tools, cross::From::Anywhere)) else {
            continue;
        };
        let made = pack(&compiler.build(profile, &programs::FEATURES_FOR_PEOPLE)?, &here, output, target)?;
        trial::run(&made.archive, target, &triple, &tools, &mut skipped)?;
        all.push(made.archive);
        if target == cross::MUSL_ARM {
            let build = deb::Build { output, files: &made.folder, profile, target: Some(target) };
            all.extend(deb::build(&build, &tools, &mut skipped)?);
        }
    }
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
    let archive = if kind == Kind::Windows { zip(&folder)? } else { tar(&folder)? };
    Ok(Made { archive, folder })
}

fn zip(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(format!("{}.zip", folder.display()));
    let name = folder.file_name().context("it has a name")?.to_string_lossy();
    let mut zip = zip::ZipWriter::new(fs::File::create(&path)?);
    // The same bytes whenever they are packed: the time is the format's first.
    let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    for file in files_in(folder)? {
        let inside = file.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
        let mode =
            if inside.contains('/') || inside.contains('.') && !inside.ends_with(".exe") { 0o644 } else { 0o755 };
        zip.start_file(format!("{name}/{inside}"), options.unix_permissions(mode))?;
        zip.write_all(&fs::read(&file)?)?;
    }
    zip.finish()?;
    Ok(path)
}

/// All files in a folder and those below, sorted.
fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_in(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

fn tar(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(format!("{}.tar.gz", folder.display()));
    let parent = folder.parent().context("it lies in the output folder")?;
    let name = folder.file_name().context("it has a name")?;
    let mut tar = Command::new("tar");
    if cfg!(target_os = "linux") {
        // The same files always give the same bytes, on any machine. Only GNU tar knows how.
        tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=go-w"]);
    }
    output_of(tar.arg("-czf").arg(&path).arg("-C").arg(parent).arg(name))?;
    Ok(path)
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
    let said = output_of(Command::new("rustc").arg("-vV"))?;
    let said = String::from_utf8(said)?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// What a program prints; an error if it fails.
fn output_of(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    programs::without_settings(command);
    let output = command.output().with_context(|| format!("{command:?} does not run"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} fails: {}", errors.trim());
    Ok(output.stdout)
}

/// Whether a program is there.
fn there_is(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
