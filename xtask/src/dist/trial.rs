//! What was packed is unpacked again and run from there: what is handed out is what was tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
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
        Kind::Linux if same_processor(triple, here) => {
            swarm_of(programs).with_context(|| format!("a swarm out of {name}"))?;
            eprintln!("{name} is good: a swarm was run from it");
            Ok(())
        }
        Kind::Windows => cross::under_wine(&programs, tools, skipped),
        Kind::Linux | Kind::MacOs => {
            skipped.say(&format!("{name} is packed, complete and not run: this machine cannot"));
            Ok(())
        }
    }
}

/// Whether programs for one run on the other, as far as the processor goes.
fn same_processor(one: &str, other: &str) -> bool {
    one.split('-').next() == other.split('-').next()
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
