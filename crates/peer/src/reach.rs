//! Reaching other peers and being reached: which addresses are announced, and which of a peer's are dialled.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use protocol::PeerAddress;
use swarm::Event;
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::{Transport, TransportError};

use crate::inbox::Input;
use crate::silent::Silent;

/// All addresses of one peer are given up after this long.
const DIAL: Duration = Duration::from_secs(6);
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
    let interfaces: Vec<_> = if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|i| i.ip()).collect();
    let mut addresses = Vec::new();
    for listener in transport.listeners() {
        if listener.ip().is_unspecified() {
            let reachable = |ip: &&IpAddr| {
                (listener.is_ipv6() || ip.is_ipv4()) && !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
            };
            addresses.extend(interfaces.iter().filter(reachable).map(|&ip| SocketAddr::from((ip, listener.port()))));
        } else {
            addresses.push(listener);
        }
    }
    addresses.truncate(MOST_ANNOUNCED);
    addresses
}

/// Tries all addresses of a peer side by side; the first that answers as that peer wins.
pub(crate) async fn dial(
    transport: Arc<dyn Transport>,
    silent: Arc<Silent>,
    peer: PeerAddress,
    inputs: mpsc::Sender<Input>,
) {
    let mut tries = tokio::task::JoinSet::new();
    let mut addresses = peer.addresses;
    // Random order spreads connections over a peer's listeners.
    fastrand::shuffle(&mut addresses);
    for (turn, address) in addresses.into_iter().take(8).enumerate() {
        let (transport, silent) = (transport.clone(), silent.clone());
        tries.spawn(async move {
            tokio::time::sleep(Duration::from_millis(20 * turn as u64)).await;
            if !silent.may_dial(address) {
                return Err(TransportError::Unreachable(address));
            }
            transport.dial(address, peer.id).await.inspect(|_| silent.answered(address))
        });
    }
    let first = async {
        while let Some(result) = tries.join_next().await {
            match result {
                Ok(Ok(connection)) => return Some(connection),
                Ok(Err(error)) => tracing::debug!(%error, "dial"),
                Err(_) => {}
            }
        }
        None
    };
    let input = match timeout(DIAL, first).await {
        Ok(Some(connection)) => Input::Connected { connection, dialled: true },
        _ => Input::Event(Event::DialFailed { peer: peer.id }),
    };
    let _ = inputs.send(input).await;
}
