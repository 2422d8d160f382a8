//! Other programs that people could use instead, measured in the same run and in the same way: from the start of the receiving
//! processes until all of them have everything, verified as the program does it.
//!
//! Each program is configured as fast as its manual allows, and all use loopback only: no discovery, no public tracker, no relay,
//! no name server.

mod announce;
mod aria2;
mod nginx;
mod rqbit;
mod sendme;
mod torrent;

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use testbed::files::{first_difference, warm_up};
use testbed::process::{Lines, Process, Said};
use tool::usage::{Usage, Watch, of_ended_children};

use super::Sample;

/// A program that moves files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Other {
    /// nginx with TLS 1.3, and curl, which verify nothing but the transport. One source only.
    Nginx,
    /// A BitTorrent client in Rust, without encryption.
    Rqbit,
    /// A BitTorrent client in C++, without encryption.
    Aria2,
    /// iroh-blobs over QUIC, encrypted and verified as it comes. One source only.
    Sendme,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Other::Nginx => "nginx",
            Other::Rqbit => "rqbit",
            Other::Aria2 => "aria2",
            Other::Sendme => "sendme",
        })
    }
}

impl Other {
    /// How to get it, if it is not there.
    pub fn missing(self) -> Option<&'static str> {
        let (programs, hint) = match self {
            Other::Nginx => nginx::NEEDS,
            Other::Rqbit => rqbit::NEEDS,
            Other::Aria2 => aria2::NEEDS,
            Other::Sendme => sendme::NEEDS,
        };
        let there = |command: &&[&str]| {
            let mut command = command.iter();
            let program = command.next().expect("it names a program");
            let status = Command::new(program).args(command).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        (!programs.iter().all(there)).then_some(hint)
    }

    /// Moves the file once, from so many seeders to so many receivers, all in folders of their own below `folder`.
    pub fn measure(self, file: &Path, folder: &Path, seeders: u16, receivers: u16) -> anyhow::Result<Sample> {
        let mut stage = Stage::new(file, folder, seeders, receivers)?;
        let receive = match self {
            Other::Nginx => nginx::set_up(&mut stage),
            Other::Rqbit => rqbit::set_up(&mut stage),
            Other::Aria2 => aria2::set_up(&mut stage),
            Other::Sendme => sendme::set_up(&mut stage),
        };
        let Receive { commands, done, output, _alive } = receive.with_context(|| format!("{self} cannot be timed"))?;
        stage.time(commands, done, &output).with_context(|| format!("{self} cannot be timed"))
    }
}

/// What a program needs to be there (a command that succeeds if it is), and how to get it.
type Needs = (&'static [&'static [&'static str]], &'static str);

/// A program must be ready to send, and a transfer must be over, within this time.
const READY: Duration = Duration::from_secs(60);
const TRANSFER: Duration = Duration::from_secs(300);
/// Time between two looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);

/// When a receiver has everything.
enum Done {
    /// It ends.
    Ends,
    /// It prints a line with this in it.
    Says(&'static str),
}

/// How the receiving side is run.
struct Receive {
    /// One for each receiver, to be run in its folder.
    commands: Vec<Command>,
    done: Done,
    /// Where the file is then, in the folder of each.
    output: PathBuf,
    /// Lives as long as the transfer: a tracker.
    _alive: Option<announce::Tracker>,
}

/// Folders and processes of one transfer. All end with it.
struct Stage {
    /// The file that is moved.
    file: PathBuf,
    /// The folder that all others are in.
    folder: PathBuf,
    seeders: u16,
    receivers: u16,
    senders: Vec<Process>,
    /// Processes whose usage is the senders', if those are not our own children.
    sending: Vec<u32>,
    lines: Lines,
}

impl Stage {
    fn new(file: &Path, folder: &Path, seeders: u16, receivers: u16) -> anyhow::Result<Self> {
        let (file, folder) = (fs::canonicalize(file)?, fs::canonicalize(folder)?);
        let lines = Lines::new(1024);
        Ok(Stage { file, folder, seeders, receivers, senders: Vec::new(), sending: Vec::new(), lines })
    }

    fn file_name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A new folder.
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A new folder with the file in it, which is what a seeder starts from.
    fn folder_with_file(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder(name)?;
        fs::hard_link(&self.file, folder.join(self.file_name()))?;
        Ok(folder)
    }

    /// Starts a sender in a folder, and says how it is known to the system.
    fn send(&mut self, command: Command, folder: &Path) -> anyhow::Result<u32> {
        let process = self.lines.start(command, folder, self.senders.len())?;
        let number = process.number();
        self.senders.push(process);
        self.sending.push(number);
        Ok(number)
    }

    /// Waits until every sender has printed a line in which `look` finds something, and returns what it found last.
    fn until_all_say<T>(&self, look: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let mut waiting: Vec<usize> = (0..self.senders.len()).collect();
        let until = Instant::now() + READY;
        loop {
            let Said { who, line } = self.hear(until)?;
            let line = line.with_context(|| format!("it does not start: {}", last_words(&self.senders[who])))?;
            if let Some(found) = look(&line) {
                waiting.retain(|&waits| waits != who);
                if waiting.is_empty() {
                    return Ok(found);
                }
            }
        }
    }

    fn hear(&self, until: Instant) -> anyhow::Result<Said> {
        loop {
            if let Some(said) = self.lines.hear(LOOK)? {
                return Ok(said);
            }
            ensure!(Instant::now() < until, "nothing happens any more");
        }
    }

    /// Starts all receivers at once, and waits until each has everything.
    fn time(self, commands: Vec<Command>, done: Done, output: &Path) -> anyhow::Result<Sample> {
        let folders: Vec<_> =
            (0..self.receivers).map(|at| self.folder(&format!("receiver-{at}"))).collect::<Result<_, _>>()?;
        warm_up(&self.folder, self.file.metadata()?.len() * u64::from(self.receivers))?;
        let lines = Lines::new(1024);
        let watch = Watch::start(self.sending.iter().copied());
        let (begin, ended) = (Instant::now(), of_ended_children());
        let mut receivers = Vec::new();
        for (at, (command, folder)) in commands.into_iter().zip(&folders).enumerate() {
            let process = lines.start(command, folder, at)?;
            watch.add(process.number());
            receivers.push(process);
        }
        let mut waiting = receivers.len();
        while waiting > 0 {
            let Some(Said { who, line }) = lines.hear(LOOK)? else {
                ensure!(begin.elapsed() < TRANSFER, "it is not done after {TRANSFER:?}");
                continue;
            };
            match (&done, line) {
                (Done::Says(text), Some(line)) if line.contains(text) => waiting -= 1,
                (Done::Ends, None) => {
                    let status = receivers[who].wait(READY)?;
                    ensure!(status.success(), "it ended with {status}: {}", last_words(&receivers[who]));
                    waiting -= 1;
                }
                (Done::Says(_), None) => bail!("it ended: {}", last_words(&receivers[who])),
                _ => {}
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        let usages = |processes: &[u32]| -> Vec<Usage> { processes.iter().filter_map(|&p| watch.usage(p)).collect() };
        let numbers: Vec<_> = receivers.iter().map(Process::number).collect();
        let (sent, received) = (usages(&self.sending), usages(&numbers));
        let sum = |usages: &[Usage]| usages.iter().map(|usage| usage.cpu_seconds).sum::<f64>();
        // What has ended is known to the end; what goes on is looked at.
        let receiving = if let Done::Ends = done { of_ended_children() - ended } else { sum(&received) };
        for folder in &folders {
            let differs = first_difference(&self.file, &folder.join(output))?;
            ensure!(differs.is_none(), "what arrived in {} is not what was sent", folder.display());
        }
        let memory = [Usage::most(&sent), Usage::most(&received)];
        Ok(Sample { seconds, seconds_durable: None, cpu: [sum(&sent), receiving], memory, lost: 0, switches: 0 })
    }
}

/// So many ports that are free at this moment, no two of them the same.
pub(crate) fn free_ports(count: u16) -> anyhow::Result<Vec<u16>> {
    let held: Vec<_> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    Ok(held.iter().map(|port| port.local_addr().map(|address| address.port())).collect::<std::io::Result<_>>()?)
}

/// What a program in this folder printed last, on its output or for errors.
fn last_words(process: &Process) -> String {
    let printed = fs::read_to_string(process.log.with_file_name("output.log")).unwrap_or_default();
    format!("{}; {}", printed.trim_end().lines().last().unwrap_or("it printed nothing"), process.last_words())
}
