//! The programs for Windows, run under Wine, alone and with those for Linux.
//!
//! Wine lets pass what Windows refuses: it renames folders whose files are open, and locks and shares files as Linux does.
//! What those would break is tested on Linux, by what causes it. Nor does it know the call that QUIC's sockets need, so all
//! goes over TCP.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use testbed::programs::{self, Programs};

use super::compiler::{Compiler, Mingw};
use super::debian::{Apt, once, output_of};
use super::machine::{Ground, Platform::Linux, Platform::Windows};
use super::{Skipped, Time, WINDOWS};

/// What Rust's programs ask for randomness, which the Wine of Debian 12 does not have.
const PRIMITIVES: &str = "\
typedef unsigned char u8;
u8 __stdcall SystemFunction036(void *, unsigned long);
__declspec(dllexport) int ProcessPrng(u8 *bytes, unsigned long long len) { return SystemFunction036(bytes, len); }
";

type Story = fn(&Ground<'_>) -> anyhow::Result<()>;
const STORIES: [(&str, Story); 5] = [
    ("the README's three commands", by_hand),
    ("a shared folder with spaces and Unicode", folder),
    ("several files by a pattern", pattern),
    ("killed and started again", killed),
    ("Linux and Windows in one swarm", mixed),
];

/// What a build of the programs takes where nothing of them is built yet, on two cores; and what a story takes.
const BUILD: Duration = Duration::from_secs(240);
const STORY: Duration = Duration::from_secs(20);

/// Builds the programs and runs every story that there is time for.
pub(super) fn run(compiler: &Compiler, tools: &Path, time: Time, skipped: &mut Skipped) -> anyhow::Result<()> {
    if !time.is_enough("the programs for Windows, and what is run under Wine", BUILD, skipped) {
        return Ok(());
    }
    play(&compiler.build()?, tools, time, skipped)
}

/// Runs every story that there is time for with programs that are built.
pub(super) fn play(windows: &Programs, tools: &Path, time: Time, skipped: &mut Skipped) -> anyhow::Result<()> {
    let wine = skipped.unless("the programs for Windows are built and not run", Wine::get(tools));
    let Some(wine) = wine else { return Ok(()) };
    let parent = tools.join("stories");
    fs::create_dir_all(&parent)?;
    let folder = tempfile::tempdir_in(parent)?;
    let linux = programs::build(false)?;
    let result = STORIES.iter().try_for_each(|(name, story)| {
        let name = format!("{WINDOWS} under Wine: {name}");
        if !time.is_enough(&name, STORY, skipped) {
            return Ok(());
        }
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

/// Wine, with a prefix of its own.
struct Wine {
    loader: PathBuf,
    server: PathBuf,
    /// Where its packages are unpacked, unless they are installed.
    root: Option<PathBuf>,
    variables: Vec<(&'static str, OsString)>,
}

impl Wine {
    /// The machine's, or one that is unpacked beside.
    fn get(tools: &Path) -> anyhow::Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let installed = |name: &str| env::split_paths(&path).map(|folder| folder.join(name)).find(|at| at.is_file());
        let mut wine = match installed("wine64").or_else(|| installed("wine")).zip(installed("wineserver")) {
            Some((loader, server)) => Wine { loader, server, root: None, variables: Vec::new() },
            None => Wine::unpacked(tools)?,
        };
        // No window is ever shown, and no browser's engine asked for.
        wine.variables.push(("WINEDLLOVERRIDES", "mscoree,mshtml,winemenubuilder.exe=".into()));
        wine.variables.push(("WINEDEBUG", "-all".into()));
        let prefix = tools.join("prefix");
        wine.variables.push(("WINEPREFIX", prefix.clone().into()));
        once(prefix.clone(), |prefix| {
            // It fails for want of the part for 32 bits, which nothing here needs.
            let said = output_of(wine.command(Path::new("wineboot")).arg("--init"));
            if prefix.join("drive_c/windows/system32/kernel32.dll").exists() { Ok(()) } else { said.map(drop) }
        })?;
        wine.add_libraries(&prefix.join("drive_c/windows/system32"), tools)?;
        Ok(wine)
    }

    /// Adds what programs need and this Wine may not have: a program of which one library is missing ends with status 53 and
    /// says nothing.
    fn add_libraries(&self, system: &Path, tools: &Path) -> anyhow::Result<()> {
        let primitives = system.join("bcryptprimitives.dll");
        if !primitives.exists() {
            let source = tools.join("primitives.c");
            fs::write(&source, PRIMITIVES)?;
            Mingw::get(tools)?.library(&source, &primitives, "-ladvapi32")?;
        }
        // Wine's user32 needs it. Debian's packages link to it by its path in the root.
        let zlib = self.root.as_ref().map(|root| root.join("usr/x86_64-w64-mingw32/lib/zlib1.dll"));
        if let Some(zlib) = zlib.filter(|zlib| zlib.exists()) {
            fs::copy(zlib, system.join("zlib1.dll"))?;
        }
        Ok(())
    }

    fn unpacked(tools: &Path) -> anyhow::Result<Self> {
        let folder = once(tools.join("wine"), |folder| {
            let apt = Apt::of_this_machine(tools)?;
            apt.unpack(&apt.with_dependencies(&["wine64"])?, folder)?;
            // What the packages mean to find in the root.
            let bin = folder.join("usr/lib/wine");
            fs::remove_file(bin.join("wineserver"))?;
            fs::copy(bin.join("wineserver64"), bin.join("wineserver"))?;
            Ok(())
        })?;
        let (bin, libraries) = (folder.join("usr/lib/wine"), folder.join("usr/lib/x86_64-linux-gnu"));
        let variables =
            vec![("WINEDLLPATH", libraries.join("wine").into()), ("LD_LIBRARY_PATH", libraries.into_os_string())];
        Ok(Wine { loader: bin.join("wine64"), server: bin.join("wineserver"), root: Some(folder), variables })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.loader);
        command.arg(program).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Ends whatever still runs in this prefix.
    fn stop(&self) {
        let mut command = Command::new(&self.server);
        command.arg("--kill").envs(self.variables.iter().map(|(name, value)| (name, value)));
        let _ = output_of(&mut command);
    }
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
    seeder.event("sharing")?;
    let mut get = ground.peer(Windows, "here", "get", &["-i", "localhost", "-d", &port, "-p0", "-f", NAME])?;
    get.event("completed")?;
    get.exit()?;
    seeder.exit()?;
    ground.is_equal(&here, "here", &format!("output/{NAME}"))
}

const FOLDER: &str = "Fotos – Zürich 東京";

fn folder(ground: &Ground<'_>) -> anyhow::Result<()> {
    let files = ["a file.txt", "größer/zwei Wörter.bin", "日本語/ファイル"];
    let originals = files.map(|file| ground.put("here", &format!("{FOLDER}/{file}"), &noise(300_000 + file.len())));
    let mut share = ground.peer(Windows, "here", "share", &["share", "-d0", FOLDER])?;
    let ticket = share.event("ticket")?["ticket"].as_str().context("a ticket is text")?.to_owned();
    let mut get = ground.peer(Windows, "there", "get", &["get", &ticket, "-o", "what comes"])?;
    get.event("completed")?;
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
        names.push(share.event("sharing")?["name"].as_str().unwrap_or_default().to_owned());
    }
    names.sort();
    ensure!(names == ["one.bin", "two.bin"], "*.bin means {names:?}");
    share.exit()
}

fn killed(ground: &Ground<'_>) -> anyhow::Result<()> {
    let original = ground.put("here", "large.bin", &noise(16 << 20))?;
    let arguments = ["share", "-d0", "--piece-size=256KiB", "--up-rate=4MiB", "large.bin"];
    let mut share = ground.peer(Windows, "here", "share", &arguments)?;
    let ticket = share.event("ticket")?["ticket"].as_str().context("a ticket is text")?.to_owned();
    let mut get = ground.peer(Windows, "there", "first", &["get", &ticket])?;
    // Far enough that some of it is claimed by the journal.
    get.until("progress", |progress| progress["have"].as_u64() >= Some(32))?;
    get.kill();
    let mut again = ground.peer(Windows, "there", "again", &["get", &ticket])?;
    let kept = again.event("manifest")?["have"].as_u64().unwrap_or(0);
    ensure!(kept > 0, "nothing is kept of what a killed peer had");
    again.event("completed")?;
    again.ends()?;
    share.exit()?;
    ground.is_equal(&original, "there", "output/large.bin")
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
        seeder.event("sharing")?;
        seeders.push(seeder);
    }
    let mut getters = Vec::new();
    for (platform, output) in [(Linux, "on-linux"), (Windows, "on-windows")] {
        let mut arguments = vec!["-i", "127.0.0.1", "-d", &port, "-p0", "--output", output, "--hashes", output];
        names.iter().for_each(|name| arguments.extend(["-f", name]));
        getters.push(ground.peer(platform, "all", output, &arguments)?);
    }
    for getter in &mut getters {
        getter.event("completed")?;
        getter.event("completed")?;
    }
    getters.into_iter().chain(seeders).try_for_each(|peer| peer.exit())?;
    for output in ["on-linux", "on-windows"] {
        for (original, name) in originals.iter().zip(names) {
            ground.is_equal(original, "all", &format!("{output}/{name}"))?;
        }
    }
    Ok(())
}
