//! `peer-cli daemon`: a peer as a service, which is told what to share and download from elsewhere (`commands/control.rs`).

#[cfg(feature = "metrics")]
mod metrics;
mod page;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use daemon::control::Place as ControlPlace;
use daemon::state::{self, StateError};
use daemon::{Home, Service, ServiceConfig, ServiceRun, Settings, StartError};
use lan::Offers;
use peer::Shares;
use settings::{Folders, ServiceManager, Signal, Signals};
use transport::Identity;

use crate::commands::control::{SocketArguments, absolute, control_failure};
use crate::error::{ExitCode, Failure};
use crate::features::Feature;
use crate::flags::fallback::NamedOriginArguments;
use crate::flags::gateway::GatewayArguments;
use crate::flags::links::LinkArguments;
use crate::flags::peer::{PeerArguments, with_port};
use crate::flags::{named, output, sizes};
use crate::session::bind::{self, TRACKER_PORT};
use crate::session::connect::NamedBy;
use crate::session::lan::{self as network, ByDefault};
use crate::session::own_tracker::OwnTracker;
use crate::session::patience::Patience;
use crate::session::place::Place;
use crate::session::query::complain;
use crate::session::secrets::secrets_of;
use crate::session::{origin, resolve, site, trust};
use crate::ui::screen;

const EXAMPLES: &str = "\
Examples:
  peer-cli daemon           run as a service
  peer-cli add a.bin        in another terminal: share it, or get a ticket
  peer-cli status --watch   look at it; see also pause, resume, prioritise,
                            limit, rm";

const NOTES: &str = "\
Its state is saved: after a restart it resumes everything. Only its user and root can control it.

SIGTERM ends it; SIGHUP reads the settings again (rates, --at-once), looks at its own shares anew, and opens --log-file anew.";

/// Port of a peer whose tracker runs elsewhere, unless another is asked for.
const PEER_PORT: u16 = 9000;

/// How a daemon runs.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub struct DaemonArguments {
    /// A tracker elsewhere, instead of one here
    ///
    /// Name or address of the machine of the tracker that shares are announced to, several with commas between them; if not given, a
    /// tracker runs in this process
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    tracker_ip: Option<Vec<String>>,
    /// Port of the tracker [default: 9999; of one in this process, that of -p]
    #[arg(short = 'd', long, value_name = "PORT")]
    tracker_port: Option<u16>,
    /// Port to listen on, UDP and TCP [default: 9999, with -i 9000]
    ///
    /// Port to listen on, UDP and TCP; 0 takes a free one, and tickets of a tracker in this process end with it then [default: 9999;
    /// with -i 9000]
    #[arg(short, long)]
    port: Option<u16>,
    /// Where the tickets say the tracker is
    ///
    /// Where others reach the tracker, as the tickets say, instead of the addresses of this machine: the port that a router
    /// forwards to it; several with several --ticket-address
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = with_port)]
    ticket_address: Vec<SocketAddr>,
    /// Most memory of a tracker in this process [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = sizes::tracker_memory, default_value_t = tracker::MEMORY, hide_default_value = true)]
    tracker_memory: u64,
    /// Share with everyone who reaches this machine
    ///
    /// Share with everyone who reaches this machine, by name, id or ticket, and not only with those who have the ticket
    #[arg(long)]
    open: bool,
    /// Where downloads go [default: the working folder]
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Downloads at once; others wait for them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), default_value_t = 5)]
    at_once: u16,
    /// Serve metrics over HTTP, for Prometheus
    ///
    /// Answer /metrics, /livez and /readyz over HTTP at this address, or at this port of loopback. Everyone who reaches it may look
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = settings::loopback_unless_told)]
    metrics: Option<SocketAddr>,
    /// Folder of what outlives it
    ///
    /// Folder for what outlives it: what it shares and downloads, and its key [default: a folder of the user's own]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    #[command(flatten)]
    socket: SocketArguments,
    #[command(flatten)]
    gateway: GatewayArguments,
    #[command(flatten)]
    named: NamedOriginArguments,
    #[command(flatten)]
    links: LinkArguments,
    #[command(flatten)]
    pub peer: PeerArguments,
}

impl DaemonArguments {
    /// What may change while it runs.
    fn settings(&self) -> Settings {
        Settings { up: self.peer.up_rate, down: self.peer.down_rate, at_once: self.at_once.into() }
    }
}

/// What settings set: long names of flags, each with its words.
pub type Set = Vec<(String, Vec<OsString>)>;

/// Reads the command line and the files of settings again. An error is a sentence.
pub type ReadAgain = fn() -> Result<(DaemonArguments, Set), String>;

/// Flags that may change while it runs.
const MAY_CHANGE: [&str; 3] = ["up-rate", "down-rate", "at-once"];

/// Runs until it is told to stop.
pub async fn run(mut arguments: DaemonArguments, read_again: ReadAgain) -> Result<(), Failure> {
    let manager = ServiceManager::of_this_process();
    let mut signals = Signals::listen();
    settings::end_when_stuck(ends, |_| 0);
    page::is_asked_for(&arguments.gateway)?;
    origin::check_named(&arguments.named)?;
    if arguments.metrics.is_some() {
        Feature::Metrics.must_be_built()?;
    }
    let place = ControlPlace::of_daemon(arguments.socket.path()).map_err(|error| control_failure(&error))?;
    let started = async {
        let config = configure(&mut arguments, read_again).await?;
        Service::start(config, &place).await.map_err(not_started)
    };
    let run: ServiceRun = tokio::select! {
        started = started => started?,
        _ = signals.next_meant(ends) => return Ok(()),
    };
    let service = run.service().clone();
    tokio::spawn(transport::warn_of_expiry());
    say(&arguments.peer, &format!("Controlled at {}", place.path().display()));
    if let Some(address) = arguments.metrics {
        let bound = answer_scrapes(address, &service).await?;
        say(&arguments.peer, &format!("Metrics at http://{bound}/metrics"));
    }
    let mut gateway = page::serve(&arguments.gateway, &service).await?;
    for line in gateway.iter().flat_map(page::lines) {
        say(&arguments.peer, &line);
    }
    manager.ready();
    let watchdog = manager.watch();
    tokio::pin!(watchdog);
    let serving = run.run();
    tokio::pin!(serving);
    let failed = |what: &dyn Display| Err(Failure::new(ExitCode::Other, format!("{what}. Start it again")));
    let result = loop {
        let signal = tokio::select! {
            fault = &mut serving => break failed(&fault),
            () = page::ended(&mut gateway) => break failed(&"its gateway has ended"),
            () = &mut watchdog => continue,
            signal = signals.next() => signal,
        };
        if ends(signal) {
            break Ok(());
        }
        manager.reloading();
        if let Err(reason) = settings::reopen_log() {
            tracing::warn!(reason, "the log stays in the file that it was in");
        }
        match service.reload().await {
            Ok(()) => tracing::info!("the settings are read again"),
            Err(reason) => tracing::warn!(reason, "the settings stay as they were"),
        }
        manager.ready();
    };
    manager.stopping();
    drop(gateway);
    service.shut_down().await;
    result
}

/// Answers scrapes for as long as the daemon runs, and says where.
#[cfg(feature = "metrics")]
async fn answer_scrapes(address: SocketAddr, service: &Arc<Service>) -> Result<SocketAddr, Failure> {
    metrics::serve(address, service.clone()).await.map_err(|error| {
        let sentence = format!("cannot serve metrics at {address}: {error}. Choose another address with --metrics");
        Failure::new(ExitCode::of_listener(&error), sentence)
    })
}

#[cfg(not(feature = "metrics"))]
async fn answer_scrapes(_: SocketAddr, _: &Arc<Service>) -> Result<SocketAddr, Failure> {
    Err(Feature::Metrics.not_built())
}

/// Whether a signal ends a daemon: on Unix a hang-up has it read its settings again, on Windows its window is closed.
fn ends(signal: Signal) -> bool {
    cfg!(windows) || signal != Signal::HangUp
}

fn say(arguments: &PeerArguments, sentence: &str) {
    if !arguments.quiet {
        // A standard output that takes nothing is no reason to stop.
        let _ = screen::print([sentence]);
    }
}

fn not_started(error: StartError) -> Failure {
    match &error {
        StartError::Control(error) => control_failure(error),
        StartError::State(StateError::InUse(_)) => Failure::new(ExitCode::AddressInUse, error.to_string()),
        StartError::State(StateError::Io { .. }) => Failure::new(ExitCode::CannotWrite, error.to_string()),
        StartError::State(_) => Failure::new(ExitCode::VerificationFailed, error.to_string()),
        _ => Failure::new(ExitCode::Usage, error.to_string()),
    }
}

/// The folder of the state.
fn state_folder(arguments: &DaemonArguments) -> Result<PathBuf, Failure> {
    let own = || Folders::of_this_process().state.map(|folder| folder.join("daemon"));
    let folder = arguments.state.clone().or_else(own);
    let sentence = "there is no home folder to keep the state in: name a folder with --state";
    let folder = folder.ok_or_else(|| Failure::new(ExitCode::CannotWrite, sentence))?;
    absolute(&folder)
}

/// Fails where no download could ever go: it is said at the start, and not by the first download. The folder need not be there yet.
fn must_hold_downloads(folder: &Path) -> Result<(), Failure> {
    let there = folder.ancestors().find(|above| above.symlink_metadata().is_ok());
    match there {
        // A link that leads nowhere may lead to a disk that is not there yet.
        Some(there) if there.metadata().is_ok_and(|found| !found.is_dir()) => {
            let sentence = format!(
                "downloads cannot go into {}: {} is no folder. Name another with --output",
                folder.display(),
                there.display()
            );
            Err(Failure::new(ExitCode::CannotWrite, sentence))
        }
        _ => Ok(()),
    }
}

async fn configure(arguments: &mut DaemonArguments, read_again: ReadAgain) -> Result<ServiceConfig, Failure> {
    site::settle(&mut arguments.peer).await;
    let state = state_folder(arguments)?;
    let downloads = match &arguments.output {
        Some(folder) => absolute(folder)?,
        None => absolute(&output::default_folder().0)?,
    };
    must_hold_downloads(&downloads)?;
    let scan = arguments.links.scan(&arguments.peer).own(state::files(&state));
    let home = match arguments.tracker_ip.clone() {
        Some(given) => home_elsewhere(arguments, &given, &state).await?,
        None => home_here(arguments)?,
    };
    let node = home.node.private(!arguments.open).scan(scan.clone()).reserve([state.clone()]);
    let open_url = origin::for_daemon(arguments.named.origin_rate);
    let check_url = origin::check_for_daemon();
    let home = Home { node: origin::with_named(node, &arguments.named), open_url, check_url, ..home };
    // Two nodes never have one key.
    let (peer, kept) = (PeerArguments { identity: None, ..arguments.peer.clone() }, state.clone());
    let named_origins = arguments.named.clone();
    let new_node = Box::new(move || {
        let node = bind::bind(&peer, 0, 1).map_err(|failure| failure.message)?;
        let node = node.private(true).scan(scan.clone()).reserve([kept.clone()]);
        Ok(origin::with_named(node, &named_origins).lan(network::start(&peer, ByDefault::On)))
    });
    let before = read_again().map(|(_, set)| set).unwrap_or_default();
    let read_settings = Box::new(move || {
        let (arguments, set) = read_again()?;
        let changed = need_a_restart(&before, &set);
        if !changed.is_empty() {
            tracing::warn!("settings have changed that need a restart: {}", changed.join(", "));
        }
        Ok(arguments.settings())
    });
    let settings = arguments.settings();
    Ok(ServiceConfig { state, downloads, home, new_node, settings, read_settings })
}

/// Flags that are set otherwise than before, and count from the next start on.
fn need_a_restart<'a>(before: &'a Set, now: &'a Set) -> Vec<&'a str> {
    let differs = |one: &'a Set, other: &'a Set| one.iter().filter(move |setting| !other.contains(setting));
    let changed: BTreeSet<_> =
        differs(before, now).chain(differs(now, before)).map(|(flag, _)| flag.as_str()).collect();
    changed.into_iter().filter(|flag| !MAY_CHANGE.contains(flag)).collect()
}

/// The node for what is shared, with a tracker in this process.
fn home_here(arguments: &DaemonArguments) -> Result<Home, Failure> {
    // Tickets name the port, so another one that is free does not do.
    let port = arguments.port.or(arguments.tracker_port).unwrap_or(TRACKER_PORT);
    let (node, own) = OwnTracker::bind(&arguments.peer, Some(port), arguments.tracker_port)?;
    let shares = Arc::<Shares>::default();
    own.start(arguments.tracker_memory, !arguments.open, &shares, node.id());
    let listening = own.transport.listeners();
    let lan = network::start(&arguments.peer, ByDefault::On);
    if let Some(lan) = &lan {
        let port = listening.first().map_or(0, SocketAddr::port);
        lan.own_tracker(port);
        lan.offer(Offers { port, open: arguments.open, codes: false });
    }
    let place = place(arguments, Place::Here(listening));
    Ok(Home {
        node: node.shares(shares.clone()).lan(lan),
        trackers: vec![own.address()],
        addresses: Box::new(move |_| addresses(&place)),
        is_told: true,
        secrets: (!arguments.open).then(|| secrets_of(own.identity.clone())),
        own_tracker: Some(shares),
        open_url: None,
        check_url: None,
    })
}

/// The node for what is shared, with a tracker elsewhere.
async fn home_elsewhere(arguments: &mut DaemonArguments, given: &[String], state: &Path) -> Result<Home, Failure> {
    let port = arguments.tracker_port.unwrap_or(TRACKER_PORT);
    if port == 0 {
        return Err(Failure::new(
            ExitCode::Usage,
            "a tracker that runs elsewhere is not at port 0: name its port with -d",
        ));
    }
    let patience = Patience::new(arguments.peer.wait);
    let named = named::trackers(given, port)?;
    let trusted = trust::trackers(named, &arguments.peer, NamedBy::Flags, patience, &complain).await?;
    let trackers = resolve::trackers_of(&trusted, patience, &complain).await?;
    let key = state.join("daemon.key");
    let secrets = match arguments.open {
        true => None,
        false => {
            state::make_folder(state)
                .map_err(|error| Failure::new(ExitCode::CannotWrite, format!("{}: {error}", state.display())))?;
            Some(secrets_of(Identity::load_or_create(&key).map_err(bind::unusable)?))
        }
    };
    let told = arguments.ticket_address.clone();
    let is_told = !told.is_empty();
    Ok(Home {
        node: bind::bind(&arguments.peer, arguments.port.unwrap_or(PEER_PORT), 1)?
            .lan(network::start(&arguments.peer, ByDefault::On)),
        trackers,
        addresses: Box::new(move |known| {
            addresses(&if told.is_empty() { Place::Known(known.to_vec()) } else { Place::Told(told.clone()) })
        }),
        is_told,
        secrets,
        own_tracker: None,
        open_url: None,
        check_url: None,
    })
}

fn place(arguments: &DaemonArguments, otherwise: Place) -> Place {
    if arguments.ticket_address.is_empty() { otherwise } else { Place::Told(arguments.ticket_address.clone()) }
}

fn addresses(place: &Place) -> Vec<SocketAddr> {
    place.for_ticket().iter().map(|own| own.address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_from_the_next_start_on_is_named() {
        let set =
            |all: &[(&str, &str)]| all.iter().map(|(flag, word)| ((*flag).to_owned(), vec![word.into()])).collect();
        let before: Set =
            set(&[("tracker-ip", "--tracker-ip=a"), ("up-rate", "--up-rate=1MiB"), ("port", "--port=9000")]);
        let now: Set =
            set(&[("tracker-ip", "--tracker-ip=b"), ("up-rate", "--up-rate=2MiB"), ("output", "--output=o")]);
        assert_eq!(need_a_restart(&before, &now), ["output", "port", "tracker-ip"]);
        assert!(need_a_restart(&now, &now).is_empty());
    }

    #[test]
    fn downloads_go_where_a_folder_is_or_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        assert!(must_hold_downloads(folder.path()).is_ok() && must_hold_downloads(&at("new/one")).is_ok());
        for wrong in ["file", "file/inside"] {
            let failure = must_hold_downloads(&at(wrong)).unwrap_err();
            assert!(failure.message.contains("--output"), "{}", failure.message);
        }
    }
}
