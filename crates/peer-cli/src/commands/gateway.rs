//! `peer-cli gateway`: what a swarm has, over HTTP.

#[cfg(feature = "metrics")]
mod metrics;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use peer::Node;
use protocol::Ticket;
use settings::Signals;
use tokio::task::JoinSet;

use crate::error::{ExitCode, Failure};
use crate::features::Feature;
use crate::flags::fallback::NamedOriginArguments;
use crate::flags::gateway::{GatewayArguments, GatewayOriginArguments};
use crate::flags::named::{self, NamedTracker, TrustedTracker};
use crate::flags::peer::PeerArguments;
use crate::flags::sizes;
use crate::session::audience::Audience;
use crate::session::connect::{self, NamedBy};
use crate::session::gateway::{self, Brought, Running, Source};
use crate::session::lan::{self, ByDefault};
use crate::session::patience::Patience;
use crate::session::query::complain;
use crate::session::{origin, site, trust};
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
    let tickets = tickets(&arguments)?;
    let mut signals = Signals::listen();
    let served = tokio::select! {
        served = begin(&mut arguments, tickets) => served,
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
    for node in nodes.clone() {
        ended.spawn(async move { node.ended().await });
    }
    let failed = |what: &str| Err(Failure::new(ExitCode::Other, format!("{what} has ended. Start it again")));
    let result = tokio::select! {
        _ = heard(&mut signals) => Ok(()),
        Some(_) = ended.join_next() => failed("the peer of a swarm"),
        () = running.ended() => failed("its listener"),
    };
    drop((running, ended));
    for node in nodes {
        // A second Ctrl-C ends it at once; an orderly end takes a moment at most.
        tokio::select! {
            () = node.shutdown() => {}
            _ = heard(&mut signals) => return result,
        }
    }
    result
}

/// Answers scrapes for as long as the gateway runs, and says where.
#[cfg(feature = "metrics")]
async fn answer_scrapes(address: SocketAddr, running: &Running, nodes: Vec<Node>) -> Result<SocketAddr, Failure> {
    metrics::serve(address, running, nodes).await.map_err(|error| {
        let sentence = format!("cannot serve metrics at {address}: {error}. Choose another address with --metrics");
        Failure::new(ExitCode::of_listener(&error), sentence)
    })
}

#[cfg(not(feature = "metrics"))]
async fn answer_scrapes(_: SocketAddr, _: &Running, _: Vec<Node>) -> Result<SocketAddr, Failure> {
    Err(Feature::Metrics.not_built())
}

/// The tickets, and whether it is clear which swarms are meant.
fn tickets(arguments: &GatewayCommand) -> Result<Vec<Ticket>, Failure> {
    let usage = |sentence: &str| Err(Failure::new(ExitCode::Usage, sentence));
    let mut tickets = Vec::new();
    for text in &arguments.tickets {
        match Ticket::find(text) {
            Some(Ok(ticket)) => tickets.push(ticket),
            Some(Err(error)) => return usage(&error.to_string()),
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

/// Joins all swarms, and serves them.
async fn begin(arguments: &mut GatewayCommand, tickets: Vec<Ticket>) -> Result<(Running, Vec<Node>), Failure> {
    site::settle(&mut arguments.peer).await;
    let patience = Patience::new(arguments.peer.wait);
    let mut sources = Vec::new();
    if let Some(given) = arguments.tracker_ip.clone() {
        let named = named::trackers(&given, arguments.tracker_port)?;
        let trusted = trust::trackers(named, &arguments.peer, NamedBy::Flags, patience, &complain).await?;
        let trackers = connect::trackers_of(&trusted, patience, &complain).await?;
        let node = connect::bind(&arguments.peer, arguments.port, 1)?.lan(lan::start(&arguments.peer, ByDefault::Off));
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
        sources.push(Source { all: true, output, ..Source::of(&node, about) });
    }
    for ticket in tickets {
        let port = if sources.is_empty() { arguments.port } else { 0 };
        let node = connect::bind(&arguments.peer, port, 1)?.private(ticket.secret().is_some());
        let node = node.lan(lan::start(&arguments.peer, ByDefault::On)).output(&arguments.output);
        let node = origin::with_named(node, &arguments.named).start();
        let joined = connect::join_by_ticket(&node, &ticket, patience, &complain).await?;
        let content = ticket.content().or(joined.told.as_ref().map(|told| told.content));
        let Some(content) = content else {
            return Err(Failure::new(ExitCode::NotFound, "the tracker of a ticket does not say what that is of"));
        };
        let about = format!("the content {content} of a ticket");
        let output = Some(arguments.output.clone());
        sources.push(Source { ticket: Some((content, ticket.secret())), output, ..Source::of(&node, about) });
    }
    let nodes = sources.iter().map(|source| source.node.clone()).collect();
    Ok((gateway::start(&arguments.gateway, sources, Some(arguments.brought())).await?, nodes))
}

fn short(id: peer::PeerId) -> String {
    let id = id.to_string();
    format!("{}…", &id[..id.len().min(12)])
}
