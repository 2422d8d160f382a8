//! Ranges of what is not here yet, from a seeder on a link of 1 Gbit/s with a round trip of 5 ms.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testbed::files::random_file;
use testbed::program::Program;
use testbed::programs::Programs;
use tool::interrupt::check_interrupted;

use super::figure::{Figure, Target, median};
use super::lab::{self, Lab};

/// Each side sends this many bytes a second, and what it sends is so late.
const LINK: f64 = 1e9 / 8.0;
const DELAY: Duration = Duration::from_micros(2500);
/// Bytes of a range.
const RANGE: u64 = 1 << 20;
/// What a reader takes, in bytes a second, and what it has in hand before it has to wait.
const READER: f64 = 8e6;
const IN_HAND: Duration = Duration::from_millis(250);

/// A seeder's machine and a gateway's.
struct Far<'a> {
    lab: Lab<'a>,
    content: String,
    flags: Vec<String>,
    _seeder: [Program; 2],
}

impl<'a> Far<'a> {
    fn new(size: u64, programs: &'a Programs, folder: &'a Path) -> anyhow::Result<Self> {
        let mut lab = Lab::new(folder, programs)?;
        let address = lab.machine("seeder")?;
        lab.machine("gateway")?;
        for machine in ["seeder", "gateway"] {
            lab.network.delay_uplink(machine, DELAY, LINK)?;
        }
        let file = random_file(folder, size)?;
        let (tracker, flags) = lab.tracker("seeder", &address)?;
        let mut command = lab.peer("seeder");
        command.args(["share", "--json", "--open"]).args(&flags).arg(file);
        let (share, content) = lab::share(command, &lab.folder("seeder")?)?;
        Ok(Far { lab, content, flags, _seeder: [tracker, share] })
    }

    /// A gateway that has nothing but the manifest, and the URL of the content there.
    fn gateway(&self, number: u16) -> anyhow::Result<(Program, String)> {
        let folder = format!("gateway-{number}");
        let (gateway, url) = self.lab.gateway("gateway", &folder, &self.flags, &[])?;
        let url = format!("{url}/content/{}", self.content);
        // It answers as soon as it has the manifest, and then has a connection to the seeder.
        lab::output(self.curl(&["-I", &url]), self.lab.folder)?;
        Ok((gateway, url))
    }

    fn curl(&self, arguments: &[&str]) -> Command {
        let mut curl = self.lab.network.command("gateway", Path::new("curl"));
        curl.args(["-q", "-s", "-f"]).args(arguments);
        curl
    }
}

/// How soon the first byte of a range comes, at random places of a content of which nothing is here.
pub fn first_bytes(
    size: u64,
    rounds: u16,
    after: u64,
    programs: &Programs,
    folder: &Path,
) -> anyhow::Result<Vec<Figure>> {
    let far = Far::new(size, programs, folder)?;
    let mut times = Vec::new();
    for number in 0..rounds {
        check_interrupted()?;
        let (gateway, url) = far.gateway(number)?;
        std::thread::sleep(Duration::from_millis(after));
        let first = fastrand::u64(..size.saturating_sub(RANGE).max(1));
        let range = format!("{first}-{}", first + RANGE - 1);
        let said = far.curl(&["-r", &range, "-o", "/dev/null", "-w", "%{http_code} %{time_starttransfer}", &url]);
        let said = lab::output(said, far.lab.folder)?;
        let (status, seconds) = said.split_once(' ').context("curl says how it went")?;
        ensure!(status == "206", "a range is answered {status}");
        times.push(seconds.trim().parse::<f64>()? * 1000.0);
        drop(gateway);
        std::fs::remove_dir_all(far.lab.folder(&format!("gateway-{number}"))?)?;
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::new(format!("first byte of 1 MiB, median of {rounds}, ms"), median(times), Target::AtMost(60.0)),
        Figure::new("the latest of them, ms", worst, Target::None),
    ])
}

/// Reads the second half as a player does, and counts how often it had to wait.
pub fn steady_reader(size: u64, programs: &Programs, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let far = Far::new(size, programs, folder)?;
    let (_gateway, url) = far.gateway(0)?;
    let mut command = far.curl(&["-N", "-r", &format!("{}-", size / 2), &url]);
    let mut curl = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("curl does not run")?;
    let mut body = curl.stdout.take().context("its output is a pipe")?;
    let mut block = vec![0; 64 << 10];
    let mut came = body.read(&mut block)?;
    let (began, mut stalls, mut longest) = (Instant::now(), 0, Duration::ZERO);
    loop {
        check_interrupted()?;
        let due = began + Duration::from_secs_f64(came as f64 / READER);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        let read = body.read(&mut block)?;
        if read == 0 {
            break;
        }
        let waited = asked.elapsed();
        (stalls, longest) = (stalls + u32::from(waited > IN_HAND), longest.max(waited));
        came += read;
    }
    ensure!(curl.wait()?.success() && came as u64 == size - size / 2, "the reader got {came} bytes");
    Ok(vec![
        Figure::new("a reader at 8 MB/s: stalls above 250 ms", f64::from(stalls), Target::AtMost(0.0)),
        Figure::new("its longest wait, ms", longest.as_secs_f64() * 1000.0, Target::None),
    ])
}
