//! Runs the tests like `cargo test`, but two test programs at a time: most of them wait for processes or keep one core busy, and cargo
//! runs them one after another.

use std::io::{Read as _, Seek as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// So many programs run at the same time, each with as many threads as there are cores.
const SIDE_BY_SIDE: usize = 2;

/// A program of tests.
struct Program {
    /// Its source, by which people know it.
    name: String,
    executable: PathBuf,
    /// The package's folder, in which cargo runs it.
    folder: PathBuf,
}

/// Builds the tests that these arguments of `cargo test` choose and runs them all; examples in the documentation come last. `set_up`
/// is done to each command. Programs that run `once` are removed after it.
pub(super) fn run(arguments: &[&str], once: bool, set_up: impl Fn(&mut Command) + Sync) -> anyhow::Result<()> {
    let programs = Mutex::new(built(arguments)?.into_iter());
    let failed = Mutex::new(Vec::new());
    let next = || programs.lock().expect("a thread has panicked while it held this lock").next();
    let worker = || {
        while let Some(program) = next() {
            if let Err(which) = passes(&program, &set_up) {
                failed
                    .lock()
                    .expect("a thread has panicked while it held this lock")
                    .push(format!("{} ({which})", program.name));
            }
            if once && let Err(error) = std::fs::remove_file(&program.executable) {
                eprintln!("{} stays: {error}", program.executable.display());
            }
        }
    };
    thread::scope(|scope| (0..SIDE_BY_SIDE).for_each(|_| drop(scope.spawn(worker))));
    let mut failed = failed.into_inner().expect("a thread has panicked while it held this lock");
    let mut examples = super::command();
    examples.arg("test").args(arguments).arg("--doc");
    set_up(&mut examples);
    if !examples.status()?.success() {
        failed.push("examples in the documentation".to_owned());
    }
    ensure!(failed.is_empty(), "tests failed in {}", failed.join(", "));
    Ok(())
}

fn built(arguments: &[&str]) -> anyhow::Result<Vec<Program>> {
    let mut build = super::command();
    build.arg("test").args(arguments).args(["--no-run", "--message-format=json-render-diagnostics"]);
    let output = build.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cargo does not run")?;
    ensure!(output.status.success(), "the tests do not build");
    let messages = String::from_utf8(output.stdout)?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs: Vec<_> =
        messages.filter(|message| message["profile"]["test"] == true).filter_map(|m| program(&m)).collect();
    if programs.is_empty() {
        bail!("cargo built no tests");
    }
    Ok(programs)
}

fn program(message: &Value) -> Option<Program> {
    let path = |value: &Value| Some(PathBuf::from(value.as_str()?));
    let folder = path(&message["manifest_path"])?.parent()?.to_owned();
    let source = path(&message["target"]["src_path"])?;
    let root = std::env::current_dir().ok()?;
    let name = source.strip_prefix(root).unwrap_or(&source).display().to_string();
    Some(Program { name, executable: path(&message["executable"])?, folder })
}

/// Runs it, and says in a line how that went, or all that it has said if it failed; which of its tests did is the error.
fn passes(program: &Program, set_up: impl Fn(&mut Command)) -> Result<(), String> {
    let began = Instant::now();
    eprintln!("          {} begins", program.name);
    let mut command = Command::new(&program.executable);
    command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder).stdin(Stdio::null());
    set_up(&mut command);
    let seconds = || began.elapsed().as_secs();
    match status_and_words(&mut command) {
        Ok((status, said)) if status.success() => {
            eprintln!("{:>6} s  {}: {}", seconds(), program.name, result(&said));
            Ok(())
        }
        Ok((status, said)) => {
            eprintln!("{said}{:>6} s  {}: {status}", seconds(), program.name);
            Err(which_failed(&said).unwrap_or_else(|| status.to_string()))
        }
        Err(error) => {
            eprintln!("{}: {error}", program.executable.display());
            Err(error.to_string())
        }
    }
}

/// How it ended, and what it said. That goes into a file: one that it has left running must not be waited for.
fn status_and_words(command: &mut Command) -> anyhow::Result<(ExitStatus, String)> {
    let mut file = tempfile::tempfile()?;
    let status = command.stdout(file.try_clone()?).stderr(file.try_clone()?).status()?;
    let mut said = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut said)?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// What it says at its end of how many tests passed.
fn result(said: &str) -> String {
    let results: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("test result: ok. ")).collect();
    results.join("; ")
}

/// Most characters of a test's last words that are repeated at the end, where a long run's reader looks first.
const REPEATED: usize = 600;

/// Which tests failed, each with the first of its last words. By what the program says while it runs: at its end it lists them once
/// more, but one that was ended does not.
fn which_failed(said: &str) -> Option<String> {
    let failed = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    let names: Vec<_> =
        said.lines().filter_map(failed).map(|name| format!("{name}{}", last_words(said, &name))).collect();
    (!names.is_empty()).then(|| names.join("; "))
}

/// Where a test panicked, and what it said.
fn last_words(said: &str, test: &str) -> String {
    let thread = format!("thread '{test}'");
    let lines = said.lines().skip_while(|line| !(line.starts_with(&thread) && line.contains("panicked at")));
    let words: Vec<_> =
        lines.take(4).take_while(|line| !line.starts_with("note: ") && *line != "stack backtrace:").collect();
    let words: String = words.join(" ").chars().take(REPEATED).collect();
    if words.is_empty() { words } else { format!(": {words}") }
}

#[cfg(test)]
mod of_words {
    use super::*;

    #[test]
    fn failed_tests_are_named_with_what_they_said() {
        let said = "running 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest d ... FAILED\n\nfailures:\n\n\
                    ---- a::c stdout ----\n\nthread 'a::c' (7) panicked at src/a.rs:3:5:\nno line\nnote: run with\n";
        assert_eq!(which_failed(said).unwrap(), "a::c: thread 'a::c' (7) panicked at src/a.rs:3:5: no line; d");
        assert_eq!(which_failed("running 1 test\ntest a ... ok\n"), None);
    }
}
