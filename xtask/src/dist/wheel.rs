//! Wheels: both programs as a Python package, so that `pip install` installs them. They contain no Python code and need no other package.
//! Existing tools make a wheel of one crate only, and these are two.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use testbed::programs::Programs;

use super::archive::Zip;
use super::output_of;

const NAME: &str = "p2p_fileshare";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const SUMMARY: &str = "One big file or folder from a few machines to many, encrypted and verified";
const DESCRIPTION: &str = "\
This brings two programs, `peer-cli` and `tracker`, for x86-64 and ARM: nothing is built, and nothing else is needed.

    peer-cli share model.bin        # prints a line
    peer-cli get p2p…               # on the other machine, with that line

`peer-cli -h` says more.
";

/// What Python calls the machines that programs for this target run on; nothing if it has no word for them.
pub(super) fn tag(target: &str) -> Option<&'static str> {
    Some(match target {
        // Static: whatever C library is there, of any age.
        "x86_64-unknown-linux-musl" => "manylinux2014_x86_64.musllinux_1_1_x86_64",
        "aarch64-unknown-linux-musl" => "manylinux2014_aarch64.musllinux_1_1_aarch64",
        // What this machine's C library has: only for this machine.
        "x86_64-unknown-linux-gnu" => "linux_x86_64",
        "aarch64-unknown-linux-gnu" => "linux_aarch64",
        "x86_64-pc-windows-gnu" => "win_amd64",
        "aarch64-apple-darwin" => "macosx_11_0_arm64",
        "x86_64-apple-darwin" => "macosx_10_12_x86_64",
        _ => return None,
    })
}

/// A wheel that is being written: each file is listed with its digest in the last one.
struct Wheel {
    zip: Zip,
    record: String,
}

impl Wheel {
    fn add(&mut self, name: &str, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let digest = BASE64URL_NOPAD.encode(&Sha256::digest(bytes));
        writeln!(self.record, "{name},sha256={digest},{}", bytes.len())?;
        self.zip.add(name, mode, bytes)
    }
}

/// Packs programs for a target, with the licences of the repository and the bill of materials. The same files give the same bytes.
pub(super) fn build(
    repository: &Path,
    programs: &Programs,
    tag: &str,
    bill: &Path,
    output: &Path,
) -> anyhow::Result<PathBuf> {
    let path = output.join(format!("{NAME}-{VERSION}-py3-none-{tag}.whl"));
    let mut wheel = Wheel { zip: Zip::create(&path)?, record: String::new() };
    for program in [&programs.peer, &programs.tracker] {
        let name = program.file_name().context("a program has a name")?.to_string_lossy();
        let bytes = fs::read(program).with_context(|| program.display().to_string())?;
        wheel.add(&format!("{NAME}-{VERSION}.data/scripts/{name}"), 0o755, &bytes)?;
    }
    let about = format!("{NAME}-{VERSION}.dist-info");
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        wheel.add(&format!("{about}/licenses/{licence}"), 0o644, &fs::read(repository.join(licence))?)?;
    }
    wheel.add(&format!("{about}/sboms/p2p-fileshare.cdx.json"), 0o644, &fs::read(bill)?)?;
    wheel.add(&format!("{about}/METADATA"), 0o644, metadata().as_bytes())?;
    wheel.add(&format!("{about}/WHEEL"), 0o644, describe(tag).as_bytes())?;
    let record = format!("{}{about}/RECORD,,\n", wheel.record);
    wheel.zip.add(&format!("{about}/RECORD"), 0o644, record.as_bytes())?;
    wheel.zip.finish()?;
    Ok(path)
}

fn metadata() -> String {
    let head = format!("Metadata-Version: 2.4\nName: p2p-fileshare\nVersion: {VERSION}\nSummary: {SUMMARY}\n");
    let licence = "License-Expression: MIT OR Apache-2.0\nLicense-File: LICENSE-APACHE\nLicense-File: LICENSE-MIT\n";
    let kind = "Classifier: Environment :: Console\nClassifier: Topic :: Communications :: File Sharing\n";
    format!("{head}{licence}{kind}Requires-Python: >=3.7\nDescription-Content-Type: text/markdown\n\n{DESCRIPTION}")
}

/// What the file WHEEL says: one line for each platform that the tag names.
fn describe(tag: &str) -> String {
    let head = "Wheel-Version: 1.0\nGenerator: p2p-fileshare xtask\nRoot-Is-Purelib: false\n".to_owned();
    tag.split('.').fold(head, |text, platform| text + &format!("Tag: py3-none-{platform}\n"))
}

/// Why it cannot be installed here; nothing if it can.
pub(super) fn hindrance() -> Option<&'static str> {
    let venv = Command::new("python3").args(["-c", "import venv, ensurepip"]).output();
    (!venv.is_ok_and(|output| output.status.success())).then_some("python3 makes no environments here")
}

/// Installs it into an environment of its own, runs both programs from there, and uninstalls it: nothing of it may be left.
pub(super) fn try_out(wheel: &Path) -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let environment = root.path().join("environment");
    output_of(Command::new("python3").args(["-m", "venv"]).arg(&environment)).context("no environment of Python")?;
    let bin = environment.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let pip = |words: &[&str]| {
        let mut command = Command::new(bin.join("python"));
        // Nothing is asked of any network.
        command.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]).args(words).env("PIP_NO_INDEX", "1");
        command
    };
    let before = super::files_in(&environment)?;
    output_of(pip(&["install", "--no-cache-dir"]).arg(wheel))?;
    let program = |name: &str| bin.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let programs = Programs { tracker: program("tracker"), peer: program("peer-cli") };
    for program in [&programs.tracker, &programs.peer] {
        let said = String::from_utf8(output_of(Command::new(program).arg("--version"))?)?;
        ensure!(said.contains(VERSION), "{} says {said}", program.display());
    }
    super::trial::swarm_of(programs).context("a swarm of the programs out of the wheel")?;
    output_of(&mut pip(&["uninstall", "--yes", "p2p-fileshare"]))?;
    let is_ours = |path: &&PathBuf| !path.to_string_lossy().contains("__pycache__");
    let left: Vec<_> = super::files_in(&environment)?.into_iter().filter(|path| !before.contains(path)).collect();
    let left: Vec<_> = left.iter().filter(is_ours).collect();
    ensure!(left.is_empty(), "{} leaves {left:?} when it is uninstalled", wheel.display());
    Ok(())
}

/// Has pip install it as on the machine that it is for, into a folder, and compares the programs: they do not run here.
pub(super) fn lay_out(wheel: &Path, tag: &str, programs: &Programs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let platform = tag.split('.').next().unwrap_or(tag);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-cache-dir", "--no-deps"]);
    pip.args(["--platform", platform, "--only-binary=:all:", "--target"]).arg(folder.path()).arg(wheel);
    output_of(pip.env("PIP_NO_INDEX", "1"))?;
    for program in [&programs.tracker, &programs.peer] {
        let name = program.file_name().context("a program has a name")?;
        let laid =
            fs::read(folder.path().join("bin").join(name)).with_context(|| name.to_string_lossy().into_owned())?;
        ensure!(laid == fs::read(program)?, "{} is not what was packed", name.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_wheel_lists_every_file_with_its_digest_and_is_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let programs = Programs { tracker: program("tracker"), peer: program("peer-cli") };
        let bill = program("bill");
        let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let made = [(); 2].map(|()| {
            let wheel = build(repository, &programs, "linux_x86_64", &bill, folder.path()).unwrap();
            fs::read(wheel).unwrap()
        });
        assert!(made[0] == made[1]);
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&made[0])).unwrap();
        let mut record = String::new();
        let about = format!("{NAME}-{VERSION}.dist-info");
        zip.by_name(&format!("{about}/RECORD")).unwrap().read_to_string(&mut record).unwrap();
        let names: Vec<_> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        for name in &names {
            let mut bytes = Vec::new();
            zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
            let digest = BASE64URL_NOPAD.encode(&Sha256::digest(&bytes));
            let line = format!("{name},sha256={digest},{}", bytes.len());
            let is_record = name.ends_with("/RECORD");
            assert!(
                record.lines().any(|listed| listed == line || (is_record && listed == format!("{name},,"))),
                "{name}"
            );
        }
        assert_eq!(record.lines().count(), names.len());
        assert_eq!(zip.by_name(&format!("{NAME}-{VERSION}.data/scripts/tracker")).unwrap().unix_mode(), Some(0o100755));
    }

    #[test]
    fn each_platform_of_a_tag_has_a_line() {
        let said = describe(tag("x86_64-unknown-linux-musl").unwrap());
        assert!(said.contains("\nTag: py3-none-manylinux2014_x86_64\nTag: py3-none-musllinux_1_1_x86_64\n"), "{said}");
        assert_eq!(tag("riscv64gc-unknown-linux-gnu"), None);
    }
}
