//! Twenty machines that get at once what an origin has. The origin sends 20 Mbit/s, and so does each of them: one copy from the
//! origin takes as long as the file has bits for that.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testbed::event::{Completed, Event};
use testbed::files::{first_difference, random_file};
use testbed::process::{Lines, Process, Said};
use testbed::program::Program;
use testbed::programs::Programs;
use tool::usage::processors;

use super::figure::{Figure, Target};
use super::lab::{self, Lab, TRANSFER};
use super::nginx::Nginx;

/// What the origin and each machine send, in bytes a second, and how long that may wait.
const UPLINK: f64 = 20e6 / 8.0;
const QUEUE: Duration = Duration::from_millis(100);
/// How many are asked by `hf download`.
const BY_HF: usize = 2;
/// Above this share of all processors, these were the limit.
const BUSY: f64 = 0.8;
/// Time between two looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);

const FILE: &str = "random.bin";
const MODEL: &str = "org/model";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Who reads the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A seeder, by `share URL`, which has the manifest.
    Seeder,
    /// The peers themselves, by `get --origin URL`; the manifest lies beside the file.
    Fallback,
    /// Gateways, with a hub as their origin. Nothing is known of the file before.
    Gateways,
}

impl Shape {
    /// The most that the last one may take, in times of one copy, and that the origin may send, in copies.
    fn targets(self) -> [f64; 2] {
        match self {
            Shape::Seeder => [1.15, 1.05],
            Shape::Fallback => [1.25, 1.10],
            Shape::Gateways => [2.2, 1.05],
        }
    }
}

/// Measures one shape.
pub fn measure(shape: Shape, size: u64, peers: u8, programs: &Programs, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let mut lab = Lab::new(folder, programs)?;
    let (origin, tracker) = (lab.machine("origin")?, lab.machine("tracker")?);
    lab.network.limit_uplink("origin", UPLINK, QUEUE)?;
    let root = lab.folder("root")?;
    let file = random_file(&root, size)?;
    let (_tracker, flags) = lab.tracker("tracker", &tracker)?;
    let server = match shape {
        Shape::Gateways => hub(&origin, &root, &file)?,
        _ => format!("listen {origin}:80; root {};", root.display()),
    };
    let nginx = Nginx::start(lab.network.command("origin", Path::new("nginx")), &folder.join("nginx"), &server)?;
    let machines: Vec<_> = (0..peers).map(|number| format!("peer-{number}")).collect();
    for machine in &machines {
        lab.machine(machine)?;
        lab.network.limit_uplink(machine, UPLINK, QUEUE)?;
    }
    let fleet = Fleet { lab, machines, flags, file, origin, nginx };
    match shape {
        Shape::Seeder | Shape::Fallback => fleet.peers(shape, size),
        Shape::Gateways => fleet.gateways(size),
    }
}

struct Fleet<'a> {
    lab: Lab<'a>,
    machines: Vec<String>,
    flags: Vec<String>,
    file: std::path::PathBuf,
    origin: String,
    nginx: Nginx,
}

impl Fleet<'_> {
    /// `peer-cli get` on every machine.
    fn peers(mut self, shape: Shape, size: u64) -> anyhow::Result<Vec<Figure>> {
        let url = format!("http://{}/{FILE}", self.origin);
        // As a CI job would, which keeps no bytes: the seeder that is started there later has the manifest, and nothing else.
        let home = self.lab.folder("seeder")?;
        let mut publish = self.lab.peer("tracker");
        publish.args(["publish", "--json", "--open", &url]).args(&self.flags);
        let published = lab::output(publish, &home)?;
        let found = published.lines().find_map(|line| match Event::parse(line).ok()? {
            Event::Ticket(ticket) => Some(ticket),
            _ => None,
        });
        let ticket = found.context("publish gives a ticket")?;
        let _seeder = if shape == Shape::Seeder {
            self.lab.machine("seeder")?;
            self.lab.network.limit_uplink("seeder", UPLINK, QUEUE)?;
            let mut command = self.lab.peer("seeder");
            command.args(["share", "--json", "--open", &url]).args(&self.flags);
            Some(lab::share(command, &home)?)
        } else {
            put_beside(&home, &self.file)?;
            None
        };
        let before = self.nginx.sent("/random.bin")?;
        let command = |machine: &str| {
            let mut command = self.lab.peer(machine);
            command.args(["get", "--json", "--seed-for=600s", &ticket.ticket]);
            if shape == Shape::Fallback {
                command.args(["--origin", &url]);
            }
            Ok(command)
        };
        let timed = self.time(command, |line| Event::parse(line).is_ok_and(is::<Completed>))?;
        let output = |machine: &str| self.lab.folder.join(machine).join(FILE);
        self.compare(output)?;
        self.figures(shape, size, timed, before, "/random.bin")
    }

    /// A gateway on every machine, and a client that asks it.
    fn gateways(self, size: u64) -> anyhow::Result<Vec<Figure>> {
        let hub = format!("--hf-origin=http://{}", self.origin);
        let mut gateways: Vec<Program> = Vec::new();
        let mut at = String::new();
        for machine in &self.machines {
            let (gateway, url) = self.lab.gateway(machine, &format!("{machine}-gateway"), &self.flags, &[&hub])?;
            gateways.push(gateway);
            at = url;
        }
        let python = std::env::var_os("P2P_TEST_PYTHON");
        let hf = python.map(|python| Path::new(&python).with_file_name("hf")).filter(|hf| hf.exists());
        if hf.is_none() {
            eprintln!("nothing is asked by hf download: P2P_TEST_PYTHON says which Python has huggingface_hub");
        }
        let by_hf = |machine: &str| self.machines.iter().take(BY_HF).any(|name| name == machine);
        let command = |machine: &str| {
            // Whatever is run ends when it has all.
            let Some(hf) = hf.as_ref().filter(|_| by_hf(machine)) else {
                let mut curl = self.lab.network.command(machine, Path::new("curl"));
                curl.args(["-q", "-s", "-f", "--retry", "20", "-C", "-", "-o", FILE]);
                curl.arg(format!("{at}/{MODEL}/resolve/main/{FILE}"));
                return Ok(curl);
            };
            let mut download = self.lab.network.command(machine, hf);
            download.args(["download", MODEL, "--local-dir", "."]).env("HF_ENDPOINT", &at);
            download.env("HF_HUB_DISABLE_TELEMETRY", "1").env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
            Ok(download)
        };
        let timed = self.time(command, |_| false)?;
        self.compare(|machine| self.lab.folder.join(machine).join(FILE))?;
        drop(gateways);
        let mut figures = self.figures(Shape::Gateways, size, timed, 0, "/random.bin")?;
        let asked = if hf.is_some() { BY_HF.min(self.machines.len()) } else { 0 };
        figures.push(Figure::new("of them by hf download", asked as f64, Target::None));
        Ok(figures)
    }

    /// Starts a program on every machine, and says when each had everything, and which share of all processors was used. It has
    /// everything when it says so, or ends.
    fn time(
        &self,
        command: impl Fn(&str) -> anyhow::Result<Command>,
        has_all: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Timed> {
        let (lines, mut running) = (Lines::new(1024), Vec::new());
        let (began, before) = (Instant::now(), processors().context("this system does not say how busy it is")?);
        for (number, machine) in self.machines.iter().enumerate() {
            running.push(lines.start(command(machine)?, &self.lab.folder(machine)?, number)?);
        }
        let mut took: Vec<Option<f64>> = vec![None; running.len()];
        while took.iter().any(Option::is_none) {
            ensure!(began.elapsed() < TRANSFER, "it is not done after {TRANSFER:?}");
            let Some(Said { who, line }) = lines.hear(LOOK)? else { continue };
            let ended = line.is_none();
            if took[who].is_none() && line.is_none_or(|line| has_all(&line)) {
                took[who] = Some(began.elapsed().as_secs_f64());
                ensure!(!ended || has_succeeded(&mut running[who])?, "{}", running[who].last_words());
            }
        }
        let after = processors().context("this system does not say how busy it is")?;
        let busy = (after[0] - before[0]) as f64 / (after[1] - before[1]).max(1) as f64;
        Ok(Timed { took: took.into_iter().flatten().collect(), busy, running })
    }

    fn compare(&self, output: impl Fn(&str) -> std::path::PathBuf) -> anyhow::Result<()> {
        for machine in &self.machines {
            let differs = first_difference(&self.file, &output(machine))?;
            ensure!(differs.is_none(), "{machine} has not what the origin has");
        }
        Ok(())
    }

    fn figures(&self, shape: Shape, size: u64, timed: Timed, before: u64, path: &str) -> anyhow::Result<Vec<Figure>> {
        let Timed { mut took, busy, running } = timed;
        // What is still being sent ends with them, and is written down.
        drop(running);
        std::thread::sleep(Duration::from_secs(1));
        took.sort_by(f64::total_cmp);
        let copy = size as f64 / UPLINK;
        let (last, middle) = (took.last().copied().unwrap_or(f64::NAN), took[took.len() / 2]);
        let copies = (self.nginx.sent(path)? - before) as f64 / size as f64;
        ensure!(copies > 0.9, "nginx has written down {copies} copies, and peers have more");
        let [most, most_copies] = shape.targets();
        let name = match shape {
            Shape::Seeder => "a seeder of an origin",
            Shape::Fallback => "an origin, no seeder",
            Shape::Gateways => "a hub behind gateways",
        };
        let (peers, counts) = (took.len(), busy <= BUSY);
        let figure =
            |what: &str, value, target| Figure { counts, ..Figure::new(format!("{name}: {what}"), value, target) };
        Ok(vec![
            figure(&format!("last of {peers}, times of one copy"), last / copy, Target::AtMost(most)),
            figure("median", middle / copy, Target::None),
            figure("copies that the origin sends", copies, Target::AtMost(most_copies)),
            figure("share of all processors", busy, Target::AtMost(BUSY)),
        ])
    }
}

/// When each had everything, in seconds.
struct Timed {
    took: Vec<f64>,
    busy: f64,
    running: Vec<Process>,
}

fn has_succeeded(process: &mut Process) -> anyhow::Result<bool> {
    Ok(process.wait(Duration::from_secs(10))?.success())
}

fn is<E: testbed::event::Kind>(event: Event) -> bool {
    E::from_event(event).is_some()
}

/// Puts the manifest that was made beside the file.
fn put_beside(home: &Path, file: &Path) -> anyhow::Result<()> {
    let mut find = Command::new("find");
    find.arg(home).args(["-name", "*.manifest", "-type", "f"]);
    let found = lab::output(find, home)?;
    let manifest = found.lines().next().context("no manifest was kept")?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".p2p-manifest");
    std::fs::copy(manifest, beside)?;
    Ok(())
}

/// The answers of a hub that has one model with one file, as nginx gives them.
fn hub(address: &str, root: &Path, file: &Path) -> anyhow::Result<String> {
    let mut digest = Command::new("sha256sum");
    digest.arg(file);
    let said = lab::output(digest, root)?;
    let sha256 = said.split(' ').next().unwrap_or_default();
    let size = file.metadata()?.len();
    let info = serde_json::json!({ "id": MODEL, "sha": COMMIT, "private": false, "siblings": [{ "rfilename": FILE }] });
    let tree = serde_json::json!([{
        "type": "file", "path": FILE, "size": size, "oid": COMMIT,
        "lfs": { "oid": sha256, "size": size, "pointerSize": 134 },
    }]);
    std::fs::write(root.join("info"), info.to_string())?;
    std::fs::write(root.join("tree"), tree.to_string())?;
    let root = root.display();
    Ok(format!(
        "listen {address}:80; root {root}; etag off; add_header X-Repo-Commit {COMMIT};\n\
         location /api/models/{MODEL}/revision/ {{ default_type application/json; try_files /info =404; }}\n\
         location /api/models/{MODEL}/tree/ {{ default_type application/json; try_files /tree =404; }}\n\
         location /{MODEL}/resolve/ {{ add_header X-Repo-Commit {COMMIT}; add_header ETag '\"{sha256}\"';\n\
         add_header X-Linked-Etag '\"{sha256}\"'; add_header X-Linked-Size {size}; try_files /{FILE} =404; }}"
    ))
}
