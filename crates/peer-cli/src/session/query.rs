//! Asking a tracker or its peers something without taking part, as `ls`, `inspect` and `doctor` do.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use peer::{Node, TrackerAddress};
use protocol::{ContentMatch, Ticket};

use crate::error::{ExitCode, Failure};
use crate::flags::named::{self, NamedTracker};
use crate::flags::peer::PeerArguments;
use crate::session::connect::{self, NamedBy};
use crate::session::notice::DelayedNotice;
use crate::session::patience::{Patience, shown};
use crate::session::{bind, resolve, trust};
use crate::ui::screen;

/// Longest wait for an answer of a tracker that is connected.
pub const ANSWER: Duration = Duration::from_secs(10);

/// Which tracker, and as whom.
#[derive(Debug, Args)]
pub struct TrackerQuery {
    /// The tracker's machine
    ///
    /// Name or address of the tracker's machine (IPv4, IPv6 or a name); several with commas between them
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    pub tracker_ip: Option<Vec<String>>,
    /// Port of the tracker
    #[arg(short = 'd', long, value_name = "PORT", default_value_t = 9999, value_parser = clap::value_parser!(u16).range(1..))]
    pub tracker_port: u16,
    #[command(flatten)]
    pub peer: PeerArguments,
}

impl TrackerQuery {
    /// A node that is connected to the tracker: the one of `named`, as `HOST` or `HOST:PORT`, or else the one of the flags; of
    /// several, to those that answer.
    pub async fn begin(&self, named: Option<&str>) -> Result<Node, Failure> {
        let (named, named_by) = match (named, &self.tracker_ip) {
            (Some(named), _) => (named::trackers(&[named.to_owned()], self.tracker_port)?, NamedBy::Place),
            (None, Some(named)) => (named::trackers(named, self.tracker_port)?, NamedBy::Flags),
            (None, None) => {
                let sentence = "which tracker? Name its machine, as localhost or 192.168.1.5, or with -i, or as tracker-ip in \
                                p2p-fileshare.toml";
                return Err(Failure::new(ExitCode::Usage, sentence));
            }
        };
        let trackers = self.trackers(named, named_by).await?;
        self.join(trackers, named_by, self.patience()).await
    }

    /// Where the trackers are, and who each must prove to be.
    pub async fn trackers(&self, named: Vec<NamedTracker>, named_by: NamedBy) -> Result<Vec<TrackerAddress>, Failure> {
        let patience = self.patience();
        let trusted = trust::trackers(named, &self.peer, named_by, patience, &complain).await?;
        resolve::trackers_of(&trusted, patience, &complain).await
    }

    /// A node that is connected to these trackers.
    pub async fn join(
        &self,
        trackers: Vec<TrackerAddress>,
        named_by: NamedBy,
        patience: Patience,
    ) -> Result<Node, Failure> {
        let node = bind::start(&self.peer, 0, 1, Path::new("output"))?;
        connect::join(&node, trackers, named_by, patience, &complain).await?;
        Ok(node)
    }

    /// A node that is connected to the tracker of a ticket, and what that has told of a private share.
    pub async fn join_by_ticket(&self, ticket: &Ticket) -> Result<(Node, Option<ContentMatch>), Failure> {
        let node = bind::bind(&self.peer, 0, 1)?.private(ticket.secret().is_some()).output("output").start();
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
    let mut notice = DelayedNotice::new(
        &complain,
        format!("the tracker has not answered yet; waiting for it, for {} at most", shown(ANSWER)),
    );
    Ok(notice.during(tokio::time::timeout(ANSWER, asked)).await.map_err(|_| silent())??)
}

/// Names those trackers in one line that have not answered, though others have.
pub fn name_silent(node: &Node, tell: &dyn Fn(String)) {
    let silent = node.silent_trackers();
    if let Some(places) = listed(&silent) {
        let (do_not, they) =
            if silent.len() == 1 { ("does not", "it alone knows") } else { ("do not", "they alone know") };
        let tracker = if silent.len() == 1 { "The tracker" } else { "The trackers" };
        tell(format!("{tracker} at {places} {do_not} answer: what {they} is missing."));
    }
}

fn listed(places: &[String]) -> Option<String> {
    let (last, others) = places.split_last()?;
    Some(if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) })
}

/// No answer came.
pub fn silent() -> Failure {
    Failure::new(ExitCode::TrackerUnreachable, "the tracker does not answer; is it an older one?")
}
