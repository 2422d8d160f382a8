//! `cargo xtask dist`: what is handed to people who do not build: stripped programs, completions, man pages, an archive, a
//! Debian package that was installed into a root of its own and run from there, a zip for Windows, archives for macOS and for
//! any Linux, and the SHA-256 of each. What was packed is unpacked and run, where this machine can.

mod deb;
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

/// What can be left out.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder for what is made; what was there before is replaced
    #[arg(long, value_name = "FOLDER", default_value = "target/distribution")]
    output: PathBuf,
    /// Only for this platform: no Windows, no macOS, no static programs for Linux
    #[arg(long)]
    only_here: bool,
    /// Folder for what has to be fetched to build for other platforms
    #[arg(long, value_name = "FOLDER", default_value = "target/cross")]
    tools: PathBuf,
}

const SHELLS: [(&str, &str); 4] =
    [("bash", "NAME.bash"), ("zsh", "_NAME"), ("fish", "NAME.fish"), ("powershell", "NAME.ps1")];
/// What goes into the archive as it is.
const DOCUMENTS: [&str; 5] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "SECURITY.md"];

/// What programs are handed out with: what their platform has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linux,
    MacOs,
    Windows,
}

impl Kind {
    fn of(triple: &str) -> Self {
        match triple {
            _ if triple.contains("windows") => Kind::Windows,
            _ if triple.contains("darwin") => Kind::MacOs,
            _ => Kind::Linux,
        }
    }

    fn has_shell(self, shell: &str) -> bool {
        self != Kind::Windows || shell == "powershell"
    }
}

/// Builds, gathers, packs and checks. What cannot be built for another platform is skipped, loudly.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let here = programs::build_for_people()?;
    let output = &arguments.output;
    if output.exists() {
        fs::remove_dir_all(output).with_context(|| format!("{} cannot be replaced", output.display()))?;
    }
    let (triple, tools, mut skipped) = (triple()?, cross::tools(&arguments.tools)?, Skipped::default());
    let folder = gather(&here, &here, output, &triple)?;
    let mut made = vec![archive(&folder, Kind::of(&triple))?];
    trial::run(&made[0], Kind::of(&triple), &tools, &mut skipped)?;
    if units::are_sound(&here)? {
        eprintln!("systemd finds the units sound");
    }
    made.extend(deb::build(output, &folder)?);
    if !arguments.only_here {
        for target in [cross::WINDOWS, cross::MUSL].iter().chain(&cross::MACOS).filter(|target| **target != triple) {
            let Some(compiler) = skipped.unless(target, Compiler::for_target(target, &tools)) else { continue };
            let folder = gather(&compiler.build()?, &here, output, target)?;
            let archive = archive(&folder, Kind::of(target))?;
            trial::run(&archive, Kind::of(target), &tools, &mut skipped)?;
            made.push(archive);
        }
    }
    let sums = checksums(&made)?;
    fs::write(output.join("SHA256SUMS"), &sums)?;
    print!("{sums}");
    eprintln!("They are in {}; `sha256sum -c SHA256SUMS` checks them there.", output.display());
    skipped.sum_up();
    Ok(())
}

/// The folder of what is handed out for a platform. What the programs say of themselves is asked of those that run `here`.
fn gather(programs: &Programs, here: &Programs, output: &Path, triple: &str) -> anyhow::Result<PathBuf> {
    let folder = output.join(format!("p2p-fileshare-{}-{triple}", env!("CARGO_PKG_VERSION")));
    gather_in(&folder, programs, here, Kind::of(triple)).with_context(|| format!("the files for {triple}"))?;
    Ok(folder)
}

fn gather_in(folder: &Path, programs: &Programs, here: &Programs, kind: Kind) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join("completions"))?;
    for program in [&programs.tracker, &programs.peer] {
        fs::copy(program, folder.join(program.file_name().context("a program has a name")?))?;
    }
    for (shell, name) in SHELLS.iter().filter(|(shell, _)| kind.has_shell(shell)) {
        for (program, name, words) in [
            (&here.tracker, name.replace("NAME", "tracker"), ["--completions", shell]),
            (&here.peer, name.replace("NAME", "peer-cli"), ["completions", shell]),
        ] {
            fs::write(folder.join("completions").join(name), output_of(Command::new(program).args(words))?)?;
        }
    }
    if kind != Kind::Windows {
        let man = folder.join("man");
        fs::create_dir_all(&man)?;
        output_of(Command::new(&here.tracker).arg("--man").arg(&man))?;
        output_of(Command::new(&here.peer).arg("man").arg(&man))?;
    }
    if kind == Kind::Linux {
        let units = folder.join("systemd");
        fs::create_dir_all(&units)?;
        for unit in fs::read_dir("packaging/systemd")? {
            let unit = unit?.path();
            fs::copy(&unit, units.join(unit.file_name().context("a unit has a name")?))?;
        }
    }
    fs::copy("packaging/p2p-fileshare.toml", folder.join("p2p-fileshare.toml"))?;
    for document in DOCUMENTS {
        fs::copy(document, folder.join(document))?;
    }
    Ok(())
}

/// Packs a folder as its platform unpacks it without further ado.
fn archive(folder: &Path, kind: Kind) -> anyhow::Result<PathBuf> {
    if kind == Kind::Windows { zip(folder) } else { tar(folder) }
}

fn zip(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(format!("{}.zip", folder.display()));
    let name = folder.file_name().context("it has a name")?.to_string_lossy();
    let mut zip = zip::ZipWriter::new(fs::File::create(&path)?);
    // The same bytes whenever they are packed: the time is the format's first.
    let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    for file in files_in(folder)? {
        let inside = file.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
        zip.start_file(format!("{name}/{inside}"), options)?;
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
        tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
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
