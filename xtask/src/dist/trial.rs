//! Unpacks an archive again and runs the programs from there, so that what is released is what was tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use testbed::programs::Programs;
use testbed::swarm;

use super::contents::{self, Kind};
use super::{files_in, output_of};
use crate::cross::{self, Skipped};

/// Unpacks an archive into an empty folder, looks whether all is in it, and runs the programs where this machine, which is of
/// the kind `here`, can: a swarm of them, or what is run under Wine.
pub(super) fn run(archive: &Path, triple: &str, here: &str, tools: &Path, skipped: &mut Skipped) -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    unpack(archive, root.path())?;
    let (folder, kind) = (root.path().join(folder_of(archive)?), Kind::of(triple));
    let name = archive.display();
    contents::check(&folder, kind).with_context(|| name.to_string())?;
    let bytes = fs::metadata(archive)?.len();
    eprintln!("{name}: {} files, {:.1} MB, nothing is missing", files_in(&folder)?.len(), bytes as f64 / 1e6);
    let program = |name: &str| folder.join(kind.file_of(name));
    let programs = Programs { tracker: program("tracker"), peer: program("peer-cli") };
    match kind {
        Kind::Linux => {
            let runs = if processor(triple) == processor(here) {
                programs
            } else {
                let found = emulated(&programs, processor(triple), root.path(), tools);
                let Some(runs) = skipped.unless(&not_run(archive), found) else { return Ok(()) };
                runs
            };
            swarm_of(runs).with_context(|| format!("a swarm out of {name}"))?;
            eprintln!("{name} is good: a swarm was run from it");
            Ok(())
        }
        Kind::Windows => cross::under_wine(&programs, tools, skipped),
        Kind::MacOs => {
            skipped.say(&not_run(archive));
            Ok(())
        }
    }
}

/// What is said of what no machine was there for.
pub(super) fn not_run(archive: &Path) -> String {
    format!("{} is packed and complete, and was not run", archive.display())
}

/// What a target's processor is called.
fn processor(triple: &str) -> &str {
    triple.split('-').next().unwrap_or(triple)
}

/// Scripts in a folder that run static programs for another processor of Linux by QEMU.
fn emulated(programs: &Programs, processor: &str, folder: &Path, tools: &Path) -> anyhow::Result<Programs> {
    let qemu = cross::packages("qemu-user-static", tools)?.join(format!("usr/bin/qemu-{processor}-static"));
    ensure!(qemu.is_file(), "QEMU knows no {processor}");
    let script = |program: &Path| -> anyhow::Result<PathBuf> {
        let path = folder.join(program.file_stem().context("a program has a name")?);
        fs::write(&path, format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", qemu.display(), program.display()))?;
        make_executable(&path)?;
        Ok(path)
    };
    Ok(Programs { tracker: script(&programs.tracker)?, peer: script(&programs.peer)? })
}

#[cfg(unix)]
fn make_executable(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The folder that an archive holds: what it is called without its ends.
fn folder_of(archive: &Path) -> anyhow::Result<PathBuf> {
    let name = archive.file_name().context("it has a name")?.to_string_lossy().into_owned();
    let name = name.strip_suffix(".tar.gz").or(name.strip_suffix(".zip")).context("it is an archive of ours")?;
    Ok(name.into())
}

pub(super) fn unpack(archive: &Path, into: &Path) -> anyhow::Result<()> {
    if archive.extension().is_some_and(|end| end == "zip") {
        return Ok(zip::ZipArchive::new(fs::File::open(archive)?)?.extract(into)?);
    }
    output_of(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(into)).map(drop)
}

/// A tracker, a seeder and a downloader, as `cargo xtask swarm` runs them.
pub(super) fn swarm_of(programs: Programs) -> anyhow::Result<()> {
    let arguments = swarm::Arguments::of(["--seeders=1", "--downloaders=1", "--size=1MiB"])?;
    let folder = tempfile::tempdir()?;
    let plan = swarm::plan(&arguments, folder.path())?;
    swarm::conduct(&plan, &programs, folder.path(), &swarm::Live::silent())?;
    Ok(())
}
