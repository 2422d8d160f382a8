//! The Debian package: made by cargo-deb from the metadata in `crates/peer-cli/Cargo.toml`, installed into a root of its
//! own, and run from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use testbed::programs::Programs;

use super::{output_of, there_is};

/// The package, or nothing where there is no cargo-deb to make it.
pub(super) fn build(output: &Path, files: &Path) -> anyhow::Result<Option<PathBuf>> {
    let program = std::env::var_os("CARGO_DEB").unwrap_or_else(|| "cargo-deb".into());
    if !there_is(&program.to_string_lossy()) {
        eprintln!(
            "no Debian package: `cargo install cargo-deb` makes that possible (or name the program in CARGO_DEB)"
        );
        return Ok(None);
    }
    stage(files)?;
    let mut cargo_deb = Command::new(&program);
    cargo_deb.args(["-p", "peer-cli", "--profile", "dist", "--no-build", "--no-strip", "-o"]).arg(output);
    output_of(&mut cargo_deb)?;
    let made = fs::read_dir(output)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = made.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = package.context("cargo-deb made no package")?;
    check(&package)?;
    Ok(Some(package))
}

/// cargo-deb takes files from fixed places.
fn stage(files: &Path) -> anyhow::Result<()> {
    let stage = Path::new("target/dist/package");
    if stage.exists() {
        fs::remove_dir_all(stage)?;
    }
    for sub in ["completions", "man"] {
        fs::create_dir_all(stage.join(sub))?;
        for entry in fs::read_dir(files.join(sub))? {
            let path = entry?.path();
            fs::copy(&path, stage.join(sub).join(path.file_name().context("it has a name")?))?;
        }
    }
    Ok(())
}

/// Unpacks it into a root of its own, runs the programs from there, and moves a file with them.
fn check(package: &Path) -> anyhow::Result<()> {
    if !there_is("dpkg-deb") {
        eprintln!("the Debian package is not tried: there is no dpkg-deb");
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    output_of(Command::new("dpkg-deb").arg("-x").arg(package).arg(root.path()))?;
    for file in [
        "usr/bin/tracker",
        "usr/bin/peer-cli",
        "usr/lib/systemd/system/p2p-tracker.service",
        "usr/lib/systemd/system/p2p-seeder@.service",
        "etc/p2p-fileshare/p2p-fileshare.toml",
        "usr/share/man/man1/peer-cli.1.gz",
        "usr/share/bash-completion/completions/peer-cli",
    ] {
        ensure!(root.path().join(file).is_file(), "the package lacks {file}");
    }
    let (tracker, peer) = (root.path().join("usr/bin/tracker"), root.path().join("usr/bin/peer-cli"));
    for program in [&tracker, &peer] {
        let said = String::from_utf8(output_of(Command::new(program).arg("--version"))?)?;
        ensure!(said.contains(env!("CARGO_PKG_VERSION")), "{} says {said}", program.display());
    }
    // The settings that come with it are read without a complaint.
    let settings = root.path().join("etc/p2p-fileshare/p2p-fileshare.toml");
    let certs = root.path().join("certs");
    let mut init = Command::new(&tracker);
    output_of(init.args(["--init-closed", "--peers", "1", "--certs"]).arg(&certs).arg("--config").arg(settings))?;
    ensure!(certs.join("ca.pem").is_file(), "the packaged tracker made no certificates");
    super::trial::swarm_of(Programs { tracker, peer }).context("a swarm of the packaged programs")?;
    eprintln!("{} is good: unpacked, and a swarm was run from there", package.display());
    Ok(())
}
