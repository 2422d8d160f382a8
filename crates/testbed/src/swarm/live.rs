//! The progress of every peer while a swarm runs: one row each on a terminal, plain lines otherwise.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Plan, Sharing};

/// Draws progress to standard error, so that standard output holds the outcome alone.
pub struct Live {
    how: How,
}

enum How {
    Silent,
    Plain(RefCell<Vec<(Instant, String)>>, Vec<String>),
    Terminal(Vec<ProgressBar>),
}

/// Time between two plain lines of one peer.
const PLAIN_LINE: Duration = Duration::from_secs(1);

impl Live {
    /// Draws on a terminal, says lines otherwise.
    pub fn new(plan: &Plan) -> Self {
        let names: Vec<String> = plan.peers.iter().map(|peer| peer.name.clone()).collect();
        if !std::io::stderr().is_terminal() {
            let long_ago = Instant::now().checked_sub(PLAIN_LINE).unwrap_or_else(Instant::now);
            let said = names.iter().map(|_| (long_ago, String::new())).collect();
            return Live { how: How::Plain(RefCell::new(said), names) };
        }
        let all = MultiProgress::new();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let bar = |template: String| {
            let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            all.add(ProgressBar::new(1)).with_style(style)
        };
        let line = |(peer, name): (&super::PeerPlan, &String)| {
            let name = format!("{name:width$}");
            match peer.files {
                Sharing::Seeds => bar(format!("{name}  {{wide_msg}}")),
                Sharing::Wants(_) => bar(format!("{name}  [{{bar:30.green}}] {{percent:>3}} %  {{wide_msg}}")),
            }
        };
        Live { how: How::Terminal(plan.peers.iter().zip(&names).map(line).collect()) }
    }

    /// Says nothing: for tests.
    pub fn silent() -> Self {
        Live { how: How::Silent }
    }

    /// A seeder has sent this many bytes in all.
    pub fn seeds(&self, peer: usize, pieces: u64, sent: u64) {
        self.show(peer, None, format!("{pieces} pieces, sent {}", ByteSize(sent).display().iec()));
    }

    /// A downloader has this many pieces, has received and sent this many bytes.
    pub fn downloads(&self, peer: usize, (have, pieces): (u64, u64), received: u64, sent: u64) {
        let (received, sent) = (ByteSize(received).display().iec(), ByteSize(sent).display().iec());
        self.show(peer, Some((have, pieces)), format!("{have}/{pieces} pieces, received {received}, sent {sent}"));
    }

    /// Something that a person should know.
    pub fn say(&self, peer: usize, line: &str) {
        match &self.how {
            How::Silent => {}
            How::Plain(_, names) => eprintln!("{}: {line}", names[peer]),
            How::Terminal(bars) => bars[peer].set_message(line.to_owned()),
        }
    }

    /// Nothing more is drawn.
    pub fn finish(&self) {
        if let How::Terminal(bars) = &self.how {
            bars.iter().for_each(ProgressBar::abandon);
            // The cursor stands at the end of the last bar.
            eprintln!();
        }
    }

    fn show(&self, peer: usize, share: Option<(u64, u64)>, line: String) {
        match &self.how {
            How::Silent => {}
            How::Plain(said, names) => {
                let (when, last) = &mut said.borrow_mut()[peer];
                let done = share.is_some_and(|(have, pieces)| have == pieces && pieces > 0);
                if *last != line && (done || when.elapsed() >= PLAIN_LINE) {
                    eprintln!("{}: {line}", names[peer]);
                    (*when, *last) = (Instant::now(), line);
                }
            }
            How::Terminal(bars) => {
                if let Some((have, pieces)) = share {
                    bars[peer].set_length(pieces.max(1));
                    bars[peer].set_position(have);
                }
                bars[peer].set_message(line);
            }
        }
    }
}
