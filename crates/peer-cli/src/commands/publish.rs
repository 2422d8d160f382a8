//! `peer-cli publish`: the manifest of what is at an origin: made by one read, kept, and perhaps put beside it, so that nothing is read
//! for it when it is shared later. Given a tracker, it prints the ticket by which peers find each other there; it seeds nothing itself.

use clap::Args;

use crate::error::{ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::flags::origins::OriginArguments;
use crate::session::query::TrackerQuery;

const EXAMPLES: &str = "\
Examples:
  peer-cli publish s3://models/big.bin            prints the content id
  peer-cli publish -i 10.0.0.5 --ca certs/ca.pem --beside s3://models/big.bin
                                                  and a ticket for the fleet
  peer-cli publish hf://org/model@main --only '*.safetensors'";

const NOTES: &str = "\
`publish` does not seed. The first receiver reads the content from its origin (get --origin URL), or you start a \
seeder (share -i TRACKER --open URL, or with --ca in a closed swarm). Later receivers find the peers that have it by \
the ticket.";

/// What is published, and how.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub struct PublishArguments {
    /// What is to be shared later: its URL
    ///
    /// What is to be shared later: s3://bucket/key, s3://bucket/prefix/, gs:// and az:// the same, hf://org/model@revision, https://
    #[arg(value_name = "URL")]
    url: String,
    /// Put the manifest beside it, in the bucket
    ///
    /// Put the manifest beside it, in the bucket, where `peer-cli share`, and `get --origin` with the content's id or ticket, find it on
    /// any machine
    #[arg(long)]
    beside: bool,
    /// With -i, a ticket for everyone who reaches the tracker
    ///
    /// With -i, print a ticket by which everyone who reaches the tracker can take part, as in `share --open`, and not one with a secret
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    origin: OriginArguments,
    #[command(flatten)]
    cut: Cut,
    #[command(flatten)]
    pub query: TrackerQuery,
    /// Whether the tracker was named for this, and does not stand in the settings alone.
    #[arg(skip)]
    pub tracker_is_typed: bool,
}

/// Makes the manifest and says what it is.
pub async fn run(arguments: PublishArguments) -> Result<(), Failure> {
    if crate::flags::origins::url(arguments.url.as_ref()).is_none() {
        let url = protocol::printable(&protocol::redacted(&arguments.url));
        let sentence = format!("{url} is no URL of an origin: of a file here, `peer-cli hash` makes the manifest");
        return Err(Failure::new(ExitCode::Usage, sentence));
    }
    // --ca may stand in the settings of this machine, and says nothing of a ticket by itself.
    if arguments.open && arguments.query.tracker_ip.is_none() {
        let sentence = "which tracker? --open says that the ticket is for everyone who reaches it: name it with -i";
        return Err(Failure::new(ExitCode::Usage, sentence));
    }
    publish(&arguments).await
}

#[cfg(feature = "origins")]
async fn publish(arguments: &PublishArguments) -> Result<(), Failure> {
    use crate::commands::inspect;
    use crate::session::connect::NamedBy;
    use crate::session::origin::{self, PublishRequest};
    use crate::ui::screen::{complain, print};

    let PublishArguments { url, beside, open, origin: flags, cut, query, tracker_is_typed } = arguments;
    // What is wrong with the tracker should be known before gigabytes are read.
    let reach = async |given: &Vec<String>| {
        let named = crate::flags::named::trackers(given, query.tracker_port)?;
        let trackers = query.trackers(named, NamedBy::Flags).await?;
        query.join(trackers.clone(), NamedBy::Flags, query.patience()).await?.shutdown().await;
        Ok::<_, Failure>(trackers)
    };
    // One of the settings of this machine is asked only if something was said of its swarm.
    let given = query.tracker_ip.as_ref().filter(|_| *tracker_is_typed || *open);
    let trackers = match given {
        Some(given) => Some(reach(given).await?),
        None => None,
    };
    let published = origin::publish(PublishRequest { url, cut, flags, beside: *beside }).await?;
    let content = published.manifest.id();
    let ticket = trackers.map(|trackers| ticket(arguments, &trackers, content)).transpose()?;
    if ticket.is_some() && published.beside.is_none() {
        complain(&nobody_has_it(url, published.kept.as_deref()));
    }
    if query.peer.json {
        let event = ticket.map(|(ticket, command)| {
            peer::json::Event::Ticket(peer::json::Ticket { content: content.to_string(), ticket, command }).line()
        });
        return print([inspect::event(&published.manifest).line()].into_iter().chain(event));
    }
    let beside = published.beside.map(|url| format!("beside      {url}"));
    let kept = published.kept.map(|path| format!("manifest    {}", path.display()));
    let command = ticket.map(|(_, command)| command);
    print(inspect::words(&published.manifest).into_iter().chain(kept).chain(beside).chain(command))
}

/// What is said of a manifest that lies on this machine alone, where no receiver finds it.
#[cfg(feature = "origins")]
fn nobody_has_it(url: &str, kept: Option<&std::path::Path>) -> String {
    use protocol::{printable, redacted};

    let url = printable(redacted(url).split(['?', '#']).next().unwrap_or_default());
    let advice = match (url.split_once("://"), kept) {
        (Some(("s3" | "gs" | "az", _)), _) => "publish it again with --beside".to_owned(),
        (Some(("http" | "https", _)), Some(kept)) => format!("put {} at {url}.p2p-manifest", kept.display()),
        _ => format!("share it: peer-cli share -i TRACKER {url}"),
    };
    format!(
        "receivers need the manifest, which was put nowhere but on this machine. Unless somebody has it already, {advice}"
    )
}

/// A ticket, and what is typed elsewhere: what was published is nowhere but at its origin.
#[cfg(feature = "origins")]
fn ticket(
    arguments: &PublishArguments,
    trackers: &[peer::TrackerAddress],
    content: peer::ContentId,
) -> Result<(String, String), Failure> {
    use protocol::{MAX_TICKET_TRACKERS, Ticket, TicketTracker};

    use crate::session::secrets::random_secrets;

    let PublishArguments { url, open, query, origin: flags, .. } = arguments;
    let each: Vec<_> = trackers.iter().flat_map(peer::TrackerAddress::each).take(MAX_TICKET_TRACKERS).collect();
    // A ticket has sixteen addresses.
    let room = 16 / each.len().max(1);
    let tracker = |tracker: peer::TrackerAddress| {
        let addresses = tracker.addresses.into_iter().take(room).collect::<Vec<_>>();
        TicketTracker { id: tracker.id, addresses }
    };
    let known = each.into_iter().map(tracker).filter(|tracker| !tracker.addresses.is_empty()).collect();
    let secret = (!*open && query.peer.ca.is_empty()).then(|| random_secrets()(content));
    let ticket = Ticket::of_trackers(known, content, secret);
    let ticket = ticket.map_err(|error| Failure::new(ExitCode::Other, format!("there is no ticket: {error}")))?;
    // What may be secret in a URL is typed by those who know it.
    let redacted = protocol::redacted(url);
    let url = if redacted == *url { protocol::printable(url) } else { "URL".to_owned() };
    let endpoint = flags.endpoint.as_ref().map(|endpoint| format!(" --endpoint {}", protocol::printable(endpoint)));
    let command = format!("peer-cli get --origin {url}{} {ticket}", endpoint.unwrap_or_default());
    Ok((ticket.to_string(), command))
}

#[cfg(not(feature = "origins"))]
async fn publish(arguments: &PublishArguments) -> Result<(), Failure> {
    let PublishArguments { url: _, beside: _, open: _, origin: _, cut: _, query: _, tracker_is_typed: _ } = arguments;
    Err(crate::features::Feature::Origins.not_built())
}

#[cfg(all(test, feature = "origins"))]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_manifest_that_nobody_else_has_is_told_of_with_what_to_do() {
        let kept = Some(Path::new("kept.manifest"));
        for (url, kept, advice) in [
            ("https://host/a?signature=SECRET", kept, "put kept.manifest at https://host/a.p2p-manifest"),
            ("https://host/a", None, "peer-cli share -i TRACKER https://host/a"),
            ("s3://bucket/a", kept, "publish it again with --beside"),
            ("hf://org/model", kept, "peer-cli share -i TRACKER hf://org/model"),
        ] {
            let said = nobody_has_it(url, kept);
            assert!(said.ends_with(advice), "{said}");
        }
    }
}
