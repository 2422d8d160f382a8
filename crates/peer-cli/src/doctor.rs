//! `peer-cli doctor`: why it is slow, or does not work at all, and what to do about it.

mod machine;
mod network;
mod peers;

use clap::Args;
use peer::TrackerAddress;
use protocol::{ContentId, Ticket};
use settings::Signals;

use crate::connect;
use crate::events::Event;
use crate::exit_code::{ExitCode, Failure};
use crate::screen::print;
use crate::stop::{self, heard};
use crate::swarm::End;
use crate::visit::{Visit, complain};

const EXAMPLES: &str = "\
Examples:
  peer-cli doctor                           this machine: sockets, disk, hashing, limits
  peer-cli doctor -i 192.168.1.5            and the way to a tracker (UDP, TCP, datagrams, who it is), and to peers there
  peer-cli doctor p2p…                      the same for a ticket: its tracker, and the peers that have what it stands for";

/// Looks at what transfers depend on, and says what to do about what is wrong.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A ticket: the way to its tracker is tried, and to those who have what it stands for
    #[arg(value_name = "TICKET")]
    ticket: Option<Ticket>,
    #[command(flatten)]
    pub visit: Visit,
    /// Folder for downloads, whose disk is tried
    #[arg(long, value_name = "FOLDER", default_value = "output")]
    output: std::path::PathBuf,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It works, but something is lost.
    Poor,
    /// It does not work; the exit status that a transfer would end with.
    Bad(ExitCode),
    /// It could not be tried.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do; empty if nothing is.
    advice: String,
}

impl Finding {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Finding { name, verdict: Verdict::Good, found: found.into(), advice: String::new() }
    }

    fn poor(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { name, verdict: Verdict::Poor, found: found.into(), advice: advice.into() }
    }

    fn bad(name: &'static str, code: ExitCode, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { name, verdict: Verdict::Bad(code), found: found.into(), advice: advice.into() }
    }

    fn skipped(name: &'static str, found: impl Into<String>) -> Self {
        Finding { name, verdict: Verdict::Skipped, found: found.into(), advice: String::new() }
    }

    fn status(&self) -> &'static str {
        match self.verdict {
            Verdict::Good => "good",
            Verdict::Poor => "poor",
            Verdict::Bad(_) => "bad",
            Verdict::Skipped => "skipped",
        }
    }

    fn event(&self) -> Event {
        let (found, advice) = (self.found.clone(), self.advice.clone());
        Event::Check { check: self.name, status: self.status(), found, advice }
    }

    fn words(&self) -> Vec<String> {
        let found = format!("{:8} {:9} {}", self.status(), self.name, self.found);
        let advice = (!self.advice.is_empty()).then(|| format!("{:19}-> {}", "", self.advice));
        std::iter::once(found).chain(advice).collect()
    }
}

/// Looks at everything, or until it is told to stop.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut signals = Signals::listen();
    stop::watch(End::Done);
    let output = arguments.output.clone();
    tokio::select! {
        looked = look(arguments) => looked,
        signal = heard(&mut signals) => {
            // What it tries the disk with is large.
            machine::remove_tried(&output);
            Err(Failure::new(stop::code(signal), "stopped before everything was looked at"))
        }
    }
}

/// Looks at everything, saying each thing as it is known. Fails, with the status of the first, if something is bad.
async fn look(arguments: Arguments) -> Result<(), Failure> {
    let json = arguments.visit.peer.json;
    let mut findings = Vec::new();
    let mut say = |more: Vec<Finding>| {
        for finding in more {
            print(if json { vec![finding.event().line()] } else { finding.words() })?;
            findings.push(finding);
        }
        Ok::<_, Failure>(())
    };
    say(machine::sockets(&arguments.visit.peer))?;
    say(vec![machine::descriptors(), machine::clock()])?;
    let output = arguments.output.clone();
    let disk = tokio::task::spawn_blocking(move || machine::disk(&output)).await;
    say(disk.map_err(|_| Failure::new(ExitCode::Other, "the disk could not be tried"))?)?;
    match tracker(&arguments).await {
        Ok(Some((tracker, content))) => {
            let way = network::way_to_tracker(&arguments.visit, &tracker).await;
            let reached = way.iter().any(|finding| finding.name == "identity" && finding.verdict == Verdict::Good);
            say(way)?;
            if reached {
                say(peers::ways_to_peers(&arguments.visit, tracker, content).await)?;
            }
        }
        Ok(None) => {
            let advice = "none was named: give a ticket, or -i TRACKER_IP, to try the way to it and to its peers";
            say(vec![Finding::skipped("tracker", advice)])?;
        }
        Err(failure) => say(vec![Finding::bad("tracker", failure.code, failure.message, "")])?,
    }
    match findings.iter().find_map(|finding| match finding.verdict {
        Verdict::Bad(code) => Some((code, finding.name)),
        _ => None,
    }) {
        Some((code, name)) => Err(Failure::new(code, format!("something is wrong with {name}: see above"))),
        None => Ok(()),
    }
}

/// The tracker that was named, and the content if a ticket was given.
async fn tracker(arguments: &Arguments) -> Result<Option<(TrackerAddress, Option<ContentId>)>, Failure> {
    if let Some(ticket) = &arguments.ticket {
        return Ok(Some((ticket.into(), Some(ticket.content()))));
    }
    let Visit { tracker_ip, tracker_port, peer } = &arguments.visit;
    let Some(host) = tracker_ip else { return Ok(None) };
    let tracker = connect::tracker(host, *tracker_port, peer, arguments.visit.patience(), &complain).await?;
    Ok(Some((tracker, None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_to_do() {
        let poor = Finding::poor("buffers", "small", "make them large");
        assert_eq!(poor.words(), ["poor     buffers   small", "                   -> make them large"]);
        assert_eq!(
            poor.event().line(),
            r#"{"v":1,"event":"check","check":"buffers","status":"poor","found":"small","advice":"make them large"}"#
        );
        assert_eq!(Finding::good("clock", "right").words(), ["good     clock     right"]);
    }
}
