//! Cargo for another platform: with that platform's standard library, and a C compiler and linker for it.
//!
//! Windows takes MinGW's, which also link; all others take zig's, which bring the headers and libraries of each.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use testbed::programs::{self, Programs};

use super::WINDOWS;
use super::debian::{Apt, once, output_of};
use super::library::{self, From, Library};

/// zig, and the cargo that calls it, as Python's packages. These versions were seen to work with each other.
const ZIG: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.1"];

/// The profile of what is only run here: what is handed out takes twice as long to build.
pub(super) const PROFILE: &str = "quick";

/// What compiles for one target.
pub(crate) struct Compiler {
    target: String,
    /// Cargo, or what stands for it.
    program: PathBuf,
    /// Its word for a build that links.
    build: &'static str,
    words: Vec<&'static str>,
    variables: Vec<(&'static str, OsString)>,
}

impl Compiler {
    /// For this target. An error says what cannot be had here.
    pub(crate) fn for_target(target: &str, tools: &Path, from: From) -> anyhow::Result<Self> {
        let mut compiler = Compiler {
            target: target.to_owned(),
            program: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into(),
            build: "build",
            words: Vec::new(),
            variables: Vec::new(),
        };
        match Library::of(target, tools, from)? {
            Library::Installed => {}
            Library::Copied(toolchain) => compiler.use_toolchain(&toolchain.canonicalize()?),
            Library::Source(toolchain) => {
                if target == WINDOWS {
                    library::make_start_files(&toolchain)?;
                }
                compiler.use_toolchain(&toolchain.canonicalize()?);
                compiler.words.push("-Zbuild-std");
                compiler.variables.push(("RUSTC_BOOTSTRAP", "1".into()));
            }
        }
        if target == WINDOWS {
            compiler.use_mingw(&Mingw::get(tools)?)
        } else {
            compiler.use_zig(tools)?
        }
        Ok(compiler)
    }

    fn use_toolchain(&mut self, toolchain: &Path) {
        // A compiler takes the standard library from where its own library is found, and cargo tells the programs that it runs
        // to look beside the installed one first.
        self.variables.push(("LD_LIBRARY_PATH", toolchain.join("lib").into()));
        let bin = toolchain.join("bin");
        self.program = bin.join("cargo");
        self.variables.push(("CARGO", bin.join("cargo").into()));
        self.variables.push(("RUSTC", bin.join("rustc").into()));
        self.put_on_path(bin);
    }

    fn put_on_path(&mut self, folder: PathBuf) {
        let at = self.variables.iter().position(|(name, _)| *name == "PATH");
        let path = at.map(|at| self.variables.remove(at).1).or_else(|| env::var_os("PATH")).unwrap_or_default();
        let folders = std::iter::once(folder).chain(env::split_paths(&path));
        if let Ok(path) = env::join_paths(folders) {
            self.variables.push(("PATH", path));
        }
    }

    fn use_mingw(&mut self, mingw: &Mingw) {
        self.put_on_path(mingw.bin.clone());
        self.variables.push(("CC_x86_64_pc_windows_gnu", mingw.compiler.into()));
        self.variables.push(("AR_x86_64_pc_windows_gnu", "x86_64-w64-mingw32-ar".into()));
        self.variables.push(("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", mingw.compiler.into()));
    }

    /// zig and the cargo that calls it, as Python packages them: programs as they are, for every Linux.
    fn use_zig(&mut self, tools: &Path) -> anyhow::Result<()> {
        let folder = once(tools.join("zig"), |folder| {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]);
            pip.args(["--timeout", "30", "--retries", "2", "--target"]).arg(folder);
            output_of(pip.args(ZIG)).map(drop)
        })?;
        self.program = folder.join("bin/cargo-zigbuild");
        self.build = "zigbuild";
        self.variables.push(("CARGO_ZIGBUILD_ZIG_PATH", folder.join("ziglang/zig").into()));
        Ok(())
    }

    /// Checks the workspace, with warnings denied.
    pub(crate) fn check(&self, breadth: Breadth) -> anyhow::Result<()> {
        let mut command = self.command("clippy");
        command.args(["--workspace", "--keep-going"]);
        if breadth == Breadth::All {
            command.arg("--all-targets").args(programs::FEATURES_FOR_PEOPLE);
        }
        programs::without_cargo(command.args(["--", "-D", "warnings"]));
        ensure!(command.status()?.success(), "it does not compile for {}", self.target);
        Ok(())
    }

    /// The same, but crates of others are not optimised when tests are built: less time to build, much more to run.
    pub(crate) fn unoptimised(mut self) -> Self {
        self.words.extend(["--config", "profile.dev.package.\"*\".opt-level=0"]);
        self
    }

    /// Builds the programs with this profile, and with these features.
    pub(crate) fn build(&self, profile: &str, features: &[&str]) -> anyhow::Result<Programs> {
        let mut command = self.command(self.build);
        programs::build_by(command.args(["--profile", profile]).args(features))
            .with_context(|| format!("for {}", self.target))
    }

    /// Builds those tests of these packages that `which` says, with this profile. Gives the programs that run them.
    pub(super) fn build_tests(&self, packages: &[&str], which: &[&str], profile: &str) -> anyhow::Result<Vec<PathBuf>> {
        let mut command = self.command("test");
        command.args(["--no-run", "--profile", profile]).args(which);
        command.args(packages.iter().flat_map(|package| ["-p", package]));
        programs::executables(&mut command).with_context(|| format!("tests for {}", self.target))
    }

    fn command(&self, what: &str) -> Command {
        eprintln!("cargo {what} --target {}", self.target);
        let mut command = Command::new(&self.program);
        command.arg(what).args(&self.words).args(["--target", &self.target]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// How much of the workspace is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// Tests, too, and the optional parts that are handed out.
    All,
    /// Libraries and programs, as the README builds them.
    Programs,
}

/// MinGW's compiler.
pub(super) struct Mingw {
    bin: PathBuf,
    compiler: &'static str,
}

impl Mingw {
    /// The machine's, or one that is unpacked beside.
    pub(super) fn get(tools: &Path) -> anyhow::Result<Self> {
        const INSTALLED: &str = "x86_64-w64-mingw32-gcc";
        const UNPACKED: &str = "x86_64-w64-mingw32-gcc-win32";
        let path = env::var_os("PATH").unwrap_or_default();
        if let Some(bin) = env::split_paths(&path).find(|folder| folder.join(INSTALLED).is_file()) {
            return Ok(Mingw { bin, compiler: INSTALLED });
        }
        let folder = once(tools.join("mingw"), |folder| {
            let apt = Apt::of_this_machine(tools)?;
            let packages = apt.with_dependencies(&["gcc-mingw-w64-x86-64-win32"])?;
            apt.unpack(&packages, folder)
        })?;
        Ok(Mingw { bin: folder.join("usr/bin"), compiler: UNPACKED })
    }

    /// Compiles a library of one file.
    pub(super) fn library(&self, source: &Path, library: &Path, uses: &str) -> anyhow::Result<()> {
        let mut compile = Command::new(self.bin.join(self.compiler));
        output_of(compile.arg("-shared").arg("-o").arg(library).arg(source).arg(uses)).map(drop)
    }
}
