//! Who answers at an address: for trust on first use, where no id is known that could be demanded.
//!
//! It is the one thing that is done without demanding an id, and nothing is said to what answers there: see `identity/probe.rs`.

use std::net::SocketAddr;

use protocol::PeerId;
use tokio::time::sleep;

use crate::auto::{HEAD_START, says_most, telling};
use crate::{Kind, TransportError, Trust, quic, tcp};

impl Kind {
    /// The id that is proven at this address, by a certificate that `trust` takes. Nothing is said there, not even who asks, and
    /// no connection comes of it. To get one, dial and demand the id. Takes some seconds at most.
    pub async fn probe(self, address: SocketAddr, trust: &Trust) -> Result<PeerId, TransportError> {
        match self {
            Kind::Quic => quic::probe(address, trust).await,
            Kind::Tcp => tcp::probe(address, trust).await,
            Kind::Auto => {
                let quic = quic::probe(address, trust);
                let tcp = async {
                    sleep(HEAD_START).await;
                    tcp::probe(address, trust).await
                };
                tokio::pin!(quic, tcp);
                tokio::select! {
                    first = &mut quic => match first {
                        Ok(id) => Ok(id),
                        Err(error @ TransportError::NotTrusted(_)) => Err(error),
                        Err(error) => tcp.await.map_err(|other| telling(error, other)),
                    },
                    first = &mut tcp => match first {
                        Ok(id) => Ok(id),
                        Err(error) if says_most(&error) => Err(error),
                        Err(_) => quic.await,
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::{Authority, Config, Identity, Untrusted, from_now};

    fn here() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn a_probe_learns_the_id_and_no_connection_comes_of_it() {
        for kind in [Kind::Quic, Kind::Tcp, Kind::Auto] {
            let there = kind.bind(Config::new(Identity::generate().unwrap(), vec![here()])).unwrap();
            let address = there.listeners()[0];
            let asked = [Kind::Auto, kind];
            for asked in asked {
                assert_eq!(asked.probe(address, &Trust::Anyone).await, Ok(there.peer_id()), "{kind:?}");
            }
            let accepted = timeout(Duration::from_millis(100), there.accept()).await;
            assert!(accepted.is_err(), "{kind:?}: a probe is nobody");
            // And the next one is taken as ever.
            let dialler = kind.bind(Config::new(Identity::generate().unwrap(), vec![here()])).unwrap();
            let (dialled, accepted) = tokio::join!(dialler.dial(address, there.peer_id()), there.accept());
            assert!(dialled.is_ok() && accepted.is_some());
            there.close().await;
        }
    }

    #[tokio::test]
    async fn in_a_closed_swarm_a_stranger_is_not_even_named() {
        let (ours, other) = (Authority::generate().unwrap(), Authority::generate().unwrap());
        let member = ours.certify("tracker", &Identity::generate().unwrap(), from_now(Duration::from_secs(600)));
        let member = member.unwrap();
        for kind in [Kind::Quic, Kind::Tcp, Kind::Auto] {
            let config = Config { trust: ours.trust(), ..Config::new(member.clone(), vec![here()]) };
            let there = kind.bind(config).unwrap();
            let address = there.listeners()[0];
            assert_eq!(kind.probe(address, &ours.trust()).await, Ok(member.peer_id()));
            for (trust, why) in [(other.trust(), Untrusted::OtherCa), (Trust::Anyone, Untrusted::ClosedSwarm)] {
                assert_eq!(kind.probe(address, &trust).await, Err(TransportError::NotTrusted(why)), "{kind:?}");
            }
            there.close().await;
        }
    }

    /// The clock jumps to the next deadline while nothing else is to be done.
    #[tokio::test(start_paused = true)]
    async fn who_answers_nothing_or_stalls_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::UdpSocket::bind(listener.local_addr().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        for kind in [Kind::Quic, Kind::Tcp, Kind::Auto] {
            let found = kind.probe(address, &Trust::Anyone).await;
            assert_eq!(found, Err(TransportError::Unreachable(address)), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn what_speaks_another_protocol_is_nobody() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        let (found, _stream) = tokio::join!(Kind::Tcp.probe(address, &Trust::Anyone), answer);
        assert!(matches!(found, Err(TransportError::Handshake(_))), "{found:?}");
    }
}
