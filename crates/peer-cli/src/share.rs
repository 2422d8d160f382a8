//! `peer-cli share`: share files and folders, with a tracker in this process unless one is named, and say how to get them.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use peer::{Held, Node, ShareOptions, TrackerAddress, interface_addresses};
use protocol::{PeerId, Ticket};
use tokio::sync::mpsc;
use tracker::{Server, ServerConfig, transport_config};
use transport::{Certs, Identity, Transport, TransportError, Trust};

use crate::arguments::{Cut, PeerArguments, with_port};
use crate::connect::{self, Said};
use crate::exit_code::{ExitCode, Failure};
use crate::missing::must_exist;
use crate::patterns;
use crate::prompt;
use crate::screen::Outlet;
use crate::sizes;
use crate::start::{self, Step};
use crate::swarm::{End, Manner, conduct};

/// Port of a tracker unless another is asked for.
const TRACKER_PORT: u16 = 9999;
/// Most addresses in a ticket; more would make it long, and one of the first will do.
const ADDRESSES: usize = 8;

const EXAMPLES: &str = "\
Examples:
  peer-cli share a.bin                one line to paste elsewhere: peer-cli get p2p…
  peer-cli share -i 192.168.1.5 a b   the same for two files, by way of a tracker that runs there

Without -i the tracker runs in this process, on port 9999 or a free one. Its key stays in the certs folder: started again
on the same port, it is the same tracker, and the tickets from before still hold.";

/// What is shared, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Files and folders to share
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Name or address of the tracker's machine; if not given, a tracker is started in this process
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    tracker_ip: Option<String>,
    /// Port of the tracker [default: 9999; of one in this process, a free one if that is in use]
    #[arg(short = 'd', long, value_name = "PORT")]
    tracker_port: Option<u16>,
    /// First port to listen on, UDP and TCP; 0 takes a free one
    #[arg(short, long, default_value_t = 0)]
    port: u16,
    /// Where others reach the tracker, as the ticket says, instead of the addresses of this machine: the port that a router
    /// forwards to it; several with several --ticket-address
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = with_port)]
    ticket_address: Vec<SocketAddr>,
    /// Most memory of a tracker in this process; where it is reached, those who are of least use to others make room
    #[arg(long, value_name = "SIZE", value_parser = sizes::tracker_memory, default_value_t = tracker::MEMORY, hide_default_value = true)]
    tracker_memory: u64,
    #[command(flatten)]
    cut: Cut,
    #[command(flatten)]
    pub peer: PeerArguments,
}

/// Shares until it is told to stop.
pub async fn run(mut arguments: Arguments) -> Result<(), Failure> {
    arguments.paths = patterns::meant(arguments.paths)?;
    arguments.paths.iter().try_for_each(|path| must_exist(path))?;
    if arguments.tracker_ip.is_some() && arguments.tracker_port == Some(0) {
        return Err(Failure::new(
            ExitCode::Usage,
            "a tracker that runs elsewhere is not at port 0: name its port with -d",
        ));
    }
    let face = prompt::start(&arguments.peer, Outlet::Output, prompt::Source::Terminal);
    let own = match arguments.tracker_ip {
        Some(_) => None,
        None => Some(OwnTracker::start(&arguments)?),
    };
    // Nothing is downloaded, so the folder for that is none of ours.
    let node = connect::start(&arguments.peer, arguments.port, 1, Path::new("output"))?;
    let manner = Manner {
        seeder: true,
        strict: true,
        end: End::AtWill,
        wait: arguments.peer.wait,
        transport: arguments.peer.transport,
        outlet: Outlet::Output,
    };
    let (report, steps) = mpsc::channel(16);
    let (sharer, tracker) = (node.clone(), own.as_ref().map(|own| (own.address(), own.transport.listeners())));
    let starting = tokio::spawn(async move {
        start::end(begin(&sharer, &arguments, tracker, &report).await, &report).await;
    });
    let result = conduct(node, manner, face, starting.abort_handle(), steps).await;
    if let Some(own) = own {
        own.transport.close().await;
    }
    result
}

async fn begin(
    node: &Node,
    arguments: &Arguments,
    own: Option<(TrackerAddress, Vec<SocketAddr>)>,
    steps: &mpsc::Sender<Step>,
) -> Result<(), Failure> {
    let report = async |step| drop(steps.send(step).await);
    let (tracker, listening) = match (own, &arguments.tracker_ip) {
        (Some(own), _) => own,
        (None, host) => {
            let port = arguments.tracker_port.unwrap_or(TRACKER_PORT);
            let tracker = connect::tracker(host.as_deref().unwrap_or("localhost"), port, &arguments.peer).await?;
            (tracker, Vec::new())
        }
    };
    let told = match (&arguments.ticket_address[..], listening.is_empty()) {
        ([], true) => seen_from_elsewhere(&tracker.addresses),
        ([], false) => interface_addresses(&listening),
        (told, _) => told.to_vec(),
    };
    let (id, told) = (tracker.id, for_ticket(told));
    let said = if arguments.tracker_ip.is_some() { Said::Flags } else { Said::Own };
    connect::join(node, tracker, said).await?;
    report(Step::Joined(id)).await;
    for path in &arguments.paths {
        let (algorithm, piece_size) = (arguments.cut.hash, arguments.cut.piece_size);
        let result = node.share(path, ShareOptions { algorithm, piece_size, held: Held::All }).await;
        let content = result.as_ref().ok().copied();
        report(Step::Shared(path.clone(), result)).await;
        if let Some(content) = content {
            let ticket = Ticket::new(id, told.clone(), content)
                .map_err(|error| Failure::new(ExitCode::Other, format!("there is no ticket: {error}")))?;
            report(Step::Ticket(ticket)).await;
        }
    }
    Ok(())
}

/// Where a tracker at these addresses is, as seen from elsewhere. Loopback is another machine for whoever reads it there, so
/// the addresses of this one come before it.
fn seen_from_elsewhere(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut addresses = found.to_vec();
    for address in found.iter().filter(|address| address.ip().is_loopback()) {
        let everywhere = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        addresses.extend(interface_addresses(&[SocketAddr::new(everywhere, address.port())]));
    }
    addresses
}

/// The addresses in the order in which a ticket has them, each once and not too many.
fn for_ticket(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    // IPv4 first: where both lead to it, it is the one that works in more networks; loopback is the last hope.
    addresses.sort_by_key(|address| (address.ip().is_loopback(), address.is_ipv6()));
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    addresses.truncate(ADDRESSES);
    addresses
}

/// A tracker in this process.
struct OwnTracker {
    transport: Arc<dyn Transport>,
    id: PeerId,
}

impl OwnTracker {
    /// Starts it on the current runtime.
    fn start(arguments: &Arguments) -> Result<Self, Failure> {
        let (identity, trust) = tracker_identity(&arguments.peer)?;
        let id = identity.peer_id();
        let bind = |port| {
            let listener = SocketAddr::new(connect::address(&arguments.peer), port);
            arguments.peer.transport.bind(transport_config(identity.clone(), trust.clone(), listener))
        };
        let transport = match (bind(arguments.tracker_port.unwrap_or(TRACKER_PORT)), arguments.tracker_port) {
            (Err(TransportError::AddressInUse(_)), None) => bind(0),
            (result, _) => result,
        };
        let transport = transport.map_err(|error| match error {
            TransportError::AddressInUse(address) => {
                let port = address.port();
                let sentence =
                    format!("port {port} is in use. Choose another with -d, or name the tracker there with -i");
                Failure::new(ExitCode::AddressInUse, sentence)
            }
            error => Failure::new(ExitCode::Other, error.to_string()),
        })?;
        let server = Server::new(
            transport.clone(),
            ServerConfig { memory: arguments.tracker_memory, ..ServerConfig::default() },
        );
        tokio::spawn(async move { server.run().await });
        Ok(OwnTracker { transport, id })
    }

    /// Where this process reaches it: through loopback, so that it knows that we are on its machine.
    fn address(&self) -> TrackerAddress {
        let here = |address: SocketAddr| match address.ip().is_unspecified() {
            true if address.is_ipv4() => SocketAddr::from(([127, 0, 0, 1], address.port())),
            true => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port())),
            false => address,
        };
        TrackerAddress { addresses: self.transport.listeners().into_iter().map(here).collect(), id: self.id }
    }
}

/// The key that the program `tracker` would have in this folder, so that tickets outlive a restart; a fresh one where it
/// cannot be kept.
fn tracker_identity(arguments: &PeerArguments) -> Result<(Identity, Trust), Failure> {
    let certs = Certs::new(&arguments.certs);
    if !arguments.ca.is_empty() {
        let trust = Trust::authorities(&arguments.ca).map_err(connect::unusable)?;
        return Ok((certs.tracker(&trust).map_err(connect::unusable)?, trust));
    }
    let kept = std::fs::create_dir_all(&arguments.certs).ok().map(|()| certs.open_tracker());
    let identity = match kept {
        Some(Ok(Some(identity))) => identity,
        Some(Ok(None)) => {
            let folder = arguments.certs.display();
            let sentence =
                format!("{folder} is of a closed swarm: give --ca {folder}/ca.pem, or another folder with --certs");
            return Err(Failure::new(ExitCode::VerificationFailed, sentence));
        }
        Some(Err(transport::IdentityError::File { .. })) | None => {
            tracing::warn!(
                "the tracker's key cannot be kept in {}: the ticket ends with this run",
                arguments.certs.display()
            );
            Identity::generate().map_err(connect::unusable)?
        }
        Some(Err(error)) => return Err(connect::unusable(error)),
    };
    Ok((identity, Trust::Anyone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_ticket_has_each_address_once_and_loopback_last() {
        let found = parse(&["127.0.0.1:9", "[2001:db8::1]:9", "10.0.0.1:9", "10.0.0.1:9"]);
        assert_eq!(for_ticket(found), parse(&["10.0.0.1:9", "[2001:db8::1]:9", "127.0.0.1:9"]));
    }

    #[test]
    fn loopback_stands_for_the_addresses_of_this_machine() {
        let told = for_ticket(seen_from_elsewhere(&parse(&["127.0.0.1:9"])));
        assert_eq!(told.last(), parse(&["127.0.0.1:9"]).last());
        let others = interface_addresses(&parse(&["0.0.0.0:9"]));
        assert!(others.iter().take(ADDRESSES - 1).all(|address| told.contains(address)));
        assert_eq!(for_ticket(seen_from_elsewhere(&parse(&["10.0.0.1:9"]))), parse(&["10.0.0.1:9"]));
    }
}
