//! QUIC where it gets through, TCP where it does not: per dial, with a head start for QUIC (the idea of RFC 8305).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::PeerId;
use tokio::time::sleep;

use crate::tcp::choose_ports;
use crate::{BoxFuture, Config, Connection, OverRelay, Quic, Tcp, Transport, TransportError, Whom};

/// QUIC alone is tried for this long: RFC 8305 recommends it as the delay between two attempts.
pub(crate) const HEAD_START: Duration = Duration::from_millis(250);
/// Ports that are free for UDP may be taken for TCP, and the other way round; where any port will do, others are tried this often.
const TRIES: usize = 16;

/// Listens for both on the same ports, and dials whichever answers.
pub struct Auto {
    /// None where this machine has no sockets for it: a sandbox without UDP, or a system without some call.
    quic: Option<Quic>,
    tcp: Tcp,
}

impl Auto {
    /// Binds every listener for both, or none. Without UDP sockets for TCP alone, and warns.
    pub fn bind(config: Config) -> Result<Self, TransportError> {
        Self::bind_with(config, Quic::bind)
    }

    fn bind_with(
        config: Config,
        bind_quic: impl Fn(Config) -> Result<Quic, TransportError>,
    ) -> Result<Self, TransportError> {
        let any = config.listeners.iter().any(|listener| listener.port() == 0);
        let mut tries = if any { TRIES } else { 1 };
        let mut listeners = config.listeners.clone();
        loop {
            tries -= 1;
            match Self::bind_once(config.clone().listeners(listeners), &bind_quic) {
                Err(TransportError::AddressInUse(_)) if tries > 0 => {}
                bound => return bound,
            }
            // The system chooses ports for UDP, or for TCP every other time: on Windows hundreds in a row may be reserved in one of
            // the two, and the next that is chosen is among them again.
            let by_tcp = tries % 2 == 1;
            listeners = if by_tcp { choose_ports(&config.listeners) } else { config.listeners.clone() };
        }
    }

    fn bind_once(
        config: Config,
        bind_quic: &impl Fn(Config) -> Result<Quic, TransportError>,
    ) -> Result<Self, TransportError> {
        match bind_quic(config.clone()) {
            Ok(quic) => {
                let tcp = Tcp::bind(config.listeners(quic.listeners()))?;
                Ok(Auto { quic: Some(quic), tcp })
            }
            // Somebody else has the port: another one is to be chosen, for both.
            Err(error @ TransportError::AddressInUse(_)) => Err(error),
            // What TCP cannot do either is best said of both.
            Err(error) => {
                let tcp = Tcp::bind(config).map_err(|_| error.clone())?;
                tracing::warn!(%error, "QUIC cannot be used on this machine, only TCP is: is UDP forbidden here?");
                Ok(Auto { quic: None, tcp })
            }
        }
    }

    async fn race(&self, addr: SocketAddr, whom: Whom) -> Result<Arc<dyn Connection>, TransportError> {
        let Some(quic) = &self.quic else { return self.tcp.reach(addr, whom).await };
        let quic = quic.reach(addr, whom);
        let tcp = async {
            sleep(HEAD_START).await;
            self.tcp.reach(addr, whom).await
        };
        tokio::pin!(quic, tcp);
        tokio::select! {
            biased;
            first = &mut quic => match first {
                // It is there and is someone else, or we are closed: TCP would say the same.
                Ok(_)
                | Err(TransportError::WrongPeer { .. } | TransportError::NotTrusted(_) | TransportError::Closed) => first,
                Err(error) => tcp.await.inspect(|_| fell_back(addr)).map_err(|other| telling(error, other)),
            },
            first = &mut tcp => match first {
                Ok(connection) => {
                    fell_back(addr);
                    Ok(connection)
                }
                Err(other) if says_most(&other) => Err(other),
                Err(_) => quic.await,
            },
        }
    }
}

/// The error that says most of why neither worked.
pub(crate) fn telling(quic: TransportError, tcp: TransportError) -> TransportError {
    if says_most(&tcp) { tcp } else { quic }
}

/// Whether it is known that somebody is there, and why nothing comes of it.
pub(crate) fn says_most(error: &TransportError) -> bool {
    matches!(error, TransportError::WrongPeer { .. } | TransportError::NotAdmitted(_) | TransportError::NotTrusted(_))
}

fn fell_back(addr: SocketAddr) {
    tracing::info!(%addr, "QUIC got no answer, TCP did: is UDP blocked on the way?");
}

impl Transport for Auto {
    fn name(&self) -> &'static str {
        "auto"
    }

    fn peer_id(&self) -> PeerId {
        self.tcp.peer_id()
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        self.tcp.listeners()
    }

    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(self.race(addr, whom))
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move {
            let quic = async {
                match &self.quic {
                    Some(quic) => quic.accept().await,
                    None => None,
                }
            };
            tokio::select! {
                Some(connection) = quic => Some(connection),
                Some(connection) = self.tcp.accept() => Some(connection),
                else => None,
            }
        })
    }

    fn over_relay(&self) -> Option<&dyn OverRelay> {
        self.tcp.over_relay()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let quic = async {
                if let Some(quic) = &self.quic {
                    quic.close().await;
                }
            };
            tokio::join!(quic, self.tcp.close());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn config() -> Config {
        Config::new(Identity::generate().unwrap(), vec![SocketAddr::from(([127, 0, 0, 1], 0))])
    }

    #[tokio::test]
    async fn quic_is_preferred_and_tcp_is_what_is_left() {
        let (dialer, both) = (Auto::bind(config()).unwrap(), Auto::bind(config()).unwrap());
        let (addr, id) = (both.listeners()[0], both.peer_id());
        let (dialled, accepted) = tokio::join!(dialer.dial(addr, id), both.accept());
        assert_eq!((dialled.unwrap().transport(), accepted.unwrap().transport()), ("quic", "quic"));

        // As where UDP is dropped on the way: nobody answers it.
        let only_tcp = Tcp::bind(config()).unwrap();
        let (addr, id) = (only_tcp.listeners()[0], only_tcp.peer_id());
        let (dialled, accepted) = tokio::join!(dialer.dial(addr, id), only_tcp.accept());
        assert_eq!((dialled.unwrap().transport(), accepted.unwrap().transport()), ("tcp", "tcp"));
    }

    #[tokio::test]
    async fn someone_else_is_refused_over_either() {
        let (dialer, only_tcp) = (Auto::bind(config()).unwrap(), Tcp::bind(config()).unwrap());
        let (addr, expected) = (only_tcp.listeners()[0], dialer.peer_id());
        let error = dialer.dial(addr, expected).await.err();
        assert_eq!(error, Some(TransportError::WrongPeer { addr, expected }));
    }

    #[test]
    fn both_listen_on_the_same_ports() {
        let listeners = vec![SocketAddr::from(([127, 0, 0, 1], 0)); 3];
        let auto = Auto::bind(Config::new(Identity::generate().unwrap(), listeners)).unwrap();
        assert_eq!(auto.quic.unwrap().listeners(), auto.tcp.listeners());
    }

    #[tokio::test]
    async fn without_udp_sockets_tcp_goes_on() {
        let forbidden = |_| Err(TransportError::Io("[::]:0: Operation not permitted".to_owned()));
        let (one, other) = (Auto::bind_with(config(), forbidden).unwrap(), Auto::bind(config()).unwrap());
        for (dialer, listener) in [(&one, &other), (&other, &one)] {
            let (addr, id) = (listener.listeners()[0], listener.peer_id());
            let (dialled, accepted) = tokio::join!(dialer.dial(addr, id), listener.accept());
            assert_eq!((dialled.unwrap().transport(), accepted.unwrap().transport()), ("tcp", "tcp"));
        }
        one.close().await;
        assert!(one.accept().await.is_none());
    }

    #[test]
    fn where_any_port_will_do_one_that_is_reserved_is_no_reason_to_give_up() {
        use std::cell::RefCell;
        // The first that is chosen is reserved for UDP, and so is the one that TCP chooses next.
        let asked = RefCell::new(Vec::new());
        let reserved = |config: Config| {
            let address = config.listeners[0];
            asked.borrow_mut().push(address.port());
            if asked.borrow().len() < 3 { Err(TransportError::AddressInUse(address)) } else { Quic::bind(config) }
        };
        let auto = Auto::bind_with(config(), reserved).unwrap();
        assert!(auto.quic.is_some(), "it has not become TCP alone");
        let asked = asked.take();
        // More follow where another program has the port for TCP that UDP got.
        assert!(matches!(asked[..], [0, chosen, 0, ..] if chosen > 0), "{asked:?}");

        let always = |config: Config| Err(TransportError::AddressInUse(config.listeners[0]));
        assert!(matches!(Auto::bind_with(config(), always).err(), Some(TransportError::AddressInUse(_))));
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_for_both() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let result = Auto::bind(Config { listeners: vec![addr], ..config() });
        assert_eq!(result.err(), Some(TransportError::AddressInUse(addr)));
    }
}
