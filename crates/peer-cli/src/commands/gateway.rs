//! `peer-cli gateway`: what a swarm has, over HTTP.

#[cfg(all(feature = "gateway", feature = "metrics"))]
mod metrics;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use peer::{ContentId, Fallback, Node, PeerEvent};
use protocol::{Ticket, printable, redacted};
use settings::Signals;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use crate::error::{ExitCode, Failure};
use crate::features::Feature;
use crate::flags::fallback::NamedOriginArguments;
use crate::flags::gateway::{GatewayArguments, GatewayOriginArguments};
use crate::flags::named::{self, NamedTracker, TrustedTracker};
use crate::flags::peer::PeerArguments;
use crate::flags::{sizes, tickets};
use crate::session::audience::Audience;
use crate::session::connect::{self, NamedBy};
use crate::session::gateway::{self, Brought, Running, Source};
use crate::session::lan::{self, ByDefault};
use crate::session::patience::Patience;
use crate::session::query::complain;
use crate::session::{bind, origin, resolve, site, trust};
use crate::ui::screen::{OutputStream, print, tell};
use crate::ui::signals::heard;

const EXAMPLES: &str = "\
Examples:
  peer-cli gateway p2p…                 what the ticket is of, at 127.0.0.1:8642
  peer-cli gateway -i HOST --ca ca.pem  all of a closed swarm
  HF_ENDPOINT=http://127.0.0.1:8642 hf download ORG/MODEL";

const NOTES: &str = "\
A requested file that is not here is downloaded, verified, shared on, and sent while it arrives; pieces that a client \
waits for come first. The gateway serves only contents of the given swarms, to everyone who reaches its address.";

/// Most tickets: each has a connection to its tracker.
const MOST_TICKETS: usize = 64;

/// Which swarms are served, and where.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub struct GatewayCommand {
    /// Tickets of what is served
    #[arg(value_name = "TICKET")]
    tickets: Vec<String>,
    /// The tracker's machine, all of whose contents are served
    ///
    /// Name or address of the tracker's machine, several with commas between them. All contents that it knows are served, so the swarm is to be closed (--ca), or --open
    /// says that anyone may have put them there
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    tracker_ip: Option<Vec<String>>,
    /// Port of the tracker
    #[arg(short = 'd', long, value_name = "PORT", default_value_t = 9999, value_parser = clap::value_parser!(u16).range(1..))]
    tracker_port: u16,
    /// Serve what anyone may have put into the swarm
    ///
    /// Serve what anyone may have put into the swarm of -i: by a name anyone may be meant, an id says which content it is
    #[arg(long, requires = "tracker_ip", conflicts_with = "ca")]
    open: bool,
    /// Folder for what is downloaded
    #[arg(short, long, value_name = "DIR", default_value = "gateway")]
    output: PathBuf,
    /// First port to listen on for peers, UDP and TCP; 0 takes a free one
    #[arg(short, long, default_value_t = 0)]
    port: u16,
    /// Most bytes kept of what is brought
    ///
    /// Most bytes that are kept of what was downloaded and brought: the least recently used go first; what is being read is never removed.
    /// Without it all is kept that the disk has room for (--keep-free)
    #[arg(long, value_name = "SIZE", value_parser = sizes::bytes)]
    cache: Option<u64>,
    /// Serve metrics over HTTP, for Prometheus
    ///
    /// Answer /metrics, /livez and /readyz over HTTP at this address, or at this port of loopback. Everyone who reaches it may look
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = settings::loopback_unless_told)]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    gateway: GatewayArguments,
    #[command(flatten)]
    origins: GatewayOriginArguments,
    /// Read here what no peer has of a content: ID=URL
    ///
    /// Read what no peer has of a content from this URL, which it was made of, even if nobody has announced it: ID=URL with its id, or the
    /// URL alone for the only ticket. URLs and credentials are as with `peer-cli get`; several with several --origin
    #[arg(long = "origin", value_name = "ID=URL")]
    origin_of: Vec<String>,
    #[command(flatten)]
    named: NamedOriginArguments,
    #[command(flatten)]
    pub peer: PeerArguments,
}

impl GatewayCommand {
    /// What it brings that nobody has.
    fn brought(&self) -> Brought<'_> {
        Brought {
            from: &self.origins,
            folder: &self.output,
            keep_free: self.peer.keep_free,
            cache: self.cache,
            rate: self.named.origin_rate,
        }
    }
}

/// Serves until it is told to stop.
pub async fn run(mut arguments: GatewayCommand) -> Result<(), Failure> {
    gateway::check(&arguments.gateway, &arguments.brought())?;
    origin::check_named(&arguments.named)?;
    if arguments.metrics.is_some() {
        Feature::Metrics.must_be_built()?;
    }
    let tickets = given_tickets(&arguments)?;
    let origins = origins(&arguments, &tickets)?;
    let mut signals = Signals::listen();
    let served = tokio::select! {
        served = begin(&mut arguments, tickets, origins) => served,
        _ = heard(&mut signals) => return Ok(()),
    };
    let (mut running, nodes) = served?;
    if let Some(address) = arguments.metrics {
        running.has_metrics_at(answer_scrapes(address, &running, nodes.clone()).await?);
    }
    if arguments.peer.json {
        tell(OutputStream::Output, &running.event());
    } else if !arguments.peer.quiet {
        print(running.lines())?;
    }
    let mut ended = JoinSet::new();
    tokio::spawn(transport::warn_of_expiry());
    let mut trackers = JoinSet::new();
    for node in nodes.clone() {
        trackers.spawn(log_trackers(node.clone()));
        ended.spawn(async move { node.ended().await });
    }
    let failed = |what: &str| Err(Failure::new(ExitCode::Other, format!("{what} has ended. Start it again")));
    let result = tokio::select! {
        _ = heard(&mut signals) => Ok(()),
        Some(_) = ended.join_next() => failed("the peer of a swarm"),
        () = running.ended() => failed("its listener"),
    };
    drop((running, ended, trackers));
    for node in nodes {
        // A second Ctrl-C ends it at once; an orderly end takes a moment at most.
        tokio::select! {
            () = node.shutdown() => {}
            _ = heard(&mut signals) => return result,
        }
    }
    result
}

/// Logs that no tracker of a node answers any more, and that one is back.
async fn log_trackers(node: Node) {
    let mut events = node.events();
    loop {
        match events.recv().await {
            Ok(PeerEvent::TrackerLost) => {
                let statuses = node.watch_trackers().borrow().clone();
                let places: Vec<_> = statuses.into_iter().map(|tracker| tracker.place).collect();
                tracing::warn!(tracker = places.join(", "), "no tracker answers: nobody new is found");
            }
            Ok(PeerEvent::TrackerBack) => tracing::info!("a tracker answers again"),
            Err(RecvError::Closed) => return,
            _ => {}
        }
    }
}

/// Answers scrapes for as long as the gateway runs, and says where.
#[cfg(all(feature = "gateway", feature = "metrics"))]
async fn answer_scrapes(address: SocketAddr, running: &Running, nodes: Vec<Node>) -> Result<SocketAddr, Failure> {
    metrics::serve(address, running, nodes).await.map_err(|error| {
        let sentence = format!("cannot serve metrics at {address}: {error}. Choose another address with --metrics");
        Failure::new(ExitCode::of_listener(&error), sentence)
    })
}

#[cfg(not(all(feature = "gateway", feature = "metrics")))]
async fn answer_scrapes(_: SocketAddr, _: &Running, _: Vec<Node>) -> Result<SocketAddr, Failure> {
    Err(Feature::Metrics.not_built())
}

/// The tickets, and whether it is clear which swarms are meant.
fn given_tickets(arguments: &GatewayCommand) -> Result<Vec<Ticket>, Failure> {
    let usage = |sentence: &str| Err(Failure::new(ExitCode::Usage, sentence));
    let mut tickets = Vec::new();
    for text in &arguments.tickets {
        match Ticket::find(text) {
            Some(Ok(ticket)) => tickets.push(ticket),
            Some(Err(error)) => return Err(tickets::failure(&error, "gateway")),
            None => return usage(&format!("{text:?} is no ticket: paste the one that `peer-cli share` printed")),
        }
    }
    match &arguments.tracker_ip {
        None if tickets.is_empty() => {
            usage("which swarm? Give tickets, or a tracker with -i and --ca (a closed swarm) or --open")
        }
        Some(_) if arguments.peer.ca.is_empty() && !arguments.open => usage(
            "all that the tracker knows would be served, no matter who put it there: say --open if that is meant, or --ca for a closed swarm",
        ),
        _ if tickets.len() > MOST_TICKETS => {
            usage(&format!("{MOST_TICKETS} tickets are the most: serve the swarm with -i instead"))
        }
        _ => Ok(tickets),
    }
}

/// An origin, and the id of what is there; none of what the only ticket is of.
type OriginOf = (Option<ContentId>, Arc<dyn Fallback>);

/// The origins of contents.
fn origins(arguments: &GatewayCommand, tickets: &[Ticket]) -> Result<Vec<OriginOf>, Failure> {
    let origin = |text: &String| {
        let id = text.split_once('=').and_then(|(id, url)| Some((id.parse::<ContentId>().ok()?, url)));
        let (content, url) = match id {
            Some((id, url)) => (Some(id), url),
            None => (None, text.as_str()),
        };
        let is_meant = match content {
            Some(content) => arguments.tracker_ip.is_some() || tickets.iter().any(|it| it.content() == Some(content)),
            None => tickets.len() == 1 && arguments.tracker_ip.is_none(),
        };
        if !is_meant {
            let url = printable(&redacted(url));
            let sentence = format!(
                "of which content is {url} the origin? --origin takes ID=URL, with the id of a content of -i or of a ticket, or a URL for the only ticket"
            );
            return Err(Failure::new(ExitCode::Usage, sentence));
        }
        Ok((content, origin::of_url(url, None, &arguments.named)?))
    };
    arguments.origin_of.iter().map(origin).collect()
}

/// Joins all swarms, and serves them.
async fn begin(
    arguments: &mut GatewayCommand,
    tickets: Vec<Ticket>,
    origins: Vec<OriginOf>,
) -> Result<(Running, Vec<Node>), Failure> {
    site::settle(&mut arguments.peer).await;
    let patience = Patience::new(arguments.peer.wait);
    let mut sources = Vec::new();
    if let Some(given) = arguments.tracker_ip.clone() {
        let named = named::trackers(&given, arguments.tracker_port)?;
        let trusted = trust::trackers(named, &arguments.peer, NamedBy::Flags, patience, &complain).await?;
        let trackers = resolve::trackers_of(&trusted, patience, &complain).await?;
        let node = bind::bind(&arguments.peer, arguments.port, 1)?.lan(lan::start(&arguments.peer, ByDefault::Off));
        let node = origin::with_named(node, &arguments.named).output(&arguments.output).start();
        connect::join(&node, trackers, NamedBy::Flags, patience, &complain).await?;
        let kind = if Audience::of(&arguments.peer) == Audience::Closed { "closed" } else { "open" };
        let at = |TrustedTracker { named: NamedTracker { host, port }, id }: &TrustedTracker| {
            format!("{host}:{port} ({})", short(*id))
        };
        let at: Vec<_> = trusted.iter().map(at).collect();
        let trackers = if at.len() == 1 { "tracker" } else { "trackers" };
        let about = format!("the {kind} swarm of the {trackers} at {}", at.join(", "));
        let output = Some(arguments.output.clone());
        let is_of_ticket = |content| tickets.iter().any(|ticket| ticket.content() == Some(content));
        let origins = origins.iter().filter_map(|(content, origin)| Some(((*content)?, origin.clone())));
        let origins = origins.filter(|(content, _)| !is_of_ticket(*content)).collect();
        sources.push(Source { all: true, output, origins, ..Source::of(&node, about) });
    }
    for ticket in tickets {
        let port = if sources.is_empty() { arguments.port } else { 0 };
        let node = bind::bind(&arguments.peer, port, 1)?.private(ticket.secret().is_some());
        let node = node.lan(lan::start(&arguments.peer, ByDefault::On)).output(&arguments.output);
        let node = origin::with_named(node, &arguments.named).start();
        let joined = connect::join_by_ticket(&node, &ticket, patience, &complain).await?;
        let content = ticket.content().or(joined.told.as_ref().map(|told| told.content));
        let Some(content) = content else {
            return Err(Failure::new(ExitCode::NotFound, "the tracker of a ticket does not say what that is of"));
        };
        let about = format!("the content {content} of a ticket");
        let output = Some(arguments.output.clone());
        let is_its_own = |of: &Option<ContentId>| of.is_none_or(|of| of == content);
        let origins = origins.iter().filter(|(of, _)| is_its_own(of)).map(|(_, origin)| (content, origin.clone()));
        let (ticket, origins) = (Some((content, ticket.secret())), origins.collect());
        sources.push(Source { ticket, output, origins, ..Source::of(&node, about) });
    }
    let nodes = sources.iter().map(|source| source.node.clone()).collect();
    Ok((gateway::start(&arguments.gateway, sources, Some(arguments.brought())).await?, nodes))
}

fn short(id: peer::PeerId) -> String {
    let id = id.to_string();
    format!("{}…", &id[..id.len().min(12)])
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use protocol::{Digest, PeerId};

    use super::*;

    fn given(words: &[&str]) -> Result<Vec<Ticket>, Failure> {
        let command = GatewayCommand::augment_args(clap::Command::new("gateway").no_binary_name(true));
        let matches = command.try_get_matches_from(words).unwrap();
        given_tickets(&GatewayCommand::from_arg_matches(&matches).unwrap())
    }

    #[test]
    fn each_ticket_is_a_word_of_its_own() {
        let [one, two] = [2, 3].map(|content| {
            let addresses = vec![([10, 0, 0, 1], 9).into()];
            Ticket::new(PeerId(Digest([1; 32])), addresses, ContentId(Digest([content; 32]))).unwrap()
        });
        let [first, second] = [&one, &two].map(Ticket::to_string);
        assert_eq!(given(&[&first, &format!("peer-cli get {second}.")]).unwrap(), [one, two]);
        for between in [" ", ",", "\n"] {
            let failure = given(&[&format!("{first}{between}{second}")]).unwrap_err();
            let sentence =
                "these are 2 tickets in one word. Give each as a word of its own: peer-cli gateway TICKET TICKET";
            assert_eq!((failure.code, &*failure.message), (ExitCode::Usage, sentence));
        }
    }
}
