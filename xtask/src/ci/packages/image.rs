//! The container image, without an engine: the static programs that its recipe builds, in a root that holds nothing else, neither
//! devices nor certificates, read only but for its volume, as nobody.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use testbed::programs::{FEATURES_FOR_PEOPLE, Programs};

use crate::cross::{self, Compiler, From, Skipped, Time};

/// Of an unoptimised build with all features where nothing is built yet, on two cores.
const BUILD: Duration = Duration::from_secs(240);
const WHAT: &str = "the image's programs";
const STORY: &str = include_str!("image.sh");

/// Builds for musl, and runs what came of it.
pub(super) fn check(time: Time, skipped: &mut Skipped) -> anyhow::Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        skipped.say(&format!("{WHAT}: they are built and run on Linux on x86-64 alone"));
        return Ok(());
    }
    if !time.is_enough(WHAT, BUILD, skipped) {
        return Ok(());
    }
    let tools = cross::tools(Path::new("target/cross"))?;
    let compiler = Compiler::for_target(cross::MUSL, &tools, From::Anywhere);
    let Some(compiler) = skipped.unless(WHAT, compiler) else { return Ok(()) };
    let compiler = compiler.unoptimised();
    try_out(&compiler.build("dev", &FEATURES_FOR_PEOPLE)?, skipped)
}

/// Runs static programs as the image would.
fn try_out(programs: &Programs, skipped: &mut Skipped) -> anyhow::Result<()> {
    let succeeds = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !succeeds(&["unshare", "--mount", "--pid", "--fork", "--net", "true"]) || !succeeds(&["ip", "-V"]) {
        skipped.say(&format!("{WHAT} are built and not run: no namespaces can be made here, or set up for want of ip"));
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("data"))?;
    for program in [&programs.tracker, &programs.peer] {
        fs::copy(program, root.join("bin").join(program.file_name().context("a program has a name")?))?;
    }
    let script = folder.path().join("image.sh");
    fs::write(&script, STORY)?;
    let mut story = Command::new("unshare");
    story.args(["--mount", "--pid", "--fork", "--kill-child", "--net", "sh"]).arg(script).arg(&root);
    let said = cross::output_of(&mut story).context(WHAT)?;
    ensure!(said.lines().last() == Some("passed"), "{WHAT}: {said}");
    eprintln!(
        "{WHAT}: a file moves between them, and a gateway starts, in a root without devices and libraries, read only, as nobody"
    );
    Ok(())
}
