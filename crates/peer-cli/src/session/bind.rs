//! Binding a node's ports, as the flags say: with which key, in whose swarm, and with which settings.
//!
//! What is wrong with any of these is known before anything is said to anybody, and each failure says which flag mends it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peer::{Node, NodeBuilder};
use protocol::PeerId;
use transport::{
    Certs, Config, Identity, IdentityError, SharedPort, Transport, TransportError, Trust, peer_id_of_certificate_pem,
};

use crate::error::{ExitCode, Failure, RAISE_LIMIT};
use crate::flags::links;
use crate::flags::peer::PeerArguments;

/// Port of a tracker unless another is asked for.
pub const TRACKER_PORT: u16 = 9999;

/// Starts a node on `count` ports from `first` (any free ones if that is 0) that downloads into `output`.
pub fn start(arguments: &PeerArguments, first: u16, count: u16, output: &Path) -> Result<Node, Failure> {
    Ok(bind(arguments, first, count)?.output(output).start())
}

/// Binds `count` ports from `first` (any free ones if that is 0) for a node that is still to be started.
pub fn bind(arguments: &PeerArguments, first: u16, count: u16) -> Result<NodeBuilder, Failure> {
    let port = |number| if first == 0 { 0 } else { first + number };
    let config = config(arguments, (0..count).map(port))?;
    let transport = arguments.transport.bind(config).map_err(not_bound)?;
    Ok(node(arguments, transport))
}

/// Binds one port for a node and for a tracker: this one, or 9999 and any free one if that is in use. `failed` says what to do about
/// one that cannot be bound.
pub fn bind_with_tracker(
    arguments: &PeerArguments,
    port: Option<u16>,
    tracker: Identity,
    failed: impl FnOnce(TransportError) -> Failure,
) -> Result<(NodeBuilder, Arc<dyn Transport>), Failure> {
    let config = config(arguments, std::iter::once(port.unwrap_or(TRACKER_PORT)))?;
    let bound = match (arguments.transport.bind_with_tracker(config.clone(), tracker.clone()), port) {
        (Err(TransportError::AddressInUse(_)), None) => {
            let any = vec![SocketAddr::new(address(arguments), 0)];
            arguments.transport.bind_with_tracker(config.listeners(any), tracker)
        }
        (bound, _) => bound,
    };
    let SharedPort { peer, tracker } = bound.map_err(failed)?;
    Ok((node(arguments, peer), tracker))
}

fn config(arguments: &PeerArguments, ports: impl Iterator<Item = u16>) -> Result<Config, Failure> {
    let (identity, trust) = who(arguments)?;
    peer::sweep_manifests(arguments.hashes());
    let ip = address(arguments);
    must_be_here(ip)?;
    let listeners = ports.map(|port| SocketAddr::new(ip, port)).collect();
    Ok(Config::new(identity, listeners).trust(trust).mtu(arguments.mtu).congestion(arguments.congestion))
}

/// Fails if this machine has no such address.
fn must_be_here(ip: IpAddr) -> Result<(), Failure> {
    let is_missing = |error: io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    match std::net::UdpSocket::bind((ip, 0)).is_err_and(is_missing) {
        true => {
            let sentence =
                format!("this machine has no address {ip}. --bind takes one that it has, or 0.0.0.0 for all of them");
            Err(Failure::new(ExitCode::Other, sentence))
        }
        false => Ok(()),
    }
}

/// A port cannot be bound that `-p` names.
pub fn not_bound(error: TransportError) -> Failure {
    match error {
        TransportError::AddressInUse(address) => {
            let sentence = format!("port {} is in use. Choose another with -p, or -p 0 for any", address.port());
            Failure::new(ExitCode::AddressInUse, sentence)
        }
        TransportError::PrivilegedPort(_) => {
            Failure::new(ExitCode::Other, format!("{error}. Choose a port above 1023 with -p"))
        }
        TransportError::TooManyOpen(_) => {
            Failure::new(ExitCode::Other, format!("{error}. {RAISE_LIMIT}, or take fewer --listeners"))
        }
        error => Failure::new(ExitCode::Other, error.to_string()),
    }
}

fn node(arguments: &PeerArguments, transport: Arc<dyn Transport>) -> NodeBuilder {
    Node::builder(transport)
        .storage(arguments.storage.backend())
        .hashes(arguments.hashes())
        .manifests_by_place(arguments.own.by_place)
        .scan(links::scan(arguments))
        .up_rate(arguments.up_rate)
        .down_rate(arguments.down_rate)
        .budget(arguments.budget)
        .keep_free(arguments.keep_free)
        .verify_on_disk(arguments.verify_on_disk)
        .reserve(read_files(arguments))
        .announce(arguments.announce.clone())
        .dial_private(arguments.dial_private)
        .site(arguments.site.clone().unwrap_or_default())
        .fair(arguments.fair)
}

/// What is read here beside manifests: no download may lie there.
fn read_files(arguments: &PeerArguments) -> impl Iterator<Item = PathBuf> {
    let PeerArguments { identity, ca, cert, key, own, .. } = arguments;
    let named = identity.iter().chain(ca).chain(cert).chain(key).chain(&own.all).chain(&own.known_trackers);
    std::iter::once(arguments.certs().to_owned()).chain(named.cloned())
}

/// The address to listen on.
pub fn address(arguments: &PeerArguments) -> IpAddr {
    arguments.bind.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// Who this peer is, and whom it deals with.
pub fn who(arguments: &PeerArguments) -> Result<(Identity, Trust), Failure> {
    let trust = trust(arguments)?;
    if matches!(trust, Trust::Anyone) {
        let identity = arguments.identity.as_deref().map_or_else(Identity::generate, Identity::load_or_create);
        return Ok((identity.map_err(unusable)?, trust));
    }
    let identity = match (&arguments.cert, &arguments.key) {
        (Some(certificate), Some(key)) => Identity::load(certificate, key, &trust),
        _ => Certs::new(arguments.certs()).free_peer(&trust),
    };
    Ok((identity.map_err(unusable)?, trust))
}

pub fn unusable(error: IdentityError) -> Failure {
    let code = match error {
        IdentityError::InUse(_) | IdentityError::NoneFree { .. } | IdentityError::NoCertificate(_) => ExitCode::Usage,
        IdentityError::File { .. } | IdentityError::Generate(_) => ExitCode::CannotWrite,
        _ => ExitCode::VerificationFailed,
    };
    let advice = match &error {
        IdentityError::File { source, .. }
            if matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
        {
            ". Change its permissions, or those of its folder, or name another place with --identity or --certs"
        }
        _ => "",
    };
    Failure::new(code, format!("{error}{advice}"))
}

/// Whom this peer deals with.
pub fn trust(arguments: &PeerArguments) -> Result<Trust, Failure> {
    match &arguments.ca[..] {
        [] => Ok(Trust::Anyone),
        authorities => Trust::authorities(authorities).map_err(unusable),
    }
}

/// The tracker's certificate, where the folder of certificates has one.
pub fn tracker_certificate(arguments: &PeerArguments) -> PathBuf {
    arguments.certs().join("tracker.pem")
}

/// The id by the tracker's certificate.
pub fn certified_id(arguments: &PeerArguments) -> Result<PeerId, Failure> {
    let certificate = tracker_certificate(arguments);
    peer_id_of_certificate_pem(&certificate).map_err(|error| {
        let reason = if certificate.exists() {
            error.to_string()
        } else {
            format!("its certificate {} is not there", certificate.display())
        };
        let sentence = format!(
            "who is the tracker? {reason}. Give --tracker-id with the id that the tracker prints at start, or --certs \
             with the folder of its certificate"
        );
        Failure::new(ExitCode::Usage, sentence)
    })
}
