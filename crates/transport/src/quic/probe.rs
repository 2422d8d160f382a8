//! Who answers at an address over QUIC: nothing is said there, and no connection comes of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use protocol::PeerId;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::time::timeout;

use super::choices::{Choices, path_to};
use super::endpoint::Endpoint;
use super::windows::Windows;
use super::{LINGER, SILENCE, STREAMS, connection};
use crate::handshakes::HANDSHAKE;
use crate::identity::{SERVER_NAME, probing_tls};
use crate::{Congestion, TransportError, Trust};

/// From a port of its own, which is closed again.
pub(crate) async fn probe(address: SocketAddr, trust: &Trust) -> Result<PeerId, TransportError> {
    let io = |error: std::io::Error| TransportError::Io(error.to_string());
    let everywhere = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = Endpoint::bind(SocketAddr::new(everywhere, 0), "quic-probe".to_owned(), None).map_err(io)?;
    let found = shake_hands(&endpoint, address, trust).await;
    let _ = endpoint.say_goodbye(LINGER).await;
    endpoint.thread.stop().await;
    found
}

async fn shake_hands(endpoint: &Endpoint, address: SocketAddr, trust: &Trust) -> Result<PeerId, TransportError> {
    let refused = |error: String| TransportError::Handshake(error);
    let proven = Arc::new(OnceLock::new());
    let tls = probing_tls(trust, proven.clone()).map_err(|error| refused(error.to_string()))?;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| refused(error.to_string()))?;
    let mut client = quinn::ClientConfig::new(Arc::new(tls));
    let choices = Choices { mtu: None, streams: STREAMS, congestion: Congestion::default(), standing: false };
    client.transport_config(Arc::new(path_to(address, choices, &Windows::default())));
    let connecting = endpoint.quinn.connect_with(client, address, SERVER_NAME);
    let mut connecting = connecting.map_err(|error| TransportError::Io(error.to_string()))?;
    // Errors show again below; only silence ends it here.
    if timeout(SILENCE, connecting.handshake_data()).await.is_err() {
        return Err(TransportError::Unreachable(address));
    }
    let ended = timeout(HANDSHAKE, connecting).await;
    match (proven.get(), ended) {
        (Some(&id), _) => Ok(id),
        (None, Err(_) | Ok(Err(quinn::ConnectionError::TimedOut))) => Err(TransportError::Unreachable(address)),
        (None, Ok(Err(quinn::ConnectionError::ConnectionClosed(close))))
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            Err(TransportError::Unreachable(address))
        }
        (None, Ok(Err(error))) => Err(match (connection::not_taken_for(&error, trust), error.into()) {
            (Some(untrusted), _) => TransportError::NotTrusted(untrusted),
            (None, TransportError::Lost(reason)) => refused(reason),
            (None, other) => other,
        }),
        (None, Ok(Ok(_))) => Err(refused("it has proven no key".to_owned())),
    }
}
