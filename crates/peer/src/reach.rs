//! Reaching other peers and being reached: which addresses are announced, and which of a peer's are dialled.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use protocol::{PeerAddress, PeerId};
use swarm::Event;
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::{Connection, Transport, TransportError};

use crate::inbox::Input;
use crate::silent::Silent;

/// All addresses of one peer are given up after this long.
const DIAL: Duration = Duration::from_secs(6);
/// Addresses are tried this long apart.
const APART: Duration = Duration::from_millis(20);
/// Most addresses of one peer.
pub(crate) const MOST_ANNOUNCED: usize = 32;

/// Takes connections until the transport is closed.
pub(crate) async fn accept(transport: Arc<dyn Transport>, inputs: mpsc::Sender<Input>) {
    while let Some(connection) = transport.accept().await {
        if inputs.send(Input::Connected { connection, dialled: false }).await.is_err() {
            return;
        }
    }
}

/// The addresses that others may reach this node at: those that it was told to announce, or else those of its
/// interfaces where a listener is bound to all.
pub(crate) fn announced_addresses(transport: &dyn Transport, told: &[SocketAddr]) -> Vec<SocketAddr> {
    if !told.is_empty() {
        return told.to_vec();
    }
    let mut addresses = interface_addresses(&transport.listeners());
    addresses.truncate(MOST_ANNOUNCED);
    addresses
}

/// Where what listens at these addresses may be reached: where it listens at every address, that of each interface of this
/// machine, but for those that mean nothing without the interface's name.
pub fn interface_addresses(listeners: &[SocketAddr]) -> Vec<SocketAddr> {
    let interfaces: Vec<_> = if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|i| i.ip()).collect();
    let mut addresses = Vec::new();
    for listener in listeners {
        if listener.ip().is_unspecified() {
            let reachable = |ip: &&IpAddr| {
                (listener.is_ipv6() || ip.is_ipv4()) && !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
            };
            addresses.extend(interfaces.iter().filter(reachable).map(|&ip| SocketAddr::from((ip, listener.port()))));
        } else {
            addresses.push(*listener);
        }
    }
    addresses
}

/// Tries all addresses of a peer side by side; the first that answers as that peer wins.
pub(crate) async fn dial(
    transport: Arc<dyn Transport>,
    silent: Arc<Silent>,
    peer: PeerAddress,
    inputs: mpsc::Sender<Input>,
) {
    let mut addresses = peer.addresses;
    // Random order spreads connections over a peer's listeners.
    fastrand::shuffle(&mut addresses);
    addresses.truncate(8);
    addresses.retain(|&address| silent.may_dial(address));
    let input = match timeout(DIAL, first(transport, peer.id, addresses)).await {
        Ok(Ok(connection)) => {
            silent.answered(connection.remote_addr());
            Input::Connected { connection, dialled: true }
        }
        _ => Input::Event(Event::DialFailed { peer: peer.id }),
    };
    let _ = inputs.send(input).await;
}

/// The first connection to `id` at one of these addresses. They are tried in order, a moment apart, without waiting for
/// those before. Says why the last one failed, but rather who else answered, or why it was not let in.
pub(crate) async fn first(
    transport: Arc<dyn Transport>,
    id: PeerId,
    addresses: Vec<SocketAddr>,
) -> Result<Arc<dyn Connection>, TransportError> {
    let mut tries = tokio::task::JoinSet::new();
    for (turn, address) in addresses.into_iter().enumerate() {
        let transport = transport.clone();
        tries.spawn(async move {
            tokio::time::sleep(APART * turn as u32).await;
            transport.dial(address, id).await
        });
    }
    let mut reason = TransportError::Lost("it has no address".to_owned());
    while let Some(result) = tries.join_next().await {
        match result {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => {
                tracing::debug!(%error, "dial");
                let tells = |error: &TransportError| match error {
                    TransportError::NotAdmitted(_) => 2,
                    TransportError::WrongPeer { .. } => 1,
                    _ => 0,
                };
                if tells(&error) >= tells(&reason) {
                    reason = error;
                }
            }
            Err(_) => {}
        }
    }
    Err(reason)
}
