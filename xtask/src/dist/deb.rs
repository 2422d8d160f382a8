//! Debian packages, made by dpkg's own tools from what was gathered for an archive and what lies in `packaging/debian`. The same
//! programs give the same bytes. Looked into, and run from a root of its own where this machine can; `machine` installs it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use flate2::{Compression, GzBuilder};
use testbed::programs::Programs;

use super::{archive, documents, output_of, there_is};
use crate::cross::Skipped;

/// Where packages have their documents.
const DOCUMENTS: &str = "usr/share/doc/p2p-fileshare";
/// Settings: what the administrator has changed there outlives an upgrade.
const SETTINGS: &str = "etc/p2p-fileshare/p2p-fileshare.toml";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// A package to make.
pub(super) struct Build<'a> {
    /// Folder for the package.
    pub(super) output: &'a Path,
    /// What was gathered for an archive: programs, completions, pages and documents are the same.
    pub(super) files: &'a Path,
    pub(super) target: &'a str,
    /// Whether this machine runs it.
    pub(super) runs: bool,
}

/// The package; nothing where dpkg's tools are missing.
pub(super) fn build(build: &Build<'_>, skipped: &mut Skipped) -> anyhow::Result<Option<PathBuf>> {
    if let Some(missing) = ["dpkg-deb", "dpkg-shlibdeps"].into_iter().find(|tool| !there_is(tool)) {
        skipped.say(&format!("no Debian package for {}: there is no {missing}", build.target));
        return Ok(None);
    }
    let package = pack(build, &version(), build.output)?;
    check(&package, build.runs)?;
    if !build.runs {
        skipped.say(&super::trial::not_run(&package));
    }
    Ok(Some(package))
}

/// The version of the package: the programs', and which package of it this is.
pub(super) fn version() -> String {
    format!("{}-1", env!("CARGO_PKG_VERSION"))
}

/// Packs it as this version, into this folder.
pub(super) fn pack(build: &Build<'_>, version: &str, into: &Path) -> anyhow::Result<PathBuf> {
    let stage = tempfile::tempdir()?;
    let root = Root(stage.path().join("root"));
    let files = build.files;
    for program in ["tracker", "peer-cli"] {
        root.put(&format!("usr/bin/{program}"), &fs::read(files.join(program)).context(program)?)?;
    }
    let depends = depends(&root.0)?;
    for unit in archive::files_in(&files.join("systemd"))? {
        root.copy(&unit, "usr/lib/systemd/system", &name_of(&unit)?)?;
    }
    root.copy(&files.join("p2p-fileshare.toml"), "etc/p2p-fileshare", "p2p-fileshare.toml")?;
    for page in archive::files_in(&files.join("man"))? {
        let mut gzip = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::best());
        gzip.write_all(&fs::read(&page)?)?;
        root.put(&format!("usr/share/man/man1/{}.gz", name_of(&page)?), &gzip.finish()?)?;
    }
    for script in archive::files_in(&files.join("completions"))? {
        let name = name_of(&script)?;
        if let Some(program) = name.strip_suffix(".bash") {
            root.copy(&script, "usr/share/bash-completion/completions", program)?;
        } else if name.ends_with(".fish") {
            root.copy(&script, "usr/share/fish/vendor_completions.d", &name)?;
        } else if name.starts_with('_') {
            root.copy(&script, "usr/share/zsh/vendor-completions", &name)?;
        }
    }
    documents::copy(Path::new("."), &root.0.join(DOCUMENTS))?;
    let packaging = Path::new("packaging/debian");
    root.copy(&packaging.join("copyright"), DOCUMENTS, "copyright")?;
    let bytes: u64 =
        archive::files_in(&root.0)?.iter().map(|file| Ok(fs::metadata(file)?.len())).sum::<anyhow::Result<_>>()?;
    let architecture =
        architecture(build.target).with_context(|| format!("Debian has no word for {}", build.target))?;
    let control = fs::read_to_string(packaging.join("control")).context("packaging/debian/control")?;
    let control = control.replace("@VERSION@", version).replace("@ARCHITECTURE@", architecture);
    let control = control.replace("@SIZE@", &bytes.div_ceil(1024).to_string()).replace("@DEPENDS@", &depends);
    root.put("DEBIAN/control", control.as_bytes())?;
    root.put("DEBIAN/conffiles", format!("/{SETTINGS}\n").as_bytes())?;
    for script in SCRIPTS {
        root.copy(&packaging.join(script), "DEBIAN", script)?;
    }
    root.set_rights()?;
    let package = into.join(format!("p2p-fileshare_{version}_{architecture}.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root.0).arg(&package);
    // Several threads cut what they compress elsewhere on a machine with another number of cores.
    dpkg.env("DPKG_DEB_THREADS_MAX", "1").env("SOURCE_DATE_EPOCH", archive::time()?.to_string());
    output_of(&mut dpkg)?;
    Ok(package)
}

/// What will be the root of a machine.
struct Root(PathBuf);

impl Root {
    fn put(&self, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().context("it lies in a folder")?)?;
        Ok(fs::write(path, bytes)?)
    }

    fn copy(&self, file: &Path, folder: &str, name: &str) -> anyhow::Result<()> {
        let bytes = fs::read(file).with_context(|| file.display().to_string())?;
        self.put(&format!("{folder}/{name}"), &bytes)
    }

    /// Whatever this user's files get otherwise: all may read, and programs and scripts are run.
    fn set_rights(&self) -> anyhow::Result<()> {
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            set_mode(&folder, 0o755)?;
            let is_run = folder.ends_with("usr/bin");
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let is_script = folder.ends_with("DEBIAN") && SCRIPTS.iter().any(|script| path.ends_with(script));
                if path.is_dir() {
                    folders.push(path);
                } else {
                    set_mode(&path, if is_run || is_script { 0o755 } else { 0o644 })?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) -> std::io::Result<()> {
    Ok(())
}

fn name_of(path: &Path) -> anyhow::Result<String> {
    Ok(path.file_name().context("a file has a name")?.to_string_lossy().into_owned())
}

fn architecture(target: &str) -> Option<&'static str> {
    Some(match target.split('-').next()? {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return None,
    })
}

/// The libraries that the programs of a root need, as a line of the control file; none for static ones.
fn depends(root: &Path) -> anyhow::Result<String> {
    let source = tempfile::tempdir()?;
    let debian = source.path().join("debian");
    fs::create_dir(&debian)?;
    fs::write(debian.join("control"), "Source: p2p-fileshare\n\nPackage: p2p-fileshare\nArchitecture: any\n")?;
    let mut command = Command::new("dpkg-shlibdeps");
    command.current_dir(source.path()).args(["-O", "--ignore-missing-info"]);
    command.args(["tracker", "peer-cli"].map(|program| root.join("usr/bin").join(program)));
    let said = String::from_utf8(output_of(&mut command)?)?;
    let found = said.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    Ok(found.filter(|found| !found.is_empty()).map_or_else(String::new, |found| format!("Depends: {found}\n")))
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
            SETTINGS,
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
    let settings = root.path().join(SETTINGS);
    let certs = root.path().join("certs");
    let mut init = Command::new(&tracker);
    output_of(init.args(["--init-closed", "--peers", "1", "--certs"]).arg(&certs).arg("--config").arg(settings))?;
    ensure!(certs.join("ca.pem").is_file(), "the packaged tracker made no certificates");
    super::trial::swarm_of(Programs { tracker, peer }).context("a swarm of the packaged programs")?;
    eprintln!("{name} is good: unpacked, and a swarm was run from there");
    Ok(())
}
