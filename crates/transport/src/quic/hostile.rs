//! Peers that do not play by the rules of the handshake, built with quinn and rustls directly.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::PeerId;
use quinn::Endpoint;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::Quic;
use crate::{Authority, Config, Identity, Transport, TransportError, Trust, from_now};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn quic() -> Quic {
    Quic::bind(Config::new(Identity::generate().unwrap(), vec![LOOPBACK])).unwrap()
}

/// Dials with a client that `spoil` made unfit, and says how that ended once it was refused.
async fn refused(listener: &Quic, spoil: fn(&mut rustls::ClientConfig)) -> quinn::ConnectionError {
    dial_with(listener, &Trust::Anyone, spoil).await
}

async fn dial_with(listener: &Quic, trust: &Trust, spoil: fn(&mut rustls::ClientConfig)) -> quinn::ConnectionError {
    let identity = Identity::generate().unwrap();
    let mut tls = identity.client_tls(trust, crate::Whom::Peer(listener.peer_id()), Arc::new(OnceLock::new())).unwrap();
    spoil(&mut tls);
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::client(LOOPBACK).unwrap();
    let connecting = endpoint.connect_with(config, listener.listeners()[0], "peer").unwrap();
    // A dialer is done before its certificate was looked at, so the refusal may come after.
    match connecting.await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    }
}

async fn nobody_comes(listener: &Quic) {
    let accepted = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(accepted.is_err(), "a refused connection must never be handed out");
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let listener = quic();
    let error = refused(&listener, |tls| tls.client_auth_cert_resolver = Arc::new(NoCertificate)).await;
    assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    nobody_comes(&listener).await;
}

#[tokio::test]
async fn a_client_without_a_certificate_gets_nothing_from_a_closed_swarm() {
    let authority = Authority::generate().unwrap();
    let member = authority.certify("peer", &Identity::generate().unwrap(), from_now(Duration::from_secs(60))).unwrap();
    let config = Config { trust: authority.trust(), ..Config::new(member, vec![LOOPBACK]) };
    let listener = Quic::bind(config).unwrap();
    let error = dial_with(&listener, &authority.trust(), |tls| {
        tls.client_auth_cert_resolver = Arc::new(NoCertificate);
    })
    .await;
    assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    assert!(matches!(TransportError::from(error), TransportError::NotAdmitted(_)));
    nobody_comes(&listener).await;
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let listener = quic();
    let error = refused(&listener, |tls| tls.alpn_protocols = vec![b"p2p-fileshare/2".to_vec()]).await;
    assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    nobody_comes(&listener).await;
}

/// A key that does not belong to the certificate shown: what an impostor has.
fn impostor_of(victim: &Identity) -> CertifiedKey {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("victim.pem");
    victim.write_certificate(&path).unwrap();
    let certificate = CertificateDer::from_pem_file(&path).unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::new(vec![certificate], rustls::crypto::ring::sign::any_supported_type(&key).unwrap())
}

#[tokio::test]
async fn a_listener_with_the_certificate_but_not_the_key_is_refused() {
    let victim = Identity::generate().unwrap();
    let mut tls = Identity::generate().unwrap().server_tls(&Trust::Anyone, None).unwrap();
    tls.cert_resolver = Arc::new(SingleCertAndKey::from(impostor_of(&victim)));
    let server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::server(server, LOOPBACK).unwrap();
    let addr = endpoint.local_addr().unwrap();
    let answering = tokio::spawn(async move { endpoint.accept().await.unwrap().await.is_err() });
    let error = quic().dial(addr, victim.peer_id()).await.err();
    assert!(matches!(error, Some(TransportError::Handshake(_))), "{error:?}");
    assert!(answering.await.unwrap(), "the impostor has no connection either");
}

#[tokio::test]
async fn a_dialer_with_the_certificate_but_not_the_key_is_refused() {
    let listener = quic();
    let error = refused(&listener, |tls| {
        let victim = Identity::generate().unwrap();
        tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(impostor_of(&victim)));
    })
    .await;
    assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    nobody_comes(&listener).await;
}

#[tokio::test]
async fn a_silent_address_is_given_up() {
    let silent = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let addr = silent.local_addr().unwrap();
    let error = quic().dial(addr, PeerId::of_public_key(b"nobody")).await.err();
    assert_eq!(error, Some(TransportError::Unreachable(addr)));
    silent.set_nonblocking(true).unwrap();
    let mut packets = 0;
    while silent.recv_from(&mut [0; 2048]).is_ok() {
        packets += 1;
    }
    // The pauses double (RFC 9002, 6.2.4), so even a machine that is held up for a minute sends no more than these.
    assert!((1..=8).contains(&packets), "{packets} packets went to an address that never answered");
}

/// Carries what clients send, but of the answers only those that ask them to show that their address is theirs (RFC 9000,
/// 17.2.5): their handshakes stall right after.
async fn carry_retries_only(front: tokio::net::UdpSocket, listener: SocketAddr) {
    let back = tokio::net::UdpSocket::bind(LOOPBACK).await.unwrap();
    let (mut to, mut fro, mut client) = (vec![0; 65_536], vec![0; 65_536], LOOPBACK);
    loop {
        tokio::select! {
            Ok((len, from)) = front.recv_from(&mut to) => {
                client = from;
                let _ = back.send_to(&to[..len], listener).await;
            }
            Ok((len, _)) = back.recv_from(&mut fro) => {
                if fro[0] & 0xf0 == 0xf0 {
                    let _ = front.send_to(&fro[..len], client).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn handshakes_that_stall_after_address_validation_do_not_shut_the_door() {
    let (listener, stranger, honest) = (quic(), Arc::new(quic()), quic());
    let address = listener.listeners()[0];
    let front = tokio::net::UdpSocket::bind(LOOPBACK).await.unwrap();
    let through = front.local_addr().unwrap();
    let relay = tokio::spawn(carry_retries_only(front, address));
    let (mut dials, enough) = (tokio::task::JoinSet::new(), Arc::new(AtomicBool::new(false)));
    for _ in 0..2 * crate::handshakes::MOST {
        let (stranger, id, enough) = (stranger.clone(), listener.peer_id(), enough.clone());
        // Those that are given up come again: on a slow machine the first may be over before the last have begun.
        dials.spawn(async move {
            let mut connected = false;
            while !connected && !enough.load(Ordering::Relaxed) {
                connected = stranger.dial(through, id).await.is_ok();
            }
            connected
        });
    }
    let stalled = async {
        // More than are let in without validation, and all that there is room for.
        while listener.handshakes.under_way() < crate::handshakes::MOST {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stalled).await.expect("they stall");
    let (dialled, accepted) = tokio::join!(honest.dial(address, listener.peer_id()), listener.accept());
    assert_eq!((dialled.unwrap().peer_id(), accepted.unwrap().peer_id()), (listener.peer_id(), honest.peer_id()));
    enough.store(true, Ordering::Relaxed);
    while let Some(connected) = dials.join_next().await {
        assert!(!connected.unwrap());
    }
    relay.abort();
    // What was given up is not kept for three timeouts: quinn knows of no connection but one.
    let gone = async {
        while listener.handshakes.under_way() > 0 || listener.listeners[0].quinn.open_connections() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("nothing is left of them");
}

/// Carries everything, so much later.
async fn carry_late(front: tokio::net::UdpSocket, listener: SocketAddr, late: Duration) {
    let (front, back) = (Arc::new(front), Arc::new(tokio::net::UdpSocket::bind(LOOPBACK).await.unwrap()));
    let (mut to, mut fro, mut client) = (vec![0; 65_536], vec![0; 65_536], LOOPBACK);
    loop {
        let (socket, datagram, address) = tokio::select! {
            Ok((len, from)) = front.recv_from(&mut to) => {
                client = from;
                (back.clone(), to[..len].to_vec(), listener)
            }
            Ok((len, _)) = back.recv_from(&mut fro) => (front.clone(), fro[..len].to_vec(), client),
        };
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            let _ = socket.send_to(&datagram, address).await;
        });
    }
}

#[tokio::test]
async fn of_many_that_were_closed_nothing_is_left_soon_however_long_their_paths_are() {
    const LATE: Duration = Duration::from_millis(400);
    let (listener, stranger) = (quic(), Arc::new(quic()));
    let front = tokio::net::UdpSocket::bind(LOOPBACK).await.unwrap();
    let through = front.local_addr().unwrap();
    let relay = tokio::spawn(carry_late(front, listener.listeners()[0], LATE));
    let (mut dialled, mut accepted) = (Vec::new(), Vec::new());
    while accepted.len() < 80 {
        let dials: Vec<_> = (0..16)
            .map(|_| {
                let (stranger, id) = (stranger.clone(), listener.peer_id());
                tokio::spawn(async move { stranger.dial(through, id).await })
            })
            .collect();
        for dial in dials {
            if let Ok(connection) = dial.await.unwrap() {
                dialled.push(connection);
                accepted.push(listener.accept().await.unwrap());
            }
        }
    }
    for connection in accepted {
        connection.close(1, "there is nothing here");
    }
    // quinn would keep each for three timeouts, which are twice as long as a round trip each at first: here for some 5 seconds.
    let gone = async {
        while listener.listeners[0].quinn.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), gone).await.expect("they are forgotten");
    for connection in dialled {
        assert!(matches!(connection.closed().await, TransportError::ClosedByPeer { code: 1, .. }));
    }
    relay.abort();
}
