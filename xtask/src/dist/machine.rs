//! A Debian package on a machine of its own: systemd, booted in namespaces over this machine's files, with what is written there kept
//! in memory. So dpkg and the package's scripts are the real ones, the services run as their units say, and this machine stays as it is.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tool::interrupt::check_interrupted;

const BOOT: &str = include_str!("machine/boot.sh");
const STORY: &str = include_str!("machine/story.sh");

/// The story ends by itself before.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the package brings, or its services leave.
const OURS: [&str; 5] = [
    "/usr/bin/peer-cli",
    "/etc/p2p-fileshare",
    "/srv/p2p-fileshare",
    "/var/lib/private/p2p-tracker",
    "/var/lib/p2p-tracker",
];
const LOOK: Duration = Duration::from_millis(100);

/// Why this machine cannot do it; nothing if it can.
pub(super) fn hindrance() -> Option<&'static str> {
    let succeeds = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !cfg!(target_os = "linux") || !Path::new("/lib/systemd/systemd").exists() {
        return Some("there is no systemd to boot");
    }
    if OURS.iter().any(|path| Path::new(path).exists()) || succeeds("dpkg-query", &["--status", "p2p-fileshare"]) {
        return Some("the package is, or was, installed on this machine, whose files would be seen");
    }
    // What is mounted below `/` is not in what is laid over it.
    if ["/usr", "/etc", "/var", "/var/lib/dpkg"].iter().any(|path| is_on_another_device(path)) {
        return Some("/usr, /etc or /var is a file system of its own here");
    }
    let tried = succeeds(
        "unshare",
        &["--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--net", "--cgroup", "true"],
    );
    (!tried).then_some("this user, or this machine, may not make namespaces")
}

#[cfg(unix)]
fn is_on_another_device(path: &str) -> bool {
    use std::os::unix::fs::MetadataExt;

    let device = |path: &str| fs::metadata(path).map(|metadata| metadata.dev());
    matches!((device("/"), device(path)), (Ok(root), Ok(other)) if root != other)
}

#[cfg(not(unix))]
fn is_on_another_device(_: &str) -> bool {
    false
}

/// Installs `old`, runs the services, upgrades to `new`, removes and purges it. False if systemd does not boot here, which is no
/// fault of the packages.
pub(super) fn try_out(old: &Path, new: &Path) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let trial = folder.path();
    fs::write(trial.join("boot.sh"), BOOT)?;
    fs::write(trial.join("story.sh"), STORY)?;
    fs::copy(old, trial.join("old.deb"))?;
    fs::copy(new, trial.join("new.deb"))?;
    let complaints = fs::File::create(trial.join("complaints"))?;
    let mut boot = Command::new("unshare");
    let group = format!("p2p-trial-{}", std::process::id());
    boot.args(["--mount", "--pid", "--kill-child", "--fork", "sh"]).arg(trial.join("boot.sh")).arg(trial).arg(&group);
    boot.stdin(Stdio::null()).stdout(complaints.try_clone()?).stderr(complaints);
    let mut child = boot.spawn().context("unshare does not run")?;
    let until = Instant::now() + PATIENCE;
    let ended = loop {
        if child.try_wait()?.is_some() {
            break true;
        }
        if Instant::now() > until || check_interrupted().is_err() {
            // All that it has started ends with it.
            let _ = child.kill();
            let _ = child.wait();
            std::thread::sleep(LOOK);
            for root in ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"] {
                remove_groups(&Path::new(root).join(&group));
            }
            check_interrupted()?;
            break false;
        }
        std::thread::sleep(LOOK);
    };
    let text = |name: &str| fs::read(trial.join(name)).map(|said| String::from_utf8_lossy(&said).into_owned());
    let Ok(said) = text("said") else {
        eprintln!("systemd does not boot here: {}", text("complaints").unwrap_or_default().trim());
        return Ok(false);
    };
    let steps = said.trim_end();
    ensure!(ended, "the packages on a machine: no end within {} s, after:\n{steps}", PATIENCE.as_secs());
    ensure!(said.lines().last() == Some("passed"), "the packages on a machine:\n{steps}");
    steps.lines().filter(|line| *line != "passed").for_each(|line| eprintln!("on a machine: {line}"));
    Ok(true)
}

/// Groups of processes that have ended, which boot.sh removes otherwise. They are folders without files that could be removed.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path());
    }
    let _ = fs::remove_dir(group);
}
