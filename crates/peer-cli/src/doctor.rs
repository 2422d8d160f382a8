//! `peer-cli doctor`: why it is slow, or does not work at all, and what to do about it.

mod machine;
mod network;

use clap::Args;

use crate::events::Event;
use crate::exit_code::{ExitCode, Failure};
use crate::screen::print;
use crate::visit::Visit;

const EXAMPLES: &str = "\
Examples:
  peer-cli doctor                           this machine: sockets, disk, hashing, limits
  peer-cli doctor -i 192.168.1.5            and the way to a tracker: UDP, TCP, datagrams, who it is";

/// Looks at what transfers depend on, and says what to do about what is wrong.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
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

/// Looks at everything, saying each thing as it is known. Fails, with the status of the first, if something is bad.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
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
    say(network::way_to_tracker(&arguments.visit).await)?;
    match findings.iter().find_map(|finding| match finding.verdict {
        Verdict::Bad(code) => Some((code, finding.name)),
        _ => None,
    }) {
        Some((code, name)) => Err(Failure::new(code, format!("something is wrong with {name}: see above"))),
        None => Ok(()),
    }
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
