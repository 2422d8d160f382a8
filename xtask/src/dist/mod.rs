//! `cargo xtask dist`: what is handed to people who do not build: stripped programs, completions, man pages, an archive, a
//! Debian package that was installed into a root of its own and run from there, and the SHA-256 of each.

mod deb;
mod units;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::programs::{self, Programs};

/// What can be left out.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder for what is made; what was there before is replaced
    #[arg(long, value_name = "FOLDER", default_value = "target/distribution")]
    output: PathBuf,
}

const SHELLS: [(&str, &str); 4] =
    [("bash", "NAME.bash"), ("zsh", "_NAME"), ("fish", "NAME.fish"), ("powershell", "NAME.ps1")];
/// What goes into the archive as it is.
const DOCUMENTS: [&str; 5] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "SECURITY.md"];

/// Builds, gathers, packs and checks.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = programs::build_for_people()?;
    let output = &arguments.output;
    if output.exists() {
        fs::remove_dir_all(output).with_context(|| format!("{} cannot be replaced", output.display()))?;
    }
    let folder = output.join(format!("p2p-fileshare-{}-{}", env!("CARGO_PKG_VERSION"), triple()?));
    gather(&programs, &folder).context("the files of the archive")?;
    let mut made = vec![archive(&folder)?];
    if units::are_sound(&programs)? {
        eprintln!("systemd finds the units sound");
    }
    made.extend(deb::build(output, &folder)?);
    let sums = checksums(&made)?;
    fs::write(output.join("SHA256SUMS"), &sums)?;
    print!("{sums}");
    eprintln!("They are in {}; `sha256sum -c SHA256SUMS` checks them there.", output.display());
    Ok(())
}

fn gather(programs: &Programs, folder: &Path) -> anyhow::Result<()> {
    for sub in ["completions", "man", "systemd"] {
        fs::create_dir_all(folder.join(sub))?;
    }
    for program in [&programs.tracker, &programs.peer] {
        fs::copy(program, folder.join(program.file_name().context("a program has a name")?))?;
    }
    for (shell, name) in SHELLS {
        for (program, name, words) in [
            (&programs.tracker, name.replace("NAME", "tracker"), ["--completions", shell]),
            (&programs.peer, name.replace("NAME", "peer-cli"), ["completions", shell]),
        ] {
            fs::write(folder.join("completions").join(name), output_of(Command::new(program).args(words))?)?;
        }
    }
    let man = folder.join("man");
    output_of(Command::new(&programs.tracker).arg("--man").arg(&man))?;
    output_of(Command::new(&programs.peer).arg("man").arg(&man))?;
    for unit in fs::read_dir("packaging/systemd")? {
        let unit = unit?.path();
        fs::copy(&unit, folder.join("systemd").join(unit.file_name().context("a unit has a name")?))?;
    }
    fs::copy("packaging/p2p-fileshare.toml", folder.join("p2p-fileshare.toml"))?;
    for document in DOCUMENTS {
        fs::copy(document, folder.join(document))?;
    }
    Ok(())
}

fn archive(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(format!("{}.tar.gz", folder.display()));
    let parent = folder.parent().context("it lies in the output folder")?;
    let name = folder.file_name().context("it has a name")?;
    let mut tar = Command::new("tar");
    if cfg!(target_os = "linux") {
        // The same bytes whoever packs the same files, and whenever. Only GNU tar knows how.
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
