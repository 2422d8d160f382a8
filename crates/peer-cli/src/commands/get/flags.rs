//! The flags of `peer-cli get`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use peer::Glob;
use protocol::Ticket;

use crate::flags::durations::duration;
use crate::flags::end::End;
use crate::flags::fallback::FallbackArguments;
use crate::flags::names::NameArguments;
use crate::flags::peer::PeerArguments;
use crate::session::pipe;
use crate::ui::screen::OutputStream;

const EXAMPLES: &str = "\
Examples:
  peer-cli get p2p…                     what `peer-cli share` printed, into here
  peer-cli get p2p… -o /data            into another folder
  peer-cli get p2p… -o - | tar x        to standard output
  peer-cli get 7-violin-tadpole         by a code, on this network
  peer-cli get -i 192.168.1.5 a.bin     by name, from the tracker there";

const MORE_EXAMPLES: &str = "\
Examples:
  peer-cli get p2p…                     what `peer-cli share` printed; it ends
                                        up in this folder
  peer-cli get p2p… -o /data            into another folder
  peer-cli get p2p… --seed-for 1h       and shared on for an hour
  peer-cli get p2p… --force             only what has changed of a file or a
                                        folder that is there
  peer-cli get p2p… --only '*.json'     of a folder, only those files
  peer-cli get p2p… -o - | tar x        to standard output, in order
  peer-cli get a.bin                    by name, if somebody on this network
                                        shares it openly
  peer-cli get -i 192.168.1.5 a.bin     by name, from the tracker that runs there";

const NOTES: &str = "\
`get` ends when the download is complete, unless --seed-for or --seed-ratio is given. An interrupted download resumes \
when the same line is run again in the same folder; until then its data is in .NAME.part there.";

/// The notes that matter here.
fn notes() -> String {
    if cfg!(windows) { format!("{NOTES}\n\n{}.", pipe::BYTES) } else { NOTES.to_owned() }
}

/// What is wanted, and what becomes of it.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, before_long_help = MORE_EXAMPLES, after_long_help = notes())]
pub struct GetArguments {
    /// A ticket, a code, an id or a name
    ///
    /// A ticket; or a code that `peer-cli share` printed, a content's id, the first six or more characters of one, or a name, for which
    /// the tracker of -i is asked, or else this network
    #[arg(value_name = "TICKET|CODE|ID|NAME", required = true, num_args = 1..)]
    pub(super) what: Vec<String>,
    /// Take it as a name, whatever it looks like
    ///
    /// Take what is given as a name, even if it could be read as a code
    #[arg(short = 'f', long, alias = "name")]
    pub(super) as_name: bool,
    /// Folder to download into; - is standard output
    ///
    /// Folder to download into; `-` writes a file to standard output, and words to standard error [default: this folder; or output/,
    /// if these programs have downloaded into that before]
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Of a folder, fetch only files that fit
    ///
    /// Of a folder, fetch only files that this pattern fits: *.json by name, wherever it is, or data/* by path; several with
    /// several --only. The rest can come later, into the same folder
    #[arg(long, value_name = "GLOB", value_parser = str::parse::<Glob>)]
    pub(super) only: Vec<Glob>,
    /// Replace files that differ
    ///
    /// Replace files that differ from those that come, once the download is complete; pieces that are equal at the same place
    /// are taken from them. Other files of a folder stay as they are
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) names: NameArguments,
    /// End when the download is complete, as it does anyway
    ///
    /// End when the download is complete; this is how it is unless one of the next two is given
    #[arg(long, conflicts_with_all = ["seed_for", "seed_ratio"])]
    exit_when_done: bool,
    /// Share it on for this long, as 1h or forever
    ///
    /// Share it on for this long when it is complete, as 30m or 1h; `forever` until told to stop
    #[arg(long, value_name = "DURATION", value_parser = seed_time)]
    seed_for: Option<Duration>,
    /// Share it on until so many times its size was given, as 1.5
    ///
    /// Share it on until as many times its size was given to others, as 2 or 1.5
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    seed_ratio: Option<f64>,
    /// The tracker's machine; a ticket says that
    ///
    /// Name or address of the tracker's machine, several with commas between them; a ticket says that itself
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    pub(super) tracker_ip: Option<Vec<String>>,
    /// Port of the tracker
    #[arg(short = 'd', long, value_name = "PORT", default_value_t = 9999, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) tracker_port: u16,
    /// First port to listen on, UDP and TCP; 0 takes a free one
    #[arg(short, long, default_value_t = 0)]
    pub(super) port: u16,
    #[command(flatten)]
    pub(super) fallback: FallbackArguments,
    #[command(flatten)]
    pub peer: PeerArguments,
}

fn seed_time(text: &str) -> Result<Duration, String> {
    if text == "forever" {
        return Ok(Duration::MAX);
    }
    duration(text)
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio > 0.0 && ratio.is_finite() => Ok(ratio),
        _ => Err("a ratio is a number above 0".to_owned()),
    }
}

impl GetArguments {
    /// Whether the content goes to standard output.
    pub fn to_stdout(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.as_os_str() == "-")
    }

    /// Whether a ticket says what is wanted.
    pub fn is_of_ticket(&self) -> bool {
        matches!(Ticket::find(&self.what.join(" ")), Some(Ok(_)))
    }

    /// Where words go.
    pub fn output_stream(&self) -> OutputStream {
        if self.to_stdout() { OutputStream::Errors } else { OutputStream::Output }
    }

    pub(super) fn end(&self) -> End {
        match (self.seed_for, self.seed_ratio) {
            (None, None) => End::Done,
            (time, ratio) => End::Shared { time, ratio },
        }
    }
}
