//! The contents of a platform's archive: gathered here, and checked in what was unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use testbed::programs::Programs;

use super::{documents, mach_o, output_of};

/// Shells, and what their files of completions are called.
const SHELLS: [(&str, &str); 4] =
    [("bash", "NAME.bash"), ("zsh", "_NAME"), ("fish", "NAME.fish"), ("powershell", "NAME.ps1")];
const NAMES: [&str; 2] = ["tracker", "peer-cli"];
const UNITS: [&str; 3] = ["p2p-tracker.service", "p2p-seeder@.service", "p2p-daemon.service"];
const SETTINGS: &str = "p2p-fileshare.toml";

/// What a platform has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Linux,
    MacOs,
    Windows,
}

impl Kind {
    pub(super) fn of(triple: &str) -> Self {
        match triple {
            _ if triple.contains("windows") => Kind::Windows,
            _ if triple.contains("darwin") => Kind::MacOs,
            _ => Kind::Linux,
        }
    }

    /// What a program's file is called.
    pub(super) fn file_of(self, program: &str) -> String {
        if self == Kind::Windows { format!("{program}.exe") } else { program.to_owned() }
    }

    fn shells(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        SHELLS.into_iter().filter(move |(shell, _)| self != Kind::Windows || *shell == "powershell")
    }
}

/// Puts all of it into a folder. What the programs say of themselves is asked of those that run `here`.
pub(super) fn gather(
    repository: &Path,
    folder: &Path,
    programs: &Programs,
    here: &Programs,
    kind: Kind,
) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join("completions"))?;
    for program in [&programs.tracker, &programs.peer] {
        fs::copy(program, folder.join(program.file_name().context("a program has a name")?))?;
    }
    for (shell, name) in kind.shells() {
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
    let packaging = repository.join("packaging");
    if kind == Kind::Linux {
        fs::create_dir_all(folder.join("systemd"))?;
        for unit in UNITS {
            fs::copy(packaging.join("systemd").join(unit), folder.join("systemd").join(unit))?;
        }
    }
    fs::copy(packaging.join(SETTINGS), folder.join(SETTINGS))?;
    documents::copy(repository, folder)
}

/// Fails if something is missing in a folder that was unpacked, or does not do there.
pub(super) fn check(folder: &Path, kind: Kind) -> anyhow::Result<()> {
    let mut files: Vec<PathBuf> = NAMES.iter().map(|program| kind.file_of(program).into()).collect();
    for (_, name) in kind.shells() {
        files.extend(NAMES.iter().map(|program| Path::new("completions").join(name.replace("NAME", program))));
    }
    if kind != Kind::Windows {
        files.extend(["man/tracker.1", "man/peer-cli.1", "man/peer-cli-get.1"].map(PathBuf::from));
    }
    if kind == Kind::Linux {
        files.extend(UNITS.map(|unit| Path::new("systemd").join(unit)));
    }
    files.extend(["README.md", "LICENSE-MIT", "LICENSE-APACHE", SETTINGS].map(PathBuf::from));
    documents::require(folder, files)?;
    documents::check_links(folder)?;
    for program in NAMES.map(|program| folder.join(kind.file_of(program))) {
        ensure!(kind == Kind::Windows || is_executable(&program)?, "{} cannot be run", program.display());
        if kind == Kind::MacOs {
            mach_o::check_signature(&fs::read(&program)?).with_context(|| program.display().to_string())?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(file: &Path) -> anyhow::Result<bool> {
    Ok(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file)?.permissions()) & 0o111 == 0o111)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> anyhow::Result<bool> {
    Ok(true)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn repository() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    /// A script that stands for a program: it writes completions and pages.
    fn stand_in(folder: &Path, name: &str) -> PathBuf {
        let pages = format!("for page in {name} {name}-get; do echo page > \"$2/$page.1\"; done");
        let script = format!("#!/bin/sh\ncase \"$1\" in *man) {pages};; *) echo completions;; esac\n");
        let path = folder.join(name);
        fs::write(&path, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        path
    }

    #[test]
    fn an_archive_holds_all_that_is_promised_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [tracker, peer] = NAMES.map(|name| stand_in(folder.path(), name));
        let here = Programs { tracker, peer };
        let gathered = folder.path().join("p2p-fileshare-1.0.0-any");
        gather(repository(), &gathered, &here, &here, Kind::Linux).unwrap();
        for pack in [super::super::archive::tar, super::super::archive::zip] {
            let archive = pack(&gathered).unwrap();
            let unpacked = tempfile::tempdir().unwrap();
            super::super::trial::unpack(&archive, unpacked.path()).unwrap();
            check(&unpacked.path().join("p2p-fileshare-1.0.0-any"), Kind::Linux).unwrap();
        }
        for missing in ["man/tracker.1", "completions/_peer-cli", "systemd/p2p-tracker.service", "docs/swarm.svg"] {
            let kept = fs::read(gathered.join(missing)).unwrap();
            fs::remove_file(gathered.join(missing)).unwrap();
            let error = check(&gathered, Kind::Linux).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
            fs::write(gathered.join(missing), kept).unwrap();
        }
        check(&gathered, Kind::Linux).unwrap();
    }

    #[test]
    fn windows_has_powershell_and_no_man_pages() {
        let folder = tempfile::tempdir().unwrap();
        let [tracker, peer] = NAMES.map(|name| stand_in(folder.path(), name));
        let here = Programs { tracker, peer };
        let [tracker, peer] = NAMES.map(|name| stand_in(folder.path(), &format!("{name}.exe")));
        let gathered = folder.path().join("p2p-fileshare-1.0.0-windows");
        gather(repository(), &gathered, &Programs { tracker, peer }, &here, Kind::Windows).unwrap();
        check(&gathered, Kind::Windows).unwrap();
        let completions = fs::read_dir(gathered.join("completions")).unwrap();
        assert!(completions.flatten().all(|file| file.path().extension().is_some_and(|end| end == "ps1")));
        assert!(!gathered.join("man").exists() && !gathered.join("systemd").exists());
    }
}
