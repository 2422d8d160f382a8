//! Stories of the programs for Windows, run under Wine, alone and with those for Linux. All goes over TCP.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use testbed::event::{Bye, Completed, Manifest, Progress, Ready, Sharing, Ticket};
use testbed::programs::{self, Programs};

use super::compiler::{Compiler, PROFILE};
use super::machine::{Ground, PATIENCE, Platform::Linux, Platform::Windows, TCP};
use super::wine::Wine;
use super::{Skipped, Time, WINDOWS};

type Story = fn(&Ground<'_>) -> anyhow::Result<()>;
const STORIES: [(&str, Story); 9] = [
    ("the README's three commands", by_hand),
    ("a shared folder with spaces and Unicode", folder),
    ("several files by a pattern", pattern),
    ("a private share for one receiver", private),
    ("killed and started again", killed),
    ("Linux and Windows in one swarm", mixed),
    ("names that Windows does not have", names),
    ("a daemon and its pipe", daemon),
    ("Ctrl-C", interrupted),
];

/// What a build of the programs takes where nothing of them is built yet, on two cores; and what Wine takes, with all the stories.
const BUILD: Duration = Duration::from_secs(240);
const RUN: Duration = Duration::from_secs(120);

/// Builds the programs and runs every story, if there is time for all of that: what is built is run.
pub(super) fn build_and_run(
    compiler: &Compiler,
    tools: &Path,
    time: Time,
    skipped: &mut Skipped,
) -> anyhow::Result<()> {
    if !time.is_enough("the programs for Windows, and what is run under Wine", BUILD + RUN, skipped) {
        return Ok(());
    }
    run(&compiler.build(PROFILE, &[])?, tools, skipped)
}

/// Runs every story with programs that are built.
pub(super) fn run(windows: &Programs, tools: &Path, skipped: &mut Skipped) -> anyhow::Result<()> {
    let wine = skipped.unless("the programs for Windows are built and not run", Wine::get(tools));
    let Some(wine) = wine else { return Ok(()) };
    let parent = tools.join("stories");
    fs::create_dir_all(&parent)?;
    let folder = tempfile::tempdir_in(parent)?;
    let linux = programs::build(false)?;
    let result = STORIES.iter().try_for_each(|(name, story)| {
        let name = format!("{WINDOWS} under Wine: {name}");
        eprintln!("{name}");
        let ground = Ground {
            linux: &linux,
            windows,
            wine: &|program| wine.command(program),
            folder: tempfile::tempdir_in(folder.path())?.keep(),
        };
        story(&ground).context(name)
    });
    wine.stop();
    if result.is_err() {
        eprintln!("Files and logs are in {}", folder.keep().display());
    }
    result
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(20).fill(&mut bytes);
    bytes
}

/// What the README has one type first, in one folder.
fn by_hand(ground: &Ground<'_>) -> anyhow::Result<()> {
    const NAME: &str = "2short_story_100x.txt";
    let sample = Path::new("input").join(NAME);
    let here = ground.put("here", &format!("input/{NAME}"), &fs::read(&sample)?)?;
    let (_tracker, port) = ground.tracker(Windows, "here")?;
    ground.is_private("here", "certs/tracker.key")?;
    let port = port.to_string();
    let mut seeder = ground.peer(Windows, "here", "seeder", &["-i", "localhost", "-d", &port, "-S", "-p0"])?;
    seeder.event::<Sharing>()?;
    let mut get = ground.peer(Windows, "here", "get", &["-i", "localhost", "-d", &port, "-p0", "-f", NAME])?;
    get.event::<Completed>()?;
    get.exit()?;
    seeder.exit()?;
    ground.is_equal(&here, "here", &format!("output/{NAME}"))
}

const FOLDER: &str = "Fotos – Zürich 東京";

fn folder(ground: &Ground<'_>) -> anyhow::Result<()> {
    let files = ["a file.txt", "größer/zwei Wörter.bin", "日本語/ファイル"];
    let originals = files.map(|file| ground.put("here", &format!("{FOLDER}/{file}"), &noise(300_000 + file.len())));
    let mut share = ground.peer(Windows, "here", "share", &["share", "-d0", FOLDER])?;
    let ticket = share.event::<Ticket>()?.ticket;
    let mut get = ground.peer(Windows, "there", "get", &["get", &ticket, "-o", "what comes"])?;
    get.event::<Completed>()?;
    get.ends()?;
    for (original, file) in originals.into_iter().zip(files) {
        ground.is_equal(&original?, "there", &format!("what comes/{FOLDER}/{file}"))?;
    }
    share.exit()
}

/// PowerShell hands a pattern on as it was typed.
fn pattern(ground: &Ground<'_>) -> anyhow::Result<()> {
    for name in ["one.bin", "two.bin", "three.txt"] {
        ground.put("here", name, &noise(10_000 + name.len()))?;
    }
    let mut share = ground.peer(Windows, "here", "share", &["share", "-d0", "*.bin"])?;
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(share.event::<Sharing>()?.name);
    }
    names.sort();
    ensure!(names == ["one.bin", "two.bin"], "*.bin means {names:?}");
    share.exit()
}

/// With the ticket it can be got, without it it is not there, and after its one receiver it is over.
fn private(ground: &Ground<'_>) -> anyhow::Result<()> {
    let original = ground.put("here", "a secret.bin", &noise(1 << 20))?;
    let mut share = ground.peer(Windows, "here", "share", &["share", "-d0", "--receivers=1", "a secret.bin"])?;
    let tracker_id = share.event::<Ready>()?.tracker;
    let sharing = share.event::<Sharing>()?;
    let ticket = share.event::<Ticket>()?.ticket;
    let address = ticket.parse::<protocol::Ticket>()?.addresses()[0];
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    for (name, wanted) in [("by-name", &sharing.name), ("by-id", &sharing.content)] {
        let arguments = ["get", "-i", &host, "-d", &port, "--tracker-id", &tracker_id, wanted];
        let stranger = ground.peer(Linux, "elsewhere", name, &arguments)?;
        ensure!(!stranger.status()?.success(), "a private share is got {name}, without its ticket");
    }
    let mut get = ground.peer(Windows, "there", "get", &["get", &ticket])?;
    get.event::<Completed>()?;
    get.ends()?;
    ground.is_equal(&original, "there", "a secret.bin")?;
    share.event::<Bye>()?;
    share.ends()
}

fn killed(ground: &Ground<'_>) -> anyhow::Result<()> {
    let original = ground.put("here", "large.bin", &noise(16 << 20))?;
    let arguments = ["share", "-d0", "--piece-size=256KiB", "--up-rate=4MiB", "large.bin"];
    let mut share = ground.peer(Windows, "here", "share", &arguments)?;
    let ticket = share.event::<Ticket>()?.ticket;
    let mut get = ground.peer(Windows, "there", "first", &["get", &ticket])?;
    // Far enough that some of it is claimed by the journal.
    get.until::<Progress>(|progress| progress.have >= 32)?;
    get.kill();
    let mut again = ground.peer(Windows, "there", "again", &["get", &ticket])?;
    let kept = again.event::<Manifest>()?.have;
    ensure!(kept > 0, "nothing is kept of what a killed peer had");
    again.event::<Completed>()?;
    again.ends()?;
    share.exit()?;
    ground.is_equal(&original, "there", "large.bin")
}

/// Each platform seeds a file, and each gets both, by a tracker on Linux.
fn mixed(ground: &Ground<'_>) -> anyhow::Result<()> {
    let names = ["of-linux.bin", "of-windows.bin"];
    let mut originals = Vec::new();
    for (number, name) in names.iter().enumerate() {
        originals.push(ground.put("all", &format!("{number}/{name}"), &noise((4 << 20) + number))?);
    }
    let (_tracker, port) = ground.tracker(Linux, "all")?;
    let port = port.to_string();
    let mut seeders = Vec::new();
    for (platform, input) in [(Linux, "0"), (Windows, "1")] {
        let arguments = ["-i", "127.0.0.1", "-d", &port, "-S", "-p0", "--input", input, "--hashes", input];
        let mut seeder = ground.peer(platform, "all", &format!("seeder-{input}"), &arguments)?;
        seeder.event::<Sharing>()?;
        seeders.push(seeder);
    }
    let mut getters = Vec::new();
    for (platform, output) in [(Linux, "on-linux"), (Windows, "on-windows")] {
        let mut arguments = vec!["-i", "127.0.0.1", "-d", &port, "-p0", "--output", output, "--hashes", output];
        names.iter().for_each(|name| arguments.extend(["-f", name]));
        getters.push(ground.peer(platform, "all", output, &arguments)?);
    }
    for getter in &mut getters {
        getter.event::<Completed>()?;
        getter.event::<Completed>()?;
    }
    getters.into_iter().chain(seeders).try_for_each(|peer| peer.exit())?;
    for output in ["on-linux", "on-windows"] {
        for (original, name) in originals.iter().zip(names) {
            ground.is_equal(original, "all", &format!("{output}/{name}"))?;
        }
    }
    Ok(())
}

/// They are left out or renamed, as it is asked for, also beside what came before.
fn names(ground: &Ground<'_>) -> anyhow::Result<()> {
    for name in ["aux", "a:b", "C:evil", "fine.txt", "q?/trail."] {
        ground.put("here", &format!("odd/{name}"), name.as_bytes())?;
    }
    let mut share = ground.peer(Linux, "here", "share", &["share", "-d0", "odd"])?;
    let ticket = share.event::<Ticket>()?.ticket;
    let refused = ground.peer(Windows, "there", "refused", &["get", &ticket])?;
    ensure!(refused.status()?.code() == Some(7), "names that Windows does not have are not refused");
    for (number, how) in ["skip", "skip", "rename", "rename"].into_iter().enumerate() {
        let name = format!("{number}-{how}");
        let mut get = ground.peer(Windows, "there", &name, &["get", &ticket, "--names", how])?;
        get.event::<Completed>().context(name)?;
        get.ends()?;
    }
    for (name, here) in [("aux", "%61ux"), ("C:evil", "C%3Aevil"), ("q?/trail.", "q%3F/trail%2E")] {
        ground.is_equal(&ground.folder.join("here/odd").join(name), "there", &format!("odd/{here}"))?;
    }
    share.exit()
}

/// Commands reach it by its pipe, and peers by what it prints.
fn daemon(ground: &Ground<'_>) -> anyhow::Result<()> {
    let original = ground.put("here", "a file.bin", &noise(300_000))?;
    let pipe = format!(r"\\.\pipe\p2p-fileshare-story-{}", std::process::id());
    let places = ["--socket", &pipe, "--state", "state", "-p0"];
    let mut daemon = ground.program(Windows, "here", "daemon", &[&["daemon"][..], &places, &TCP].concat())?;
    daemon.find("its pipe", PATIENCE, |line| line.starts_with("Controlled at ").then_some(()))?;
    let mut add = ground.program(Windows, "here", "add", &["add", "--socket", &pipe, "*.bin"])?;
    let ticket = add.find("a ticket", PATIENCE, |line| Some(line.strip_prefix("peer-cli get ")?.to_owned()))?;
    ensure!(add.end(PATIENCE)?.success(), "{}", add.complaint("fails"));
    let mut get = ground.peer(Linux, "there", "get", &["get", &ticket])?;
    get.event::<Completed>()?;
    get.ends()?;
    ground.is_equal(&original, "there", "a file.bin")?;
    let mut status = ground.program(Windows, "here", "status", &["status", "--socket", &pipe])?;
    status.find("what is shared", PATIENCE, |line| line.ends_with("a file.bin").then_some(()))?;
    daemon.process.signal("INT")?;
    ensure!(daemon.end(PATIENCE)?.success(), "{}", daemon.complaint("does not end in order"));
    Ok(())
}

/// By the signal by which Wine tells a program of it, as of one in its console. All end in order.
fn interrupted(ground: &Ground<'_>) -> anyhow::Result<()> {
    ground.put("here", "input/large.bin", &noise(16 << 20))?;
    let (mut tracker, port) = ground.tracker(Windows, "here")?;
    let port = port.to_string();
    let arguments = ["-i", "127.0.0.1", "-d", &port, "-S", "-p0", "--up-rate=1MiB"];
    let mut seeder = ground.peer(Windows, "here", "seeder", &arguments)?;
    seeder.event::<Sharing>()?;
    let arguments = ["-i", "127.0.0.1", "-d", &port, "-p0", "-f", "large.bin"];
    let mut get = ground.peer(Windows, "here", "get", &arguments)?;
    get.event::<Progress>()?;
    for (name, peer) in [("get", get), ("the seeder", seeder)] {
        peer.interrupt()?;
        let status = peer.status()?;
        ensure!(status.code() == Some(130), "{name} ends with {status} after Ctrl-C");
    }
    tracker.signal("INT")?;
    ensure!(tracker.wait(PATIENCE)?.success(), "a tracker does not end in order after Ctrl-C");
    let mut share = ground.peer(Windows, "here", "share", &["share", "-d0", "input/large.bin"])?;
    share.event::<Ticket>()?;
    share.interrupt()?;
    share.event::<Bye>()?;
    share.ends()
}
