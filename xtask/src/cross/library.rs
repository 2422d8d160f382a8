//! The standard library of another target. The installed toolchain is never written to: what it lacks goes into a copy.
//!
//! In turn: what is installed; what rustup adds to the copy; the library's source as Debian packages it, built with the rest
//! (`-Zbuild-std`), if that is of exactly the compiler's version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::WINDOWS;
use super::debian::{Apt, once, output_of};

/// The suite that has had the newest compilers' sources.
const SUITE: &str = "trixie-backports";

/// Where a target's standard library comes from.
pub(super) enum Library {
    /// The installed toolchain has it.
    Installed,
    /// A toolchain of our own has it.
    Copied(PathBuf),
    /// A toolchain of our own has the source of it.
    Source(PathBuf),
}

/// Where it may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// Compiled, if it can be had so; else from its source.
    Anywhere,
    /// Only from its source.
    Source,
}

impl Library {
    /// Finds the library, or gets it. The error says each thing that was tried.
    pub(super) fn of(target: &str, tools: &Path, from: From) -> anyhow::Result<Self> {
        if from == From::Source {
            return with_source(tools).map(Library::Source);
        }
        if is_installed(target)? {
            return Ok(Library::Installed);
        }
        let added = added(target, tools);
        let Err(refused) = added else { return added.map(Library::Copied) };
        let source = with_source(tools);
        source.map(Library::Source).with_context(|| format!("no standard library for it: {refused:#}"))
    }
}

/// Whether the installed toolchain has a target's library.
fn is_installed(target: &str) -> anyhow::Result<bool> {
    Ok(sysroot()?.join("lib/rustlib").join(target).join("lib").is_dir())
}

fn sysroot() -> anyhow::Result<PathBuf> {
    let path = output_of(Command::new("rustc").args(["--print", "sysroot"]))?;
    // A toolchain by its own name: some names of rustup's are links to others.
    Ok(PathBuf::from(path.trim_end()).canonicalize()?)
}

/// The compiler's version, as 1.95.0.
fn version() -> anyhow::Result<String> {
    let said = output_of(Command::new("rustc").arg("-vV"))?;
    let release = said.lines().find_map(|line| line.strip_prefix("release: "));
    Ok(release.context("rustc does not say its version")?.to_owned())
}

/// A copy of the toolchain in a home of rustup's that is ours, to which rustup has added the target.
fn added(target: &str, tools: &Path) -> anyhow::Result<PathBuf> {
    let home = tools.join("rustup");
    let toolchain = copy(&home)?;
    if !toolchain.join("lib/rustlib").join(target).join("lib").is_dir() {
        let name = toolchain.file_name().context("a toolchain has a name")?;
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", target, "--toolchain"]).arg(name);
        rustup.env("RUSTUP_HOME", &home).env_remove("RUSTUP_TOOLCHAIN");
        output_of(&mut rustup)?;
        let is_there = toolchain.join("lib/rustlib").join(target).join("lib").is_dir();
        ensure!(is_there, "rustup says that it has added {target}, and has not");
    }
    Ok(toolchain)
}

/// What rustc links to the beginning and end of each program for Windows, which building the library does not make.
pub(super) fn make_start_files(toolchain: &Path) -> anyhow::Result<()> {
    let folder = toolchain.join("lib/rustlib").join(WINDOWS).join("lib");
    fs::create_dir_all(&folder)?;
    for name in ["rsbegin", "rsend"] {
        let source = toolchain.join("lib/rustlib/src/rust/library/rtstartup").join(format!("{name}.rs"));
        let mut rustc = Command::new(toolchain.join("bin/rustc"));
        rustc.env("RUSTC_BOOTSTRAP", "1").args(["--target", WINDOWS, "--emit=obj", "-o"]);
        output_of(rustc.arg(folder.join(format!("{name}.o"))).arg(source))?;
    }
    Ok(())
}

/// A copy of the toolchain that has the source of its library.
fn with_source(tools: &Path) -> anyhow::Result<PathBuf> {
    let version = version()?;
    let unpacked = once(tools.join(format!("rust-src-{version}")), |folder| {
        let apt = Apt::of_suite(tools, SUITE)?;
        let versions = apt.versions("rust-src")?;
        let fits = versions.iter().find(|found| found.starts_with(&format!("{version}+")));
        let fits = fits.with_context(|| format!("{SUITE} has rust-src {versions:?}, and {version} is needed"))?;
        apt.unpack(&[format!("rust-src={fits}")], folder)
    })?;
    let library = unpacked.join(format!("usr/src/rustc-{version}/library"));
    ensure!(library.is_dir(), "rust-src has no library/");
    let toolchain = copy(&tools.join("with-source"))?;
    let source = toolchain.join("lib/rustlib/src/rust");
    if !source.join("library").exists() {
        fs::create_dir_all(&source)?;
        link(&library, &source.join("library"))?;
    }
    Ok(toolchain)
}

/// Copies the toolchain into `home`, as rustup lays it out. Large files are hard links where that can be done: they are read
/// only. What rustup rewrites is copied.
fn copy(home: &Path) -> anyhow::Result<PathBuf> {
    let installed = sysroot()?;
    let parent = installed.parent().filter(|parent| parent.file_name() == Some("toolchains".as_ref()));
    ensure!(parent.is_some(), "{} is no toolchain of rustup's, so it is not copied", installed.display());
    let name = installed.file_name().context("a toolchain lies in a folder")?;
    // A newer toolchain of the same name is another one.
    let at = home.join("toolchains").join(name);
    let is_whole = home.join(format!("whole-{}", version()?));
    if is_whole.exists() {
        return Ok(at);
    }
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    fs::create_dir_all(&at)?;
    link_all(&installed, &at)?;
    // What rustup goes by: which toolchains there are, and which it has the manifest of.
    let rustup = installed.parent().and_then(Path::parent).context("a toolchain lies in a home of rustup's")?;
    for file in ["settings.toml".into(), Path::new("update-hashes").join(name)] {
        if rustup.join(&file).is_file() {
            let target = home.join(&file);
            fs::create_dir_all(target.parent().context("it lies in the home")?)?;
            fs::copy(rustup.join(&file), target)?;
        }
    }
    fs::write(is_whole, "")?;
    Ok(at)
}

fn link_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("{}", from.display()))? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            // Most of the files of a toolchain are its documentation.
            if entry.file_name() == "doc" {
                continue;
            }
            fs::create_dir_all(&target)?;
            link_all(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            link(&fs::read_link(entry.path())?, &target)?;
        } else if is_rewritten(from) || fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Whether rustup keeps its lists of what is installed in this folder.
fn is_rewritten(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == "rustlib")
}

#[cfg(unix)]
fn link(target: &Path, at: &Path) -> anyhow::Result<()> {
    Ok(std::os::unix::fs::symlink(target, at)?)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> anyhow::Result<()> {
    anyhow::bail!("toolchains are only copied on Unix")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_toolchain_shares_nothing_that_rustup_rewrites() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("installed"), folder.path().join("copy"));
        fs::create_dir_all(from.join("lib/rustlib/some-target")).unwrap();
        for file in ["components", "some-target/std.rlib"] {
            fs::write(from.join("lib/rustlib").join(file), "as installed").unwrap();
        }
        fs::create_dir_all(from.join("share/doc/html")).unwrap();
        fs::create_dir(&to).unwrap();
        link_all(&from, &to).unwrap();
        fs::write(to.join("lib/rustlib/components"), "rewritten").unwrap();
        assert_eq!(fs::read_to_string(from.join("lib/rustlib/components")).unwrap(), "as installed");
        assert!(to.join("lib/rustlib/some-target/std.rlib").exists());
        assert!(!to.join("share/doc").exists(), "nobody reads it there");
    }
}
