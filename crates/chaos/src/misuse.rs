//! Mistakes of users: taking a port twice, downloading to one place from two programs, or to a place that cannot be written.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use testbed::event::{Error, Manifest};

use super::disk::SmallDisk;
use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground};

pub const CASES: &[Case] = &[Case { name: "misuse", fault: "what cannot work is said", run: misuse }];

/// Seconds within which it is said.
const SAID: f64 = 1.0;

/// Runs a peer that cannot do what it is told, and looks at its status, its sentence and its time.
fn fails(
    stage: &mut Stage<'_>,
    report: &mut Report,
    what: &str,
    (name, command): (&str, Command),
    (code, sentence): (i32, &str),
) -> anyhow::Result<()> {
    let began = Instant::now();
    let who = stage.start(name, command)?;
    let status = stage.ends(who, Duration::from_secs(30))?;
    let seconds = began.elapsed().as_secs_f64();
    let log = stage.peers[who].process.errors();
    let error = stage.peers[who].last::<Error>().map(|error| error.message.clone()).unwrap_or_default();
    report.at_most(what, seconds, SAID, "s");
    report.holds(&format!("status {code}"), status.code() == Some(code));
    let says = log.contains(sentence) || error.contains(sentence);
    report.holds(&format!("says {sentence:?}"), says);
    if !says || status.code() != Some(code) {
        eprintln!("{what}: {status}: {error} {log}");
    }
    Ok(())
}

fn misuse(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    // Large enough: that nothing can be written is all that is wrong with it.
    let read_only = SmallDisk::mount(ground, &report.case, 1 << 30)?;
    read_only.set("ro")?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(1)?;
    let file = stage.wanted().display().to_string();
    let wants = ["-f", file.as_str()];

    let taken = UdpSocket::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let command = stage.command_at(&port, &wants);
    fails(&mut stage, report, "a port in use", ("port", command), (6, "Choose another with -p"))?;

    let command = stage.command(&wants);
    let says = (7, "Choose another folder");
    fails(&mut stage, report, "a folder that cannot be written", ("downloader", command), says)?;

    let first = stage.downloader("twice", &[])?;
    stage.event::<Manifest>(first, Duration::from_secs(30))?;
    let command = stage.command(&wants);
    let says = (7, "Wait until that has ended");
    fails(&mut stage, report, "two downloads to one place", ("twice", command), says)?;
    stage.kill(first);

    let mut limited = Command::new("sh");
    let command = stage.command(&[&wants[..], &["--listeners=32"]].concat());
    limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    fails(&mut stage, report, "64 descriptors, 32 listeners", ("limited", limited), (1, "ulimit -n"))?;
    // With what a peer needs by default they suffice.
    let mut limited = Command::new("sh");
    let command = stage.command(&[&wants[..], &["--exit-when-done"]].concat());
    limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    let who = stage.start("thrifty", limited)?;
    stage.verified(who)?;
    report.holds("64 descriptors suffice for a download", true);

    let command = stage.command(&["-S", "-f", "gone"]);
    fails(&mut stage, report, "a file that is gone", ("gone", command), (4, "gone"))?;
    stage.close()
}
