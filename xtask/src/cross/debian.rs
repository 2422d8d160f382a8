//! Packages of the distribution, unpacked beside what is built instead of installed: running this takes no root, and
//! finds the machine as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tool::interrupt::check_interrupted;

/// A file that says that a folder is whole: a run that was stopped leaves none.
const WHOLE: &str = ".whole";

/// A folder that `fill` has filled once. What a run that was stopped has left is removed first.
pub(crate) fn once(folder: PathBuf, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    if folder.join(WHOLE).exists() {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fill(&folder)?;
    fs::write(folder.join(WHOLE), "")?;
    Ok(folder)
}

/// A program that takes longer waits for a network that is down.
const PATIENCE: Duration = Duration::from_secs(300);
/// Time between two looks whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What a command prints; an error with its own last words if it fails, or does not end.
pub(crate) fn output_of(command: &mut Command) -> anyhow::Result<String> {
    output_within(command, PATIENCE)
}

fn output_within(command: &mut Command, patience: Duration) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ended = ended_within(command, patience)?;
    ensure!(ended.success, "{program} fails: {}", ended.last_words());
    Ok(ended.output)
}

/// How a program ended, and what it printed.
pub(super) struct Ended {
    pub(super) success: bool,
    pub(super) output: String,
    pub(super) errors: String,
}

impl Ended {
    /// The last line of its errors.
    pub(super) fn last_words(&self) -> &str {
        self.errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not say why")
    }
}

/// Runs a command until it ends; an error if it does not start, or does not end.
pub(super) fn ended(command: &mut Command) -> anyhow::Result<Ended> {
    ended_within(command, PATIENCE)
}

fn ended_within(command: &mut Command, patience: Duration) -> anyhow::Result<Ended> {
    let program = command.get_program().to_string_lossy().into_owned();
    // In files: what it starts may hold a pipe open for longer than it lives.
    let (output, errors) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    command.stdin(Stdio::null()).stdout(output.reopen()?).stderr(errors.reopen()?);
    let mut child = command.spawn().with_context(|| format!("there is no {program}"))?;
    let until = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until || check_interrupted().is_err() {
            let _ = child.kill();
            let _ = child.wait();
            check_interrupted()?;
            bail!("{program} did not end within {} s", patience.as_secs());
        }
        std::thread::sleep(LOOK);
    };
    let said = |file: &tempfile::NamedTempFile| -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(file.path())?).into_owned())
    };
    Ok(Ended { success: status.success(), output: said(&output)?, errors: said(&errors)? })
}

/// apt, with lists and a cache of its own.
pub(super) struct Apt {
    folder: PathBuf,
    sources: Option<PathBuf>,
}

impl Apt {
    /// With the machine's own sources.
    pub(super) fn of_this_machine(tools: &Path) -> anyhow::Result<Self> {
        Apt::open(tools.join("apt"), None)
    }

    /// With one suite of the machine's mirror, which it need not know.
    pub(super) fn of_suite(tools: &Path, suite: &str) -> anyhow::Result<Self> {
        let folder = tools.join(format!("apt-{suite}"));
        fs::create_dir_all(&folder)?;
        let known = output_of(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]));
        let known = known.unwrap_or_default();
        let mirror = known.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
        let mirror = mirror.unwrap_or("http://deb.debian.org/debian");
        let sources = folder.join("sources.list");
        fs::write(&sources, format!("deb {mirror} {suite} main\n"))?;
        Apt::open(folder, Some(sources))
    }

    fn open(folder: PathBuf, sources: Option<PathBuf>) -> anyhow::Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let apt = Apt { folder, sources };
        once(apt.folder.join("updated"), |_| output_of(apt.command("apt-get").arg("update")).map(drop))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut set = |name: &str, value: &Path| {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        };
        set("Dir::State::Lists", &self.folder.join("lists"));
        set("Dir::Cache", &self.folder.join("cache"));
        if let Some(sources) = &self.sources {
            set("Dir::Etc::SourceList", sources);
            set("Dir::Etc::SourceParts", Path::new("/dev/null"));
        }
        // Of no use in folders that only we may write to.
        command.args(["-o", "APT::Sandbox::User="]).env("LC_ALL", "C");
        // Some minutes for each package otherwise, where nothing answers.
        command.args(["-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=2"]);
        command
    }

    /// What installing these would bring in besides, as far as this machine does not have it.
    pub(super) fn with_dependencies(&self, packages: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut simulate = self.command("apt-get");
        simulate.args(["--simulate", "install", "--no-install-recommends"]).args(packages);
        let said = output_of(&mut simulate)?;
        let named = said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next());
        Ok(named.map(str::to_owned).collect())
    }

    /// The versions that there are of a package.
    pub(super) fn versions(&self, package: &str) -> anyhow::Result<Vec<String>> {
        let said = output_of(self.command("apt-cache").args(["madison", package]))?;
        Ok(said.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect())
    }

    /// Fetches packages and unpacks them into a folder.
    pub(super) fn unpack(&self, packages: &[impl AsRef<str>], into: &Path) -> anyhow::Result<()> {
        let debs = tempfile::tempdir_in(&self.folder)?;
        let mut download = self.command("apt-get");
        download.current_dir(debs.path()).arg("download").args(packages.iter().map(AsRef::as_ref));
        output_of(&mut download)?;
        for deb in fs::read_dir(debs.path())? {
            output_of(Command::new("dpkg-deb").arg("--extract").arg(deb?.path()).arg(into))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_program_that_hangs_or_fails_is_an_error_that_says_so() {
        let run = |script: &str| output_within(Command::new("sh").args(["-c", script]), Duration::from_millis(300));
        assert_eq!(run("echo out; echo err >&2").unwrap(), "out\n");
        assert_eq!(run("echo first >&2; echo last >&2; exit 3").unwrap_err().to_string(), "sh fails: last");
        let error = run("exec sleep 60").unwrap_err().to_string();
        assert!(error.contains("did not end"), "{error}");
        let error = output_of(&mut Command::new("no such program")).unwrap_err().to_string();
        assert!(error.contains("there is no"), "{error}");
    }

    #[test]
    fn what_was_left_half_done_is_done_again_and_what_is_whole_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("tool");
        let failed = once(folder.clone(), |folder| {
            fs::write(folder.join("half"), "")?;
            anyhow::bail!("the network is gone")
        });
        assert!(failed.is_err());
        once(folder.clone(), |folder| Ok(fs::write(folder.join("all"), "")?)).unwrap();
        assert!(!folder.join("half").exists() && folder.join("all").exists());
        once(folder, |_| panic!("it is whole")).unwrap();
    }
}
