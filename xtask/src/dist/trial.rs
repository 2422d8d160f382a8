//! What was packed is unpacked again and run from there: what is handed out is what was tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use testbed::programs::Programs;
use testbed::swarm;

use super::{Kind, files_in, output_of};
use crate::cross::{self, Skipped};

/// Unpacks an archive, says what is in it, and runs the programs where this machine can: a swarm of them, or what is run under
/// Wine.
pub(super) fn run(archive: &Path, kind: Kind, tools: &Path, skipped: &mut Skipped) -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    unpack(archive, kind, root.path())?;
    let folder = root.path().join(folder_of(archive)?);
    let files = files_in(&folder)?;
    let inside = files.iter().filter_map(|file| Some(file.strip_prefix(&folder).ok()?.to_string_lossy()));
    eprintln!("{}: {}", archive.display(), inside.collect::<Vec<_>>().join(", "));
    let program = |name: &str| folder.join(if kind == Kind::Windows { format!("{name}.exe") } else { name.to_owned() });
    let programs = Programs { tracker: program("tracker"), peer: program("peer-cli") };
    ensure!(programs.tracker.is_file() && programs.peer.is_file(), "{} lacks a program", archive.display());
    match kind {
        Kind::Linux => {
            swarm_of(programs).with_context(|| format!("a swarm out of {}", archive.display()))?;
            eprintln!("{} is good: a swarm was run from it", archive.display());
            Ok(())
        }
        Kind::Windows => cross::under_wine(&programs, tools, skipped),
        Kind::MacOs => {
            skipped.say(&format!("{} is packed and not run: there is no macOS here", archive.display()));
            Ok(())
        }
    }
}

/// The folder that an archive holds: what it is called without its ends.
fn folder_of(archive: &Path) -> anyhow::Result<PathBuf> {
    let name = archive.file_name().context("it has a name")?.to_string_lossy().into_owned();
    let name = name.strip_suffix(".tar.gz").or(name.strip_suffix(".zip")).context("it is an archive of ours")?;
    Ok(name.into())
}

fn unpack(archive: &Path, kind: Kind, into: &Path) -> anyhow::Result<()> {
    if kind == Kind::Windows {
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
