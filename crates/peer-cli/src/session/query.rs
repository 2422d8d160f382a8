//! Asking a tracker or its peers something without taking part, as `ls`, `inspect` and `doctor` do.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use peer::{Node, TrackerAddress};
use protocol::{ContentMatch, Ticket};

use crate::error::{ExitCode, Failure};
use crate::flags::peer::PeerArguments;
use crate::session::connect::{self, NamedBy, Speech};
use crate::session::patience::{Patience, shown};
use crate::session::trust;
use crate::ui::screen;

/// Longest wait for an answer of a tracker that is connected.
pub const ANSWER: Duration = Duration::from_secs(10);

/// Which tracker, and as whom.
#[derive(Debug, Args)]
pub struct TrackerQuery {
    /// The tracker's machine
    ///
    /// Name or address of the tracker's machine (IPv4, IPv6 or a name)
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    pub tracker_ip: Option<String>,
    /// Port of the tracker
    #[arg(short = 'd', long, value_name = "PORT", default_value_t = 9999, value_parser = clap::value_parser!(u16).range(1..))]
    pub tracker_port: u16,
    #[command(flatten)]
    pub peer: PeerArguments,
}

impl TrackerQuery {
    /// A node that is connected to the tracker: the one of `named`, as `HOST` or `HOST:PORT`, or else the one of the flags.
    pub async fn begin(&self, named: Option<&str>) -> Result<Node, Failure> {
        let (host, port, named_by) = match (named, &self.tracker_ip) {
            (Some(named), _) => {
                let (host, port) = host_and_port(named)?;
                (host, port.unwrap_or(self.tracker_port), NamedBy::Place)
            }
            (None, Some(host)) => (host.as_str(), self.tracker_port, NamedBy::Flags),
            (None, None) => {
                let sentence = "which tracker? Name its machine, as in `peer-cli ls localhost`, or with -i, or as \
                                tracker-ip in p2p-fileshare.toml";
                return Err(Failure::new(ExitCode::Usage, sentence));
            }
        };
        let tracker = self.tracker(host, port, named_by).await?;
        self.join(tracker, named_by, self.patience()).await
    }

    /// Where the tracker is, and who it must prove to be.
    pub async fn tracker(&self, host: &str, port: u16, named_by: NamedBy) -> Result<TrackerAddress, Failure> {
        let patience = self.patience();
        let id = trust::tracker_id(host, port, &self.peer, named_by, patience, &complain).await?;
        connect::tracker_of(id, host, port, patience, &complain).await
    }

    /// A node that is connected to this tracker.
    pub async fn join(&self, tracker: TrackerAddress, named_by: NamedBy, patience: Patience) -> Result<Node, Failure> {
        let node = connect::start(&self.peer, 0, 1, Path::new("output"))?;
        connect::join(&node, tracker, named_by, patience, &complain).await?;
        Ok(node)
    }

    /// A node that is connected to the tracker of a ticket, and what that has told of a private share.
    pub async fn join_by_ticket(&self, ticket: &Ticket) -> Result<(Node, Option<ContentMatch>), Failure> {
        let node = connect::bind(&self.peer, 0, 1)?.private(ticket.secret().is_some()).output("output").start();
        let joined = connect::join_by_ticket(&node, ticket, self.patience(), &complain).await?;
        Ok((node, joined.told))
    }

    /// For how long someone who is not there is waited for.
    pub fn patience(&self) -> Patience {
        Patience::new(self.peer.wait)
    }
}

/// What is waited for is said beside what was asked for.
pub fn complain(sentence: String) {
    screen::complain(&sentence);
}

/// An answer of the tracker, if it comes in time.
pub async fn answer<T>(asked: impl Future<Output = Result<T, peer::PeerError>>) -> Result<T, Failure> {
    let mut speech = Speech::new(
        &complain,
        format!("the tracker has not answered yet; waiting for it, for {} at most", shown(ANSWER)),
    );
    Ok(speech.during(tokio::time::timeout(ANSWER, asked)).await.map_err(|_| silent())??)
}

/// No answer came.
pub fn silent() -> Failure {
    Failure::new(ExitCode::TrackerUnreachable, "the tracker does not answer; is it an older one?")
}

/// `HOST`, `HOST:PORT`, `[IPv6]:PORT` or an IPv6 address alone.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), Failure> {
    let wrong = || Failure::new(ExitCode::Usage, format!("{text:?} is no HOST or HOST:PORT"));
    let (host, port) = match text.rsplit_once(':') {
        // More than one colon, and no brackets that say where the address ends: there is no port.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
        Some((host, port)) if !text.ends_with(']') => {
            (host, Some(port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?))
        }
        _ => (text, None),
    };
    if host.is_empty() { Err(wrong()) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_is_named_as_people_name_machines() {
        let parsed = |text| host_and_port(text).ok();
        assert_eq!(parsed("localhost"), Some(("localhost", None)));
        assert_eq!(parsed("localhost:9998"), Some(("localhost", Some(9998))));
        assert_eq!(parsed("10.0.0.1:1"), Some(("10.0.0.1", Some(1))));
        assert_eq!(parsed("::1"), Some(("::1", None)));
        assert_eq!(parsed("[::1]"), Some(("[::1]", None)));
        assert_eq!(parsed("[::1]:9998"), Some(("[::1]", Some(9998))));
        for wrong in ["", ":9998", "host:", "host:many", "host:0", "host:70000"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
