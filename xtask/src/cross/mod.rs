//! `cargo xtask cross`: the promise that this runs on Windows and macOS, kept on a Linux machine. Everything is checked for
//! both; the programs for Windows are built, and run under Wine.
//!
//! What it needs and does not find it fetches into a folder of its own; nothing is installed. What cannot be had is said
//! loudly and counted, and is no failure: a compiler's word that something is wrong is one.

mod compiler;
mod debian;
mod library;
mod machine;
mod wine;

use std::path::{Path, PathBuf};

use anyhow::Context;

pub(crate) use compiler::Compiler;

pub(crate) const WINDOWS: &str = "x86_64-pc-windows-gnu";
/// Either will do to see whether it compiles: the first whose standard library is there.
pub(crate) const MACOS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-apple-darwin"];
/// Programs that run on any Linux of this kind of processor.
pub(crate) const MUSL: &str = "x86_64-unknown-linux-musl";

const TOOLS: &str = "target/cross";

/// What is done.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only check that everything compiles: build nothing, run nothing
    #[arg(long)]
    only_check: bool,
    /// Check for these targets instead of Windows and macOS
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Folder for what has to be fetched: compilers, standard libraries, Wine
    #[arg(long, value_name = "FOLDER", default_value = TOOLS)]
    tools: PathBuf,
}

/// What could not be done here, each with why.
#[derive(Debug, Default)]
pub struct Skipped(Vec<String>);

impl Skipped {
    /// Keeps what was found; what is missing is said, and counted.
    pub(crate) fn unless<T>(&mut self, what: &str, found: anyhow::Result<T>) -> Option<T> {
        found.map_err(|why| self.say(&format!("{what}: {why:#}"))).ok()
    }

    pub(crate) fn say(&mut self, sentence: &str) {
        eprintln!("skipped: {sentence}");
        self.0.push(sentence.to_owned());
    }

    /// Says it all once more, at the end, where it is read.
    pub fn sum_up(&self) {
        if !self.0.is_empty() {
            eprintln!("{} skipped:", self.0.len());
            self.0.iter().for_each(|sentence| eprintln!("  {sentence}"));
        }
    }
}

/// Checks, builds and runs. Fails at the first thing that is wrong; what cannot be had here is skipped and summed up.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut skipped = Skipped::default();
    let result = run_all(arguments, &mut skipped);
    skipped.sum_up();
    result
}

fn run_all(arguments: &Arguments, skipped: &mut Skipped) -> anyhow::Result<()> {
    let tools = tools(&arguments.tools)?;
    let mut windows = None;
    if arguments.target.is_empty() {
        windows = skipped.unless(WINDOWS, Compiler::for_target(WINDOWS, &tools));
        windows.as_ref().map_or(Ok(()), Compiler::check)?;
        let macos = skipped.unless("macOS", Compiler::for_any(&MACOS, &tools));
        macos.map_or(Ok(()), |compiler| compiler.check())?;
    }
    for target in &arguments.target {
        let compiler = skipped.unless(target, Compiler::for_target(target, &tools));
        compiler.map_or(Ok(()), |compiler| compiler.check())?;
    }
    match windows {
        Some(compiler) if !arguments.only_check => wine::run(&compiler, &tools, skipped),
        _ => Ok(()),
    }
}

/// Checks that everything compiles for those other platforms whose standard library the toolchain has: no more, so that a run of
/// all checks depends on little.
pub fn check_installed(skipped: &mut Skipped) -> anyhow::Result<()> {
    let tools = tools(Path::new(TOOLS))?;
    for (platform, targets) in [("Windows", &[WINDOWS][..]), ("macOS", &MACOS)] {
        let compiler = match library::installed(targets) {
            Some(target) => skipped.unless(platform, Compiler::for_target(target, &tools)),
            None => {
                skipped.say(&format!("{platform}: no standard library is installed; cargo xtask cross fetches it"));
                None
            }
        };
        compiler.map_or(Ok(()), |compiler| compiler.check())?;
    }
    Ok(())
}

/// The folder for tools, made and named in full: compilers are run in other folders.
pub(crate) fn tools(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder.canonicalize()?)
}
