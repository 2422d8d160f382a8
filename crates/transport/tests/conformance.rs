//! All transports of this crate keep every promise of the seam.

use std::net::SocketAddr;
use std::sync::Arc;

use p2p_fileshare_transport::conformance::{self, Pair};
use p2p_fileshare_transport::{
    Authority, Auto, Config, Identity, Kind, MemoryNetwork, Quic, Tcp, Transport, TransportError, Trust, from_now,
};
use protocol::PeerId;

fn quic(listen: &[&str]) -> Arc<dyn Transport> {
    let listeners = listen.iter().map(|addr| addr.parse().unwrap()).collect();
    let identity = Identity::generate().unwrap();
    Arc::new(Quic::bind(Config::new(identity, listeners)).unwrap())
}

#[tokio::test]
async fn memory_keeps_the_promises() {
    conformance::run(&|| {
        let network = MemoryNetwork::new();
        let peer = |name: &[u8], addr: &str| -> Arc<dyn Transport> {
            let addr: SocketAddr = addr.parse().unwrap();
            Arc::new(network.bind(PeerId::of_public_key(name), vec![addr]).unwrap())
        };
        Pair::new(peer(b"a", "10.0.0.1:9000"), peer(b"b", "10.0.0.2:9000"))
    })
    .await;
}

#[tokio::test]
async fn quic_keeps_the_promises_on_one_thread() {
    conformance::run(&|| Pair::new(quic(&["127.0.0.1:0"]), quic(&["127.0.0.1:0"]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_keeps_the_promises_on_several_threads_and_listeners() {
    conformance::run(&|| {
        Pair::new(quic(&["127.0.0.1:0", "127.0.0.1:0"]), quic(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"]))
    })
    .await;
}

fn tcp(listen: &[&str]) -> Arc<dyn Transport> {
    let listeners = listen.iter().map(|addr| addr.parse().unwrap()).collect();
    Arc::new(Tcp::bind(Config::new(Identity::generate().unwrap(), listeners)).unwrap())
}

#[tokio::test]
async fn tcp_keeps_the_promises_on_one_thread() {
    conformance::run(&|| Pair::new(tcp(&["127.0.0.1:0"]), tcp(&["127.0.0.1:0"]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_keeps_the_promises_on_several_threads_and_listeners() {
    conformance::run(&|| Pair::new(tcp(&["127.0.0.1:0", "127.0.0.1:0"]), tcp(&["127.0.0.1:0", "127.0.0.1:0"]))).await;
}

#[tokio::test]
async fn both_together_keep_the_promises() {
    let auto = || -> Arc<dyn Transport> {
        let listeners = vec!["127.0.0.1:0".parse().unwrap()];
        Arc::new(Auto::bind(Config::new(Identity::generate().unwrap(), listeners)).unwrap())
    };
    conformance::run(&|| Pair::new(auto(), auto())).await;
}

const KINDS: [Kind; 3] = [Kind::Quic, Kind::Tcp, Kind::Auto];

/// One that deals with those whom it trusts.
fn trusting(kind: Kind, identity: Identity, trust: Trust) -> Arc<dyn Transport> {
    let listeners = vec!["127.0.0.1:0".parse().unwrap()];
    kind.bind(Config::new(identity, listeners).trust(trust)).unwrap()
}

fn signed(authority: &Authority) -> Identity {
    authority.certify("peer", &Identity::generate().unwrap(), from_now(std::time::Duration::from_secs(3600))).unwrap()
}

#[tokio::test]
async fn closed_swarms_keep_the_promises_over_quic_and_tcp() {
    let authority = Authority::generate().unwrap();
    for kind in [Kind::Quic, Kind::Tcp] {
        let member = || trusting(kind, signed(&authority), authority.trust());
        conformance::run(&|| Pair::new(member(), member())).await;
    }
}

#[tokio::test]
async fn a_closed_swarm_keeps_strangers_out() {
    let (ours, other) = (Authority::generate().unwrap(), Authority::generate().unwrap());
    for kind in KINDS {
        let member = trusting(kind, signed(&ours), ours.trust());
        // They trust our authority, so that it is not they who end it: nothing but their certificates is wrong.
        for stranger in [Identity::generate().unwrap(), signed(&other)] {
            let stranger = trusting(kind, stranger, ours.trust());
            conformance::keeps_out(&*member, &*stranger).await;
        }
        // And one that takes everyone, as in an open swarm.
        let stranger = trusting(kind, Identity::generate().unwrap(), Trust::Anyone);
        conformance::keeps_out(&*member, &*stranger).await;
    }
}

#[tokio::test]
async fn a_refused_certificate_is_reported_to_its_holder() {
    let ours = Authority::generate().unwrap();
    for kind in KINDS {
        let member = trusting(kind, signed(&ours), ours.trust());
        let stranger = trusting(kind, Identity::generate().unwrap(), ours.trust());
        let error = match stranger.dial(member.listeners()[0], member.peer_id()).await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        };
        assert!(matches!(error, TransportError::NotAdmitted(_)), "{error}");
    }
}

/// One authority replaces another: first everyone trusts both, then everyone has a new certificate, then the old one goes.
#[tokio::test]
async fn old_and_new_certificates_meet_while_both_authorities_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let certs = p2p_fileshare_transport::Certs::new(folder.path());
    let lifetime = std::time::Duration::from_secs(3600);
    let names = vec!["old".to_owned()];
    certs.provision(&p2p_fileshare_transport::CertRequest::new(names, lifetime)).unwrap();
    let old = Trust::authorities(&[folder.path().join("ca.pem")]).unwrap();
    let early = certs.free_peer(&old).unwrap();
    let names = vec!["new".to_owned()];
    certs.provision(&p2p_fileshare_transport::CertRequest::new(names, lifetime).rotate(true)).unwrap();
    let new = Trust::authorities(&[folder.path().join("ca.pem")]).unwrap();
    let both = Trust::authorities(&[folder.path().join("ca.pem"), folder.path().join("ca-old.pem")]).unwrap();
    let (pem, key) = (folder.path().join("new.pem"), folder.path().join("new.key"));
    let late = Identity::load(&pem, &key, &new).unwrap();
    for kind in KINDS {
        let (one, other) = (trusting(kind, early.clone(), both.clone()), trusting(kind, late.clone(), both.clone()));
        for (dialer, listener) in [(&one, &other), (&other, &one)] {
            let dial = dialer.dial(listener.listeners()[0], listener.peer_id());
            let (dialled, accepted) = tokio::join!(dial, listener.accept());
            let ids = (accepted.unwrap().peer_id(), dialled.unwrap().peer_id());
            assert_eq!(ids, (dialer.peer_id(), listener.peer_id()));
        }
        let done = trusting(kind, late.clone(), new.clone());
        conformance::keeps_out(&*done, &*one).await;
    }
}

/// Certificates that end within seconds, of a swarm that is older.
#[tokio::test]
async fn a_connection_ends_with_a_certificate_of_it() {
    let authority = Authority::generate().unwrap();
    let short = || {
        let valid = from_now(std::time::Duration::from_secs(5));
        authority.certify("short", &Identity::generate().unwrap(), valid).unwrap()
    };
    for kind in KINDS {
        let [lasting, other] = [(); 2].map(|()| trusting(kind, signed(&authority), authority.trust()));
        let ending = trusting(kind, short(), authority.trust());
        let (stays, stays_there) = tokio::join!(lasting.dial(other.listeners()[0], other.peer_id()), other.accept());
        let (stays, _stays_there) = (stays.unwrap(), stays_there.unwrap());
        let mut ends = Vec::new();
        for (dialer, listener) in [(&lasting, &ending), (&ending, &other)] {
            let dial = dialer.dial(listener.listeners()[0], listener.peer_id());
            let (dialled, accepted) = tokio::join!(dial, listener.accept());
            ends.extend([dialled.unwrap(), accepted.unwrap()]);
        }
        // Both ends say why, no matter which one dialled.
        for end in ends {
            let end = end.closed().await;
            let expired = matches!(&end, TransportError::ClosedByPeer { reason, .. } if reason.contains("expired"));
            assert!(expired || end == TransportError::Closed, "{end}");
        }
        // From then on nobody takes it, and says so; unless its own side was first to end what it dialled.
        let dialled = ending.dial(other.listeners()[0], other.peer_id()).await;
        let error = match dialled {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        };
        assert!(matches!(error, TransportError::NotAdmitted(_) | TransportError::Closed), "{error}");
        let closed = tokio::time::timeout(std::time::Duration::from_millis(300), stays.closed()).await;
        assert!(closed.is_err(), "the others stay connected: {closed:?}");
    }
}
