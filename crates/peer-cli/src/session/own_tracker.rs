//! The tracker in the process of a share or a daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer::{NodeBuilder, Shares, TrackerAddress};
use protocol::PeerId;
use tracker::{PrivateTracker, Server, ServerConfig, transport_config};
use transport::{Certs, Identity, Transport, TransportError, Trust};

use crate::error::{ExitCode, Failure};
use crate::flags::peer::PeerArguments;
use crate::session::bind;
use crate::ui::screen;

/// How long the own tracker may be unreachable before it is reported; a change of networks is usually over by then.
const SILENCE: Duration = Duration::from_secs(15);

/// Whether this process reaches the tracker in it. To say of that one that it is gone would be wrong.
#[derive(Debug, Default)]
pub(super) struct Reach {
    lost: Option<Instant>,
    said: bool,
}

impl Reach {
    /// It is not reached any more.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lost.get_or_insert(now);
    }

    /// It is reached again; gives what to say of that.
    pub(super) fn back(&mut self) -> Option<&'static str> {
        self.lost = None;
        std::mem::take(&mut self.said).then_some("This machine reaches the tracker in this process again.")
    }

    /// What to say now, once.
    pub(super) fn look(&mut self, now: Instant) -> Option<&'static str> {
        if self.said || self.lost.is_none_or(|lost| now.saturating_duration_since(lost) < SILENCE) {
            return None;
        }
        self.said = true;
        Some(
            "This machine does not reach the tracker in this process; those who come now have to wait. Is its loopback interface \
             up?",
        )
    }
}

/// A tracker in this process.
pub struct OwnTracker {
    pub transport: Arc<dyn Transport>,
    pub identity: Identity,
    id: PeerId,
}

impl OwnTracker {
    /// Binds its port, which is that of the node too unless two were named.
    pub fn bind(
        arguments: &PeerArguments,
        port: Option<u16>,
        tracker_port: Option<u16>,
    ) -> Result<(NodeBuilder, Self), Failure> {
        let (identity, trust) = tracker_identity(arguments)?;
        let id = identity.peer_id();
        let (node, transport) = match port.zip(tracker_port).filter(|(peer, tracker)| peer != tracker) {
            Some((port, own)) => {
                let listener = SocketAddr::new(bind::address(arguments), own);
                let transport = arguments.transport.bind(transport_config(identity.clone(), trust, listener));
                (bind::bind(arguments, port, 1)?, transport.map_err(not_bound)?)
            }
            None => {
                let failed = if tracker_port.is_some() { not_bound } else { bind::not_bound };
                bind::bind_with_tracker(arguments, port.or(tracker_port), identity.clone(), failed)?
            }
        };
        Ok((node, OwnTracker { transport, identity, id }))
    }

    /// Starts it on the current runtime, with so much memory: for private shares alone, or for everyone who reaches it.
    pub fn start(&self, memory: u64, private: bool, shares: &Arc<Shares>, owner: PeerId) {
        let private = private.then(|| PrivateTracker { shares: shares.clone(), me: self.id, owner });
        let config = ServerConfig::default().memory(memory).private(private);
        let server = Server::new(self.transport.clone(), config);
        tokio::spawn(async move { server.run().await });
    }

    /// Where this process reaches it: through loopback, so that it knows that we are on its machine. What listens at every
    /// address may have IPv4 alone, though its socket is one of IPv6: where IPv6 is switched off there is no `::1`.
    pub fn address(&self) -> TrackerAddress {
        let addresses = self.transport.listeners().into_iter().flat_map(here).collect();
        TrackerAddress { addresses, id: self.id, name: None }
    }
}

/// A port cannot be bound that `-d` names.
fn not_bound(error: TransportError) -> Failure {
    match error {
        TransportError::AddressInUse(address) => {
            let port = address.port();
            let sentence = format!("port {port} is in use. Choose another with -d, or name the tracker there with -i");
            Failure::new(ExitCode::AddressInUse, sentence)
        }
        TransportError::PrivilegedPort(_) => {
            let sentence = format!("{error}. Choose one above 1023 with -d, or name the tracker there with -i");
            Failure::new(ExitCode::Other, sentence)
        }
        error => Failure::new(ExitCode::Other, error.to_string()),
    }
}

/// Where this machine reaches what listens at an address.
fn here(address: SocketAddr) -> Vec<SocketAddr> {
    let port = address.port();
    match address.ip() {
        ip if !ip.is_unspecified() => vec![address],
        IpAddr::V4(_) => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
        IpAddr::V6(_) => {
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        }
    }
}

/// The key that the program `tracker` would have in this folder, so that tickets outlive a restart; a fresh one where it
/// cannot be kept.
fn tracker_identity(arguments: &PeerArguments) -> Result<(Identity, Trust), Failure> {
    let certs = Certs::new(arguments.certs());
    if !arguments.ca.is_empty() {
        let trust = Trust::authorities(&arguments.ca).map_err(bind::unusable)?;
        return Ok((certs.tracker(&trust).map_err(bind::unusable)?, trust));
    }
    let kept = match arguments.own.lacking {
        None => std::fs::create_dir_all(arguments.certs()).ok().map(|()| certs.open_tracker()),
        Some(_) => None,
    };
    let identity = match kept {
        Some(Ok(Some(identity))) => identity,
        Some(Ok(None)) => {
            let folder = arguments.certs().display();
            let sentence =
                format!("{folder} is of a closed swarm: give --ca {folder}/ca.pem, or another folder with --certs");
            return Err(Failure::new(ExitCode::VerificationFailed, sentence));
        }
        Some(Err(transport::IdentityError::File { .. })) | None => {
            let folder = || format!("{} cannot be written", arguments.certs().display());
            let reason = arguments.own.lacking.clone().unwrap_or_else(folder);
            if !arguments.quiet && !arguments.json {
                screen::complain(&format!("the ticket ends with this run, since no key can be kept: {reason}"));
            }
            Identity::generate().map_err(bind::unusable)?
        }
        Some(Err(error)) => return Err(bind::unusable(error)),
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
    fn an_own_tracker_that_is_back_soon_is_no_news() {
        let (began, mut reach) = (Instant::now(), Reach::default());
        assert_eq!(reach.look(began + SILENCE), None, "it was never lost");
        reach.lost(began);
        assert_eq!((reach.look(began + SILENCE / 2), reach.back()), (None, None));
        assert_eq!(reach.look(began + SILENCE * 2), None);
        reach.lost(began);
        reach.lost(began + SILENCE / 2);
        assert!(reach.look(began + SILENCE).is_some_and(|said| said.contains("loopback")));
        assert_eq!(reach.look(began + SILENCE * 9), None, "once");
        assert!(reach.back().is_some());
        assert_eq!((reach.back(), reach.look(began + SILENCE * 9)), (None, None));
    }

    #[test]
    fn a_tracker_on_every_address_is_reached_without_ipv6() {
        assert_eq!(here("[::]:9".parse().unwrap()), parse(&["127.0.0.1:9", "[::1]:9"]));
        assert_eq!(here("0.0.0.0:9".parse().unwrap()), parse(&["127.0.0.1:9"]));
        assert_eq!(here("10.0.0.1:9".parse().unwrap()), parse(&["10.0.0.1:9"]));
    }
}
