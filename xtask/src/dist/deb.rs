//! Debian packages: made by cargo-deb from the metadata in `crates/peer-cli/Cargo.toml`, installed into a root of its own, and
//! run from there where this machine can.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use testbed::programs::{self, Programs};

use super::{documents, output_of, there_is};
use crate::cross::{self, Skipped};

/// Where cargo-deb finds what is not built: its manifest names this folder.
const STAGE: &str = "target/package";
/// Where packages have their documents.
const DOCUMENTS: &str = "usr/share/doc/p2p-fileshare";

/// A package to make.
pub(super) struct Build<'a> {
    /// Folder for the package.
    pub(super) output: &'a Path,
    /// What was gathered for an archive: completions, pages and documents are the same.
    pub(super) files: &'a Path,
    /// The profile that the programs were built with.
    pub(super) profile: &'a str,
    /// The target, unless it is this machine's own.
    pub(super) target: Option<&'a str>,
}

/// The package; nothing where there is no cargo-deb, and none can be had, to make it.
pub(super) fn build(build: &Build<'_>, tools: &Path, skipped: &mut Skipped) -> anyhow::Result<Option<PathBuf>> {
    let what = format!("no Debian package{}", build.target.map_or_else(String::new, |target| format!(" for {target}")));
    if !there_is("dpkg-deb") {
        skipped.say(&format!("{what}: there is no dpkg-deb to look into it"));
        return Ok(None);
    }
    let Some(cargo_deb) = skipped.unless(&what, cargo_deb(tools)) else { return Ok(None) };
    stage(build.files)?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(cargo_deb);
    command.args(["deb", "-p", "peer-cli", "--profile", build.profile, "--no-build", "--no-strip", "--quiet"]);
    command.args(build.target.iter().flat_map(|target| ["--target", *target]));
    output_of(command.arg("-o").arg(folder.path()))?;
    let made = fs::read_dir(folder.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let made = made.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let made = made.context("cargo-deb made no package")?;
    let package = build.output.join(made.file_name().context("it has a name")?);
    fs::copy(made, &package)?;
    check(&package, build.target.is_none())?;
    if build.target.is_some() {
        skipped.say(&super::trial::not_run(&package));
    }
    Ok(Some(package))
}

/// The machine's cargo-deb, the one that `CARGO_DEB` names, or one that is built beside.
fn cargo_deb(tools: &Path) -> anyhow::Result<PathBuf> {
    let named = env::var_os("CARGO_DEB").unwrap_or_else(|| "cargo-deb".into());
    if there_is(&named.to_string_lossy()) {
        return Ok(named.into());
    }
    let folder = cross::once(tools.join("cargo-deb"), |folder| {
        eprintln!("building cargo-deb, which makes Debian packages; it is kept in {}", folder.display());
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        programs::without_cargo(cargo.args(["install", "--locked", "--quiet", "cargo-deb", "--root"]).arg(folder));
        output_of(&mut cargo).map(drop)
    })?;
    Ok(folder.join("bin/cargo-deb"))
}

/// cargo-deb takes files from fixed places.
fn stage(files: &Path) -> anyhow::Result<()> {
    let stage = Path::new(STAGE);
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
    documents::copy(Path::new("."), &stage.join("doc"))
}

/// Unpacks it into a root of its own, looks whether all is there and, where they run, moves a file with the programs.
fn check(package: &Path, runs: bool) -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    output_of(Command::new("dpkg-deb").arg("-x").arg(package).arg(root.path()))?;
    let name = package.display();
    documents::require(
        root.path(),
        [
            "usr/bin/tracker",
            "usr/bin/peer-cli",
            "usr/lib/systemd/system/p2p-tracker.service",
            "usr/lib/systemd/system/p2p-seeder@.service",
            "usr/lib/systemd/system/p2p-daemon.service",
            "etc/p2p-fileshare/p2p-fileshare.toml",
            "usr/share/man/man1/tracker.1.gz",
            "usr/share/man/man1/peer-cli.1.gz",
            "usr/share/man/man1/peer-cli-get.1.gz",
            "usr/share/bash-completion/completions/tracker",
            "usr/share/bash-completion/completions/peer-cli",
            "usr/share/zsh/vendor-completions/_peer-cli",
            "usr/share/fish/vendor_completions.d/peer-cli.fish",
            "usr/share/doc/p2p-fileshare/copyright",
        ],
    )
    .with_context(|| name.to_string())?;
    let folder = root.path().join(DOCUMENTS);
    documents::require(&folder, documents::all(Path::new("."))?).with_context(|| name.to_string())?;
    documents::check_links(&folder).with_context(|| name.to_string())?;
    let control = output_of(Command::new("dpkg-deb").arg("-f").arg(package))?;
    let control = String::from_utf8(control)?;
    let field = |name: &str| control.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    ensure!(field("Package:") == Some("p2p-fileshare"), "{name} calls itself {:?}", field("Package:"));
    let needs = field("Depends:").unwrap_or("nothing");
    eprintln!("{name}: nothing is missing; {}, needs {needs}", field("Architecture:").unwrap_or("no architecture"));
    if !runs {
        return Ok(());
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
    eprintln!("{name} is good: unpacked, and a swarm was run from there");
    Ok(())
}
