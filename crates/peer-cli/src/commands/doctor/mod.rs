//! `peer-cli doctor`: why it is slow, or does not work at all, and what to do about it.

mod finding;
mod local_network;
mod machine;
mod network;
mod peers;
mod router;

use std::path::PathBuf;

use clap::Args;
use peer::TrackerAddress;
use protocol::{Ticket, TicketError};
use settings::Signals;

use crate::error::{ExitCode, Failure};
use crate::flags::end::End;
use crate::flags::{named, output, tickets};
use crate::session::connect::NamedBy;
use crate::session::query::TrackerQuery;
use crate::ui::screen::{answer_columns, print};
use crate::ui::signals::{code, end_when_stuck, heard};
use finding::{Finding, Verdict};

const EXAMPLES: &str = "\
Examples:
  peer-cli doctor                 this machine: sockets, disk, hashing, limits
  peer-cli doctor 192.168.1.5     and the way to a tracker, and to peers there
  peer-cli doctor p2p…            the same for a ticket";

/// Looks at what transfers depend on, and says what to do about what is wrong.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub struct DoctorArguments {
    /// A tracker, as HOST or HOST:PORT; or a ticket
    ///
    /// A tracker, as HOST or HOST:PORT, or a ticket: the way there is tried, and to those who have what is shared there, or what the
    /// ticket stands for
    #[arg(value_name = "TRACKER|TICKET")]
    place: Option<String>,
    #[command(flatten)]
    pub query: TrackerQuery,
    /// Folder for downloads, whose disk is tried
    ///
    /// Folder for downloads, whose disk is tried [default: where `get` downloads into]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl DoctorArguments {
    fn output(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| output::default_folder().0)
    }

    /// The ticket that was given, if it is one.
    fn ticket(&self) -> Result<Option<Ticket>, Failure> {
        let place = self.place.as_deref();
        // No host is called so.
        let is_shortened = place.is_some_and(|place| place.ends_with(['…', '.']) && Ticket::is_shortened(place));
        let ticket = match is_shortened {
            true => Err(TicketError::Shortened),
            false => place.and_then(Ticket::find).transpose(),
        };
        ticket.map_err(|error| tickets::failure(&error, "doctor"))
    }
}

/// Looks at everything, or until it is told to stop.
pub async fn run(arguments: DoctorArguments) -> Result<(), Failure> {
    let mut signals = Signals::listen();
    end_when_stuck(End::Done);
    let output = arguments.output();
    tokio::select! {
        looked = look(arguments) => looked,
        signal = heard(&mut signals) => {
            // What it tries the disk with is large.
            machine::remove_tried(&output);
            Err(Failure::new(code(signal), "stopped before everything was looked at"))
        }
    }
}

/// Looks at everything, saying each thing as it is known. Fails, with the status of the first, if something is bad.
async fn look(arguments: DoctorArguments) -> Result<(), Failure> {
    let (json, ticket) = (arguments.query.peer.json, arguments.ticket()?);
    let mut findings = Vec::new();
    let mut say = |more: Vec<Finding>| {
        for finding in more {
            print(if json { vec![finding.event().line()] } else { finding.words(answer_columns()) })?;
            findings.push(finding);
        }
        Ok::<_, Failure>(())
    };
    say(machine::sockets(&arguments.query.peer))?;
    say(vec![machine::descriptors(), machine::clock(), network::own()])?;
    let output = arguments.output();
    let disk = tokio::task::spawn_blocking(move || machine::disk(&output)).await;
    say(disk.map_err(|_| Failure::new(ExitCode::Other, "the disk could not be tried"))?)?;
    match trackers(&arguments, ticket.as_ref()).await {
        Ok(trackers) if !trackers.is_empty() => {
            let several = trackers.len() > 1;
            let (mut reached, mut lost) = (Vec::new(), Vec::new());
            for named in &trackers {
                let (each, mut silent, known) = (named.each(), Vec::new(), reached.len());
                let apart = several || each.len() > 1;
                for tracker in each {
                    let heading = Finding::good("tracker", format!("the next results are for {}", tracker.place()));
                    let heading = apart.then_some(heading);
                    let way = network::way_to_tracker(&arguments.query, &tracker).await;
                    if way.iter().any(|finding| finding.name == "identity" && finding.verdict == Verdict::Good) {
                        say(heading.into_iter().chain(way).collect())?;
                        reached.push(tracker);
                    } else {
                        silent.push((tracker.place(), heading.into_iter().chain(way)));
                    }
                }
                // Of a name, one address that leads to it is enough.
                let is_reached = reached.len() > known;
                for (place, way) in silent {
                    match is_reached {
                        true => say(vec![Finding::skipped(
                            "tracker",
                            format!("its name also resolves to {place}, where nothing answers"),
                        )])?,
                        false => lost.extend(way),
                    }
                }
            }
            // One that lives is enough.
            say(match reached.is_empty() {
                true => lost,
                false => lost.into_iter().map(Finding::that_others_make_up_for).collect(),
            })?;
            if !reached.is_empty() {
                say(peers::ways_to_peers(&arguments.query, reached, ticket.as_ref()).await)?;
            }
        }
        Ok(_) => {
            let advice =
                "not tested: give a ticket or the tracker's HOST to test the connection to it and to its peers";
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

/// The trackers that were named.
async fn trackers(arguments: &DoctorArguments, ticket: Option<&Ticket>) -> Result<Vec<TrackerAddress>, Failure> {
    if let Some(ticket) = ticket {
        return Ok(TrackerAddress::all_of(ticket));
    }
    let TrackerQuery { tracker_ip, tracker_port, .. } = &arguments.query;
    let given = match (&arguments.place, tracker_ip) {
        (Some(place), _) => std::slice::from_ref(place),
        (None, Some(given)) => &given[..],
        (None, None) => return Ok(Vec::new()),
    };
    arguments.query.trackers(named::trackers(given, *tracker_port)?, NamedBy::Doctor).await
}
