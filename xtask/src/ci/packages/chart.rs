//! The chart for Kubernetes: `chart.py` lints and renders it, and what the rendered pods would run is run here, with files as a
//! kubelet lays them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use testbed::program::Program;
use testbed::programs::Programs;
use testbed::tracker;

use crate::dist::output_of;

const SCRIPT: &str = include_str!("chart.py");
const CHART: &str = "packaging/helm";
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-of-24-characters";

/// Lints, renders, validates, and starts what is in the pods.
pub(super) fn check(python: &Path, programs: &Programs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let said = output_of(Command::new(python).args(["-I", "-c", SCRIPT, CHART]).arg(folder.path()))?;
    eprint!("{}", String::from_utf8_lossy(&said));
    let releases: BTreeMap<String, Value> = serde_json::from_slice(&fs::read(folder.path().join("commands.json"))?)?;
    for (name, release) in &releases {
        let pods = Pods { programs, release, folder: folder.path().join(name) };
        pods.run().with_context(|| format!("the chart's commands, {name}"))?;
        eprintln!("the chart's commands, {name}: they run, and answer");
    }
    Ok(())
}

/// What a release would run, and where its files are.
struct Pods<'a> {
    programs: &'a Programs,
    release: &'a Value,
    folder: PathBuf,
}

impl Pods<'_> {
    fn run(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.lay_secrets()?;
        let (_tracker, address) = tracker::start(self.command("tracker", "0")?, &self.folder, PATIENCE)?;
        let mut peer =
            Program::start_as("the node's peer", self.command("peer", &address.port().to_string())?, &self.folder)?;
        let at = |line: &str, before: &str| -> Option<SocketAddr> {
            line.strip_prefix(before)?.trim_end_matches("/metrics").parse().ok()
        };
        let is_daemon = self.words("peer")?.contains(&"daemon".to_owned());
        // A gateway says first where it listens, and then where its metrics are.
        let gateway = match is_daemon {
            true => None,
            false => Some(peer.find("its address", PATIENCE, |line| at(line, "Gateway at http://"))?),
        };
        let metrics = peer.find("its metrics", PATIENCE, |line| at(line, "Metrics at http://"))?;
        ensure!(answer(metrics, "/livez", None)? == 200, "a node does not live");
        until("a node is ready", || Ok(answer(metrics, "/readyz", None)? == 200))?;
        if is_daemon {
            let mut status = Command::new(&self.programs.peer);
            output_of(status.arg("status").envs(self.variables("peer")))?;
        }
        if let Some(at) = gateway {
            let needs_token = self.words("peer")?.iter().any(|word| word.starts_with("--gateway-token"));
            ensure!(answer(at, "/", None)? == if needs_token { 401 } else { 200 }, "who may ask a gateway");
            ensure!(answer(at, "/", Some(TOKEN))? == 200, "a gateway refuses its token");
        }
        Ok(())
    }

    /// Secrets as a kubelet mounts them: links to files of a folder that is replaced as a whole, for the group alone.
    fn lay_secrets(&self) -> anyhow::Result<()> {
        let made = self.folder.join("made");
        let mut init = Command::new(&self.programs.tracker);
        output_of(init.args(["--init-closed", "--peers", "0", "--name", "node-1", "--certs"]).arg(&made))?;
        let lay = |folder: &str, files: &[&str]| -> anyhow::Result<()> {
            let folder = self.folder.join(folder);
            let version = folder.join("..2026");
            fs::create_dir_all(&version)?;
            link(Path::new("..2026"), &folder.join("..data"))?;
            for file in files {
                fs::copy(made.join(file), version.join(file))?;
                link(&Path::new("..data").join(file), &folder.join(file))?;
            }
            Ok(())
        };
        // An open swarm's tracker refuses a certificate of a CA's.
        let mut files = vec!["tracker.key"];
        if self.is_closed()? {
            files.extend(["tracker.pem", "ca.pem"]);
        } else {
            let open = self.folder.join("open");
            let mut tracker = Command::new(&self.programs.tracker);
            tracker.args(["--bind=127.0.0.1", "-p0", "--certs"]).arg(&open);
            drop(tracker::start(tracker, &self.folder, PATIENCE)?);
            for file in ["tracker.pem", "tracker.key"] {
                fs::copy(open.join(file), made.join(file))?;
            }
            files.push("tracker.pem");
        }
        lay("certs-tracker", &files)?;
        files.retain(|file| *file != "tracker.key");
        lay("certs-peer", &files)?;
        for folder in ["node", "token"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        for volume in ["run", "data"] {
            fs::create_dir_all(self.folder.join(volume))?;
            for_everyone(&self.folder.join(volume))?;
        }
        fs::copy(made.join("node-1.pem"), self.folder.join("node/node.pem"))?;
        fs::copy(made.join("node-1.key"), self.folder.join("node/node.key"))?;
        Ok(fs::write(self.folder.join("token/token"), TOKEN)?)
    }

    fn is_closed(&self) -> anyhow::Result<bool> {
        Ok(self.words("peer")?.iter().any(|word| word == "--ca" || word.starts_with("--ca=")))
    }

    fn words(&self, container: &str) -> anyhow::Result<Vec<String>> {
        let words = self.release[container]["command"].as_array().context("a container has no command")?;
        Ok(words.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// A container's command with its paths and the tracker's name as they are here, and free ports of loopback in place of its own.
    fn command(&self, container: &str, tracker: &str) -> anyhow::Result<Command> {
        let here = |path: &str| format!("={}", self.folder.join(path).display());
        let certs = here(&format!("certs-{container}"));
        let places =
            [("=/certs", certs), ("=/node", here("node")), ("=/data", here("data")), ("=/token", here("token"))];
        let mut words = self.words(container)?.into_iter();
        let program = words.next().context("a command has a program")?;
        let mut command = Command::new(if program == "tracker" { &self.programs.tracker } else { &self.programs.peer });
        for word in words {
            let flag = word.split('=').next().unwrap_or_default().to_owned();
            command.arg(match flag.as_str() {
                "--port" => "--port=0".to_owned(),
                "--tracker-port" => format!("--tracker-port={tracker}"),
                "--tracker-ip" => "--tracker-ip=127.0.0.1".to_owned(),
                "--metrics" | "--gateway" => format!("{flag}=127.0.0.1:0"),
                _ => places.iter().fold(word, |word, (there, here)| word.replace(there, here)),
            });
        }
        command.arg("--bind=127.0.0.1").envs(self.variables(container));
        Ok(command)
    }

    fn variables(&self, container: &str) -> Vec<(String, String)> {
        let all = self.release[container]["variables"].as_object().into_iter().flatten();
        // What the cluster fills in is null.
        let all = all.map(|(name, value)| (name.clone(), value.as_str().unwrap_or("node-1").to_owned()));
        let run = self.folder.join("run").display().to_string();
        all.map(|(name, value)| (name, if value == "/run/p2p" { run.clone() } else { value })).collect()
    }
}

/// As a kubelet makes a volume of memory, or any for a group.
#[cfg(unix)]
fn for_everyone(volume: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(volume, fs::Permissions::from_mode(0o3777))?)
}

#[cfg(not(unix))]
fn for_everyone(volume: &Path) -> anyhow::Result<()> {
    anyhow::bail!("{} is not for everyone: this is for Unix", volume.display())
}

#[cfg(unix)]
fn link(target: &Path, at: &Path) -> anyhow::Result<()> {
    Ok(std::os::unix::fs::symlink(target, at)?)
}

#[cfg(not(unix))]
fn link(target: &Path, at: &Path) -> anyhow::Result<()> {
    anyhow::bail!("{} is not linked at {}: this is for Unix", target.display(), at.display())
}

/// The status that a path is answered with.
fn answer(at: SocketAddr, path: &str, token: Option<&str>) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{token}\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let head = String::from_utf8_lossy(&head).into_owned();
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("{path} is answered {head:?}"))
}

fn until(what: &str, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_is_of_the_version_of_the_programs() {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/helm/Chart.yaml");
        let chart = fs::read_to_string(chart).unwrap();
        assert!(chart.contains(&format!("\nappVersion: \"{}\"\n", env!("CARGO_PKG_VERSION"))), "{chart}");
    }
}
